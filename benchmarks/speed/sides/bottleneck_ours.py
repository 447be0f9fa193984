"""The network of prog-eval in this library: ``python -m benchmarks.speed.sides.bottleneck_ours FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.speed.sides.common import finish, read
from recsys_lib import Interactions
from recsys_lib.models import BottleneckAutoencoder


def main(folder: Path) -> None:
    """Train, and leave the lists."""
    settings, data = read(folder)
    shape = len(data["indptr"]) - 1, int(data["n_items"])
    ones = np.ones(len(data["items"]), dtype=np.float32)
    train = Interactions.from_csr(csr_matrix((ones, data["items"], data["indptr"]), shape))
    model = BottleneckAutoencoder(
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        epochs=settings["epochs"],
        decode=settings["decode"],
        seed=settings["seed"],
        device=settings["device"],
        progress=False,
    ).fit(train)
    found = model.recommend(k=10)
    lists = np.full((shape[0], 10), -1)
    lists[train.user_ids.indices(found["user"]), found["rank"] - 1] = train.item_ids.indices(found["item"])
    finish(folder, model.history_["seconds"].tolist(), lists)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
