"""The order of the examples in an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

# So many examples are put in order together: a gigabyte of numbers. Part of the meaning of a seed.
_TOGETHER = 2**27
# Above, so many neighbours stay together until then: some hundred kilobytes of a file.
_NEIGHBOURS = 2**15


def shuffled(n: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the numbers 0 to n-1 in random order, in batches of index tensors on the generator's device.

    Above 134,217,728 numbers the order is not uniform, so that it fits into memory and a disk reads more than
    one example at a time: blocks of 32,768 neighbours are put in random order, and 4,096 blocks after the
    other are mixed with each other.
    """
    size, device = int(batch_size), generator.device
    if n <= _TOGETHER:
        yield from torch.randperm(n, generator=generator, device=device).split(size)
        return
    blocks = torch.randperm(-(-n // _NEIGHBOURS), generator=generator, device=device)
    inside = torch.arange(_NEIGHBOURS, device=device)
    left = blocks.new_empty(0)
    for some in blocks.split(max(1, _TOGETHER // _NEIGHBOURS)):
        rows = (some.unsqueeze(1) * _NEIGHBOURS + inside).flatten()
        rows = rows[rows < n]
        rows = torch.cat([left, rows[torch.randperm(len(rows), generator=generator, device=device)]])
        whole = len(rows) // size * size
        yield from rows[:whole].split(size)
        left = rows[whole:].clone()
    if len(left):
        yield left
