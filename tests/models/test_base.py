from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib import Interactions
from recsys_lib.errors import DataError, NotSupportedError
from recsys_lib.models import EASE, ItemKNN, Popularity, Recommender

DATA = Interactions.from_arrays(list("aabbc"), ["x", "y", "y", "z", "y"], [5, 3, 4, 2, 5])


@dataclass(kw_only=True, eq=False, repr=False)
class Vectors(Recommender):
    """A vector per user and item, set by hand."""

    scale: float = 1.0

    def _fit(self, train, valid):
        users = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        items = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, -3.0]])
        self._load_state({"users": users * self.scale, "items": items})

    def _scores(self, users):
        return self.users_[users] @ self.items_.T

    def _item_vectors(self):
        return self.items_

    def _state(self):
        return {"users": self.users_, "items": self.items_}

    def _load_state(self, state):
        self.users_, self.items_ = state["users"].to(self.device_), state["items"].to(self.device_)


@dataclass(kw_only=True, eq=False, repr=False)
class Ratings(Vectors):
    predicts_ratings = True


def test_repr_shows_what_is_not_the_default():
    assert repr(EASE()) == "EASE()"
    assert repr(ItemKNN(neighbours=5, similarity="jaccard")) == "ItemKNN(neighbours=5, similarity='jaccard')"


def test_parameters_go_by_keyword():
    with pytest.raises(TypeError):
        EASE(3.0)


def test_parameters_changed_later_are_checked_by_fit():
    model = EASE()
    model.l2 = -1.0
    with pytest.raises(ValueError, match="l2 must be"):
        model.fit(DATA)


def test_scores_are_those_of_the_model():
    model = Vectors(device="cpu").fit(DATA)
    assert model.score(["c", "a"]).tolist() == [[2, 2, -3], [2, 1, 0]]
    assert model.score(["a"], items=["z", "x"]).tolist() == [[0, 2]]
    assert model.predict(["c", "a", "c"], ["z", "x", "x"]).tolist() == [-3, 2, 2]
    with pytest.raises(ValueError, match="equally long, got 2 and 1"):
        model.predict(["c", "a"], ["z"])


def test_predict_in_several_batches(monkeypatch):
    rng = np.random.default_rng(0)
    data = Interactions.from_arrays(np.arange(300) % 40, np.arange(300) % 29)
    model = EASE(device="cpu").fit(data)
    users, items = rng.integers(40, size=200), rng.integers(29, size=200)
    expected = model.score()[users, items]
    np.testing.assert_allclose(model.predict(users, items), expected, rtol=1e-6)
    # A catalogue so large that every user is a batch.
    monkeypatch.setattr(type(model.item_ids), "__len__", lambda self: 2**24)
    np.testing.assert_allclose(model.predict(users, items), expected, rtol=1e-6)


def test_similar_items_are_by_cosine():
    found = Vectors(device="cpu").fit(DATA).similar_items(["x"])
    assert found["similar"].tolist() == ["y", "z"]
    assert found["score"].tolist() == pytest.approx([0.5**0.5, 0.0])


def test_new_people_are_refused_with_the_way_out():
    with pytest.raises(NotSupportedError, match="ItemKNN, EASE"):
        Vectors().fit(DATA).recommend_from_history(["x"])


def test_a_model_of_ratings_needs_ratings():
    with pytest.raises(DataError, match="Ratings learns from ratings, and train has none"):
        Ratings().fit(DATA.binarize())


def test_people_without_history():
    unseen = DATA.select(DATA.users != 1)
    # Popular items for a model of ranks; the model's own guess for one of ratings.
    assert Vectors(device="cpu").fit(unseen).score(["b"]).tolist() == [[1, 2, 0]]
    assert Ratings(device="cpu").fit(unseen).score(["b"]).tolist() == [[0, 1, -3]]


@pytest.mark.parametrize(
    ("history", "people"),
    [
        (["x"], 1),
        (("x", "y"), 1),
        ({"x", "y"}, 1),
        (np.array(["x", "y"], dtype=object), 1),
        (pd.Series(["x", "y"], index=[7, 8]), 1),
        ({"x": 0, "y": 1}.keys(), 1),
        ((one for one in [["x"], ["y"]]), 2),
        ([["x"], ["y", "z"]], 2),
        ([np.array(["x"], dtype=object), ["y"]], 2),
        (pd.Series([["x"], ["y"]], index=[7, 8]), 2),
        ([[], []], 2),
        ([], 1),
    ],
)
def test_histories_of_one_or_many_people(history, people):
    frame = Popularity().fit(DATA).recommend_from_history(history, exclude_seen=False)
    assert sorted(frame["user"].unique()) == list(range(people))


def test_histories_of_tuple_ids():
    ids = pd.Series([("a", 1), ("a", 2), ("b", 1)])
    model = Popularity().fit(Interactions.from_arrays([1, 1, 2], ids))
    assert model.recommend_from_history([("a", 1)])["item"].tolist() == [("a", 2), ("b", 1)]
    assert model.recommend_from_history([[("a", 1)], [("b", 1)]])["user"].tolist() == [0, 0, 1, 1]


def test_what_is_no_history_is_refused():
    model = Popularity().fit(DATA)
    for history in ("x", 3, None):
        with pytest.raises(TypeError, match="history must be a list"):
            model.recommend_from_history(history)


def test_scores_handed_out_may_be_changed():
    model = Popularity(device="cpu").fit(DATA)
    before = model.score(["a"]).tolist()
    model.score_users(torch.tensor([0, 1])).zero_()
    model.score(["a"])[:] = -1
    assert model.score(["a"]).tolist() == before


def test_nothing_of_the_last_fit_is_left():
    model = Popularity().fit(DATA)
    model.leftover_ = 1
    assert not hasattr(model.fit(DATA), "leftover_")


@pytest.mark.parametrize(
    "history", [{1: [2]}, pd.DataFrame({"item": [1]}), [[1], 2], [[1], "ab"], [[1], None]]
)
def test_a_history_that_is_no_list_is_refused(history):
    model = Popularity().fit(Interactions.from_arrays(["u", "v"], [1, 2]))
    with pytest.raises(TypeError, match="history"):
        model.recommend_from_history(history)


def test_empty_validation_data_are_refused():
    x = Interactions.from_arrays(["u", "v"], [1, 2])
    with pytest.raises(DataError, match="valid holds no interactions"):
        Popularity().fit(x, x.select([]))
