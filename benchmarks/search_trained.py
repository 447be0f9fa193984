"""How the settings of models trained by gradient descent were chosen, on data cut from train only.

python -m benchmarks.search_trained --table ms-ml100k --model BPR
python -m benchmarks.search_trained --table ncf-ml1m --data FOLDER --model MLP --axes l2 --epochs 30
python -m benchmarks.search_trained --table ms-ml100k --model BPR --set factors=128 l2=0.02 --axes

==================  =======================================================================================
``ms-ml100k``       a random tenth of the train rows of each item is hidden
``recbole-ml100k``  the validation part of the protocol
``ncf-ml1m``        one random train row of each user is hidden, and ranked against 99 items drawn at random
==================  =======================================================================================

The start is the setting in ``benchmarks/settings.py``. From there the search goes along one axis at a time.
For each setting it prints the nDCG@10 at the best of the epochs that were measured, and at the last one.
What was best along an axis became the next start, as long as it gained more than two seeds may differ by;
with little data ``--runs 3`` is needed to see that.
"""

from __future__ import annotations

import argparse
import ast
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import settings
from benchmarks.choose import Validation
from benchmarks.tables import ms_ml100k, ncf_ml1m, recbole_ml100k
from recsys_lib.errors import RecsysError
from recsys_lib.models import (
    BPR,
    GMF,
    MLP,
    DynamicAutoencoder,
    LogisticMF,
    MultDAE,
    MultVAE,
    NeuMF,
    RecVAE,
)
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.training import EpochEnd

MODELS: dict[str, type[GradientRecommender]] = {
    family.__name__: family
    for family in (BPR, LogisticMF, GMF, MLP, NeuMF, DynamicAutoencoder, MultDAE, MultVAE, RecVAE)
}
Axes = dict[str, tuple[Any, ...]]

_TRAINING: Axes = {
    "seed": (10, 20),  # how much two runs of one setting differ
    "learning_rate": (5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2),
    "epochs": (10, 15, 20, 30, 40, 60),
    "schedule": ("constant", "linear"),
    "batch_size": (256, 1024, 2048, 4096),
    "negatives": (1, 2, 4, 8),
}
_DOT_PRODUCT: Axes = _TRAINING | {
    "l2": (0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.014, 0.015, 0.02, 0.03, 0.05),
    "factors": (64, 128, 192, 256),
}
_NEURAL: Axes = _TRAINING | {
    "l2": (0.0, 0.001, 0.003, 0.005, 0.01, 0.014, 0.02, 0.03, 0.06, 0.1),
    "factors": (8, 16, 32, 64),
    "init_std": (0.01, 0.05, 0.1),
}
_LAYERS: Axes = {"layers": (2, 3), "embedding_dim": (16, 32), "dropout": (0.0, 0.2, 0.3, 0.5)}
_AUTOENCODER: Axes = {
    "seed": (10, 20),
    "learning_rate": (5e-4, 1e-3, 2e-3, 5e-3),
    "epochs": (25, 50, 60, 100, 200),
    "batch_size": (64, 128, 256, 512),
    "noise": (0.3, 0.5, 0.7, 0.8),
    "weight_decay": (0.0, 1e-6, 1e-5, 1e-4, 1e-3),
    "schedule": ("constant", "linear"),
    "loss": ("multinomial", "logistic"),
}
_DAE: Axes = _AUTOENCODER | {
    "layers": ((100,), (200,), (400,), (600, 200), (600,)),
    "dropout": (0.0, 0.3, 0.5),
    "tied": (True,),
    "activation": ("tanh", "elu", "none"),
}
_VAE: Axes = _AUTOENCODER | {"factors": (64, 128, 200, 400)}
AXES: dict[str, Axes] = {
    "BPR": _DOT_PRODUCT | {"sampler": ("uniform", "popularity", "hard")},
    "LogisticMF": _DOT_PRODUCT,
    "GMF": _NEURAL,
    "MLP": _NEURAL | _LAYERS,
    "NeuMF": _NEURAL
    | _LAYERS
    | {
        "epochs": (1, 2, 3, 4, 10, 20),
        "pretrain_epochs": (0, 8, 15, 20),
        "pretrain_learning_rate": (1e-3, 2e-3, 1e-2),
        "pretrain_alpha": (0.3, 0.5, 0.6, 0.7, 0.8),
        "optimizer": ("adam", "sgd"),
        "loss": ("logistic", "softmax"),
    },
    "DynamicAutoencoder": _DAE | {"decode": ("batch",), "confidence": (0.0, 1.0, 3.0)},
    "MultDAE": _DAE,
    "MultVAE": _VAE
    | {
        "layers": ((200,), (400,), (600,)),
        "kl_weight": (0.0, 0.05, 0.1, 0.2, 0.4),
        "anneal_epochs": (0, 20, 50, 100),
    },
    "RecVAE": _VAE | {"width": (200, 400, 600), "kl_weight": (0.001, 0.0025, 0.005, 0.01, 0.02)},
}


@dataclass(frozen=True)
class Case:
    """A table to find settings for: where to measure, and where each model starts."""

    validations: Callable[[Path | None, int], list[Validation]]
    starts: dict[str, settings.Settings]


