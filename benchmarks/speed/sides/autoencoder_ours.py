"""Recoder's autoencoder in this library: ``python -m benchmarks.speed.sides.autoencoder_ours FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.speed.sides.common import finish, read
from recsys_lib import Interactions
from recsys_lib.models import DynamicAutoencoder


def main(folder: Path) -> None:
    """Train, and leave the lists."""
    settings, data = read(folder)
    shape = len(data["indptr"]) - 1, int(data["n_items"])
    ones = np.ones(len(data["items"]), dtype=np.float32)
    train = Interactions.from_csr(csr_matrix((ones, data["items"], data["indptr"]), shape))
    model = DynamicAutoencoder(
        layers=(settings["width"],),
        activation="tanh",
        noise=settings["noise"],
        loss=settings["loss"],
        confidence=settings["confidence"],
        decode="batch" if settings["sampling"] else "all",
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        epochs=settings["epochs"],
        seed=settings["seed"],
        device=settings["device"],
        progress=False,
    ).fit(train)
    found = model.recommend(k=10)
    lists = np.full((shape[0], 10), -1)  # for those who have nearly everything
    lists[train.user_ids.indices(found["user"]), found["rank"] - 1] = train.item_ids.indices(found["item"])
    finish(folder, model.history_["seconds"].tolist(), lists)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
