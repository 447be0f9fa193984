"""Recommending to people of whom nothing is known but a profile: what is popular among people like them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsys_lib._validation import check_integer, check_number
from recsys_lib.errors import DataError, NotSupportedError
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models._bags import sum_rows
from recsys_lib.models.base import Recommender
from recsys_lib.models.embeddings import named_categories_of
from recsys_lib.ranking import rank_catalogue

# Cosines of new with known profiles that are worked out at once: bounds the memory.
_NUMBERS = 2**24


@dataclass(kw_only=True, eq=False, repr=False)
class ProfilePopularity(Recommender):
    r"""What is popular among the people with the nearest profiles.

    .. math:: s_{ui} = \sum_{v \in N_u} w_{uv}\, x_{vi} + \rho \frac{c_i}{\max_j c_j}

    where :math:`N_u` are the ``neighbours`` people whose profiles have most in common with that of u, the
    weight :math:`w_{uv}` is the cosine of the two profiles as 0/1 vectors of categories, and the second term,
    popularity among all, decides where the neighbours do not. It takes nothing from what a person has done,
    so it serves people without a history, and is the baseline for them.

    Parameters
    ----------
    features : sequence of str
        Columns of ``train.user_features`` that are categories; all of them if none is named. Cut numbers such
        as an age into classes first.
    neighbours : int
        How many people; those that are as near as the last of them are not left out.
    popularity_weight : float
        :math:`\rho`, at least 0.

    Raises
    ------
    DataError
        In ``fit``, if there are no features of users, or not the columns asked for.

    Examples
    --------
    >>> import pandas as pd
    >>> from recsys_lib import Interactions
    >>> people = pd.DataFrame({"job": ["cook", "cook", "pilot", "pilot"]}, index=list("abcd"))
    >>> x = Interactions.from_arrays(list("abccdd"), ["jam", "jam", "tea", "nut", "nut", "oil"])
    >>> model = ProfilePopularity(features=["job"], neighbours=2).fit(x.with_features(users=people))
    >>> model.recommend_from_profile([{"job": "pilot"}], k=1)["item"].tolist()
    ['nut']
    """

    features: tuple[str, ...] = ()
    neighbours: int = 100
    popularity_weight: float = 0.1

    def _check(self) -> None:
        if isinstance(self.features, str) or not isinstance(self.features, Sequence):
            raise TypeError(f"features must be a list of names of columns, got {self.features!r}.")
        self.features = tuple(self.features)
        if not all(isinstance(name, str) for name in self.features):
            raise TypeError(f"features must be a list of names of columns, got {self.features!r}.")
        check_integer("neighbours", self.neighbours, 1)
        check_number("popularity_weight", self.popularity_weight, 0)

    def _fit(self, train: Interactions, valid: Interactions | None) -> None:
        if train.user_features is None:
            raise DataError("train has no user_features. Attach them with train.with_features(users=...).")
        columns = self.features or tuple(map(str, train.user_features.columns))
        profiles, vocabulary = named_categories_of(train.user_features, columns, "user")
        self.profiles_: Histories = profiles.to(self.device_)
        self.vocabulary_: list[tuple[str, str]] = vocabulary

    # ------------------------------------------------------------------ scoring

    def _scores(self, users: Tensor) -> Tensor:
        return self._scores_of_profiles(self.profiles_.select(users))

    def _popular_when_empty(self, scores: Tensor, empty: Tensor, popularity: Tensor) -> Tensor:
        return scores  # who has no items has a profile

    def _scores_from(self, histories: Histories) -> Tensor:
        raise NotSupportedError(
            f"{self.name} knows people by their profiles, not by their items: use recommend_from_profile()."
        )

    def _scores_of_profiles(self, profiles: Histories) -> Tensor:
        size = max(1, _NUMBERS // len(self.profiles_))
        rows = torch.arange(len(profiles), device=self.device_).split(size)
        parts = [self._sums_over_neighbours(profiles.select(some)) for some in rows]
        return torch.cat(parts) + self.popularity_weight * self.popularity_ / self.popularity_.max()

    def _sums_over_neighbours(self, profiles: Histories) -> Tensor:
        near = _unit(profiles) @ self._known_profiles.T
        k = min(int(self.neighbours), near.shape[1])
        last = near.topk(k, dim=1).values[:, -1:]
        near = torch.where(near >= last, near, 0)
        return sum_rows(near.T.contiguous(), self._people_of_items).T

    @cached_property
    def _known_profiles(self) -> Tensor:
        """The profiles of the people in training as vectors of length 1."""
        vectors = _unit(self.profiles_)
        # People without a history have nothing to tell.
        vectors[self.seen_.lengths() == 0] = 0
        return vectors

    @cached_property
    def _people_of_items(self) -> Histories:
        return self.seen_.transposed()[0]

    def recommend_from_profile(self, profiles: Any, k: int = 10, *, items: Any = None) -> pd.DataFrame:
        """Recommend to people who are known by their profiles alone.

        Parameters
        ----------
        profiles : DataFrame or list of dicts
            A row for each person, with the columns in ``features``. What is missing or was never met in
            training says nothing.
        k : int
            Items per person.
        items : list of ids, optional
            Choose only among these.

        Returns
        -------
        DataFrame
            Columns ``user`` (0 for the first person), ``item``, ``rank`` and ``score``.

        Raises
        ------
        DataError
            If a column is not there.
        """
        self._need_fit()
        check_integer("k", k, 1)
        table = _as_table(profiles, tuple(dict.fromkeys(column for column, _ in self.vocabulary_)))
        coded = self._encode(table)
        with torch.no_grad():
            ranked, scores = rank_catalogue(
                lambda rows: self._scores_of_profiles(coded.select(rows)),
                torch.arange(len(coded), device=self.device_),
                min(k, len(self.item_ids)),
                items=None if items is None else self._item_indices(items),
            )
        return self._ranked_frame("user", np.arange(len(coded)), "item", ranked, scores)

    def _encode(self, table: pd.DataFrame) -> Histories:
        """Write new profiles in the categories of the training data."""
        number = {key: code for code, key in enumerate(self.vocabulary_)}
        new, names = named_categories_of(table, list(table.columns), "user")
        code = torch.tensor([number.get(key, -1) for key in names], dtype=torch.int64)
        rows, codes = new.pairs()
        codes = code[codes]
        known = codes >= 0
        coded = Histories.from_pairs(rows[known], codes[known], len(table), len(self.vocabulary_))
        return coded.to(self.device_)

    # ------------------------------------------------------------------ keeping

    def _state(self) -> dict[str, Tensor]:
        words = json.dumps(self.vocabulary_).encode()
        return {
            "indptr": self.profiles_.indptr,
            "codes": self.profiles_.indices,
            "vocabulary": torch.frombuffer(bytearray(words), dtype=torch.uint8),
        }

    def _load_state(self, state: dict[str, Tensor]) -> None:
        words = bytes(state["vocabulary"].cpu().tolist())
        self.vocabulary_ = [(column, value) for column, value in json.loads(words)]
        self.profiles_ = Histories.from_tensors(state["indptr"], state["codes"], len(self.vocabulary_))
        if len(self.profiles_) != len(self.user_ids):
            raise DataError(f"there are profiles for {len(self.profiles_)} of {len(self.user_ids)} users.")


def _unit(profiles: Histories) -> Tensor:
    dense = profiles.to_dense(torch.float32)
    return torch.nn.functional.normalize(dense, dim=1)


def _as_table(profiles: Any, features: tuple[str, ...]) -> pd.DataFrame:
    if isinstance(profiles, Mapping | str) or not isinstance(profiles, pd.DataFrame | Sequence):
        raise TypeError(f"profiles must be a DataFrame or a list of dicts, got {profiles!r}.")
    table = profiles if isinstance(profiles, pd.DataFrame) else pd.DataFrame(list(profiles), columns=None)
    missing = [name for name in features if name not in table.columns]
    if missing and len(table):
        raise DataError(f"profiles must have the columns {list(features)}, and {missing} are not there.")
    return table.reindex(columns=list(features))
