"""Steps that touch only those rows of a large table that a batch has used.

>>> table = torch.nn.Parameter(torch.zeros(1_000_000, 2))
>>> optimizer = LazyAdam([table], lr=0.1)
>>> (take_rows(table, torch.tensor([7, 9])) - 1).square().sum().backward()
>>> optimizer.step()
>>> table.detach()[[7, 8, 9], 0]
tensor([0.1000, 0.0000, 0.1000])
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from recsys_lib import _optimizers

# Share of the rows from which on a CPU goes through the whole table. Measured with rows of 200 numbers.
_SPREAD_FROM = 0.65
# Numbers of the rows that a CPU steps together, so that they stay in its cache between the operations.
_NUMBERS = 2**18

# Optimizers that look up the rows of a table themselves. Not an attribute of the table, which is pickled.
readers: Any = WeakTensorKeyDictionary()

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


def gradient_of_rows(rows: Tensor, slopes: Tensor, shape: torch.Size) -> Tensor:
    """Return the gradient of a table of which some rows were looked up, each once, in ascending order."""
    # The rows were checked when they were looked up.
    with torch.sparse.check_sparse_tensor_invariants(enable=False):
        return torch.sparse_coo_tensor(rows.unsqueeze(0), slopes, shape, is_coalesced=True)


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = table.shape
        optimizer = readers.get(table, lambda: None)()
        found: Tensor = table.index_select(0, rows) if optimizer is None else optimizer.look_up(table, rows)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return gradient_of_rows(rows, slopes, ctx.shape), None


class _LazyRows(torch.optim.Optimizer):
    """What :class:`LazyAdam` and its kin have in common: the step of a sparse gradient."""

    _decoupled: ClassVar[bool]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        self._step_all()
        return result

    def _step_all(self) -> None:
        """Do one step by the gradients that are there."""
        held: list[tuple[Tensor, Tensor]] = []
        absent: list[tuple[Tensor, Tensor, list[Tensor]]] = []
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and p.grad.is_sparse:
                    held.append((p, p.grad))
                    rows, slopes = _rows_and_slopes(p.grad)
                    if self._are_most(p, rows):
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

    def _are_most(self, p: Tensor, rows: Tensor) -> bool:
        """Tell whether a step of these rows had better go through the whole table."""
        return p.device.type == "cpu" and _SPREAD_FROM * len(p) <= len(rows)

    def _state_of(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        for option in ("amsgrad", "maximize"):
            if group[option]:
                raise ValueError(f"{option}=True is for ordinary gradients, and one of these is sparse.")
        state: dict[str, Any] = self.state[p]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        return state

    def _last_of(self, p: Tensor) -> Tensor:
        """Return the step in which the moments of each row were last up to date, (n,)."""
        state = self.state[p]
        if "last" not in state:
            state["last"] = torch.zeros(len(p), device=p.device)
        last: Tensor = state["last"]
        return last

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
        last = self._last_of(p)
        missed = step - last.index_select(0, rows)
        late = (missed > 1).nonzero()[:, 0]
        if len(late):
            back, t = rows[late], (missed[late] - 1).view(-1, *[1] * (p.ndim - 1))
            for table, beta in zip(self._tables(p)[1:], group["betas"], strict=True):
                table.index_copy_(0, back, table.index_select(0, back).mul_(beta**t))
        last.index_fill_(0, rows, step)
        others = torch.ones(len(p), dtype=torch.bool).index_fill_(0, rows, False).nonzero()[:, 0]
        p.grad = torch.empty_like(p).index_copy_(0, rows, slopes).index_fill_(0, others, 0.0)
        return p, others, [table.index_select(0, others) for table in self._tables(p)]

    def _step_rows(self, p: Tensor, rows: Tensor, slopes: Tensor, group: dict[str, Any]) -> None:
        """Step rows by their slopes."""
        state = self._state_of(p, group)
        self._go_through(p, rows, group, float(state["step"]), slopes)
        state["step"] += 1

    def _go_through(
        self, p: Tensor, rows: Tensor, group: dict[str, Any], done: float, slopes: Tensor | None
    ) -> None:
        """Collect rows, make up for steps that they missed, step them by any slopes, and put them back."""
        last = self._last_of(p)
        since = last.index_select(0, rows)
        last.index_fill_(0, rows, done if slopes is None else done + 1)
        # Whether a row has missed a step is not asked on a GPU, which would have to wait for the answer.
        behind = p.device.type != "cpu" or bool((since < done).any())
        size = max(1, len(rows))
        if p.device.type == "cpu":
            size = max(1, _NUMBERS * len(p) // max(1, p.numel()))
        steps = torch.full((), done + 1, device=p.device)
        some = itertools.repeat(None) if slopes is None else slopes.split(size)
        for part, was, slope in zip(rows.split(size), since.split(size), some, strict=False):
            values, first, second = (table.index_select(0, part) for table in self._tables(p))
            if behind:
                self._make_up(group, was, done, values, first, second)
            if slope is not None:
                # One kernel for all: a step of the whole network takes a CPU a twentieth less.
                _optimizers.step_tensors(
                    group, [values], [slope], [first], [second], [steps], decoupled=self._decoupled
                )
            for table, stepped in zip(self._tables(p), (values, first, second), strict=True):
                table.index_copy_(0, part, stepped)

    def _make_up(
        self, group: dict[str, Any], since: Tensor, done: float, values: Tensor, first: Tensor, second: Tensor
    ) -> None:
        """Let moments that were last up to date at some steps fade until now."""
        missed = beside(done - since, first)
        for moment, beta in zip((first, second), group["betas"], strict=True):
            moment.mul_(beta**missed)


def beside(numbers: Tensor, rows: Tensor) -> Tensor:
    """Give a number for each row the dimensions of the rows."""
    return numbers.view(-1, *[1] * (rows.ndim - 1))


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
