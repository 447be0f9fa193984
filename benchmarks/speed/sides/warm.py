"""What comes before the clock of a whole fit starts. Like ``common`` it must not import this library."""

from __future__ import annotations

import torch


def warm_up(device: str, make: type[torch.optim.Optimizer] = torch.optim.Adam) -> None:
    """Take one step of an optimizer: with the first Adam of a process, PyTorch loads modules for seconds.

    The library's own Adam goes without them, and so without the memory that they take.
    """
    weight = torch.zeros(1, requires_grad=True, device=device)
    optimizer = make([weight])
    weight.square().sum().backward()
    optimizer.step()
