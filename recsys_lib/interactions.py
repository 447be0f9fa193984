"""The one data container: who met what, perhaps with a rating and a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import torch

from recsys_lib._columns import (
    ColumnChoice,
    align_features,
    clean_ratings,
    clean_timestamps,
    find_columns,
    read_matrix,
    take_features,
)
from recsys_lib._rows import POLICIES, Duplicates, check_rows, first_repeat, k_core_mask, merge
from recsys_lib._validation import check_choice, check_integer, check_kind, check_number
from recsys_lib.device import resolve_device
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.ids import IdMap, IndexArray


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Users, items and what happened between them. Rows are users, columns are items, everywhere.

    Build one with :meth:`from_dataframe`, :meth:`from_arrays` or :meth:`from_csr`. Ids of any hashable
    type are mapped once to the numbers 0 to n-1; results come back in the user's own ids. An instance
    never changes: every method that filters returns a new one. The order of the rows is kept.

    Attributes
    ----------
    users, items : array of int32, shape (n,)
        Index of the user and of the item of each interaction.
    ratings : array of float32, shape (n,), or None
        How much the user liked the item, or how often they came back; None when there is only the fact.
    timestamps : array of int64 or float64, shape (n,), or None
        When it happened, in the unit of the data; dates become nanoseconds since 1970 (UTC).
    user_ids, item_ids : IdMap
        The maps between the user's own ids and the indices.
    user_features, item_features : DataFrame or None
        Row ``i`` describes the user or item with index ``i`` (title, year, genres, ...).

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"user": ["ann", "ann", "bob"], "item": ["tea", "jam", "tea"], "rating": [5, 3, 4]})
    >>> ratings = Interactions.from_dataframe(df)
    >>> ratings
    Interactions(2 users x 2 items, 3 interactions, ratings 3 to 5, no timestamps)
    >>> ratings.to_csr().toarray()
    array([[1., 1.],
           [0., 1.]], dtype=float32)
    """

    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    ratings: npt.NDArray[np.float32] | None
    timestamps: npt.NDArray[Any] | None
    user_ids: IdMap
    item_ids: IdMap
    user_features: pd.DataFrame | None = None
    item_features: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        for array in (self.users, self.items, self.ratings, self.timestamps):
            if array is not None:
                array.flags.writeable = False
        for name, features, ids in (
            ("user_features", self.user_features, self.user_ids),
            ("item_features", self.item_features, self.item_ids),
        ):
            if features is not None and len(features) != len(ids):
                raise DataError(f"{name} must have one row per {ids.what}: {len(ids)}, got {len(features)}.")

    # ------------------------------------------------------------------ building

    @classmethod
    def from_dataframe(
        cls,
        df: pd.DataFrame,
        *,
        user: str | None = None,
        item: str | None = None,
        rating: ColumnChoice = None,
        timestamp: ColumnChoice = None,
        duplicates: Duplicates = "error",
        like: Interactions | None = None,
        unknown: Literal["error", "drop"] = "error",
    ) -> Interactions:
        """Build from a data frame with one row per interaction.

        Parameters
        ----------
        df : DataFrame
            One row per interaction.
        user, item, rating, timestamp : str, optional
            Column names. A column that is not named is guessed from common spellings (``user_id``,
            ``movieId``, ``stars``, ...); ``rating=False`` and ``timestamp=False`` leave that column out.
        duplicates : {"error", "first", "last", "sum", "mean", "max"}
            What to do when a (user, item) pair appears more than once. ``first`` and ``last`` go by time
            where there are times, else by row. ``sum``, ``mean`` and ``max`` combine the ratings and keep
            the latest time; without ratings ``sum`` counts the rows.
        like : Interactions, optional
            Use the id space of these interactions, so that both have the same users and items.
        unknown : {"error", "drop"}
            With ``like``: what to do with rows whose user or item it does not know.

        Raises
        ------
        DataError
            If the data is empty, ids or ratings are missing or of mixed types, or pairs repeat.
        UnknownIdError
            If ``like`` is given and an id is not in it.
        """
        columns = find_columns(df, {"user": user, "item": item, "rating": rating, "timestamp": timestamp})
        return cls.from_arrays(
            df[columns["user"]],
            df[columns["item"]],
            None if columns["rating"] is None else df[columns["rating"]],
            None if columns["timestamp"] is None else df[columns["timestamp"]],
            duplicates=duplicates,
            like=like,
            unknown=unknown,
        )

    @classmethod
    def from_arrays(
        cls,
        users: Any,
        items: Any,
        ratings: Any = None,
        timestamps: Any = None,
        *,
        duplicates: Duplicates = "error",
        like: Interactions | None = None,
        unknown: Literal["error", "drop"] = "error",
    ) -> Interactions:
        """Build from columns of ids (and ratings, and times), each of shape (n,).

        The parameters are those of :meth:`from_dataframe`.
        """
        check_choice("duplicates", duplicates, POLICIES)
        check_choice("unknown", unknown, ("error", "drop"))
        if like is None:
            user_ids, user_index = IdMap.from_column(users, "user")
            item_ids, item_index = IdMap.from_column(items, "item")
        else:
            check_kind("like", like, Interactions)
            user_ids, item_ids = like.user_ids, like.item_ids
            look_up = "indices_or" if unknown == "drop" else "indices"
            user_index, item_index = getattr(user_ids, look_up)(users), getattr(item_ids, look_up)(items)
        if len(user_index) != len(item_index):
            raise DataError(f"users and items must be equally long: {len(user_index)}, {len(item_index)}.")
        built = cls(
            user_index.astype(np.int32),
            item_index.astype(np.int32),
            None if ratings is None else clean_ratings(ratings, len(user_index)),
            None if timestamps is None else clean_timestamps(timestamps, len(user_index)),
            user_ids,
            item_ids,
            None if like is None else like.user_features,
            None if like is None else like.item_features,
        )
        known = (user_index >= 0) & (item_index >= 0)
        if not known.all():
            if not known.any():
                raise DataError("no row has both a known user and a known item: nothing is left.")
            built = built.select(known)
        return built._without_duplicates(duplicates)

    @classmethod
    def from_csr(cls, matrix: Any, user_ids: Any = None, item_ids: Any = None) -> Interactions:
        """Build from a sparse matrix of shape (n_users, n_items); its values become the ratings.

        Parameters
        ----------
        matrix : scipy sparse matrix or array
            Stored entries are the interactions. If all of them are 1, there are no ratings.
        user_ids, item_ids : array-like, optional
            Ids of the rows and of the columns; the default is 0 to n-1.

        Raises
        ------
        DataError
            If the matrix is empty or stores zeros, or if the ids do not fit its shape (a matrix with
            items in its rows must be transposed first).
        """
        users, items, ratings, *maps = read_matrix(matrix, user_ids, item_ids)
        return cls(users, items, ratings, None, *maps)

    def _without_duplicates(self, policy: Duplicates) -> Interactions:
        pairs = self.users.astype(np.int64) * self.n_items + self.items
        repeat = first_repeat(pairs)
        if repeat is None and (policy != "sum" or self.ratings is not None):
            return self
        if repeat is not None and policy == "error":
            count, row, earlier = repeat
            user = self.user_ids.take([self.users[row]]).tolist()[0]
            item = self.item_ids.take([self.items[row]]).tolist()[0]
            raise DataError(
                f"{count} row(s) repeat a (user, item) pair: user {user!r} and item {item!r} are in rows "
                f"{earlier} and {row}. Choose duplicates='first', 'last', 'sum', 'mean' or 'max'."
            )
        keep, ratings = merge(pairs, self.ratings, self.timestamps, policy)
        return replace(self.select(keep), ratings=ratings)

    # ------------------------------------------------------------------ looking

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        ratings = "no ratings"
        if self.ratings is not None and len(self):
            ratings = f"ratings {self.ratings.min():g} to {self.ratings.max():g}"
        times = "no timestamps" if self.timestamps is None else "timestamps"
        return (
            f"Interactions({self.n_users} users x {self.n_items} items, {len(self)} interactions, "
            f"{ratings}, {times})"
        )

    @property
    def n_users(self) -> int:
        """Number of users in the id space, with or without interactions."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items in the id space, with or without interactions."""
        return len(self.item_ids)

    @property
    def density(self) -> float:
        """Share of all (user, item) pairs that are filled."""
        return len(self) / (self.n_users * self.n_items)

    def user_counts(self) -> IndexArray:
        """Return the interactions of each user, shape (n_users,)."""
        return np.bincount(self.users, minlength=self.n_users)

    def item_counts(self) -> IndexArray:
        """Return the interactions of each item, shape (n_items,): its popularity."""
        return np.bincount(self.items, minlength=self.n_items)

    def describe(self) -> pd.Series:
        """Return the numbers that one looks at first: sizes, density, activity, popularity."""
        per_user, per_item = self.user_counts(), self.item_counts()
        top = np.sort(per_item)[::-1][: max(1, self.n_items // 100)].sum()
        facts: dict[str, Any] = {
            "users": self.n_users,
            "items": self.n_items,
            "interactions": len(self),
            "density": self.density,
            "interactions per user (median)": float(np.median(per_user)),
            "interactions per user (mean)": float(per_user.mean()),
            "interactions per item (median)": float(np.median(per_item)),
            "interactions per item (mean)": float(per_item.mean()),
            "share of the top 1% of items": top / max(1, len(self)),
        }
        if self.ratings is not None and len(self):
            facts["mean rating"] = float(self.ratings.mean(dtype=np.float64))
        return pd.Series(facts, dtype=object, name="interactions")

    # ------------------------------------------------------------------ converting

    @cached_property
    def _ones(self) -> sp.csr_matrix:
        return self._csr(np.ones(len(self), dtype=np.float32))

    def _csr(self, values: npt.NDArray[np.float32]) -> sp.csr_matrix:
        matrix = sp.csr_matrix((values, (self.users, self.items)), shape=(self.n_users, self.n_items))
        matrix.sort_indices()
        return matrix

    def to_csr(self, values: Literal["ones", "ratings"] = "ones") -> sp.csr_matrix:
        """Return a float32 matrix of shape (n_users, n_items): ones, or the ratings.

        Raises
        ------
        DataError
            If ratings are asked for and there are none.
        """
        if check_choice("values", values, ("ones", "ratings")) == "ones":
            return self._ones.copy()
        if self.ratings is None:
            raise DataError("there are no ratings here. Use values='ones'.")
        return self._csr(self.ratings)

    def histories(self, device: torch.device | str = "cpu") -> Histories:
        """Return the items of each user as tensors, one sorted list per user index."""
        ones, device = self._ones, resolve_device(device)
        indptr = torch.from_numpy(ones.indptr.astype(np.int64))
        return Histories(indptr, torch.from_numpy(ones.indices.astype(np.int64)), self.n_items).to(device)

    def to_torch(self, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """Return the columns as tensors on ``device``, each of shape (n,).

        ``users`` and ``items`` are int64, ``ratings`` float32; ratings and ``timestamps`` that are missing
        are left out.
        """
        columns: dict[str, npt.NDArray[Any] | None] = {
            "users": self.users.astype(np.int64),
            "items": self.items.astype(np.int64),
            "ratings": None if self.ratings is None else self.ratings.copy(),
            "timestamps": None if self.timestamps is None else self.timestamps.copy(),
        }
        device = resolve_device(device)
        return {k: torch.from_numpy(v).to(device) for k, v in columns.items() if v is not None}

    def to_dataframe(self) -> pd.DataFrame:
        """Return columns ``user``, ``item`` (and ``rating``, ``timestamp``) in the user's own ids."""
        columns: dict[str, Any] = {
            "user": self.user_ids.take(self.users),
            "item": self.item_ids.take(self.items),
        }
        if self.ratings is not None:
            columns["rating"] = self.ratings.copy()
        if self.timestamps is not None:
            columns["timestamp"] = self.timestamps.copy()
        return pd.DataFrame(columns)

    # ------------------------------------------------------------------ choosing rows

    def select(self, rows: npt.NDArray[Any]) -> Interactions:
        """Keep some rows, given by a boolean mask or by distinct positions; the id space stays the same."""
        chosen = check_rows(rows, len(self))
        return replace(
            self,
            users=self.users[chosen],
            items=self.items[chosen],
            ratings=None if self.ratings is None else self.ratings[chosen],
            timestamps=None if self.timestamps is None else self.timestamps[chosen],
        )

    def compact(self) -> Interactions:
        """Drop users and items without interactions from the id space and number the rest anew."""
        used_users, users = np.unique(self.users, return_inverse=True)
        used_items, items = np.unique(self.items, return_inverse=True)
        return Interactions(
            users.astype(np.int32),
            items.astype(np.int32),
            self.ratings,
            self.timestamps,
            IdMap(self.user_ids.take(used_users), "user"),
            IdMap(self.item_ids.take(used_items), "item"),
            take_features(self.user_features, used_users),
            take_features(self.item_features, used_items),
        )

    def _kept(self, keep: npt.NDArray[np.bool_], how: str) -> Interactions:
        if not keep.any():
            raise DataError(f"{how} leaves no interactions out of {len(self)}. Ask for less.")
        return self.select(keep)

    def filter(self, *, min_rating: float) -> Interactions:
        """Keep interactions rated at least ``min_rating``; users and items left without any are dropped."""
        if self.ratings is None:
            raise DataError("there are no ratings to filter by.")
        low = check_number("min_rating", min_rating, -math.inf)
        return self._kept(self.ratings >= low, f"min_rating={min_rating}").compact()

    def k_core(self, user: int = 5, item: int = 5) -> Interactions:
        """Drop rare users and items until every user has ``user`` and every item ``item`` interactions."""
        check_integer("user", user, 1)
        check_integer("item", item, 1)
        keep = k_core_mask(self.users, self.items, user, item)
        return self._kept(keep, f"k_core(user={user}, item={item})").compact()

    def binarize(self, threshold: float | None = None) -> Interactions:
        """Turn ratings into implicit feedback: keep what is rated at least ``threshold``, drop the ratings.

        The id space stays the same: an item that nobody liked is still in the catalogue.
        """
        if threshold is None:
            return replace(self, ratings=None)
        if self.ratings is None:
            raise DataError(f"threshold={threshold} needs ratings, and there are none.")
        liked = self.ratings >= check_number("threshold", threshold, -math.inf)
        return replace(self._kept(liked, f"threshold={threshold}"), ratings=None)

    def with_features(
        self, *, users: pd.DataFrame | None = None, items: pd.DataFrame | None = None
    ) -> Interactions:
        """Attach descriptions of users or items: frames whose index holds ids; missing ids get empty rows."""
        return replace(
            self,
            user_features=self.user_features if users is None else align_features(users, self.user_ids),
            item_features=self.item_features if items is None else align_features(items, self.item_ids),
        )
