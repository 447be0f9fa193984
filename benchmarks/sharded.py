"""Divided tables against copies: milliseconds and bytes of a step, on one machine.

OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m benchmarks.sharded --users 200000 --items 50000

The bytes are those of the loopback device, of all processes together: let nothing else use it. A copy sends
the gradient of the whole table in every step, a divided table the vectors of the batch.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from recsys_lib import Interactions, distributed
from recsys_lib.models import LogisticMF
from recsys_lib.training import EpochEnd


def loopback_bytes() -> int:
    """Return how many bytes the loopback device of this machine (Linux) has carried."""
    lines = Path("/proc/net/dev").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.strip().startswith("lo:")]
    return int(line.split(":")[1].split()[0])


def measure(x: Interactions, factors: int, batch_size: int, epochs: int = 4) -> tuple[float, float]:
    """Return milliseconds and megabytes of a step, without the first epoch."""
    marks: list[tuple[float, int]] = []

    def mark(end: EpochEnd) -> None:
        distributed.wait()
        marks.append((time.perf_counter(), loopback_bytes()))

    model = LogisticMF(
        factors=factors,
        batch_size=batch_size,
        epochs=epochs,
        l2=0.0,
        negatives=4,
        device="cpu",
        progress=False,
    )
    model.fit(x, callbacks=[mark])
    steps = (epochs - 1) * -(-len(x) // batch_size)
    (first, before), (last, after) = marks[0], marks[-1]
    return (last - first) / steps * 1e3, (after - before) / steps / 1e6


def main() -> None:
    """Measure both, and print a line for each."""
    parser = argparse.ArgumentParser()
    for name, default in (("users", 200_000), ("items", 50_000), ("factors", 32), ("batch", 1024)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    # One interaction for each user and item at least, so that the tables have their full size.
    x = Interactions.from_arrays(np.arange(args.users), np.arange(args.users) % args.items)
    for divided in (False, True):
        with distributed.process_group(shard_tables=divided):
            ms, mb = measure(x, args.factors, args.batch)
            if distributed.is_first():
                what = "divided" if divided else "copies"
                print(f"{what:8} {ms:8.1f} ms  {mb:8.1f} MB per step, all processes")


if __name__ == "__main__":
    main()
