"""RMSE and MAE of predicted ratings on MovieLens-100K, in five-fold cross-validation."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.table import Measure, Row, Table
from recsys_lib import datasets, metrics, splits
from recsys_lib.evaluation import evaluate_ratings
from recsys_lib.models import BiasedMF
from recsys_lib.models.base import Recommender
from recsys_lib.splits import Split

# Given a fold and a seed: the value of every metric on that fold.
FoldMeasure = Callable[[Split, int], dict[str, float]]

METRICS = ("rmse", "mae")
FOLDS = 5
SURPRISE = "Surprise's README: five folds of its own."
MYMEDIALITE = "MyMediaLite's results page: five folds of its own."


def _published(rmse: float, mae: float) -> dict[str, float]:
    return dict(zip(METRICS, (rmse, mae), strict=True))


def global_mean(fold: Split, seed: int) -> dict[str, float]:
    """Measure the guess that every rating is the mean rating of train."""
    train, test = fold.train.to_torch()["ratings"], fold.test.to_torch()["ratings"]
    guess = torch.full_like(test, float(train.mean()))
    return {"rmse": float(metrics.rmse(guess, test)), "mae": float(metrics.mae(guess, test))}


def fitted(make: Callable[[int], Recommender]) -> FoldMeasure:
    """Return a function that fits a model on the train part of a fold and measures it on the test part."""

    def measure(fold: Split, seed: int) -> dict[str, float]:
        result = evaluate_ratings(make(seed).fit(fold.train), fold)
        return {metric: result[metric] for metric in METRICS}

    return measure


def _rows(folder: Path | None) -> list[Row]:
    x = datasets.load("ml-100k", folder=folder)

    def cross_validated(one_fold: FoldMeasure) -> Measure:
        def measure(seed: int) -> dict[str, float]:
            folds = [one_fold(fold, seed) for fold in splits.k_fold(x, k=FOLDS, seed=seed)]
            return {metric: statistics.fmean(fold[metric] for fold in folds) for metric in METRICS}

        return measure

    return [
        Row(model="Mean rating", measure=cross_validated(global_mean)),
        Row(
            model="BiasedMF (biases only)",
            published=_published(0.944, 0.748),
            remark=SURPRISE + " The row is its BaselineOnly.",
            measure=cross_validated(fitted(lambda seed: BiasedMF(factors=0, seed=seed))),
        ),
        Row(
            model="BiasedMF",
            published=_published(0.91074, 0.72047),
            remark=MYMEDIALITE + " The row is its BiasedMF with 160 factors.",
            measure=cross_validated(fitted(lambda seed: BiasedMF(seed=seed))),
        ),
        Row(model="NormalPredictor (Surprise)", published=_published(1.518, 1.219)),
        Row(model="SVD (Surprise)", published=_published(0.934, 0.737)),
        Row(model="SVD++ (Surprise)", published=_published(0.919, 0.721)),
        Row(model="UserItemBaseline (MyMediaLite)", published=_published(0.94192, 0.74503)),
    ]


TABLE = Table(
    name="rmse-ml100k",
    title="Rating prediction on MovieLens-100K, five-fold cross-validation",
    source="the READMEs and result pages of Surprise and MyMediaLite",
    protocol=(
        f"the ratings are put into {FOLDS} random folds; each is predicted by a model fitted on the others.\n"
        "Predictions are cut off at the ends of the scale, and values are means over the folds. Each seed\n"
        "draws other folds, and another start of the model. The published values come from yet other random\n"
        "folds, so a difference within a few spreads says nothing."
    ),
    metrics=METRICS,
    rows=_rows,
    split="five-fold cross-validation, other folds for each seed",
    candidates="none: known ratings are predicted",
    cutoff="none",
)
