"""Passes over columns that may be larger than the memory: a block at a time, and no copy of a whole one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys_lib.ids import IndexArray

_ROWS = 1 << 22


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, n, _ROWS))


def count_each(index: npt.NDArray[np.int32], size: int) -> IndexArray:
    """Count how often each number from 0 to ``size - 1`` is there -> (size,)."""
    # NumPy counts in 64 bits, and would make a copy of all numbers for that.
    total = np.zeros(size, dtype=np.int64)
    for block in _blocks(len(index)):
        total += np.bincount(index[block], minlength=size)
    return total


def starts_of_rows(users: npt.NDArray[np.int32], items: npt.NDArray[np.int32], n_users: int) -> Tensor | None:
    """Return where the rows of each user start and end, (n_users + 1,).

    None if the rows are not in the order of user and item, or if a pair is there twice.
    """
    for block in _blocks(len(users)):
        more = slice(block.start, block.stop + 1)  # the first of the next block, too
        user, item = np.diff(users[more]), np.diff(items[more])
        if bool(((user < 0) | ((user == 0) & (item <= 0))).any()):
            return None
    return torch.from_numpy(np.concatenate([[0], np.cumsum(count_each(users, n_users))]))


def is_mapped(column: npt.NDArray[Any] | None) -> bool:
    """Tell whether a column is on the disk."""
    return isinstance(column, np.memmap)


def as_tensor(column: npt.NDArray[Any], share: bool = True) -> Tensor:
    """Return a tensor of the same type: a copy, or with ``share`` a view of the file if it is on the disk.

    The view is for reading. What is written to it changes no file, but what others see of the column.
    """
    if not (share and is_mapped(column)):
        return torch.from_numpy(np.array(column))
    view = column.view(np.ndarray)
    view.flags.writeable = True  # for PyTorch, which knows no other; the mapping is private
    return torch.from_numpy(view)


def digest(columns: tuple[npt.NDArray[Any] | None, ...]) -> str:
    """Return a short hash of columns."""
    found = hashlib.sha256()
    for column in columns:
        if column is None:
            found.update(b"-")
        else:
            for block in _blocks(len(column)):
                found.update(np.ascontiguousarray(column[block]).data)
    return found.hexdigest()[:16]
