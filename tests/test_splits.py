"""Splits: exact on small frames, and true of any data on random ones."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lib._cuts import joined
from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions
from recsys_lib.splits import (
    Split,
    chronological,
    held_out_users,
    k_fold,
    leave_last_out,
    random_holdout,
)

repeatable = settings(max_examples=30, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def table(n_rows: int, n_times: int, seed: int) -> Interactions:
    """Make a table with equal times, users of any activity, ratings, and perhaps ids without rows."""
    random = np.random.default_rng(seed)
    pairs = random.permutation(80)[:n_rows]
    df = pd.DataFrame({"user": pairs // 10, "item": pairs % 10})
    df["user"] = "u" + df["user"].astype(str)
    df["rating"] = random.integers(1, 6, n_rows)
    df["timestamp"] = random.integers(0, n_times, n_rows)
    return Interactions.from_dataframe(df).select(np.arange(seed % 4, n_rows))


# Drawn as a whole from a seed: quick, and many shapes of table.
interactions = st.builds(table, st.integers(35, 70), st.integers(12, 1000), st.integers(0, 10**6))


def parts_of(split: Split) -> dict[str, Interactions]:
    names = ("train", "valid", "test", "valid_fold_in", "test_fold_in")
    return {name: getattr(split, name) for name in names if getattr(split, name) is not None}


def rows_of(*parts: Interactions) -> list[tuple[Any, ...]]:
    """Return the rows of all parts as sorted tuples of indices, rating and time."""
    rows = []
    for part in parts:
        columns = (part.users, part.items, part.ratings, part.timestamps)
        rows += zip(*(column.tolist() for column in columns if column is not None), strict=True)
    return sorted(rows)


def contents(split: Split) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows_of(part) for name, part in parts_of(split).items()}


SPLITTERS: dict[str, Callable[[Interactions, int], Split]] = {
    "leave_last_out": lambda x, seed: leave_last_out(x),
    "leave_last_out without valid": lambda x, seed: leave_last_out(x, valid=False),
    "by user": lambda x, seed: random_holdout(x, 0.3, seed=seed),
    "by item": lambda x, seed: random_holdout(x, 0.25, 0.25, by="item", seed=seed),
    "global": lambda x, seed: random_holdout(x, 0.2, 0.1, by="global", seed=seed),
    "chronological": lambda x, seed: chronological(x, 0.3, 0.3),
    "held-out users": lambda x, seed: held_out_users(x, 2, 1, 0.5, seed=seed),
    "held-out users without valid": lambda x, seed: held_out_users(x, 0.3, 0, seed=seed),
    "fold": lambda x, seed: k_fold(x, 3, seed)[1],
}


@pytest.mark.parametrize("cut", SPLITTERS.values(), ids=SPLITTERS)
@repeatable
@given(x=interactions, seed=seeds)
def test_parts_hold_every_row_once_in_one_id_space_and_come_out_the_same_again(cut, x, seed):
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state must be left alone
    split = cut(x, seed)
    assert rows_of(*parts_of(split).values()) == rows_of(x)
    for part in parts_of(split).values():
        assert len(part) > 0
        assert part.user_ids is x.user_ids
        assert part.item_ids is x.item_ids
    assert contents(cut(x, seed)) == contents(split)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


@repeatable
@given(x=interactions, seed=seeds, order=st.randoms(use_true_random=False))
def test_the_order_of_rows_plays_no_role_where_it_should_not(x, seed, order):
    rows = np.array(order.sample(range(len(x)), len(x)))
    for cut in (lambda x: chronological(x, 0.3, 0.3), lambda x: held_out_users(x, 2, 1, 0.5, seed=seed)):
        assert contents(cut(x)) == contents(cut(x.select(rows)))
    distinct = Interactions(x.users, x.items, x.ratings, np.arange(len(x)), x.user_ids, x.item_ids)
    assert contents(leave_last_out(distinct)) == contents(leave_last_out(distinct.select(rows)))


# ------------------------------------------------------------------ leave last out


@repeatable
@given(x=interactions, valid=st.booleans())
def test_leave_last_out_hides_what_a_plain_sort_finds_last(x, valid):
    split = leave_last_out(x, valid=valid)
    df = x.to_dataframe().reset_index()
    expected: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for _, rows in df.groupby("user"):
        ordered = rows.sort_values(["timestamp", "index"])["index"].tolist()
        last = 2 if valid else 1
        if len(ordered) > last:
            expected["test"].append(ordered.pop())
            if valid:
                expected["valid"].append(ordered.pop())
        expected["train"] += ordered
    if not valid:
        del expected["valid"]
        assert split.valid is None
    assert contents(split) == {name: rows_of(x.select(rows)) for name, rows in expected.items()}


def test_leave_last_out_takes_the_later_row_of_equal_times_and_leaves_short_users_in_train():
    users = ["ann", "ann", "ann", "bob", "bob", "eve"]
    x = Interactions.from_arrays(users, ["a", "b", "c", "a", "b", "a"], timestamps=[7, 7, 7, 1, 2, 3])
    split = leave_last_out(x)
    assert split.test.to_dataframe()[["user", "item"]].to_numpy().tolist() == [["ann", "c"]]
    assert split.valid.to_dataframe()["item"].tolist() == ["b"]
    assert split.train.to_dataframe()["item"].tolist() == ["a", "a", "b", "a"]
    without = leave_last_out(x, valid=False).test.to_dataframe()
    assert without[["user", "item"]].to_numpy().tolist() == [["ann", "c"], ["bob", "b"]]


def test_leave_last_out_needs_times_and_users_with_enough():
    with pytest.raises(DataError, match="leave_last_out needs timestamps"):
        leave_last_out(Interactions.from_arrays([1, 1, 1], [1, 2, 3]))
    with pytest.raises(DataError, match="at least 3 interactions, and the most active one has 2"):
        leave_last_out(Interactions.from_arrays([1, 1, 2], [1, 2, 3], timestamps=[1, 2, 3]))


# ------------------------------------------------------------------ random hold-out


def test_random_holdout_by_hand():
    # RandomState(42).rand(8) is .37 .95 .73 .60 .1560 for item "a" and .1559 .06 .87 for item "b".
    # round(.75 * 5) = 4 and round(.75 * 3) = 2 rows stay: all but row 1 (.95) and row 7 (.87).
    x = Interactions.from_arrays([0, 1, 2, 3, 4, 5, 6, 7], list("aaaaabbb"))
    split = random_holdout(x, test=0.25, by="item", seed=42)
    assert split.test.to_dataframe()["user"].tolist() == [1, 7]
    assert split.train.to_dataframe()["user"].tolist() == [0, 2, 3, 4, 5, 6]
    assert split.name == "random hold-out by item, test 0.25, seed 42"


@repeatable
@given(
    x=interactions,
    by=st.sampled_from(["user", "item", "global"]),
    shares=st.sampled_from([(0.25, 0.0), (0.5, 0.0), (0.2, 0.1), (0.4, 0.3), (0.35, 0.25)]),
    seed=seeds,
)
def test_random_holdout_agrees_with_pandas_groups_and_ranks(x, by, shares, seed):
    test, valid = shares
    df = x.to_dataframe()
    df["random"] = np.random.RandomState(seed).rand(len(df))
    group = np.zeros(len(df)) if by == "global" else df[by]
    rank = df.groupby(group)["random"].rank()
    count = df.groupby(group)["random"].transform("size")
    # The shares are written out, as one would by hand, rather than taken from 1 - test - valid.
    keep = {0.25: 0.75, 0.5: 0.5, 0.2: 0.8, 0.4: 0.6, 0.35: 0.65}[test]
    first = {(0.2, 0.1): 0.7, (0.4, 0.3): 0.3, (0.35, 0.25): 0.4}.get(shares, keep)
    in_train, in_test = rank <= (first * count).round(), rank > (keep * count).round()
    expected = {"train": in_train, "valid": ~in_train & ~in_test, "test": in_test}
    if not all(mask.any() for name, mask in expected.items() if name != "valid" or valid):
        with pytest.raises(DataError, match=r"part of 'random hold-out .*' is empty"):
            random_holdout(x, test, valid, by=by, seed=seed)
        return
    split = random_holdout(x, test, valid, by=by, seed=seed)
    assert contents(split) == {
        name: rows_of(x.select(mask.to_numpy()))
        for name, mask in expected.items()
        if name != "valid" or valid
    }
    assert rows_of(split.test) == rows_of(random_holdout(x, test, by=by, seed=seed).test)


@pytest.mark.parametrize(
    ("n", "test", "valid", "sizes"),
    [
        (10, 0.25, 0.0, (8, 0, 2)),
        (10, 0.35, 0.0, (6, 0, 4)),
        (15, 0.2, 0.1, (10, 2, 3)),
        (10, 0.2, 0.1, (7, 1, 2)),
    ],
)
def test_halves_are_rounded_to_the_even_number(n, test, valid, sizes):
    split = random_holdout(Interactions.from_arrays([1] * n, range(n)), test, valid, by="global")
    assert (len(split.train), len(split.valid or ()), len(split.test)) == sizes


def test_another_seed_gives_another_split():
    x = Interactions.from_arrays([1] * 40, range(40))
    for cut in (lambda seed: random_holdout(x, seed=seed), lambda seed: k_fold(x, seed=seed)[0]):
        assert rows_of(cut(0).test) != rows_of(cut(1).test)
    y = Interactions.from_arrays(np.repeat(np.arange(40), 2), range(80))
    assert rows_of(held_out_users(y, seed=0).test) != rows_of(held_out_users(y, seed=1).test)


# ------------------------------------------------------------------ chronological


@repeatable
@given(x=interactions, shares=st.sampled_from([(0.2, 0.1), (0.5, 0.0), (0.3, 0.4)]))
def test_chronological_parts_follow_each_other_without_sharing_a_time(x, shares):
    test, valid = shares
    times = sorted(x.timestamps)
    cuts = [round(round(share, 12) * len(x)) for share in (1 - test - valid, 1 - test)]
    starts = [times[0], times[cuts[0]], times[cuts[1]], np.inf]
    names = ["train", "valid", "test"]
    if not valid:
        del names[1], starts[1]
    expected = {
        name: rows_of(x.select((x.timestamps >= start) & (x.timestamps < end)))
        for name, (start, end) in zip(names, pairwise(starts), strict=True)
    }
    empty = [name for name in names if not expected[name]]
    if empty:
        with pytest.raises(DataError, match=f"the {empty[0]} part"):
            chronological(x, test, valid)
    else:
        assert contents(chronological(x, test, valid)) == expected


def test_chronological_by_hand():
    x = Interactions.from_arrays(range(10), [1] * 10, timestamps=[0, 9, 1, 8, 2, 7, 3, 6, 4, 5])
    split = chronological(x, test=0.2, valid=0.3)
    assert [sorted(part.timestamps) for part in (split.train, split.valid, split.test)] == [
        [0, 1, 2, 3, 4],
        [5, 6, 7],
        [8, 9],
    ]
    tied = Interactions.from_arrays(range(5), [1] * 5, timestamps=[0.5, 1.5, 1.5, 1.5, 2.5])
    assert len(chronological(tied, 0.4, 0).test) == 4  # the cut falls among the three equal times


def test_chronological_says_which_part_is_empty():
    same = Interactions.from_arrays(range(5), [1] * 5, timestamps=[3] * 5)
    with pytest.raises(DataError, match=r"the train part of 'chronological, test 0.2, valid 0.1' is empty"):
        chronological(same)
    with pytest.raises(DataError, match="test part is empty"):
        chronological(same, test=0.01, valid=0)
    two_times = Interactions.from_arrays(range(5), [1] * 5, timestamps=[3, 4, 4, 4, 4])
    with pytest.raises(DataError, match="the valid part"):
        chronological(two_times, 0.4, 0.4)


# ------------------------------------------------------------------ held-out users


@repeatable
@given(x=interactions, fold_in=st.sampled_from([0.1, 0.5, 0.8, 0.99]), seed=seeds)
def test_held_out_users_are_unseen_in_train_and_cut_in_two(x, fold_in, seed):
    split = held_out_users(x, 2, 1, fold_in, seed)
    counts = x.user_counts()
    hidden = {}
    for part, size in (("test", 2), ("valid", 1)):
        shown, target = getattr(split, f"{part}_fold_in").user_counts(), getattr(split, part).user_counts()
        hidden[part] = set(np.flatnonzero(target))
        assert len(hidden[part]) == size
        assert set(np.flatnonzero(shown)) == hidden[part]
        for user in hidden[part]:
            assert shown[user] == min(max(round(fold_in * counts[user]), 1), counts[user] - 1)
            assert shown[user] + target[user] == counts[user]
    assert not hidden["test"] & hidden["valid"]
    assert not (hidden["test"] | hidden["valid"]) & set(split.train.users)
    assert rows_of(split.test) == rows_of(held_out_users(x, 2, 0, fold_in, seed).test)


def test_held_out_users_draws_from_those_with_two_or_more():
    users = [*range(10), *range(5)]  # users 0 to 4 have two interactions, the others one
    x = Interactions.from_arrays(users, range(15))
    split = held_out_users(x, test_users=0.6, valid_users=0.4, seed=3)
    assert (len(split.test), len(split.valid or ())) == (3, 2)
    assert sorted(split.train.users) == [5, 6, 7, 8, 9]
    assert split.name == "held-out users, 3 for test, 2 for valid, fold-in 0.8, seed 3"


@pytest.mark.parametrize(
    ("test", "valid", "message"),
    [
        (3, 3, "leave no user for train: 5 have two"),
        (0.01, 0, "test part is empty"),
        (0.5, 0.01, "valid is empty"),
    ],
)
def test_held_out_users_says_when_users_run_out(test, valid, message):
    x = Interactions.from_arrays([*range(10), *range(5)], range(15))
    with pytest.raises(DataError, match=message):
        held_out_users(x, test, valid)
    with pytest.raises(DataError, match="leave no user for train"):
        held_out_users(Interactions.from_arrays([1, 1, 2, 2], range(4)), 1, 1)


@repeatable
@given(x=interactions, k=st.integers(2, 9), seed=seeds)
def test_folds_are_disjoint_and_cover_all_rows(x, k, seed):
    folds = k_fold(x, k, seed)
    assert len(folds) == k
    assert rows_of(*(fold.test for fold in folds)) == rows_of(x)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for fold in folds:
        assert fold.valid is None
        assert rows_of(fold.train, fold.test) == rows_of(x)


# ------------------------------------------------------------------ the Split itself


def ordinary() -> Interactions:
    return Interactions.from_arrays([1, 1, 1, 2, 2, 2], [1, 2, 3, 1, 2, 3], [5, 4, 3, 2, 1, 5], range(6))


def test_known_is_what_comes_before_the_part():
    split = leave_last_out(ordinary())
    assert rows_of(split.known()) == rows_of(split.train, split.valid)
    assert split.known().ratings is not None
    assert split.known("valid") is split.train
    without = leave_last_out(ordinary(), valid=False)
    assert without.known("test") is without.train
    hidden = held_out_users(Interactions.from_arrays([1, 1, 2, 2, 3, 3], range(6)), 1, 1)
    assert hidden.known("test") is hidden.test_fold_in
    assert hidden.known("valid") is hidden.valid_fold_in


def test_known_refuses_a_part_that_is_not_there():
    split = leave_last_out(ordinary(), valid=False)
    with pytest.raises(DataError, match="'leave last out' has no valid part"):
        split.known("valid")
    with pytest.raises(ValueError, match="part must be one of 'valid', 'test', got 'train'"):
        split.known("train")


def test_repr_says_how_and_how_much():
    assert repr(held_out_users(Interactions.from_arrays([1, 1, 2, 2, 3, 3], range(6)), 1, 0)) == (
        "Split(held-out users, 1 for test, 0 for valid, fold-in 0.8, seed 0: train 4, test fold in 1, test 1 "
        "interactions of 3 users x 6 items)"
    )


def test_parts_of_ones_own_must_share_their_ids():
    train = ordinary()
    with pytest.raises(
        DataError, match=r"train and test have different users or items. Build test with like"
    ):
        Split("mine", train, None, Interactions.from_arrays([1, 2], [4, 4]))
    test = Interactions.from_arrays([2, 1], [1, 1], like=train)
    assert len(Split("mine", train, None, test).test) == 2
    with pytest.raises(DataError, match="the valid part of 'mine' is empty"):
        Split("mine", train, train.select([]), test)
    with pytest.raises(TypeError, match="test must be Interactions, got NoneType"):
        Split("mine", train, None, None)


@pytest.mark.parametrize(
    ("cut", "error", "message"),
    [
        (lambda x: random_holdout(x, test=0), ValueError, r"test must be between 0 \(excluded\) and 1"),
        (lambda x: random_holdout(x, test=1.0), ValueError, "test must be between 0"),
        (lambda x: random_holdout(x, valid=-0.1), ValueError, "valid must be between 0"),
        (lambda x: random_holdout(x, test="0.2"), TypeError, "test must be a number, got '0.2'"),
        (lambda x: random_holdout(x, 0.5, 0.5), ValueError, "leave nothing for train"),
        (lambda x: chronological(x, 0.9, 0.3), ValueError, "test=0.9 and valid=0.3 leave nothing for train"),
        (lambda x: random_holdout(x, by="users"), ValueError, "by must be one of 'user', 'item', 'global'"),
        (lambda x: random_holdout(x, seed=-1), ValueError, "seed must be between 0 and 4294967295, got -1"),
        (lambda x: random_holdout(x, seed=None), TypeError, "seed must be a whole number, got None"),
        (
            lambda x: random_holdout(x, 0.01),
            DataError,
            "the test part of 'random hold-out by user, test 0.01",
        ),
        (
            lambda x: random_holdout(x, 0.9, by="item"),
            DataError,
            "the train part of 'random hold-out by item",
        ),
        (lambda x: held_out_users(x, 1.5), ValueError, "test_users must be between 0 and 1"),
        (lambda x: held_out_users(x, 99), ValueError, "test_users must be between 0 and 2, got 99"),
        (lambda x: held_out_users(x, True), TypeError, "test_users must be a whole number, got True"),
        (lambda x: held_out_users(x, 1, 0, fold_in=1), ValueError, "fold_in must be between 0"),
        (lambda x: k_fold(x, 1), ValueError, "k must be between 2 and 6, got 1"),
        (lambda x: k_fold(x, 7), ValueError, "k must be between 2 and 6, got 7"),
        (lambda x: k_fold(x.to_dataframe()), TypeError, "x must be Interactions, got DataFrame"),
        (lambda x: k_fold(x.select([])), DataError, "there are no interactions to split"),
        (lambda x: chronological(x.to_csr()), TypeError, "x must be Interactions, got csr_matrix"),
    ],
)
def test_bad_arguments_are_named(cut, error, message):
    with pytest.raises(error, match=message):
        cut(ordinary())


def test_folds_have_names_and_defaults():
    x = ordinary()
    names = [split.name for split in k_fold(x, 3, 7)]
    assert names == [f"fold {i} of 3, random rows, seed 7" for i in (1, 2, 3)]
    assert [split.name for split in k_fold(x)] == [f"fold {i} of 5, random rows, seed 0" for i in range(1, 6)]


@pytest.mark.parametrize("cut", [leave_last_out, chronological])
def test_a_split_by_time_says_what_it_is_when_there_are_no_times(cut):
    x = Interactions.from_arrays(list("aabb"), list("xyxy"))
    with pytest.raises(DataError, match=rf"^{cut.__name__} needs timestamps"):
        cut(x)


def test_parts_that_only_one_has_ratings_of_are_joined_without():
    x = Interactions.from_arrays(list("ab"), list("xy"), [1.0, 2.0])
    bare = replace(x, ratings=None)
    assert joined(x, bare).ratings is None
    assert joined(bare, x).ratings is None
    assert joined(x, x).ratings.tolist() == [1, 2, 1, 2]


def test_the_fold_in_is_drawn_at_random():
    users, items = np.repeat(np.arange(6), 10), np.tile(np.arange(10), 6)
    x = Interactions.from_arrays(users, items)
    shown = [held_out_users(x, 5, 0, 0.5, seed).test_fold_in for seed in (1, 2)]
    for part in shown:
        by_user = pd.DataFrame({"user": part.users, "item": part.items}).groupby("user")["item"].agg(tuple)
        assert len(set(by_user)) > 1  # other items for each person
        assert (0, 1, 2, 3, 4) not in set(by_user)  # not the first rows
    assert contents_of(shown[0]) != contents_of(shown[1])


def contents_of(part: Interactions) -> list[tuple[Any, ...]]:
    return sorted(zip(part.users.tolist(), part.items.tolist(), strict=True))


def test_random_holdout_says_over_what():
    x = ordinary()
    assert "over all rows" in random_holdout(x, by="global").name
    assert "by user" in random_holdout(x).name
    assert "seed 0" in random_holdout(x).name
