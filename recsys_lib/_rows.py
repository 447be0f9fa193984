"""Which rows of a table of interactions stay: chosen rows, repeated pairs, and the k-core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_lib.errors import DataError
from recsys_lib.ids import IndexArray

Duplicates = Literal["error", "first", "last", "sum", "mean", "max"]
POLICIES = ("error", "first", "last", "sum", "mean", "max")

FloatArray = npt.NDArray[np.float32]


def first_repeat(pairs: IndexArray) -> tuple[int, int, int] | None:
    """Return (number of repeats, row of the first one, row that it repeats), or None without repeats."""
    repeated = pd.Series(pairs).duplicated().to_numpy()
    if not repeated.any():
        return None
    row = int(np.flatnonzero(repeated)[0])
    return int(repeated.sum()), row, int(np.flatnonzero(pairs == pairs[row])[0])


def without_repeats(
    pairs: IndexArray,
    ratings: FloatArray | None,
    timestamps: npt.NDArray[Any] | None,
    policy: Duplicates,
    ids_of: Callable[[int], tuple[Any, Any]],
) -> tuple[IndexArray, FloatArray | None] | None:
    """Return what :func:`merge` does, or None if all rows stay as they are; ``ids_of`` names a row.

    Raises
    ------
    DataError
        If pairs repeat, and the policy is ``"error"``.
    """
    repeat = first_repeat(pairs)
    if repeat is None and (policy != "sum" or ratings is not None):
        return None
    if repeat is not None and policy == "error":
        count, row, earlier = repeat
        user, item = ids_of(row)
        raise DataError(
            f"{count} row(s) repeat a (user, item) pair: user {user!r} and item {item!r} are in rows "
            f"{earlier} and {row}. Choose duplicates='first', 'last', 'sum', 'mean' or 'max'."
        )
    return merge(pairs, ratings, timestamps, policy)


def check_rows(rows: Any, n_rows: int) -> npt.NDArray[Any]:
    """Return a boolean mask or distinct positions as an array, or raise."""
    chosen = np.asarray(rows)
    if chosen.dtype == bool:
        if chosen.shape != (n_rows,):
            raise DataError(f"the mask must have shape ({n_rows},), got {chosen.shape}.")
        return chosen
    if chosen.size == 0:
        return np.empty(0, dtype=np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise DataError(
            f"rows must be a boolean mask or a list of positions, got shape {chosen.shape} of {chosen.dtype}."
        )
    if chosen.min() < 0 or chosen.max() >= n_rows:
        raise IndexError(f"positions must be from 0 to {n_rows - 1}, got {chosen.min()} to {chosen.max()}.")
    named = np.zeros(n_rows, dtype=bool)
    named[chosen] = True
    if named.sum() < len(chosen):
        raise DataError("a position is named more than once, and a (user, item) pair may appear only once.")
    return chosen


def merge(
    pairs: IndexArray, ratings: FloatArray | None, timestamps: npt.NDArray[Any] | None, policy: Duplicates
) -> tuple[IndexArray, FloatArray | None]:
    """Choose one row for each pair; return the positions that stay, ascending, and their ratings."""
    order = np.arange(len(pairs)) if timestamps is None else np.argsort(timestamps, kind="stable")
    repeated = pd.Series(pairs[order]).duplicated(keep="first" if policy == "first" else "last").to_numpy()
    keep = np.sort(order[~repeated])
    if policy in ("first", "last") or (ratings is None and policy != "sum"):
        return keep, None if ratings is None else ratings[keep]
    values = pd.Series(np.ones(len(pairs)) if ratings is None else ratings.astype(np.float64))
    combined = values.groupby(pairs).agg(policy)
    return keep, combined.loc[pairs[keep]].to_numpy(dtype=np.float32)


def k_core_mask(
    users: npt.NDArray[np.int32], items: npt.NDArray[np.int32], min_user: int, min_item: int
) -> npt.NDArray[np.bool_]:
    """Mark the rows left when every user has ``min_user`` and every item ``min_item`` interactions.

    One pass is not enough, because dropping an item may leave a user with too few; passes are repeated
    until nothing changes.
    """
    keep = np.ones(len(users), dtype=bool)
    while keep.any():
        few_users = np.bincount(users[keep], minlength=users.max() + 1) < min_user
        few_items = np.bincount(items[keep], minlength=items.max() + 1) < min_item
        left = keep & ~few_users[users] & ~few_items[items]
        if left.sum() == keep.sum():
            return left
        keep = left
    return keep


def describe(per_user: IndexArray, per_item: IndexArray, ratings: FloatArray | None) -> pd.Series:
    """Return the numbers of a table that one looks at first, from the counts of its users and items."""
    n_rows = int(per_user.sum())
    top = np.sort(per_item)[::-1][: max(1, len(per_item) // 100)].sum()
    facts: dict[str, Any] = {
        "users": len(per_user),
        "items": len(per_item),
        "interactions": n_rows,
        "density": n_rows / (len(per_user) * len(per_item)),
        "interactions per user (median)": float(np.median(per_user)),
        "interactions per user (mean)": float(per_user.mean()),
        "interactions per item (median)": float(np.median(per_item)),
        "interactions per item (mean)": float(per_item.mean()),
        "share of the top 1% of items": top / max(1, n_rows),
    }
    if ratings is not None and n_rows:
        facts["mean rating"] = float(ratings.mean(dtype=np.float64))
    return pd.Series(facts, dtype=object, name="interactions")
