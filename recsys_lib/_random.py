"""PyTorch's own generator of a device, which dropout draws from: it takes no other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor


def get_state(device: torch.device) -> Tensor:
    """Return the state of the device's generator."""
    if device.type == "cpu":
        return torch.get_rng_state()
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.mps.get_rng_state()


def set_state(device: torch.device, state: Tensor) -> None:
    """Give the device's generator a state that :func:`get_state` returned."""
    if device.type == "cpu":
        torch.set_rng_state(state)
    elif device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.mps.set_rng_state(state)


def reseed(device: torch.device, seed: int) -> None:
    """Seed the device's generator; torch.manual_seed would reach those of all other devices as well."""
    set_state(device, torch.Generator(device).manual_seed(seed).get_state())


@contextlib.contextmanager
def own_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Seed dropout on this device alone, and leave the global generators as they were."""
    before = get_state(device)
    reseed(device, seed)
    try:
        yield
    finally:
        set_state(device, before)
