"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from recsys_lib._validation import check_path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}  # EDQUOT: more than this user may have


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of ``path`` that takes its place only when the block ends well.

    What an earlier writer left because it was killed is removed.

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
    with _neighbour(target, folder=False) as temporary:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a temporary neighbour of ``path``, a folder that gets its name only when the block ends well.

    What an earlier writer left because it was killed is removed.

    Raises
    ------
    FileExistsError
        If there is something of that name: it is never written over.
    """
    target = check_path("path", path)
    if target.exists():
        raise FileExistsError(f"{os.fspath(path)!r} is there already. Remove it, or name another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _neighbour(target, folder=True) as temporary:
        yield temporary
        os.rename(temporary, target)


@contextlib.contextmanager
def _neighbour(target: Path, *, folder: bool) -> Iterator[Path]:
    """Make an empty file or folder beside ``target``, locked, and remove it after an error."""
    for left_behind in target.parent.glob(f".{glob.escape(target.name)}.{'[0-9a-f]' * 32}.part"):
        with contextlib.suppress(OSError), _locked(left_behind):
            _remove(left_behind)
    with contextlib.ExitStack() as stack:
        mine = False
        while not mine:
            temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
            if folder:
                temporary.mkdir()
            else:
                temporary.open("xb").close()
            # Another writer may take it for one that was left, until the lock is held.
            with contextlib.suppress(FileNotFoundError):
                stack.enter_context(_locked(temporary, wait=True))
            mine = temporary.exists()
        try:
            yield temporary
        except BaseException as error:
            _remove(temporary)
            if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
                error.filename = str(target)
            raise


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a lock that the system frees when this process dies; raise OSError if another one holds it.

    Where there are no locks, ``wait`` gets none, and who does not wait is told that another holds it: so
    nothing is removed there.
    """
    if fcntl is None and not wait:
        raise BlockingIOError(f"no locks for {path}")
    handle = None if fcntl is None else os.open(path, os.O_RDONLY)
    try:
        if handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError:  # also of a file system without locks
                if not wait:
                    raise
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
