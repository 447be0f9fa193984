"""MovieLens-100K in the benchmark of Microsoft's *recommenders* repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.choose import best_of
from benchmarks.table import Measure, Row, Table
from recsys_lib import Interactions, datasets, evaluate, splits
from recsys_lib.models import EASE, BiasedMF, ItemKNN, Popularity
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


def _published(ndcg: float, average_precision: float, precision: float, recall: float) -> dict[str, float]:
    return dict(zip(METRICS, (ndcg, average_precision, precision, recall), strict=True))


def _rows(folder: Path | None) -> list[Row]:
    parts = split(datasets.load("ml-100k", folder=folder))

    def ranking(make: Callable[[int], Recommender]) -> Measure:
        def measure(seed: int) -> dict[str, float]:
            result = evaluate(
                make(seed).fit(parts.train), parts, 10, metrics=("ndcg", "map", "precision", "recall")
            )
            return {metric: result[metric] for metric in METRICS}

        return measure

    def tuned_ease(seed: int) -> Recommender:
        return best_of([EASE(l2=l2) for l2 in EASE_GRID], parts.train, by="item")

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
            measure=ranking(tuned_ease),
            seeded=False,
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
        Row(model="NCF", published=_published(0.368634, 0.095231, 0.326935, 0.163221)),
        Row(model="SAR", published=_published(0.393819, 0.114038, 0.340615, 0.185377)),
        Row(model="LightGCN", published=_published(0.416371, 0.120902, 0.359173, 0.195985)),
        Row(model="BPR (Cornac)", published=_published(0.444991, 0.133977, 0.388653, 0.216555)),
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
        f"items of a user. ItemKNN keeps all neighbours. The l2 of EASE is one of {EASE_WORDS}:\n"
        'the best on hidden tenths of train. "By rating": a model of ratings ranks by what it predicts.'
    ),
    metrics=METRICS,
    rows=_rows,
)
