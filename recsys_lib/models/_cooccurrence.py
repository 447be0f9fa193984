"""Counting, for all pairs of items, the users who had both: the one pass over the data of the item models."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recsys_lib._products import sums
from recsys_lib.histories import Histories

# Size of one dense block of counts. The sparse product behind it takes at most twice as much on top.
_BLOCK_BYTES = 64 * 2**20
# Additions in rows of a dense block that take a CPU as long as one in a product of sparse matrices.
_ADDITIONS = 25
# Items whose users are one dense block, if it takes no more bytes than a block of counts.
_STRIP = 256


def co_counts(seen: Histories, user_weights: Tensor | None = None) -> Iterator[tuple[int, Tensor]]:
    r"""Yield :math:`X^\top \mathrm{diag}(w) X` in blocks of rows; X is the 0/1 matrix of users and items.

    The product of two sparse matrices takes :math:`\sum_u |H_u|^2` steps for histories :math:`H_u`. Where
    histories are long, as on MovieLens-1M, it takes less time to sum dense rows, a few items wide, over the
    users of each item: far more steps, but short ones, side by side in memory.

    Parameters
    ----------
    seen : Histories
        The items of each user.
    user_weights : Tensor, shape (n_users,), optional
        The weight of each user in all counts; 1 by default.

    Yields
    ------
    start : int
        The item of the first row of the block.
    block : Tensor of float32, shape (b, n_items)
        On the CPU. Counts up to 2**24 are exact.
    """
    seen = seen.to("cpu")
    if user_weights is not None:
        user_weights = user_weights.cpu().float()
    steps = float(seen.lengths().double().square().sum())
    fits = 4 * _STRIP * len(seen) <= _BLOCK_BYTES
    if fits and len(seen.indices) * seen.n_items < _ADDITIONS * steps:
        yield from _by_strips(seen, user_weights)
    else:
        yield from _by_sparse_products(seen, user_weights)


def _by_strips(seen: Histories, user_weights: Tensor | None) -> Iterator[tuple[int, Tensor]]:
    users_of, _ = seen.transposed()
    for items in torch.arange(seen.n_items).split(_STRIP):
        some = users_of.select(items)
        strip = torch.zeros(len(seen), len(items))
        columns, users = some.pairs()
        strip[users, columns] = torch.ones(len(users)) if user_weights is None else user_weights[users]
        yield int(items[0]), sums(strip, users_of).T.contiguous()


def _by_sparse_products(seen: Histories, user_weights: Tensor | None) -> Iterator[tuple[int, Tensor]]:
    indptr, indices = seen.indptr.numpy(), seen.indices.numpy()
    ones = np.ones(len(indices), dtype=np.float32)
    by_user = sp.csr_matrix((ones, indices, indptr), shape=(len(seen), seen.n_items))
    by_item = by_user.T.tocsr()
    if user_weights is not None:
        by_item.data *= user_weights.numpy()[by_item.indices]
    size = max(1, _BLOCK_BYTES // (4 * seen.n_items))
    for start in range(0, seen.n_items, size):
        yield start, torch.from_numpy((by_item[start : start + size] @ by_user).toarray())


def lost_in_rounding(l2: float, counts: Tensor) -> bool:
    """Tell whether adding ``l2`` to the largest count, in float32, would leave it as it was."""
    return l2 < float(counts.max()) * torch.finfo(torch.float32).eps
