"""Cutting interactions into train, validation and test parts, so that nothing leaks from test into train.

Each function returns a :class:`Split` whose parts share one id space: a user or an item has the same index
in all of them, with or without interactions there. The functions differ in the question that they ask:

======================  ================================================================================
:func:`leave_last_out`  What does each user do next?
:func:`chronological`   What happens after a given day? The closest to a system in use.
:func:`random_holdout`  Which interactions were hidden? Easier than the future, and common in papers.
:func:`held_out_users`  What would a new user like, given a few first choices (strong generalisation)?
:func:`k_fold`          How much does the result depend on which rows were hidden?
======================  ================================================================================

Every random choice comes from ``numpy.random.RandomState(seed)``, whose streams NumPy has frozen, so a split
is the same on every machine and in every release. Nothing touches the global random state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from recsys_lib._cuts import count_of, fold_in_rows, joined, kept_shares, random_state, rank_in_groups
from recsys_lib._validation import check_choice, check_flag, check_integer, check_number
from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions

__all__ = ["Split", "chronological", "held_out_users", "k_fold", "leave_last_out", "random_holdout"]


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Interactions cut into parts that share one id space.

    Make one with a function of this module, or hand over your own parts (built with ``like=`` so that they
    share their ids).

    Attributes
    ----------
    name : str
        How the parts were cut, in words, with shares and seed.
    train : Interactions
        What a model may learn from.
    valid : Interactions or None
        What settings and the end of training are chosen by.
    test : Interactions
        What the reported result is measured on.
    valid_fold_in, test_fold_in : Interactions or None
        Set when the users of that part are not in ``train``: what is shown of them to the model, while
        ``valid`` and ``test`` hold what it must find.

    Raises
    ------
    DataError
        If a part is empty, or if the parts do not share their ids.

    Examples
    --------
    >>> x = Interactions.from_arrays(["ann"] * 3 + ["bob"] * 3, [1, 2, 3, 1, 3, 2], timestamps=range(6))
    >>> split = leave_last_out(x)
    >>> split
    Split(leave last out: train 2, valid 2, test 2 interactions of 2 users x 3 items)
    >>> split.test.to_dataframe()["item"].tolist()
    [3, 2]
    """

    name: str
    train: Interactions
    valid: Interactions | None
    test: Interactions
    valid_fold_in: Interactions | None = None
    test_fold_in: Interactions | None = None

    def __post_init__(self) -> None:
        for part, x in self._parts().items():
            if not isinstance(x, Interactions):
                raise TypeError(f"{part} must be Interactions, got {type(x).__name__}.")
            if not len(x):
                raise DataError(f"the {part} part of '{self.name}' is empty. Give it a larger share.")
            if x.user_ids != self.train.user_ids or x.item_ids != self.train.item_ids:
                raise DataError(
                    f"train and {part} have different users or items. Build {part} with like=train, "
                    "so that an index means the same in both."
                )

    def known(self, part: str = "test") -> Interactions:
        """Return what is known of the users before ``part``: what a ranking for that part leaves out.

        That is train and valid for ``"test"``, and train for ``"valid"``. When the users of the part are not
        in train, it is their fold-in.

        Raises
        ------
        DataError
            If the split has no such part.
        """
        check_choice("part", part, ("valid", "test"))
        if part == "valid":
            if self.valid is None:
                raise DataError(f"'{self.name}' has no valid part. Ask for one when splitting.")
            return self.train if self.valid_fold_in is None else self.valid_fold_in
        if self.test_fold_in is not None:
            return self.test_fold_in
        return self.train if self.valid is None else joined(self.train, self.valid)

    def _parts(self) -> dict[str, Interactions]:
        optional = {"valid_fold_in", "valid", "test_fold_in"}
        names = ("train", "valid_fold_in", "valid", "test_fold_in", "test")
        parts = {name: getattr(self, name) for name in names}
        return {name: x for name, x in parts.items() if x is not None or name not in optional}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{part.replace('_', ' ')} {len(x)}" for part, x in self._parts().items())
        space = f"{self.train.n_users} users x {self.train.n_items} items"
        return f"Split({self.name}: {sizes} interactions of {space})"