CASES: dict[str, Case] = {
    "ms-ml100k": Case(
        lambda folder, n: ms_ml100k.validations(ms_ml100k.load(folder), n),
        {
            "BPR": settings.BPR_MS,
            "LogisticMF": settings.LOGISTIC_MF_MS,
            "NeuMF": settings.NEUMF_MS,
            "MultDAE": settings.MULT_DAE_MS,
            "MultVAE": settings.MULT_VAE_MS,
            "RecVAE": settings.REC_VAE_MS,
        },
    ),
    "recbole-ml100k": Case(
        lambda folder, n: recbole_ml100k.validations(recbole_ml100k.load(folder)) * n,
        {
            "BPR": settings.BPR_RECBOLE,
            "LogisticMF": settings.LOGISTIC_MF_RECBOLE,
            "NeuMF": settings.NEUMF_RECBOLE,
            "MultDAE": settings.MULT_DAE_RECBOLE,
            "MultVAE": settings.MULT_VAE_RECBOLE,
            "RecVAE": settings.REC_VAE_RECBOLE,
        },
    ),
    "ncf-ml1m": Case(
        lambda folder, n: ncf_ml1m.validations(ncf_ml1m.load(folder), n),
        {
            "BPR": settings.BPR_NCF,
            "LogisticMF": settings.LOGISTIC_MF_NCF,
            "GMF": settings.GMF_8_NCF,
            "MLP": settings.MLP_64_NCF,
            "NeuMF": settings.NEUMF_64_NCF,
        },
    ),
}


def settings_to_try(start: settings.Settings, axes: Axes) -> Iterator[tuple[str, settings.Settings]]:
    """Yield the start and what differs from it along one axis, each with a name."""
    yield "start", start
    for axis, values in axes.items():
        for value in values:
            if start.get(axis) != value:
                yield f"{axis}={value!r}", start | {axis: value}


def curve(model: GradientRecommender, validation: Validation, every: int) -> dict[int, float]:
    """Fit a model on the train part, and measure it after every so many epochs and after the last one."""
    found: dict[int, float] = {}

    def look(end: EpochEnd) -> None:
        if end.epoch % every == 0 or end.epoch == model.epochs:
            found[end.epoch] = validation.value(model)

    model.fit(validation.split.train, callbacks=[look])
    return found


def mean_curve(
    family: type[GradientRecommender],
    setting: settings.Settings,
    validations: Sequence[Validation],
    every: int,
) -> dict[int, float]:
    """Return the mean of the curves over the validations; each has a seed of its own."""
    first = setting.get("seed", 0)
    curves = [
        # Where to stop is read off the curve here.
        curve(
            family(**(setting | {"seed": first + n, "patience": None, "progress": False})), validation, every
        )
        for n, validation in enumerate(validations)
    ]
    return {epoch: statistics.fmean(c[epoch] for c in curves) for epoch in curves[0]}


def search(
    family: type[GradientRecommender],
    validations: Sequence[Validation],
    start: settings.Settings,
    axes: Axes,
    every: int,
    say: Callable[[str], None] = print,
) -> None:
    """Try the settings and say a line about each."""
    for name, setting in settings_to_try(start, axes):
        began = time.perf_counter()
        measured = mean_curve(family, setting, validations, every)
        best, last = max(measured, key=measured.__getitem__), max(measured)
        say(
            f"{measured[best]:.4f} at epoch {best}, {measured[last]:.4f} at {last}  {name}  "
            f"({time.perf_counter() - began:.0f} s)"
        )


def assignments(texts: Sequence[str]) -> settings.Settings:
    """Read ``name=value``, with a Python literal as value; other text is a string."""
    found: settings.Settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set takes name=value, got {text!r}.")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the search and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search_trained",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", required=True, choices=CASES, help="the table to find settings for")
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--data", metavar="DIR", type=Path, help="as for benchmarks.published")
    parser.add_argument("--axes", metavar="AXIS", nargs="*", help="only these; none: only the start")
    parser.add_argument("--set", metavar="NAME=VALUE", nargs="+", default=[], help="change the start")
    parser.add_argument(
        "--runs",
        metavar="N",
        type=int,
        default=1,
        help="the mean over so many runs, with other cuts and seeds",
    )
    parser.add_argument("--epochs", metavar="N", type=int, help="train for so many")
    parser.add_argument("--every", metavar="N", type=int, default=5, help="epochs between two measurements")
    options = parser.parse_args(arguments)
    axes, case = AXES[options.model], CASES[options.table]
    if options.model not in case.starts:
        parser.error(f"{options.table} has no row for {options.model}: it has {', '.join(case.starts)}.")
    unknown = set(options.axes or ()) - set(axes)
    if unknown:
        parser.error(f"{options.model} has no axis {', '.join(sorted(unknown))}: it has {', '.join(axes)}.")
    if options.axes is not None:
        axes = {axis: axes[axis] for axis in options.axes}
    for option in ("every", "runs"):
        if getattr(options, option) < 1:
            parser.error(f"--{option} must be at least 1, got {getattr(options, option)}.")
    try:
        start = case.starts[options.model] | assignments(options.set)
        if options.epochs is not None:
            start = start | {"epochs": options.epochs}
        MODELS[options.model](**start)
        validations = case.validations(options.data, options.runs)
    except (RecsysError, ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    print(f"{options.table}, {options.model}, start: {start}", flush=True)
    say = functools.partial(print, flush=True)
    search(MODELS[options.model], validations, start, axes, options.every, say)


if __name__ == "__main__":
    main()
