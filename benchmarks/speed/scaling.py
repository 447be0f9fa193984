"""How the cost of an epoch grows with the data: ``python -m benchmarks.speed.scaling --out FILE.png``.

Three things grow, each alone, on synthetic data: the interactions among as many users and items, the users
with as many interactions each, and the catalogue with as many interactions in all. On double logarithmic axes
a cost that is a power of the size is a straight line, and its slope is the exponent. The slope is that of the
larger half of the sizes: below, what does not grow at all costs the most.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys_lib import Interactions, datasets
from recsys_lib._files import atomic_write
from recsys_lib.models import BPR, EASE, IALS, MultDAE, NeuMF
from recsys_lib.models.base import Recommender

# Epochs of a fit, or fits of a model without epochs; the fastest counts.
_EPOCHS = 2
# From so many interactions on, one: what a first epoch takes more is nothing beside it.
_MANY = 3_000_000
# Interactions of a user, when users grow.
_EACH = 50

MODELS: dict[str, Callable[[], Recommender]] = {
    "BPR": lambda: BPR(epochs=_EPOCHS, batch_size=4096),
    "NeuMF": lambda: NeuMF(epochs=_EPOCHS, batch_size=4096),
    "iALS": lambda: IALS(epochs=_EPOCHS),
    "Mult-DAE": lambda: MultDAE(epochs=_EPOCHS, layers=(200,)),
    "EASE": lambda: EASE(),
}
# The cost of EASE grows with the cube of the catalogue.
_LARGEST_INVERSE = 8_000


@dataclass(frozen=True)
class Axis:
    """What grows.

    Parameters
    ----------
    name : str
    sizes : sequence of int
    shape : callable
        From a size to users, items and interactions.
    """

    name: str
    sizes: Sequence[int]
    shape: Callable[[int], tuple[int, int, int]]


def axes(most: int) -> list[Axis]:
    """Return what grows, up to so many interactions, at least 10,000."""
    steps = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
    counts = [*(n for n in steps if n < most), most]
    # No more users than the fewest interactions; and a quarter of all pairs at the most.
    n_users, n_items = max(500, min(10_000, most // 200)), max(1_000, min(8_000, most // 200))
    catalogues = [n for n in (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000) if 10 * n <= most]
    few = max(10_000, most // 20)
    return [
        Axis("interactions", counts, lambda n: (n_users, n_items, n)),
        Axis("users", [n // _EACH for n in counts], lambda n: (n, n_items, _EACH * n)),
        Axis("items", catalogues, lambda n: (n_users, n, few)),
    ]


def measure(axis: Axis, device: str) -> Iterator[dict[str, Any]]:
    """Yield the seconds of an epoch of each model at each size."""
    for size in axis.sizes:
        n_users, n_items, n = axis.shape(size)
        train = datasets.synthetic(n_users, n_items, n, timestamps=False, seed=0)
        for name, make in MODELS.items():
            if name == "EASE" and n_items > _LARGEST_INVERSE:
                continue
            model = make()
            if n >= _MANY and hasattr(model, "epochs"):
                model.epochs = 1
            seconds = seconds_of(model, train, device)
            yield {"axis": axis.name, "size": size, "model": name, "seconds": seconds}


def seconds_of(model: Any, train: Interactions, device: str) -> float:
    """Return the seconds of the fastest epoch, or of the fastest fit of a model without epochs."""
    model.device = device
    fits: list[float] = []
    while not hasattr(model, "history_") and len(fits) < _EPOCHS:
        started = time.perf_counter()
        model.fit(train)
        fits.append(time.perf_counter() - started)
    return float(model.history_["seconds"].min()) if hasattr(model, "history_") else min(fits)


def slope_of(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent of the size in the cost, from the larger half of the sizes, at least two."""
    last = max(2, (len(sizes) + 1) // 2)
    return float(np.polyfit(np.log(sizes[-last:]), np.log(seconds[-last:]), 1)[0])


def lines_of(rows: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[list[int], list[float]]]:
    """Return the sizes and the seconds of each thing that grows and each model."""
    lines: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    for row in rows:
        sizes, seconds = lines.setdefault((row["axis"], row["model"]), ([], []))
        sizes.append(row["size"])
        seconds.append(row["seconds"])
    return lines


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw a panel for each thing that grows, with the slope of each model in its legend."""
    # Not pyplot: that would ask for a screen.
    from matplotlib.figure import Figure

    names, lines = list(dict.fromkeys(row["axis"] for row in rows)), lines_of(rows)
    figure = Figure(figsize=(5 * len(names), 4.2), layout="constrained")
    for place, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for model in MODELS:
            sizes, seconds = lines.get((name, model), ([], []))
            label = f"{model}, slope {slope_of(sizes, seconds):.2f}" if len(sizes) > 1 else model
            place.loglog(sizes, seconds, marker="o", label=label)
        place.set(xlabel=name, ylabel="seconds of an epoch, or of a fit of EASE")
        place.legend()
    figure.savefig(file, dpi=150)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.scaling", description=__doc__)
    parser.add_argument("--out", metavar="FILE.png", type=Path, help="draw there")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the seconds there")
    parser.add_argument("--most", metavar="N", type=int, default=20_000_000, help="interactions at the most")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args(arguments)
    if options.most < 10_000:
        parser.error(f"--most must be at least 10,000, got {options.most}.")
    rows: list[dict[str, Any]] = []
    for axis in axes(options.most):
        for row in measure(axis, options.device):
            words = f"{row['size']:>12,} {row['axis']:<13} {row['model']:<9} {row['seconds']:.4f} s"
            print(words, flush=True)
            rows.append(row)
            if options.json:
                with atomic_write(options.json, "w") as file:
                    json.dump(rows, file, indent=1)
    if options.out:
        draw(rows, options.out)


if __name__ == "__main__":
    main()
