"""What a conversion and an epoch on its result take: seconds, and the peak of memory, of each step alone.

    python -m benchmarks.larger_than_memory --rows 20000000 --memory 256

The log is made up: 40 rows a user, 400 an item, with ratings and times.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from recsys_lib import Interactions, datasets, models


def make(path: Path, n: int) -> None:
    """Write a Parquet file of n rows in no order, whose pairs do not repeat."""
    import duckdb

    users, items = max(2, n // 40), max(3, n // 400)
    with duckdb.connect() as con:
        pairs = f"SELECT k * 1000003 % ({users} * {items}) AS p FROM range({n}) t(k)"
        con.execute(
            f"COPY (SELECT p // {items} * 7 AS user, p % {items} AS item, (hash(p) % 10) / 2 AS rating, "
            f"(hash(p) % 1000000000)::BIGINT AS timestamp FROM ({pairs})) TO '{path}' (FORMAT parquet)"
        )


def step(name: str, folder: Path, memory: int) -> None:
    """Do one step in this process, and print what it took."""
    log, made = folder / "log.parquet", folder / "made"
    options = {"epochs": 1, "device": "cpu", "progress": False}
    families = {
        "bpr": lambda: models.BPR(batch_size=2**16, factors=16, **options),
        "autoencoder": lambda: models.MultDAE(layers=[64], batch_size=512, decode="batch", **options),
    }
    started = time.perf_counter()
    if name == "convert":
        datasets.convert(log, made, memory=memory)
    elif name == "read":
        Interactions.from_parquet(log)
    elif name == "open":
        Interactions.open(made)
    else:
        how, _, where = name.partition(" ")
        families[how]().fit(Interactions.open(made) if where == "mapped" else Interactions.from_parquet(log))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:24} {time.perf_counter() - started:8.1f} s {peak:8.0f} MB", flush=True)


def main() -> None:
    """Run all steps, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--memory", type=int, default=256)
    parser.add_argument("--step", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        step(args.step[0], Path(args.step[1]), args.memory)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "log.parquet", args.rows)
        for name in ("convert", "read", "open", "bpr mapped", "bpr", "autoencoder mapped", "autoencoder"):
            command = [sys.executable, "-m", "benchmarks.larger_than_memory", "--memory", str(args.memory)]
            subprocess.run([*command, "--step", name, folder], check=True)


if __name__ == "__main__":
    main()
