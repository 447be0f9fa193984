"""Ranking by given factors in implicit 0.7.3: ``python ranking_implicit.py FOLDER`` in its environment."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

# As its documentation asks, so that the threads of OpenBLAS and its own do not get in each other's way.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from common import finish, matrix_of, read
from implicit.cpu.als import AlternatingLeastSquares


def main(folder: Path) -> None:
    """Rank, and leave the lists."""
    settings, data = read(folder)
    seen = matrix_of(data)
    model = AlternatingLeastSquares(factors=data["user_factors"].shape[1])
    model.user_factors, model.item_factors = data["user_factors"], data["item_factors"]
    users = np.arange(seen.shape[0])
    seconds = []
    for _ in range(settings["passes"]):
        started = time.perf_counter()
        lists, _ = model.recommend(users, seen, N=10, filter_already_liked_items=True)
        seconds.append(time.perf_counter() - started)
    finish(folder, seconds, lists)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
