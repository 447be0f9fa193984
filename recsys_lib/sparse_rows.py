"""Steps that touch only those rows of a large table that a batch has used.

>>> table = torch.nn.Parameter(torch.zeros(1_000_000, 2))
>>> optimizer = LazyAdam([table], lr=0.1)
>>> (take_rows(table, torch.tensor([7, 9])) - 1).square().sum().backward()
>>> optimizer.step()
>>> table.detach()[[7, 8, 9], 0]
tensor([0.1000, 0.0000, 0.1000])
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from recsys_lib import _optimizers

# Share of the rows from which on a CPU goes through the whole table. Measured with rows of 200 numbers.
_SPREAD_FROM = 0.65
# Numbers of the rows that a CPU steps together, so that they stay in its cache between the operations.
_NUMBERS = 2**17

__all__ = ["LazyAdam", "LazyAdamW", "clip_gradients", "take_rows"]


def take_rows(table: Tensor, rows: Tensor) -> Tensor:
    """Look up rows of a table, each at most once, so that its gradient holds these rows alone.

    Parameters
    ----------
    table : Tensor of float, shape (n, d) or (n,)
        A leaf: an ``nn.Parameter``, for an optimizer that takes sparse gradients, such as :class:`LazyAdam`.
    rows : Tensor of int64, shape (m,)
        Different from each other, ascending.

    Returns
    -------
    Tensor, shape (m, d) or (m,)
    """
    result: Tensor = _Rows.apply(table, rows)
    return result


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = table.shape
        return table.index_select(0, rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        # The rows were checked when they were looked up.
        with torch.sparse.check_sparse_tensor_invariants(enable=False):
            return torch.sparse_coo_tensor(rows.unsqueeze(0), slopes, ctx.shape, is_coalesced=True), None


class _LazyRows(torch.optim.Optimizer):
    """What :class:`LazyAdam` and :class:`LazyAdamW` have in common: the step of a sparse gradient."""

    _decoupled: ClassVar[bool]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        held: list[tuple[Tensor, Tensor]] = []
        absent: list[tuple[Tensor, Tensor, list[Tensor]]] = []
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p.grad.is_sparse:
                    held.append((p, p.grad))
                    rows, slopes = _rows_and_slopes(p.grad)
                    if p.device.type == "cpu" and _SPREAD_FROM * len(p) <= len(rows):
                        absent.append(self._spread(p, rows, slopes, group))
                    else:
                        self._step_rows(p, rows, slopes, group)
                        p.grad = None  # Adam passes over what has no gradient
        super().step()
        for p, others, before in absent:
            for table, values in zip(self._tables(p), before, strict=True):
                table.index_copy_(0, others, values)
        for p, gradient in held:
            p.grad = gradient
        return result

    def _state_of(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        for option in ("amsgrad", "maximize"):
            if group[option]:
                raise ValueError(f"{option}=True is for ordinary gradients, and one of these is sparse.")
        state: dict[str, Any] = self.state[p]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
            state["last"] = torch.zeros(len(p), device=p.device)
        return state

    def _tables(self, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return p, self.state[p]["exp_avg"], self.state[p]["exp_avg_sq"]

    def _spread(
        self, p: Tensor, rows: Tensor, slopes: Tensor, group: dict[str, Any]
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Make the gradient an ordinary one, and return the other rows with what they shall have again.

        If the rows are most of the table, one pass over all of it takes a CPU less time than to collect them,
        to go over them many times, and to put them back: with nine tenths of 26,744 rows less than half.
        """
        state = self._state_of(p, group)
        step = float(state["step"]) + 1
        missed = step - state["last"].index_select(0, rows)
        late = (missed > 1).nonzero()[:, 0]
        if len(late):
            back, t = rows[late], (missed[late] - 1).view(-1, *[1] * (p.ndim - 1))
            for table, beta in zip(self._tables(p)[1:], group["betas"], strict=True):
                table.index_copy_(0, back, table.index_select(0, back).mul_(beta**t))
        state["last"].index_fill_(0, rows, step)
        others = torch.ones(len(p), dtype=torch.bool).index_fill_(0, rows, False).nonzero()[:, 0]
        p.grad = torch.empty_like(p).index_copy_(0, rows, slopes).index_fill_(0, others, 0.0)
        return p, others, [table.index_select(0, others) for table in self._tables(p)]

    def _step_rows(self, p: Tensor, rows: Tensor, slopes: Tensor, group: dict[str, Any]) -> None:
        """Collect the rows, step them, and put them back."""
        state = self._state_of(p, group)
        state["step"] += 1
        step = float(state["step"])
        # Steps since the moments were last up to date; 1 for a row that is in every gradient.
        missed = (step - state["last"].index_select(0, rows)).view(-1, *[1] * (p.ndim - 1))
        state["last"].index_fill_(0, rows, step)
        size = max(1, len(rows))
        if p.device.type == "cpu":
            size = max(1, _NUMBERS * len(rows) // max(1, slopes.numel()))
        for part in zip(rows.split(size), slopes.split(size), missed.split(size), strict=True):
            self._step_part(p, *part, step, group)

    def _step_part(
        self, p: Tensor, rows: Tensor, slopes: Tensor, missed: Tensor, step: float, group: dict[str, Any]
    ) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        values, first, second = (table.index_select(0, rows) for table in self._tables(p))
        if group["weight_decay"]:
            if self._decoupled:
                values.mul_(1 - lr * group["weight_decay"])
            else:
                slopes = slopes.add(values, alpha=group["weight_decay"])
        first.mul_(beta1**missed).add_(slopes, alpha=1 - beta1)
        second.mul_(beta2**missed).addcmul_(slopes, slopes, value=1 - beta2)
        self.state[p]["exp_avg"].index_copy_(0, rows, first)
        self.state[p]["exp_avg_sq"].index_copy_(0, rows, second)
        scale = lr / (1 - beta1**step)
        second.sqrt_().div_(math.sqrt(1 - beta2**step)).add_(group["eps"])
        p.index_copy_(0, rows, values.addcdiv_(first, second, value=-scale))


def _rows_and_slopes(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of a sparse gradient, ascending, each once, and what belongs to them."""
    rows = gradient._indices()[0]
    # Autograd forgets that they are in order already, and sorting them takes a CPU far longer than this.
    if not (rows.device.type == "cpu" and bool((rows[1:] > rows[:-1]).all())):
        gradient = gradient.coalesce()
    return gradient._indices()[0], gradient._values()


class LazyAdam(_LazyRows, _optimizers.Adam):
    r"""Adam (Kingma and Ba 2015) that leaves rows without a gradient alone.

    For parameters with ordinary gradients this *is* :class:`torch.optim.Adam`, with its arguments. Where the
    gradient is sparse, only its rows are read and written, so that a step costs in proportion to them and not
    to the table; weight decay, too, reaches these rows only. If every row is in every gradient, the result is
    that of Adam.

    A row that is back after :math:`t` steps has had no gradient for so long. Adam would have let its two
    moments fade by :math:`\beta_1^t` and :math:`\beta_2^t`, and so does this. What it leaves out is the
    drift: Adam would also have moved the row on, by what was left of its first moment.
    """

    _decoupled = False


class LazyAdamW(_LazyRows, _optimizers.AdamW):
    """:class:`LazyAdam` with the weight decay of AdamW (Loshchilov and Hutter 2019)."""

    _decoupled = True


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> None:
    """Rescale all gradients together when their norm is larger than ``max_norm``, sparse ones too.

    Like :func:`torch.nn.utils.clip_grad_norm_`, which takes dense gradients only.
    """
    slopes = []
    for p in parameters:
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.coalesce()  # a row that is there twice has the sum of both as its gradient
            slopes.append(p.grad.values())
        elif p.grad is not None:
            slopes.append(p.grad)
    if slopes:
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in slopes]))
        scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
        for one in slopes:
            one.mul_(scale)
