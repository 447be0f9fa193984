"""Losses of whole rows, against targets written out in full and PyTorch's own losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.losses import (
    gaussian_kl,
    multinomial,
    product_squared_error,
    row_logistic,
    row_squared_error,
)

N_ITEMS = 7
FIXED = [[0, 3, 4], [], [2], list(range(N_ITEMS))]


def plain_multinomial(scores: Tensor, targets: Tensor) -> Tensor:
    return -(scores.log_softmax(1) * targets).sum(1).mean()


def plain_logistic(scores: Tensor, targets: Tensor) -> Tensor:
    return torch.nn.BCEWithLogitsLoss(reduction="sum")(scores, targets) / len(scores)


def plain_squared_error(scores: Tensor, targets: Tensor, confidence: float = 0.0) -> Tensor:
    return ((1 + confidence * targets) * (targets - scores).square()).sum(1).mean()


LOSSES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "multinomial": (multinomial, plain_multinomial),
    "logistic": (row_logistic, plain_logistic),
    "squared error": (row_squared_error, plain_squared_error),
    "squared error with confidence": (
        lambda scores, targets: row_squared_error(scores, targets, confidence=2.5),
        lambda scores, targets: plain_squared_error(scores, targets, confidence=2.5),
    ),
}
every_loss = pytest.mark.parametrize(("loss", "plain"), LOSSES.values(), ids=LOSSES)


def random_case(seed: int) -> tuple[Tensor, Histories]:
    """Rows of every length, an empty and a full one among them."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(6, N_ITEMS, generator=generator) < torch.linspace(0, 1.01, 6)[:, None]
    targets = Histories.from_pairs(*dense.nonzero().T, 6, N_ITEMS)
    return 3 * torch.randn(6, N_ITEMS, generator=generator), targets


@every_loss
@pytest.mark.parametrize("seed", range(5))
def test_value_and_gradient_are_those_of_dense_targets(loss, plain, seed: int) -> None:
    scores, targets = random_case(seed)
    assert {0, N_ITEMS} <= set(targets.lengths().tolist())
    before = scores.clone()
    scores.requires_grad_()
    expected = plain(scores, targets.to_dense())
    (expected_slope,) = torch.autograd.grad(3 * expected, scores)
    found = loss(scores, targets)
    (slope,) = torch.autograd.grad(3 * found, scores)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-5, atol=1e-6)
    assert torch.equal(scores, before)
    assert not loss(before, targets).requires_grad


@every_loss
def test_gradcheck(loss, plain) -> None:
    targets = Histories.from_lists(FIXED, N_ITEMS)
    scores = torch.randn(4, N_ITEMS, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    assert torch.autograd.gradcheck(lambda s: loss(s, targets), scores.requires_grad_())


@every_loss
def test_lists_without_any_item(loss, plain) -> None:
    scores = torch.randn(2, N_ITEMS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = Histories.from_lists([[], []], N_ITEMS)
    torch.testing.assert_close(loss(scores, targets), plain(scores, targets.to_dense()))
    empty = torch.zeros(0, N_ITEMS, requires_grad=True)
    nobody = loss(empty, Histories.from_lists([], N_ITEMS))
    nobody.backward()
    assert nobody == 0
    assert empty.grad.shape == (0, N_ITEMS)


@every_loss
@pytest.mark.parametrize("shape", [(3, N_ITEMS), (4, N_ITEMS + 1), (4,), (4, N_ITEMS, 1), (1, N_ITEMS)])
def test_scores_of_another_shape_are_refused(loss, plain, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=rf"do not fit 4 histories over {N_ITEMS} items"):
        loss(torch.zeros(shape), Histories.from_lists(FIXED, N_ITEMS))


def test_a_negative_confidence_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence"):
        row_squared_error(torch.zeros(4, N_ITEMS), Histories.from_lists(FIXED, N_ITEMS), -1.0)


# Scores of one row; its items; the value of multinomial and of logistic loss.
EXTREME = [
    ([100.0, -100.0, 0.0], [1], 200.0, 100 + 100 + 0.6931472),
    ([100.0, -100.0], [0], 0.0, 0.0),
    ([1e4, -1e4, 0.0], [1], 2e4, 2e4 + 0.6931472),
    ([1e4, -1e4], [0], 0.0, 0.0),
    ([1e4, 1e4], [0, 1], 2 * 0.6931472, 0.0),
    ([-1e4, -1e4], [0, 1], 2 * 0.6931472, 2e4),
    ([-1e4, -1e4], [], 0.0, 0.0),
    ([1e4, 1e4], [], 0.0, 2e4),
]


@pytest.mark.parametrize(("row", "items", "of_multinomial", "of_logistic"), EXTREME)
def test_extreme_logits(
    row: list[float], items: list[int], of_multinomial: float, of_logistic: float
) -> None:
    targets = Histories.from_lists([items], len(row))
    for loss, expected in ((multinomial, of_multinomial), (row_logistic, of_logistic)):
        scores = torch.tensor([row], requires_grad=True)
        value = loss(scores, targets)
        value.backward()
        assert value.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
        assert scores.grad.isfinite().all()
        assert scores.grad.abs().max() <= max(1, len(items))
    error = row_squared_error(torch.tensor([row]), targets)
    assert error.item() == pytest.approx(sum((s - (i in items)) ** 2 for i, s in enumerate(row)), rel=1e-6)


@pytest.mark.parametrize("logit", [-1.0, -5.0, -10.0, -17.0])
def test_a_long_row_of_low_logits_keeps_its_digits(logit: float) -> None:
    """The start of a network whose output biases are far below zero."""
    scores, targets = torch.full((2, 20_000), logit), Histories.from_lists([[3, 9], [7]], 20_000)
    for lists in (targets, Histories.from_lists([[], []], 20_000)):
        exact = plain_logistic(scores.double(), lists.to_dense(torch.float64))
        assert row_logistic(scores, lists).item() == pytest.approx(exact.item(), rel=1e-6)


def test_gaussian_kl_is_that_of_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    normal = Normal(mean, (0.5 * log_variance).exp())
    expected = kl_divergence(normal, Normal(torch.zeros(3).double(), torch.ones(3).double())).sum(1).mean()
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)
    assert torch.autograd.gradcheck(gaussian_kl, (mean.requires_grad_(), log_variance.requires_grad_()))
    assert gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)) == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
