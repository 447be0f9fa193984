"""What mini-batch based negative sampling loses, and what it saves: measured on MovieLens-1M.

OMP_NUM_THREADS=1 python -m benchmarks.batch_negatives --data FOLDER --json FILE

The interactions are those of the NCF authors' files, train and test together, cut 80/10/10 by user at random.
The same autoencoder is trained with the full output and with that of the batch, for several sizes of the
batch. Each case tries a few learning rates, and its best one on the validation part is measured on the test
part. The cases are trained in turn, and the time of an epoch is the processor time of the fastest one.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from benchmarks.settings import Settings
from benchmarks.tables.autorec import load_ml_1m
from recsys_lib import Interactions, evaluate, splits
from recsys_lib._files import atomic_write
from recsys_lib.models import DynamicAutoencoder, Popularity
from recsys_lib.models.base import Recommender
from recsys_lib.sampling import items_of
from recsys_lib.splits import Split
from recsys_lib.training import EpochEnd, shuffled

BASE: Settings = {"layers": (200,), "epochs": 20, "schedule": "linear", "noise": 0.5}
CASES: tuple[Settings, ...] = (
    {"decode": "all", "batch_size": 256},
    {"decode": "all", "batch_size": 64},
    {"decode": "batch", "batch_size": 256},
    {"decode": "batch", "batch_size": 64},
    {"decode": "batch", "batch_size": 64, "sampling_users": 512},
    {"decode": "batch", "batch_size": 32},
)
RATES = (1e-3, 3e-3)
METRICS = ("ndcg", "coverage", "novelty")


def cut(folder: Path | None) -> Split:
    """Cut all of MovieLens-1M 80/10/10 by user."""
    return splits.random_holdout(load_ml_1m(folder), 0.1, 0.1, by="user", seed=0)


def fit(setting: Settings, split: Split) -> tuple[DynamicAutoencoder, list[float]]:
    """Train; return the model and the processor time of each epoch."""
    model = DynamicAutoencoder(**setting, progress=False)
    clock = [time.process_time()]

    def note(end: EpochEnd) -> None:
        clock.append(time.process_time())

    model.fit(split.train, callbacks=[note])
    return model, np.diff(clock).tolist()


def share_decoded(setting: Settings, train: Interactions, seed: int = 0) -> float:
    """Return the mean share of the catalogue that is scored in a step of one epoch."""
    if setting["decode"] == "all":
        return 1.0
    people = setting.get("sampling_users", setting["batch_size"])
    histories = train.histories()
    order = shuffled(len(histories), people, torch.Generator().manual_seed(seed))
    return fmean(len(items_of(histories.select(rows))[0]) for rows in order) / train.n_items


def values_on(model: Recommender, split: Split, part: str) -> dict[str, float]:
    """Return the metrics of a part by name, with the interval of nDCG."""
    result = evaluate(model, split, 10, on=part, metrics=METRICS)  # type: ignore[arg-type]
    row = result.table.set_index("metric").loc["ndcg@10"]
    return {name: result[name] for name in result.table["metric"]} | {
        "low": float(row["low"]),
        "high": float(row["high"]),
    }


def measure(
    split: Split,
    cases: Sequence[Settings] = CASES,
    rates: Sequence[float] = RATES,
    base: Settings = BASE,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Measure all cases; return a row for each, and one for Popularity."""
    best: list[tuple[float, float, dict[str, float]]] = [(-1.0, 0.0, {})] * len(cases)
    tried: list[dict[str, float]] = [{} for _ in cases]
    seconds: list[list[float]] = [[] for _ in cases]
    for rate in rates:
        for number, case in enumerate(cases):
            model, times = fit(base | case | {"learning_rate": rate}, split)
            seconds[number] += times
            valid = values_on(model, split, "valid")["ndcg@10"]
            tried[number][str(rate)] = valid
            if valid > best[number][0]:
                # Measured now, looked at when the rate is chosen: only one model is kept in memory.
                best[number] = (valid, rate, values_on(model, split, "test"))
            say(f"{valid:.4f}  {rate}  {case}  {min(times):.2f} s an epoch")
    popular = values_on(Popularity().fit(split.train), split, "test")
    rows = [
        case
        | {
            "learning_rate": rate,
            "valid_ndcg@10": tried_rates,
            "test": test,
            "share_decoded": share_decoded(case, split.train),
            "seconds_an_epoch": min(times),
        }
        for case, (_, rate, test), tried_rates, times in zip(cases, best, tried, seconds, strict=True)
    ]
    return [*rows, {"decode": "Popularity", "test": popular}]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batch_negatives",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", metavar="DIR", type=Path, help="as for benchmarks.published")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result there")
    parser.add_argument("--machine", default="not said", help="words about the machine, for the file")
    options = parser.parse_args(arguments)
    split = cut(options.data)
    rows = measure(split, say=functools.partial(print, flush=True))
    result = {
        "date": datetime.date.today().isoformat(),
        "machine": options.machine,
        "threads": torch.get_num_threads(),
        "seconds": "processor time of the fastest epoch",
        "data": f"MovieLens-1M: {split.train.n_users} people, {split.train.n_items} films",
        "split": f"{split.name}, 80/10/10",
        "seeds": [0],
        "model": BASE | {"name": "DynamicAutoencoder"},
        "rows": rows,
    }
    text = json.dumps(result, indent=1) + "\n"
    print(text)
    if options.json is not None:
        with atomic_write(options.json, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
