"""IdMap: any kind of id in, numbers inside, the same ids out again."""

import datetime as dt
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lib.errors import DataError, UnknownIdError
from recsys_lib.ids import IdMap

repeatable = settings(max_examples=60, deadline=None, derandomize=True)
UUIDS = [uuid.UUID(int=n) for n in (3, 1, 2)]

COLUMNS = {
    "integers": [30, 10, 30, 20],
    "numpy integers": np.array([3, 1, 3], dtype=np.int16),
    "unsigned": np.array([3, 1, 3], dtype=np.uint64),
    "beyond 64 bits": [2**70, 5, 2**70],
    "negative": [-1, 7, -1],
    "floats": [2.5, 0.5, 2.5],
    "floats of both kinds": [np.float64(2.5), 0.5, 2.5],
    "booleans": [True, False, True],
    "strings": ["b", "a", "b"],
    "numpy strings": np.array(["b", "a", "b"]),
    "string dtype": pd.Series(["b", "a", "b"], dtype="string"),
    "object dtype": pd.Series(["b", "a", "b"], dtype=object),
    "nullable integers": pd.Series([3, 1, 3], dtype="Int32"),
    "nullable floats": pd.Series([3.5, 1.0, 3.5], dtype="Float64"),
    "categories": pd.Series(["b", "a", "b"], dtype="category"),
    "integer categories": pd.Series([3, 1, 3], dtype="category"),
    "tuples": [(1, "b"), (1, "a"), (1, "b")],
    "tuples of any length": [(1, 2), (1,), (1, 2)],
    "nested tuples": [((1, 2), 3), (1, 3), ((1, 2), 3)],
    "UUIDs": [*UUIDS, UUIDS[0]],
    "bytes": [b"x", b"y", b"x"],
    "dates": [dt.date(2024, 5, 1), dt.date(2023, 5, 1), dt.date(2024, 5, 1)],
    "timestamps": pd.to_datetime(["2024-05-01", "2023-05-01", "2024-05-01"]),
    "an index": pd.Index(["b", "a", "b"]),
    "a generator's list": list(map(str, range(5))),
}


@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
def test_ids_of_every_kind_come_back(column):
    values = column.tolist() if hasattr(column, "tolist") else column
    ids, index = IdMap.from_column(column, "user")
    assert len(ids) == len(set(values))
    assert index.dtype == np.int64
    assert pd.Index(ids.take(index), tupleize_cols=False).tolist() == values
    assert ids.indices(column).tolist() == index.tolist()
    assert values[0] in ids
    assert ids.indices_or(values[:1]).tolist() == [index[0]]
    again = IdMap(ids.ids, "user")
    assert again == ids
    assert hash(again) == hash(ids)


def test_numbers_follow_the_sorted_ids_so_that_row_order_plays_no_role():
    assert IdMap.from_column([30, 10, 20])[0].ids.tolist() == [10, 20, 30]
    assert IdMap.from_column(["b", "B", "a"])[0].ids.tolist() == ["B", "a", "b"]
    assert IdMap.from_column(pd.Categorical(["b", "a"], categories=["b", "a"]))[0].ids.tolist() == ["a", "b"]
    # What cannot be sorted is numbered as it comes.
    ids, index = IdMap.from_column([(1, "a"), ("a", 1), (1, "a")])
    assert ids.ids.tolist() == [(1, "a"), ("a", 1)]
    assert index.tolist() == [0, 1, 0]


@repeatable
@given(st.lists(st.text("ab é1", max_size=3), min_size=1, max_size=30))
def test_from_column_is_a_one_to_one_map(column):
    ids, index = IdMap.from_column(column)
    assert ids.take(index).tolist() == column
    assert ids.ids.tolist() == sorted(set(column))
    assert IdMap.from_json(ids.to_json()) == ids


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([1, "1"], r"ids mix types: int \(1\) and str \('1'\). Make them one type"),
        ([1, 2.5], "ids mix types: int"),
        ([True, 2], "ids mix types: bool"),
        (np.array([1, "a"], dtype=object), "ids mix types"),
        (pd.Series([(1, 2), "a"]), "ids mix types: tuple"),
        ([1.0, np.nan], r"1 user id\(s\) are missing \(NaN or None\), the first in row 1"),
        (["a", None, None], r"2 user id\(s\) are missing"),
        (pd.Series([1, None], dtype="Int64"), "missing"),
        (pd.Series(["a", None], dtype="category"), "missing"),
        (pd.to_datetime(["2024-01-01", None]), "missing"),
        ([{}, {}], r"ids must be hashable, but \{\} is a dict"),
        ([[1, 2], [3, 4]], r"must be hashable, but \[1, 2\] is a list"),
        (np.ones((2, 3)), r"one-dimensional, got shape \(2, 3\)"),
        (pd.DataFrame({"a": [1], "b": [2]}), r"one-dimensional, got shape \(1, 2\)"),
        ([], "there are no user ids: the data is empty"),
    ],
)
def test_bad_ids_are_refused(column, message):
    with pytest.raises(DataError, match=message):
        IdMap.from_column(column, "user")


