"""Drawing without trial and error: exact, uniform, never a positive."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys_lib import Interactions
from recsys_lib.errors import DataError
from recsys_lib.mx._free_items import FreeItems


class Fixed:
    """In place of a generator: the places that shall be drawn."""

    def __init__(self, places: np.ndarray) -> None:
        self.places = places

    def integers(self, high: np.ndarray) -> np.ndarray:
        assert (self.places < high).all()
        return self.places


@given(st.integers(1, 9), st.lists(st.sets(st.integers(0, 8)), min_size=1, max_size=5))
def test_every_free_item_is_at_its_place(n_items: int, lists: list[set[int]]) -> None:
    taken = [sorted(i for i in one if i < n_items) for one in lists]
    dense = np.zeros((len(taken), n_items), dtype=np.float32)
    for row, items in enumerate(taken):
        dense[row, items] = 1
    free = FreeItems(sp.csr_matrix(dense))
    expected = [(row, item) for row in range(len(taken)) for item in range(n_items) if not dense[row, item]]
    rows = np.array([row for row, _ in expected], dtype=np.int32)
    places = np.concatenate([np.arange(n_items - len(one)) for one in taken]).astype(np.int64)
    assert free.draw(rows, Fixed(places)).tolist() == [item for _, item in expected]


def test_all_free_items_have_the_same_chance() -> None:
    taken = sp.csr_matrix(np.array([[1, 0, 0, 1, 0, 0, 1, 1], [0, 1, 0, 0, 0, 0, 0, 0]], dtype=np.float32))
    rows = np.repeat([0, 1], 20_000)
    items = FreeItems(taken).draw(rows, np.random.default_rng(0))
    for row, n_free in ((0, 4), (1, 7)):
        shares = np.bincount(items[rows == row], minlength=8) / 20_000
        assert shares[taken[row].indices].sum() == 0
        free = np.setdiff1d(np.arange(8), taken[row].indices)
        assert shares[free] == pytest.approx(1 / n_free, abs=4 * np.sqrt(1 / n_free / 20_000))


def test_keys_of_many_users_and_items_do_not_overflow() -> None:
    """60,000 users times 100,000 items are more than 32 bits hold."""
    users, items = np.array([0, 59_999, 59_999]), np.array([5, 0, 99_999])
    free = FreeItems(sp.csr_matrix((np.ones(3), (users, items)), shape=(60_000, 100_000)))
    last = np.full(1, 59_999, dtype=np.int32)
    assert free.draw(last, Fixed(np.array([0]))).tolist() == [1]
    assert free.draw(last, Fixed(np.array([99_997]))).tolist() == [99_998]


def test_a_user_with_too_few_items_is_named() -> None:
    x = Interactions.from_arrays(list("aaabb"), [1, 2, 3, 1, 2])
    free = FreeItems(x.to_csr())
    FreeItems(x.to_csr()[[1, 1]]).check(1, x, "", users=np.array([1, 1]))
    with pytest.raises(
        DataError, match=r"1 user\(s\) have fewer than 1 of the 3 items .* 'a' with 0\. Go home\."
    ):
        free.check(1, x, "Go home.")
    with pytest.raises(DataError, match=r"1 user\(s\) .*first is user 'b' with 0"):
        FreeItems(x.to_csr()[[0, 0]]).check(1, x, "", users=np.array([1, 1]))
