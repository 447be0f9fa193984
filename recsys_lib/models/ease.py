"""EASE: a linear item-to-item model with a solution in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_number
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models._bags import sum_rows
from recsys_lib.models._cooccurrence import co_counts, lost_in_rounding
from recsys_lib.models.base import Recommender


@dataclass(kw_only=True, eq=False, repr=False)
class EASE(Recommender):
    r"""Embarrassingly shallow autoencoder: ridge regression of every item on all the others.

    With the 0/1 matrix :math:`X` of users and items, the weights minimise

    .. math::
        \lVert X - X B \rVert_F^2 + \lambda \lVert B \rVert_F^2
        \quad\text{with}\quad \mathrm{diag}(B) = 0

    and the solution (equation 8 of Steck 2019) needs one inverse matrix:

    .. math:: P = (X^\top X + \lambda I)^{-1}, \qquad B_{ij} = -P_{ij} / P_{jj} \quad (i \neq j)

    The score of an item is :math:`s_{uj} = \sum_{i \in H_u} B_{ij}` over the history :math:`H_u`, so that
    the model can score people whom it never met. Ratings and times are not looked at.

    Parameters
    ----------
    l2 : float
        :math:`\lambda`, above 0. Good values grow with the number of users; a few hundred is a good start.

    Attributes
    ----------
    weights_ : Tensor of float32, shape (n_items, n_items)
        :math:`B`: row ``i`` holds what having item ``i`` says about all items.

    Raises
    ------
    DataError
        In ``fit``, if ``l2`` is so small that the matrix cannot be inverted in float32.

    Notes
    -----
    The time grows with the cube of the number of items, the memory with its square: 4 bytes for each entry
    of the weights, and twice that while fitting. Single precision is enough: on MovieLens-1M the weights
    differ from those in double precision by at most 1e-6 for ``l2=500``, and by 1e-4 for ``l2=0.1``.

    References
    ----------
    H. Steck (2019), "Embarrassingly shallow autoencoders for sparse data", WWW.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(
    ...     ["ann", "ann", "bob", "bob", "eve", "eve", "joe"],
    ...     ["tea", "jam", "tea", "jam", "nut", "oil", "tea"],
    ... )
    >>> EASE(l2=1.0).fit(x).recommend(["joe"], k=1)["item"].tolist()
    ['jam']
    """

    l2: float = 250.0

    def _check(self) -> None:
        check_number("l2", self.l2, 0, open_low=True)

    def _fit(self, train: Interactions, valid: Interactions | None) -> None:
        n_items = self.seen_.n_items
        if lost_in_rounding(self.l2, self.popularity_):
            raise DataError(self._too_small())
        gram = torch.empty(n_items, n_items)
        for start, block in co_counts(self.seen_):
            gram[start : start + len(block)] = block
        if self.device_.type == "cuda":  # other accelerators do not have all of the algebra
            gram = gram.to(self.device_)
        gram.diagonal().add_(self.l2)
        # Names are used again, so that never more than two matrices are alive.
        gram, failed = torch.linalg.cholesky_ex(gram)
        if bool(failed):
            raise DataError(self._too_small())
        # The inverse is symmetric and comes column by column; transposed, its rows lie in one piece.
        gram = torch.cholesky_inverse(gram).T
        gram /= -gram.diagonal()  # divides column j by entry j
        gram.fill_diagonal_(0.0)
        self.weights_: Tensor = gram.to(self.device_)

    def _too_small(self) -> str:
        return (
            f"l2={self.l2} is too small for this data: the matrix of the co-occurrences cannot be inverted. "
            "Use l2=1 or more; a few hundred is usual."
        )

    def _scores(self, users: Tensor) -> Tensor:
        return self._scores_from(self.seen_.select(users))

    def _scores_from(self, histories: Histories) -> Tensor:
        return sum_rows(self.weights_, histories)

    def _item_similarity(self, items: Tensor) -> Tensor:
        return self.weights_[items]

    def _state(self) -> dict[str, Tensor]:
        return {"weights": self.weights_}

    def _load_state(self, state: dict[str, Tensor]) -> None:
        n_items = self.seen_.n_items
        self.weights_ = check_tensor("weights", state["weights"], "float", n_items, n_items)
