"""Interactions: counting, converting, and choosing users, items and rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions

repeatable = settings(max_examples=50, deadline=None, derandomize=True)


def table(n_rows: int, seed: int) -> Interactions:
    random = np.random.default_rng(seed)
    pairs = random.permutation(60)[:n_rows]
    times = random.integers(0, 9, n_rows)
    return Interactions.from_arrays(pairs // 10 + 100, pairs % 10, random.integers(1, 6, n_rows), times)


tables = st.builds(table, st.integers(1, 60), st.integers(0, 10**6))


def rows_of(x: Interactions) -> list[tuple[object, ...]]:
    return list(x.to_dataframe().itertuples(index=False, name=None))


@repeatable
@given(tables)
def test_counts_histories_matrix_and_tensors_tell_the_same(x):
    df = x.to_dataframe()
    assert x.user_counts().tolist() == df.groupby("user").size().tolist()
    assert x.item_counts().tolist() == df.groupby("item").size().tolist()
    assert x.density == len(df) / (df["user"].nunique() * df["item"].nunique())
    histories = x.histories()
    for user in range(x.n_users):
        mine = histories.indices[histories.indptr[user] : histories.indptr[user + 1]].tolist()
        assert mine == sorted(x.items[x.users == user])
    assert (histories.to_dense().numpy() == x.to_csr().toarray()).all()
    columns = x.to_torch()
    assert {name: column.dtype for name, column in columns.items()} == {
        "users": torch.int64,
        "items": torch.int64,
        "ratings": torch.float32,
        "timestamps": torch.int64,
    }
    dense = torch.zeros(x.n_users, x.n_items)
    dense[columns["users"], columns["items"]] = columns["ratings"]
    assert (x.to_csr("ratings").toarray() == dense.numpy()).all()


def test_what_is_not_there_is_not_made_up():
    x = Interactions.from_arrays([1, 2], [1, 1])
    assert set(x.to_torch()) == {"users", "items"}
    assert x.to_dataframe().columns.tolist() == ["user", "item"]
    assert repr(x) == "Interactions(2 users x 1 items, 2 interactions, no ratings, no timestamps)"
    with pytest.raises(DataError, match=r"there are no ratings here. Use values='ones'"):
        x.to_csr("ratings")
    with pytest.raises(ValueError, match=r"values must be one of 'ones', 'ratings', got 'counts'"):
        x.to_csr("counts")


def test_describe():
    x = Interactions.from_arrays([1, 1, 1, 2], [1, 2, 3, 1], [5, 4, 3, 2])
    facts = x.describe()
    assert facts.to_dict() == {
        "users": 2,
        "items": 3,
        "interactions": 4,
        "density": 4 / 6,
        "interactions per user (median)": 2.0,
        "interactions per user (mean)": 2.0,
        "interactions per item (median)": 1.0,
        "interactions per item (mean)": 4 / 3,
        "share of the top 1% of items": 0.5,
        "mean rating": 3.5,
    }
    assert "mean rating" not in x.binarize().describe()
    assert x.select([]).describe()["interactions"] == 0


# ------------------------------------------------------------------ choosing rows


@repeatable
@given(tables, st.data())
def test_select_keeps_the_id_space_and_the_order_asked_for(x, data):
    rows = data.draw(st.lists(st.integers(0, len(x) - 1), unique=True))
    expected = [rows_of(x)[row] for row in rows]
    chosen = x.select(rows)
    assert rows_of(chosen) == expected
    assert chosen.user_ids is x.user_ids
    mask = np.isin(np.arange(len(x)), rows)
    assert rows_of(x.select(mask)) == [row for row, keep in zip(rows_of(x), mask, strict=True) if keep]
    assert rows_of(x.select(pd.Series(mask))) == rows_of(x.select(mask))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([True], DataError, r"the mask must have shape \(2,\), got \(1,\)"),
        ([0, 0], DataError, "a position is named more than once"),
        ([2], IndexError, "positions must be from 0 to 1, got 2 to 2"),
        ([-1], IndexError, "positions must be from 0 to 1"),
        ([0.5], DataError, "rows must be a boolean mask or a list of positions"),
        ([[0, 1]], DataError, r"got shape \(1, 2\)"),
        (0, DataError, r"got shape \(\)"),
        (slice(1), DataError, "rows must be a boolean mask"),
    ],
)
def test_select_refuses_what_names_no_rows(rows, error, message):
    with pytest.raises(error, match=message):
        Interactions.from_arrays([1, 2], [1, 1]).select(rows)


@repeatable
@given(tables, st.data())
def test_compact_drops_ids_without_rows_and_nothing_else(x, data):
    users = pd.DataFrame({"label": [f"user {n}" for n in x.user_ids.ids]}, index=x.user_ids.ids)
    x = x.with_features(users=users)
    part = x.select(data.draw(st.lists(st.integers(0, len(x) - 1), unique=True, min_size=1)))
    compact = part.compact()
    assert rows_of(compact) == rows_of(part)
    assert (compact.user_counts() > 0).all()
    assert (compact.item_counts() > 0).all()
    assert compact.user_features["label"].tolist() == [f"user {n}" for n in compact.user_ids.ids]
    assert compact.user_features.index.tolist() == list(range(compact.n_users))


@repeatable
@given(tables, st.integers(1, 4), st.integers(1, 4))
def test_k_core_agrees_with_dropping_one_by_one(x, user, item):
    rows = rows_of(x)
    while True:
        users, items = ([row[i] for row in rows] for i in (0, 1))
        left = [row for row in rows if users.count(row[0]) >= user and items.count(row[1]) >= item]
        if left == rows:
            break
        rows = left
    if rows:
        core = x.k_core(user, item)
        assert rows_of(core) == rows
        assert core.user_counts().min() >= user
        assert core.item_counts().min() >= item
    else:
        with pytest.raises(DataError, match=rf"k_core\(user={user}, item={item}\) leaves no interactions"):
            x.k_core(user, item)


def test_k_core_refuses_bad_numbers_and_an_empty_table():
    x = Interactions.from_arrays([1, 2], [1, 1])
    with pytest.raises(ValueError, match="user must be at least 1, got 0"):
        x.k_core(0)
    with pytest.raises(TypeError, match=r"item must be a whole number, got 1.5"):
        x.k_core(1, 1.5)
    with pytest.raises(DataError, match="leaves no interactions out of 0"):
        x.select([]).k_core(1, 1)


def test_filter_and_binarize_go_by_the_rating():
    x = Interactions.from_arrays(["a", "a", "b"], ["x", "y", "z"], [5, 3, 1])
    assert rows_of(x.filter(min_rating=3)) == [("a", "x", 5.0), ("a", "y", 3.0)]
    assert x.filter(min_rating=3).user_ids.ids.tolist() == ["a"]
    liked = x.binarize(threshold=3)
    assert rows_of(liked) == [("a", "x"), ("a", "y")]
    assert liked.n_users == 2
    assert len(x.binarize()) == 3
    assert x.binarize().ratings is None
    for choose in (lambda: x.filter(min_rating=9), lambda: x.binarize(9)):
        with pytest.raises(DataError, match=r"leaves no interactions out of 3. Ask for less"):
            choose()
    for choose in (lambda: liked.filter(min_rating=1), lambda: liked.binarize(1)):
        with pytest.raises(DataError, match="no"):
            choose()
    with pytest.raises(ValueError, match="threshold must be"):
        x.binarize(np.nan)


@pytest.mark.parametrize("threshold", [4.1, np.float64(4.1)])
def test_a_threshold_that_float32_cannot_hold_still_keeps_ratings_equal_to_it(threshold):
    # As float32, 4.1 is a little less than as float64; whether it is kept must not hang on the number's type.
    x = Interactions.from_arrays([1, 2], [1, 1], [4.1, 4.0])
    assert len(x.binarize(threshold)) == len(x.filter(min_rating=threshold)) == 1


# ------------------------------------------------------------------ descriptions


def test_features_are_brought_into_index_order():
    x = Interactions.from_arrays(["b", "a", "c"], [(1, "x"), (2, "y"), (2, "y")])
    users = pd.DataFrame({"age": [30, 10, 99]}, index=["c", "a", "stranger"])
    items = pd.DataFrame({"title": ["two", "one"]}, index=pd.MultiIndex.from_tuples([(2, "y"), (1, "x")]))
    described = x.with_features(users=users, items=items)
    assert described.user_features["age"].tolist()[::2] == [10, 30]
    assert np.isnan(described.user_features["age"][1])
    assert described.item_features["title"].tolist() == ["one", "two"]
    assert described.with_features(users=users).item_features is described.item_features
    assert described.select([0]).user_features is described.user_features
    assert x.user_features is None


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (pd.DataFrame({"age": [1, 2]}), DataError, "no user of these interactions is in the index"),
        (pd.DataFrame({"age": [1, 2]}, index=["a", "a"]), DataError, "'a' appears more than once"),
        (pd.Series([1, 2], index=["a", "b"]), TypeError, "user features must be a DataFrame, got Series"),
    ],
)
def test_features_that_do_not_fit_are_refused(features, error, message):
    with pytest.raises(error, match=message):
        Interactions.from_arrays(["a", "b"], [1, 2]).with_features(users=features)


def test_features_handed_to_the_constructor_must_have_a_row_per_id():
    x = Interactions.from_arrays(["a", "b"], [1, 2])
    with pytest.raises(DataError, match="item_features must have one row per item: 2, got 1"):
        Interactions(x.users, x.items, None, None, x.user_ids, x.item_ids, None, pd.DataFrame({"t": [1]}))
