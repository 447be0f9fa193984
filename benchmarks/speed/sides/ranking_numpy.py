"""Ranking by given factors with argpartition in NumPy, in chunks: ``python ranking_numpy.py FOLDER``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from common import best_ten, finish, matrix_of, read


def main(folder: Path) -> None:
    """Rank, and leave the lists."""
    settings, data = read(folder)
    seen = matrix_of(data)
    p, q = data["user_factors"], data["item_factors"]
    seconds = []
    for _ in range(settings["passes"]):
        started = time.perf_counter()
        lists = best_ten(lambda users: p[users] @ q.T, seen)
        seconds.append(time.perf_counter() - started)
    finish(folder, seconds, lists)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
