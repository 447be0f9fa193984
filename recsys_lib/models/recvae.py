"""RecVAE: a variational autoencoder whose prior remembers the encoder of the last epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recsys_lib._validation import check_integer, check_number
from recsys_lib.models.history_nets import HistoryNet
from recsys_lib.models.rows import HistoryRecommender
from recsys_lib.models.variational_nets import RecVAENet, draw, log_normal


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

    def _build(self, n_users: int, n_items: int, generator: torch.Generator | None) -> HistoryNet:
        return RecVAENet(n_items, self.width, self.factors, sparse=self._sparse, generator=generator)

    def _batches(self, data: Tensor, generator: torch.Generator) -> Iterator[Any]:
        for _ in range(self.encoder_passes):
            for batch in super()._batches(data, generator):
                yield True, batch
        self.net_.remember()
        for batch in super()._batches(data, generator):
            yield False, batch

    def _size(self, batch: Any) -> int:
        return super()._size(batch[1])

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
