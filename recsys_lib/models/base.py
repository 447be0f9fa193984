"""The coat that every model wears: fit, score, recommend, save, load."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from recsys_lib._tensors import check_indices
from recsys_lib._validation import as_lists, check_flag, check_integer, check_kind
from recsys_lib.device import resolve_device
from recsys_lib.errors import DataError, NotFittedError, NotSupportedError
from recsys_lib.histories import Histories
from recsys_lib.ids import IdMap
from recsys_lib.interactions import Interactions
from recsys_lib.models import saving
from recsys_lib.models._data import check_data
from recsys_lib.ranking import rank_catalogue


@dataclass(kw_only=True, eq=False, repr=False)
class Recommender(ABC):
    """What all models have in common. The fields of a model are its hyper-parameters.

    A model is made with its hyper-parameters, learns in :meth:`fit`, and then answers in the user's own
    ids. A user without any training interaction is given the most popular items.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ...: see :func:`recsys_lib.device.resolve_device`.
    seed : int
        All randomness of the model comes from it. The same seed on a CPU gives the same model.

    Attributes
    ----------
    user_ids, item_ids : IdMap
        The id space that the model was fitted on.
    seen_ : Histories
        The training items of each user, on ``device_``.
    fit_seconds_ : float
        Wall-clock seconds that the fit took, until the model is saved and loaded.
    """

    device: str = "auto"
    seed: int = 0

    # True for models whose scores are ratings in the units of the data.
    predicts_ratings: ClassVar[bool] = False
    # True for models that look at parts of the data at a time: what is mapped stays on the disk.
    _streams: ClassVar[bool] = False

    user_ids: ClassVar[IdMap]
    item_ids: ClassVar[IdMap]

    def __post_init__(self) -> None:
        check_integer("seed", self.seed, 0, 2**63 - 1)
        resolve_device(self.device)
        self._check()
        self._forget()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        saving.FAMILIES[cls.__name__] = cls

    def __repr__(self) -> str:
        changed = (f for f in fields(self) if getattr(self, f.name) != f.default)
        shown = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in changed)
        return f"{type(self).__name__}({shown})"

    @property
    def name(self) -> str:
        """The name of the model in tables and plots."""
        return type(self).__name__

    # ------------------------------------------------------------------ what a model fills in

    def _check(self) -> None:  # noqa: B027 - a model without hyper-parameters has nothing to check
        """Check the hyper-parameters; raise an error that names the bad one."""

    @abstractmethod
    def _fit(self, train: Interactions, valid: Interactions | None) -> None:
        """Learn. ``device_``, ``seen_`` and ``popularity_`` are already there."""

    @abstractmethod
    def _scores(self, users: Tensor) -> Tensor:
        """Score the whole catalogue for a batch of user indices, shape (b,) -> (b, n_items)."""

    def _scores_from(self, histories: Histories) -> Tensor:
        """Score the whole catalogue for people known only by their items -> (b, n_items)."""
        raise NotSupportedError(
            f"{self.name} cannot score a new user by their items: it has a learned vector per user. "
            "Models that can: ItemKNN, EASE, iALS, and all autoencoders."
        )

    def _item_vectors(self) -> Tensor:
        """Return a vector for every item, shape (n_items, d)."""
        raise NotSupportedError(f"{self.name} has no vectors to compare items by.")

    def _item_similarity(self, items: Tensor) -> Tensor:
        """Return similarities of a batch of items to the catalogue, (b,) -> (b, n_items): the cosine."""
        vectors = torch.nn.functional.normalize(self._item_vectors(), dim=1)
        # A vector of zeros has no direction: such an item is like no other.
        return (vectors[items] @ vectors.T).masked_fill_(~vectors.any(1), -torch.inf)

    @abstractmethod
    def _state(self) -> dict[str, Tensor]:
        """Return all that was learned, as named tensors."""

    @abstractmethod
    def _load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what :meth:`_state` gave; the tensors are on ``device_``."""

    # ------------------------------------------------------------------ fitting

    def fit(self, train: Interactions, valid: Interactions | None = None) -> Self:
        """Learn from interactions.

        Parameters
        ----------
        train : Interactions
            What the model may learn from.
        valid : Interactions, optional
            Held-out interactions over the same ids, for early stopping; never learned from.

        Returns
        -------
        self
        """
        return self._fit_or_forget(train, valid)

    def _fit_or_forget(self, train: Interactions, valid: Interactions | None, **options: Any) -> Self:
        started = time.perf_counter()
        self._check_data(train, valid)
        self.__post_init__()  # a parameter may have been changed since the model was made
        self._wear(train.user_ids, train.item_ids, train.histories(resolve_device(self.device)))
        try:
            self._fit(train, valid, **options)
        except BaseException:
            self._forget()  # no half-fitted model is left behind
            raise
        self.fit_seconds_: float = time.perf_counter() - started
        return self

    def _check_data(self, train: Interactions, valid: Interactions | None) -> None:
        check_data(self, train, valid)

    def _wear(self, user_ids: IdMap, item_ids: IdMap, seen: Histories) -> None:
        self.__dict__["user_ids"], self.__dict__["item_ids"] = user_ids, item_ids
        self.device_: torch.device = seen.device
        self.seen_: Histories = seen if self._streams else seen.wide()
        self.popularity_: Tensor = torch.bincount(seen.indices, minlength=seen.n_items).float()

    def _forget(self) -> None:
        for attribute in self.__dict__.keys() - {f.name for f in fields(self)}:
            del self.__dict__[attribute]

    @property
    def is_fitted(self) -> bool:
        """Whether :meth:`fit` has ended well or the model was loaded."""
        return "seen_" in self.__dict__

    @property
    def n_parameters(self) -> int:
        """How many numbers were learned: those in a saved model, without whole numbers such as ids."""
        self._need_fit()
        return sum(value.numel() for value in self._state().values() if value.is_floating_point())

    def _need_fit(self) -> None:
        if not self.is_fitted:
            raise NotFittedError(f"this {self.name} is not fitted yet. Call fit(train) first.")

    # ------------------------------------------------------------------ scoring

    @torch.no_grad()
    def score_users(self, users: Tensor) -> Tensor:
        """Score the catalogue for user *indices*, shape (b,) -> (b, n_items), on the model's device.

        The entry for evaluation code; :meth:`score` takes the user's own ids.
        """
        self._need_fit()
        users = check_indices("users", users, len(self.user_ids), 1).to(self.device_)
        empty = self.seen_.indptr[users] == self.seen_.indptr[users + 1]
        return self._popular_when_empty(self._scores(users), empty, self.popularity_)

    @torch.no_grad()
    def score_items(self, users: Tensor, items: Tensor) -> Tensor:
        """Score a few items for each user, by indices, shapes (b,) and (b, c) -> (b, c)."""
        self._need_fit()
        users = check_indices("users", users, len(self.user_ids), 1).to(self.device_)
        items = check_indices("items", items, len(self.item_ids), 2).to(self.device_)
        empty = self.seen_.indptr[users] == self.seen_.indptr[users + 1]
        return self._popular_when_empty(self._scores_of(users, items), empty, self.popularity_[items])

    def _scores_of(self, users: Tensor, items: Tensor) -> Tensor:
        return self._scores(users).gather(1, items)

    @torch.no_grad()
    def score_histories(self, histories: Histories) -> Tensor:
        """Score the catalogue for people known only by their item indices -> (b, n_items)."""
        self._need_fit()
        check_kind("histories", histories, Histories)
        if histories.n_items != len(self.item_ids):
            raise DataError(f"histories are over {histories.n_items} items, not {len(self.item_ids)}.")
        histories = histories.to(self.device_)
        scores = self._scores_from(histories)
        return self._popular_when_empty(scores, histories.lengths() == 0, self.popularity_)

    def _popular_when_empty(self, scores: Tensor, empty: Tensor, popularity: Tensor) -> Tensor:
        # A rating of an average user is a better guess than a count, so models of ratings go their own way.
        if self.predicts_ratings or not bool(empty.any()):
            return scores
        return torch.where(empty[:, None], popularity.to(scores.dtype), scores)

    def score(self, users: Any = None, items: Any = None) -> npt.NDArray[np.float32]:
        """Return scores, shape (n_users, n_items), for ids in the order given; all of them by default.

        Higher means better. Only :class:`BiasedMF` and its like give scores in units of ratings.
        """
        self._need_fit()
        rows = self._user_indices(users)
        scores = [self.score_users(batch) for batch in rows.split(max(1, 2**24 // len(self.item_ids)))]
        columns = slice(None) if items is None else self._item_indices(items)
        return torch.cat([part[:, columns] for part in scores]).float().cpu().numpy()

    def predict(self, users: Any, items: Any) -> npt.NDArray[np.float32]:
        """Return the scores of (user, item) pairs of ids, shape (n,) each -> (n,)."""
        self._need_fit()
        rows, columns = self._user_indices(users), self._item_indices(items)
        if rows.shape != columns.shape:
            raise ValueError(f"users and items must be equally long, got {len(rows)} and {len(columns)}.")
        return self._predict_pairs(rows, columns).float().cpu().numpy()

    @torch.no_grad()
    def _predict_pairs(self, users: Tensor, items: Tensor) -> Tensor:
        distinct, where = torch.unique(users, return_inverse=True)
        result, size = torch.empty(len(users), device=self.device_), max(1, 2**24 // len(self.item_ids))
        for start in range(0, len(distinct), size):
            mine = (where >= start) & (where < start + size)
            scores = self.score_users(distinct[start : start + size])
            result[mine] = scores[where[mine] - start, items[mine]].float()
        return result

    # ------------------------------------------------------------------ recommending

    def recommend(
        self, users: Any = None, k: int = 10, *, exclude_seen: bool = True, items: Any = None
    ) -> pd.DataFrame:
        """Recommend the best items to users.

        Parameters
        ----------
        users : list of ids, optional
            Whom to recommend to; everybody by default.
        k : int
            Items per user. Fewer come back when fewer are left.
        exclude_seen : bool
            Leave out the items that the user had in training.
        items : list of ids, optional
            Choose only among these.

        Returns
        -------
        DataFrame
            Columns ``user``, ``item``, ``rank`` (from 1) and ``score``, best first, in the user's own ids.

        Raises
        ------
        UnknownIdError
            If a user or item is not known. New people: :meth:`recommend_from_history`.
        """
        self._need_fit()
        check_integer("k", k, 1)
        rows = self._user_indices(users)
        ranked, scores = rank_catalogue(
            self.score_users,
            rows,
            min(k, len(self.item_ids)),
            exclude=self.seen_ if check_flag("exclude_seen", exclude_seen) else None,
            items=None if items is None else self._item_indices(items),
        )
        return self._ranked_frame("user", self.user_ids.take(rows.cpu().numpy()), "item", ranked, scores)

    def recommend_from_history(
        self, history: Any, k: int = 10, *, exclude_seen: bool = True, items: Any = None
    ) -> pd.DataFrame:
        """Recommend to people who were not in the training data, from the items they have met.

        Parameters
        ----------
        history : list of item ids, or list of such lists
            One person, or several.
        k, exclude_seen, items
            As in :meth:`recommend`.

        Returns
        -------
        DataFrame
            Columns ``user`` (0 for the first person), ``item``, ``rank`` and ``score``.
        """
        self._need_fit()
        check_integer("k", k, 1)
        histories = self._histories_of(as_lists(history))
        ranked, scores = rank_catalogue(
            lambda rows: self.score_histories(histories.select(rows)),
            torch.arange(len(histories), device=self.device_),
            min(k, len(self.item_ids)),
            exclude=histories if check_flag("exclude_seen", exclude_seen) else None,
            items=None if items is None else self._item_indices(items),
        )
        return self._ranked_frame("user", np.arange(len(histories)), "item", ranked, scores)

    def _histories_of(self, lists: list[list[Any]]) -> Histories:
        """Turn lists of item ids into tensors; all ids are looked up at once."""
        lengths = torch.tensor([len(one) for one in lists])
        items = torch.from_numpy(self.item_ids.indices(list(chain.from_iterable(lists))))
        rows = torch.repeat_interleave(torch.arange(len(lists)), lengths)
        return Histories.from_pairs(rows, items, len(lists), len(self.item_ids)).to(self.device_)

    @torch.no_grad()
    def similar_items(self, items: Any, k: int = 10) -> pd.DataFrame:
        """Find the items most like the given ones.

        Returns
        -------
        DataFrame
            Columns ``item``, ``similar``, ``rank`` (from 1) and ``score``.
        """
        self._need_fit()
        check_integer("k", k, 1)
        wanted = self._item_indices(items)
        itself = Histories(torch.arange(len(wanted) + 1, device=self.device_), wanted, len(self.item_ids))
        ranked, scores = rank_catalogue(
            lambda rows: self._item_similarity(wanted[rows]),
            torch.arange(len(wanted), device=self.device_),
            min(k, len(self.item_ids)),
            exclude=itself,
        )
        return self._ranked_frame("item", self.item_ids.take(wanted.cpu().numpy()), "similar", ranked, scores)

    @torch.no_grad()
    def item_vectors(self) -> pd.DataFrame:
        """Return the vectors that :meth:`similar_items` compares, a row for each item id, for other uses.

        Raises
        ------
        NotSupportedError
            If the model compares items by something else, or not at all.
        """
        self._need_fit()
        vectors = self._item_vectors().float().cpu().numpy()
        return pd.DataFrame(vectors, index=pd.Index(self.item_ids.ids, name="item"))

    def _ranked_frame(
        self, who: str, ids: npt.NDArray[Any], what: str, ranked: Tensor, scores: Tensor
    ) -> pd.DataFrame:
        rows, columns = np.nonzero(found := (ranked >= 0).cpu().numpy())
        return pd.DataFrame(
            {
                who: ids[rows],
                what: self.item_ids.take(ranked.cpu().numpy()[found]),
                "rank": columns + 1,
                "score": scores.float().cpu().numpy()[found],
            }
        )

    def _user_indices(self, users: Any) -> Tensor:
        if users is None:
            return torch.arange(len(self.user_ids), device=self.device_)
        return torch.from_numpy(self.user_ids.indices(users)).to(self.device_)

    def _item_indices(self, items: Any) -> Tensor:
        return torch.from_numpy(self.item_ids.indices(items)).to(self.device_)

    # ------------------------------------------------------------------ keeping

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file of tensors and JSON, atomically; of several ranks the first."""
        self._need_fit()
        saving.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str = "auto") -> Self:
        """Read a model that :meth:`save` wrote.

        Raises
        ------
        FileFormatError
            If the file is damaged, or holds something else or another kind of model.
        """
        return saving.load(path, device, cls)
