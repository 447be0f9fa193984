"""How the settings of the table ``autorec`` were chosen, on data cut from train only.

python -m benchmarks.search_autorec --size 100K
python -m benchmarks.search_autorec --size 1M --data FOLDER --kind user --axes l2 factors

Of the training part of seed 0 a tenth is hidden; a setting is measured by its RMSE there, at the best epoch
and at the last one. From the setting in ``benchmarks/settings.py`` the search goes along one axis at a time.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import settings
from benchmarks.search_trained import assignments, settings_to_try
from benchmarks.tables.autorec import load_ml_1m
from recsys_lib import datasets, splits
from recsys_lib.models import AutoRec, BiasedMF
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.splits import Split

AXES: dict[str, tuple[Any, ...]] = {
    "seed": (10, 20),  # how much two runs of one setting differ
    "l2": (1e-4, 1.5e-4, 3e-4, 5e-4, 1e-3, 2e-3, 0.03, 0.06, 0.09),  # the large ones are for BiasedMF
    "factors": (32, 64, 100, 200, 500),
    "learning_rate": (5e-4, 1e-3, 2e-3, 5e-3),
    "batch_size": (32, 128, 512),
    "epochs": (20, 30, 40, 60, 100),
    "schedule": ("constant", "linear", "cosine"),
    "noise": (0.0, 0.2, 0.3, 0.5, 0.7),
    "normalise": (False, True),
}
STARTS: dict[tuple[str, str], tuple[type[GradientRecommender], settings.Settings]] = {
    ("100K", "item"): (AutoRec, settings.I_AUTOREC_100K),
    ("100K", "user"): (AutoRec, settings.U_AUTOREC_100K),
    ("1M", "item"): (AutoRec, settings.I_AUTOREC_1M),
    ("1M", "user"): (AutoRec, settings.U_AUTOREC_1M),
    ("1M", "biased-mf"): (BiasedMF, settings.BIASED_MF_1M),
}


def cut(size: str, folder: Path | None) -> Split:
    """Hide a tenth of the training part of the table's first split."""
    x = load_ml_1m(folder) if size == "1M" else datasets.load("ml-100k", folder=folder)
    outer = splits.random_holdout(x, test=0.1, by="global", seed=0)
    return splits.random_holdout(outer.train, test=0.1, by="global", seed=1)


def search(
    family: type[GradientRecommender],
    parts: Split,
    start: settings.Settings,
    axes: dict[str, tuple[Any, ...]],
    say: Callable[[str], None] = print,
) -> None:
    """Try the settings and say a line about each."""
    for name, setting in settings_to_try(start, axes):
        began = time.perf_counter()
        model = family(**(setting | {"progress": False})).fit(parts.train, parts.test)
        errors = model.history_["valid_rmse"]
        best, last = errors.idxmin(), len(errors) - 1
        say(
            f"{errors[best]:.4f} at epoch {best + 1}, {errors[last]:.4f} at {last + 1}  {name}  "
            f"({time.perf_counter() - began:.0f} s)"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the search and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_autorec",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", choices=("100K", "1M"), default="100K", help="of the data set")
    parser.add_argument("--kind", choices=("item", "user", "biased-mf"), default="item")
    parser.add_argument("--data", metavar="DIR", type=Path, help="as for benchmarks.published")
    parser.add_argument("--axes", metavar="AXIS", nargs="*", choices=AXES, help="only these")
    parser.add_argument("--set", metavar="NAME=VALUE", nargs="+", default=[], help="change the start")
    options = parser.parse_args(arguments)
    if (options.size, options.kind) not in STARTS:
        parser.error(f"the table has no row for {options.kind} on {options.size}.")
    family, start = STARTS[options.size, options.kind]
    try:
        start = start | assignments(options.set)
        family(**start)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    axes = AXES if options.axes is None else {axis: AXES[axis] for axis in options.axes}
    print(f"{family.__name__}, {options.size}, start: {start}", flush=True)
    search(family, cut(options.size, options.data), start, axes, functools.partial(print, flush=True))


if __name__ == "__main__":
    main()
