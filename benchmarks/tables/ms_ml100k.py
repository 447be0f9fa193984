"""MovieLens-100K in the benchmark of Microsoft's *recommenders* repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import settings
from benchmarks.choose import Validation, best_of, fitted, hidden_tenths, on
from benchmarks.table import Measure, Row, Table
from recsys_lib import Interactions, datasets, evaluate, splits
from recsys_lib.models import (
    BPR,
    EASE,
    IALS,
    BiasedMF,
    ItemKNN,
    LogisticMF,
    MultDAE,
    MultVAE,
    NeuMF,
    Popularity,
    RecVAE,
)
from recsys_lib.models.base import Recommender
from recsys_lib.splits import Split

METRICS = ("ndcg@10", "map@10", "precision@10", "recall@10")
EASE_GRID = (100.0, 200.0, 400.0, 800.0)
EASE_WORDS = ", ".join(f"{l2:g}" for l2 in EASE_GRID)
RERUN = "Not in the source: an independent implementation of the same split, model and metrics."


def split(x: Interactions) -> Split:
    """Make the split of the benchmark: 75 % of the ratings of each item are train.

    It is their ``python_stratified_split`` with ``ratio=0.75, filter_by="item", seed=42``.
    """
    return splits.random_holdout(x, test=0.25, by="item", seed=42)


def load(folder: Path | None) -> Split:
    """Load the data and split it."""
    return split(datasets.load("ml-100k", folder=folder))


def validations(parts: Split, n: int = 5) -> list[Validation]:
    """Hide a random tenth of the train rows of each item, ``n`` times anew."""
    return hidden_tenths(parts.train, by="item", n_cuts=n)


def _published(ndcg: float, average_precision: float, precision: float, recall: float) -> dict[str, float]:
    return dict(zip(METRICS, (ndcg, average_precision, precision, recall), strict=True))


def _rows(folder: Path | None) -> list[Row]:
    parts = load(folder)

    def values(model: Recommender) -> dict[str, float]:
        result = evaluate(model, parts, 10, metrics=[metric.removesuffix("@10") for metric in METRICS])
        return {metric: result[metric] for metric in METRICS}

    def ranking(make: Callable[[int], Recommender]) -> Measure:
        return fitted(on(parts.train, make), values)

    return [
        Row(
            model="Popularity",
            published=_published(0.252353, 0.055959, 0.228738, 0.113188),
            remark=RERUN,
            measure=ranking(lambda seed: Popularity()),
            seeded=False,
        ),
        Row(
            model="ItemKNN (Jaccard, all)",
            published=_published(0.395397, 0.116003, 0.339979, 0.188394),
            remark=RERUN,
            measure=ranking(lambda seed: ItemKNN(neighbours=None, similarity="jaccard")),
            seeded=False,
        ),
        Row(
            model="EASE (l2 chosen on train)",
            published=_published(0.4855, 0.1505, 0.4224, 0.2302),
            remark=RERUN,
            measure=ranking(lambda seed: best_of([EASE(l2=l2) for l2 in EASE_GRID], validations(parts))),
            seeded=False,
        ),
        Row(
            model="iALS",
            published=_published(0.4926, 0.1546, 0.4291, 0.2349),
            remark=RERUN,
            measure=ranking(lambda seed: IALS(seed=seed, **settings.IALS_MS_ML100K)),
        ),
        Row(
            model="LogisticMF",
            measure=ranking(lambda seed: LogisticMF(seed=seed, **settings.LOGISTIC_MF_MS)),
        ),
        Row(
            model="BPR",
            published=_published(0.444991, 0.133977, 0.388653, 0.216555),
            remark="BPR of the Cornac library, with 200 factors.",
            measure=ranking(lambda seed: BPR(seed=seed, **settings.BPR_MS)),
        ),
        Row(
            model="NeuMF",
            published=_published(0.368634, 0.095231, 0.326935, 0.163221),
            remark="Called NCF in the source: a NeuMF with 4 factors.",
            measure=ranking(lambda seed: NeuMF(seed=seed, **settings.NEUMF_MS)),
        ),
        Row(
            model="MultDAE",
            measure=ranking(lambda seed: MultDAE(seed=seed, **settings.MULT_DAE_MS)),
        ),
        Row(
            model="MultVAE",
            measure=ranking(lambda seed: MultVAE(seed=seed, **settings.MULT_VAE_MS)),
        ),
        Row(
            model="RecVAE",
            measure=ranking(lambda seed: RecVAE(seed=seed, **settings.REC_VAE_MS)),
        ),
        Row(
            model="BiasedMF (by rating)",
            measure=ranking(lambda seed: BiasedMF(seed=seed)),
        ),
        Row(
            model="SVD (Surprise, by rating)",
            published=_published(0.094445, 0.012060, 0.089077, 0.030094),
        ),
        Row(
            model="embdotbias (by rating)",
            published=_published(0.117810, 0.018954, 0.104242, 0.042450),
        ),
        Row(model="SAR", published=_published(0.393819, 0.114038, 0.340615, 0.185377)),
        Row(model="LightGCN", published=_published(0.416371, 0.120902, 0.359173, 0.195985)),
        Row(model="BiVAE (Cornac)", published=_published(0.468673, 0.143562, 0.408165, 0.220898)),
    ]


TABLE = Table(
    name="ms-ml100k",
    title="Ranking on MovieLens-100K, the split of Microsoft's recommenders",
    source="recommenders-team/recommenders, examples/06_benchmarks/movielens.ipynb, run of July 2025",
    protocol=(
        "every rating is an interaction; a random quarter of each item's rows is the test part\n"
        "(seed 42); all 1,682 items are ranked, except those that the user has in train; every test\n"
        "item is relevant; nDCG has gain 1 and an ideal list cut at 10; MAP and recall divide by all test\n"
        f"items of a user. ItemKNN keeps all neighbours. Settings are chosen on hidden tenths of train;\n"
        f"the l2 of EASE is one of {EASE_WORDS}.\n"
        '"By rating": a model of ratings ranks by what it predicts.'
    ),
    metrics=METRICS,
    rows=_rows,
    split="a random quarter of each item's rows (seed 42)",
    candidates="all 1,682 items, except those that the user has in train",
    cutoff="10",
)
