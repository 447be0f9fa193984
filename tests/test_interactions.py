"""Interactions: building, refusing, converting and choosing rows."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lib.errors import DataError, UnknownIdError
from recsys_lib.interactions import Interactions

repeatable = settings(max_examples=50, deadline=None, derandomize=True)


def table(n_rows: int, seed: int) -> pd.DataFrame:
    """Make distinct (user, item) pairs with ratings and times, in random order."""
    random = np.random.default_rng(seed)
    pairs = random.permutation(60)[:n_rows]
    users = pd.Series(pairs // 10).map(lambda n: f"u{n}")
    columns = {"rating": random.integers(1, 6, n_rows), "timestamp": random.integers(0, 9, n_rows)}
    return pd.DataFrame({"user": users, "item": pairs % 10, **columns})


tables = st.builds(table, st.integers(1, 60), st.integers(0, 10**6))


def small() -> pd.DataFrame:
    df = pd.DataFrame({"user": ["ann", "ann", "bob"], "item": ["tea", "jam", "tea"]})
    return df.assign(rating=[5.0, 3.0, 4.0], timestamp=[30, 10, 20])


# ------------------------------------------------------------------ building


@repeatable
@given(tables)
def test_a_frame_survives_the_round_trip_and_is_left_alone(df):
    before = df.copy()
    x = Interactions.from_dataframe(df)
    expected = df.assign(rating=df["rating"].astype(np.float32))
    pd.testing.assert_frame_equal(x.to_dataframe(), expected, check_dtype=False, check_column_type=False)
    pd.testing.assert_frame_equal(df, before)
    assert (x.users.dtype, x.items.dtype, x.ratings.dtype) == (np.int32, np.int32, np.float32)
    shuffled = Interactions.from_dataframe(df.sample(frac=1, random_state=1))
    assert (shuffled.user_ids, shuffled.item_ids) == (x.user_ids, x.item_ids)
    assert (shuffled.to_csr("ratings") != x.to_csr("ratings")).nnz == 0


@repeatable
@given(tables)
def test_a_matrix_survives_the_round_trip(df):
    matrix = Interactions.from_dataframe(df).to_csr("ratings")
    x = Interactions.from_csr(matrix)
    back = x.to_csr("ones" if x.ratings is None else "ratings")
    assert back.dtype == np.float32
    assert (back != matrix).nnz == 0
    assert back.shape == matrix.shape


@pytest.mark.parametrize(
    "names",
    [
        ["user_id", "item_id", "rating", "timestamp"],
        ["userId", "movieId", "rating", "timestamp"],
        ["UserID", "MovieID", "Rating", "Timestamp"],
        ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
        ["reviewerID", "asin", "stars", "unixReviewTime"],
        ["visitor id", "Track-ID", "play_count", "Date"],
    ],
)
def test_usual_column_names_are_guessed_in_any_order(names):
    df = small().set_axis(names, axis=1)[names[::-1]].assign(extra=0)
    x = Interactions.from_dataframe(df)
    assert x.to_dataframe()["user"].tolist() == ["ann", "ann", "bob"]
    assert x.ratings.tolist() == [5, 3, 4]
    assert x.timestamps.tolist() == [30, 10, 20]
    assert Interactions.from_dataframe(df, rating=False, timestamp=False).ratings is None


def test_named_columns_win_over_guesses():
    df = small().assign(who=["x", "y", "y"], when=[1, 2, 3])
    x = Interactions.from_dataframe(df, user="who", timestamp="when")
    assert x.user_ids.ids.tolist() == ["x", "y"]
    assert x.timestamps.tolist() == [1, 2, 3]
    numbered = small().set_axis([0, 1, 2, 3], axis=1)
    assert Interactions.from_dataframe(numbered, user=0, item=1, rating=2).ratings.tolist() == [5, 3, 4]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda df: df.rename(columns={"user": "a"}), "no column looks like the user"),
        (lambda df: df.assign(userId=1, user_id=1, user_=1), "could all be the user. Say which"),
        (lambda df: df.set_axis(["user", "item", "item", "t"], axis=1), "more than one column 'item'"),
        (lambda df: df.iloc[:0], "there are no user ids: the data is empty"),
        (lambda df: df.assign(user=["ann", None, "bob"]), r"1 user id\(s\) are missing .* row 1"),
        (lambda df: df.assign(item=[1, "jam", 2]), "ids mix types"),
        (
            lambda df: df.assign(rating=[1, np.nan, 2]),
            r"1 rating\(s\) are missing, infinite or too large, .* row 1",
        ),
        (lambda df: df.assign(rating=[1, np.inf, 1e39]), r"2 rating\(s\) are"),
        (lambda df: df.assign(rating=["good", "bad", "good"]), "ratings must be numbers"),
        (
            lambda df: df.assign(rating=pd.to_datetime(["2024"] * 3)),
            "ratings must be numbers: they are dates",
        ),
        (lambda df: df.assign(timestamp=[1, np.nan, 2]), r"1 timestamp\(s\) are missing, the first in row 1"),
        (lambda df: df.assign(timestamp=[1, np.inf, 2]), "must be finite numbers or dates"),
        (lambda df: df.assign(timestamp=["2024-01-01"] * 3), "Parse text with pandas.to_datetime first"),
    ],
)
def test_bad_frames_are_refused(build, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_dataframe(build(small()))


def test_bad_choices_are_refused():
    with pytest.raises(DataError, match="user='nobody' is not a column"):
        Interactions.from_dataframe(small(), user="nobody")
    with pytest.raises(DataError, match="each role needs a column of its own"):
        Interactions.from_dataframe(small(), user="item")
    with pytest.raises(TypeError, match="df must be a pandas DataFrame, got dict"):
        Interactions.from_dataframe({"user": [1]})
    with pytest.raises(ValueError, match="duplicates must be one of 'error', 'first'"):
        Interactions.from_dataframe(small(), duplicates="drop")
    with pytest.raises(DataError, match="users and items must be equally long: 2, 1"):
        Interactions.from_arrays([1, 2], [1])
    with pytest.raises(DataError, match="ratings must have one value per interaction: 2, got shape"):
        Interactions.from_arrays([1, 2], [1, 2], [1])
    with pytest.raises(TypeError, match="pass user ids as a list, got the single value 'abc'"):
        Interactions.from_arrays("abc", [1, 2, 3])


@pytest.mark.parametrize(
    "ids",
    [
        [1, 2, 1],
        (1, 2, 1),
        np.array([1, 2, 1], dtype=np.uint8),
        torch.tensor([1, 2, 1]),
        pd.Series([1, 2, 1], index=[9, 9, 9], dtype="Int16"),
        [(1, 2), (1,), (1, 2)],
    ],
)
def test_arrays_of_any_make(ids):
    x = Interactions.from_arrays(ids, range(3), timestamps=pd.Series([1, 2, 3], dtype="Int64"))
    assert x.users[0] == x.users[2] != x.users[1]
    assert x.timestamps.dtype == np.int64


def test_times_keep_their_unit_and_dates_become_nanoseconds_utc():
    def times(values):
        return Interactions.from_arrays([1, 2], [1, 1], timestamps=values).timestamps

    for unit in ("s", "ms", "ns"):
        dates = pd.Series(pd.to_datetime(["1970-01-01", "1970-01-02"])).astype(f"datetime64[{unit}]")
        assert times(dates).tolist() == [0, 86_400 * 10**9]
    assert times(pd.to_datetime(["1970-01-01 01:00", "1970-01-02 01:00"]).tz_localize("Europe/Paris"))[0] == 0
    assert times([0.5, 1.5]).tolist() == [0.5, 1.5]
    assert times(np.array([4, 5], dtype=object)).tolist() == [4, 5]
    assert times([2**60 + 1, 2**60 + 2]).tolist() == [2**60 + 1, 2**60 + 2]


def test_an_instance_never_changes():
    source, times = small(), np.array([3, 4, 5])
    x = Interactions.from_dataframe(source)
    y = Interactions.from_arrays([1, 2, 3], [1, 2, 3], timestamps=times)
    source.loc[0, ["rating", "timestamp"]] = 1, 99
    times[0] = 99  # the caller's array stays writeable, and is not ours
    assert (x.timestamps.tolist(), x.ratings.tolist()) == ([30, 10, 20], [5, 3, 4])
    assert y.timestamps.tolist() == [3, 4, 5]
    for array in (x.users, x.items, x.ratings, x.timestamps, x.select([0]).users, x.compact().items):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        x.ratings = None
    x.to_csr().data[:] = 7
    x.to_torch()["ratings"][0] = 7
    frame = x.to_dataframe()
    frame.loc[0, "rating"] = 7
    x.histories().indices[:] = 0
    x.histories().indptr[:] = 0
    assert x.to_csr().data.tolist() == [1, 1, 1]
    assert x.histories().indices.tolist() == [0, 1, 1]
    assert x.histories().indptr.tolist() == [0, 2, 3]
    assert x.ratings.tolist() == [5, 3, 4]


# ------------------------------------------------------------------ repeated pairs


REPEATED = pd.DataFrame(
    {
        "user": ["a", "b", "a", "a", "b"],
        "item": [1, 1, 1, 2, 1],
        "rating": [4.0, 1.0, 2.0, 5.0, 3.0],
        "timestamp": [20, 7, 10, 5, 7],
    }
)


@pytest.mark.parametrize(
    ("policy", "rows"),
    [
        # b's two rows have the same time: the earlier row is the first, the later one the last.
        ("first", [("b", 1, 1, 7), ("a", 1, 2, 10), ("a", 2, 5, 5)]),
        ("last", [("a", 1, 4, 20), ("a", 2, 5, 5), ("b", 1, 3, 7)]),
        ("sum", [("a", 1, 6, 20), ("a", 2, 5, 5), ("b", 1, 4, 7)]),
        ("mean", [("a", 1, 3, 20), ("a", 2, 5, 5), ("b", 1, 2, 7)]),
        ("max", [("a", 1, 4, 20), ("a", 2, 5, 5), ("b", 1, 3, 7)]),
    ],
)
def test_repeated_pairs_are_merged_as_asked(policy, rows):
    x = Interactions.from_dataframe(REPEATED, duplicates=policy)
    assert list(x.to_dataframe().itertuples(index=False, name=None)) == rows


@pytest.mark.parametrize(
    ("policy", "ratings"),
    [("first", None), ("last", None), ("mean", None), ("max", None), ("sum", [2, 1, 2])],
)
def test_repeated_pairs_without_ratings(policy, ratings):
    x = Interactions.from_dataframe(REPEATED, rating=False, timestamp=False, duplicates=policy)
    assert len(x) == 3
    assert (None if x.ratings is None else x.ratings.tolist()) == ratings


def test_repeated_pairs_are_an_error_unless_asked_for():
    with pytest.raises(
        DataError, match=r"2 row\(s\) repeat .* user 'a' and item 1 are in rows 0 and 2. Choose"
    ):
        Interactions.from_dataframe(REPEATED)
    distinct = small()
    assert Interactions.from_dataframe(distinct, duplicates="sum").ratings.tolist() == [5, 3, 4]
    assert Interactions.from_dataframe(distinct, rating=False, duplicates="sum").ratings.tolist() == [1, 1, 1]


# ------------------------------------------------------------------ the id space of others


def test_like_uses_the_same_id_space_and_features():
    train = Interactions.from_dataframe(small()).with_features(
        users=pd.DataFrame({"age": [1]}, index=["ann"])
    )
    test = Interactions.from_arrays(["bob", "ann"], ["jam", "jam"], like=train)
    assert test.user_ids is train.user_ids
    assert test.user_features is train.user_features
    assert (test.users.tolist(), test.items.tolist()) == ([1, 0], [0, 0])
    with pytest.raises(
        UnknownIdError, match=r"1 unknown item id\(s\): 'egg'. Known ids look like 'jam', 'tea'"
    ):
        Interactions.from_arrays(["bob", "ann"], ["jam", "egg"], like=train)
    arrays = (["bob", "eve", "ann"], ["jam", "jam", "egg"], [1, 2, 3], [7, 8, 9])
    some = Interactions.from_arrays(*arrays, like=train, unknown="drop")
    assert list(some.to_dataframe().itertuples(index=False, name=None)) == [("bob", "jam", 1.0, 7)]
    with pytest.raises(DataError, match="nothing is left"):
        Interactions.from_arrays([1, 2], ["jam", "tea"], like=train, unknown="drop")


# ------------------------------------------------------------------ matrices


@repeatable
@given(df=tables)
def test_the_lists_of_data_in_order_are_its_columns(df: pd.DataFrame) -> None:
    """Without a matrix in between, which is as large as the data; and the same lists as in any order."""
    mixed = Interactions.from_dataframe(df, user="user", item="item")
    ordered = mixed.select(np.lexsort([mixed.items, mixed.users]))
    found, expected = ordered.histories(), mixed.histories()
    assert "_ones" not in vars(ordered)
    assert found.indices.dtype == expected.indices.dtype == torch.int64
    assert torch.equal(found.indptr, expected.indptr)
    assert torch.equal(found.indices, expected.indices)


def test_from_csr_takes_any_sparse_format_and_ids():
    dense = np.array([[0, 2, 0], [3, 0, 1.5]])
    for matrix in (sp.csr_matrix(dense), sp.coo_matrix(dense), sp.csc_array(dense), sp.lil_matrix(dense)):
        x = Interactions.from_csr(matrix, user_ids=["a", "b"], item_ids=["x", "y", "z"])
        assert list(x.to_dataframe().itertuples(index=False, name=None)) == [
            ("a", "y", 2.0),
            ("b", "x", 3.0),
            ("b", "z", 1.5),
        ]
    ones = Interactions.from_csr(sp.csr_matrix(dense > 0))
    assert ones.ratings is None
    assert ones.user_ids.ids.tolist() == [0, 1]
    source = sp.csr_matrix(dense)
    Interactions.from_csr(source)
    source.data[0] = 9  # still the caller's own


@pytest.mark.parametrize(
    ("matrix", "ids", "message"),
    [
        (
            sp.eye(2, 3, format="csr"),
            {"user_ids": "abc", "item_ids": "xy"},
            "looks transposed.*pass matrix.T",
        ),
        (sp.eye(2, 3, format="csr"), {"user_ids": "abc"}, r"shape \(2, 3\) but there are 3 user.*transposed"),
        (sp.eye(2, 3, format="csr"), {"item_ids": "wxyz"}, "there are 2 user and 4 item ids.$"),
        (sp.csr_matrix((2, 3)), {}, r"shape \(2, 3\) stores no entries"),
        (sp.csr_matrix(([1.0, 0.0], ([0, 1], [0, 1]))), {}, "stores 1 zeros.*eliminate_zeros"),
        (sp.csr_matrix([[np.nan, 1.0]]), {}, r"1 rating\(s\) are missing"),
    ],
)
def test_matrices_that_do_not_fit_are_refused(matrix, ids, message):
    with pytest.raises(DataError, match=message):
        Interactions.from_csr(matrix, **{name: list(value) for name, value in ids.items()})


def test_a_dense_matrix_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"got ndarray. Wrap a dense one in scipy.sparse.csr_matrix"):
        Interactions.from_csr(np.eye(2))


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (np.array([2**64 - 1, 1], dtype=np.uint64), "64 bits"),
        (np.array(["1066-10-14", "2020-01-01"], dtype="datetime64[s]"), "from 1678"),
    ],
)
def test_times_that_do_not_fit_are_refused(times, words):
    with pytest.raises(DataError, match=words):
        Interactions.from_arrays([1, 2], [1, 2], None, times)


def test_complex_ratings_are_refused():
    with pytest.raises(DataError, match="complex"):
        Interactions.from_arrays([1, 2], [1, 2], [1j, 2])
