"""Measuring a model on held-out data while it is being fitted."""

from __future__ import annotations

from collections.abc import Callable

import torch

from recsys_lib.interactions import Interactions
from recsys_lib.metrics import hits, ndcg
from recsys_lib.models.base import Recommender
from recsys_lib.ranking import rank_catalogue


def ndcg_on(model: Recommender, valid: Interactions) -> Callable[[], float]:
    """Return a function that gives the mean nDCG@10 of the model as it is then.

    The whole catalogue is ranked for the users in ``valid``, without their items in training.
    """
    relevant = valid.histories(model.device_)
    users = torch.nonzero(relevant.lengths())[:, 0]
    relevant = relevant.select(users)

    def mean_ndcg() -> float:
        ranked, _ = rank_catalogue(model.score_users, users, 10, exclude=model.seen_)
        return float(ndcg(hits(ranked, relevant), relevant.lengths(), 10).mean())

    return mean_ndcg
