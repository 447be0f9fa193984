"""Neural collaborative filtering: GMF, MLP, and NeuMF, which joins the two (He et al. 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import nn

from recsys_lib._validation import check_integer, check_number
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models.embeddings import IdEmbedding
from recsys_lib.models.pair_nets import GMFNet, MLPNet, NeuMFNet, PairNet
from recsys_lib.models.sampled import SampledRecommender


@dataclass(kw_only=True, eq=False, repr=False)
class _NCF(SampledRecommender):
    factors: int = 8

    def _check(self) -> None:
        super()._check()
        check_integer("factors", self.factors, 1)

    def _start_at_average(self, output: nn.Linear) -> None:
        """Let the scores start at the log-odds of a positive among the pairs that are compared.

        Otherwise the first steps push all scores down, through the whole network, and may shut its ReLUs for
        good: Lin et al. (2017), "Focal loss for dense object detection", section 3.3.
        """
        # The other losses see differences between scores only.
        if self.loss == "logistic":
            nn.init.constant_(output.bias, -math.log(self.negatives))


@dataclass(kw_only=True, eq=False, repr=False)
class GMF(_NCF):
    r"""Generalised matrix factorization: a dot product with a learned weight for each factor.

    .. math:: s_{ui} = h^\top (p_u \odot q_i) + b

    The vectors start as normal random numbers, :math:`h` at 1 and, with the log loss, :math:`b` at the
    log-odds of a positive among its negatives.

    Parameters
    ----------
    factors : int
        Length of the vectors.
    negatives, sampler, loss, ...
        See :class:`recsys_lib.models.sampled.SampledRecommender`.
    epochs, batch_size, learning_rate, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    References
    ----------
    X. He, L. Liao, H. Zhang, L. Nie, X. Hu and T.-S. Chua (2017), "Neural collaborative filtering", WWW.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> model = GMF(factors=8, epochs=100, learning_rate=0.01, l2=0.02).fit(x)
    >>> model.recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    def _make_net(
        self,
        n_users: int,
        n_items: int,
        user_categories: Histories | None,
        item_categories: Histories | None,
        generator: torch.Generator | None,
    ) -> GMFNet:
        net = GMFNet(
            IdEmbedding(n_users, self.factors, user_categories, init_std=self.init_std, generator=generator),
            IdEmbedding(n_items, self.factors, item_categories, init_std=self.init_std, generator=generator),
        )
        self._start_at_average(net.output)
        return net


