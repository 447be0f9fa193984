"""Batch normalisation over the whole batch, also when several processes share it."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recsys_lib.distributed import world_size


class BatchNorm(nn.BatchNorm1d):
    """:class:`torch.nn.BatchNorm1d` of vectors, (b, d) -> (b, d).

    In one process it is just that. If several train together, means and variances are those of all their
    vectors, as if one process had the whole batch: :class:`torch.nn.SyncBatchNorm` does that on GPUs alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise. A process may have no vectors, but all together must have two."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        z = x.float()
        sums = differentiable_sum(torch.cat([z.sum(0), z.new_tensor([len(z)])]))
        mean, n = sums[:-1] / sums[-1], sums[-1].detach()
        # In a second round, about the mean: a difference of large sums would lose digits.
        away = z - mean
        variance = differentiable_sum(away.square().sum(0)) / n
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), self.momentum)
            self.num_batches_tracked += 1
        return (away * (variance + self.eps).rsqrt() * self.weight + self.bias).to(x.dtype)


def differentiable_sum(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all ranks, through which gradients flow back to all ranks.

    For what a loss needs to know of the whole batch. All ranks must call it the same number of times, and go
    back through it.
    """
    result: Tensor = _Sum.apply(x)
    return result


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> Tensor:
        # Each rank's x is in the sum of each rank, so it is to blame for what all of them say.
        total = slopes.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
