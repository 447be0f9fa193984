"""Fitting models, and choosing their settings on data cut from train. The test part is never looked at."""

from __future__ import annotations

import copy
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.table import FIT_SECONDS, Measure
from recsys_lib import Interactions, evaluate, splits
from recsys_lib.evaluation import Evaluation, SampledMetricsWarning
from recsys_lib.models.base import Recommender
from recsys_lib.splits import Split


@dataclass(frozen=True, eq=False)
class Validation:
    """What settings are chosen by: items that are hidden from ``train``.

    Attributes
    ----------
    split : Split
        Its test part is cut from the training part of a table.
    candidates : int, optional
        How many others compete with the hidden items; by default the whole catalogue does.
    metric : str
        Of :func:`recsys_lib.evaluate`, at 10.
    """

    split: Split
    candidates: int | None = None
    metric: str = "ndcg"

    def value(self, model: Recommender) -> float:
        """Measure a model that was fitted on ``split.train``."""
        result = sampled_or_not(model, self.split, self.candidates, [self.metric])
        return result[f"{self.metric}@10"]


def hidden_tenths(
    train: Interactions, *, by: Literal["user", "item", "global"], n_cuts: int = 5
) -> list[Validation]:
    """Cut ``train`` 90 to 10 at random, ``n_cuts`` times anew: one tenth alone is too noisy to choose by.

    Parameters
    ----------
    by : {"user", "item", "global"}
        See :func:`recsys_lib.splits.random_holdout`. Cut as the test part was cut.
    """
    return [Validation(splits.random_holdout(train, test=0.1, by=by, seed=seed)) for seed in range(n_cuts)]


def best_of(models: Sequence[Recommender], validations: Sequence[Validation]) -> Recommender:
    """Return the model, not fitted, that is best on average over the validations.

    Parameters
    ----------
    models : sequence of Recommender
        The same model with different settings.
    """

    def value(model: Recommender) -> float:
        return statistics.fmean(v.value(copy.copy(model).fit(v.split.train)) for v in validations)

    return max(models, key=value)


def sampled_or_not(model: Recommender, split: Split, candidates: Any, metrics: Sequence[str]) -> Evaluation:
    """Evaluate without the warning on sampled metrics: the tables that have them say it in words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SampledMetricsWarning)
        return evaluate(model, split, 10, metrics=metrics, candidates=candidates)


def fitted(
    fit: Callable[[int], tuple[Recommender, float]], values: Callable[[Recommender], Mapping[str, float]]
) -> Measure:
    """Return what a row needs: given a seed, fit a model and measure it.

    Parameters
    ----------
    fit : callable
        Given the seed, returns a fitted model and the seconds that the fit took.
    values : callable
        Given the fitted model, returns the metrics.
    """

    def measure(seed: int) -> dict[str, float]:
        model, seconds = fit(seed)
        return {**values(model), FIT_SECONDS: seconds}

    return measure


def on(train: Interactions, make: Callable[[int], Recommender]) -> Callable[[int], tuple[Recommender, float]]:
    """Return a function that fits the model made for a seed on ``train`` alone, and says how long it took.

    Validation data is not handed over: how long to train is one of the settings.
    """

    def fit(seed: int) -> tuple[Recommender, float]:
        model = make(seed).fit(train)
        return model, model.fit_seconds_

    return fit
