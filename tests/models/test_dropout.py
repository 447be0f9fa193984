"""Dropout: the right share, the right scale, the right gradient."""

from __future__ import annotations

import math

import pytest
import torch

from recsys_lib.models._dropout import dropout


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.9])
def test_it_drops_the_share_it_is_told_and_keeps_the_mean(p: float) -> None:
    n = 200_000
    kept = dropout(torch.ones(n), p, training=True)
    share = (kept == 0).double().mean().item()
    assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n) + 2**-17)
    # Rounding p leaves a little: a 1/65536 of 1/(1 - p).
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / (1 - p)], rel=2**-16 / (1 - p))


def test_the_four_that_share_a_number_are_dropped_independently() -> None:
    fours = (dropout(torch.ones(100_000, 4), 0.5, training=True) > 0).double()
    correlation = torch.corrcoef(fours.T) - torch.eye(4)
    assert correlation.abs().max() < 0.015  # 4.7 standard errors
    assert fours.mean(dim=0).sub(0.5).abs().max() < 0.0075


def test_the_gradient_is_that_of_the_values_kept() -> None:
    x = torch.randn(50, 3, requires_grad=True)
    y = dropout(x, 0.4, training=True)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, (y / x).detach())


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3,), (5, 7), (2, 3, 5)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    assert dropout(torch.ones(shape), 0.5, training=True).shape == shape


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_type_stays(dtype: torch.dtype) -> None:
    y = dropout(torch.ones(100, dtype=dtype), 0.5, training=True)
    assert y.dtype == dtype
    assert set(y.tolist()) == {0.0, 2.0}


def test_nearly_everything_may_be_dropped() -> None:
    assert dropout(torch.ones(1000), 1 - 1e-9, training=True).isfinite().all()


def test_without_training_or_dropout_nothing_happens() -> None:
    x = torch.randn(5)
    state = torch.get_rng_state()
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0, training=True) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_a_seed_gives_the_same_and_another_one_does_not() -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return dropout(torch.ones(100), 0.5, training=True)

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_what_came_in_is_left_alone() -> None:
    x = torch.ones(100)
    dropout(x, 0.5, training=True)
    assert torch.equal(x, torch.ones(100))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
def test_a_gpu_drops_as_well() -> None:
    y = dropout(torch.ones(100_000, device="cuda"), 0.25, training=True)
    assert (y == 0).double().mean().item() == pytest.approx(0.25, abs=0.01)
