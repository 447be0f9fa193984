import math

import numpy as np
import pytest
import torch

from recsys_lib.errors import DataError, NotSupportedError
from recsys_lib.evaluation import evaluate_ratings
from recsys_lib.interactions import Interactions
from recsys_lib.splits import Split

TRAIN = Interactions.from_arrays(
    ["ann", "ann", "bob", "eve", "eve", "zoe"], ["tea", "jam", "tea", "jam", "egg", "fig"]
)
RATED = Interactions.from_arrays(
    ["ann", "bob", "bob", "bob"], ["egg", "jam", "egg", "fig"], [5, 3, 1, 2], like=TRAIN
)
RATED_SPLIT = Split("rated", TRAIN, None, RATED)
UNRATED_SPLIT = Split("unrated", TRAIN, None, Interactions.from_arrays(["ann"], ["egg"], like=TRAIN))


class FakeRatings:
    """Predicts what stands in a table of ratings, one row per user index."""

    predicts_ratings = True
    name = "Fake"

    def __init__(self, table, data=TRAIN):
        self.table, self.user_ids, self.item_ids = table, data.user_ids, data.item_ids

    def predict(self, users, items):
        return self.table[self.user_ids.indices(users), self.item_ids.indices(items)].numpy()


def test_rmse_is_over_all_ratings():
    result = evaluate_ratings(FakeRatings(torch.full((4, 4), 3.0)), RATED_SPLIT)
    assert result["rmse"] == pytest.approx(math.sqrt((4 + 0 + 4 + 1) / 4))
    assert result["mae"] == pytest.approx((2 + 0 + 2 + 1) / 4)
    assert result.per_user.loc["bob"].tolist() == pytest.approx([math.sqrt(5 / 3), 1, 3])
    assert result.per_user.loc["ann"].tolist() == [2, 2, 1]
    assert result["rmse"] != pytest.approx(result.per_user["rmse"].mean())
    assert "4 held-out ratings of 2 users" in result.protocol
    given = evaluate_ratings(FakeRatings(torch.full((4, 4), 3.0)), RATED)
    assert given["rmse"] == result["rmse"]
    assert "the given interactions" in given.protocol


def test_the_interval_of_rmse_covers_it():
    rng = np.random.default_rng(0)
    pairs = rng.permutation(60 * 40)[:900]
    rated = Interactions.from_arrays(pairs // 40, pairs % 40, rng.integers(1, 6, 900))
    result = evaluate_ratings(FakeRatings(torch.full((60, 40), 3.0), rated), rated)
    row = result.table.set_index("metric").loc["rmse"]
    assert row["low"] < row["mean"] < row["high"]
    assert row["n_users"] == 60
    # If ratings were independent, the error of the mean square would be sd / sqrt(n).
    squares = (rated.ratings - 3.0) ** 2
    assert row["stderr"] == pytest.approx(squares.std() / math.sqrt(900) / (2 * row["mean"]), rel=0.3)


class OrdersOnly(FakeRatings):
    predicts_ratings = False


def test_bad_rating_evaluations_are_refused():
    with pytest.raises(NotSupportedError, match="Fake does not predict ratings"):
        evaluate_ratings(OrdersOnly(torch.zeros(4, 4)), RATED_SPLIT)
    with pytest.raises(DataError, match="there are no ratings"):
        evaluate_ratings(FakeRatings(torch.zeros(4, 4)), UNRATED_SPLIT)
    with pytest.raises(DataError, match="4 of 4 ratings as NaN or infinite"):
        evaluate_ratings(FakeRatings(torch.full((4, 4), math.inf)), RATED_SPLIT)
    with pytest.raises(TypeError, match="split must be a Split"):
        evaluate_ratings(FakeRatings(torch.zeros(4, 4)), "ratings.csv")
