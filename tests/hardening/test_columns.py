"""Columns and frames of every make: each is read as it is meant, or refused by name, and never changed."""

from __future__ import annotations

import datetime as dt
import decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lib import Interactions
from recsys_lib.errors import DataError, UnknownIdError
from recsys_lib.ids import IdMap
from recsys_lib.models import Popularity
from tests.hardening.common import ratings, refused

NAN, INF = float("nan"), float("inf")
repeatable = settings(max_examples=40, deadline=None, derandomize=True)

# What is no column of two values, whatever the column is for.
NO_COLUMN: dict[str, Any] = {
    "nothing": 3,
    "text": "ab",
    "bytes": b"ab",
    "set": {1, 2},
    "frozenset": frozenset([1, 2]),
    "dict": {1: 1, 2: 2},
    "empty list": [],
    "empty array": np.empty(0),
    "too long": [1, 2, 3],
    "one row": [1],
    "table": np.eye(2),
    "sparse matrix": sp.eye(2, format="csr"),
    "frame": pd.DataFrame({"a": [1, 2]}),
    "number in an array": np.array(1),
    "tensor with a gradient": torch.ones(2, requires_grad=True),
    "bfloat16": torch.ones(2, dtype=torch.bfloat16),
    "matrix of a tensor": torch.ones(2, 2),
    "records": np.array([(1, 2), (3, 4)], dtype=[("a", int), ("b", int)]),
    "None": [1, None],
    "NaN": [1.0, NAN],
    "infinity": [1.0, INF],
    "minus infinity": [1.0, -INF],
    "missing in Int64": pd.array([1, None], dtype="Int64"),
    "missing in Float64": pd.array([1.5, None], dtype="Float64"),
    "masked": np.ma.array([1, 2], mask=[False, True]),
    "NaT": [pd.NaT, pd.Timestamp("2024")],
    "lists": [[1], [2]],
    "dicts": [{}, {}],
}
BAD_IDS = {
    "1 and '1'": [1, "1"],
    "1 and 1.0": [1, 1.0],
    "True and 1": [True, 1],
    "text and bytes": ["a", b"a"],
    "text and tuple": ["a", ("a",)],
    "missing category": pd.Categorical(["a", None]),
    "missing text": pd.array(["a", None], dtype="string"),
    "missing object": np.array(["a", NAN], dtype=object),
}
BAD_RATINGS = {
    "words": ["good", "bad"],
    "dates": pd.to_datetime(["2024", "2025"]),
    "dates with a zone": pd.to_datetime(["2024", "2025"]).tz_localize("Asia/Tokyo"),
    "spans": pd.to_timedelta([1, 2], unit="s"),
    "periods": pd.period_range("2024", periods=2),
    "intervals": pd.interval_range(0, 2),
    "complex": [1j, 2j],
    "overflowing": [1e39, 1.0],
    "overflowing integer": [10**400, 1],
    "objects": [object(), object()],
    "categories of words": pd.Categorical(["a", "b"]),
    "tuples": pd.MultiIndex.from_tuples([(1, 2), (3, 4)]),
}
BAD_TIMES = {
    "text": ["2024-01-01", "2025-01-01"],
    "flags": [True, False],
    "overflowing": [2**63, 1],
    "far overflowing": [2**70, 1],
    "unsigned": np.array([2**64 - 1, 1], dtype=np.uint64),
    "before 1678": np.array(["1066-10-14", "2020-01-01"], dtype="datetime64[s]"),
    "spans": pd.to_timedelta([1, 2], unit="s"),
    "complex": [1j, 2j],
    "categories": pd.Categorical([1, 2]),
    "decimals": [decimal.Decimal(1), decimal.Decimal(2)],
    "tuples": pd.MultiIndex.from_tuples([(1, 2), (3, 4)]),
}


def cases(*tables: dict[str, Any]) -> Any:
    return [pytest.param(value, id=name) for table in tables for name, value in table.items()]


