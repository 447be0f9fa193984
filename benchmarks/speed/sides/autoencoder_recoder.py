"""The autoencoder of Recoder 0.4.0, in its own environment: ``python autoencoder_recoder.py FOLDER``."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

sys.path.insert(0, str(Path(__file__).parent))
from common import finish, read

# Recoder asks for names that SciPy and NumPy have taken back since.
helpers: Any = types.ModuleType("scipy.sparse.sputils")
helpers.issequence = lambda x: isinstance(x, list | tuple) or (isinstance(x, np.ndarray) and x.ndim == 1)
helpers.isintlike = lambda x: np.ndim(x) == 0 and int(x) == x
sys.modules["scipy.sparse.sputils"] = scipy.sparse.sputils = helpers  # type: ignore[attr-defined]
vars(np)["int"] = int

import recoder.model  # noqa: E402
from recoder.data import RecommendationDataset  # noqa: E402
from recoder.nn import DynamicAutoencoder  # noqa: E402

SECONDS: list[float] = []


class Clock:
    """In place of the progress bar, which is made at the start of an epoch and closed at its end."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.started = time.perf_counter()

    def set_postfix(self, *_: Any, **__: Any) -> None:
        """Show nothing."""

    update = set_postfix

    def close(self) -> None:
        """Note the time."""
        SECONDS.append(time.perf_counter() - self.started)


def main(folder: Path) -> None:
    """Train, and leave the lists."""
    settings, data = read(folder)
    torch.manual_seed(settings["seed"])
    np.random.seed(settings["seed"])  # noqa: NPY002 - what Recoder draws from
    ones = np.ones(len(data["items"]), dtype=np.float32)
    shape = len(data["indptr"]) - 1, int(data["n_items"])
    matrix = scipy.sparse.csr_matrix((ones, data["items"], data["indptr"]), shape)
    recoder.model.tqdm = Clock
    net = DynamicAutoencoder(
        hidden_layers=[settings["width"]], activation_type="tanh", noise_prob=settings["noise"]
    )
    mse = settings["loss"] == "mse"
    model = recoder.model.Recoder(
        net,
        optimizer_type="adam",
        loss="mse" if mse else "logloss",
        loss_params={"confidence": settings["confidence"]} if mse else None,
        use_cuda=settings["device"] == "cuda",
    )
    model.train(
        RecommendationDataset(matrix),
        lr=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        num_epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        negative_sampling=settings["sampling"],
    )
    dataset = RecommendationDataset(matrix)
    parts = []
    with torch.no_grad():
        for start in range(0, shape[0], 500):
            people, _ = dataset[list(range(start, min(start + 500, shape[0])))]
            parts.append(np.array(model.recommend(people, 10)))
    finish(folder, SECONDS, np.concatenate(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
