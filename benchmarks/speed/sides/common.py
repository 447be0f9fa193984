"""What the sides share. It runs in the environments of the peers, so it must not import this library."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

# Rows of the last block of scores, so that memory stays small.
_CHUNK = 256


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the settings and the data of a run."""
    with np.load(folder / "data.npz") as arrays:
        return json.loads((folder / "settings.json").read_text()), dict(arrays)


def matrix_of(data: dict[str, np.ndarray], part: str = "") -> csr_matrix:
    """Return the training part, or with ``part="valid_"`` the validation part, as ones."""
    indptr, items = data[f"{part}indptr"], data[f"{part}items"]
    shape = len(indptr) - 1, int(data["n_items"])
    return csr_matrix((np.ones(len(items), dtype=np.float32), items, indptr), shape)


def known_of(data: dict[str, np.ndarray]) -> csr_matrix:
    """Return what is known of the users and so is in no list: train, and validation if there is one."""
    train = matrix_of(data)
    return train if "valid_indptr" not in data else csr_matrix(train + matrix_of(data, "valid_"))


def best_ten(scores_of: Callable[[np.ndarray], np.ndarray], known: csr_matrix) -> np.ndarray:
    """Return the ten best new items of everybody, chunk by chunk, as anybody would write it in NumPy.

    ``scores_of`` takes user indices and returns scores of all items, which may be overwritten.
    """
    lists = []
    for start in range(0, known.shape[0], _CHUNK):
        users = np.arange(start, min(start + _CHUNK, known.shape[0]))
        scores = scores_of(users)
        scores[known[users].nonzero()] = -np.inf
        best = np.argpartition(-scores, 9, axis=1)[:, :10]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
        lists.append(np.take_along_axis(best, order, 1))
    return np.concatenate(lists)


def draw_epoch(seen: csr_matrix, negatives: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return users, items and labels of an epoch: what is seen, and so many times as much that is not.

    All at once, in NumPy, which is faster than most do it.
    """
    users = np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr))
    taken = users * seen.shape[1] + seen.indices  # ascending
    others = np.repeat(users, negatives)
    drawn = random.integers(seen.shape[1], size=len(others))
    again = np.arange(len(others))
    while len(again):
        keys = others[again] * seen.shape[1] + drawn[again]
        place = np.searchsorted(taken, keys).clip(max=len(taken) - 1)
        again = again[taken[place] == keys]
        drawn[again] = random.integers(seen.shape[1], size=len(again))
    labels = np.repeat(np.array([1, 0], dtype=np.float32), [len(users), len(others)])
    return np.concatenate([users, others]), np.concatenate([seen.indices, drawn]), labels


def finish(folder: Path, seconds: list[float], lists: np.ndarray, **more: Any) -> None:
    """Leave the lists, and say how long it took."""
    np.save(folder / "lists.npy", lists)
    print(json.dumps({"seconds": seconds, "rss_mb": round(peak_memory())} | more))


def peak_memory() -> float:
    """Return the most memory that this process has had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage says on Linux begins with the peak of the process that started this one.
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line) / 2**10
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
