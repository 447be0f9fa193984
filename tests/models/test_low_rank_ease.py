from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from recsys_lib import Interactions, datasets
from recsys_lib.errors import DataError
from recsys_lib.models import EASE, LowRankEASE
from tests.models.board import ITEMS, USERS
from tests.models.contract import RecommenderContract, bad_numbers
from tests.models.shapes import Shapes


class TestLowRankEASE(RecommenderContract):
    bad_parameters: ClassVar = {
        "factors": [0, -1, 2.5, None],
        "l2": bad_numbers(0, -1.0),
        "iterations": [0, 2.5, None],
    }

    @classmethod
    def make(cls, **parameters: Any) -> LowRankEASE:
        return LowRankEASE(**({"factors": 2, "l2": 1.0} | parameters))

    def test_one_user_is_many_users(self, model):
        """Only the item of the own colour is above 0. The others are level, up to the last digit."""
        together = model.recommend(USERS, k=1)
        alone = [model.recommend([user], k=1) for user in USERS]
        assert together["item"].tolist() == [one["item"].item() for one in alone] == ITEMS
        scores = np.concatenate([model.score([user]) for user in USERS])
        np.testing.assert_allclose(model.score(USERS), scores, atol=1e-6)


def test_with_all_axes_it_is_ease() -> None:
    x = datasets.synthetic(300, 60, 4000, seed=1)
    n = int((x.item_counts() > 0).sum())
    ours = LowRankEASE(factors=n, l2=20.0, iterations=8).fit(x)
    expected = EASE(l2=20.0).fit(x)
    torch.testing.assert_close(
        torch.from_numpy(ours.score()), torch.from_numpy(expected.score()), atol=2e-3, rtol=1e-3
    )
    new = x.item_ids.take([3, 5, 8]).tolist()
    assert (
        ours.recommend_from_history(new, k=5)["item"].tolist()
        == expected.recommend_from_history(new, k=5)["item"].tolist()
    )


def test_the_axes_are_those_of_a_singular_value_decomposition() -> None:
    x = datasets.synthetic(300, 80, 4000, seed=2)
    model = LowRankEASE(factors=5, l2=30.0, iterations=10).fit(x)
    dense = x.histories().to_dense(torch.float64)
    _, values, axes = torch.linalg.svd(dense, full_matrices=False)
    squares = values[:5] ** 2
    torch.testing.assert_close(model.shares_.double(), squares / (squares + 30), rtol=1e-4, atol=1e-5)
    overlap = (axes[:5] @ model.axes_.double()).abs()
    torch.testing.assert_close(overlap, torch.eye(5, dtype=torch.float64), atol=1e-2, rtol=0)


def test_no_matrix_of_all_pairs_of_items_is_made() -> None:
    n_items = 5003
    x = datasets.synthetic(40, n_items, 900, seed=0)
    with Shapes() as shapes:
        model = LowRankEASE(factors=4, device="cpu").fit(x)
        model.score_users(torch.arange(3))
    largest = max(math.prod(shape) for _, shape in shapes.made)
    assert n_items * 4 <= largest < n_items * n_items / 50


def test_an_l2_that_is_lost_in_rounding_is_refused() -> None:
    x = datasets.synthetic(40, 30, 900, seed=0)
    with pytest.raises(DataError, match="l2=1e-09 is too small"):
        LowRankEASE(factors=4, l2=1e-9).fit(x)


def test_more_axes_than_the_data_has() -> None:
    x = Interactions.from_arrays(["a", "b", "a"], ["x", "x", "y"])
    model = LowRankEASE(factors=3, l2=1.0).fit(x)
    assert model.axes_.shape == (2, 2)
    np.testing.assert_allclose(model.score(), EASE(l2=1.0).fit(x).score(), atol=1e-5)
