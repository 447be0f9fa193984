"""What the sides share. It runs in the environments of the peers, so it must not import this library."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the settings and the data of a run."""
    with np.load(folder / "data.npz") as arrays:
        return json.loads((folder / "settings.json").read_text()), dict(arrays)


def finish(folder: Path, seconds: list[float], lists: np.ndarray) -> None:
    """Leave the lists, and say how long it took."""
    np.save(folder / "lists.npy", lists)
    # Linux counts it in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform == "linux" else 2**20)
    print(json.dumps({"seconds": seconds, "rss_mb": round(peak)}))
