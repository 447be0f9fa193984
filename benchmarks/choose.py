"""Choosing settings on a cut of the training data. The test part is never looked at."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from typing import Literal

from recsys_lib import Interactions, evaluate, splits
from recsys_lib.models.base import Recommender


def best_of(
    models: Sequence[Recommender],
    train: Interactions,
    metric: str = "ndcg",
    *,
    by: Literal["user", "item", "global"] = "user",
    n_cuts: int = 5,
) -> Recommender:
    """Return the model, not fitted, that ranks a hidden tenth of ``train`` best on average.

    Parameters
    ----------
    models : sequence of Recommender
        The same model with different settings.
    train : Interactions
        Cut 90 to 10 at random, ``n_cuts`` times anew: one tenth alone is too noisy to choose by.
    metric : str
        Of :func:`recsys_lib.evaluate`, at 10.
    by : {"user", "item", "global"}
        See :func:`recsys_lib.splits.random_holdout`. Cut as the test part was cut.
    """
    cuts = [splits.random_holdout(train, test=0.1, by=by, seed=seed) for seed in range(n_cuts)]

    def value(model: Recommender) -> float:
        return statistics.fmean(
            evaluate(copy.copy(model).fit(cut.train), cut, metrics=[metric])[f"{metric}@10"] for cut in cuts
        )

    return max(models, key=value)
