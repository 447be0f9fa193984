"""Variational autoencoders: the bottleneck is a distribution, and training draws from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from recsys_lib import losses
from recsys_lib._validation import check_choice, check_integer, check_number
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models._bags import sum_rows
from recsys_lib.models.autoencoders import HistoryRecommender, check_layers
from recsys_lib.models.history_nets import (
    ACTIVATIONS,
    HistoryNet,
    ItemTable,
    dense_layer,
    input_weights,
    xavier_table,
)
from recsys_lib.models.rows import Batch


class VariationalNet(HistoryNet):
    r"""An encoder to the mean and variance of a normal distribution, and a decoder from a draw of it.

    .. math:: \mu_u, \log \sigma_u^2 = f(x_u), \qquad z_u \sim N(\mu_u, \sigma_u^2), \qquad s_u = g(z_u)

    Outside of training :math:`z_u = \mu_u`. The Mult-VAE of Liang et al. (2018), section 2.

    Parameters
    ----------
    n_items : int
    widths : sequence of int
        Sizes of the encoder's layers before the bottleneck; the decoder mirrors them. At least one.
    factors : int
        Length of z.
    activation : str
        A name in ``ACTIVATIONS``, after every layer of both but their last.
    noise : float
        Share of the items that is left out of the input in training.
    sparse : bool
        See :class:`recsys_lib.models.history_nets.ItemTable`.
    generator : torch.Generator, optional
        Draws the weights.

    Attributes
    ----------
    steps : Tensor of int64
        How many batches the net was trained on, for the annealing of the KL term.
    """

    steps: Tensor

    def __init__(
        self,
        n_items: int,
        widths: tuple[int, ...],
        factors: int,
        *,
        activation: str = "tanh",
        noise: float = 0.5,
        sparse: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.activation, self.noise = ACTIVATIONS[activation], noise
        self.encoder = ItemTable(xavier_table(n_items, widths[0], generator), sparse=sparse)
        self.encoder_bias = nn.Parameter(torch.zeros(widths[0]))
        self.encoding = _layers([*widths, 2 * factors], generator)
        self.decoding = _layers([factors, *reversed(widths)], generator)
        self.decoder = ItemTable(xavier_table(n_items, widths[0], generator), sparse=sparse)
        self.output_bias = ItemTable(torch.zeros(n_items), sparse=sparse)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def encode(self, histories: Histories, items: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance, b lists -> (b, d) and (b, d)."""
        weights = input_weights(histories, normalise=True, noise=self.noise if self.training else 0.0)
        z = sum_rows(self.encoder(items), histories, weights) + self.encoder_bias
        for layer in self.encoding:
            z = layer(self.activation(z))
        mean, log_variance = z.chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor, items: Tensor | None = None) -> Tensor:
        """Score items, (b, d) -> (b, m)."""
        for layer in self.decoding:
            z = self.activation(layer(z))
        return torch.addmm(self.output_bias(items), z, self.decoder(items).T)

    def forward(self, histories: Histories, items: Tensor | None = None) -> Tensor:
        """Score items, b lists over m items -> (b, m)."""
        mean, log_variance = self.encode(histories, items)
        return self.decode(draw(mean, log_variance) if self.training else mean, items)

    def item_vectors(self) -> Tensor:
        """Return the vectors with which items are decoded, shape (n_items, d)."""
        return self.decoder.weight


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

    def _build(self, n_users: int, n_items: int, generator: torch.Generator) -> HistoryNet:
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


def draw(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Draw from normal distributions so that the gradient reaches both (Kingma and Welling 2014)."""
    return mean + torch.randn_like(mean) * (0.5 * log_variance).exp()


def _layers(sizes: Sequence[int], generator: torch.Generator | None) -> nn.ModuleList:
    return nn.ModuleList(dense_layer(a, b, generator) for a, b in pairwise(sizes))