def leave_last_out(x: Interactions, *, valid: bool = True) -> Split:
    """Hide each user's latest interaction for test, and the one before it for validation.

    Of interactions at the same time, the later row counts as the later one. Users with fewer than three
    interactions (two without ``valid``) stay in train with all they have.

    Known weakness: "last" is meant per user, so a model may learn from what others did later than that.
    :func:`chronological` does not allow this.

    Parameters
    ----------
    x : Interactions
        With timestamps.
    valid : bool
        Whether to cut a validation part as well.

    Raises
    ------
    DataError
        If there are no timestamps, or if no user has enough interactions.
    """
    check_flag("valid", valid)
    times = _times(x, "leave_last_out")
    order = np.lexsort((times, x.users))  # stable: rows at the same time keep their order
    counts = x.user_counts()
    rank = rank_in_groups(x.users, counts, order)
    needed = 3 if valid else 2
    if counts.max() < needed:
        raise DataError(
            f"leave_last_out(valid={valid}) needs users with at least {needed} interactions, "
            f"and the most active one has {counts.max()}."
        )
    from_end = np.where(counts[x.users] >= needed, counts[x.users] - rank, needed)
    return Split(
        "leave last out",
        x.select(from_end >= needed - 1),
        x.select(from_end == 1) if valid else None,
        x.select(from_end == 0),
    )


def random_holdout(
    x: Interactions,
    test: float = 0.2,
    valid: float = 0.0,
    *,
    by: Literal["user", "item", "global"] = "user",
    seed: int = 0,
) -> Split:
    """Hide a random share of the interactions of each user, of each item, or of all of them together.

    Row ``i`` gets the ``i``-th number of ``numpy.random.RandomState(seed).rand(n)``, and the rows of a group
    of ``c`` are put in the order of their numbers. The first ``round((1 - test - valid) * c)`` are train,
    those up to ``round((1 - test) * c)`` are valid and the rest are test; halves are rounded to the even
    number. So the test part does not depend on ``valid``, and another order of the rows gives another split.

    With ``by="item"`` this is the split of the benchmark in Microsoft's *recommenders* repository
    (``python_stratified_split``, ``filter_by="item"``). Small groups keep everything in train when their
    share of test is less than half a row: with ``test=0.2``, a user with two interactions has none in test.

    Parameters
    ----------
    x : Interactions
        Any interactions; times are not looked at.
    test, valid : float
        Shares of the rows, both below 1 and together below 1. ``valid=0`` cuts no validation part.
    by : {"user", "item", "global"}
        Within which group the share is taken.
    seed : int
        Seed of the random numbers, 0 to 2**32 - 1.

    Raises
    ------
    ValueError
        If a share is out of range.
    DataError
        If a part would be empty.
    """
    _check_interactions(x)
    keep, keep_with_valid = kept_shares(test, valid)
    check_choice("by", by, ("user", "item", "global"))
    numbers = random_state(seed).rand(len(x))
    if by == "global":
        counts = np.array([len(x)])
        groups, order = np.zeros(len(x), dtype=np.int32), np.argsort(numbers, kind="stable")
    else:
        groups, counts = (x.users, x.user_counts()) if by == "user" else (x.items, x.item_counts())
        order = np.lexsort((numbers, groups))
    rank = rank_in_groups(groups, counts, order)
    in_train = rank <= np.rint(keep * counts)[groups]
    in_test = rank > np.rint(keep_with_valid * counts)[groups]
    where = "over all rows" if by == "global" else f"by {by}"
    return Split(
        f"random hold-out {where}, {_words(test, valid)}, seed {seed}",
        x.select(in_train),
        x.select(~in_train & ~in_test) if valid else None,
        x.select(in_test),
    )


def chronological(x: Interactions, test: float = 0.2, valid: float = 0.1) -> Split:
    """Cut at one moment for everybody: train comes before valid, and valid before test.

    The cuts are at the times of the rows that the shares point at, counted from the earliest row. All rows
    at the time of a cut go to the later part, so equal times are never divided, and sizes are approximate:
    with coarse times (days, say) train may be a good deal smaller than asked for. The order of the rows
    plays no role. Users and items that first appear after the cut stay in the id space without training rows.

    Parameters
    ----------
    x : Interactions
        With timestamps.
    test, valid : float
        Shares of the rows, both below 1 and together below 1. ``valid=0`` cuts no validation part.

    Raises
    ------
    ValueError
        If a share is out of range.
    DataError
        If there are no timestamps, or if a part would be empty.
    """
    times = _times(x, "chronological")
    n_before = [int(np.rint(share * len(x))) for share in kept_shares(test, valid)]
    if n_before[1] >= len(x):
        raise DataError(f"test={test} of {len(x)} interactions is less than one: the test part is empty.")
    start_valid, start_test = np.partition(times, sorted(set(n_before)))[n_before]
    in_train, in_test = times < start_valid, times >= start_test
    return Split(
        f"chronological, {_words(test, valid)}",
        x.select(in_train),
        x.select(~in_train & ~in_test) if valid else None,
        x.select(in_test),
    )


