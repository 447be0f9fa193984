"""The one data container: who met what, perhaps with a rating and a time."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import torch

from recsys_lib._blocks import as_tensor, count_each, is_mapped, starts_of_rows
from recsys_lib._columns import (
    ColumnChoice,
    align_features,
    check_features,
    clean_ratings,
    clean_timestamps,
    find_columns,
    read_matrix,
    take_features,
)
from recsys_lib._folder import open_folder
from recsys_lib._parquet import read_columns
from recsys_lib._rows import POLICIES, Duplicates, check_rows, describe, k_core_mask, without_repeats
from recsys_lib._validation import check_choice, check_flag, check_integer, check_kind, check_number
from recsys_lib.device import resolve_device
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.ids import IdMap, IndexArray


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Users, items and what happened between them. Rows are users, columns are items, everywhere.

    Build one with :meth:`from_dataframe`, :meth:`from_parquet`, :meth:`from_arrays` or :meth:`from_csr`, or
    :meth:`open` a folder. Ids of any hashable type are mapped once to the numbers 0 to n-1; results come back
    in the user's own ids. An instance never changes: every method that filters returns a new one. The order
    of the rows is kept.

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
        check_features("user_features", self.user_features, self.user_ids)
        check_features("item_features", self.item_features, self.item_ids)

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
    def from_parquet(cls, path: str | os.PathLike[str], **options: Any) -> Interactions:
        """Build from a Parquet file, or all ``*.parquet`` in a folder, that fits into memory.

        ``options`` are the parameters of :meth:`from_dataframe`. Needs DuckDB. For what does not fit there is
        :func:`recsys_lib.datasets.convert`.
        """
        chosen = {role: options.pop(role, None) for role in ("user", "item", "rating", "timestamp")}
        return cls.from_arrays(*read_columns(path, chosen).values(), **options)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, check: bool = False) -> Interactions:
        """Map a folder that :func:`recsys_lib.datasets.convert` has made: nothing but the ids is read.

        With ``check`` all files are read to compare their checksums; otherwise their sizes are compared.
        """
        return cls(**open_folder(folder, check=check_flag("check", check)))

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
        def ids_of(row: int) -> tuple[Any, Any]:
            user, item = self.user_ids.take(self.users[[row]]), self.item_ids.take(self.items[[row]])
            return user.tolist()[0], item.tolist()[0]

        pairs = self.users.astype(np.int64) * self.n_items + self.items
        kept = without_repeats(pairs, self.ratings, self.timestamps, policy, ids_of)
        return self if kept is None else replace(self.select(kept[0]), ratings=kept[1])

    # ------------------------------------------------------------------ looking

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        ratings = "no ratings"
        if self.ratings is not None and len(self):
            ratings = f"ratings {self.ratings.min():g} to {self.ratings.max():g}"
        times = "no timestamps" if self.timestamps is None else "timestamps"
        sizes = f"{self.n_users} users x {self.n_items} items, {len(self)} interactions"
        return f"Interactions({sizes}, {ratings}, {times})"

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
        return count_each(self.users, self.n_users)

    def item_counts(self) -> IndexArray:
        """Return the interactions of each item, shape (n_items,): its popularity."""
        return count_each(self.items, self.n_items)

    def describe(self) -> pd.Series:
        """Return the numbers that one looks at first: sizes, density, activity, popularity."""
        return describe(self.user_counts(), self.item_counts(), self.ratings)

    # ------------------------------------------------------------------ converting

    @cached_property
    def _starts(self) -> torch.Tensor | None:
        return starts_of_rows(self.users, self.items, self.n_users)

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
        """Return the items of each user as tensors, one sorted list per user index; of a folder, a view."""
        device = resolve_device(device)
        if self._starts is not None:
            mapped = is_mapped(self.items)
            indices = as_tensor(self.items) if mapped else torch.from_numpy(self.items.astype(np.int64))
            return Histories(self._starts.clone(), indices, self.n_items).to(device)
        ones = self._ones
        indptr = torch.from_numpy(ones.indptr.astype(np.int64))
        return Histories(indptr, torch.from_numpy(ones.indices.astype(np.int64)), self.n_items).to(device)

    def to_torch(self, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
        """Return the columns as tensors on ``device``, each of shape (n,).

        ``users`` and ``items`` are int64, ``ratings`` float32; ratings and ``timestamps`` that are missing
        are left out.
        """
        device, columns = resolve_device(device), self._tensors(share=False).items()
        return {k: (v.long() if v.dtype == torch.int32 else v).to(device) for k, v in columns}

    def _tensors(self, share: bool = True) -> dict[str, torch.Tensor]:
        """Return the columns as they are, with indices of int32; ``share`` copies nothing that is mapped."""
        names = ("users", "items", "ratings", "timestamps")
        return {k: as_tensor(v, share) for k in names if (v := getattr(self, k)) is not None}

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
        names = ("users", "items", "ratings", "timestamps")
        columns: dict[str, Any] = {k: v[chosen] for k in names if (v := getattr(self, k)) is not None}
        return replace(self, **columns)

    def compact(self) -> Interactions:
        """Drop users and items without interactions from the id space and number the rest anew."""
        used_users, users = np.unique(self.users, return_inverse=True)
        used_items, items = np.unique(self.items, return_inverse=True)
        return replace(
            self,
            users=users.astype(np.int32),
            items=items.astype(np.int32),
            user_ids=IdMap(self.user_ids.take(used_users), "user"),
            item_ids=IdMap(self.item_ids.take(used_items), "item"),
            user_features=take_features(self.user_features, used_users),
            item_features=take_features(self.item_features, used_items),
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
