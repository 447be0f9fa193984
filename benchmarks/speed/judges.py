"""How good the lists of a side are: beside a time there is always a quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recsys_lib.metrics import hits, ndcg
from recsys_lib.splits import Split

Arrays = dict[str, np.ndarray]

# Users whose lists are made again: enough to see a difference, and few enough for a slow and sure method.
_SOME = 500


@dataclass(frozen=True)
class Judge:
    """A measure of lists.

    Parameters
    ----------
    name : str
        As shown.
    value : callable
        Of the lists, shape (n_users, 10), the split, and what else both sides were given.
    """

    name: str
    value: Callable[[np.ndarray, Split, Arrays], float]


def _ndcg(lists: np.ndarray, split: Split, arrays: Arrays) -> float:
    relevant = split.test.histories()
    users = torch.nonzero(relevant.lengths())[:, 0]
    relevant = relevant.select(users)
    rows = torch.from_numpy(lists.astype(np.int64))[users]
    return float(ndcg(hits(rows, relevant), relevant.lengths(), rows.shape[1]).mean())


def _agreement(lists: np.ndarray, split: Split, arrays: Arrays) -> float:
    """Return how much of the best new items, found by a full sort in double precision, the lists have."""
    seen = split.train.to_csr()
    n_users = seen.shape[0]
    users = np.random.default_rng(0).permutation(n_users)[:_SOME]
    same = 0
    for user in users:
        scores: Any = arrays["item_factors"].astype(np.float64) @ arrays["user_factors"][user]
        scores[seen.indices[seen.indptr[user] : seen.indptr[user + 1]]] = -np.inf
        best = np.argsort(-scores, kind="stable")[: lists.shape[1]]
        same += len(np.intersect1d(best, lists[user]))
    return same / (len(users) * lists.shape[1])


NDCG = Judge("nDCG@10", _ndcg)
AGREEMENT = Judge("right items", _agreement)
