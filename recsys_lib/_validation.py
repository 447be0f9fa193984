"""Checks of arguments. Each one raises an error that names the argument, its value and what is allowed."""

from __future__ import annotations

import math
import numbers
import os
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recsys_lib.errors import DataError

# The largest whole number that arrays and tensors can hold.
_LARGEST = 2**63 - 1
# Bad values in messages: a frame or a number of a thousand digits would bury the words around it.
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 120


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return ``value`` as an int, or raise if it is not a whole number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, got {shown(value)} of type {type(value).__name__}.")
    number = int(value)
    if number < low or number > (_LARGEST if high is None else high):
        limit = _LARGEST if high is None and number > low else high
        raise ValueError(f"{name} must be {_range(low, limit)}, got {shown(number)}.")
    return number


def check_number(
    name: str,
    value: Any,
    low: float,
    high: float | None = None,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return ``value`` as a float, or raise if it is not a finite number in the range."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {shown(value)} of type {type(value).__name__}.")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(f"{name} must fit a floating-point number, got {shown(value)}.") from error
    too_low = number < low or (open_low and number == low)
    too_high = high is not None and (number > high or (open_high and number == high))
    if not math.isfinite(number) or too_low or too_high:
        raise ValueError(f"{name} must be {_range(low, high, open_low, open_high)}, got {value}.")
    return number


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool, or raise if it is not one: the text ``"False"`` would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)} of type {type(value).__name__}.")
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return ``value``, or raise if it is not one of ``choices``."""
    allowed = list(choices)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {shown(value)}.")
    return str(value)


def check_kind(name: str, value: Any, kind: type, way_out: str = "") -> None:
    """Raise if ``value`` is of another class than ``kind``."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, got {type(value).__name__}. {way_out}".rstrip())


def check_path(name: str, value: Any) -> Path:
    """Return ``value`` as a path, or raise if it cannot be the name of a file."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {shown(value)} of type {type(value).__name__}.")
    if not str(value) or "\0" in str(value):
        raise ValueError(f"{name} must be the path of a file, got {shown(value)}.")
    return Path(value)


def as_column(name: str, values: Any) -> pd.Series:
    """Return a column of any make as a series, one value a row, or raise if it is none."""
    if isinstance(values, set | frozenset | Mapping):
        raise TypeError(
            f"{name} must be in the order of the rows: pass a list, not a {type(values).__name__}."
        )
    try:
        # Through pandas, so that nullable and Arrow columns and masked arrays say what is missing.
        return pd.Series(values.to_flat_index() if isinstance(values, pd.MultiIndex) else values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(f"{name} must be a column, one value a row: {error}.") from error


def shown(value: Any) -> str:
    """Write a value so that it fits into a message."""
    if isinstance(value, int) and value.bit_length() > 256:  # Python may refuse to write it out
        return f"a number of {value.bit_length():,} bits"
    return _SHORT.repr(value)


def _range(low: float, high: float | None, open_low: bool = False, open_high: bool = False) -> str:
    if high is None and low == -math.inf:
        return "a finite number"
    if high is None:
        return f"greater than {low}" if open_low else f"at least {low}"
    return f"between {low}{' (excluded)' if open_low else ''} and {high}{' (excluded)' if open_high else ''}"


def as_lists(history: Any) -> list[list[Any]]:
    """Make a list of histories of one or several; a tuple may be an id, so it does not count as a list."""
    if isinstance(history, Mapping | pd.DataFrame):
        raise TypeError(f"history must be a list of item ids, or of lists, got a {type(history).__name__}.")
    if isinstance(history, str | bytes) or not isinstance(history, Iterable):
        raise TypeError(f"history must be a list of item ids, got {history!r}: use [{history!r}].")
    entries = list(history)
    kinds = (list, set, frozenset, np.ndarray, pd.Series, pd.Index)
    if entries and isinstance(entries[0], kinds) and not isinstance(history, set | frozenset):
        for one in entries:
            if isinstance(one, str | bytes) or not isinstance(one, Iterable):
                raise TypeError(f"history mixes lists with {one!r}: give one list, or one for each person.")
        return [list(one) for one in entries]
    return [entries]
