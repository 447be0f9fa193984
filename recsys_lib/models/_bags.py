"""Sums of rows of a table, one for each history: the scores of item models, the input of autoencoders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recsys_lib._products import sums
from recsys_lib.histories import Histories


def sum_rows(table: Tensor, histories: Histories, weights: Tensor | None = None) -> Tensor:
    r"""Sum the rows of a table that belong to the items of each history, each with a weight of its own.

    The product of the sparse matrix of histories with a dense table. No matter which other histories are in
    the batch, the sum of one history is the same to the last bit. Its gradient is the product with the
    transposed matrix, and worked out as one: in a fraction of the time that the gradient of
    :func:`torch.nn.functional.embedding_bag` takes a CPU, which sorts and then adds row by row.

    Parameters
    ----------
    table : Tensor of float, shape (m, d)
    histories : Histories, b lists over m items
    weights : Tensor of float, shape (n_entries,), optional
        Of the entries, list after list; 1 by default. They are not differentiated.

    Returns
    -------
    Tensor, shape (b, d)

    Examples
    --------
    >>> table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    >>> sum_rows(table, Histories.from_lists([[0, 1], [], [2]], n_items=3)).tolist()
    [[1.0, 1.0], [0.0, 0.0], [5.0, 5.0]]
    """
    if weights is not None:
        weights = weights.to(table.dtype)
    if not (torch.is_grad_enabled() and table.requires_grad):
        return sums(table, histories, weights)
    result: Tensor = _SumRows.apply(table, histories, weights)
    return result


class _SumRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, histories: Histories, weights: Tensor | None) -> Tensor:
        ctx.histories = histories
        ctx.save_for_backward(*(() if weights is None else (weights,)))
        return sums(table, histories, weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None]:
        rows_of_items, places = ctx.histories.transposed(keep=True)
        weights = ctx.saved_tensors[0][places] if ctx.saved_tensors else None
        return sums(slopes, rows_of_items, weights), None, None
