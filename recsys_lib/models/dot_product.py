"""Matrix factorization for implicit feedback, trained with sampled negatives: BPR and logistic MF."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recsys_lib._validation import check_integer
from recsys_lib.histories import Histories
from recsys_lib.models.embeddings import IdEmbedding
from recsys_lib.models.pair_nets import DotProductNet
from recsys_lib.models.sampled import SampledRecommender


@dataclass(kw_only=True, eq=False, repr=False)
class _DotProduct(SampledRecommender):
    factors: int = 64
    init_std: float = 0.1

    def _check(self) -> None:
        super()._check()
        check_integer("factors", self.factors, 1)

    def _make_net(
        self,
        n_users: int,
        n_items: int,
        user_categories: Histories | None,
        item_categories: Histories | None,
        generator: torch.Generator | None,
    ) -> DotProductNet:
        # So the vectors start equally long, whatever the number of factors.
        std = self.init_std / self.factors**0.5
        return DotProductNet(
            IdEmbedding(n_users, self.factors, user_categories, init_std=std, generator=generator),
            IdEmbedding(n_items, self.factors, item_categories, init_std=std, generator=generator),
            # All other losses see differences between a user's items only.
            user_bias=self.loss == "logistic",
        )


@dataclass(kw_only=True, eq=False, repr=False)
class BPR(_DotProduct):
    r"""Matrix factorization that learns to put a user's items above other items.

    .. math:: \min \sum_{(u, i, j)} -\log \sigma(s_{ui} - s_{uj}) + \lambda (\lVert p_u \rVert^2 + \ldots),
              \qquad s_{ui} = b_i + p_u^\top q_i

    Bayesian personalised ranking (Rendle et al. 2009). With ``loss="hinge"`` or ``loss="warp"`` the same
    trainer minimises other losses of pairs.

    Parameters
    ----------
    factors : int
        Length of the vectors.
    init_std : float
        The vectors start with this standard deviation, divided by the root of ``factors``.
    l2 : float
        :math:`\lambda`.
    negatives, sampler, loss, ...
        See :class:`recsys_lib.models.sampled.SampledRecommender`.
    epochs, batch_size, learning_rate, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    References
    ----------
    S. Rendle, C. Freudenthaler, Z. Gantner and L. Schmidt-Thieme (2009), "BPR: Bayesian personalized ranking
    from implicit feedback", UAI.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> BPR(factors=4, epochs=100, learning_rate=0.05).fit(x).recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    negatives: int = 1
    loss: str = "bpr"
    l2: float = 0.01
    learning_rate: float = 5e-3


@dataclass(kw_only=True, eq=False, repr=False)
class LogisticMF(_DotProduct):
    r"""Matrix factorization that learns to tell a user's items from sampled ones.

    .. math:: P(\text{user } u \text{ takes item } i) = \sigma(b_u + b_i + p_u^\top q_i)

    The dot product that Rendle et al. (2020) put against neural networks: log loss, biases, negatives drawn
    anew in every epoch, and a penalty on the vectors of every pair.

    Parameters
    ----------
    factors : int
        Length of the vectors.
    init_std : float
        The vectors start with this standard deviation, divided by the root of ``factors``.
    l2 : float
        Weight of the squared lengths.
    negatives, sampler, loss, ...
        See :class:`recsys_lib.models.sampled.SampledRecommender`.
    epochs, batch_size, learning_rate, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    References
    ----------
    S. Rendle, W. Krichene, L. Zhang and J. Anderson (2020), "Neural collaborative filtering vs. matrix
    factorization revisited", RecSys.

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(list("aabbccddeef"), list("tjtjtjnonot"))
    >>> LogisticMF(factors=4, epochs=100, learning_rate=0.05).fit(x).recommend(["f"], k=1)["item"].tolist()
    ['j']
    """

    negatives: int = 8
    loss: str = "logistic"
    l2: float = 0.005
    learning_rate: float = 2e-3
