r"""Losses of single ratings, and of positives beside sampled negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu, softplus

from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_integer, check_number
from recsys_lib.errors import DataError


def squared_error(predicted: Tensor, actual: Tensor, mask: Tensor | None = None) -> Tensor:
    r"""Return the mean squared error, over the observed entries only when there is a mask.

    .. math:: \frac{1}{|\mathcal{K}|} \sum_{(u, i) \in \mathcal{K}} (r_{ui} - \hat r_{ui})^2

    Parameters
    ----------
    predicted, actual : Tensor of float, same shape
        :math:`\hat r` and :math:`r`, in the units of the ratings.
    mask : Tensor of bool, same shape, optional
        True where a rating was observed: the set :math:`\mathcal{K}`. What ``actual`` holds elsewhere is
        never looked at, so it may be zero or NaN. Without a mask all entries count.

    Returns
    -------
    Tensor, scalar
        0 if the mask is False everywhere.

    Raises
    ------
    DataError
        If the shapes differ. (Broadcasting a row against a column would silently compare all pairs.)

    Examples
    --------
    >>> row = torch.tensor([[5.0, 0.0, 1.0]])
    >>> squared_error(torch.tensor([[4.0, 3.0, 1.0]]), row, mask=row > 0)
    tensor(0.5000)
    """
    check_tensor("predicted", predicted, "float")
    check_tensor("actual", actual, "float")
    shapes = {tuple(t.shape) for t in (predicted, actual, mask) if t is not None}
    if len(shapes) > 1:
        raise DataError(
            f"predicted, actual and mask must have one shape, got {', '.join(map(str, sorted(shapes)))}."
        )
    if mask is None:
        return (predicted - actual).square().mean()
    # Chosen before squaring: a NaN times zero would still be NaN, in the gradient too.
    errors = torch.where(mask, predicted - actual, 0)
    return errors.square().sum() / mask.sum().clamp(min=1)


def l2_penalty(*vectors: Tensor) -> Tensor:
    r"""Return the mean over a batch of the squared lengths of its vectors.

    .. math:: \frac{1}{B} \sum_{b=1}^{B} \sum_{v} \lVert v_b \rVert^2

    The rows are the vectors that the examples of the batch use. So a user or item is penalised once for
    each of its examples: that is the penalty inside the sum over ratings of Koren, Bell and Volinsky (2009,
    equation 5). Weight decay is another model: it shrinks every row in every step, however rarely used.

    Parameters
    ----------
    *vectors : Tensors of float, shape (B, d) or (B,)
        Each with its own d; a tensor of shape (B,) holds single numbers such as biases.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> l2_penalty(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([2.0, 0.0]))
    tensor(14.5000)
    """
    lengths = [len(check_tensor("vectors", v, "float")) for v in vectors]
    if len(set(lengths)) != 1:
        raise DataError(f"the vectors must belong to one batch, got batches of {lengths} rows.")
    total = sum((v.square().sum() for v in vectors), start=vectors[0].new_zeros(()))
    return total / max(1, lengths[0])


# What follows compares the logit of something that happened with logits of things that did not.
# ``positive`` has shape (b,), ``negative`` shape (b, n): n sampled items for each positive.


def _check(positive: Tensor, negative: Tensor) -> None:
    # Other shapes would be broadcast, and a positive compared with the negatives of another.
    check_tensor("positive", positive, "float", "b")
    check_tensor("negative", negative, "float", len(positive), "n")


def logistic(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Return the mean binary cross-entropy of positives (label 1) and sampled negatives (label 0).

    .. math:: -\frac{1}{B(1+n)} \sum_b \Big[ \log \sigma(s_b)
              + \sum_{j=1}^{n} \log\big(1 - \sigma(s_{bj})\big) \Big]

    The pointwise log loss, equation 7 of He et al. (2017).

    Parameters
    ----------
    positive, negative : Tensor of float, shapes (b,) and (b, n)
        Logits.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> logistic(torch.zeros(1), torch.zeros(1, 4))
    tensor(0.6931)
    """
    _check(positive, negative)
    total = softplus(-positive).sum() + softplus(negative).sum()
    return total / max(1, positive.numel() + negative.numel())


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    r"""Return the loss of Bayesian personalised ranking: positives should beat negatives.

    .. math:: -\frac{1}{Bn} \sum_b \sum_{j=1}^{n} \log \sigma(s_b - s_{bj})

    Rendle et al. (2009), section 4.1, without its penalty.

    Parameters
    ----------
    positive, negative : Tensor of float, shapes (b,) and (b, n)
        Scores; only their differences count.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> bpr(torch.tensor([2.0]), torch.tensor([[2.0]]))
    tensor(0.6931)
    """
    _check(positive, negative)
    return softplus(negative - positive.unsqueeze(1)).mean()


