"""The splits that the cases learn from. What resembles MovieLens-1M and -20M is synthetic."""

from __future__ import annotations

import numpy as np

from benchmarks.tables import recbole_ml100k
from recsys_lib import Interactions, datasets, splits
from recsys_lib.splits import Split


def ml_100k() -> Split:
    """Cut MovieLens-100K into 80 % and 20 % of everybody's ratings."""
    return splits.random_holdout(datasets.load("ml-100k"), 0.2, by="user", seed=0)


def ml_100k_in_three() -> Split:
    """Cut MovieLens-100K as RecBole does by default: 80 %, 10 % and 10 % of everybody's ratings."""
    return recbole_ml100k.split(datasets.load("ml-100k"))


def like_ml_1m() -> Split:
    """Make a million interactions."""
    return splits.random_holdout(datasets.synthetic(6_040, 3_706, 1_000_000, seed=0), 0.2, by="user", seed=0)


def like_ml_20m() -> Split:
    """Make twenty million interactions."""
    return splits.random_holdout(_twenty_millions(), 0.2, by="user", seed=0)


def people_of_ml_20m() -> Split:
    """Take 10,000 people of the twenty million: 20 batches of 500."""
    return _some(10_000)


def more_people_of_ml_20m() -> Split:
    """Take 20,480 people of the twenty million: 80 batches of 256."""
    return _some(20_480)


def _twenty_millions() -> Interactions:
    # With this skew the head and the tail are those of MovieLens-20M: 256 people have 7,700 different items.
    return datasets.synthetic(138_493, 26_744, 20_000_000, popularity_skew=2.0, timestamps=False, seed=0)


def _some(n_people: int) -> Split:
    whole = _twenty_millions()
    people = np.random.RandomState(0).permutation(whole.n_users)[:n_people]
    some = whole.to_csr()[np.sort(people)]
    return splits.random_holdout(Interactions.from_csr(some), 0.2, by="user", seed=0)
