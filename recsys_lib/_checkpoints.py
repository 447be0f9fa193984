"""Checkpoints of training: one file of whole tables, or a folder to which each process writes its part.

The folder is that of :mod:`torch.distributed.checkpoint`, which puts tables together again for any other
number of processes. It holds ``current``, a text with the name of one of two folders, ``a`` and ``b``. The
next checkpoint is written beside the last one, and then the text is replaced; so one of them is always whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from recsys_lib import distributed
from recsys_lib._files import atomic_write
from recsys_lib._tensors import read_tensors, write_tensors
from recsys_lib.errors import FileFormatError

_POINTER = "current"


def check(path: str | os.PathLike[str], resume: bool) -> None:
    """Refuse a path that this run cannot write its checkpoints to.

    Raises
    ------
    IsADirectoryError
        If it is a folder, and not a checkpoint that this run can go on with.
    ValueError
        If several processes with divided tables would go on from a file of whole ones.
    """
    path, divided = Path(path), distributed.shards_tables()
    if path.is_dir():
        ours = _pointer(path).exists()
        if not (ours and (resume or divided)) and not (divided and not any(path.iterdir())):
            raise IsADirectoryError(f"checkpoint={os.fspath(path)!r} is a folder. Name a file in it.")
    elif path.exists() and divided:
        raise ValueError(
            f"checkpoint={os.fspath(path)!r} is a file of whole tables, and shard_tables=True divides them. "
            "Name a folder, or a new path."
        )


def write(path: str | os.PathLike[str], state: Mapping[str, Any], net: nn.Module) -> None:
    """Write what a run must have to go on, atomically. All processes must call it."""
    path = Path(path)
    if not path.is_dir() and not distributed.shards_tables():
        if distributed.is_first():
            write_tensors(path, state)
        return
    divided = distributed.shards_tables()
    if divided or distributed.is_first():
        name = "b" if _pointer(path).exists() and _pointer(path).read_text() == "a" else "a"
        if distributed.is_first():
            shutil.rmtree(path / name, ignore_errors=True)
        if divided:
            distributed.wait()
        from recsys_lib import _checkpoint_parts  # takes two seconds

        _checkpoint_parts.write(path / name, state, net)
        if distributed.is_first():
            with atomic_write(_pointer(path), "w") as file:
                file.write(name)
            shutil.rmtree(path / ("a" if name == "b" else "b"), ignore_errors=True)


def read(path: str | os.PathLike[str], net: nn.Module, device: torch.device) -> dict[str, Any]:
    """Read what :func:`write` wrote; of divided tables, what this process holds of them.

    Raises
    ------
    FileFormatError
        If it is damaged, or was not written by this library.
    """
    try:
        if not Path(path).is_dir():
            return read_tensors(path, device)
        from recsys_lib import _checkpoint_parts  # takes two seconds

        return _checkpoint_parts.read(Path(path), _pointer(Path(path)), net)
    except FileFormatError as error:
        way_out = "Delete it to start anew, or pass resume=False."
        raise FileFormatError(f"the checkpoint cannot be read. {way_out} {error}") from error


def _pointer(path: Path) -> Path:
    return path / _POINTER
