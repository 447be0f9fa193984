"""Users and items as tables of whole numbers, which is all that a network ever sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions

Integers = npt.NDArray[Any]


@dataclass(frozen=True)
class Table:
    """One row for each user, or for each item.

    Attributes
    ----------
    codes : array of int32, shape (n, 1 + n_features)
        The index itself, and the number of its category in every column.
    sizes : tuple of int
        How many different numbers each column can hold.
    """

    codes: Integers
    sizes: tuple[int, ...]


def read(
    data: Any, user: str, item: str, user_features: Sequence[str], item_features: Sequence[str]
) -> tuple[Interactions, Table, Table]:
    """Return the interactions, each pair once, and the tables of users and of items."""
    if isinstance(data, Interactions):
        x, described = data, (data.user_features, data.item_features)
    elif isinstance(data, pd.DataFrame):
        x = Interactions.from_dataframe(
            data, user=user, item=item, rating=False, timestamp=False, duplicates="first"
        )
        described = (
            _one_row_each(data, user, user_features, x.user_ids.indices(data[user]), len(x.user_ids)),
            _one_row_each(data, item, item_features, x.item_ids.indices(data[item]), len(x.item_ids)),
        )
    else:
        raise TypeError(
            f"data must be a DataFrame with one purchase a row, or Interactions, got {type(data).__name__}."
        )
    if not len(x):
        raise DataError("data holds no purchases.")
    users = _table(described[0], user_features, "user", x.n_users)
    return x, users, _table(described[1], item_features, "item", x.n_items)


def check_columns(name: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple; a single string is not a list of names."""
    if isinstance(columns, str) or not all(isinstance(column, str) for column in columns):
        raise TypeError(f"{name} must be a list of names of columns, got {columns!r}.")
    return tuple(columns)


def _one_row_each(
    df: pd.DataFrame, who: str, columns: Sequence[str], index: Integers, n: int
) -> pd.DataFrame:
    """Find what each user (or item) is described by; all rows must agree on it."""
    _checked(columns, df, who)
    described = df[list(columns)].assign(_index=index).drop_duplicates()
    twice = described["_index"][described["_index"].duplicated()].tolist()
    if twice:
        same = described[described["_index"] == twice[0]]
        column = next(name for name in columns if len(same[name].unique()) > 1)
        raise DataError(
            f"{len(set(twice)):,} {who}(s) are described in two ways, such as "
            f"{df[who].to_numpy()[index == twice[0]][0]!r} by {column!r}: {same[column].tolist()[:2]}."
        )
    return described.set_index("_index").reindex(range(n))


def _checked(columns: Sequence[str], table: pd.DataFrame | None, who: str) -> pd.DataFrame:
    here = [] if table is None else list(table.columns)
    missing = [column for column in columns if column not in here]
    if missing:
        raise DataError(f"{who}_features asks for {missing}, and the data has {here or 'no features'}.")
    return pd.DataFrame() if table is None else table


def _table(described: pd.DataFrame | None, columns: Sequence[str], who: str, n: int) -> Table:
    described = _checked(columns, described, who)
    codes = [np.arange(n)]
    sizes = [n]
    for column in columns:
        numbers, names = pd.factorize(described[column], sort=True)
        # What is not known is a category of its own, after all others.
        codes.append(np.where(numbers < 0, len(names), numbers))
        sizes.append(int(codes[-1].max()) + 1)
    return Table(np.ascontiguousarray(np.stack(codes, axis=1).astype(np.int32)), tuple(sizes))
