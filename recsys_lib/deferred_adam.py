"""Adam for tables of which a step uses few rows: the result of every step, in the time of those few.

>>> from recsys_lib.sparse_rows import take_rows
>>> table = torch.nn.Parameter(torch.zeros(1_000_000, 2))
>>> optimizer = DeferredAdam([table], lr=0.1)
>>> for rows in ([7, 9], [7], [7]):
...     table.grad = None
...     (take_rows(table, torch.tensor(rows)) - 1).square().sum().backward()
...     optimizer.step()
>>> optimizer.finish()  # row 9 has moved on twice since its gradient, as Adam would have moved it
>>> table.detach()[[7, 8, 9], 0]
tensor([0.2984, 0.0000, 0.2188])
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys_lib import _optimizers, sparse_rows
from recsys_lib.sparse_rows import _LazyRows, beside

# Steps for which what is missed is worked out at once, at the least.
_STEPS = 2**12

__all__ = ["DeferredAdam"]


@dataclass(frozen=True)
class _Held:
    """Some rows of a table, looked up: their values, their first and their second moments."""

    rows: Tensor
    values: tuple[Tensor, Tensor, Tensor]


class DeferredAdam(_LazyRows, _optimizers.Adam):
    r"""Adam (Kingma and Ba 2015) that does a row's steps without a gradient only when the row is next read.

    The result is that of :class:`torch.optim.Adam` but for rounding, in a time that does not grow with the
    table. A row without a gradient moves on by what is left of its first moment. With the moments :math:`m`
    and :math:`v` after :math:`s` steps, the next :math:`t` steps without a gradient move it by

    .. math::
        -\alpha \frac{m A_1}{\sqrt{v} + \epsilon A_2 / A_1}, \qquad
        A_k = \sum_{j = 1}^t r_k^j h_k(s + j), \quad
        r_k = \frac{\beta_1}{\beta_2^{k/2}}, \quad h_k(i) = \frac{(1 - \beta_2^i)^{k/2}}{1 - \beta_1^i}

    where only :math:`\epsilon`, which differs a little between the steps, is a mean over them. The sums
    depend on the numbers of steps alone: with :math:`B_k(s)` for the sum without an end,
    :math:`A_k = B_k(s) - r_k^t B_k(s + t)`.

    :func:`recsys_lib.sparse_rows.take_rows` brings the rows that it looks up to date. Whoever reads the table
    in another way, or changes the learning rate, first calls :meth:`finish`. Weight decay would move every
    row in every step.

    Raises
    ------
    ValueError
        If there is weight decay, or the first of ``betas`` is not above 0 and below the second.
    """

    _decoupled = False

    def __init__(self, parameters: Any, **options: Any) -> None:
        super().__init__(parameters, **options)
        self._last: dict[Tensor, Tensor] = {}
        self._held: dict[Tensor, _Held] = {}
        self._sums: dict[tuple[float, float, int], Tensor] = {}
        for group in self.param_groups:
            if group["weight_decay"] or not 0 < group["betas"][0] < group["betas"][1]:
                raise ValueError(
                    f"DeferredAdam has no weight decay, and needs 0 < betas[0] < betas[1], got weight_decay="
                    f"{group['weight_decay']} and betas={group['betas']}. Use LazyAdam, or dense gradients."
                )
            for p in group["params"]:
                sparse_rows.readers[p] = weakref.ref(self)

    def _step_all(self) -> None:
        dense = [p for p in self._last if p.grad is not None and not p.grad.is_sparse]
        for p in dense:
            self._catch_up(p)
        super()._step_all()
        for p in dense:
            self._last[p].fill_(float(self.state[p]["step"]))

    @torch.no_grad()
    def look_up(self, p: Tensor, rows: Tensor) -> Tensor:
        """Return rows of a table as they are by now, (m,) -> (m, ...). The next step changes them."""
        if p not in self._last:
            return p.index_select(0, rows)
        self._put_back(p)
        group, done = self._group_of(p), float(self.state[p]["step"])
        since = self._last[p].index_select(0, rows)
        values, first, second = (table.index_select(0, rows) for table in self._tables(p))
        if p.device.type != "cpu" or bool((since < done).any()):
            self._make_up(group, since, done, values, first, second)
        # Not put back before the step, which most often is on these rows.
        self._held[p] = _Held(rows, (values.detach(), first, second))
        return values

    @torch.no_grad()
    def finish(self) -> None:
        """Bring all rows of all tables up to date."""
        for p in self._last:
            self._catch_up(p)

    def _catch_up(self, p: Tensor) -> None:
        self._put_back(p)
        done = float(self.state[p]["step"])
        rows = (self._last[p] < done).nonzero()[:, 0]
        self._go_through(p, rows, self._group_of(p), done, None)

    def _put_back(self, p: Tensor) -> None:
        """Put back what is held of a table, if anything, as it was by now."""
        held = self._held.pop(p, None)
        if held is not None:
            self._last[p].index_fill_(0, held.rows, float(self.state[p]["step"]))
            for table, values in zip(self._tables(p), held.values, strict=True):
                table.index_copy_(0, held.rows, values)

    def _step_rows(self, p: Tensor, rows: Tensor, slopes: Tensor, group: dict[str, Any]) -> None:
        held = self._held.get(p)
        # The gradient of rows that were looked up once has their very numbers.
        if held is None or len(rows) != len(held.rows) or rows.data_ptr() != held.rows.data_ptr():
            self._put_back(p)
            super()._step_rows(p, rows, slopes, group)
            return
        state = self.state[p]
        state["step"] += 1
        values, first, second = held.values
        _optimizers.step_tensors(
            group, [values], [slopes], [first], [second], [state["step"]], decoupled=self._decoupled
        )
        self._put_back(p)

    def _are_most(self, p: Tensor, rows: Tensor) -> bool:
        return False

    def _group_of(self, p: Tensor) -> dict[str, Any]:
        return next(group for group in self.param_groups if any(p is q for q in group["params"]))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, which is copied; it was saved after :meth:`finish`."""
        super().load_state_dict(state_dict)
        self._last, self._held = {}, {}

    def _last_of(self, p: Tensor) -> Tensor:
        if p not in self._last:
            # All that is known of earlier steps comes from a state without deferred ones.
            self._last[p] = torch.full((len(p),), float(self.state[p]["step"]), device=p.device)
        return self._last[p]

    def _make_up(
        self, group: dict[str, Any], since: Tensor, done: float, values: Tensor, first: Tensor, second: Tensor
    ) -> None:
        (beta1, beta2), sums = group["betas"], []
        for k in (1, 2):
            endless, ratio = self._endless_sums(int(done), beta1, beta2, k, values.device)
            sums.append(endless[since.long()] - ratio ** (done - since).double() * endless[int(done)])
        # Without a missed step both sums are 0, and so are the moments of a row without any step.
        small = (group["eps"] * sums[1] / sums[0].clamp_min(1e-30)).clamp_min(1e-30)
        width = second.sqrt().add_(beside(small.to(second.dtype), second))
        values.sub_(first / width * beside((group["lr"] * sums[0]).to(first.dtype), first))
        super()._make_up(group, since, done, values, first, second)

    def _endless_sums(
        self, step: int, beta1: float, beta2: float, k: int, device: torch.device
    ) -> tuple[Tensor, float]:
        """Return B_k up to this step and beyond, float64, and r_k."""
        ratio, known = beta1 / beta2 ** (k / 2), self._sums.get((beta1, beta2, k))
        if known is None or len(known) <= step:
            # What follows is below the rounding. Each time at least twice as much, so that it is done rarely.
            shares = ratio ** np.arange(1, 2 + int(-40 / math.log(ratio)))
            steps = np.arange(1, max(_STEPS, 1 << step.bit_length()) + len(shares))
            heights = (1 - beta2**steps) ** (k / 2) / (1 - beta1**steps)
            known = torch.from_numpy(np.convolve(heights, shares[::-1], mode="valid")).to(device)
            self._sums[beta1, beta2, k] = known
        return known, ratio
