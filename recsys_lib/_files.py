"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from recsys_lib._validation import check_path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of ``path`` that takes its place only when the block ends well.

    Parameters
    ----------
    path : path-like
        The file to write. Its folder is made when it is missing.
    mode : {"wb", "w"}
        Binary or text (UTF-8).
    """
    target = check_path("path", path)
    if target.is_dir():
        raise IsADirectoryError(f"{os.fspath(path)!r} is a folder. Name a file in it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, mode.replace("w", "x"), encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a temporary neighbour of ``path``, a folder that gets its name only when the block ends well.

    Raises
    ------
    FileExistsError
        If there is something of that name: it is never written over.
    """
    target = check_path("path", path)
    if target.exists():
        raise FileExistsError(f"{os.fspath(path)!r} is there already. Remove it, or name another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    temporary.mkdir()
    try:
        yield temporary
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