@every_loss
def test_a_gpu_gives_the_same(loss, plain) -> None:
    scores, targets = random_case(0)
    results = []
    for device in ("cpu", "cuda"):
        there = scores.to(device).requires_grad_()
        value = loss(there, targets.to(device))
        value.backward()
        results.append([value.detach().cpu(), there.grad.cpu()])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------- without the scores


def factors_of_a_case(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (6, 3), (N_ITEMS, 3), (N_ITEMS,)
    return [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("confidence", [0.0, 2.5])
@pytest.mark.parametrize("seed", range(3))
def test_the_squared_error_of_a_product_is_that_of_its_scores(seed: int, confidence: float) -> None:
    targets = random_case(seed)[1]
    z, v, bias = factors = factors_of_a_case(seed)
    expected = row_squared_error(torch.addmm(bias, z, v.T), targets, confidence)
    found = product_squared_error(*factors, targets, confidence)
    torch.testing.assert_close(found, expected)
    for slope, right in zip(
        torch.autograd.grad(3 * found, factors), torch.autograd.grad(3 * expected, factors), strict=True
    ):
        torch.testing.assert_close(slope, right)


def test_gradcheck_of_a_product() -> None:
    targets = Histories.from_lists([*FIXED, [6], [0, 6]], N_ITEMS)
    assert torch.autograd.gradcheck(lambda *f: product_squared_error(*f, targets, 2.0), factors_of_a_case(4))


def test_a_product_in_single_precision() -> None:
    """Most scores near 0, those of the targets near 1, as after training: little is left of large sums."""
    generator = torch.Generator().manual_seed(0)
    targets = Histories.from_pairs(*(torch.rand(50, 400, generator=generator) < 0.1).nonzero().T, 50, 400)
    z, s, v = torch.linalg.svd(targets.to_dense(), full_matrices=False)
    factors = [(z * s)[:, :49].contiguous(), v[:49].T.contiguous(), torch.full((400,), 1e-3)]
    exact = row_squared_error(
        torch.addmm(factors[2].double(), factors[0].double(), factors[1].double().T), targets
    )
    assert exact < 0.5
    torch.testing.assert_close(product_squared_error(*factors, targets).double(), exact, rtol=0, atol=1e-4)


def test_a_product_of_lists_without_any_item() -> None:
    targets = Histories.from_lists([[]] * 6, N_ITEMS)
    z, v, bias = factors = factors_of_a_case(0)
    expected = torch.addmm(bias, z, v.T).square().sum() / 6
    torch.testing.assert_close(product_squared_error(*factors, targets), expected)


def test_a_product_that_does_not_fit() -> None:
    z, v, bias = factors_of_a_case(0)
    with pytest.raises(DataError, match=r"\(5, 3\), \(7, 3\) and \(7,\) do not fit 6 histories over 7 items"):
        product_squared_error(z[:5], v, bias, random_case(0)[1])
    with pytest.raises(DataError, match=r"shapes \(\), \(7, 3\) and"):
        product_squared_error(z[0, 0], v, bias, random_case(0)[1])
    with pytest.raises(ValueError, match="confidence"):
        product_squared_error(z, v, bias, random_case(0)[1], -1.0)
