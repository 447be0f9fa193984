"""The arithmetic of splits: shares, seeds, places within groups, fold-ins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys_lib._validation import check_integer, check_number
from recsys_lib.ids import IndexArray
from recsys_lib.interactions import Interactions

_LARGEST_SEED = 2**32 - 1


def random_state(seed: int) -> np.random.RandomState:
    """Return a generator of its own whose stream is frozen, or raise if the seed is no good."""
    return np.random.RandomState(check_integer("seed", seed, 0, _LARGEST_SEED))


def kept_shares(test: float, valid: float) -> tuple[float, float]:
    """Return the share of train, and that of train and valid together."""
    check_number("test", test, 0, 1, open_low=True, open_high=True)
    check_number("valid", valid, 0, 1, open_high=True)
    # Twelve digits, so that 1 - 0.2 - 0.1 means 0.7 and not 0.7000000000000001, which rounds 10.5 rows up.
    keep, keep_with_valid = round(1 - float(test) - float(valid), 12), round(1 - float(test), 12)
    if keep <= 0:
        raise ValueError(f"test={test} and valid={valid} leave nothing for train: their sum must be below 1.")
    return keep, keep_with_valid


def count_of(name: str, value: float | int, n_users: int) -> int:
    """Return the number of users that a share (float) or a count (int) stands for."""
    if isinstance(value, float | np.floating):
        return int(np.rint(check_number(name, value, 0, 1, open_high=True) * n_users))
    return check_integer(name, value, 0, n_users)


def rank_in_groups(groups: npt.NDArray[np.int32], counts: IndexArray, order: IndexArray) -> IndexArray:
    """Return the place of each row in its group, from 1; ``order`` sorts the rows group by group."""
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(groups), dtype=np.int64)
    rank[order] = np.arange(1, len(groups) + 1) - starts[groups[order]]
    return rank


def fold_in_rows(
    x: Interactions, users: IndexArray, fold_in: float, random: np.random.RandomState
) -> tuple[IndexArray, IndexArray]:
    """Divide the rows of these users at random into rows to show and rows to find, as positions."""
    chosen = np.zeros(x.n_users, dtype=bool)
    chosen[users] = True
    rows = np.flatnonzero(chosen[x.users])
    # Numbers are dealt out in the order of (user, item), so that the order of the rows does not matter.
    rows = rows[np.lexsort((x.items[rows], x.users[rows]))]
    of_user = x.users[rows]
    counts = np.bincount(of_user, minlength=x.n_users)
    rank = rank_in_groups(of_user, counts, np.lexsort((random.rand(len(rows)), of_user)))
    shown = rank <= np.clip(np.rint(fold_in * counts), 1, counts - 1)[of_user]
    return np.sort(rows[shown]), np.sort(rows[~shown])


def joined(first: Interactions, second: Interactions) -> Interactions:
    """Return the rows of both, which share their ids; ratings and times only if both have them."""

    def both(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> Any:
        return None if one is None or other is None else np.concatenate([one, other])

    return replace(
        first,
        users=both(first.users, second.users),
        items=both(first.items, second.items),
        ratings=both(first.ratings, second.ratings),
        timestamps=both(first.timestamps, second.timestamps),
    )