@dataclass(kw_only=True, eq=False, repr=False)
class MLP(_NCF):
    r"""A multilayer perceptron in place of the dot product.

    Vectors and layers start as normal random numbers, those of the layers as wide as Glorot and Bengio (2010)
    say, and the last bias as in :class:`GMF`.

    Parameters
    ----------
    factors : int
        Size d of the last hidden layer.
    layers : int
        Number of hidden layers. Each is half as wide as the one before: 4d, 2d and d for three.
    embedding_dim : int, optional
        Length of the vectors of users and items. By default they are half as long as the first layer is wide:
        2d for three. The weights that He et al. published for d = 8 have 32, twice that.
    dropout : float
        Share of the outputs of each hidden layer that is dropped in training.
    negatives, sampler, loss, ...
        See :class:`recsys_lib.models.sampled.SampledRecommender`.
    epochs, batch_size, learning_rate, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    References
    ----------
    X. He, L. Liao, H. Zhang, L. Nie, X. Hu and T.-S. Chua (2017), "Neural collaborative filtering", WWW.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> model = MLP(factors=8, epochs=100, learning_rate=0.02, l2=0.01).fit(x)
    >>> model.recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    layers: int = 3
    embedding_dim: int | None = None
    dropout: float = 0.0

    def _check(self) -> None:
        super()._check()
        check_integer("layers", self.layers, 0, 16)
        if self.embedding_dim is not None:
            check_integer("embedding_dim", self.embedding_dim, 1)
        check_number("dropout", self.dropout, 0, 1, open_high=True)

    def _make_net(
        self,
        n_users: int,
        n_items: int,
        user_categories: Histories | None,
        item_categories: Histories | None,
        generator: torch.Generator | None,
    ) -> PairNet:
        return self._make_mlp(n_users, n_items, user_categories, item_categories, generator)

    def _make_mlp(
        self,
        n_users: int,
        n_items: int,
        user_categories: Histories | None,
        item_categories: Histories | None,
        generator: torch.Generator | None,
    ) -> MLPNet:
        widths = [self.factors * 2**step for step in reversed(range(self.layers))]
        dim = self.embedding_dim or (max(1, widths[0] // 2) if widths else self.factors)
        net = MLPNet(
            IdEmbedding(n_users, dim, user_categories, init_std=self.init_std, generator=generator),
            IdEmbedding(n_items, dim, item_categories, init_std=self.init_std, generator=generator),
            widths,
            dropout=self.dropout,
            generator=generator,
        )
        self._start_at_average(net.output)
        return net


@dataclass(kw_only=True, eq=False, repr=False)
class NeuMF(MLP):
    r"""Neural matrix factorization: GMF and an MLP side by side, with vectors of their own.

    Without pre-training it starts as the two do.

    Parameters
    ----------
    factors : int
        Length of the vectors of the GMF part, and size of the last hidden layer of the MLP part.
    layers, embedding_dim, dropout
        Of the MLP part: see :class:`MLP`.
    pretrain_epochs : int
        First train a GMF and an MLP for so many epochs, and start from both of them; 0 starts at random.
    pretrain_learning_rate : float
        For these two, which are trained with Adam.
    pretrain_alpha : float
        Weight of GMF in the start; the MLP has the rest.
    negatives, sampler, loss, ...
        See :class:`recsys_lib.models.sampled.SampledRecommender`.
    epochs, batch_size, learning_rate, optimizer, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`. With pre-training they are those of the
        fine-tuning, for which He et al. (2017) use ``optimizer="sgd"``.

    Attributes
    ----------
    pretraining_history_ : DataFrame
        What ``history_`` would be for the two, below each other, with a column ``model``; after
        pre-training only.

    References
    ----------
    X. He, L. Liao, H. Zhang, L. Nie, X. Hu and T.-S. Chua (2017), "Neural collaborative filtering", WWW.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> model = NeuMF(factors=8, epochs=100, learning_rate=0.01, l2=0.02).fit(x)
    >>> model.recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    pretrain_epochs: int = 0
    pretrain_learning_rate: float = 1e-3
    pretrain_alpha: float = 0.5

    def _check(self) -> None:
        super()._check()
        check_integer("pretrain_epochs", self.pretrain_epochs, 0)
        check_number("pretrain_learning_rate", self.pretrain_learning_rate, 0, open_low=True)
        check_number("pretrain_alpha", self.pretrain_alpha, 0, 1)

    def _make_net(
        self,
        n_users: int,
        n_items: int,
        user_categories: Histories | None,
        item_categories: Histories | None,
        generator: torch.Generator | None,
    ) -> PairNet:
        def vectors(n: int, categories: Histories | None) -> IdEmbedding:
            return IdEmbedding(n, self.factors, categories, init_std=self.init_std, generator=generator)

        gmf = GMFNet(
            vectors(n_users, user_categories),
            vectors(n_items, item_categories),
            bias=False,
        )
        mlp = self._make_mlp(n_users, n_items, user_categories, item_categories, generator)
        net = NeuMFNet(gmf, mlp)
        if self._pretrained is not None:
            net.start_from(*self._pretrained, alpha=self.pretrain_alpha)
        return net

    # The two trained nets, while the network is made from them.
    _pretrained: ClassVar[tuple[Any, Any] | None] = None

    def _fit(self, train: Interactions, valid: Interactions | None, **options: Any) -> None:
        if not self.pretrain_epochs or self._goes_on(options):
            super()._fit(train, valid, **options)
            return
        parts = [self._part(family).fit(train, valid) for family in (GMF, MLP)]
        self.pretraining_history_ = pd.concat(
            [part.history_.assign(model=part.name) for part in parts], ignore_index=True
        )
        self.__dict__["_pretrained"] = (parts[0].net_.cpu(), parts[1].net_.cpu())
        super()._fit(train, valid, **options)
        del self.__dict__["_pretrained"]
        if self.record_negatives:
            drawn = [model.negatives_drawn_.pairs() for model in (self, *parts)]
            users, items = (torch.cat(column) for column in zip(*drawn, strict=True))
            self.negatives_drawn_ = Histories.from_pairs(users, items, len(self.seen_), self.seen_.n_items)

    def _part(self, family: type[GMF] | type[MLP]) -> GMF | MLP:
        """Make one of the two models to be pre-trained."""
        changed = {
            "epochs": self.pretrain_epochs,
            "learning_rate": self.pretrain_learning_rate,
            "optimizer": "adam",
            # Seeds of their own, or the fine-tuning would meet the same negatives once more.
            "seed": (self.seed + (1 if family is GMF else 2)) % 2**63,
        }
        same = {f.name: getattr(self, f.name) for f in fields(family)}
        return family(**(same | changed))
