"""Matrix factorization that learns whole rows at once, with the losses and batches of the autoencoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recsys_lib._validation import check_choice, check_integer, check_number
from recsys_lib.models.history_nets import ACTIVATIONS, Factors
from recsys_lib.models.row_nets import FactorizationNet
from recsys_lib.models.rows import Batch, RowRecommender


@dataclass(kw_only=True, eq=False, repr=False)
class MatrixFactorization(RowRecommender):
    r"""A vector for every person and item, trained like an autoencoder: on all of a person's items at once.

    .. math:: s_{ui} = q_i^\top a(p_u) + c_i

    It differs from a :class:`DynamicAutoencoder` without hidden layers in one thing: the vector of a person
    is learned, and not worked out from their items. So a person's vector is changed once in an epoch, and new
    people have none. The second model of Moussawi's Recoder (2018); with ``decode="batch"`` a step touches
    the people and items of the batch alone.

    Parameters
    ----------
    factors : int
        Length of the vectors.
    activation : {"tanh", "relu", "sigmoid", "elu", "selu", "swish", "none"}
        The function :math:`a` on a person's vector.
    dropout : float
        Share of that vector that is dropped in training.
    loss, confidence, decode, sampling_users, batch_size
        See :class:`recsys_lib.models.rows.RowRecommender`.
    epochs, learning_rate, weight_decay, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    References
    ----------
    A. Moussawi (2018), "Towards large scale training of autoencoders for collaborative filtering", RecSys
    late-breaking results, arXiv:1809.00999.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> MatrixFactorization(factors=4).fit(x).recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    factors: int = 64
    activation: str = "none"
    dropout: float = 0.0
    epochs: int = 50
    learning_rate: float = 1e-2

    def _check(self) -> None:
        super()._check()
        check_integer("factors", self.factors, 1)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_number("dropout", self.dropout, 0, 1, open_high=True)

    def _build(self, n_users: int, n_items: int, generator: torch.Generator | None) -> FactorizationNet:
        return FactorizationNet(
            n_users,
            n_items,
            self.factors,
            activation=self.activation,
            dropout=self.dropout,
            sparse=self._sparse,
            generator=generator,
        )

    def _logits(self, net: Any, batch: Batch) -> Tensor:
        users, _, items = batch
        logits: Tensor = net(users, items)
        return logits

    def _factors(self, net: Any, batch: Batch) -> Factors:
        users, _, items = batch
        factors: Factors = net.factors(users, items)
        return factors

    def _scores(self, users: Tensor) -> Tensor:
        scores: Tensor = self.net_(users)
        return scores
