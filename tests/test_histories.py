"""Histories: ragged lists as tensors, against plain Python lists and sets."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lib.histories import Histories

repeatable = settings(max_examples=60, deadline=None, derandomize=True)
N_ITEMS = 7
lists_of_items = st.lists(st.lists(st.integers(0, N_ITEMS - 1), max_size=9), max_size=6)


def as_lists(histories: Histories) -> list[list[int]]:
    ends = histories.indptr.tolist()
    return [histories.indices[a:b].tolist() for a, b in pairwise(ends)]


@repeatable
@given(lists_of_items, st.data())
def test_everything_agrees_with_plain_lists(lists, data):
    expected = [sorted(set(one)) for one in lists]
    histories = Histories.from_lists(lists, N_ITEMS)
    assert as_lists(histories) == expected
    assert len(histories) == len(lists)
    assert histories.lengths().tolist() == [len(one) for one in expected]
    rows, items = histories.pairs()
    pairs = [(row, item) for row, one in enumerate(expected) for item in one]
    assert list(zip(rows.tolist(), items.tolist(), strict=True)) == pairs
    dense = histories.to_dense(torch.bool)
    assert dense.shape == (len(lists), N_ITEMS)
    assert dense.nonzero().tolist() == [list(pair) for pair in pairs]
    assert as_lists(Histories.from_pairs(rows, items, len(lists), N_ITEMS)) == expected
    assert as_lists(histories.to("cpu")) == expected

    positions = st.integers(0, len(lists) - 1)
    picked = data.draw(st.lists(positions, max_size=8)) if lists else []
    chosen = histories.select(torch.tensor(picked, dtype=torch.int64))
    assert as_lists(chosen) == [expected[row] for row in picked]
    assert chosen.n_items == N_ITEMS

    asked = torch.cartesian_prod(torch.arange(len(lists)), torch.arange(-1, N_ITEMS + 1)).reshape(-1, 2)
    answers = histories.contains(asked[:, 0], asked[:, 1]).tolist()
    assert answers == [item in expected[row] for row, item in asked.tolist()]


def test_from_pairs_takes_pairs_in_any_order_and_counts_repeats_once():
    rows, items = torch.tensor([2, 0, 2, 2]), torch.tensor([4, 1, 3, 4], dtype=torch.int32)
    assert as_lists(Histories.from_pairs(rows, items, 4, 5)) == [[1], [], [3, 4], []]


def test_minus_one_is_in_no_list():
    # Without care, row 1 and item -1 would be read as row 0 and the last item.
    histories = Histories.from_lists([[2], [0]], n_items=3)
    assert not histories.contains(torch.tensor([1]), torch.tensor([-1])).any()
    assert not histories.contains(torch.tensor([0]), torch.tensor([3])).any()


def test_contains_keeps_the_shape_of_the_question():
    histories = Histories.from_lists([[0, 2], [1]], n_items=3)
    rows = torch.tensor([[0, 0], [1, 1]])
    assert histories.contains(rows, torch.tensor([[2, 1], [1, 2]])).tolist() == [[True, False], [True, False]]
    empty = Histories.from_lists([[], []], n_items=3)
    assert empty.contains(rows, rows).tolist() == [[False, False], [False, False]]


def test_no_lists_at_all():
    histories = Histories.from_lists([], n_items=3)
    assert len(histories) == 0
    assert histories.to_dense().shape == (0, 3)
    assert histories.select(torch.empty(0, dtype=torch.int64)).indptr.tolist() == [0]


@pytest.mark.parametrize("item", [-1, 3])
def test_items_outside_the_catalogue_are_refused(item):
    with pytest.raises(IndexError, match="item indices must be from 0 to 2"):
        Histories.from_lists([[0], [item]], n_items=3)


@pytest.mark.parametrize("row", [-1, 2])
def test_rows_outside_the_table_are_refused(row):
    with pytest.raises(IndexError, match="row indices must be from 0 to 1"):
        Histories.from_pairs(torch.tensor([0, row]), torch.tensor([0, 0]), n_rows=2, n_items=3)


@repeatable
@given(lists_of_items, st.data())
def test_places_pick_what_is_kept_beside_the_items(lists, data):
    histories = Histories.from_lists(lists, N_ITEMS)
    beside = 10 * torch.arange(len(histories.indices))
    expected = [
        [(item, 10 * (start + k)) for k, item in enumerate(one)]
        for one, start in zip(as_lists(histories), histories.indptr.tolist(), strict=False)
    ]
    picked = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=8)) if lists else []
    indptr, places = histories.places(torch.tensor(picked, dtype=torch.int64))
    found = zip(histories.indices[places].tolist(), beside[places].tolist(), strict=True)
    assert list(found) == [entry for row in picked for entry in expected[row]]
    assert indptr.diff().tolist() == [len(expected[row]) for row in picked]
    assert indptr[0] == 0


@repeatable
@given(lists_of_items)
def test_transposed(lists):
    histories = Histories.from_lists(lists, N_ITEMS)
    rows_of_items, places = histories.transposed()
    expected = [[row for row, one in enumerate(lists) if item in one] for item in range(N_ITEMS)]
    assert as_lists(rows_of_items) == expected
    assert (len(rows_of_items), rows_of_items.n_items) == (N_ITEMS, len(lists))
    rows, items = histories.pairs()
    assert torch.equal(rows[places], rows_of_items.indices)
    assert torch.equal(items[places], rows_of_items.pairs()[0])
    back, there = rows_of_items.transposed()
    assert as_lists(back) == as_lists(histories)
    assert torch.equal(places[there], torch.arange(len(places)))
