"""RecVAE: a variational autoencoder whose prior remembers the encoder of the last epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from recsys_lib._validation import check_integer, check_number
from recsys_lib.histories import Histories
from recsys_lib.models._bags import sum_rows
from recsys_lib.models.autoencoders import HistoryRecommender
from recsys_lib.models.history_nets import HistoryNet, ItemTable, dense_layer, input_weights, xavier_table
from recsys_lib.models.variational import draw

# Shares in the prior of the standard normal, of the last encoder, and of a wide normal; and how wide that is.
_LOG_SHARES = tuple(math.log(share) for share in (3 / 20, 3 / 4, 1 / 10))
_WIDE_LOG_VARIANCE = 10.0


class RecVAEEncoder(nn.Module):
    r"""Five layers, each of which is given the sum of all before it.

    .. math:: h_1 = L\big(a(W_1^\top x_u + b_1)\big), \qquad
              h_k = L\big(a(W_k h_{k-1} + b_k + h_1 + \ldots + h_{k-1})\big)

    with the swish activation :math:`a` and layer normalisation :math:`L`.

    Parameters
    ----------
    n_items, width, factors, sparse, generator
        See :class:`recsys_lib.models.recvae.RecVAENet`.
    """

    def __init__(
        self, n_items: int, width: int, factors: int, sparse: bool, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        self.table = ItemTable(xavier_table(n_items, width, generator), sparse=sparse)
        self.bias = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(dense_layer(width, width, generator) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=0.1) for _ in range(5))
        self.output = dense_layer(width, 2 * factors, generator)

    def forward(self, histories: Histories, items: Tensor | None, noise: float) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance, b lists -> (b, factors) and (b, factors)."""
        weights = input_weights(histories, normalise=True, noise=noise)
        h = self.norms[0](silu(sum_rows(self.table(items), histories, weights) + self.bias))
        total = h
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            h = norm(silu(layer(h) + total))
            total = total + h
        mean, log_variance = self.output(h).chunk(2, dim=1)
        return mean, log_variance


class RecVAENet(HistoryNet):
    """The encoder, a copy of what it was before this epoch, and a linear decoder.

    Parameters
    ----------
    n_items : int
    width : int
        Size of the encoder's layers.
    factors : int
        Length of z.
    sparse : bool
        See :class:`recsys_lib.models.history_nets.ItemTable`.
    generator : torch.Generator, optional
        Draws the weights.
    """

    def __init__(
        self,
        n_items: int,
        width: int,
        factors: int,
        *,
        sparse: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.encoder = RecVAEEncoder(n_items, width, factors, sparse, generator)
        self.last_encoder = copy.deepcopy(self.encoder).requires_grad_(False)
        self.decoder = ItemTable(xavier_table(n_items, factors, generator), sparse=sparse)
        self.output_bias = ItemTable(torch.zeros(n_items), sparse=sparse)

    def decode(self, z: Tensor, items: Tensor | None = None, *, frozen: bool = False) -> Tensor:
        """Score items, (b, d) -> (b, m); if frozen, without a gradient for the decoder."""
        bias, table = self.output_bias(items), self.decoder(items)
        if frozen:
            bias, table = bias.detach(), table.detach()
        return torch.addmm(bias, z, table.T)

    def forward(self, histories: Histories, items: Tensor | None = None) -> Tensor:
        """Score items, b lists over m items -> (b, m)."""
        return self.decode(self.encoder(histories, items, 0.0)[0], items)

    def log_prior(self, z: Tensor, histories: Histories, items: Tensor | None = None) -> Tensor:
        """Return the log-density of each entry of z, (b, d) -> (b, d), in the mixture for these people."""
        with torch.no_grad():
            mean, log_variance = self.last_encoder(histories, items, 0.0)
        zero = torch.zeros_like(z)
        parts = (zero, zero), (mean, log_variance), (zero, zero + _WIDE_LOG_VARIANCE)
        densities = [log_normal(z, *part) + share for part, share in zip(parts, _LOG_SHARES, strict=True)]
        return torch.stack(densities).logsumexp(0)

    @torch.no_grad()
    def remember(self) -> None:
        """Make the encoder as it is now the one in the prior."""
        self.last_encoder.load_state_dict(self.encoder.state_dict())

    def item_vectors(self) -> Tensor:
        """Return the vectors with which items are decoded, shape (n_items, d)."""
        return self.decoder.weight


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log-density of normal distributions, entry by entry."""
    distance = (z - mean).square() / log_variance.exp()
    return -0.5 * (log_variance + math.log(2 * math.pi) + distance)


@dataclass(kw_only=True, eq=False, repr=False)
class RecVAE(HistoryRecommender):
    r"""A variational autoencoder with a composite prior, whose two halves are trained in turn.

    Encoder: :math:`\min \frac 1 B \sum_u \big[ -\sum_{i \in H_u} \log \operatorname{softmax}_i(s_u)
    + \gamma |H_u| \, (\log q(z_u | x_u) - \log p(z_u)) \big]`, where the prior :math:`p` is a mixture of the
    standard normal, of the encoder as it was in the last epoch, and of a wide normal. Decoder: the first term
    alone, without noise in the input.

    Parameters
    ----------
    width : int
        Size of the encoder's layers.
    factors : int
        Length of z, the bottleneck.
    noise : float
        Share of a person's items that is left out of the input when the encoder is trained.
    kl_weight : float
        :math:`\gamma`: weight of the second term for each item of a person.
    encoder_passes : int
        In an epoch the encoder is trained on all people so many times, and the decoder once.
    loss, confidence, decode, sampling_users, batch_size
        See :class:`recsys_lib.models.rows.RowRecommender`.
    epochs, learning_rate, weight_decay, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    References
    ----------
    I. Shenbin, A. Alekseev, E. Tutubalina, V. Malykh and S. I. Nikolenko (2020), "RecVAE: a new variational
    autoencoder for top-N recommendations with implicit feedback", WSDM.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> model = RecVAE(width=16, factors=4, epochs=50, learning_rate=0.01).fit(x)
    >>> model.recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    width: int = 600
    factors: int = 200
    noise: float = 0.5
    kl_weight: float = 0.005
    encoder_passes: int = 3
    epochs: int = 50
    learning_rate: float = 5e-4

    def _check(self) -> None:
        super()._check()
        check_integer("width", self.width, 1)
        check_integer("factors", self.factors, 1)
        check_number("noise", self.noise, 0, 1, open_high=True)
        check_number("kl_weight", self.kl_weight, 0)
        check_integer("encoder_passes", self.encoder_passes, 1)

    def _build(self, n_users: int, n_items: int, generator: torch.Generator) -> HistoryNet:
        return RecVAENet(n_items, self.width, self.factors, sparse=self._sparse, generator=generator)

    def _batches(self, data: Tensor, generator: torch.Generator) -> Iterator[Any]:
        for _ in range(self.encoder_passes):
            for batch in super()._batches(data, generator):
                yield True, batch
        self.net_.remember()
        for batch in super()._batches(data, generator):
            yield False, batch

    def _loss(self, net: Any, batch: Any) -> Tensor:
        trains_encoder, (_, histories, items) = batch
        with torch.set_grad_enabled(trains_encoder):
            mean, log_variance = net.encoder(histories, items, self.noise if trains_encoder else 0.0)
            z = draw(mean, log_variance)
        value = self._compare(net.decode(z, items, frozen=trains_encoder).float(), histories)
        if not trains_encoder:
            return value
        kl = log_normal(z, mean, log_variance) - net.log_prior(z, histories, items)
        return value + self.kl_weight * (histories.lengths() * kl.sum(1).float()).mean()
