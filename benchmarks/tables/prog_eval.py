"""The recommendation task of prog-eval: precision after one epoch of an autoencoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import settings
from benchmarks.choose import best_of, fitted, hidden_tenths, on
from benchmarks.table import Row, Table
from benchmarks.tables.autorec import load_ml_1m
from recsys_lib import Interactions, datasets, evaluate, splits
from recsys_lib.errors import RecsysError
from recsys_lib.models import EASE, IALS, BottleneckAutoencoder, ItemKNN, Popularity
from recsys_lib.models.base import Recommender
from recsys_lib.models.rows import Batch
from recsys_lib.splits import Split

CUTS = (1, 5, 10)
METRICS = tuple(f"precision@{k}" for k in CUTS)
EASE_GRID = (100.0, 200.0, 500.0, 1000.0, 2000.0)
PROG_EVAL = "prog-eval, README of the folder recsys; one run."
# What one epoch of MovieLens-10M takes, in batches of 256 people.
STEPS = 273
ABSENT = "MovieLens-10M is not in the folder of the data sets, and could not be fetched."


def split(x: Interactions) -> Split:
    """Hide a fifth of the rows of each user, as the task does, with its seed but not its random numbers."""
    return splits.random_holdout(x, test=0.2, by="user", seed=789)


def values(model: Recommender, parts: Split) -> dict[str, float]:
    """Return the precision at each cut, in the full ranking."""
    return {
        f"precision@{k}": evaluate(model, parts, k, metrics=["precision"])[f"precision@{k}"] for k in CUTS
    }


def _load(name: str, folder: Path | None) -> Interactions | None:
    try:
        return load_ml_1m(folder) if name == "1M" else datasets.load(f"ml-{name.lower()}", folder=folder)
    except (RecsysError, OSError):
        return None


def _rows(folder: Path | None) -> list[Row]:
    published = dict(zip(METRICS, (0.51488308, 0.40814563, 0.34383354), strict=True))
    rows = []
    for name in ("10M", "1M", "100K"):
        x = _load(name, folder)
        if x is None:
            if name == "10M":
                remark = f"{PROG_EVAL} {ABSENT}"
                rows.append(Row(model="Bottleneck, 10M", published=published, remark=remark))
            continue
        rows += _rows_of(name, split(x), published if name == "10M" else {})
    return rows


def _rows_of(name: str, parts: Split, published: dict[str, float]) -> list[Row]:
    def row(
        model: str, make: Callable[[int], Recommender], *, seeded: bool = True, compare: bool = False
    ) -> Row:
        return Row(
            model=f"{model}, {name}",
            published=published if compare else {},
            remark=PROG_EVAL if compare and published else "",
            measure=fitted(on(parts.train, make), lambda fitted_model: values(fitted_model, parts)),
            seeded=seeded,
        )

    def ease(seed: int) -> Recommender:
        return best_of([EASE(l2=l2) for l2 in EASE_GRID], hidden_tenths(parts.train, by="user", n_cuts=1))

    return [
        row("Popularity", lambda seed: Popularity(), seeded=False),
        row("ItemKNN", lambda seed: ItemKNN(), seeded=False),
        row("EASE (l2 chosen on train)", ease, seeded=False),
        row("iALS", lambda seed: IALS(seed=seed, **settings.IALS_PROG_EVAL[name])),
        row("Bottleneck", lambda seed: BottleneckAutoencoder(seed=seed), compare=True),
        row("Bottleneck (items of the batch)", lambda seed: BottleneckAutoencoder(seed=seed, decode="batch")),
        *([] if name == "10M" else [row(f"Bottleneck, {STEPS} steps", lambda seed: InSteps(seed=seed))]),
    ]


class InSteps(BottleneckAutoencoder):
    """One epoch is as many steps as for MovieLens-10M: smaller data is gone through several times."""

    def _batches(self, data: Tensor, generator: torch.Generator) -> Iterator[Batch]:
        passes = (super(InSteps, self)._batches(data, generator) for _ in itertools.count())
        return itertools.islice(itertools.chain.from_iterable(passes), STEPS)


TABLE = Table(
    name="prog-eval",
    title="Precision after one epoch, the recommendation task of prog-eval",
    source="prog-eval/prog-eval, folder recsys, 2019",
    protocol=(
        "every rating is an interaction; a random fifth of each user's rows is the test part; all items are\n"
        "ranked, except those that the user has in train; precision is averaged over all users in test. The\n"
        "autoencoders see the training data once. The task is on MovieLens-10M, whose rows are measured\n"
        "where the data can be had; those on MovieLens-1M and 100K are the same in every other way, and\n"
        f"nothing is published for them. {STEPS} steps are one epoch of MovieLens-10M: smaller data is gone\n"
        "through several times. Settings of EASE and iALS are chosen on data cut from train."
    ),
    metrics=METRICS,
    rows=_rows,
    split="a random fifth of each user's rows",
    candidates="all items, except those that the user has in train",
    cutoff="1, 5 and 10",
)
