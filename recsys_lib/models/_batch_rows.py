"""Networks of pairs that read, and learn in a step, only the rows of large tables that a batch names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from recsys_lib import distributed
from recsys_lib.histories import Histories
from recsys_lib.models.embeddings import IdEmbedding
from recsys_lib.sparse_rows import take_rows
from recsys_lib.training import TrainingOptions

# Numbers in a table from which a step of the rows of a batch takes less time than one of the table, if these
# rows are at most a sixteenth of it. On two cores, 65 numbers a row and batches of 4,096: with 1.3 and 3.3
# million as long, with 6.5 million a fourth, with 13 million a seventh. On a GPU, where the host has to wait
# for the number of rows, it is a guess from the bytes that a step of the table moves.
_NUMBERS, _GPU_NUMBERS = 2**22, 2**28
_TIMES = 16


def defer_large_tables(
    net: nn.Module, named: Mapping[str, int], options: TrainingOptions, device: torch.device
) -> None:
    """Let training leave most rows of a table alone in a step, where a batch names few of many.

    Adam's result stays the same but for rounding (:class:`recsys_lib.sparse_rows.DeferredAdam`), and that of
    the optimizers without moments in any case.

    Parameters
    ----------
    net : nn.Module
        Its loss must read these tables within :func:`on_rows` alone.
    named : mapping from "user" and "item" to int
        How many of them a batch names at the most.
    """
    if device.type not in ("cpu", "cuda") or options.weight_decay or distributed.shards_tables():
        return
    least = _NUMBERS if device.type == "cpu" else _GPU_NUMBERS
    tables: dict[str, list[str]] = {}
    for side, n in named.items():
        names = _tables(net, side)
        sizes = [net.get_parameter(name).numel() for name in names]
        if max(sizes) >= least and len(net.get_parameter(names[0])) >= _TIMES * n:
            tables[side] = names
    net.__dict__["deferred_tables"] = tables
    for name in (one for names in tables.values() for one in names):
        owner: Any = net.get_submodule(name.rpartition(".")[0])
        owner.sparse = True


def on_rows(net: nn.Module, users: Tensor, items: Tensor, call: Callable[[Any, Tensor, Tensor], Any]) -> Any:
    """Call a function with a network, users and items, where large tables have the rows of these alone.

    Parameters
    ----------
    net : nn.Module
        As :func:`defer_large_tables` left it.
    users, items : Tensor of int64, any shape
    call : callable
        ``call(net, users, items)``. Users and items are numbered within what there is of the tables.
    """
    tables: dict[str, list[str]] = getattr(net, "deferred_tables", {})
    if not tables:
        return call(net, users, items)
    here: dict[str, Tensor] = {}
    numbers = {"user": users, "item": items}
    for side, names in tables.items():
        rows, numbers[side] = numbers[side].unique(return_inverse=True)
        for name in names:
            here[f"net.{name}"] = take_rows(net.get_parameter(name), rows)
            owner = net.get_submodule(name.rpartition(".")[0])
            if isinstance(owner, IdEmbedding) and owner.features is not None:
                lists = Histories(owner.indptr, owner.codes, len(owner.features)).select(rows)
                stem = name.removesuffix("ids")
                here |= {f"net.{stem}indptr": lists.indptr, f"net.{stem}codes": lists.indices}
    return functional_call(_Caller(net), here, (call, numbers["user"], numbers["item"]), tie_weights=False)


class _Caller(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, call: Callable[[Any, Tensor, Tensor], Any], users: Tensor, items: Tensor) -> Any:
        return call(self.net, users, items)


def _tables(net: nn.Module, side: str) -> list[str]:
    """Name the parameters with a row for each user, or each item, such as gmf.user.ids and user_bias."""
    mine = re.compile(rf"(.*\.)?{side}(\.ids|_[a-z]+)")
    return [name for name, _ in net.named_parameters() if mine.fullmatch(name)]
