"""PyTorch's optimizers without its compiler, and without what else they cost a small network.

Their methods are wrapped for :func:`torch.compile`, and what wraps them imports ``torch._dynamo``: as long as
PyTorch itself takes to import, once in every process that trains. Nothing here is compiled, so these classes
take the methods inside. :func:`inspect.unwrap` gives back what was never wrapped as it is.
"""

from __future__ import annotations

import inspect
import operator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

# Each step by itself: in some versions AdamW's is that of Adam.
_STEPS: dict[type[torch.optim.Optimizer], Any] = {
    cls: inspect.unwrap(cls.step)
    for cls in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad)
}


def step_tensors(
    group: dict[str, Any],
    values: list[Tensor],
    gradients: list[Any],
    first: list[Tensor],
    second: list[Tensor],
    steps: list[Tensor],
    *,
    decoupled: bool,
) -> None:
    """Step tensors with their moments, as Adam or with ``decoupled`` as AdamW; on a CPU since PyTorch 2.4.

    ``steps`` are counted before. It is what PyTorch's own step calls in the end.
    """
    kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
    kernel(
        values,
        gradients,
        first,
        second,
        [],
        steps,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
    )


class _Plain(torch.optim.Optimizer):
    _base: ClassVar[type[torch.optim.Optimizer]]

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step."""
        return _STEPS[self._base](self, closure)


class _QuickAdam(_Plain):
    """Calls the kernel of the fused Adam at once when a step is like the one before.

    PyTorch collects parameters, gradients and moments anew in every step, and sorts them by device and type:
    for the 13 small tensors of a NeuMF, 112 microseconds a step against 57. The steps of all tensors are
    counted in one operation, which takes 3 microseconds instead of 25.
    """

    # Parameters, first moments, second moments, steps; and the tensor of which the steps are the elements.
    _same: tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], Tensor] | None = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step."""
        if closure is None and self._step_as_before():
            return None
        result = super().step(closure)
        self._remember()
        return result

    def _step_as_before(self) -> bool:
        """Do a step and return True, if it is an ordinary one."""
        if self._same is None:
            return False
        group = self.param_groups[0]
        parameters, first, second, steps, counts = self._same
        moved = [p for p in group["params"] if p.grad is not None]
        gradients: list[Any] = [p.grad for p in moved]
        as_before = len(moved) == len(parameters) and all(map(operator.is_, moved, parameters))
        if not as_before or any(g.layout is not torch.strided for g in gradients) or not self._ordinary():
            return False
        counts += 1
        step_tensors(
            group, parameters, gradients, first, second, steps, decoupled=self._base is torch.optim.AdamW
        )
        return True

    def _remember(self) -> None:
        """Note what the next step needs, if it will be an ordinary one."""
        parameters = [p for p in self.param_groups[0]["params"] if p.grad is not None]
        states = [self.state.get(p, {}) for p in parameters]
        plain = all(
            type(p) is nn.Parameter and p.dtype == torch.float32 and p.device.type == "cpu"
            for p in parameters
        )
        # A table that has had sparse gradients keeps one thing more.
        usual = all(set(state) == {"step", "exp_avg", "exp_avg_sq"} for state in states)
        if parameters and plain and usual and len(self.param_groups) == 1:
            counts = torch.stack([state["step"] for state in states])
            for number, state in enumerate(states):
                state["step"] = counts[number]
            first, second, steps = (
                [state[key] for state in states] for key in ("exp_avg", "exp_avg_sq", "step")
            )
            self._same = parameters, first, second, steps, counts

    def _ordinary(self) -> bool:
        group = self.param_groups[0]
        special = group["amsgrad"] or group["maximize"] or type(group["lr"]) is not float
        return bool(group["fused"]) and not special

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters."""
        self._same = None
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, which is copied."""
        self._same = None
        super().load_state_dict(state_dict)


class Adam(_QuickAdam, torch.optim.Adam):
    """:class:`torch.optim.Adam`."""

    _base = torch.optim.Adam


class AdamW(_QuickAdam, torch.optim.AdamW):
    """:class:`torch.optim.AdamW`."""

    _base = torch.optim.AdamW


class SGD(_Plain, torch.optim.SGD):
    """:class:`torch.optim.SGD`."""

    _base = torch.optim.SGD


class Adagrad(_Plain, torch.optim.Adagrad):
    """:class:`torch.optim.Adagrad`."""

    _base = torch.optim.Adagrad
