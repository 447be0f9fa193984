"""Candidates that are drawn, and what may not be among them."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from recsys_lib import datasets
from recsys_lib.errors import DataError
from recsys_lib.evaluation import SampledMetricsWarning, evaluate
from recsys_lib.evaluation.candidates import candidate_lists
from recsys_lib.histories import Histories
from recsys_lib.models import Popularity
from recsys_lib.splits import leave_last_out

SPLIT = leave_last_out(datasets.synthetic(40, 60, 600, seed=2))
RELEVANT = SPLIT.test.histories()
USERS = RELEVANT.lengths().nonzero()[:, 0]


def drawn_candidates(n: int, exclude: Histories | None, seed: int = 0) -> Histories:
    lists, _ = candidate_lists(n, SPLIT, SPLIT.test, USERS, RELEVANT.select(USERS), seed, exclude)
    assert lists is not None
    return lists


def some_pairs(n: int = 12, seed: int = 5) -> Histories:
    """A few items of every user, as if training had drawn them."""
    items = torch.randint(60, (40, n), generator=torch.Generator().manual_seed(seed))
    return Histories.from_pairs(torch.arange(40).repeat_interleave(n), items.flatten(), 40, 60)


def test_excluded_pairs_are_not_drawn():
    excluded, relevant = some_pairs(), RELEVANT.select(USERS)
    for seed in range(5):
        rows, items = drawn_candidates(10, excluded, seed).pairs()
        others = ~relevant.contains(rows, items)
        assert others.sum() == 10 * len(USERS)
        assert not excluded.select(USERS).contains(rows[others], items[others]).any()
        # Without the argument some of them are.
        rows, items = drawn_candidates(10, None, seed).pairs()
        assert excluded.select(USERS).contains(rows, items).any()


def test_a_held_out_item_stays_a_candidate_when_it_is_excluded():
    rows, items = RELEVANT.select(USERS).pairs()
    with_them = Histories.from_pairs(USERS[rows], items, 40, 60)
    candidates = drawn_candidates(10, with_them)
    assert candidates.contains(rows, items).all()
    assert torch.equal(candidates.indices, drawn_candidates(10, None).indices)


def test_the_protocol_says_so():
    model = Popularity().fit(SPLIT.train)
    with pytest.warns(SampledMetricsWarning):
        result = evaluate(model, SPLIT, candidates=10, exclude=some_pairs())
    assert "none of them among the excluded pairs" in result.protocol
    with pytest.warns(SampledMetricsWarning):
        assert "excluded" not in evaluate(model, SPLIT, candidates=10).protocol


@pytest.mark.parametrize(
    ("candidates", "exclude", "error", "words"),
    [
        (None, some_pairs(), DataError, "exclude is for drawn candidates: with candidates=99"),
        (pd.DataFrame({"user": [1], "item": [1]}), some_pairs(), DataError, "exclude is for drawn"),
        (10, Histories.from_lists([[1]], n_items=60), DataError, "exclude has 1 lists of 60 items.*40 users"),
        (
            10,
            Histories.from_lists([[]] * 40, n_items=7),
            DataError,
            "of 7 items, and the split has.* 60 items",
        ),
        (10, [[1, 2]], TypeError, "exclude must be Histories.*got list"),
        (30, some_pairs(80), DataError, "cannot draw 30 unknown items"),
    ],
)
def test_what_cannot_be_excluded_is_refused(candidates, exclude, error, words):
    with pytest.raises(error, match=words):
        evaluate(Popularity().fit(SPLIT.train), SPLIT, candidates=candidates, exclude=exclude)
