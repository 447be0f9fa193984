"""The recommendation task of prog-eval: precision after one epoch of an autoencoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import settings
from benchmarks.choose import best_of, fitted, hidden_tenths, on
from benchmarks.table import Row, Table
from benchmarks.tables.autorec import load_ml_1m
from recsys_lib import Interactions, datasets, evaluate, splits
from recsys_lib.errors import RecsysError
from recsys_lib.models import EASE, IALS, BottleneckAutoencoder, ItemKNN, Popularity
from recsys_lib.models.base import Recommender
from recsys_lib.splits import Split

CUTS = (1, 5, 10)
METRICS = tuple(f"precision@{k}" for k in CUTS)
EASE_GRID = (200.0, 500.0, 1000.0, 2000.0)
PROG_EVAL = "prog-eval, README of the folder recsys; one run."
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
        return load_ml_1m(folder) if name == "1M" else datasets.load("ml-10m", folder=folder)
    except (RecsysError, OSError):
        return None


def _rows(folder: Path | None) -> list[Row]:
    published = dict(zip(METRICS, (0.51488308, 0.40814563, 0.34383354), strict=True))
    rows = []
    for name in ("10M", "1M"):
        x = _load(name, folder)
        if x is None:
            rows.append(Row(model=f"Bottleneck, {name}", published=published, remark=f"{PROG_EVAL} {ABSENT}"))
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
        row("iALS", lambda seed: IALS(seed=seed, **settings.IALS_PROG_EVAL)),
        row("Bottleneck", lambda seed: BottleneckAutoencoder(seed=seed), compare=True),
        row("Bottleneck (items of the batch)", lambda seed: BottleneckAutoencoder(seed=seed, decode="batch")),
    ]


TABLE = Table(
    name="prog-eval",
    title="Precision after one epoch, the recommendation task of prog-eval",
    source="prog-eval/prog-eval, folder recsys, 2019",
    protocol=(
        "every rating is an interaction; a random fifth of each user's rows is the test part; all items are\n"
        "ranked, except those that the user has in train; precision is averaged over all users in test. The\n"
        "autoencoders see the training data once. The task is on MovieLens-10M, whose rows are measured\n"
        "where the data can be had; those on MovieLens-1M are the same in every other way, and nothing is\n"
        "published for them. Settings of EASE and iALS are chosen on data cut from train."
    ),
    metrics=METRICS,
    rows=_rows,
)
