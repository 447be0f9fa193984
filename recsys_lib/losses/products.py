r"""The squared error of scores that are products of vectors, worked out without making the scores.

For the squared error all that is to be known of the b times m scores is their sum of squares, and the scores
of the few items that people have. The sum of squares of a product follows from two small matrices:

.. math:: \sum_{u,i} (z_u^\top v_i)^2 = \langle Z^\top Z, V^\top V \rangle

That is the trick of iALS (Hu et al. 2008, section 4), here for the steps of a network.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recsys_lib._products import dots, sums
from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_kind, check_number
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories


def product_squared_error(
    vectors: Tensor, table: Tensor, bias: Tensor, targets: Histories, confidence: float = 0.0
) -> Tensor:
    r"""Return what :func:`row_squared_error` does for the scores ``vectors @ table.T + bias``.

    .. math:: \frac 1 B \sum_u \Big[ (1 + c) \sum_{i \in H_u} (1 - s_{ui})^2
              + \sum_{i \notin H_u} s_{ui}^2 \Big], \qquad s_{ui} = z_u^\top v_i + a_i

    It costs d (b + m) d multiplications and d for each entry of the targets, instead of b m d.

    Parameters
    ----------
    vectors : Tensor of float, shape (b, d)
        :math:`z_u`.
    table : Tensor of float, shape (m, d)
        :math:`v_i`.
    bias : Tensor of float, shape (m,)
        :math:`a_i`.
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
    >>> z, v, a = torch.ones(1, 1), torch.tensor([[0.5], [0.5]]), torch.zeros(2)
    >>> product_squared_error(z, v, a, Histories.from_lists([[0]], n_items=2), confidence=3.0)  # 4/4 + 1/4
    tensor(1.2500)
    """
    for name, factor in (("vectors", vectors), ("table", table), ("bias", bias)):
        check_tensor(name, factor, "float")
    check_kind("targets", targets, Histories)
    shapes = tuple(vectors.shape), tuple(table.shape), tuple(bias.shape)
    d = vectors.shape[-1] if vectors.ndim else 0
    if shapes != ((len(targets), d), (targets.n_items, d), (targets.n_items,)):
        raise DataError(
            f"vectors, table and bias of shapes {shapes[0]}, {shapes[1]} and {shapes[2]} do not fit "
            f"{len(targets)} histories over {targets.n_items} items: they need shapes "
            f"({len(targets)}, d), ({targets.n_items}, d) and ({targets.n_items},)."
        )
    weight = 1 + check_number("confidence", confidence, 0)
    result: Tensor = _SquaredError.apply(vectors, table, bias, targets, weight)
    return result


class _SquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, v: Tensor, bias: Tensor, targets: Histories, weight: float) -> Tensor:
        n, items = max(1, len(z)), targets.indices
        known = dots(targets, z, v) + bias[items]
        squares_z, squares_v, sum_z, biased = z.T @ z, v.T @ v, z.sum(0), v.T @ bias
        total = (squares_z * squares_v).sum() + 2 * sum_z @ biased + len(z) * bias @ bias
        total += weight * (1 - known).square().sum() - known.square().sum()
        if any(ctx.needs_input_grad):
            # All scores are pulled to 0, and those of the targets besides from there to 1.
            pull = (2 / n) * ((weight - 1) * known - weight)
            to_z = torch.addmm(biased, z, squares_v, beta=2 / n, alpha=2 / n) + sums(v, targets, pull)
            people, places = targets.transposed(keep=True)
            to_v = torch.addmm(sums(z, people, pull[places]), v, squares_z, alpha=2 / n)
            to_v.addr_(bias, sum_z, alpha=2 / n)
            to_bias = torch.addmv(len(z) * bias, v, sum_z).mul_(2 / n).index_add_(0, items, pull)
            ctx.save_for_backward(to_z, to_v, to_bias)
        return total / n

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        to_z, to_v, to_bias = ctx.saved_tensors
        return to_z * slope, to_v * slope, to_bias * slope, None, None
