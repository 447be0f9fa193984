"""What a model takes of memory and time: ``python -m tests.hardening.load TASK``. Prints JSON.

``leaks`` fits models again and again. ``catalogue`` recommends from a million items. The second one with
``--users 10000000`` is the largest case that is promised.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recsys_lib import Interactions, datasets
from recsys_lib.models import BPR, EASE, IALS, MultVAE, Recommender

COMMON: dict[str, Any] = {"device": "cpu", "progress": False, "epochs": 1}
# Tables of about half a megabyte, so that models that are kept by anything show.
MODELS: dict[str, Callable[[], Recommender]] = {
    "BPR": lambda: BPR(factors=128, batch_size=4096, **COMMON),
    "MultVAE": lambda: MultVAE(layers=(128,), factors=32, batch_size=500, **COMMON),
    "EASE": lambda: EASE(device="cpu"),
    "IALS": lambda: IALS(factors=64, epochs=1, device="cpu"),
}


def megabytes(what: str) -> float:
    """Read ``VmRSS``, what is in memory now, or ``VmHWM``, the most that ever was."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def growth(make: Callable[[], Recommender], data: Interactions, fits: int, kept: list[Any] | None) -> float:
    """Return by how much the memory grows over so many fits, in megabytes."""
    before = 0.0
    for number in range(5 + fits):
        if number == 5:  # what is loaded and reserved once is there by now
            gc.collect()
            before = megabytes("VmRSS")
        model = make().fit(data)
        model.recommend(data.user_ids.take([0, 1]), k=3)
        if kept is not None:
            kept.append(model)
        del model
    gc.collect()
    return megabytes("VmRSS") - before


def leaks(names: list[str], fits: int) -> dict[str, float]:
    data = datasets.synthetic(500, 300, 2_500, seed=0)
    result = {name: growth(MODELS[name], data, fits, None) for name in names}
    result["kept on purpose"] = growth(MODELS["BPR"], data, 20, [])
    return result


def catalogue(n_users: int, n_items: int, asked: int, fit: bool) -> dict[str, float]:
    """Make a model of a million items, each of which somebody has, and recommend to some people."""
    generator = np.random.default_rng(0)
    n_rows = max(n_users, n_items)
    users, items = np.arange(n_rows) % n_users, np.arange(n_rows) % n_items
    generator.shuffle(items)
    start = time.perf_counter()
    data = Interactions.from_arrays(users, items, duplicates="first")
    del users, items
    made = time.perf_counter()
    model = IALS(factors=16, epochs=1, device="cpu")
    if fit:
        model.fit(data)
    else:  # as after loading a file
        model._wear(data.user_ids, data.item_ids, data.histories())
        shapes = {"user_factors": data.n_users, "item_factors": data.n_items}
        numbers = torch.Generator().manual_seed(0)
        model._load_state({key: torch.randn(n, 16, generator=numbers) for key, n in shapes.items()})
    fitted = time.perf_counter()
    people = data.user_ids.take(np.linspace(0, data.n_users - 1, asked).astype(int))
    before = megabytes("VmHWM")
    found = model.recommend(people, k=10)
    assert len(found) == 10 * asked
    assert np.isfinite(found["score"]).all()
    return {
        "users": data.n_users,
        "items": data.n_items,
        "asked": asked,
        "seconds to make": made - start,
        "seconds to fit or load": fitted - made,
        "seconds to recommend": time.perf_counter() - fitted,
        "peak before": before,
        "peak": megabytes("VmHWM"),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.hardening.load", description=__doc__)
    parser.add_argument("task", choices=["leaks", "catalogue"])
    parser.add_argument("--fits", type=int, default=50)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--users", type=int, default=4_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--asked", type=int, default=200, help="people who are recommended to")
    parser.add_argument("--fit", action="store_true", help="fit the model, rather than drawing its numbers")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.task == "leaks":
        result = leaks(args.models, args.fits)
    else:
        result = catalogue(args.users, args.items, args.asked, args.fit)
    print(json.dumps({key: round(value, 1) for key, value in result.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