def hinge(positive: Tensor, negative: Tensor, margin: float = 1.0) -> Tensor:
    r"""Return by how much negatives come closer to their positive than the margin.

    .. math:: \frac{1}{Bn} \sum_b \sum_{j=1}^{n} \max(0,\; m - s_b + s_{bj})

    Parameters
    ----------
    positive, negative : Tensor of float, shapes (b,) and (b, n)
    margin : float
        :math:`m`.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> hinge(torch.tensor([2.0]), torch.tensor([[0.5, 1.5]]))
    tensor(0.2500)
    """
    _check(positive, negative)
    return relu(check_number("margin", margin, 0) - positive.unsqueeze(1) + negative).mean()


def warp(positive: Tensor, negative: Tensor, n_items: int, margin: float = 1.0) -> Tensor:
    r"""Return a hinge loss in which a positive counts more, the lower it seems to be ranked.

    The negatives of a positive are gone through in their order until one breaks the margin. If that takes
    :math:`t` trials, the positive has a rank of about :math:`r = \lfloor (|I| - 1) / t \rfloor`, and

    .. math:: \frac{1}{B} \sum_b \Big(\sum_{q=1}^{r_b} \frac 1 q\Big) \max(0,\; m - s_b + s_{b t_b})

    If none breaks it, the positive counts nothing. Weston, Bengio and Usunier (2011), with at most
    :math:`n` trials, which are all scored at once.

    Parameters
    ----------
    positive, negative : Tensor of float, shapes (b,) and (b, n)
        The negatives in the order in which they were drawn.
    n_items : int
        Size of the catalogue :math:`|I|`.
    margin : float
        :math:`m`.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> warp(torch.tensor([2.0]), torch.tensor([[0.5, 1.5]]), n_items=5)  # rank 2: (1 + 1/2) * 0.5
    tensor(0.7500)
    """
    _check(positive, negative)
    check_integer("n_items", n_items, 1)
    close = check_number("margin", margin, 0) - positive.unsqueeze(1) + negative
    breaks = close > 0
    first = breaks.int().argmax(1, keepdim=True)
    rank = torch.clamp((n_items - 1) // (first + 1), min=1).to(close.dtype)
    # The harmonic number, by the digamma function: H(r) = psi(r + 1) + Euler's constant.
    weight = torch.digamma(rank + 1) + 0.5772156649
    return (weight * relu(close.gather(1, first))).mean()


def sampled_softmax(
    positive: Tensor,
    negative: Tensor,
    log_q_positive: Tensor | None = None,
    log_q_negative: Tensor | None = None,
) -> Tensor:
    r"""Return the cross-entropy of picking the positive among itself and its negatives.

    .. math:: -\frac 1 B \sum_b \log \frac{e^{s_b}}{e^{s_b} + \sum_j e^{s_{bj}}}

    Parameters
    ----------
    positive, negative : Tensor of float, shapes (b,) and (b, n)
        Logits.
    log_q_positive, log_q_negative : Tensor of float, same shapes, optional
        Log of the chance of each item to be drawn. It is subtracted from the logits, which makes up for
        popular items being negatives more often (Bengio and Senecal 2008).

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> sampled_softmax(torch.zeros(1), torch.zeros(1, 1))
    tensor(0.6931)
    """
    _check(positive, negative)
    if (log_q_positive is None) != (log_q_negative is None):
        raise DataError("log_q_positive and log_q_negative go together: give both or none.")
    if log_q_positive is not None and log_q_negative is not None:
        positive, negative = positive - log_q_positive, negative - log_q_negative
    logits = torch.cat([positive.unsqueeze(1), negative], dim=1)
    return (logits.logsumexp(1) - logits[:, 0]).mean()


def in_batch_softmax(
    scores: Tensor, items: Tensor, log_q: Tensor | None = None, known: Tensor | None = None
) -> Tensor:
    r"""Return the cross-entropy of picking a row's own item among all items of the batch.

    The positives of the other rows serve as negatives, so that nothing has to be drawn. Popular items are
    then negatives more often, in proportion to how often they occur. Subtracting :math:`\log q` from the
    logits makes up for that (Yi et al. 2019, section 3).

    Parameters
    ----------
    scores : Tensor of float, shape (b, c)
        Logit of the item of each column for the user of each row; the diagonal holds the positives. There
        may be more columns than rows.
    items : Tensor of int64, shape (c,)
        The items of the columns. The same item in another column is not a negative.
    log_q : Tensor of float, shape (c,), optional
        Log of the share of each item among all positives.
    known : Tensor of bool, shape (b, c), optional
        True where the item is in the row's history: not a negative either.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> scores = torch.zeros(3, 3)
    >>> in_batch_softmax(scores, torch.tensor([0, 1, 2]))  # one of three
    tensor(1.0986)
    >>> in_batch_softmax(scores, torch.tensor([0, 1, 1]))  # one of three, of two, of two
    tensor(0.8283)
    """
    check_tensor("scores", scores, "float", "b", "c")
    check_tensor("items", items, "int", scores.shape[1])
    logits = scores if log_q is None else scores - log_q
    b = len(scores)
    hidden = items.unsqueeze(0) == items[:b].unsqueeze(1)
    if known is not None:
        hidden = hidden | known
    own = torch.eye(b, len(items), dtype=torch.bool, device=items.device)
    logits = logits.masked_fill(hidden & ~own, -torch.inf)
    return cross_entropy(logits, torch.arange(b, device=items.device))
