"""MovieLens-100K in the default protocol of RecBole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import settings
from benchmarks.choose import Validation, best_of, fitted, on
from benchmarks.table import Measure, Row, Table
from recsys_lib import Interactions, datasets, evaluate
from recsys_lib.models import (
    BPR,
    EASE,
    IALS,
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

METRICS = ("recall@10", "mrr@10", "ndcg@10", "hit_rate@10", "precision@10")
EASE_GRID = (100.0, 250.0, 500.0, 1000.0)
KNN_GRID = [(neighbours, shrinkage) for neighbours in (50, 100, 200, 400) for shrinkage in (0.0, 10.0, 50.0)]
DEFAULTS = "RecBole 1.2.1, run with its defaults on one CPU thread."
POP = "RecBole 1.2.1. It counts in how many training batches an item is, not how many users have it."
KNN_400 = "RecBole 1.2.1, run with k 400 and shrink 10."
EASE_500 = "RecBole 1.2.1, run with reg_weight 500."
BPR_512 = "RecBole 1.2.1, run with embedding_size 512, learning_rate 2e-4 and nDCG to stop by."
README = "RecBole's README, an earlier version of the program."


def split(x: Interactions, seed: int = 2020) -> Split:
    """Make RecBole's default split: of the rows of each user, a tenth are valid and a tenth are test.

    All rows are brought into a random order, the permutation that PyTorch draws for the seed. In that order,
    of a user's ``c`` rows the last ``c // 10`` are test, the ``c // 10`` before them valid and the others
    train. A user with fewer than ten rows has one row in test, and one in valid if another is left for train.

    Source: ``Dataset.build`` and ``Dataset.split_by_ratio`` of RecBole 1.2.1, with order RO, group_by user,
    split RS [0.8, 0.1, 0.1] and seed 2020. Row by row the same on MovieLens-100K.
    """
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).numpy()
    by_user = order[np.argsort(x.users[order], kind="stable")]
    counts = x.user_counts()
    from_end = (np.cumsum(counts) - 1)[x.users[by_user]] - np.arange(len(x))  # 0 for a user's last row
    tenth = np.maximum(1, counts // 10)
    n_test = np.where(counts > 1, tenth, 0)
    n_valid = np.where(counts > 2, tenth, 0)
    part = np.empty(len(x), dtype=np.int64)
    users = x.users[by_user]
    part[by_user] = (from_end < n_test[users]).astype(np.int64) + (from_end < (n_test + n_valid)[users])
    return Split(
        f"RecBole's random split by user, 80-10-10, seed {seed}",
        x.select(part == 0),
        x.select(part == 1),
        x.select(part == 2),
    )


def load(folder: Path | None) -> Split:
    """Load the data and split it."""
    return split(datasets.load("ml-100k", folder=folder))


def validations(parts: Split, n: int = 1) -> list[Validation]:
    """Return the validation part that the protocol has; there is one only."""
    assert parts.valid is not None
    return [Validation(Split(parts.name, parts.train, None, parts.valid))]


def _published(*values: float) -> dict[str, float]:
    return dict(zip(METRICS, values, strict=True))


def _rows(folder: Path | None) -> list[Row]:
    parts = load(folder)
    hidden = validations(parts)

    def values(model: Recommender) -> dict[str, float]:
        result = evaluate(model, parts, 10, metrics=[metric.removesuffix("@10") for metric in METRICS])
        return {metric: result[metric] for metric in METRICS}

    def ranking(make: Callable[[int], Recommender]) -> Measure:
        return fitted(on(parts.train, make), values)

    return [
        Row(
            model="Popularity",
            published=_published(0.0838, 0.1896, 0.1005, 0.4708, 0.0824),
            remark=POP,
            measure=ranking(lambda seed: Popularity()),
            seeded=False,
        ),
        Row(
            model="ItemKNN (k=100)",
            published=_published(0.2470, 0.4623, 0.2834, 0.7847, 0.1931),
            remark=DEFAULTS,
            measure=ranking(lambda seed: ItemKNN(neighbours=100)),
            seeded=False,
        ),
        Row(
            model="ItemKNN (chosen)",
            published=_published(0.2370, 0.4636, 0.2783, 0.7667, 0.1829),
            remark=KNN_400,
            measure=ranking(
                lambda seed: best_of(
                    [ItemKNN(neighbours=n, shrinkage=shrinkage) for n, shrinkage in KNN_GRID], hidden
                )
            ),
            seeded=False,
        ),
        Row(
            model="EASE (l2=250)",
            published=_published(0.2805, 0.5277, 0.3295, 0.8197, 0.2206),
            remark=DEFAULTS,
            measure=ranking(lambda seed: EASE(l2=250.0)),
            seeded=False,
        ),
        Row(
            model="EASE (l2 chosen)",
            published=_published(0.2772, 0.5324, 0.3302, 0.8261, 0.2208),
            remark=EASE_500,
            measure=ranking(lambda seed: best_of([EASE(l2=l2) for l2 in EASE_GRID], hidden)),
            seeded=False,
        ),
        Row(
            model="iALS",
            measure=ranking(lambda seed: IALS(seed=seed, **settings.IALS_RECBOLE_ML100K)),
        ),
        Row(
            model="LogisticMF",
            measure=ranking(lambda seed: LogisticMF(seed=seed, **settings.LOGISTIC_MF_RECBOLE)),
        ),
        Row(
            model="BPR",
            published=_published(0.2612, 0.5059, 0.3109, 0.8028, 0.2102),
            remark=BPR_512,
            measure=ranking(lambda seed: BPR(seed=seed, **settings.BPR_RECBOLE)),
        ),
        Row(
            model="NeuMF",
            published=_published(0.2358, 0.4587, 0.2790, 0.7699, 0.1935),
            remark=DEFAULTS,
            measure=ranking(lambda seed: NeuMF(seed=seed, **settings.NEUMF_RECBOLE)),
        ),
        Row(
            model="BPR (RecBole)",
            published=_published(0.2466, 0.4895, 0.2928, 0.7815, 0.1962),
            remark=DEFAULTS,
        ),
        Row(
            model="BPR (README)",
            published=_published(0.2368, 0.4519, 0.2768, 0.7614, 0.1901),
            remark=README,
        ),
        Row(
            model="MultDAE",
            published=_published(0.2644, 0.4866, 0.2981, 0.8165, 0.1998),
            remark=DEFAULTS,
            measure=ranking(lambda seed: MultDAE(seed=seed, **settings.MULT_DAE_RECBOLE)),
        ),
        Row(
            model="MultVAE",
            published=_published(0.2473, 0.4769, 0.2854, 0.7943, 0.1910),
            remark=DEFAULTS,
            measure=ranking(lambda seed: MultVAE(seed=seed, **settings.MULT_VAE_RECBOLE)),
        ),
        Row(
            model="RecVAE",
            published=_published(0.2540, 0.4888, 0.2937, 0.7953, 0.1941),
            remark=DEFAULTS,
            measure=ranking(lambda seed: RecVAE(seed=seed, **settings.REC_VAE_RECBOLE)),
        ),
        Row(
            model="SLIMElastic",
            published=_published(0.2750, 0.5231, 0.3235, 0.8123, 0.2164),
            remark=DEFAULTS,
        ),
    ]


TABLE = Table(
    name="recbole-ml100k",
    title="Ranking on MovieLens-100K in the default protocol of RecBole",
    source="RecBole 1.2.1 on the copy of MovieLens-100K that comes with it, unless a note says otherwise",
    protocol=(
        "every rating is an interaction; of each user's rows a random tenth is the test part and another\n"
        "one the validation part (seed 2020); all 1,682 items are ranked, except those that the user has in\n"
        "train or valid; every test item is relevant; nDCG has gain 1 and an ideal list cut at 10.\n"
        "Settings, the number of epochs among them, are chosen on the validation part."
    ),
    metrics=METRICS,
    rows=_rows,
    split="a random tenth of each user's rows (seed 2020)",
    candidates="all 1,682 items, except those that the user has in train or valid",
    cutoff="10",
)
