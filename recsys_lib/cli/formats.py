"""What the commands print and write: tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd

_COUNTS = ("users", "items", "ratings")  # columns that are no ids, so that they may have thousands marks


def as_table(frame: pd.DataFrame, number: str) -> str:
    """Return a frame as text, with ``number`` as the format of what is no whole number."""
    shown = frame.copy()
    for name in shown.columns:
        if pd.api.types.is_integer_dtype(shown[name].dtype) and name in _COUNTS:
            shown[name] = shown[name].map("{:,}".format)
        elif pd.api.types.is_float_dtype(shown[name].dtype):
            shown[name] = ["" if math.isnan(value) else number.format(value) for value in shown[name]]
        elif pd.api.types.is_bool_dtype(shown[name].dtype):
            shown[name] = shown[name].map({True: "yes", False: "no"})
        elif not pd.api.types.is_numeric_dtype(shown[name].dtype):
            shown[name] = [_printable(value) for value in shown[name]]
    return shown.to_string(index=False)


def _printable(value: Any) -> str:
    """Write text with escapes for what a terminal would not print but do."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def as_json(value: Any) -> str:
    """Return lists and dictionaries as JSON that every reader understands."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers into Python's, and what JSON cannot say (NaN) into null."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