@pytest.mark.parametrize("column", cases(NO_COLUMN, BAD_IDS))
@pytest.mark.parametrize("side", ["user", "item"])
def test_bad_ids(column: Any, side: str) -> None:
    good = [1, 2]
    columns = (column, good) if side == "user" else (good, column)
    refused(lambda: Interactions.from_arrays(*columns), f"{side}|ids (mix|must be hashable)")


@pytest.mark.parametrize("column", cases(NO_COLUMN, BAD_RATINGS))
def test_bad_ratings(column: Any) -> None:
    refused(lambda: Interactions.from_arrays([1, 2], [1, 2], column), "rating")


@pytest.mark.parametrize("column", cases(NO_COLUMN, BAD_TIMES))
def test_bad_timestamps(column: Any) -> None:
    refused(lambda: Interactions.from_arrays([1, 2], [1, 2], None, column), "timestamp")


BEYOND = {
    "huge": [2**70, 1],
    "unsigned": np.array([2**63 + 1, 1], dtype=np.uint64),
    "lowest": [-(2**63), 2**63 - 1],
}
GOOD_IDS = {
    **BEYOND,
    "negative": [-5, 7],
    "fractions": [Fraction(1, 2), Fraction(2)],
    "decimals": [decimal.Decimal(1), decimal.Decimal(2)],
    "dates": [dt.date(2024, 1, 1), dt.date(2025, 1, 1)],
    "zoned times": pd.to_datetime(["2024", "2025"]).tz_localize("UTC"),
    "bytes": [b"a", b"b"],
    "empty text": ["", "a"],
    "zero character": ["a\0", "a"],
    "two zero characters": ["\0", "\0\0"],
    "half of a surrogate pair": ["\ud800", "a"],
    "composed and decomposed": ["é", "e\u0301"],
    "right to left": ["\u202eabc", "abc"],
    "joined emoji": ["👩‍👩‍👧", "👩"],
    "beyond the first plane": ["𝟙", "1"],
    "blank and no-break": [" ", "\u00a0"],
    "line ends": ["a\n", "a\r\n"],
    "categories": pd.Categorical(["b", "a"], categories=["c", "b", "a"]),
    "numbers as categories": pd.Categorical([3, 1]),
    "Int64": pd.array([1, 2], dtype="Int64"),
    "UInt8": pd.array([1, 2], dtype="UInt8"),
    "string": pd.array(["a", "b"], dtype="string"),
    "boolean": pd.array([True, False], dtype="boolean"),
    "float16": np.array([1, 2], dtype=np.float16),
    "fixed width": np.array(["a", "b"]),
    "pairs": [(1, "a"), (1, "b")],
    "index of pairs": pd.MultiIndex.from_tuples([(1, 2), (3, 4)]),
    "odd index": pd.Series([1, 2], index=[9, 9]),
    "tensor": torch.tensor([1, 2]),
    "sparse": pd.arrays.SparseArray([1, 2]),
    "view of keys": {"x": 0, "y": 1}.keys(),
}


@pytest.mark.parametrize("column", cases(GOOD_IDS))
def test_ids_that_differ_stay_different(column: Any) -> None:
    x = Interactions.from_arrays(column, [1, 2])
    assert (x.n_users, len(x)) == (2, 2)
    back = x.to_dataframe()["user"].tolist()
    assert len(set(back)) == 2
    assert x.user_ids.indices(back).tolist() == x.users.tolist()
    same = Interactions.from_arrays(column, [1, 2], like=x)
    assert same.users.tolist() == x.users.tolist()


@repeatable
@given(st.lists(st.text(max_size=4), min_size=1, max_size=12))
def test_any_text_is_an_id(texts: list[str]) -> None:
    x = Interactions.from_arrays(texts, range(len(texts)))
    assert x.to_dataframe()["user"].tolist() == texts
    assert x.n_users == len(set(texts))
    shuffled = Interactions.from_arrays(texts[::-1], range(len(texts)))
    assert shuffled.user_ids == x.user_ids
    assert IdMap.from_json(x.user_ids.to_json(), "user") == x.user_ids


