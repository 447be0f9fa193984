"""Reading what is handed in: columns of a data frame, a sparse matrix, descriptions of users and items."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from recsys_lib._validation import as_column, shown
from recsys_lib.errors import DataError
from recsys_lib.ids import IdMap

ColumnChoice = str | Literal[False] | None

# Spelled without case, underscores or spaces; the first name that is present wins.
_NAMES = {
    "user": "user userid uid users customer customerid visitor visitorid member memberid account accountid "
    "reviewer reviewerid profile profileid",
    "item": "item itemid iid items movie movieid film filmid product productid asin sku track trackid song "
    "songid artist artistid book bookid isbn article articleid",
    "rating": "rating ratings score stars plays playcount count value weight",
    "timestamp": "timestamp timestamps time ts date datetime unixtime unixreviewtime",
}


def find_columns(df: pd.DataFrame, chosen: dict[str, ColumnChoice]) -> dict[str, Any]:
    """Decide the column of each role; ``False`` means that an optional role is left out on purpose."""
    if not isinstance(df, pd.DataFrame):
        raise TypeError(
            f"df must be a pandas DataFrame, got {type(df).__name__}. "
            "For arrays use Interactions.from_arrays, for a sparse matrix Interactions.from_csr."
        )
    plain = {str(column): column for column in df.columns}
    spelled: dict[str, list[str]] = {}
    for name in plain:
        # A RecBole header such as "user_id:token" names the column before the colon.
        spelled.setdefault(re.sub(r"[\W_]", "", name.split(":")[0].lower()), []).append(name)
    columns: dict[str, Any] = {}
    for role, choice in chosen.items():
        optional = role in ("rating", "timestamp")
        if choice is False and optional:
            columns[role] = None
        elif choice is not None:
            if not pd.api.types.is_hashable(choice):
                raise TypeError(f"{role} must be the name of a column, got {shown(choice)}.")
            if choice not in df.columns:
                raise DataError(f"{role}={choice!r} is not a column. The columns are {list(df.columns)}.")
            columns[role] = choice
        else:
            columns[role] = _guess(role, spelled, plain, optional)
    used = [column for column in columns.values() if column is not None]
    for column in used:
        if (df.columns == column).sum() > 1:
            raise DataError(f"the data frame has more than one column {column!r}. Rename or drop one.")
    if len(set(used)) < len(used):
        raise DataError(f"each role needs a column of its own, got {columns}.")
    return columns


def _guess(role: str, spelled: dict[str, list[str]], plain: dict[str, Any], optional: bool) -> Any:
    for name in _NAMES[role].split():
        found = spelled.get(name, [])
        if len(found) > 1:
            raise DataError(f"columns {found} could all be the {role}. Say which: {role}={found[0]!r}.")
        if found:
            return plain[found[0]]
    if optional:
        return None
    raise DataError(
        f"no column looks like the {role}. The columns are {list(plain)}. Name it: {role}='...'. "
        "(A table with one column per item must be made long first, for example with df.melt().)"
    )


def clean_ratings(values: Any, n_rows: int) -> npt.NDArray[np.float32]:
    """Return ratings as finite float32, shape (n_rows,), or raise naming the first bad row."""
    series = as_column("ratings", values)
    try:
        if pd.api.types.is_datetime64_any_dtype(series.dtype):
            raise TypeError("they are dates")
        if pd.api.types.is_timedelta64_dtype(series.dtype):
            raise TypeError("they are spans of time")
        if pd.api.types.is_complex_dtype(series.dtype):
            raise TypeError("they are complex")
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError) as error:  # the last of whole numbers beyond any float
        raise DataError(f"ratings must be numbers: {error}. Convert them with pandas.to_numeric.") from error
    _check_length("ratings", numbers, n_rows)
    bad = ~np.isfinite(numbers) | (np.abs(numbers) > np.finfo(np.float32).max)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"{int(bad.sum())} rating(s) are missing, infinite or too large, the first in row {row}: "
            f"{numbers[row]}. Drop or fill them first, for example with df.dropna()."
        )
    return numbers.astype(np.float32)


def clean_timestamps(values: Any, n_rows: int) -> npt.NDArray[Any]:
    """Return times as int64 or float64, shape (n_rows,); dates become nanoseconds since 1970 (UTC)."""
    series = as_column("timestamps", values).infer_objects()
    _check_length("timestamps", series, n_rows)
    if series.isna().any():
        row = int(np.flatnonzero(series.isna())[0])
        raise DataError(
            f"{int(series.isna().sum())} timestamp(s) are missing, the first in row {row}. "
            "Drop those rows, or pass timestamp=False to do without times."
        )
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        try:
            times: npt.NDArray[Any] = pd.DatetimeIndex(series).as_unit("ns").asi8.copy()
        except pd.errors.OutOfBoundsDatetime as error:
            raise DataError(f"timestamps must be from 1678 to 2261: {error}. Pass years instead.") from error
    elif pd.api.types.is_integer_dtype(series.dtype):
        if len(series) and series.max() > np.iinfo(np.int64).max:
            raise DataError(f"timestamps must fit 64 bits with a sign, got {series.max()}.")
        times = series.to_numpy(dtype=np.int64, copy=True)
    elif pd.api.types.is_float_dtype(series.dtype):
        times = series.to_numpy(dtype=np.float64, copy=True)
        if not np.isfinite(times).all():
            row = int(np.flatnonzero(~np.isfinite(times))[0])
            raise DataError(f"timestamps must be finite numbers or dates, got {times[row]} in row {row}.")
    else:
        raise DataError(
            f"timestamps must be finite numbers or dates, got {series.dtype} such as {series.iloc[0]!r}. "
            "Parse text with pandas.to_datetime first."
        )
    return times


def _check_length(name: str, values: Any, n_rows: int) -> None:
    if values.shape != (n_rows,):
        raise DataError(f"{name} must have one value per interaction: {n_rows}, got shape {values.shape}.")


def read_matrix(
    matrix: Any, user_ids: Any, item_ids: Any
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32] | None, IdMap, IdMap]:
    """Return users, items and ratings of the stored entries, row by row, and the two id maps."""
    if not sp.issparse(matrix):
        raise TypeError(
            f"matrix must be a scipy sparse matrix, got {type(matrix).__name__}. "
            "Wrap a dense one in scipy.sparse.csr_matrix first."
        )
    csr = sp.csr_matrix(matrix, copy=True)
    csr.sum_duplicates()
    n_users, n_items = csr.shape
    if csr.nnz == 0:
        raise DataError(f"matrix of shape {csr.shape} stores no entries: the data is empty.")
    users = IdMap(range(n_users) if user_ids is None else user_ids, "user")
    items = IdMap(range(n_items) if item_ids is None else item_ids, "item")
    if (len(users), len(items)) != csr.shape:
        turned = (user_ids is None or len(users) == n_items) and (item_ids is None or len(items) == n_users)
        hint = " It looks transposed: rows must be users; pass matrix.T." if turned else ""
        raise DataError(
            f"matrix has shape {csr.shape} but there are {len(users)} user and {len(items)} item ids.{hint}"
        )
    zeros = int((csr.data == 0).sum())
    if zeros:
        raise DataError(
            f"matrix stores {zeros} zeros, and a stored entry is an interaction. "
            "Call matrix.eliminate_zeros() if they are not."
        )
    coo = csr.tocoo()
    ratings = None if (coo.data == 1).all() else clean_ratings(coo.data, coo.nnz)
    return coo.row.astype(np.int32), coo.col.astype(np.int32), ratings, users, items


def align_features(features: Any, ids: IdMap) -> pd.DataFrame:
    """Bring descriptions, whose index holds ids, into index order; an id without one gets an empty row."""
    if not isinstance(features, pd.DataFrame):
        raise TypeError(f"{ids.what} features must be a DataFrame, got {type(features).__name__}.")
    described = IdMap(features.index.to_flat_index(), ids.what)
    rows = described.indices_or(ids.ids)
    if (rows < 0).all():
        raise DataError(
            f"no {ids.what} of these interactions is in the index of the features. The interactions have "
            f"{ids!r}, the features {described!r}. Put the ids in the index with df.set_index()."
        )
    # Position -1 is no label of a fresh index, so reindex leaves that row empty.
    return features.reset_index(drop=True).reindex(rows).reset_index(drop=True)


def check_features(name: str, features: pd.DataFrame | None, ids: IdMap) -> None:
    """Refuse descriptions that are not one for each id."""
    if features is not None and len(features) != len(ids):
        raise DataError(f"{name} must have one row per {ids.what}: {len(ids)}, got {len(features)}.")


def take_features(features: pd.DataFrame | None, rows: npt.NDArray[Any]) -> pd.DataFrame | None:
    """Keep the descriptions of some users or items, numbered anew."""
    return None if features is None else features.iloc[rows].reset_index(drop=True)
