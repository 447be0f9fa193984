from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib import Interactions, datasets, load
from recsys_lib.errors import DataError, NotSupportedError
from recsys_lib.models import ProfilePopularity
from tests.models.board import USERS
from tests.models.board import checkerboard as plain_board
from tests.models.contract import RecommenderContract, bad_numbers
from tests.models.shapes import Shapes

PEOPLE = pd.DataFrame(
    {"colour": ["black" if k % 2 else "white" for k in range(len(USERS))], "size": 1.0}, index=USERS
)


class TestProfilePopularity(RecommenderContract):
    learns_numbers = False
    scores_new_people = False
    needs_history = False
    has_similar_items = False
    bad_parameters: ClassVar = {
        "features": ["colour", [3], None],
        "neighbours": [0, 2.5, None],
        "popularity_weight": bad_numbers(-1.0),
    }

    @classmethod
    def make(cls, **parameters: Any) -> ProfilePopularity:
        return ProfilePopularity(**({"features": ("colour",), "neighbours": 6} | parameters))

    @pytest.fixture(scope="class")
    @classmethod
    def board(cls) -> Interactions:
        return plain_board().with_features(users=PEOPLE)


def market() -> Interactions:
    people = pd.DataFrame(
        {"job": ["cook", "cook", "pilot", "pilot", None], "town": ["Rome", "Oslo", "Rome", "Oslo", "Oslo"]},
        index=list("abcde"),
    )
    pairs = ["a jam", "a tea", "b jam", "c nut", "d nut", "d oil", "e oil"]
    users, items = zip(*(pair.split() for pair in pairs), strict=True)
    return Interactions.from_arrays(list(users), list(items)).with_features(users=people)


def test_scores_by_hand() -> None:
    """A cook in Rome: a has both in common, b and c one. Without the popularity of all."""
    model = ProfilePopularity(features=["job", "town"], neighbours=3, popularity_weight=0.0).fit(market())
    frame = model.recommend_from_profile([{"job": "cook", "town": "Rome"}], k=3)
    assert frame["item"].tolist() == ["jam", "tea", "nut"]
    np.testing.assert_allclose(frame["score"], [1 + 0.5, 1.0, 0.5], rtol=1e-6)


def test_a_known_person_without_items_is_known_by_their_profile() -> None:
    people = pd.DataFrame({"job": ["cook", "pilot", "pilot"]}, index=list("abc"))
    x = Interactions.from_arrays(list("aaabc"), ["jam", "tea", "oil", "nut", "nut"])
    x = x.with_features(users=people)
    # Nothing is left in train of what c did.
    model = ProfilePopularity(neighbours=1, popularity_weight=0.0).fit(x.select(np.arange(len(x)) < 4))
    assert model.recommend(["c"], k=1)["item"].tolist() == ["nut"]
    np.testing.assert_allclose(model.score(["c"], ["jam", "nut"]), [[0, 1]])


def test_items_say_nothing_to_it() -> None:
    model = ProfilePopularity(features=["job"]).fit(market())
    with pytest.raises(NotSupportedError, match="recommend_from_profile"):
        model.recommend_from_history(["jam"], k=1)


def test_people_as_near_as_the_last_neighbour_are_not_left_out() -> None:
    model = ProfilePopularity(features=["job"], neighbours=1, popularity_weight=0.0).fit(market())
    frame = model.recommend_from_profile(pd.DataFrame({"job": ["pilot"]}), k=2)
    assert frame["item"].tolist() == ["nut", "oil"]
    np.testing.assert_allclose(frame["score"], [2.0, 1.0])


def test_all_columns_are_the_default() -> None:
    profile = [{"job": "cook", "town": "Rome"}]
    every = ProfilePopularity(neighbours=3).fit(market()).recommend_from_profile(profile)
    named = ProfilePopularity(features=["job", "town"], neighbours=3).fit(market())
    pd.testing.assert_frame_equal(every, named.recommend_from_profile(profile))


def test_a_profile_that_says_nothing_is_given_what_is_popular() -> None:
    model = ProfilePopularity(features=["job", "town"], popularity_weight=1.0).fit(market())
    frame = model.recommend_from_profile([{"job": "clown", "town": None}, {"job": "cook", "town": "?"}], k=4)
    first = frame[frame["user"] == 0]
    assert set(first["item"].iloc[:3]) == {"jam", "nut", "oil"}
    np.testing.assert_allclose(first["score"], [1, 1, 1, 0.5])
    assert frame[frame["user"] == 1]["item"].iloc[0] == "jam"


def test_bad_profiles_are_named(tmp_path) -> None:
    model = ProfilePopularity(features=["job", "town"]).fit(market())
    with pytest.raises(DataError, match="town"):
        model.recommend_from_profile([{"job": "cook"}])
    for wrong in ({"job": "cook", "town": "Rome"}, "cook", 3):
        with pytest.raises(TypeError, match="profiles must be"):
            model.recommend_from_profile(wrong)
    with pytest.raises(DataError, match="no user_features"):
        ProfilePopularity().fit(Interactions.from_arrays(["a"], ["x"]))
    with pytest.raises(DataError, match="hat"):
        ProfilePopularity(features=["hat"]).fit(market())
    model.save(tmp_path / "m.pt")
    profile = [{"job": "cook", "town": "Rome"}]
    pd.testing.assert_frame_equal(
        load(tmp_path / "m.pt").recommend_from_profile(profile), model.recommend_from_profile(profile)
    )
    assert set(model.recommend_from_profile(profile, k=9)["item"]) == {"jam", "tea", "nut", "oil"}


@pytest.mark.parametrize("trained", [[20, 20, 50, 50], [20, 20, 50, None], [20.0, 20.0, 50.0, 50.0]])
def test_whole_numbers_keep_their_name_beside_a_missing_value(trained: list[Any]) -> None:
    """One missing value turns a column of whole numbers into floats."""
    people = pd.DataFrame({"age": trained}, index=list("abcd"))
    x = Interactions.from_arrays(list("abcc"), ["jam", "jam", "tea", "oil"]).with_features(users=people)
    model = ProfilePopularity().fit(x)
    for profiles in ([{"age": 50}], [{"age": 50}, {"age": None}], [{"age": 50.0}], [{"age": "50"}]):
        assert model.recommend_from_profile(profiles, k=1)["item"].iloc[0] in ("tea", "oil")


def test_blocks_of_people_change_nothing(monkeypatch) -> None:
    model = ProfilePopularity(neighbours=2).fit(market())
    whole = model.score()
    monkeypatch.setattr("recsys_lib.models.profiles._NUMBERS", 11)
    np.testing.assert_array_equal(model.score(), whole)


def test_memory_does_not_grow_with_people_times_interactions() -> None:
    x = datasets.synthetic(300, 40, 5000, seed=0)
    people = pd.DataFrame({"town": np.arange(300) % 7}, index=x.user_ids.take(np.arange(300)))
    model = ProfilePopularity(device="cpu").fit(x.with_features(users=people))
    with Shapes() as shapes:
        model.score_users(torch.arange(300))
    assert 300 * 300 <= max(math.prod(shape) for _, shape in shapes.made) < 300 * 5000 / 2
