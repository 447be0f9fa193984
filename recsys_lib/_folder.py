"""A folder of interactions that the system reads from the disk as it is needed: a file for each column.

``header.json`` says what there is, how long each file is, and its checksum. The columns are ``.npy`` files of
whole numbers or floats, in the order of user and item. Ids are a ``.npy`` file if they are numbers, and JSON
otherwise. Nothing in a folder is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from recsys_lib.errors import DataError, FileFormatError
from recsys_lib.ids import IdMap

FORMAT, VERSION, HEADER = "recsys_lib interactions", 1, "header.json"
COLUMNS = {"users": ["<i4"], "items": ["<i4"], "ratings": ["<f4"], "timestamps": ["<i8", "<f8"]}
_AT_ONCE = 1 << 22  # rows, or bytes, that are read together


class NpyWriter:
    """A ``.npy`` file that grows: parts are appended, and the length is filled in at the end.

    Parameters
    ----------
    path : Path
        A file that is not there yet.
    dtype : str
        Of the values.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self.dtype, self.length, self._digest = np.dtype(dtype), 0, hashlib.sha256()
        self._file: IO[bytes] = path.open("xb")
        self._write_header()

    def _write_header(self) -> None:
        # NumPy leaves room for the digits of any length, so the second header is as long as the first.
        what = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.length,)}
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, what)

    def append(self, values: Any) -> None:
        """Write values after those that are there, shape (n,)."""
        part = np.ascontiguousarray(values, dtype=self.dtype)
        self._digest.update(part.data)
        self._file.write(part.data)
        self.length += len(part)

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def close(self) -> str:
        """Write the length, see that all is on the disk, and return the checksum of the values."""
        self._write_header()
        _to_disk(self._file)
        return self._digest.hexdigest()


def write_ids(folder: Path, what: str, parts: Iterable[list[Any]]) -> tuple[str, str]:
    """Write ids, all of one kind, given in parts; return the name of the file and its checksum."""
    parts = iter(parts)
    part = next(parts)
    if not isinstance(part[0], str):
        path = folder / f"{what}_ids.npy"
        with NpyWriter(path, "<f8" if isinstance(part[0], float) else "<i8") as numbers:
            while part:
                numbers.append(part)
                part = next(parts, [])
            return path.name, numbers.close()
    path = folder / f"{what}_ids.json"
    digest, before = hashlib.sha256(), '{"kind": "string", "ids": ['
    with path.open("xb") as file:
        while part:
            text = (before + json.dumps(part)[1:-1]).encode()
            digest.update(text)
            file.write(text)
            before, part = ", ", next(parts, [])
        digest.update(b"]}")
        file.write(b"]}")
        _to_disk(file)
    return path.name, digest.hexdigest()


def write_header(folder: Path, n_rows: int, checksums: dict[str, str]) -> None:
    """Write what the folder holds; the last of its files."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": checksum}
        for name, checksum in checksums.items()
    }
    header = {"format": FORMAT, "version": VERSION, "rows": n_rows, "files": files}
    with (folder / HEADER).open("x", encoding="utf-8") as file:
        json.dump(header, file, indent=1)
        _to_disk(file)


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


# ---------------------------------------------------------------------- reading


def is_folder_of_ours(path: str | os.PathLike[str]) -> bool:
    """Tell whether there is a folder with a header."""
    return (Path(path) / HEADER).is_file()


def open_folder(path: str | os.PathLike[str], *, check: bool) -> dict[str, Any]:
    """Return the columns, mapped, and the two maps of ids, by the names that Interactions has for them.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    FileFormatError
        If it is damaged, or was not written by this library.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}.")
    header = _read_header(folder)
    files, n_rows = header["files"], header["rows"]
    for name, facts in files.items():
        here = (folder / name).stat().st_size if (folder / name).is_file() else None
        if here != facts["bytes"]:
            found = "is missing" if here is None else f"has {here:,} bytes"
            raise FileFormatError(
                f"{folder} is damaged: {name} {found}, not {facts['bytes']:,} bytes. Convert the data again."
            )
    parts: dict[str, Any] = {"ratings": None, "timestamps": None}
    for name in COLUMNS:
        if f"{name}.npy" in files:
            # Mode "c" never writes to the file, and PyTorch takes such an array without a copy.
            parts[name] = _read_npy(folder, f"{name}.npy", COLUMNS[name], n_rows, mode="c")
            if check:
                _compare(folder, f"{name}.npy", _checksum(parts[name]), files)
    for what in ("user", "item"):
        parts[f"{what}_ids"] = _read_ids(folder, what, files)
    return parts


def _read_header(folder: Path) -> dict[str, Any]:
    if not is_folder_of_ours(folder):
        raise FileFormatError(f"{folder} has no {HEADER}: make such a folder with datasets.convert.")
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        version, ours = int(header["version"]), header["format"] == FORMAT
        n_rows, files = int(header["rows"]), dict(header["files"])
        files = {str(n): {"bytes": int(f["bytes"]), "sha256": str(f["sha256"])} for n, f in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{folder / HEADER} is damaged ({type(error).__name__}: {error}).") from error
    if not ours or any(Path(name).name != name for name in files):
        raise FileFormatError(f"{folder / HEADER} was not written by this library.")
    if version > VERSION:
        raise FileFormatError(
            f"{folder} has format version {version}, and this library reads up to {VERSION}: update it."
        )
    missing = [name for name in ("users.npy", "items.npy") if name not in files]
    if missing:
        raise FileFormatError(f"{folder / HEADER} is damaged: it does not name {missing[0]}.")
    return {"rows": n_rows, "files": files}


def _read_npy(
    folder: Path, name: str, dtypes: list[str], n_rows: int | None, mode: Any = None
) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(folder / name, mmap_mode=mode, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FileFormatError(f"{folder / name} is damaged ({type(error).__name__}: {error}).") from error
    if array.ndim != 1 or array.dtype.str not in dtypes or n_rows not in (None, len(array)):
        raise FileFormatError(f"{folder / name} is damaged: it holds {array.dtype} of shape {array.shape}.")
    return array


def _read_ids(folder: Path, what: str, files: dict[str, dict[str, Any]]) -> IdMap:
    name = f"{what}_ids.npy"
    try:
        if name in files:
            values = _read_npy(folder, name, ["<i8", "<f8"], None)
            _compare(folder, name, _checksum(values), files)
            return IdMap(values, what)
        name = f"{what}_ids.json"
        if name not in files:
            raise FileFormatError(f"{folder / HEADER} is damaged: it names no ids of {what}s.")
        text = (folder / name).read_bytes()
        _compare(folder, name, hashlib.sha256(text).hexdigest(), files)
        return IdMap.from_json(text.decode(), what)
    except (DataError, ValueError, KeyError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{folder / name} is damaged ({error}).") from error


def _checksum(values: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(values), _AT_ONCE):
        digest.update(np.ascontiguousarray(values[start : start + _AT_ONCE]).data)
    return digest.hexdigest()


def _compare(folder: Path, name: str, found: str, files: dict[str, dict[str, Any]]) -> None:
    if found != files[name]["sha256"]:
        raise FileFormatError(
            f"{folder} is damaged: the checksum of {name} is wrong. Convert the data again."
        )
