"""What comes before the clock of a whole fit starts. Like ``common`` it must not import this library."""

from __future__ import annotations

import torch


def warm_up(device: str) -> None:
    """Take one step of Adam: with the first of a process, PyTorch loads modules for seconds."""
    weight = torch.zeros(1, requires_grad=True, device=device)
    optimizer = torch.optim.Adam([weight])
    weight.square().sum().backward()
    optimizer.step()
