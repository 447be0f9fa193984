"""Networks that score pairs of a user and an item: plain modules that return logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recsys_lib import _shards
from recsys_lib.models._dropout import dropout
from recsys_lib.models._linear import Linear
from recsys_lib.models.embeddings import IdEmbedding, rows_of

# Numbers in one layer's output for the catalogue: bounds the memory of scoring it. A GPU wants more at once.
_NUMBERS, _DEVICE_NUMBERS = 2**23, 2**27
# Multiplications of an MLP's first layer below which a batch is taken pair by pair. To save work then costs
# more than it saves: it takes more operations, and each of them some microseconds.
_FEW = 2**23


class PairNet(nn.Module, ABC):
    """A network that scores pairs of users and items. It returns logits."""

    @abstractmethod
    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Score pairs: users of shape (b,) with items of shape (b,) or (b, m) -> the shape of ``items``."""

    @abstractmethod
    def catalogue(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Score all items, or those given, for each user, (b,) and (m,) -> (b, m)."""

    @abstractmethod
    def penalty(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the mean squared length of the vectors of pairs, (b,) and (b, m) -> scalar."""

    @abstractmethod
    def item_vectors(self) -> Tensor:
        """Return a vector for every item, shape (n_items, d)."""


class DotProductNet(PairNet):
    r"""A dot product of two vectors, and two biases.

    .. math:: s_{ui} = b_u + b_i + p_u^\top q_i

    Parameters
    ----------
    user, item : IdEmbedding
        The vectors :math:`p_u` and :math:`q_i`, equally long.
    user_bias : bool
        Learn :math:`b_u`. Losses that compare the items of one user cannot.
    """

    def __init__(self, user: IdEmbedding, item: IdEmbedding, *, user_bias: bool = True) -> None:
        super().__init__()
        self.user, self.item = user, item
        self.user_bias = nn.Parameter(torch.zeros(len(user.ids))) if user_bias else None
        self.item_bias = nn.Parameter(torch.zeros(len(item.ids)))
        self.cuts = {"user_bias": user.cut, "item_bias": item.cut}

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Score pairs, (b,) with (b,) or (b, m) -> the shape of ``items``."""
        scores = _dot(self.user(users), self.item(items)) + self.item.numbers(self.item_bias, items)
        if self.user_bias is None:
            return scores
        return scores + _like(self.user.numbers(self.user_bias, users), items)

    def catalogue(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Score all items, or those given, for each user -> (b, m): one matrix product."""
        q = self.item.all() if items is None else self.item(items)
        bias = self.item_bias if items is None else self.item.numbers(self.item_bias, items)
        if self.user_bias is not None:
            bias = bias + self.user.numbers(self.user_bias, users).unsqueeze(1)
        return _joined(torch.addmm(bias, self.user(users), q.T), self.item, items)

    def penalty(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the mean squared length of the vectors and biases in pairs -> scalar."""
        total = _mean_squared_length(self.user, self.item, users, items)
        total = total + self.item.numbers(self.item_bias, items).square().mean()
        if self.user_bias is None:
            return total
        return total + self.user.numbers(self.user_bias, users).square().mean()

    def item_vectors(self) -> Tensor:
        """Return the vectors of all items, shape (n_items, d)."""
        return self.item.all()


class GMFNet(PairNet):
    r"""Generalised matrix factorization: a dot product with a learned weight for each factor.

    .. math:: s_{ui} = h^\top (p_u \odot q_i) + b

    Equation 9 of He et al. (2017), before the sigmoid.

    Parameters
    ----------
    user, item : IdEmbedding
        The vectors :math:`p_u` and :math:`q_i`, equally long.
    bias : bool
        Learn :math:`b`.
    """

    def __init__(self, user: IdEmbedding, item: IdEmbedding, *, bias: bool = True) -> None:
        super().__init__()
        self.user, self.item = user, item
        # It starts as a dot product. With weights of both signs at the start, training takes several times as
        # long, and ends at a lower nDCG.
        self.output = Linear(user.ids.shape[1], 1, bias=bias)
        nn.init.ones_(self.output.weight)
        if bias:
            nn.init.zeros_(self.output.bias)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Score pairs, (b,) with (b,) or (b, m) -> the shape of ``items``."""
        return self.column(users, items).squeeze(-1)

    def column(self, users: Tensor, items: Tensor) -> Tensor:
        """Score pairs, (b,) with (b,) or (b, m) -> (b, 1) or (b, m, 1)."""
        column: Tensor = self.output(_like(self.user(users), items) * self.item(items))
        return column

    def catalogue(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Score all items, or those given, for each user -> (b, m): one matrix product."""
        q = self.item.all() if items is None else self.item(items)
        weighted = self.user(users) * self.output.weight
        bias = self.output.bias
        return _joined(weighted @ q.T if bias is None else torch.addmm(bias, weighted, q.T), self.item, items)

    def penalty(self, users: Tensor, items: Tensor) -> Tensor:
        r"""Return the mean squared length of vectors in pairs, with h shared out to both of them -> scalar.

        Factor f counts :math:`|h_f| (p_f^2 + q_f^2)`, as in a dot product without h that has the same scores.
        If h did not count, training would shrink the vectors, let h grow, and be rid of the penalty.
        """
        h = self.output.weight[0].abs()
        return _mean_squared_length(self.user, self.item, users, items, h)

    def item_vectors(self) -> Tensor:
        """Return the vectors of all items, shape (n_items, d)."""
        return self.item.all()


class MLPNet(PairNet):
    r"""A multilayer perceptron on the two vectors laid end to end.

    .. math::
        z_1 = \mathrm{ReLU}(W_1 [p_u; q_i] + b_1), \quad z_l = \mathrm{ReLU}(W_l z_{l-1} + b_l), \quad
        s_{ui} = h^\top z_L + b

    Equation 10 of He et al. (2017), before the sigmoid.

    The first layer is linear in each of the two vectors. So in a large batch it is computed once for a user
    and once for an item, and added up for each pair: the same numbers for a fraction of the work.

    Parameters
    ----------
    user, item : IdEmbedding
        The vectors :math:`p_u` and :math:`q_i`; they need not be equally long.
    widths : sequence of int
        Sizes of the hidden layers; none makes the score a sum of a user's and an item's number.
    dropout : float
        Share of the outputs of each hidden layer that is dropped in training.
    generator : torch.Generator, optional
        Draws the weights.
    """

    def __init__(
        self,
        user: IdEmbedding,
        item: IdEmbedding,
        widths: Sequence[int],
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.user, self.item = user, item
        sizes = [user.ids.shape[1] + item.ids.shape[1], *widths]
        self._first_size = sizes[0], (*widths, 1)[0]
        self.hidden = nn.ModuleList(_linear(before, after, generator) for before, after in pairwise(sizes))
        self.dropout = dropout
        self.output = _linear(sizes[-1], 1, generator)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Score pairs, (b,) with (b,) or (b, m) -> the shape of ``items``."""
        if self.takes_pairs(items):
            return self.column(*pair_by_pair(users, items)).view(items.shape)
        if self.item.cut is None and items.numel() > len(self.item.ids):
            from_item = rows_of(self._from_items(self.item.all()), items)
        else:
            from_item = self._from_items(self.item(items))
        return self._rest(_like(self._from_users(users), items) + from_item)

    def column(self, users: Tensor, items: Tensor) -> Tensor:
        """Score pairs one by one, (b,) with (b,) -> (b, 1)."""
        return self._through(self.hidden, torch.cat([self.user(users), self.item(items)], dim=1))

    def catalogue(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Score all items, or those given, for each user -> (b, m), in pieces of bounded size."""
        from_items = self._from_items(self.item.all() if items is None else self.item(items))
        numbers = _NUMBERS if from_items.device.type == "cpu" else _DEVICE_NUMBERS
        size = max(1, numbers // max(1, from_items.numel()))
        parts = [
            self._rest(from_user.unsqueeze(1) + from_items)
            for from_user in self._from_users(users).split(size)
        ]
        return _joined(torch.cat(parts), self.item, items)

    def takes_pairs(self, items: Tensor) -> bool:
        """Tell whether a batch with these items is so small that it is best taken pair by pair."""
        inputs, outputs = self._first_size
        return self.item.cut is None and items.numel() * inputs * outputs < _FEW

    def _first(self) -> nn.Linear:
        layer = self.hidden[0] if len(self.hidden) else self.output
        assert isinstance(layer, nn.Linear)
        return layer

    def _from_users(self, users: Tensor) -> Tensor:
        return linear(self.user(users), self._halves()[0], self._first().bias)

    def _from_items(self, vectors: Tensor) -> Tensor:
        return linear(vectors, self._halves()[1])

    def _halves(self) -> tuple[Tensor, Tensor]:
        """Return the columns of the first layer's weights that belong to the user, and those of the item."""
        of_user, of_item = self._first().weight.split([self.user.ids.shape[1], self.item.ids.shape[1]], dim=1)
        return of_user, of_item

    def _rest(self, z: Tensor) -> Tensor:
        """Go on from the first layer's sums, (..., width) -> (...)."""
        shape = z.shape[:-1]
        if not len(self.hidden):
            return z.view(shape)
        # In place: nobody else has these sums, and they are the largest tensors of a step. As a matrix: what
        # a layer makes of more dimensions is a view, and changing a view costs copies in the gradient.
        z = dropout(z.relu_().flatten(0, -2), self.dropout, self.training)
        return self._through(list(self.hidden)[1:], z).view(shape)  # a slice would be a new module

    def _through(self, layers: Iterable[nn.Module], z: Tensor) -> Tensor:
        """Go through some hidden layers and the output, (n, width) -> (n, 1)."""
        for layer in layers:
            z = dropout(layer(z).relu_(), self.dropout, self.training)
        column: Tensor = self.output(z)
        return column

    def penalty(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the mean squared length of the vectors in pairs -> scalar."""
        return _mean_squared_length(self.user, self.item, users, items)

    def item_vectors(self) -> Tensor:
        """Return the vectors of all items, shape (n_items, d)."""
        return self.item.all()


class NeuMFNet(PairNet):
    r"""Neural matrix factorization: the logits of GMF and of an MLP, added up.

    .. math:: s_{ui} = h^\top \begin{bmatrix} p_u \odot q_i \\ z_L \end{bmatrix} + b

    Equation 12 of He et al. (2017), before the sigmoid. A layer on two vectors laid end to end is the sum
    of a layer on each, so the net consists of the other two, each with vectors of its own.

    Parameters
    ----------
    gmf : GMFNet
        Without a bias: one is enough.
    mlp : MLPNet
    """

    def __init__(self, gmf: GMFNet, mlp: MLPNet) -> None:
        super().__init__()
        self.gmf, self.mlp = gmf, mlp

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Score pairs, (b,) with (b,) or (b, m) -> the shape of ``items``."""
        if self.mlp.takes_pairs(items):
            pairs = pair_by_pair(users, items)
            # Added up before they get their shape, because a view and its gradient take 7 microseconds.
            return (self.gmf.column(*pairs) + self.mlp.column(*pairs)).view(items.shape)
        logits: Tensor = self.gmf(users, items) + self.mlp(users, items)
        return logits

    def catalogue(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Score all items, or those given, for each user -> (b, m)."""
        return self.gmf.catalogue(users, items) + self.mlp.catalogue(users, items)

    def penalty(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the mean squared length of the vectors in pairs, of both parts -> scalar."""
        return self.gmf.penalty(users, items) + self.mlp.penalty(users, items)

    def item_vectors(self) -> Tensor:
        """Return the vectors of all items in both parts, shape (n_items, d)."""
        return torch.cat([self.gmf.item_vectors(), self.mlp.item_vectors()], dim=1)

    @torch.no_grad()
    def start_from(self, gmf: GMFNet, mlp: MLPNet, alpha: float = 0.5) -> None:
        r"""Take over two trained nets: their output layers are weighted with alpha and 1 - alpha.

        Equation 13 of He et al. (2017), for the bias too. The net then returns the weighted mean of the
        logits of the two.
        """
        own = self.gmf.state_dict()
        self.gmf.load_state_dict({key: value for key, value in gmf.state_dict().items() if key in own})
        self.mlp.load_state_dict(mlp.state_dict())
        self.gmf.output.weight.mul_(alpha)
        self.mlp.output.weight.mul_(1 - alpha)
        bias = 0.0 if gmf.output.bias is None else alpha * gmf.output.bias
        self.mlp.output.bias.copy_((1 - alpha) * mlp.output.bias + bias)


def _linear(before: int, after: int, generator: torch.Generator | None) -> nn.Linear:
    layer = Linear(before, after)
    nn.init.xavier_normal_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def pair_by_pair(users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Name the user of each item, (b,) and (b,) or (b, m) -> two with as many elements as ``items``."""
    if items.ndim == 1:
        return users, items
    return users.unsqueeze(1).expand(items.shape).flatten(), items.flatten()


def _like(of_users: Tensor, items: Tensor) -> Tensor:
    """Give what belongs to users, (b, ...), a dimension for their items, if these are a table (b, m)."""
    return of_users.unsqueeze(1) if items.ndim > 1 else of_users


def _joined(scores: Tensor, item: IdEmbedding, items: Tensor | None) -> Tensor:
    """Lay scores of the catalogue side by side, if each process has those of its rows of the table."""
    return scores if item.cut is None or items is not None else _shards.join_columns(scores, item.cut)


def _dot(p: Tensor, q: Tensor) -> Tensor:
    """Multiply vectors of users, (b, d), with those of their items, (b, d) or (b, m, d)."""
    # Faster than as many small matrix products.
    return (_like(p, q[..., 0]) * q).sum(-1)


def _mean_squared_length(
    user: IdEmbedding, item: IdEmbedding, users: Tensor, items: Tensor, weights: Tensor | None = None
) -> Tensor:
    return user.squared_lengths(users, weights).mean() + item.squared_lengths(items, weights).mean()
