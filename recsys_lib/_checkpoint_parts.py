"""What each process writes of a checkpoint in a folder, and how it is read by any number of processes.

The folder is that of :mod:`torch.distributed.checkpoint`. Its import takes two seconds, so it is left to
those who divide tables.
"""

from __future__ import annotations

import contextlib
import io
import pickle  # only to read names that are known to be harmless
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from recsys_lib import _shards, distributed
from recsys_lib._tensors import UNREADABLE
from recsys_lib.errors import FileFormatError

# All that the index of a folder may be made of. The format is a pickle, which could name anything.
_HARMLESS = {
    "torch.distributed.checkpoint.metadata": {
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size", "float32", "float64", "int64", "int32", "uint8", "bool", "bfloat16", "strided"},
    "pathlib": {"Path", "PosixPath", "WindowsPath", "PurePosixPath"},
}


def write(folder: Path, state: Mapping[str, Any], net: nn.Module) -> None:
    """Write this process's part of a state to a folder."""
    alone = not distributed.shards_tables()
    with _quiet():
        save(_flat(state, net), checkpoint_id=folder, no_dist=alone)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither one process alone is a reason for a warning, nor what PyTorch's own writer does (2.8)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        warnings.filterwarnings("ignore", message="TypedStorage is deprecated")
        yield


def _flat(state: Mapping[str, Any], net: nn.Module) -> dict[str, Tensor]:
    """Name all tensors of a state, those of divided tables as what they are parts of."""
    cuts, first = _shards.tables_of(net), distributed.is_first()
    flat: dict[str, Tensor] = {}
    for key, name, value in _tensors(state, [name for name, _ in net.named_parameters()]):
        cut = cuts.get(name)
        if cut is not None and value.ndim and len(value) == len(cut):
            flat[key] = _shards.as_whole(value, cut)
        elif first:
            flat[key] = value
    if first:
        rest = {key: value for key, value in state.items() if key not in ("net", "best_state", "optimizer")}
        rest["param_groups"] = state["optimizer"]["param_groups"]
        buffer = io.BytesIO()
        torch.save(rest, buffer)
        flat["rest"] = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    return flat


def _tensors(state: Mapping[str, Any], names: list[str]) -> Iterator[tuple[str, str, Tensor]]:
    """Yield key, name of the weight, and value of all that belongs to weights."""
    for part in ("net", "best_state"):
        for name, value in (state[part] or {}).items():
            yield f"{part}.{name}", name, value
    for number, values in state["optimizer"]["state"].items():
        for key, value in values.items():
            yield f"optimizer.{names[number]}.{key}", names[number], value


def read(path: Path, pointer: Path, net: nn.Module) -> dict[str, Any]:
    """Put together what this process holds of the parts in the folder that the pointer names.

    Raises
    ------
    FileFormatError
        If they are damaged, or were not written by this library.
    """
    try:
        reader = _Reader(path / pointer.read_text())
        found = reader.read_metadata().state_dict_metadata
        flat = {key: _room_for(key, about, net) for key, about in found.items()}
        with _quiet():
            load(flat, storage_reader=reader, no_dist=True)  # each process what it needs
        rest = torch.load(io.BytesIO(flat.pop("rest").numpy().tobytes()), weights_only=True)
    except (*UNREADABLE, CheckpointException) as error:
        shown = f"{type(error).__name__}: {str(error)[:80]}"
        raise FileFormatError(f"{path} is damaged, or was not written by this library ({shown}).") from error
    state: dict[str, Any] = {"net": {}, "best_state": {}, "optimizer": {"state": {}}}
    state["optimizer"]["param_groups"] = rest.pop("param_groups")
    numbers = {name: number for number, (name, _) in enumerate(net.named_parameters())}
    for key, value in flat.items():
        part, _, name = key.partition(".")
        local = value.to_local() if isinstance(value, DTensor) else value
        if part == "optimizer":
            name, _, what = name.rpartition(".")
            if name in numbers:
                state[part]["state"].setdefault(numbers[name], {})[what] = local
        else:
            state[part][name] = local
    state["best_state"] = state["best_state"] or None
    return state | rest


def _room_for(key: str, about: Any, net: nn.Module) -> Tensor:
    """Return an empty tensor for what a checkpoint holds, or for this process's part of it."""
    if not isinstance(about, TensorStorageMetadata):
        raise ValueError(f"{key} is no tensor")
    part, _, name = key.partition(".")
    cut = _shards.tables_of(net).get(name.rpartition(".")[0] if part == "optimizer" else name)
    dtype = about.properties.dtype
    if cut is None or not about.size or about.size[0] != cut.n:
        return torch.empty(about.size, dtype=dtype)
    return _shards.as_whole(torch.empty(len(cut), *about.size[1:], dtype=dtype), cut)


class _Reader(FileSystemReader):
    """A reader that takes nothing from an index but what an index is made of."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        with open(Path(self.path) / ".metadata", "rb") as file:
            metadata = _Harmless(file).load()
        if not isinstance(metadata, Metadata):
            raise ValueError("the index is none")
        return metadata


class _Harmless(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "pathlib._local":  # where Python 3.13, and no other, says that its paths are
            module = "pathlib"
        if name not in _HARMLESS.get(module, ()):
            raise pickle.UnpicklingError(f"the index names {module}.{name}")
        return super().find_class(module, name)
