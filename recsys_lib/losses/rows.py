r"""Losses of whole rows: the scores of many items for each person, beside the list of those that they have.

A row of the target is nearly all zeros, so it is never made. Each loss is a sum over all items as if they
were zeros, and a correction for the few that are not. The gradient is worked out along with the value.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_kind, check_number
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories


def multinomial(scores: Tensor, targets: Histories) -> Tensor:
    r"""Return the negative log-likelihood of a row's items under a softmax over all items.

    .. math:: -\frac 1 B \sum_u \sum_{i \in H_u} \log \frac{e^{s_{ui}}}{\sum_j e^{s_{uj}}}

    Equation 2 of Liang et al. (2018).

    Parameters
    ----------
    scores : Tensor of float, shape (b, m)
        Logits.
    targets : Histories, b lists over m items
        The items that each row should give.

    Returns
    -------
    Tensor, scalar
        The mean over the rows of the sum over their items.

    Raises
    ------
    DataError
        If the shapes do not fit.

    Examples
    --------
    >>> multinomial(torch.zeros(1, 4), Histories.from_lists([[2]], n_items=4))  # log 4
    tensor(1.3863)
    """
    _check(scores, targets)
    with torch.no_grad():
        own, lengths = targets.pairs(), targets.lengths().to(scores.dtype).unsqueeze(1)
        # Less the largest of each row: no overflow, no large numbers taken from each other, one exponential.
        gradient = scores - scores.amax(1, keepdim=True)
        total = -gradient[own].sum()
        sums = gradient.exp_().sum(1, keepdim=True)
        total += (lengths * sums.log()).sum()
        gradient.mul_(lengths / sums)
        gradient[own] -= 1
    return _mean(scores, total, gradient)


def row_logistic(scores: Tensor, targets: Histories) -> Tensor:
    r"""Return the binary cross-entropy of a whole row: 1 for its items, 0 for all others.

    .. math:: -\frac 1 B \sum_u \Big[ \sum_{i \in H_u} \log \sigma(s_{ui})
              + \sum_{i \notin H_u} \log\big(1 - \sigma(s_{ui})\big) \Big]

    Parameters
    ----------
    scores : Tensor of float, shape (b, m)
        Logits.
    targets : Histories, b lists over m items

    Returns
    -------
    Tensor, scalar
        The mean over the rows of the sum over all items. (:class:`torch.nn.BCEWithLogitsLoss` divides by the
        number of items as well.)

    Raises
    ------
    DataError
        If the shapes do not fit.

    Examples
    --------
    >>> row_logistic(torch.zeros(1, 4), Histories.from_lists([[2]], n_items=4))  # 4 log 2
    tensor(2.7726)
    """
    _check(scores, targets)
    with torch.no_grad():
        own = targets.pairs()
        # log(1 + exp(s)), in the memory of the gradient: what is new has to be mapped first.
        gradient = softplus(scores)
        total = gradient.sum() - scores[own].sum()
        torch.sigmoid(scores, out=gradient)
        gradient[own] -= 1
    return _mean(scores, total, gradient)


def row_squared_error(scores: Tensor, targets: Histories, confidence: float = 0.0) -> Tensor:
    r"""Return the squared distance of a row from ones for its items and zeros for all others.

    .. math:: \frac 1 B \sum_u \Big[ (1 + c) \sum_{i \in H_u} (1 - s_{ui})^2
              + \sum_{i \notin H_u} s_{ui}^2 \Big]

    Parameters
    ----------
    scores : Tensor of float, shape (b, m)
    targets : Histories, b lists over m items
    confidence : float
        :math:`c`, at least 0: how much more an item counts that the person has.

    Returns
    -------
    Tensor, scalar
        The mean over the rows of the sum over all items.

    Raises
    ------
    DataError
        If the shapes do not fit.

    Examples
    --------
    >>> scores = torch.tensor([[0.5, 0.5]])
    >>> row_squared_error(scores, Histories.from_lists([[0]], n_items=2), confidence=3.0)  # 4/4 + 1/4
    tensor(1.2500)
    """
    _check(scores, targets)
    weight = 1 + check_number("confidence", confidence, 0)
    with torch.no_grad():
        own = targets.pairs()
        known = scores[own]
        total = scores.square().sum() - known.square().sum() + weight * (1 - known).square().sum()
        gradient = 2 * scores
        gradient[own] = 2 * weight * (known - 1)
    return _mean(scores, total, gradient)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""Return how far normal distributions are from the standard one.

    .. math:: \frac{1}{2B} \sum_u \sum_k \big(\mu_{uk}^2 + \sigma_{uk}^2 - 1 - \log \sigma_{uk}^2\big)

    The Kullback-Leibler divergence, appendix B of Kingma and Welling (2014).

    Parameters
    ----------
    mean, log_variance : Tensor of float, shape (b, d)
        :math:`\mu` and :math:`\log \sigma^2`.

    Returns
    -------
    Tensor, scalar
        The mean over the rows.

    Examples
    --------
    >>> gaussian_kl(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
    tensor(0.5000)
    """
    check_tensor("mean", mean, "float", "b", "d")
    check_tensor("log_variance", log_variance, "float", *mean.shape)
    return 0.5 * (mean * mean + log_variance.exp() - 1 - log_variance).sum(1).mean()


def _check(scores: Tensor, targets: Histories) -> None:
    check_tensor("scores", scores, "float")
    check_kind("targets", targets, Histories)
    if scores.shape != (len(targets), targets.n_items):
        raise DataError(
            f"scores of shape {tuple(scores.shape)} do not fit {len(targets)} histories over "
            f"{targets.n_items} items: they need shape {(len(targets), targets.n_items)}."
        )


class _Mean(torch.autograd.Function):
    """Divides a sum over rows, whose gradient has been worked out along with it, by their number."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, total: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return total / max(1, len(scores))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (slope / max(1, len(gradient))), None, None


def _mean(scores: Tensor, total: Tensor, gradient: Tensor) -> Tensor:
    result: Tensor = _Mean.apply(scores, total, gradient)
    return result
