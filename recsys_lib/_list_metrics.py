"""Metrics of what is recommended, relevant or not. Public as part of :mod:`recsys_lib.metrics`."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_integer
from recsys_lib.errors import DataError


def coverage(ranked: Tensor, n_items: int, k: int) -> Tensor:
    r"""Return the share of the catalogue that is recommended to at least one user.

    .. math:: \mathrm{coverage}@k = \frac{1}{|I|} \left| \bigcup_u L_u(k) \right|

    :math:`L_u(k)` holds the first ``k`` items of user :math:`u` (Ge, Delgado-Battenfeld and Jannach 2010).

    Parameters
    ----------
    ranked : Tensor of int, shape (n_users, K)
        Item indices, best first, ``-1`` where there is no item.
    n_items : int
        Size of the catalogue.
    k : int
        Cut-off.

    Returns
    -------
    Tensor, a scalar

    Examples
    --------
    >>> coverage(torch.tensor([[0, 1], [0, -1]]), n_items=4, k=2)
    tensor(0.5000, dtype=torch.float64)
    """
    counts = _recommendation_counts(ranked, n_items, k)
    return (counts > 0).sum().to(float_type(ranked)) / n_items


def novelty(ranked: Tensor, item_probabilities: Tensor, k: int) -> Tensor:
    r"""Return the mean self-information of the first ``k`` items, in bits: how unpopular they are.

    .. math:: \mathrm{novelty}@k = \frac{1}{|L(k)|} \sum_{i \in L(k)} -\log_2 p_i

    Zhou et al. (2010). :math:`p_i` is usually the share of users that have item :math:`i`. An item that
    everybody has adds 0 bits, one that a user in a thousand has adds 10.

    Parameters
    ----------
    ranked : Tensor of int, shape (n_users, K)
        Item indices, best first, ``-1`` where there is no item. The mean is over the items that are there.
    item_probabilities : Tensor of float, shape (n_items,)
        Above 0 and at most 1. Give items that nobody has a small probability of your choice.
    k : int
        Cut-off.

    Returns
    -------
    Tensor, shape (n_users,)
        ``nan`` for an empty list.

    Examples
    --------
    >>> novelty(torch.tensor([[0, 2], [1, -1]]), torch.tensor([1.0, 0.5, 0.25]), k=2)
    tensor([1., 1.], dtype=torch.float64)
    """
    first = check_tensor("ranked", ranked, "int", "n_users", "K")[:, : check_integer("k", k, 1)]
    check_tensor("item_probabilities", item_probabilities, "float", "n_items")
    if first.numel() and int(first.max()) >= len(item_probabilities):
        raise DataError(
            f"ranked names item {int(first.max())}, but there are {len(item_probabilities)} probabilities."
        )
    if not bool(((item_probabilities > 0) & (item_probabilities <= 1)).all()):
        raise DataError(
            "item_probabilities must be above 0 and at most 1: an item of probability 0 would carry infinite "
            "information. Give items that nobody has a small probability, such as 1 / n_users."
        )
    present = first >= 0
    bits = -torch.log2(item_probabilities.to(ranked.device, float_type(ranked)))
    return (bits[first.clamp(min=0)] * present).sum(1) / present.sum(1)


def gini(ranked: Tensor, n_items: int, k: int) -> Tensor:
    r"""Return how unequally the recommendations fall on the items: 0 for evenly, near 1 for a few items only.

    .. math:: G@k = \frac{\sum_{j=1}^{n} (2j - n - 1) \, c_{(j)}}{n \sum_{j=1}^{n} c_{(j)}}

    :math:`c_{(1)} \le \dots \le c_{(n)}` are the numbers of users that each of the ``n`` items is
    recommended to, with zeros for the items never recommended (Fleder and Hosanagar 2009).

    Parameters as in :func:`coverage`.

    Returns
    -------
    Tensor, a scalar
        ``nan`` if nothing is recommended.

    Examples
    --------
    >>> gini(torch.tensor([[0], [0], [0]]), n_items=4, k=1)
    tensor(0.7500, dtype=torch.float64)
    """
    counts = _recommendation_counts(ranked, n_items, k).sort().values.to(float_type(ranked))
    weights = 2 * torch.arange(1, n_items + 1, device=ranked.device) - n_items - 1
    return (weights * counts).sum() / (n_items * counts.sum())


def float_type(tensor: Tensor) -> torch.dtype:
    """Return the type that metrics are computed in on the device of ``tensor``: MPS has no float64."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def _recommendation_counts(ranked: Tensor, n_items: int, k: int) -> Tensor:
    check_integer("n_items", n_items, 1)
    first = check_tensor("ranked", ranked, "int", "n_users", "K")[:, : check_integer("k", k, 1)]
    counts = torch.bincount(first[first >= 0].long(), minlength=n_items)
    if len(counts) > n_items:
        raise DataError(f"ranked names item {len(counts) - 1}, but n_items is {n_items}.")
    return counts
