"""Products with the matrix of ones and zeros that histories stand for, which is never made."""

from __future__ import annotations

from warnings import catch_warnings, filterwarnings

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from recsys_lib.histories import Histories

# A table of more bytes than that is in no cache of a CPU, and goes through it in strips of so many columns,
# if its rows are read so many times each. Measured with 200 to 3,706 columns, one thread and two: otherwise
# cutting costs more than it saves. EASE scores MovieLens-1M in a quarter of the time.
_LARGE, _STRIP, _READS = 2**25, 128, 6


def pattern_of(offsets: Tensor, items: Tensor, n_items: int) -> Tensor:
    """Return the sparse matrix (n, n_items) with places for the items of each list, and zeros in them."""
    with catch_warnings():
        filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(
            offsets,
            items,
            torch.zeros(len(items), device=items.device),
            size=(len(offsets) - 1, n_items),
            check_invariants=False,
        )


def dots(histories: Histories, x: Tensor, vectors: Tensor) -> Tensor:
    """Multiply the vector of each list with those of its items, (b, d), (m, d) -> (n_entries,)."""
    pattern = pattern_of(histories.indptr, histories.indices, histories.n_items).to(x.dtype)
    return torch.sparse.sampled_addmm(pattern, x, vectors.T, beta=0.0).values()


def sums(table: Tensor, histories: Histories, weights: Tensor | None = None) -> Tensor:
    """Sum the rows of a table, (m, d), that belong to the items of each list, weighted -> (b, d)."""
    places, starts = histories.indices, histories.indptr[:-1]

    def bags(part: Tensor) -> Tensor:
        return embedding_bag(places, part, starts, mode="sum", per_sample_weights=weights)

    is_large = table.device.type == "cpu" and table.nbytes > _LARGE and table.shape[1] > _STRIP
    if not is_large or len(places) < _READS * len(table):
        return bags(table)
    result = table.new_empty(len(starts), table.shape[1])
    for into, strip in zip(result.split(_STRIP, 1), table.split(_STRIP, 1), strict=True):
        into.copy_(bags(strip.contiguous()))
    return result
