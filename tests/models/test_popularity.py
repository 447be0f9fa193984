import numpy as np

from recsys_lib import Interactions
from recsys_lib.models import Popularity
from tests.models.contract import RecommenderContract


class TestContract(RecommenderContract):
    learns_numbers = False
    solves_the_board = False
    has_similar_items = False

    @classmethod
    def make(cls, **parameters):
        return Popularity(**parameters)


def test_the_score_is_the_number_of_users():
    data = Interactions.from_arrays(list("aabbc"), [1, 2, 2, 3, 2], [5, 5, 1, 1, 1])
    model = Popularity().fit(data)
    assert model.score(["a"]).tolist() == [[1, 3, 1]]
    assert model.recommend(["a"], exclude_seen=False)["item"].tolist() == [2, 1, 3]


def test_equally_popular_items_come_in_index_order():
    rng = np.random.default_rng(0)
    data = Interactions.from_arrays(rng.permutation(50), np.arange(50))
    ranked = Popularity(device="cpu").fit(data).recommend([7], k=50, exclude_seen=False)
    assert ranked["item"].tolist() == list(range(50))
