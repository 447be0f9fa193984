"""PyTorch's optimizers without its compiler, which each of them would load at its first use.

Their methods are wrapped for :func:`torch.compile`, and what wraps them imports ``torch._dynamo``: as long as
PyTorch itself takes to import, once in every process that trains. Nothing here is compiled, so these classes
take the methods inside. :func:`inspect.unwrap` gives back what was never wrapped as it is.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch


class _Plain(torch.optim.Optimizer):
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)


# Each step by itself: that of AdamW is Adam's, and a subclass of PyTorch's may have one of its own.
_STEPS = {
    cls: inspect.unwrap(cls.step)
    for cls in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad)
}


class Adam(_Plain, torch.optim.Adam):
    """:class:`torch.optim.Adam`."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step."""
        return _STEPS[torch.optim.Adam](self, closure)


class AdamW(_Plain, torch.optim.AdamW):
    """:class:`torch.optim.AdamW`."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step."""
        return _STEPS[torch.optim.AdamW](self, closure)


class SGD(_Plain, torch.optim.SGD):
    """:class:`torch.optim.SGD`."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step."""
        return _STEPS[torch.optim.SGD](self, closure)


class Adagrad(_Plain, torch.optim.Adagrad):
    """:class:`torch.optim.Adagrad`."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Do one step."""
        return _STEPS[torch.optim.Adagrad](self, closure)
