"""A network from the number of a person to a score for every item: a plain module that returns logits."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recsys_lib.models._dropout import dropout
from recsys_lib.models.history_nets import ACTIVATIONS, Factors, ItemTable, xavier_table
from recsys_lib.sparse_rows import take_rows


class FactorizationNet(nn.Module):
    r"""A vector for every person and every item, and their dot product.

    .. math:: s_{ui} = q_i^\top a(p_u) + c_i

    Parameters
    ----------
    n_users, n_items : int
        Sizes of the two tables.
    factors : int
        Length of the vectors.
    activation : str
        The :math:`a`, by a name in ``ACTIVATIONS``.
    dropout : float
        Share of :math:`a(p_u)` that is dropped in training.
    sparse : bool
        Give gradients for the people and items of a batch alone, as
        :class:`recsys_lib.sparse_rows.LazyAdam` takes them.
    generator : torch.Generator, optional
        Draws the vectors.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        factors: int,
        *,
        activation: str = "none",
        dropout: float = 0.0,
        sparse: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.activation, self.dropout, self.sparse = ACTIVATIONS[activation], dropout, sparse
        self.users = nn.Parameter(xavier_table(n_users, factors, generator))
        self.items = ItemTable(xavier_table(n_items, factors, generator), sparse=sparse)
        self.output_bias = ItemTable(torch.zeros(n_items), sparse=sparse)

    def forward(self, users: Tensor, items: Tensor | None = None) -> Tensor:
        """Score items, b people and m items -> (b, m); all items by default.

        While gradients are recorded for a sparse net, the people must differ from each other, and the items
        must be ascending.
        """
        z, table, bias = self.factors(users, items)
        return torch.addmm(bias, z, table.T)

    def factors(self, users: Tensor, items: Tensor | None = None) -> Factors:
        """Return what the scores are a product of: (b, d), (m, d) and the biases, (m,)."""
        z = dropout(self.activation(self._vectors(users)), self.dropout, self.training)
        return z, self.items(items), self.output_bias(items)

    def _vectors(self, users: Tensor) -> Tensor:
        if not (self.sparse and torch.is_grad_enabled()):
            return self.users.index_select(0, users)
        ascending, order = users.sort()
        return take_rows(self.users, ascending)[order.argsort()]

    def item_vectors(self) -> Tensor:
        """Return the vectors of all items, shape (n_items, d)."""
        return self.items.weight
