"""RMSE of predicted ratings on random splits 90 to 10, as in the paper of AutoRec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from benchmarks import settings
from benchmarks.choose import fitted, on
from benchmarks.ncf_files import find_folder, read
from benchmarks.table import Row, Table
from recsys_lib import Interactions, datasets, splits
from recsys_lib.errors import DataError
from recsys_lib.evaluation import evaluate_ratings
from recsys_lib.models import AutoRec, BiasedMF
from recsys_lib.models.base import Recommender
from recsys_lib.splits import Split

METRICS = ("rmse", "mae")
SEDHAIN = "Sedhain et al. (2015), five random splits of their own."


def load_ml_1m(folder: Path | None) -> Interactions:
    """Return all ratings of MovieLens-1M, out of the files of the NCF authors or the official ones."""
    try:
        place = find_folder(folder)
    except DataError:
        return datasets.load("ml-1m", folder=folder)
    parts = read(place).split
    both = pd.concat([part.to_dataframe() for part in (parts.train, parts.test)], ignore_index=True)
    return Interactions.from_dataframe(both)


def _rows(folder: Path | None) -> list[Row]:
    data = {"100K": datasets.load("ml-100k", folder=folder), "1M": load_ml_1m(folder)}

    def row(name: str, size: str, make: Callable[[int], Recommender], rmse: float | None = None) -> Row:
        def fit(seed: int) -> tuple[Recommender, float]:
            return on(_split(data[size], seed).train, make)(seed)

        def measure(seed: int) -> Mapping[str, float]:
            return fitted(fit, lambda model: _errors(model, _split(data[size], seed)))(seed)

        return Row(
            model=f"{name}, {size}",
            published={} if rmse is None else {"rmse": rmse},
            remark="" if rmse is None else SEDHAIN,
            measure=measure,
        )

    rows = [
        row("BiasedMF", "100K", lambda seed: BiasedMF(seed=seed)),
        row("I-AutoRec", "100K", lambda seed: AutoRec(seed=seed, **settings.I_AUTOREC_100K)),
        row("U-AutoRec", "100K", lambda seed: AutoRec(seed=seed, **settings.U_AUTOREC_100K)),
        row("BiasedMF", "1M", lambda seed: BiasedMF(seed=seed, **settings.BIASED_MF_1M), 0.845),
        row("I-AutoRec", "1M", lambda seed: AutoRec(seed=seed, **settings.I_AUTOREC_1M), 0.831),
        row("U-AutoRec", "1M", lambda seed: AutoRec(seed=seed, **settings.U_AUTOREC_1M), 0.874),
    ]
    for name, rmse in (("U-RBM", 0.881), ("I-RBM", 0.854), ("LLORMA", 0.833)):
        rows.append(Row(model=f"{name}, 1M", published={"rmse": rmse}, remark=SEDHAIN))
    return rows


def _split(x: Interactions, seed: int) -> Split:
    return splits.random_holdout(x, test=0.1, by="global", seed=seed)


def _errors(model: Recommender, parts: Split) -> dict[str, float]:
    result = evaluate_ratings(model, parts)
    return {metric: result[metric] for metric in METRICS}


TABLE = Table(
    name="autorec",
    title="Rating prediction on MovieLens, random splits 90 to 10",
    source="Sedhain et al. (2015), WWW",
    protocol=(
        "a random tenth of the ratings is the test part; each seed draws another one, and another start of\n"
        "the model. Predictions are cut off at the ends of the scale. The published values are means over\n"
        "five other random splits. Users and items that are in test alone are predicted as well, by the\n"
        "mean and the bias that is known."
    ),
    metrics=METRICS,
    rows=_rows,
    split="a random tenth of the ratings, another for each seed",
    candidates="none: known ratings are predicted",
    cutoff="none",
)
