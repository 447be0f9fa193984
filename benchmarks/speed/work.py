"""How near our side comes to what the machine can do: its work per second beside two measured limits.

The work is what cannot be left out: the matrix products, and the numbers that an optimizer or a ranking must
read and write at least once. What a cache saves or a kernel reads twice is not in it. So a share near one is
near the limit; a low share of both says that the time goes into starting many small operations.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

# Bytes of a number in single precision.
_NUMBER = 4
# Adam reads a weight, its slope and two moments, and writes the weight and the moments.
ADAM = 7 * _NUMBER


@dataclass(frozen=True)
class Work:
    """What one unit of a case takes at least.

    Parameters
    ----------
    samples : float
        What is counted per second.
    name : str
        What the samples are.
    flops : float
        Additions and multiplications of matrix products.
    size : float
        Bytes that are read or written.
    """

    samples: float
    name: str
    flops: float
    size: float


@dataclass(frozen=True)
class Limits:
    """What a device reaches when it does nothing else.

    Parameters
    ----------
    flops : float
        Per second, in a product of two large square matrices in single precision.
    size : float
        Bytes per second, in a copy of a large tensor: those read and those written.
    """

    flops: float
    size: float


def limits(device: str, *, side: int | None = None, numbers: int = 2**26, repeats: int = 5) -> Limits:
    """Measure the two limits of a device; the best of several times counts."""
    side = side or (8192 if device == "cuda" else 2048)
    a = torch.ones(side, side, device=device)
    one = torch.zeros(numbers, device=device)
    other = torch.empty_like(one)
    seconds = _best(lambda: torch.mm(a, a), device, repeats)
    copying = _best(lambda: other.copy_(one), device, repeats)
    return Limits(2 * side**3 / seconds, 2 * _NUMBER * numbers / copying)


def _best(do: Callable[[], object], device: str, repeats: int) -> float:
    found = []
    for _ in range(repeats + 1):  # the first time everything is cold
        started = time.perf_counter()
        do()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return min(found[1:])


def report(work: Work, seconds: float, limit: Limits) -> dict[str, float | str]:
    """Say what was reached in so many seconds: per second, and as a share of the limits."""
    return {
        "ours_samples_per_s": work.samples / seconds,
        "samples": work.name,
        "ours_flop_share": work.flops / seconds / limit.flops,
        "ours_bandwidth_share": work.size / seconds / limit.size,
        "limit_gflop_per_s": limit.flops / 1e9,
        "limit_gb_per_s": limit.size / 1e9,
    }


def network_steps(n_steps: float, batch: int, products: float, parameters: float) -> tuple[float, float]:
    """Return operations and bytes of steps of a network that Adam trains.

    Parameters
    ----------
    n_steps : float
    batch : int
        Examples of a step.
    products : float
        Multiplications of one example in the forward pass. Backwards there are twice as many.
    parameters : float
        Weights that Adam goes through in a step.
    """
    return 3 * 2 * n_steps * batch * products, n_steps * ADAM * parameters
