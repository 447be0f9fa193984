"""Networks whose bottleneck is a distribution, from which training draws: those of Mult-VAE and RecVAE."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from recsys_lib.histories import Histories
from recsys_lib.models.history_nets import (
    ACTIVATIONS,
    HistoryNet,
    ItemTable,
    dense_layer,
    input_weights,
    xavier_table,
)

# Shares in the prior of the standard normal, of the last encoder, and of a wide normal; and how wide that is.
_LOG_SHARES = tuple(math.log(share) for share in (3 / 20, 3 / 4, 1 / 10))
_WIDE_LOG_VARIANCE = 10.0


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
        z = self.encoder.sums(histories, items, weights) + self.encoder_bias
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


class RecVAEEncoder(nn.Module):
    r"""Five layers, each of which is given the sum of all before it.

    .. math:: h_1 = L\big(a(W_1^\top x_u + b_1)\big), \qquad
              h_k = L\big(a(W_k h_{k-1} + b_k + h_1 + \ldots + h_{k-1})\big)

    with the swish activation :math:`a` and layer normalisation :math:`L`.

    Parameters
    ----------
    n_items, width, factors, sparse, generator
        See :class:`recsys_lib.models.variational_nets.RecVAENet`.
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
        h = self.norms[0](silu(self.table.sums(histories, items, weights) + self.bias))
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

    # Steps for the encoder and steps for the decoder: see recsys_lib.training.train.
    trained_in_turns = True

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


def draw(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Draw from normal distributions so that the gradient reaches both (Kingma and Welling 2014)."""
    return mean + torch.randn_like(mean) * (0.5 * log_variance).exp()


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log-density of normal distributions, entry by entry."""
    distance = (z - mean).square() / log_variance.exp()
    return -0.5 * (log_variance + math.log(2 * math.pi) + distance)


def _layers(sizes: Sequence[int], generator: torch.Generator | None) -> nn.ModuleList:
    return nn.ModuleList(dense_layer(a, b, generator) for a, b in pairwise(sizes))
