"""Tensors that others hand in: as arguments, and in files that may be damaged or not ours."""

from __future__ import annotations

import os
import pickle  # for the name of an error only
import pickletools  # which reads instructions and follows none
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from recsys_lib._files import atomic_write
from recsys_lib._validation import check_path, shown
from recsys_lib.errors import DataError, FileFormatError

# What files of tensors need to be built.
_BUILDERS = re.compile(r"torch\._utils _rebuild_tensor_v2|torch \w+Storage|collections OrderedDict")
# Tensors may share what is stored, such as the weights that two layers have in common.
_MOST_VIEWS = 4

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


def write_tensors(path: str | os.PathLike[str], contents: Mapping[str, Any]) -> None:
    """Write a dictionary of tensors and plain values, atomically.

    Raises
    ------
    OSError
        If it cannot be written: the disk is full, the folder is read-only, ...
    """
    with atomic_write(path) as file:
        try:
            torch.save(dict(contents), file)
        except RuntimeError as error:
            # PyTorch's writer looks at its position after a failed write, and speaks of that instead.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def read_tensors(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read the dictionary that ``torch.save`` wrote. No code in the file is ever run.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a checksum is wrong, or the file holds anything but plain values and tensors.
    """
    path = check_path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}.")
    foreign = f"{path} is damaged, or was not written by this library"
    try:
        if not path.is_file():  # reading from a pipe could wait for ever
            raise OSError("not a file")
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            # PyTorch compresses nothing; a decompressor never sees what somebody else made.
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise zipfile.BadZipFile("compressed members")
            if sum(member.file_size for member in archive.infolist()) > size:
                raise zipfile.BadZipFile("members that overlap")
            # PyTorch does not compare the checksums that it stores; the zip module does.
            broken = archive.testzip()
            if broken is not None:
                raise zipfile.BadZipFile(f"the checksum of {broken!r} is wrong")
            _refuse_other_names(archive)
        # Mapped: what a tensor says of its size can neither take memory nor reach beyond the file.
        contents = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if sum(map(_claimed, _tensors_in(contents))) > _MOST_VIEWS * size:
            raise ValueError("tensors that are larger than the file")
        contents = _copied(contents, torch.device(device))
    except UNREADABLE as error:
        raise FileFormatError(f"{foreign} ({type(error).__name__}: {str(error)[:80]}).") from error
    if not isinstance(contents, dict):
        raise FileFormatError(f"{foreign} (it holds a {type(contents).__name__}).")
    return contents


def _refuse_other_names(archive: zipfile.ZipFile) -> None:
    """Raise if the instructions for building the contents call anything but what builds plain tensors."""
    (plan,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    for operation, argument, _ in pickletools.genops(archive.read(plan)):
        called = operation.name == "GLOBAL" and not _BUILDERS.fullmatch(str(argument))
        if called or operation.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            raise pickle.UnpicklingError(f"it calls {argument!r}")


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(one)


def _claimed(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _copied(value: Any, device: torch.device) -> Any:
    """Return the same on a device, and no longer a part of the file."""
    if isinstance(value, Tensor):
        return value.to(device, copy=True)
    if isinstance(value, dict):
        return {key: _copied(one, device) for key, one in value.items()}
    return type(value)(_copied(one, device) for one in value) if type(value) in (list, tuple) else value


def check_tensor(name: str, value: Any, kind: str, *shape: int | str) -> Tensor:
    """Return ``value``, or raise if it is no tensor of this kind and shape.

    Parameters
    ----------
    name : str
        What the argument is called.
    value : Tensor
    kind : {"float", "int", "bool", "number"}
        What it holds; a number is either of the first two.
    *shape : int or str
        Sizes; a word stands for any size. Without any, the shape is free.
    """
    sizes = f", shape ({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})" if shape else ""
    wanted = f"a tensor of {kind}{sizes}"
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be {wanted}, got {shown(value)} of type {type(value).__name__}.")
    floating, truth = value.is_floating_point(), value.dtype == torch.bool
    whole = not (floating or truth or value.is_complex())
    if not {"float": floating, "int": whole, "bool": truth, "number": floating or whole}[kind]:
        raise TypeError(f"{name} must be {wanted}, got one of {value.dtype}.")
    fits = all(isinstance(want, str) or want == size for want, size in zip(shape, value.shape, strict=False))
    if shape and (value.ndim != len(shape) or not fits):
        raise DataError(f"{name} must be {wanted}, got shape {tuple(value.shape)}.")
    return value


def check_indices(name: str, value: Any, n: int, dimensions: int) -> Tensor:
    """Return ``value``, or raise if it holds anything but whole numbers from 0 to n - 1."""
    indices = check_tensor(name, value, "int", *("b", "c")[:dimensions])
    if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= n):
        raise IndexError(
            f"{name} must be from 0 to {n - 1}, got {int(indices.min())} to {int(indices.max())}."
        )
    return indices
