r"""What models minimise: pure functions on tensors, each a mean that can be differentiated.

>>> import torch
>>> predicted, actual = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 2.0])
>>> squared_error(predicted, actual)
tensor(2.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lib.errors import DataError

__all__ = ["l2_penalty", "squared_error"]


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
    lengths = [len(v) for v in vectors]
    if len(set(lengths)) != 1:
        raise DataError(f"the vectors must belong to one batch, got batches of {lengths} rows.")
    total = sum((v.square().sum() for v in vectors), start=vectors[0].new_zeros(()))
    return total / max(1, lengths[0])
