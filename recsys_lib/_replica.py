"""One rank's copy of a network that is trained by several: its part of a step, and the gradient of all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from recsys_lib import _shards, distributed


class Replica:
    """Computes the gradient of a batch of which every rank has a part.

    Ordinary gradients are averaged by PyTorch's ``DistributedDataParallel``, while the rest are still being
    computed. Sparse ones, which it cannot take from our tables, are added up after it. Of tables that are
    divided (:mod:`recsys_lib._shards`) a rank has the whole gradient of its rows already.

    Parameters
    ----------
    net : nn.Module
        On its device. All ranks go on from the weights of the first.
    loss : callable
        ``loss(net, batch)``, the mean over this rank's part of a batch. It may call any method of the net.
        For an empty part it may be NaN.
    size : callable
        ``size(batch)``, the number of examples that the loss is a mean over.
    """

    def __init__(
        self, net: nn.Module, loss: Callable[[nn.Module, Any], Tensor], size: Callable[[Any], int]
    ) -> None:
        self._net, self._size = net, size
        sparse = {
            f"{prefix}.{name}".lstrip("."): parameter
            for prefix, module in net.named_modules()
            if getattr(module, "sparse", False)
            for name, parameter in module.named_parameters(recurse=False)
        }
        cuts = _shards.tables_of(net)
        self._divided = [parameter for name, parameter in net.named_parameters() if name in cuts]
        sparse = {name: parameter for name, parameter in sparse.items() if name not in cuts}
        self._sparse = list(sparse.values())
        for tensor in (*self._sparse, *net.buffers()):
            distributed.from_first(tensor)
        # Looking for weights that a step leaves out takes time, so it is done for such nets alone.
        in_turns = bool(getattr(net, "trained_in_turns", False))
        self._task: nn.Module = _Task(net, loss, in_turns)
        if any(p.requires_grad for name, p in net.named_parameters() if name not in sparse | cuts):
            # Nor do buffers have to be sent in every step: see share_buffers.
            others = [f"net.{name}" for name in (*sparse, *cuts, *dict(net.named_buffers()))]
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self._task, others)
            self._task = DistributedDataParallel(self._task, find_unused_parameters=in_turns)

    def backward(self, batch: Any, autocast: AbstractContextManager[Any]) -> Tensor:
        """Leave the gradient of the whole batch in the parameters.

        Returns
        -------
        Tensor, scalar
            What this rank's part adds to the mean loss of the whole batch. Detached.
        """
        n = self._size(batch)
        with autocast:
            # On its way while the network computes.
            total = torch.tensor(n, dtype=torch.int64, device=next(self._net.parameters()).device)
            arriving = dist.all_reduce(total, async_op=True)
            value: Tensor = self._task(batch)
        arriving.wait()
        share = (n / total).to(value.dtype)
        # The gradients will be averaged over the ranks. Those of an empty part are zeros: a mean over nothing
        # is NaN, but nothing can carry its gradient on.
        (value * (share * distributed.world_size())).backward()
        for parameter in self._sparse:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = union_of_rows(parameter.grad / distributed.world_size())
            elif parameter.grad is not None:
                dist.all_reduce(parameter.grad.div_(distributed.world_size()))
        for parameter in self._divided:
            if parameter.grad is not None:
                parameter.grad.div_(distributed.world_size())
        return value.detach() * share if n else torch.zeros_like(share)

    def share_buffers(self) -> None:
        """Give all ranks the buffers of the first, which may hold statistics of its own parts alone."""
        for buffer in self._net.buffers():
            if buffer.is_floating_point():
                distributed.from_first(buffer)


class _Task(nn.Module):
    """A loss as a module: what ``DistributedDataParallel`` takes. It looks at no method but ``forward``."""

    def __init__(self, net: nn.Module, loss: Callable[[nn.Module, Any], Tensor], in_turns: bool) -> None:
        super().__init__()
        self.net, self._loss = net, loss
        if in_turns:
            # Never used: PyTorch warns when it looks for unused weights and finds none in some step.
            self.idle = nn.Parameter(torch.zeros(1, device=next(net.parameters()).device))

    def forward(self, batch: Any) -> Tensor:
        return self._loss(self.net, batch)


def union_of_rows(gradient: Tensor) -> Tensor:
    """Add up the sparse gradients of all ranks.

    Parameters
    ----------
    gradient : sparse Tensor, shape (n, ...)
        Some of n rows.

    Returns
    -------
    sparse Tensor, shape (n, ...), coalesced
        All rows that some rank has. What travels is in proportion to them and not to n.
    """
    gradient = gradient.coalesce()
    rows, values = gradient.indices()[0], gradient.values()
    lengths = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(distributed.world_size())]
    dist.all_gather(lengths, torch.tensor([len(rows)], device=rows.device))
    # All must send equally much: the shorter lists are filled up with -1, which is no row.
    filled = rows.new_full((int(torch.cat(lengths).max()),), -1)
    filled[: len(rows)] = rows
    everyone = [torch.empty_like(filled) for _ in range(distributed.world_size())]
    dist.all_gather(everyone, filled)
    union = torch.cat(everyone).unique()
    union = union[union >= 0]
    total = values.new_zeros(len(union), *values.shape[1:])
    total[torch.searchsorted(union, rows)] = values
    dist.all_reduce(total)
    with torch.sparse.check_sparse_tensor_invariants(enable=False):
        return torch.sparse_coo_tensor(union.unsqueeze(0), total, gradient.shape, is_coalesced=True)