KINDS = [
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.tuples(st.integers(0, 3), st.text(max_size=1)),
    st.dates(),
]
# Most columns are of one kind, some mix two.
COLUMNS = st.sampled_from(KINDS).flatmap(
    lambda kind: st.lists(st.one_of(kind, kind, kind, st.sampled_from([1, "1", 1.0])), min_size=4, max_size=4)
)


@settings(repeatable, max_examples=150)
@given(COLUMNS, COLUMNS, COLUMNS | st.none())
def test_whatever_the_columns_hold(users: list[Any], items: list[Any], stars: list[Any] | None) -> None:
    """Either all of it is taken, and comes back as it was, or it is refused."""
    try:
        x = Interactions.from_arrays(users, items, stars, duplicates="last")
    except (DataError, TypeError):
        return
    assert stars is None or np.isfinite(x.ratings).all()
    pairs = set(zip(users, items, strict=True))
    frame = x.to_dataframe()
    assert len(frame) == len(pairs)
    assert set(zip(frame["user"], frame["item"], strict=True)) == pairs


FRAMES: dict[str, tuple[Any, str]] = {
    "not a frame": ([1, 2], "df must be a pandas DataFrame, got list"),
    "series": (pd.Series([1]), "got Series"),
    "no columns": (pd.DataFrame(), "no column looks like the user"),
    "no rows": (pd.DataFrame({"user": [], "item": []}), "data is empty"),
    "only users": (pd.DataFrame({"user": [1]}), "no column looks like the item"),
    "wide": (pd.DataFrame(np.eye(3), columns=["tea", "jam", "oil"]), "must be made long"),
    "two of one name": (pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"]), "more than one column"),
    "two spellings": (pd.DataFrame({"userId": [1], "user_id": [1], "item": [1]}), "Say which"),
    "repeated pair": (pd.DataFrame({"user": [1, 1], "item": [2, 2]}), "repeat a .user, item. pair"),
    "all missing": (pd.DataFrame({"user": [None], "item": [1]}), "missing"),
    "index of two levels": (
        pd.DataFrame({("user", "a"): [1], ("item", "b"): [2]}),
        "no column looks like the user",
    ),
}


@pytest.mark.parametrize(("frame", "words"), FRAMES.values(), ids=FRAMES)
def test_bad_frames(frame: Any, words: str) -> None:
    before = frame.copy()
    refused(lambda: Interactions.from_dataframe(frame), words)
    assert type(before) is type(frame)
    assert before.equals(frame) if hasattr(frame, "equals") else before == frame


@pytest.mark.parametrize("name", [3, "nobody", NAN, [1], {}, np.eye(2), ("user",), b"user"], ids=repr)
@pytest.mark.parametrize("role", ["user", "item", "rating", "timestamp"])
def test_bad_names_of_columns(role: str, name: Any) -> None:
    frame = ratings().to_dataframe()
    refused(lambda: Interactions.from_dataframe(frame, **{role: name}), role)


def test_one_row_is_enough() -> None:
    x = Interactions.from_dataframe(pd.DataFrame({"user": ["ann"], "item": ["tea"]}))
    assert (x.n_users, x.n_items, len(x), x.density) == (1, 1, 1, 1.0)
    assert Popularity(device="cpu").fit(x).recommend(exclude_seen=False)["item"].tolist() == ["tea"]


def test_rows_in_any_order_give_the_same() -> None:
    frame = ratings().to_dataframe()
    turned = Interactions.from_dataframe(frame.iloc[::-1])
    assert (turned.to_csr("ratings") != ratings().to_csr("ratings")).nnz == 0


def arrow_frame() -> pd.DataFrame:
    return ratings().to_dataframe().convert_dtypes(dtype_backend="pyarrow")


def test_arrow_columns_are_read() -> None:
    pytest.importorskip("pyarrow")
    frame = arrow_frame()
    x = Interactions.from_dataframe(frame)
    assert (x.to_csr("ratings") != ratings().to_csr("ratings")).nnz == 0
    assert x.user_ids == ratings().user_ids
    frame.loc[3, "rating"] = None
    refused(lambda: Interactions.from_dataframe(frame), "in row 3")


def test_times_with_and_without_a_zone_are_the_same_moments() -> None:
    zoned = pd.date_range("2024-03-31", periods=2, freq="h", tz="Europe/Berlin")
    plain = zoned.tz_convert("UTC").tz_localize(None)
    first, second = (Interactions.from_arrays([1, 2], [1, 2], None, t) for t in (zoned, plain))
    assert first.timestamps.tolist() == second.timestamps.tolist()


LIKE = [3, "x", [], {}, ratings().to_dataframe(), Popularity(), np.eye(2)]


@pytest.mark.parametrize("like", LIKE, ids=lambda one: type(one).__name__)
def test_bad_id_spaces(like: Any) -> None:
    refused(lambda: Interactions.from_arrays([1], [1], like=like), "like must be Interactions")


@pytest.mark.parametrize("ids", [[99], [1, 99], ["1"], [1.5], [2**70], [(1,)]], ids=repr)
def test_ids_of_others_are_unknown(ids: list[Any]) -> None:
    refused(lambda: Interactions.from_arrays(ids, [1] * len(ids), like=ratings()), "unknown", UnknownIdError)
    refused(lambda: ratings().user_ids.indices(ids), "unknown", UnknownIdError)


@pytest.mark.parametrize("indices", [[-1], [2.5], ["0"], [True], [None], [10**30]], ids=repr)
def test_what_is_no_index(indices: list[Any]) -> None:
    refused(lambda: ratings().user_ids.take(indices), "user indices", (TypeError, IndexError))


@pytest.mark.parametrize("text", [None, 3, "", "{}", "[]", '{"kind": "tuple", "ids": [1]}', "[" * 10**5])
def test_what_is_no_json_of_ids(text: Any) -> None:
    refused(lambda: IdMap.from_json(text, "user"), "user ids", DataError)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("select", ["x"]),
        ("select", [[0.5]]),
        ("select", [[0, 0]]),
        ("select", [[-1]]),
        ("select", [[10**6]]),
        ("select", [np.ones(3, dtype=bool)]),
        ("filter", {"min_rating": "x"}),
        ("filter", {"min_rating": NAN}),
        ("filter", {"min_rating": 10**400}),
        ("filter", {"min_rating": 6}),
        ("k_core", [0]),
        ("k_core", [1.5]),
        ("k_core", [10**30]),
        ("k_core", [10**6]),
        ("binarize", ["x"]),
        ("binarize", [NAN]),
        ("binarize", [True]),
        ("to_csr", ["stars"]),
        ("to_csr", [None]),
        ("to_torch", [2.5]),
        ("to_torch", ["nonsense"]),
        ("histories", [2.5]),
        ("histories", ["cuda:99"]),
        ("histories", ["meta"]),
        ("with_features", {"users": [1]}),
        ("with_features", {"users": pd.DataFrame({"a": [1]}, index=["nobody"])}),
        ("with_features", {"items": pd.DataFrame({"a": [1, 2]}, index=[1, 1])}),
    ],
    ids=lambda one: repr(one)[:40],
)
def test_bad_arguments_of_methods(method: str, arguments: Any) -> None:
    given = arguments if isinstance(arguments, dict) else {}
    positions = [] if isinstance(arguments, dict) else arguments
    refused(
        lambda: getattr(ratings(), method)(*positions, **given), error=(ValueError, TypeError, IndexError)
    )
