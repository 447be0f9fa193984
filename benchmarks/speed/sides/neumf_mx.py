"""NeuMF in this library's MXNet half: ``python -m benchmarks.speed.sides.neumf_mx FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.speed.sides.common import finish, matrix_of, read
from recsys_lib import Interactions
from recsys_lib.mx import NeuMF, SparseNegSampleIter, fit, score_catalogue
from recsys_lib.ranking import rank_catalogue


def main(folder: Path) -> None:
    """Train, and leave the lists."""
    settings, data = read(folder)
    train = Interactions.from_csr(matrix_of(data))
    batches = SparseNegSampleIter(
        train,
        batch_size=settings["batch_size"],
        num_negatives=settings["negatives"],
        seed=settings["seed"],
    )
    net = NeuMF(
        batches.user_vocab_sizes,
        batches.item_vocab_sizes,
        factors=settings["factors"],
        layers=settings["layers"],
    )
    history = fit(
        net,
        batches,
        epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        seed=settings["seed"],
        progress=False,
    )
    lists, _ = rank_catalogue(
        lambda users: score_catalogue(net, batches, users),
        torch.arange(train.n_users),
        10,
        exclude=train.histories(),
    )
    finish(folder, history["seconds"].tolist(), lists.numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
