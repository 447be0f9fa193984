"""How the settings of iALS were chosen, on data cut from train only.

python -m benchmarks.search_ials ms-ml100k
python -m benchmarks.search_ials ncf-ml1m-64 --data FOLDER

==================  ========================================================================================
``ms-ml100k``       a random tenth of the train rows of each item is hidden, three times anew
``recbole-ml100k``  the validation part of the protocol
``ncf-ml1m-64``,    one random train row of each user is hidden, and ranked against 99 items drawn at random,
``ncf-ml1m-192``    because that is what the table shows first; the full ranking has another best setting
==================  ========================================================================================

A setting is worth its nDCG@10, averaged over the hidden parts. All pairs of ``unobserved_weight`` and ``l2``
are tried first, because the best of the one depends on the other; then, from the best pair, one axis at a
time. A value is only kept for the axes that follow if it gains more than two seeds may differ by.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.choose import Validation
from benchmarks.settings import Settings
from benchmarks.tables import ms_ml100k, ncf_ml1m, recbole_ml100k
from recsys_lib.errors import RecsysError
from recsys_lib.models import IALS

Axes = Mapping[str, Sequence[Any]]
# What a change of the random start alone may do to the nDCG@10 of a setting.
NOISE = 0.001


@dataclass(frozen=True)
class Case:
    """What to search settings for.

    Attributes
    ----------
    validations : callable
        Given the folder of the data sets, returns what the settings are measured on.
    start : Settings
        What stays as it is, until an axis changes it.
    grid, axes : mapping from parameter to values
        Values to try in all combinations, and one after the other.
    """

    validations: Callable[[Path | None], list[Validation]]
    start: Settings
    grid: Axes
    axes: Axes


_GRID_100K: Axes = {
    "unobserved_weight": (0.2, 0.3, 0.45, 0.6, 0.8, 1.0),
    "l2": (0.003, 0.005, 0.007, 0.01, 0.014, 0.02),
}
_AXES_100K: Axes = {
    "factors": (32, 128, 192),
    "epochs": (8, 12, 24),
    "init_std": (0.03, 0.3),
}
_GRID_1M: Axes = {"unobserved_weight": (0.15, 0.2, 0.3, 0.45), "l2": (0.003, 0.005, 0.007, 0.01)}
_AXES_1M: Axes = {"epochs": (8, 12, 24), "init_std": (0.03, 0.3)}

CASES: dict[str, Case] = {
    "ms-ml100k": Case(
        lambda folder: ms_ml100k.validations(ms_ml100k.load(folder), 3),
        {"factors": 64, "epochs": 16},
        _GRID_100K,
        _AXES_100K,
    ),
    "recbole-ml100k": Case(
        lambda folder: recbole_ml100k.validations(recbole_ml100k.load(folder)),
        {"factors": 64, "epochs": 16},
        _GRID_100K,
        _AXES_100K,
    ),
    "ncf-ml1m-64": Case(
        lambda folder: ncf_ml1m.validations(ncf_ml1m.load(folder)),
        {"factors": 64, "epochs": 16},
        _GRID_1M,
        _AXES_1M,
    ),
    "ncf-ml1m-192": Case(
        lambda folder: ncf_ml1m.validations(ncf_ml1m.load(folder)),
        {"factors": 192, "epochs": 12},
        _GRID_1M,
        {"epochs": (8, 16)},
    ),
}


def search(
    worth: Callable[[Settings], float],
    start: Settings,
    grid: Axes,
    axes: Axes,
    say: Callable[[str], None] = print,
) -> Settings:
    """Return the best setting that was tried; every one is said in a line."""

    def tried(setting: Settings) -> float:
        began = time.perf_counter()
        value = worth(setting)
        say(f"{value:.4f}  {setting}  ({time.perf_counter() - began:.1f} s)")
        return value

    combinations = [
        start | dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    best_value, best = max(((tried(one), one) for one in combinations), key=lambda pair: pair[0])
    for axis, values in axes.items():
        settings = [best | {axis: value} for value in values if best.get(axis) != value]
        for setting in settings:
            value = tried(setting)
            if value > best_value + NOISE:
                best_value, best = value, setting
    say(f"best: {best_value:.4f}  {best}")
    return best


def mean_ndcg(validations: Sequence[Validation], setting: Settings) -> float:
    """Return the nDCG@10 of iALS with a setting, averaged over the validations and two seeds."""
    return statistics.fmean(
        validation.value(IALS(seed=seed, **setting).fit(validation.split.train))
        for validation in validations
        for seed in range(2)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the search, print it and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_ials",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--data", metavar="DIR", type=Path, help="as for benchmarks.published")
    options = parser.parse_args(arguments)
    case = CASES[options.case]
    try:
        validations = case.validations(options.data)
    except (RecsysError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    search(
        lambda setting: mean_ndcg(validations, setting),
        case.start,
        case.grid,
        case.axes,
        say=lambda text: print(text, flush=True),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
