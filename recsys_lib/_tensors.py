"""Reading files of tensors that may be damaged, or may not be ours."""

from __future__ import annotations

import os
import pickle  # for the name of an error only
import zipfile
from pathlib import Path
from typing import Any

import torch

from recsys_lib.errors import FileFormatError

# All that the readers of zip archives and of weights raise when a file is not what it should be.
UNREADABLE = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
)


def read_tensors(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read the dictionary that ``torch.save`` wrote. No code in the file is ever run.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a checksum is wrong, or the file holds anything but plain values and tensors.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}.")
    foreign = f"{path} is damaged, or was not written by this library"
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch compresses nothing; a decompressor never sees what somebody else made.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise zipfile.BadZipFile("compressed members")
            # PyTorch does not compare the checksums that it stores; the zip module does.
            broken = archive.testzip()
        if broken is not None:
            raise zipfile.BadZipFile(f"the checksum of {broken!r} is wrong")
        contents = torch.load(path, map_location=device, weights_only=True)
    except UNREADABLE as error:
        raise FileFormatError(f"{foreign} ({type(error).__name__}: {str(error)[:80]}).") from error
    if not isinstance(contents, dict):
        raise FileFormatError(f"{foreign} (it holds a {type(contents).__name__}).")
    return contents
