"""Matrix factorization: a vector for every user and every item, and their dot product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from recsys_lib._validation import check_integer, check_number
from recsys_lib.distributed import my_part
from recsys_lib.errors import NotSupportedError
from recsys_lib.interactions import Interactions
from recsys_lib.losses import l2_penalty, squared_error
from recsys_lib.models._batch_rows import defer_large_tables, on_rows
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.training import shuffled

# Pairs predicted at once: bounds the memory for the gathered vectors.
_PAIRS = 2**18


class BiasedMFNet(nn.Module):
    r"""Mean, biases and a dot product.

    .. math:: \hat r_{ui} = \mu + b_u + b_i + p_u^\top q_i

    Equation 4 of Koren, Bell and Volinsky (2009); without factors it is their equation 3.

    Parameters
    ----------
    n_users, n_items : int
        Sizes of the two tables.
    factors : int
        Length d of the vectors; 0 leaves only the mean and the biases.
    init_std : float
        Standard deviation of the vectors at the start; the biases start at 0.
    generator : torch.Generator, optional
        Draws the vectors.

    Attributes
    ----------
    mean : Tensor, scalar
        :math:`\mu`. It is a fact of the data, not learned.
    lowest, highest : Tensor, scalar
        The ends of the rating scale; infinite until they are known.
    """

    mean: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(
        self,
        n_users: int,
        n_items: int,
        factors: int,
        *,
        init_std: float = 0.05,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.user_factors = nn.Parameter(torch.randn(n_users, factors, generator=generator) * init_std)
        self.item_factors = nn.Parameter(torch.randn(n_items, factors, generator=generator) * init_std)
        self.user_bias = nn.Parameter(torch.zeros(n_users))
        self.item_bias = nn.Parameter(torch.zeros(n_items))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("lowest", torch.tensor(-torch.inf))
        self.register_buffer("highest", torch.tensor(torch.inf))

    def parts(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Look up what is learned about pairs, (b,) and (b,) -> (b, d), (b, d), (b,), (b,)."""
        return (
            embedding(users, self.user_factors),
            embedding(items, self.item_factors),
            embedding(users, self.user_bias[:, None])[:, 0],
            embedding(items, self.item_bias[:, None])[:, 0],
        )

    def combine(self, p: Tensor, q: Tensor, user_bias: Tensor, item_bias: Tensor) -> Tensor:
        """Make ratings of what :meth:`parts` returned -> (b,)."""
        return self.mean + user_bias + item_bias + (p * q).sum(1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Predict the ratings of pairs of indices, (b,) and (b,) -> (b,). They may leave the scale."""
        return self.combine(*self.parts(users, items))

    def catalogue(self, users: Tensor) -> Tensor:
        """Predict the ratings of all items, (b,) -> (b, n_items): one matrix product."""
        base = self.mean + self.user_bias[users, None] + self.item_bias
        return torch.addmm(base, self.user_factors[users], self.item_factors.T)


@dataclass(kw_only=True, eq=False, repr=False)
class BiasedMF(GradientRecommender):
    r"""Matrix factorization with biases, for explicit ratings.

    .. math::
        \hat r_{ui} = \mu + b_u + b_i + p_u^\top q_i, \qquad
        \min \sum_{(u,i)} (r_{ui} - \hat r_{ui})^2
        + \lambda (\lVert p_u \rVert^2 + \lVert q_i \rVert^2) + \lambda_b (b_u^2 + b_i^2)

    Equations 4 and 5 of Koren, Bell and Volinsky (2009), with a penalty of its own for the biases. The
    penalty is inside the sum: a user with many ratings is penalised once for each of them.

    What is not known is left out of the sum: a user without ratings in training is given :math:`\mu + b_i`,
    an item without ratings :math:`\mu + b_u`. :meth:`predict` keeps to the rating scale seen in training;
    scores for ranking are not cut off there, because that would tie the best items.

    Parameters
    ----------
    factors : int
        Length of the vectors; 0 leaves only the mean and the biases.
    l2 : float
        :math:`\lambda`.
    bias_l2 : float
        :math:`\lambda_b`.
    init_std : float
        Standard deviation of the vectors at the start.
    epochs, batch_size, learning_rate, schedule, patience, ...
        See :class:`recsys_lib.models.gradient.GradientRecommender`.

    Notes
    -----
    The defaults were chosen for MovieLens-100K on validation data: see ``benchmarks/search_biased_mf.py``
    in the repository. Larger data wants a weaker ``l2``: about half of it for MovieLens-1M.

    References
    ----------
    Y. Koren, R. Bell and C. Volinsky (2009), "Matrix factorization techniques for recommender systems",
    IEEE Computer 42(8).

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "jam", "tea"], [5, 1, 5])
    >>> model = BiasedMF(factors=2, batch_size=4, epochs=50).fit(x)
    >>> tea, jam = model.predict(["bob", "bob"], ["tea", "jam"])
    >>> bool(tea > jam)
    True
    """

    factors: int = 32
    l2: float = 0.12
    bias_l2: float = 0.01
    init_std: float = 0.05
    batch_size: int = 512
    learning_rate: float = 5e-3
    schedule: str = "linear"

    predicts_ratings: ClassVar[bool] = True
    _streams = True

    def _check(self) -> None:
        super()._check()
        check_integer("factors", self.factors, 0)
        check_number("l2", self.l2, 0)
        check_number("bias_l2", self.bias_l2, 0)
        # Without a start away from zero the vectors never leave it: their gradients are each other.
        check_number("init_std", self.init_std, 0, open_low=True)

    def _build(self, n_users: int, n_items: int, generator: torch.Generator | None) -> BiasedMFNet:
        return BiasedMFNet(n_users, n_items, self.factors, init_std=self.init_std, generator=generator)

    @torch.no_grad()
    def _prepare(self, train: Interactions) -> dict[str, Tensor]:
        data = self._columns(train)
        net, ratings = self.net_, data["ratings"]
        net.mean.copy_(ratings.mean())
        net.lowest.copy_(ratings.min())
        net.highest.copy_(ratings.max())
        # Whoever is in no rating is never trained. Their random vectors would be noise in every prediction.
        for factors, index in ((net.user_factors, data["users"]), (net.item_factors, data["items"])):
            factors[torch.bincount(index, minlength=len(factors)) == 0] = 0
        size = int(self.batch_size)
        defer_large_tables(net, {"user": size, "item": size}, self._options(), self.device_)
        return data

    def _batches(self, data: dict[str, Tensor], generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
        users, items, ratings = data["users"], data["items"], data["ratings"]
        for rows in shuffled(len(ratings), self.batch_size, generator):
            part = my_part(rows)
            yield users[part].long(), items[part].long(), ratings[part]

    def _loss(self, net: Any, batch: Any) -> Tensor:
        users, items, ratings = batch
        value: Tensor = on_rows(net, users, items, partial(self._loss_of, ratings))
        return value

    def _loss_of(self, ratings: Tensor, net: Any, users: Tensor, items: Tensor) -> Tensor:
        p, q, user_bias, item_bias = net.parts(users, items)
        error = squared_error(net.combine(p, q, user_bias, item_bias), ratings)
        return error + self.l2 * l2_penalty(p, q) + self.bias_l2 * l2_penalty(user_bias, item_bias)

    def _scores(self, users: Tensor) -> Tensor:
        return self.net_.catalogue(users)

    @torch.no_grad()
    def _predict_pairs(self, users: Tensor, items: Tensor) -> Tensor:
        net = self.net_
        parts = [net(u, i) for u, i in zip(users.split(_PAIRS), items.split(_PAIRS), strict=True)]
        return torch.cat(parts).clamp(net.lowest, net.highest)

    def _item_vectors(self) -> Tensor:
        if self.factors == 0:
            raise NotSupportedError(f"{self.name} with factors=0 has no vectors to compare items by.")
        return self.net_.item_factors
