"""Variational autoencoders: the bottleneck is a distribution, and training draws from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recsys_lib import losses
from recsys_lib._validation import check_choice, check_integer, check_number
from recsys_lib.interactions import Interactions
from recsys_lib.models.autoencoders import check_layers
from recsys_lib.models.history_nets import ACTIVATIONS, HistoryNet
from recsys_lib.models.rows import Batch, HistoryRecommender
from recsys_lib.models.variational_nets import VariationalNet, draw


@dataclass(kw_only=True, eq=False, repr=False)
class MultVAE(HistoryRecommender):
    r"""A variational autoencoder with the multinomial loss.

    .. math:: \min \frac 1 B \sum_u \Big[ -\sum_{i \in H_u} \log \operatorname{softmax}_i(s_u)
              + \beta\, \mathrm{KL}\big(N(\mu_u, \sigma_u^2) \,\|\, N(0, 1)\big) \Big]

    Parameters
    ----------
    layers : sequence of int
        Sizes of the encoder's layers before the bottleneck; the decoder mirrors them.
    factors : int
        Length of z, the bottleneck.
    activation : {"tanh", "relu", "sigmoid", "elu", "selu", "swish", "none"}
        After every layer of encoder and decoder but their last.
    noise : float
        Share of a person's items that is left out of the input in training.
    kl_weight : float
        :math:`\beta` at the end of its rise.
    anneal_epochs : int
        :math:`\beta` rises from 0 in a straight line for so many epochs; 0 has it at its height at once.
    loss, confidence, decode, sampling_users, batch_size
        See :class:`recsys_lib.models.rows.RowRecommender`.
    epochs, learning_rate, weight_decay, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    References
    ----------
    D. Liang, R. G. Krishnan, M. D. Hoffman and T. Jebara (2018), "Variational autoencoders for collaborative
    filtering", WWW.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> model = MultVAE(layers=[8], factors=4, epochs=100, learning_rate=0.02).fit(x)
    >>> model.recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    layers: tuple[int, ...] = (600,)
    factors: int = 200
    activation: str = "tanh"
    noise: float = 0.5
    kl_weight: float = 0.2
    anneal_epochs: int = 50
    epochs: int = 100

    def _check(self) -> None:
        super()._check()
        self.layers = check_layers("layers", self.layers)
        check_integer("factors", self.factors, 1)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_number("noise", self.noise, 0, 1, open_high=True)
        check_number("kl_weight", self.kl_weight, 0)
        check_integer("anneal_epochs", self.anneal_epochs, 0)

    def _build(self, n_users: int, n_items: int, generator: torch.Generator | None) -> HistoryNet:
        return VariationalNet(
            n_items,
            self.layers,
            self.factors,
            activation=self.activation,
            noise=self.noise,
            sparse=self._sparse,
            generator=generator,
        )

    def _prepare(self, train: Interactions) -> Tensor:
        users = super()._prepare(train)
        # A step of the rise, counted in batches: a checkpoint then goes on in the middle of it.
        self._rise = self.anneal_epochs * self._n_batches(len(users))
        return users

    def _loss(self, net: Any, batch: Batch) -> Tensor:
        _, histories, items = batch
        mean, log_variance = net.encode(histories, items)
        logits = net.decode(draw(mean, log_variance), items).float()
        share = (net.steps / self._rise).clamp(max=1) if self._rise else 1.0
        net.steps += 1
        kl = losses.gaussian_kl(mean.float(), log_variance.float())
        return self._compare(logits, histories) + self.kl_weight * share * kl
