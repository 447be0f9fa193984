"""AutoRec: an autoencoder for explicit ratings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from recsys_lib._validation import check_choice, check_flag, check_integer, check_number
from recsys_lib.distributed import my_part
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.losses import squared_error
from recsys_lib.models._least_squares import Lists, algebra_device, solve_exactly
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.models.rating_nets import AutoRecNet
from recsys_lib.training import shuffled

# Rows that are encoded at once: bounds the memory.
_ROWS = 4096
# Penalty of the regression for a new user of I-AutoRec: as much as one known rating.
_NEW_USER_L2 = 1.0


@dataclass(kw_only=True, eq=False, repr=False)
class AutoRec(GradientRecommender):
    r"""An autoencoder for explicit ratings: it fills in a column, or a row, of the rating matrix.

    .. math:: \min \sum_{(u, i) \in \mathcal K} \big(r_{ui} - h(r_i)_u\big)^2
              + \frac \lambda 2 \big(\lVert W \rVert^2 + \lVert V \rVert^2\big)

    for I-AutoRec, which reads the ratings :math:`r_i` of an item; U-AutoRec reads those of a user. Only known
    ratings are compared, so that the model cannot get by with answering what it was asked.

    :meth:`predict` keeps to the rating scale seen in training; scores for ranking are not cut off there. New
    people are known by their items alone, and taken to have given each the highest rating. U-AutoRec reads
    that as it reads any row; for I-AutoRec, where a user is a row of :math:`V`, a ridge regression on the
    hidden layers finds a row for them.

    Parameters
    ----------
    kind : {"item", "user"}
        Whose ratings are read: I-AutoRec or U-AutoRec.
    factors : int
        Size of the hidden layer.
    batch_size : int
        Items, or users, per step.
    l2 : float
        :math:`\lambda`, divided by the number of ratings in a batch, as the loss is a mean over them. It is
        small: from about 0.01 on, all vectors shrink to zero.
    noise : float
        Share of the known ratings that is left out of the input in training; all of them are asked for.
        Otherwise the model learns to copy its input, and trusts a rating that it is given too much.
    normalise : bool
        Divide the sum over a row's ratings by the root of their number. Otherwise the hidden layer of a long
        row is at its limits.
    epochs, learning_rate, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    References
    ----------
    S. Sedhain, A. K. Menon, S. Sanner and L. Xie (2015), "AutoRec: autoencoders meet collaborative
    filtering", WWW.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddef"), list("tjtjtjtjtt"), [5, 1, 5, 1, 1, 5, 1, 5, 5, 1])
    >>> model = AutoRec(kind="user", factors=4, epochs=200, learning_rate=0.02).fit(x)
    >>> likes_tea, does_not = model.predict(["e", "f"], ["j", "j"])
    >>> bool(likes_tea < 2 < 4 < does_not)
    True
    """

    kind: str = "item"
    factors: int = 500
    epochs: int = 50
    batch_size: int = 128
    l2: float = 1e-3
    noise: float = 0.0
    normalise: bool = False

    predicts_ratings: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The name of the model in tables and plots."""
        return f"{self.kind[0].upper()}-AutoRec"

    _large_products = True

    def _check(self) -> None:
        super()._check()
        check_choice("kind", self.kind, ("item", "user"))
        check_integer("factors", self.factors, 1)
        check_number("l2", self.l2, 0)
        check_number("noise", self.noise, 0, 1, open_high=True)
        check_flag("normalise", self.normalise)

    # ------------------------------------------------------------------ fitting

    def _build(self, n_users: int, n_items: int, generator: torch.Generator | None) -> AutoRecNet:
        n = n_users if self.kind == "item" else n_items
        return AutoRecNet(n, self.factors, generator, noise=self.noise, normalise=bool(self.normalise))

    @torch.no_grad()
    def _prepare(self, train: Interactions) -> tuple[Histories, Tensor]:
        matrix = train.to_csr("ratings")
        ratings = torch.from_numpy(matrix.data).to(self.device_)
        rows = self.seen_
        if self.kind == "item":
            rows, places = rows.transposed()
            ratings = ratings[places]
        net = self.net_
        net.mean.copy_(ratings.mean())
        net.lowest.copy_(ratings.min())
        net.highest.copy_(ratings.max())
        # A column without ratings is never trained: random vectors would be noise in every prediction.
        unknown = torch.bincount(rows.indices, minlength=rows.n_items) == 0
        net.encoder[unknown] = 0
        net.decoder[unknown] = 0
        self._known = rows, ratings
        return self._known

    def _batches(
        self, data: tuple[Histories, Tensor], generator: torch.Generator
    ) -> Iterator[tuple[Histories, Tensor]]:
        known, ratings = data
        rated = known.lengths().nonzero().flatten()
        batches = [rated[my_part(chosen)] for chosen in shuffled(len(rated), int(self.batch_size), generator)]
        for rows, n_entries in zip(batches, known.entries_of(batches), strict=True):
            indptr, places = known.places(rows, n_entries)
            yield Histories(indptr, known.indices[places], known.n_items), ratings[places]

    def _size(self, batch: Any) -> int:
        return len(batch[1])  # ratings

    def _loss(self, net: Any, batch: tuple[Histories, Tensor]) -> Tensor:
        rows, ratings = batch
        error = squared_error(net(rows, ratings)[rows.pairs()].float(), ratings)
        lengths = net.encoder.square().sum() + net.decoder.square().sum()
        return error + 0.5 * self.l2 * lengths

    def _fit(self, train: Interactions, valid: Interactions | None, **options: Any) -> None:
        super()._fit(train, valid, **options)
        self.codes_: Tensor = self._encode_all()
        del self._known

    @torch.no_grad()
    def _encode_all(self) -> Tensor:
        """Return the hidden layers of all items, or users, from their ratings in training."""
        known, ratings = self._known
        parts = []
        for rows in torch.arange(len(known), device=self.device_).split(_ROWS):
            indptr, places = known.places(rows)
            part = Histories(indptr, known.indices[places], known.n_items)
            parts.append(self.net_.encode(part, ratings[places]))
        return torch.cat(parts)

    # ------------------------------------------------------------------ scoring

    def _scores(self, users: Tensor) -> Tensor:
        # While the model is being fitted, the hidden layers change with every epoch.
        codes = self.codes_ if "codes_" in self.__dict__ else self._encode_all()
        net = self.net_
        if self.kind == "user":
            return net.decode(codes[users])
        vectors, bias = net.decoder[users], net.decoder_bias[users]
        empty = self.seen_.lengths()[users] == 0
        if bool(empty.any()):
            vectors[empty], bias[empty] = self._average_user()
        return torch.addmm((net.mean + bias).unsqueeze(1), vectors, codes.T)

    def _scores_from(self, histories: Histories) -> Tensor:
        net = self.net_
        if self.kind == "user":
            return net(histories, net.highest.expand(len(histories.indices)))
        # A user is a row of the decoder: for new ones it is found by a ridge regression on the hidden layers.
        device = algebra_device(self.device_)
        penalty = torch.full((len(histories), self.factors), _NEW_USER_L2, device=device)
        found, _ = solve_exactly(Lists(histories.to(device)), self.codes_.to(device), penalty)
        scores = net.mean + (net.highest - net.mean) * (found.to(self.device_) @ self.codes_.T)
        empty = histories.lengths() == 0
        if bool(empty.any()):
            vector, bias = self._average_user()
            scores[empty] = net.mean + bias + self.codes_ @ vector
        return scores

    def _average_user(self) -> tuple[Tensor, Tensor]:
        """Return what I-AutoRec decodes with for people without ratings: the mean over all others."""
        rated = self.seen_.lengths() > 0
        return self.net_.decoder[rated].mean(0), self.net_.decoder_bias[rated].mean()

    @torch.no_grad()
    def _predict_pairs(self, users: Tensor, items: Tensor) -> Tensor:
        return super()._predict_pairs(users, items).clamp(self.net_.lowest, self.net_.highest)

    @torch.no_grad()
    def _item_vectors(self) -> Tensor:
        return self.codes_ if self.kind == "item" else self.net_.decoder

    # ------------------------------------------------------------------ keeping

    def _state(self) -> dict[str, Tensor]:
        return {**super()._state(), "codes": self.codes_}

    def _load_state(self, state: dict[str, Tensor]) -> None:
        state = dict(state)
        self.codes_ = state.pop("codes")
        n = len(self.item_ids if self.kind == "item" else self.user_ids)
        if self.codes_.shape != (n, self.factors):
            raise ValueError(f"codes has shape {tuple(self.codes_.shape)}, not {(n, self.factors)}")
        super()._load_state(state)
