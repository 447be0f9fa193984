"""What our own sides share: the data as Interactions, and the lists of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from benchmarks.speed.sides.common import finish, read
from recsys_lib import Interactions
from recsys_lib.models.gradient import GradientRecommender


def read_train(folder: Path) -> tuple[dict[str, Any], Interactions]:
    """Return the settings and the training data of a run."""
    settings, data = read(folder)
    shape = len(data["indptr"]) - 1, int(data["n_items"])
    ones = np.ones(len(data["items"]), dtype=np.float32)
    return settings, Interactions.from_csr(csr_matrix((ones, data["items"], data["indptr"]), shape))


def finish_with(folder: Path, model: GradientRecommender, train: Interactions) -> None:
    """Leave the ten best new items of everybody, and say how long each epoch took."""
    found = model.recommend(k=10)
    lists = np.full((train.n_users, 10), -1)  # for those who have nearly everything
    lists[train.user_ids.indices(found["user"]), found["rank"] - 1] = train.item_ids.indices(found["item"])
    finish(folder, model.history_["seconds"].tolist(), lists)
