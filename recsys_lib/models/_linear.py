"""Linear layers whose weights are set by whoever asks for them."""

from __future__ import annotations

import torch
from torch import nn


def empty_linear(before: int, after: int, *, bias: bool = True) -> nn.Linear:
    """Make a layer without its own initialisation, which would draw from PyTorch's global generator."""
    # skip_init by itself takes memory on the CPU, also where others are told to take none.
    device = torch.get_default_device()
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, before, after, bias=bias, device=device)
    return layer
