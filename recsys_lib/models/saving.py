"""One file per model: tensors, and JSON for the rest. Loading it can never execute code."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from recsys_lib._tensors import read_tensors, write_tensors
from recsys_lib.device import resolve_device
from recsys_lib.distributed import is_first
from recsys_lib.errors import DataError, FileFormatError, RecsysError
from recsys_lib.histories import Histories
from recsys_lib.ids import IdMap

if TYPE_CHECKING:
    from recsys_lib.models.base import Recommender

FORMAT, VERSION = "recsys_lib model", 1
# What is learned is held in these types only.
_TYPES = (torch.float32, torch.int64, torch.int32, torch.uint8, torch.bool)
# Every kind of model by the name of its class; subclasses enter themselves.
FAMILIES: dict[str, type[Any]] = {}

Model = TypeVar("Model", bound="Recommender")


def save(model: Recommender, path: str | os.PathLike[str]) -> None:
    """Write a fitted model; see :meth:`Recommender.save`."""
    learned = model._state()  # of divided tables, every process has to send its part
    if not is_first():
        return
    params = {f.name: getattr(model, f.name) for f in fields(model) if f.name != "device"}
    header = {"format": FORMAT, "version": VERSION, "model": type(model).__name__, "params": params}
    contents: dict[str, Tensor | str] = {
        "header": json.dumps(header, default=_plain),
        "user_ids": _pack_ids(model.user_ids),
        "item_ids": _pack_ids(model.item_ids),
        "seen.indptr": model.seen_.indptr.cpu(),
        "seen.indices": model.seen_.indices.int().cpu(),
    }
    contents |= {f"state.{key}": value.detach().cpu() for key, value in learned.items()}
    write_tensors(path, contents)


def load(path: str | os.PathLike[str], device: str = "auto", kind: type[Model] | None = None) -> Model:
    """Read a model that was written by ``save``, onto a device.

    Parameters
    ----------
    path : path-like
        The file.
    device : str
        Where the model shall live.
    kind : type, optional
        Refuse a model that is not of this class.

    Raises
    ------
    FileFormatError
        If the file is damaged, or was not written by this library.
    """
    resolve_device(device)
    contents = read_tensors(path)
    header = _read_header(contents, path)
    family = FAMILIES.get(header["model"])
    if family is None:
        raise FileFormatError(f"{path}: there is no model called {header['model']!r} in this version.")
    if kind is not None and not issubclass(family, kind):
        raise FileFormatError(f"{path} holds a {header['model']}, not a {kind.__name__}.")
    try:
        model: Model = family(**header["params"], device=device)
        user_ids, item_ids = (_unpack_ids(contents[f"{w}_ids"], w) for w in ("user", "item"))
        seen = Histories.from_tensors(contents["seen.indptr"], contents["seen.indices"], len(item_ids))
        if len(seen) != len(user_ids):
            raise DataError(f"there are histories of {len(seen)} of {len(user_ids)} users.")
        model._wear(user_ids, item_ids, seen.to(resolve_device(device)))
        state = {k.removeprefix("state."): v for k, v in contents.items() if k.startswith("state.")}
        for key, value in state.items():
            if not isinstance(value, Tensor) or value.dtype not in _TYPES:
                raise DataError(f"{key} is no tensor of {' or '.join(map(str, _TYPES))}.")
        model._load_state({key: value.to(model.device_) for key, value in state.items()})
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, AttributeError, RecsysError) as error:
        raise FileFormatError(
            f"{path} does not hold a complete {header['model']}: {type(error).__name__}: {error}"
        ) from error
    return model


def _read_header(contents: dict[str, Any], path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        header = json.loads(contents["header"])
        ours = header["format"] == FORMAT and isinstance(header["model"], str)
        version = int(header["version"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} was not written by this library.") from error
    if not ours:
        raise FileFormatError(f"{path} was not written by this library.")
    if version > VERSION:
        raise FileFormatError(
            f"{path} has format version {version}, and this library reads up to {VERSION}: update it."
        )
    return dict(header)


def _plain(value: Any) -> Any:
    """Turn NumPy's numbers, which hyper-parameters may well be, into Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a hyper-parameter of type {type(value).__name__} cannot be saved: {value!r}.")


def _pack_ids(ids: IdMap) -> Tensor | str:
    values = ids.ids
    return torch.from_numpy(values.copy()) if values.dtype == "int64" else ids.to_json()


def _unpack_ids(packed: Tensor | str, what: str) -> IdMap:
    return IdMap.from_json(packed, what) if isinstance(packed, str) else IdMap(packed.numpy(), what)
