"""How the defaults of BiasedMF were chosen: ``python -m benchmarks.search_biased_mf [--data DIR]``.

The data is MovieLens-100K in the five folds of ``splits.k_fold(x, k=5, seed=0)``. Every setting is fitted
on nine tenths of each fold's training part and measured by its RMSE on the last tenth; test parts are left
alone. One setting serves all folds, so a rating of one fold's test part can be in the validation cut of
another fold: that is customary with cross-validation, and how the published values came about.

The search goes from the defaults along one axis at a time. Its result is that no other setting is better by
more than what separates two random starts of one setting.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from recsys_lib import datasets, splits
from recsys_lib.evaluation import evaluate_ratings
from recsys_lib.models import BiasedMF
from recsys_lib.splits import Split

AXES: dict[str, tuple[Any, ...]] = {
    "seed": (1, 2),  # how much two runs of one setting differ
    "l2": (0.08, 0.1, 0.14, 0.16),
    "bias_l2": (0.0, 0.003, 0.03, 0.06),
    "factors": (0, 16, 64, 128),
    "init_std": (0.02, 0.1),
    "learning_rate": (2.5e-3, 1e-2),
    "epochs": (10, 30),
    "batch_size": (256, 1024),
    "schedule": ("constant", "cosine"),
}


def validation_rmse(cuts: list[Split], settings: dict[str, Any]) -> float:
    """Return the mean RMSE of a setting on the validation cuts."""
    return statistics.fmean(
        evaluate_ratings(BiasedMF(**settings).fit(cut.train), cut)["rmse"] for cut in cuts
    )


def main() -> None:
    """Run the search and print it."""
    parser = argparse.ArgumentParser(description="Search the settings of BiasedMF on validation data.")
    parser.add_argument("--data", metavar="DIR", type=Path, help="folder of the data sets")
    x = datasets.load("ml-100k", folder=parser.parse_args().data)
    cuts = [
        splits.random_holdout(fold.train, test=0.1, by="global", seed=1)
        for fold in splits.k_fold(x, k=5, seed=0)
    ]
    settings: list[dict[str, Any]] = [{}]
    settings += [{axis: value} for axis, values in AXES.items() for value in values]
    for setting in settings:
        started = time.perf_counter()
        rmse = validation_rmse(cuts, setting)
        words = ", ".join(f"{key}={value!r}" for key, value in setting.items()) or "the defaults"
        print(f"{rmse:.4f}  {words}  ({time.perf_counter() - started:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
