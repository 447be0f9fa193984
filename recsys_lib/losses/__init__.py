r"""What models minimise: pure functions on tensors, each a mean that can be differentiated.

>>> import torch
>>> predicted, actual = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 2.0])
>>> squared_error(predicted, actual)
tensor(2.)
"""

from __future__ import annotations

from recsys_lib.losses.pairs import (
    bpr,
    hinge,
    in_batch_softmax,
    l2_penalty,
    logistic,
    sampled_softmax,
    squared_error,
    warp,
)
from recsys_lib.losses.products import product_squared_error
from recsys_lib.losses.rows import gaussian_kl, multinomial, row_logistic, row_squared_error

__all__ = [
    "bpr",
    "gaussian_kl",
    "hinge",
    "in_batch_softmax",
    "l2_penalty",
    "logistic",
    "multinomial",
    "product_squared_error",
    "row_logistic",
    "row_squared_error",
    "sampled_softmax",
    "squared_error",
    "warp",
]