def held_out_users(
    x: Interactions,
    test_users: float | int = 0.1,
    valid_users: float | int = 0.1,
    fold_in: float = 0.8,
    seed: int = 0,
) -> Split:
    """Hide whole users, then show a part of each one and let the model find the rest.

    Train holds only the other users. Of a hidden user with ``c`` interactions, ``round(fold_in * c)`` random
    ones become the fold-in, but at least one and at most ``c - 1``, so that something is left to be found.
    Users with fewer than two interactions stay in train. The order of the rows plays no role, and the test
    part does not depend on ``valid_users``. This is the protocol of Liang et al., "Variational Autoencoders
    for Collaborative Filtering" (2018), except that no item is dropped: one that no training user met stays
    in the id space, and may be among those to be found.

    Parameters
    ----------
    x : Interactions
        Any interactions; times are not looked at.
    test_users, valid_users : float or int
        How many users to hide: a share (float below 1) of the users with two or more interactions, or
        a count (int). ``valid_users=0`` cuts no validation part.
    fold_in : float
        Share of a hidden user's interactions that the model is shown, between 0 and 1.
    seed : int
        Seed of the random numbers, 0 to 2**32 - 1.

    Raises
    ------
    ValueError
        If a share or a count is out of range.
    DataError
        If a part would be empty.
    """
    _check_interactions(x)
    check_number("fold_in", fold_in, 0, 1, open_low=True, open_high=True)
    random = random_state(seed)
    counts = x.user_counts()
    eligible = np.flatnonzero(counts >= 2)
    n_test = count_of("test_users", test_users, len(eligible))
    n_valid = count_of("valid_users", valid_users, len(eligible))
    if n_test == 0:
        raise DataError(f"test_users={test_users} of {len(eligible)} users is none: the test part is empty.")
    if n_valid == 0 and valid_users:
        raise DataError(f"valid_users={valid_users} of {len(eligible)} users is none: valid is empty.")
    if n_test + n_valid > min(len(eligible), np.count_nonzero(counts) - 1):
        raise DataError(
            f"test_users={test_users} and valid_users={valid_users} leave no user for train: "
            f"{len(eligible)} have two or more interactions."
        )
    drawn = random.permutation(eligible)
    # Test comes first, so that asking for validation users does not change it.
    test_shown, test = fold_in_rows(x, drawn[:n_test], fold_in, random)
    valid_shown, valid = fold_in_rows(x, drawn[n_test : n_test + n_valid], fold_in, random)
    in_train = np.ones(len(x), dtype=bool)
    for rows in (test_shown, test, valid_shown, valid):
        in_train[rows] = False
    shares = f"{n_test} for test, {n_valid} for valid, fold-in {fold_in:g}"
    return Split(
        f"held-out users, {shares}, seed {seed}",
        x.select(in_train),
        x.select(valid) if n_valid else None,
        x.select(test),
        x.select(valid_shown) if n_valid else None,
        x.select(test_shown),
    )


def k_fold(x: Interactions, k: int = 5, seed: int = 0) -> list[Split]:
    """Divide the rows at random into ``k`` equal folds; each split tests on one and trains on the others.

    The folds are disjoint, cover all rows, and differ in size by one row at most. There is no validation
    part. Another order of the rows gives other folds.

    Parameters
    ----------
    x : Interactions
        Any interactions; times are not looked at.
    k : int
        Number of folds, at least 2 and at most the number of rows.
    seed : int
        Seed of the random numbers, 0 to 2**32 - 1.

    Raises
    ------
    ValueError
        If ``k`` is out of range.
    """
    _check_interactions(x)
    check_integer("k", k, 2, len(x))
    fold = random_state(seed).permutation(len(x)) % k
    names = [f"fold {i + 1} of {k}, random rows, seed {seed}" for i in range(k)]
    return [Split(name, x.select(fold != i), None, x.select(fold == i)) for i, name in enumerate(names)]


def _check_interactions(x: Any) -> None:
    if not isinstance(x, Interactions):
        raise TypeError(
            f"x must be Interactions, got {type(x).__name__}. Build them with Interactions.from_dataframe."
        )
    if not len(x):
        raise DataError("there are no interactions to split.")


def _times(x: Interactions, what: str) -> npt.NDArray[Any]:
    _check_interactions(x)
    if x.timestamps is None:
        raise DataError(
            f"{what} needs timestamps, and there are none. Load them (timestamp='...'), "
            "or use random_holdout, which does without."
        )
    return x.timestamps


def _words(test: float, valid: float) -> str:
    return f"test {test:g}, valid {valid:g}" if valid else f"test {test:g}"
