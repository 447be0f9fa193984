"""Products with the matrix of ones and zeros that histories stand for, which is never made."""

from __future__ import annotations

from warnings import catch_warnings, filterwarnings

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from recsys_lib.histories import Histories


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
    return embedding_bag(
        histories.indices, table, histories.indptr[:-1], mode="sum", per_sample_weights=weights
    )
