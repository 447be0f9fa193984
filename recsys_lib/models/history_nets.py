"""Networks from the list of a person's items to a score for every item: plain modules that return logits.

They take histories over all items, or over those that occur in a batch; then only these are read, computed
and trained. So the cost of a step grows with the items of the batch and not with the catalogue.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu

from recsys_lib import _shards
from recsys_lib.histories import Histories
from recsys_lib.models._bags import sum_rows
from recsys_lib.models._batch_norm import BatchNorm
from recsys_lib.models._dropout import dropout
from recsys_lib.models._linear import Linear
from recsys_lib.sparse_rows import take_rows

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "elu": nn.functional.elu,
    "selu": nn.functional.selu,
    "swish": silu,
    "none": lambda z: z,
}

# Vectors of people, vectors of items, and biases of items: the scores are the products plus the biases.
Factors = tuple[Tensor, Tensor, Tensor]

# A logit below all others, which after long training can be a good deal lower than -30.
_LAST = -10_000.0


class ItemTable(nn.Module):
    """A vector for each item, which can be asked for some items alone.

    Parameters
    ----------
    values : Tensor of float, shape (n_items, d) or (n_items,)
        What the table holds at the start.
    sparse : bool
        When asked for some items, give a gradient for these only, as :class:`recsys_lib.sparse_rows.LazyAdam`
        takes it.
    cut : Cut, optional
        Which rows of the table ``values`` are, if several processes divide it: ``recsys_lib._shards``.
    """

    def __init__(self, values: Tensor, *, sparse: bool = False, cut: _shards.Cut | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(values)
        self.sparse, self.cut, self.cuts = sparse, cut, {"weight": cut}

    def columns(self, items: Tensor | None) -> slice | None:
        """Tell which of some items, ascending, or of all, this process holds; None if the table is whole."""
        return None if self.cut is None else _shards.columns_of(self.cut, items)

    def forward(self, items: Tensor | None = None) -> Tensor:
        """Return the rows of some different items, ascending, or of all, that are here -> (m, d)."""
        if items is None:
            return self.weight
        if self.cut is not None:
            items = items[self.columns(items)] - self.cut.rows.start
        return take_rows(self.weight, items) if self.sparse else self.weight.index_select(0, items)

    def sums(self, histories: Histories, items: Tensor | None, weights: Tensor | None = None) -> Tensor:
        """Add up the rows of each history, b lists over some different items, ascending, or all -> (b, d)."""
        columns = self.columns(items)
        if columns is not None:
            return sum_rows(self(items), _shards.narrowed(histories, columns), weights)
        if items is None or not self.sparse:
            return sum_rows(self(items), histories, weights)
        return sum_rows(self.weight, histories, weights, items)


class HistoryNet(nn.Module, ABC):
    """A network that scores items for people known by their items. It returns logits."""

    @abstractmethod
    def forward(self, histories: Histories, items: Tensor | None = None) -> Tensor:
        """Score items, b lists over m items -> (b, m).

        Parameters
        ----------
        histories : Histories
            Over the catalogue; or, with ``items``, over these: number 0 is the first of them.
        items : Tensor of int64, shape (m,), optional
            Ascending.
        """

    @abstractmethod
    def item_vectors(self) -> Tensor:
        """Return a vector for every item, shape (n_items, d)."""


class AutoencoderNet(HistoryNet):
    r"""An encoder of any number of layers, and its mirror image as decoder.

    .. math:: z_1 = a(W_1^\top x_u + b_1), \quad \ldots, \quad s_u = V z_{2L-1} + c

    where :math:`x_u` has an entry for each item of the person, 1 or :math:`1 / \sqrt{|H_u|}`, and the rows of
    :math:`W_1` and :math:`V` are vectors of items. The dynamic autoencoder of Moussawi (2018), and with noise
    and the multinomial loss the Mult-DAE of Liang et al. (2018).

    Parameters
    ----------
    n_items : int
    widths : sequence of int
        Sizes of the encoder's layers, the last of which is the bottleneck. At least one.
    activation : str
        A name in ``ACTIVATIONS``, after every layer but the last.
    tied : bool
        Decode with the transposed weights of the encoder; only the biases are the decoder's own.
    normalise : bool
        Divide the input by the root of the number of items.
    noise : float
        Share of the items that is left out of the input in training.
    dropout : float
        Share of the bottleneck that is dropped in training.
    sparse : bool
        See :class:`ItemTable`.
    generator : torch.Generator, optional
        Draws the weights.
    """

    def __init__(
        self,
        n_items: int,
        widths: Sequence[int],
        *,
        activation: str = "tanh",
        tied: bool = False,
        normalise: bool = True,
        noise: float = 0.0,
        dropout: float = 0.0,
        sparse: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.activation, self.tied, self.normalise = ACTIVATIONS[activation], tied, normalise
        self.noise, self.dropout = noise, dropout
        back = list(reversed(widths))
        self.encoder = ItemTable(xavier_table(n_items, widths[0], generator), sparse=sparse)
        self.encoder_bias = nn.Parameter(torch.zeros(widths[0]))
        self.encoding = nn.ModuleList(dense_layer(a, b, generator) for a, b in pairwise(widths))
        self.decoder = None if tied else ItemTable(xavier_table(n_items, back[-1], generator), sparse=sparse)
        self.decoding = None
        if not tied:
            self.decoding = nn.ModuleList(dense_layer(a, b, generator) for a, b in pairwise(back))
        self.decoding_bias = nn.ParameterList(torch.zeros(b) for b in back[1:]) if tied else None
        self.output_bias = ItemTable(torch.zeros(n_items), sparse=sparse)

    def forward(self, histories: Histories, items: Tensor | None = None) -> Tensor:
        """Score items, b lists over m items -> (b, m)."""
        z, table, bias = self.factors(histories, items)
        return torch.addmm(bias, z, table.T)

    def factors(self, histories: Histories, items: Tensor | None = None) -> Factors:
        """Return what the scores are a product of: (b, d), (m, d) and the biases, (m,)."""
        # A table that serves twice is looked up once, so that its two gradients are added as they are.
        table = self.encoder(items) if self.decoder is None else None
        z = self.up(self.encode(histories, items, table))
        if self.decoder is not None:
            table = self.decoder(items)
        assert table is not None
        return z, table, self.output_bias(items)

    def encode(
        self, histories: Histories, items: Tensor | None = None, table: Tensor | None = None
    ) -> Tensor:
        """Go down to the bottleneck, b lists over m items -> (b, d); ``table``: the rows of these items."""
        weights = input_weights(histories, self.normalise, self.noise if self.training else 0.0)
        if table is None:
            z = self.encoder.sums(histories, items, weights)
        else:
            z = sum_rows(table, histories, weights)
        z = self.activation(z + self.encoder_bias)
        for layer in self.encoding:
            z = self.activation(layer(z))
        return dropout(z, self.dropout, self.training)

    def decode(self, z: Tensor, items: Tensor | None = None) -> Tensor:
        """Score items from the bottleneck, (b, d) -> (b, m)."""
        table = (self.encoder if self.decoder is None else self.decoder)(items)
        return torch.addmm(self.output_bias(items), self.up(z), table.T)

    def up(self, z: Tensor) -> Tensor:
        """Go up from the bottleneck through all layers but the last, (b, d) -> (b, width)."""
        if self.decoding is not None:
            for layer in self.decoding:
                z = self.activation(layer(z))
        else:
            assert self.decoding_bias is not None
            for layer, bias in zip(reversed(self.encoding), self.decoding_bias, strict=True):
                assert isinstance(layer, nn.Linear)
                z = self.activation(linear(z, layer.weight.T, bias))
        return z

    def item_vectors(self) -> Tensor:
        """Return the vectors with which items are decoded, shape (n_items, d)."""
        return self.encoder.weight if self.decoder is None else self.decoder.weight


class BottleneckNet(HistoryNet):
    r"""Summed vectors of items, a narrow layer, and a logit for each item, with batch normalisation between.

    .. math::
        z_1 = D\big(N(\mathrm{ReLU}(W_1^\top x_u + b_1))\big), \quad
        z_2 = D\big(N(\mathrm{ReLU}(W_2 z_1 + b_2))\big), \quad s_u = V z_2 + c

    with batch normalisation :math:`N` and dropout :math:`D`. The network of the recommendation task of
    prog-eval (2019).

    Parameters
    ----------
    n_items : int
    widths : pair of int
        Sizes of the two layers.
    dropout : float
        Share of both that is dropped in training.
    output_bias : float
        Where :math:`c` starts: far below zero, since nearly all items are ones that a person does not have.
    sparse : bool
        See :class:`ItemTable`.
    generator : torch.Generator, optional
        Draws the weights.
    """

    def __init__(
        self,
        n_items: int,
        widths: tuple[int, int] = (800, 400),
        *,
        dropout: float = 0.5,
        output_bias: float = -10.0,
        sparse: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        first, second = widths
        cut = _shards.cut(n_items)
        drawn = _shards.draw(n_items, lambda rows: torch.randn(rows, first, generator=generator).mul_(0.01))
        self.encoder = ItemTable(drawn, sparse=sparse, cut=cut)
        self.encoder_bias = nn.Parameter(torch.zeros(first))
        self.norm = nn.ModuleList([BatchNorm(first), BatchNorm(second)])
        self.middle = Linear(first, second)
        with torch.no_grad():
            for parameter in self.middle.parameters():
                parameter.copy_(_uniform(tuple(parameter.shape), first, generator))
        drawn = _shards.draw(n_items, lambda rows: _uniform((rows, second), second, generator))
        self.decoder = ItemTable(drawn, sparse=sparse, cut=cut)
        self.output_bias = ItemTable(torch.full((len(drawn),), output_bias), sparse=sparse, cut=cut)
        self.dropout = dropout

    def forward(self, histories: Histories, items: Tensor | None = None) -> Tensor:
        """Score items, b lists over m items -> (b, m).

        In training with divided tables every process is given the whole batch. It adds up the vectors that it
        has, goes on with its part of the people, and scores for all people the items that it has.
        """
        cut = self.encoder.cut
        z = self.encoder.sums(histories, items)
        if cut is not None:
            z = _shards.add_up(z, cut, deal=self.training)
        z = z + self.encoder_bias
        z = dropout(self.norm[0](z.relu()), self.dropout, self.training)
        z = dropout(self.norm[1](self.middle(z).relu()), self.dropout, self.training)
        if cut is not None and self.training:
            z = _shards.collect(z, len(histories))
        scores = torch.addmm(self.output_bias(items), z, self.decoder(items).T)
        return scores if cut is None or self.training else _shards.join_columns(scores, cut)

    def item_vectors(self) -> Tensor:
        """Return the vectors with which items are decoded, shape (n_items, d)."""
        return self.decoder.weight


@torch.no_grad()
def silence(net: nn.Module, items: Tensor) -> None:
    """Give items that will never be in a batch no vector, and a logit that puts them last.

    They would keep the random numbers of the start, and rank above items that were trained down.

    Parameters
    ----------
    net : nn.Module
        With :class:`ItemTable` modules.
    items : Tensor of bool, shape (n_items,)
    """
    for module in net.modules():
        if isinstance(module, ItemTable):
            mine = items if module.cut is None else items[module.cut.rows]
            module.weight[mine] = 0.0 if module.weight.ndim > 1 else _LAST


def input_weights(histories: Histories, normalise: bool, noise: float) -> Tensor | None:
    """Return the weights of a batch's entries, shape (n_entries,), or None if all are 1.

    Noise sets a share of them to 0 and makes the others larger, as dropout does.
    """
    weights = None
    if normalise:
        lengths = histories.lengths()
        weights = torch.repeat_interleave(
            lengths.clamp(min=1).float().rsqrt(), lengths, output_size=len(histories.indices)
        )
    if noise:
        if weights is None:
            weights = torch.ones(len(histories.indices), device=histories.device)
        weights = dropout(weights, noise, training=True)
    return weights


def xavier_table(rows: int, columns: int, generator: torch.Generator | None) -> Tensor:
    """Draw a table, (rows, columns), as Glorot and Bengio (2010) do."""
    return nn.init.xavier_uniform_(torch.empty(rows, columns), generator=generator)


def _uniform(shape: tuple[int, ...], fan_in: int, generator: torch.Generator | None) -> Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) / fan_in**0.5


def dense_layer(before: int, after: int, generator: torch.Generator | None) -> nn.Linear:
    """Make a layer as Glorot and Bengio (2010) do, with a bias of zeros."""
    layer = Linear(before, after)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
