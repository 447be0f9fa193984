"""Measuring a model on held-out data while it is being fitted."""

from __future__ import annotations

from collections.abc import Callable

import torch

from recsys_lib import distributed
from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions
from recsys_lib.metrics import hits, ndcg
from recsys_lib.models.base import Recommender
from recsys_lib.ranking import rank_catalogue


def ndcg_on(model: Recommender, valid: Interactions) -> Callable[[], float]:
    """Return a function that gives the mean nDCG@10 of the model as it is then.

    The whole catalogue is ranked for the users in ``valid``, without their items in training. Several
    processes, which must call the function together, share the users out.

    Raises
    ------
    DataError
        If no user in ``valid`` has any.
    """
    relevant = valid.histories(model.device_)
    users = torch.nonzero(relevant.lengths())[:, 0]
    if not bool(model.seen_.select(users).lengths().any()):
        raise DataError(
            f"none of the {len(users):,} users in valid has a history in train, so {model.name} could only "
            "be measured by what is popular. Fit without valid; a callback can measure people who are "
            "held out: evaluate(model, split, on='valid')."
        )
    users = distributed.my_part(users)
    relevant = relevant.select(users)

    def mean_ndcg() -> float:
        ranked, _ = rank_catalogue(model.score_users, users, 10, exclude=model.seen_)
        return distributed.mean(ndcg(hits(ranked, relevant), relevant.lengths(), 10))

    return mean_ndcg
