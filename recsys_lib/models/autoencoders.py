"""Autoencoders for implicit feedback: from a person's items, through a bottleneck, to all scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recsys_lib import _shards, distributed
from recsys_lib._validation import check_choice, check_flag, check_integer, check_number
from recsys_lib.errors import NotSupportedError
from recsys_lib.models.history_nets import (
    ACTIVATIONS,
    AutoencoderNet,
    BottleneckNet,
    Factors,
    HistoryNet,
)
from recsys_lib.models.rows import Batch, HistoryRecommender


@dataclass(kw_only=True, eq=False, repr=False)
class DynamicAutoencoder(HistoryRecommender):
    r"""An autoencoder of any depth, which can be trained on the items of a batch alone.

    With ``decode="batch"`` a step reads, computes and updates only the items that somebody in the batch has:
    the others neither occur in the input nor are they decoded. Moussawi's Recoder (2018).

    Parameters
    ----------
    layers : sequence of int
        Sizes of the encoder's layers; the decoder mirrors them.
    activation : {"tanh", "relu", "sigmoid", "elu", "selu", "swish", "none"}
        After every layer but the last.
    tied : bool
        Decode with the transposed weights of the encoder.
    normalise : bool
        Divide the input by the root of the number of items.
    noise : float
        Share of a person's items that is left out of the input in training.
    dropout : float
        Share of the bottleneck that is dropped in training.
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
    >>> model = DynamicAutoencoder(layers=[8], epochs=100, learning_rate=0.02).fit(x)
    >>> model.recommend(["f"], k=1)["item"].tolist()
    ['j']
    >>> model.recommend_from_history(["o"], k=1)["item"].tolist()
    ['n']
    """

    layers: tuple[int, ...] = (200,)
    activation: str = "tanh"
    tied: bool = False
    normalise: bool = True
    noise: float = 0.5
    dropout: float = 0.0

    def _check(self) -> None:
        super()._check()
        self.layers = check_layers("layers", self.layers)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        for name in ("tied", "normalise"):
            check_flag(name, getattr(self, name))
        for name in ("noise", "dropout"):
            check_number(name, getattr(self, name), 0, 1, open_high=True)

    def _build(self, n_users: int, n_items: int, generator: torch.Generator | None) -> HistoryNet:
        return AutoencoderNet(
            n_items,
            self.layers,
            activation=self.activation,
            tied=self.tied,
            normalise=self.normalise,
            noise=self.noise,
            dropout=self.dropout,
            sparse=self._sparse,
            generator=generator,
        )

    def _factors(self, net: Any, batch: Batch) -> Factors:
        factors: Factors = net.factors(*batch[1:])
        return factors


@dataclass(kw_only=True, eq=False, repr=False)
class MultDAE(DynamicAutoencoder):
    """A denoising autoencoder with the multinomial loss: half of a person's items have to give back all.

    A :class:`DynamicAutoencoder` with the settings of Liang et al. (2018).

    Parameters
    ----------
    layers, activation, tied, normalise, noise, dropout
        See :class:`recsys_lib.models.DynamicAutoencoder`.
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
    >>> model = MultDAE(layers=[8], epochs=100, learning_rate=0.02).fit(x)
    >>> model.recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    layers: tuple[int, ...] = (600, 200)
    epochs: int = 50


@dataclass(kw_only=True, eq=False, repr=False)
class BottleneckAutoencoder(HistoryRecommender):
    r"""Summed vectors of items, a narrow layer, and a probability for each item.

    .. math::
        z_1 = D\big(N(\mathrm{ReLU}(W_1^\top x_u + b_1))\big), \quad
        z_2 = D\big(N(\mathrm{ReLU}(W_2 z_1 + b_2))\big), \quad
        P(\text{user } u \text{ has item } i) = \sigma(v_i^\top z_2 + c_i)

    with batch normalisation :math:`N` and dropout :math:`D`. The network of the recommendation task of
    prog-eval (2019), and with its settings: Adam at 0.01, batches of 256 people, binary cross-entropy, and
    one single epoch.

    Parameters
    ----------
    layers : pair of int
        Sizes of the two layers.
    dropout : float
        Share of both that is dropped in training.
    output_bias : float
        Where :math:`c` starts.
    loss, confidence, decode, sampling_users, batch_size
        See :class:`recsys_lib.models.rows.RowRecommender`. The loss is divided by the number of items that
        are decoded, and batches have at least two people, as batch normalisation needs them.
    epochs, learning_rate, weight_decay, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    References
    ----------
    prog-eval (2019), the task "recsys" of the programme evaluation of DARPA SDH; the network is that of
    B. Johnson's "rec-benchmarks".

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> model = BottleneckAutoencoder(layers=[16, 8], epochs=60).fit(x)
    >>> model.recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    layers: tuple[int, ...] = (800, 400)
    dropout: float = 0.5
    output_bias: float = -10.0
    loss: str = "logistic"
    epochs: int = 1
    learning_rate: float = 0.01

    _fewest = 2

    def _check(self) -> None:
        super()._check()
        self.layers = check_layers("layers", self.layers)
        if len(self.layers) != 2:
            raise ValueError(f"layers must be two sizes, such as (800, 400), got {self.layers}.")
        check_number("dropout", self.dropout, 0, 1, open_high=True)
        check_number("output_bias", self.output_bias, -1000, 1000)
        check_integer("batch_size", self.batch_size, 2)

    def _build(self, n_users: int, n_items: int, generator: torch.Generator | None) -> HistoryNet:
        return BottleneckNet(
            n_items,
            (self.layers[0], self.layers[1]),
            dropout=self.dropout,
            output_bias=self.output_bias,
            sparse=self._sparse,
            generator=generator,
        )

    def _check_shards(self) -> None:
        if self.loss == "multinomial":
            raise NotSupportedError(
                "loss='multinomial' needs all scores of a person in one place, and shard_tables=True divides "
                "them. Take loss='logistic' or 'mse'."
            )

    def _loss(self, net: Any, batch: Batch) -> Tensor:
        _, histories, items = batch
        columns, logits = net.encoder.columns(items), self._logits(net, batch).float()
        if columns is None:
            return self._compare(logits, histories) / histories.n_items
        # The loss of this process's items, for the whole batch. The mean over processes is to be the sum.
        value = self._compare(logits, _shards.narrowed(histories, columns)) * distributed.world_size()
        return value / histories.n_items


def check_layers(name: str, layers: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of layers as a tuple of whole numbers, at least one of them."""
    if isinstance(layers, str | bytes) or not isinstance(layers, Sequence):
        raise TypeError(f"{name} must be a list of sizes, such as [600, 200], got {layers!r}.")
    if not layers:
        raise ValueError(f"{name} must name at least one size, such as [200], got none.")
    return tuple(check_integer(name, size, 1) for size in layers)