@pytest.mark.parametrize("value", ["ann", b"ann", 7, None, np.array(7)])
def test_a_single_value_is_no_list_of_ids(value):
    with pytest.raises(TypeError, match="pass user ids as a list, got the single value"):
        IdMap.from_column(value, "user")
    with pytest.raises(TypeError, match="pass user ids as a list"):
        IdMap(["ann"], "user").indices(value)


def test_ids_given_to_the_constructor_keep_their_order_and_must_be_distinct():
    ids = IdMap(["b", "a"], "item")
    assert ids.ids.tolist() == ["b", "a"]
    assert repr(ids) == "IdMap(2 items: 'b', 'a')"
    assert repr(IdMap(range(9), "user")) == "IdMap(9 users: 0, 1, 2, ...)"
    with pytest.raises(DataError, match="item ids must be distinct, but 'b' appears more than once"):
        IdMap(["b", "a", "b"], "item")
    with pytest.raises(DataError, match="but 7 appears more than once"):
        IdMap([7, 7])


def test_unknown_ids_are_named_or_marked():
    ids = IdMap(["a", "b"], "item")
    with pytest.raises(
        UnknownIdError, match=r"2 unknown item id\(s\): 'x', 'y'. Known ids look like 'a', 'b'"
    ):
        ids.indices(["a", "x", "y", "x"])
    assert ids.indices_or(["a", "x", "b"]).tolist() == [0, -1, 1]
    assert ids.indices_or(["a", "x", "b"], default=99).tolist() == [0, 99, 1]
    assert ids.indices([]).tolist() == []
    assert "x" not in ids
    assert ids.indices(iter(["b", "a"])).tolist() == [1, 0]


@pytest.mark.parametrize("other", [["1"], [1.0], [(1,)], [True]])
def test_ids_of_another_kind_are_unknown_even_if_they_look_alike(other):
    ids = IdMap([1, 2], "user")
    assert ids.indices_or(other).tolist() == [-1]
    with pytest.raises(UnknownIdError, match="Known ids look like 1, 2"):
        ids.indices(other)


def test_a_small_number_is_found_among_ids_beyond_64_bits():
    assert IdMap([2**70, 5]).indices([5, 2**70]).tolist() == [1, 0]


def test_equality_needs_the_same_ids_in_the_same_order_and_of_the_same_kind():
    assert IdMap([1, 2], "user") == IdMap([1, 2], "item")
    assert hash(IdMap([1, 2], "user")) == hash(IdMap([1, 2], "item"))
    assert IdMap([1, 2]) != IdMap([2, 1])
    assert IdMap([1, 2]) != IdMap([1, 2, 3])
    assert IdMap([1, 2]) != IdMap([1.0, 2.0])
    assert IdMap([1, 2]) != [1, 2]


@pytest.mark.parametrize("indices", [[-1], [0, -1], [2]])
def test_take_refuses_what_is_no_index(indices):
    with pytest.raises(IndexError):
        IdMap(["a", "b"]).take(indices)


def test_the_ids_are_read_only_and_taken_ids_are_a_copy():
    source = np.array([3, 1, 2])
    ids = IdMap(source)
    with pytest.raises(ValueError, match="read-only"):
        ids.ids[0] = 9
    ids.take([0, 1, 2])[0] = 9
    source[0] = 9
    assert ids.ids.tolist() == [3, 1, 2]
    assert ids.indices([3]).tolist() == [0]


@pytest.mark.parametrize(
    "values", [[3, 1], [2**70, 1], [0.5, 2.0], ["b", "é", "1"], [(1, "a"), (2, None)], [("a",), ("a", "b")]]
)
def test_json_brings_back_ids_and_types(values):
    ids = IdMap(values)
    again = IdMap.from_json(ids.to_json())
    assert again == ids
    assert again.ids.tolist() == values


@pytest.mark.parametrize(
    "values",
    [UUIDS, [b"a"], [((1, 2), 3)], [(UUIDS[0],)], [True, False], [dt.date(2024, 1, 1)]],
)
def test_ids_that_json_cannot_hold_are_refused_before_anything_is_written(values):
    with pytest.raises(DataError, match="cannot be saved"):
        IdMap(values, "user").to_json()


def test_unknown_ids_of_a_generator_are_named():
    ids = IdMap([1, 2], "user")
    assert ids.indices(i for i in (2, 1)).tolist() == [1, 0]
    with pytest.raises(UnknownIdError, match="99"):
        ids.indices(i for i in (1, 99))
