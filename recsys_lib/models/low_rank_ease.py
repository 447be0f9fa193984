"""EASE for large catalogues: the principal axes of the items in place of an inverse matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_integer, check_number
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models._bags import sum_rows
from recsys_lib.models._cooccurrence import lost_in_rounding
from recsys_lib.models._least_squares import algebra_device
from recsys_lib.models.base import Recommender

# Axes that are found besides those that are kept: the last ones found are the least exact.
_MORE = 16


@dataclass(kw_only=True, eq=False, repr=False)
class LowRankEASE(Recommender):
    r"""EASE on the strongest axes of the data, which never makes a matrix of items by items.

    Let :math:`X^\top X \approx V \operatorname{diag}(\sigma^2) V^\top` with the ``factors`` largest
    :math:`\sigma`. With that in place of :math:`X^\top X`, the inverse matrix of :class:`EASE` is

    .. math:: P = \tfrac 1 \lambda \big(I - V D V^\top\big), \qquad
              D = \operatorname{diag} \frac{\sigma_k^2}{\sigma_k^2 + \lambda}

    by the formula of Woodbury, and the weights are :math:`B_{ij} = (V D V^\top)_{ij} / (1 - d_j)` for
    :math:`i \neq j`, where :math:`d_j = (V D V^\top)_{jj}`. So all that is kept is :math:`V`, and a score
    takes two thin products:

    .. math:: s_{uj} = \frac{(x_u V D V^\top)_j - x_{uj} d_j}{1 - d_j}

    With as many factors as items it is EASE.

    Parameters
    ----------
    factors : int
        Axes that are kept; all there are if the data has fewer.
    l2 : float
        :math:`\lambda`, above 0.
    iterations : int
        How often the axes are refined; each goes through the data twice.

    Attributes
    ----------
    axes_ : Tensor of float32, shape (n_items, d)
        :math:`V`.
    shares_ : Tensor of float32, shape (d,)
        The diagonal of :math:`D`, the largest first.

    Raises
    ------
    DataError
        In ``fit``, if ``l2`` is so small that adding it to a count in float32 changes nothing.

    References
    ----------
    H. Steck (2019), "Embarrassingly shallow autoencoders for sparse data", WWW.
    N. Halko, P.-G. Martinsson and J. A. Tropp (2011), "Finding structure with randomness", SIAM Review 53(2),
    algorithm 4.4.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(
    ...     ["ann", "ann", "bob", "bob", "eve", "eve", "joe"],
    ...     ["tea", "jam", "tea", "jam", "nut", "oil", "tea"],
    ... )
    >>> LowRankEASE(factors=2, l2=1.0).fit(x).recommend(["joe"], k=1)["item"].tolist()
    ['jam']
    """

    factors: int = 256
    l2: float = 250.0
    iterations: int = 4

    def _check(self) -> None:
        check_integer("factors", self.factors, 1)
        check_number("l2", self.l2, 0, open_low=True)
        check_integer("iterations", self.iterations, 1)

    def _fit(self, train: Interactions, valid: Interactions | None) -> None:
        if lost_in_rounding(self.l2, self.popularity_):
            raise DataError(f"l2={self.l2} is too small for this data. A few hundred is usual.")
        seen = self.seen_.to(algebra_device(self.device_))
        users_of_items, _ = seen.transposed()
        generator = torch.Generator().manual_seed(self.seed)
        # No more axes than there are users and items with interactions.
        most = min(int(one.lengths().count_nonzero()) for one in (seen, users_of_items))
        kept = min(int(self.factors), most)
        width = min(kept + _MORE, seen.n_items)
        basis = torch.randn(seen.n_items, width, generator=generator).to(seen.device)
        for _ in range(self.iterations):
            basis = torch.linalg.qr(sum_rows(sum_rows(basis, seen), users_of_items))[0]
        projected = sum_rows(basis, seen)
        squares, turn = torch.linalg.eigh((projected.T @ projected).double())
        # In ascending order.
        squares, turn = squares.flip(0)[:kept], turn.flip(1)[:, :kept]
        squares = squares.clamp(min=0)
        self.axes_: Tensor = (basis @ turn.float()).to(self.device_)
        self.shares_: Tensor = (squares / (squares + self.l2)).float().to(self.device_)

    # ------------------------------------------------------------------ scoring

    def _diagonal(self) -> Tensor:
        return (self.axes_.square() * self.shares_).sum(1)

    def _scores(self, users: Tensor) -> Tensor:
        return self._scores_from(self.seen_.select(users))

    def _scores_from(self, histories: Histories) -> Tensor:
        scores = (sum_rows(self.axes_, histories) * self.shares_) @ self.axes_.T
        diagonal = self._diagonal()
        rows, items = histories.pairs()
        scores[rows, items] -= diagonal[items]
        # An item that the axes give back wholly has nothing left to be explained by others.
        return scores / (1 - diagonal).clamp(min=1e-6)

    def _item_similarity(self, items: Tensor) -> Tensor:
        """Return the rows of the weights, as EASE does."""
        diagonal = self._diagonal()
        weights = (self.axes_[items] * self.shares_) @ self.axes_.T / (1 - diagonal).clamp(min=1e-6)
        return weights.scatter(1, items.unsqueeze(1), 0.0)

    # ------------------------------------------------------------------ keeping

    def _state(self) -> dict[str, Tensor]:
        return {"axes": self.axes_, "shares": self.shares_}

    def _load_state(self, state: dict[str, Tensor]) -> None:
        kept = min(len(state["shares"]), int(self.factors))
        self.axes_ = check_tensor("axes", state["axes"], "float", self.seen_.n_items, kept)
        self.shares_ = check_tensor("shares", state["shares"], "float", kept)
