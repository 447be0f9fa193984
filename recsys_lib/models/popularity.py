"""Popularity: the baseline that every other model has to beat."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models.base import Recommender


@dataclass(kw_only=True, eq=False, repr=False)
class Popularity(Recommender):
    """Score every item by the number of users who had it in training; the same list for everybody.

    It has no hyper-parameters, and it knows neither users nor similar items. Equally popular items are
    ranked by their index, as everywhere.

    Attributes
    ----------
    popularity_ : Tensor, shape (n_items,)
        The counts.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(["ann", "ann", "bob", "eve"], ["tea", "jam", "tea", "nut"])
    >>> Popularity().fit(x).recommend(["eve"], k=2)
      user item  rank  score
    0  eve  tea     1    2.0
    1  eve  jam     2    1.0
    """

    def _fit(self, train: Interactions, valid: Interactions | None) -> None:
        pass  # the counts of the base class are all there is to learn

    def _scores(self, users: Tensor) -> Tensor:
        return self.popularity_.repeat(len(users), 1)  # no view: the scores are the caller's to change

    def _scores_from(self, histories: Histories) -> Tensor:
        return self.popularity_.repeat(len(histories), 1)

    def _state(self) -> dict[str, Tensor]:
        return {}

    def _load_state(self, state: dict[str, Tensor]) -> None:
        pass  # the counts come from the training items, which every file holds
