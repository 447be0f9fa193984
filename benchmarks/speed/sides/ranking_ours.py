"""Ranking by given factors in this library: ``python -m benchmarks.speed.sides.ranking_ours FOLDER``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from benchmarks.speed.sides.common import finish, read
from recsys_lib.histories import Histories
from recsys_lib.ranking import rank_catalogue


def main(folder: Path) -> None:
    """Rank, and leave the lists."""
    settings, data = read(folder)
    # The lists as the file has them, in 32 bits.
    indptr, items = (torch.from_numpy(data[name]) for name in ("indptr", "items"))
    seen = Histories(indptr.long(), items, int(data["n_items"])).to(settings["device"])
    p, q = (torch.from_numpy(data[f"{side}_factors"]).to(settings["device"]) for side in ("user", "item"))
    users = torch.arange(len(p))
    seconds = []
    for _ in range(settings["passes"]):
        started = time.perf_counter()
        lists = rank_catalogue(lambda batch: p[batch] @ q.T, users, 10, exclude=seen)[0].cpu()
        seconds.append(time.perf_counter() - started)
    finish(folder, seconds, lists.numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
