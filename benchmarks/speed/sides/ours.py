"""What our own sides share: the data as Interactions, and the lists of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.sides.common import finish, matrix_of, read
from recsys_lib import Interactions
from recsys_lib.histories import Histories
from recsys_lib.models.base import Recommender
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.ranking import rank_catalogue


def read_train(folder: Path) -> tuple[dict[str, Any], Interactions]:
    """Return the settings and the training data of a run."""
    settings, data = read(folder)
    return settings, Interactions.from_csr(matrix_of(data))


def histories_of(matrix: Any) -> Histories:
    """Return the items of each user."""
    return Interactions.from_csr(matrix).histories()


def lists_of(model: Recommender, known: Histories) -> np.ndarray:
    """Return the ten best items of everybody that are not known yet, -1 where nothing is left."""
    users = torch.arange(len(known))
    lists: np.ndarray = rank_catalogue(model.score_users, users, 10, exclude=known)[0].cpu().numpy()
    return lists


def finish_with(folder: Path, model: GradientRecommender, train: Interactions) -> None:
    """Leave the ten best new items of everybody, and say how long each epoch took."""
    finish(folder, model.history_["seconds"].tolist(), lists_of(model, train.histories()))
