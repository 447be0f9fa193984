r"""Metrics of recommendation lists, score rows and predicted ratings: pure functions on tensors.

The metrics of a list start from ``ranked``, a tensor of shape (n_users, K) with item indices, best first.
Shorter lists are filled up with ``-1``, and a list names no item twice. Lists of any library will do.
:func:`hits` turns them into a table of hits, and most metrics read that table:

>>> import torch
>>> from recsys_lib.histories import Histories
>>> ranked = torch.tensor([[4, 1, 0], [2, 3, -1]])
>>> relevant = Histories.from_lists([[1, 0], [5]], n_items=6)
>>> hit = hits(ranked, relevant)
>>> recall(hit, relevant.lengths(), k=2)
tensor([0.5000, 0.0000], dtype=torch.float64)

What holds for all of them:

* There is one value per user, so the mean, the spread and a paired test are left to the caller. Only
  :func:`coverage` and :func:`gini` describe a whole set of lists, and :func:`rmse` and :func:`mae` a whole
  set of ratings.
* The work is done where the tensors are, without a loop over users. Values are float64, or float32 on
  Apple's MPS, which has no float64.
* ``k`` is the cut-off, at least 1. It may exceed the length of the list: the missing places are misses.
* A user without a relevant item has no defined value and gets ``nan``. :func:`hit_rate`, :func:`precision`
  and :func:`reciprocal_rank` can only know such a user when ``n_relevant`` is given; without it, they say 0.

In the formulas, :math:`R` is the set of a user's relevant items, and :math:`h_i` is 1 if place :math:`i` of
the list holds one of them, else 0. Books and libraries disagree on the denominator of recall, on that of
average precision and on the ideal list of NDCG. Both conventions are here; the default is named in each.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lib._list_metrics import coverage, float_type, gini, novelty
from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_flag, check_integer, check_kind
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories

__all__ = [
    "auc",
    "average_precision",
    "coverage",
    "gini",
    "hit_rate",
    "hits",
    "mae",
    "ndcg",
    "novelty",
    "precision",
    "recall",
    "reciprocal_rank",
    "rmse",
]


def hits(ranked: Tensor, relevant: Histories) -> Tensor:
    """Mark the places of each list that hold a relevant item.

    Parameters
    ----------
    ranked : Tensor of int, shape (n_users, K)
        Item indices, best first, ``-1`` where there is no item.
    relevant : Histories, n_users lists
        List ``i`` holds the relevant items of the user in row ``i``.

    Returns
    -------
    Tensor of bool, shape (n_users, K)

    Raises
    ------
    DataError
        If ``ranked`` is not two-dimensional, has another number of users than ``relevant``, or names an
        item outside the catalogue.
    """
    check_kind("relevant", relevant, Histories)
    check_tensor("ranked", ranked, "int", len(relevant), "K")
    if ranked.numel() and int(ranked.max()) >= relevant.n_items:
        raise DataError(
            f"ranked names item {int(ranked.max())}, but the catalogue has {relevant.n_items} items."
        )
    rows = torch.arange(len(ranked), device=ranked.device).unsqueeze(1).expand_as(ranked)
    found = relevant.contains(rows.reshape(-1), ranked.clamp(min=0).reshape(-1))
    return found.view_as(ranked) & (ranked >= 0)


def hit_rate(hits: Tensor, k: int, n_relevant: Tensor | None = None) -> Tensor:
    r"""Tell whether the first ``k`` places hold any relevant item: 1 or 0. The mean is the hit rate.

    .. math:: \mathrm{HR}@k = \max_{i \le k} h_i

    With one held-out item a user it equals recall@k (Deshpande and Karypis 2004).

    Parameters
    ----------
    hits : Tensor of bool, shape (n_users, K)
        From :func:`hits`.
    k : int
        Cut-off.
    n_relevant : Tensor of int, shape (n_users,), optional
        Only used to give ``nan`` to users without a relevant item.

    Returns
    -------
    Tensor, shape (n_users,)
    """
    return _defined(_first(hits, k).amax(1), n_relevant)


def precision(hits: Tensor, k: int, n_relevant: Tensor | None = None) -> Tensor:
    r"""Return the share of the first ``k`` places that hold a relevant item.

    .. math:: \mathrm{P}@k = \frac{1}{k} \sum_{i=1}^{k} h_i

    The denominator is always ``k``, also for shorter lists and for users with fewer than ``k`` relevant
    items (Manning, Raghavan and Schütze 2008, section 8.4). What some libraries call precision divides by
    :math:`\min(k, |R|)`: that is :func:`recall` with ``truncated=True``.

    Parameters and result as in :func:`hit_rate`.
    """
    return _defined(_first(hits, k).sum(1) / k, n_relevant)


def recall(hits: Tensor, n_relevant: Tensor, k: int, truncated: bool = False) -> Tensor:
    r"""Return the share of the relevant items that the first ``k`` places hold.

    .. math::
        \mathrm{R}@k = \frac{1}{|R|} \sum_{i=1}^{k} h_i
        \qquad \text{or, truncated,} \qquad
        \frac{1}{\min(k, |R|)} \sum_{i=1}^{k} h_i

    The first is the usual one (Manning, Raghavan and Schütze 2008) and cannot reach 1 for a user with more
    than ``k`` relevant items. The second can; it is the recall of the Mult-VAE papers (Liang et al. 2018).

    Parameters
    ----------
    hits : Tensor of bool, shape (n_users, K)
        From :func:`hits`.
    n_relevant : Tensor of int, shape (n_users,)
        How many relevant items each user has, found or not.
    k : int
        Cut-off.
    truncated : bool
        Divide by :math:`\min(k, |R|)`.

    Returns
    -------
    Tensor, shape (n_users,)
    """
    found = _first(hits, k).sum(1)
    return _defined(found / _normaliser(n_relevant, k, truncated, found), n_relevant)


def ndcg(hits: Tensor, n_relevant: Tensor, k: int, truncated: bool = True) -> Tensor:
    r"""Return the normalised discounted cumulative gain of the first ``k`` places, with gain 1 for a hit.

    .. math::
        \mathrm{NDCG}@k = \frac{\sum_{i=1}^{k} h_i / \log_2(i + 1)}{\sum_{i=1}^{m} 1 / \log_2(i + 1)},
        \qquad m = \min(k, |R|) \text{ or, untruncated, } m = |R|

    Järvelin and Kekäläinen (2002), with the discount of Burges et al. (2005). The base of the logarithm
    cancels. With the usual truncated ideal a perfect list of length ``k`` gets 1; the untruncated one
    gives far smaller values to users with many relevant items.

    Parameters
    ----------
    hits, n_relevant, k
        As in :func:`recall`.
    truncated : bool
        Cut the ideal list at ``k`` too.

    Returns
    -------
    Tensor, shape (n_users,)

    Examples
    --------
    >>> hit = torch.tensor([[False, True, False]])
    >>> round(float(ndcg(hit, torch.tensor([1]), k=3)), 4)  # 1 / log2(3)
    0.6309
    """
    first = _first(hits, k)
    n_relevant = _counts(n_relevant, first)
    # ideal[m] is the gain of a list whose first m places are all hits.
    longest = int(n_relevant.max()) if len(n_relevant) else 0
    discount = 1 / torch.log2(
        torch.arange(2, max(longest, first.shape[1]) + 2, device=first.device).to(first.dtype)
    )
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])
    best = ideal[n_relevant.clamp(max=k) if check_flag("truncated", truncated) else n_relevant]
    gain = (first * discount[: first.shape[1]]).sum(1)
    return _defined(gain / best, n_relevant)


def average_precision(hits: Tensor, n_relevant: Tensor, k: int, truncated: bool = False) -> Tensor:
    r"""Return the average precision of the first ``k`` places. The mean over users is MAP@k.

    .. math::
        \mathrm{AP}@k = \frac{1}{|R|} \sum_{i=1}^{k} h_i \, \mathrm{P}@i
        \qquad \text{or, truncated, with} \qquad \frac{1}{\min(k, |R|)}

    Manning, Raghavan and Schütze (2008, section 8.4). Over the whole ranking both agree. At a cut-off the
    first cannot reach 1 for a user with more than ``k`` relevant items.

    Parameters and result as in :func:`recall`.
    """
    first = _first(hits, k)
    place = torch.arange(1, first.shape[1] + 1, device=first.device)
    total = (first * first.cumsum(1) / place).sum(1)
    return _defined(total / _normaliser(n_relevant, k, truncated, total), n_relevant)


def reciprocal_rank(hits: Tensor, k: int, n_relevant: Tensor | None = None) -> Tensor:
    r"""Return one over the place of the first hit, 0 without a hit. The mean over users is MRR@k.

    .. math:: \mathrm{RR}@k = \max_{i \le k} \frac{h_i}{i}

    Voorhees (1999). Parameters and result as in :func:`hit_rate`.
    """
    first = _first(hits, k)
    place = torch.arange(1, first.shape[1] + 1, device=first.device)
    return _defined((first / place).amax(1), n_relevant)


def auc(scores: Tensor, positives: Tensor, excluded: Tensor | None = None) -> Tensor:
    r"""Return the area under the ROC curve: how often a relevant item is scored above one that is not.

    .. math::
        \mathrm{AUC} = \frac{1}{|P| \, |N|} \sum_{p \in P} \sum_{n \in N}
        \left( [s_p > s_n] + \tfrac{1}{2} [s_p = s_n] \right)

    Hanley and McNeil (1982); for recommenders Rendle et al. (2009). Ties count half, exactly. It is computed
    from the ranks of the positives in the sorted row.

    Parameters
    ----------
    scores : Tensor of float, shape (n_users, n_items)
        Higher is better. Infinite scores are compared like any other.
    positives : Tensor of bool, shape (n_users, n_items)
        The relevant items, :math:`P`.
    excluded : Tensor of bool, shape (n_users, n_items), optional
        Items that count on neither side, such as those that the user already has.

    Returns
    -------
    Tensor, shape (n_users,)
        ``nan`` for a user without a positive or without a negative.

    Raises
    ------
    DataError
        If the shapes differ or a score that counts is NaN.

    Examples
    --------
    >>> auc(torch.tensor([[0.9, 0.5, 0.5, 0.1]]), torch.tensor([[True, False, True, False]]))
    tensor([0.8750], dtype=torch.float64)
    """
    check_tensor("scores", scores, "float", "n_users", "n_items")
    for name, mask in (("positives", positives), ("excluded", excluded)):
        if name == "positives" or mask is not None:
            check_tensor(name, mask, "bool", *scores.shape)
    counted = torch.ones_like(positives) if excluded is None else ~excluded
    positives = positives & counted
    if bool((scores.isnan() & counted).any()):
        raise DataError("scores hold NaN: the AUC of a model that gives no score is not defined.")
    n_positives, n_counted = positives.sum(1), counted.sum(1)
    # Mann and Whitney: the mid-ranks of the positives among all that counts tell how often they win. Items
    # that do not count are moved to the end of the ascending row, where no rank reaches them.
    ascending = _sort_rows(scores.detach().masked_fill(~counted, torch.inf))
    rows, columns = positives.nonzero(as_tuple=True)
    width = max(1, int(n_positives.max())) if len(scores) else 1
    wanted = scores.new_zeros(len(scores), width)
    place = torch.arange(len(rows), device=scores.device) - (n_positives.cumsum(0) - n_positives)[rows]
    wanted[rows, place] = scores.detach()[rows, columns]
    below = torch.searchsorted(ascending, wanted)
    not_above = torch.searchsorted(ascending, wanted, right=True).minimum(n_counted.unsqueeze(1))
    real = torch.arange(width, device=scores.device) < n_positives.unsqueeze(1)
    # Twice the number of wins over everything that counts, less those over the positives themselves.
    doubled = ((below + not_above) * real).sum(1) - n_positives.square()
    return doubled.to(float_type(scores)) / (2 * n_positives * (n_counted - n_positives))


def rmse(predicted: Tensor, true: Tensor) -> Tensor:
    r"""Return the root mean squared error over all ratings.

    .. math:: \mathrm{RMSE} = \sqrt{\frac{1}{N} \sum_{j=1}^{N} (\hat{r}_j - r_j)^2}

    It is neither the mean of the users' RMSEs nor that of the batches': both differ from it.

    Parameters
    ----------
    predicted, true : Tensor, shape (n_ratings,)
        At least one rating.

    Returns
    -------
    Tensor, a scalar

    Examples
    --------
    >>> rmse(torch.tensor([4.0, 2.0]), torch.tensor([3.0, 5.0]))  # sqrt((1 + 9) / 2)
    tensor(2.2361, dtype=torch.float64)
    """
    return _errors(predicted, true).square().mean().sqrt()


def mae(predicted: Tensor, true: Tensor) -> Tensor:
    r"""Return the mean absolute error over all ratings.

    .. math:: \mathrm{MAE} = \frac{1}{N} \sum_{j=1}^{N} |\hat{r}_j - r_j|

    Parameters and result as in :func:`rmse`.
    """
    return _errors(predicted, true).abs().mean()


def _first(hits: Tensor, k: int) -> Tensor:
    """Return the hits of the first ``k`` places as 0.0 and 1.0; an empty list becomes one miss."""
    check_tensor("hits", hits, "bool", "n_users", "K")
    first = hits[:, : check_integer("k", k, 1)].to(float_type(hits))
    return first if first.shape[1] else first.new_zeros(len(first), 1)


def _defined(values: Tensor, n_relevant: Tensor | None) -> Tensor:
    if n_relevant is None:
        return values
    return values.masked_fill(_counts(n_relevant, values) == 0, float("nan"))


def _counts(n_relevant: Tensor, like: Tensor) -> Tensor:
    return check_tensor("n_relevant", n_relevant, "int", len(like)).to(like.device)


def _normaliser(n_relevant: Tensor, k: int, truncated: bool, like: Tensor) -> Tensor:
    n_relevant = _counts(n_relevant, like)
    return n_relevant.clamp(max=k) if check_flag("truncated", truncated) else n_relevant


def _sort_rows(scores: Tensor) -> Tensor:
    """Sort each row ascending; the tensor may be overwritten."""
    if scores.device.type == "cpu" and scores.dtype in (torch.float32, torch.float64):
        scores.numpy().sort(axis=1)  # in place; several times faster than torch.sort, which keeps the places
        return scores
    return scores.sort(1).values


def _errors(predicted: Tensor, true: Tensor) -> Tensor:
    for name, ratings in (("predicted", predicted), ("true", true)):
        if not isinstance(ratings, Tensor):
            raise TypeError(f"{name} must be a tensor of ratings, got {type(ratings).__name__}.")
    if predicted.shape != true.shape or not predicted.numel():
        raise DataError(
            "predicted and true must hold the same number of ratings, at least one; "
            f"got shapes {tuple(predicted.shape)} and {tuple(true.shape)}."
        )
    return predicted.to(float_type(predicted)) - true.to(predicted.device, float_type(predicted))
