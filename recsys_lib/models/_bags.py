"""Sums of rows of a table, one for each history: the scores of item models, the input of autoencoders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recsys_lib._products import sums
from recsys_lib.histories import Histories
from recsys_lib.sparse_rows import gradient_of_rows


def sum_rows(
    table: Tensor, histories: Histories, weights: Tensor | None = None, items: Tensor | None = None
) -> Tensor:
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
    items : Tensor of int64, shape (k,), optional
        The rows of the table that the histories are over: number 0 is the first of them. Different from each
        other, ascending. Then the gradient holds these rows alone, as that of
        :func:`recsys_lib.sparse_rows.take_rows`, and no copy of them is made.

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
        return _sums(table, histories, weights, items)
    result: Tensor = _SumRows.apply(table, histories, weights, items)
    return result


def _sums(table: Tensor, histories: Histories, weights: Tensor | None, items: Tensor | None) -> Tensor:
    if items is not None:
        histories = Histories(histories.indptr, items[histories.indices], len(table))
    return sums(table, histories, weights)


class _SumRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, table: Tensor, histories: Histories, weights: Tensor | None, items: Tensor | None
    ) -> Tensor:
        ctx.histories, ctx.shape = histories, table.shape
        ctx.save_for_backward(weights, items)
        return _sums(table, histories, weights, items)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None, None, None]:
        weights, items = ctx.saved_tensors
        rows_of_items, places = ctx.histories.transposed(keep=True)
        gradient = sums(slopes, rows_of_items, None if weights is None else weights[places])
        if items is not None:
            gradient = gradient_of_rows(items, gradient, ctx.shape)
        return gradient, None, None, None
