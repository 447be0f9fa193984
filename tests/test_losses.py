from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from recsys_lib import losses
from recsys_lib.errors import DataError
from recsys_lib.losses import l2_penalty, squared_error


def test_squared_error_is_the_mean_of_squares():
    predicted, actual = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([2.0, 2.0, 2.0])
    assert float(squared_error(predicted, actual)) == pytest.approx((1 + 0 + 9) / 3)


def test_squared_error_looks_at_observed_entries_only():
    predicted = torch.tensor([[1.0, 7.0], [3.0, 4.0]], requires_grad=True)
    actual = torch.tensor([[3.0, float("nan")], [3.0, 1.0]])
    mask = torch.tensor([[True, False], [True, True]])
    loss = squared_error(predicted, actual, mask)
    loss.backward()
    assert loss.item() == pytest.approx((4 + 0 + 9) / 3)
    expected = torch.tensor([[-4.0, 0.0], [0.0, 6.0]]) / 3
    torch.testing.assert_close(predicted.grad, expected)


def test_full_mask_is_no_mask():
    generator = torch.Generator().manual_seed(0)
    predicted, actual = torch.randn(2, 3, 4, generator=generator)
    everywhere = torch.ones(3, 4, dtype=torch.bool)
    torch.testing.assert_close(squared_error(predicted, actual, everywhere), squared_error(predicted, actual))


def test_nothing_observed_is_no_error():
    predicted = torch.ones(2, requires_grad=True)
    loss = squared_error(predicted, torch.zeros(2), torch.zeros(2, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("predicted", "actual", "mask"),
    [((3,), (3, 1), None), ((2, 3), (2, 3), (3,)), ((), (1,), None)],
)
def test_shapes_that_would_broadcast_are_refused(predicted, actual, mask):
    masked = None if mask is None else torch.ones(mask, dtype=torch.bool)
    with pytest.raises(DataError, match="one shape"):
        squared_error(torch.zeros(predicted), torch.zeros(actual), masked)


def test_l2_penalty_counts_a_row_once_per_example():
    table = torch.tensor([[1.0, 2.0], [3.0, 0.0], [9.0, 9.0]], requires_grad=True)
    rows = torch.tensor([0, 1, 1, 1])
    loss = l2_penalty(table[rows])
    loss.backward()
    assert loss.item() == pytest.approx((5 + 9 + 9 + 9) / 4)
    # The gradient of row i is 2 * row i * (its examples / all examples): nothing for the unused row.
    expected = 2 * table.detach() * torch.tensor([1.0, 3.0, 0.0])[:, None] / 4
    torch.testing.assert_close(table.grad, expected)


def test_l2_penalty_adds_vectors_of_any_length():
    p, q, bias = torch.ones(2, 3), torch.full((2, 1), 2.0), torch.tensor([1.0, 0.0])
    assert float(l2_penalty(p, q, bias)) == pytest.approx(3 + 4 + 0.5)
    assert float(l2_penalty(torch.ones(2, 0))) == 0


@pytest.mark.parametrize("vectors", [[torch.zeros(2, 3), torch.zeros(3, 3)], []])
def test_l2_penalty_of_no_or_different_batches_is_refused(vectors):
    with pytest.raises(DataError, match="one batch"):
        l2_penalty(*vectors)


# ---------------------------------------------------------------------- positives and negatives
# What the docstrings say, read with loops over plain numbers.


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def plain_logistic(positive: list[float], negative: list[list[float]]) -> float:
    total = sum(math.log(sigmoid(s)) for s in positive)
    total += sum(math.log(1 - sigmoid(s)) for row in negative for s in row)
    return -total / (len(positive) * (1 + len(negative[0])))


def plain_bpr(positive: list[float], negative: list[list[float]]) -> float:
    pairs = [(s, t) for s, row in zip(positive, negative, strict=True) for t in row]
    return -sum(math.log(sigmoid(s - t)) for s, t in pairs) / len(pairs)


def plain_hinge(positive: list[float], negative: list[list[float]], margin: float = 1.0) -> float:
    pairs = [(s, t) for s, row in zip(positive, negative, strict=True) for t in row]
    return sum(max(0, margin - s + t) for s, t in pairs) / len(pairs)


def plain_warp(
    positive: list[float], negative: list[list[float]], n_items: int = 40, margin: float = 1.0
) -> float:
    total = 0.0
    for s, row in zip(positive, negative, strict=True):
        for trial, t in enumerate(row, start=1):
            if margin - s + t > 0:
                rank = (n_items - 1) // trial
                total += sum(1 / q for q in range(1, rank + 1)) * (margin - s + t)
                break
    return total / len(positive)


def plain_softmax(
    positive: list[float], negative: list[list[float]], log_q: list[list[float]] | None = None
) -> float:
    total = 0.0
    for b, (s, row) in enumerate(zip(positive, negative, strict=True)):
        logits = [s, *row]
        if log_q is not None:
            logits = [x - q for x, q in zip(logits, log_q[b], strict=True)]
        total -= math.log(math.exp(logits[0]) / sum(math.exp(x) for x in logits))
    return total / len(positive)


def warp_of_40(positive: Tensor, negative: Tensor) -> Tensor:
    return losses.warp(positive, negative, n_items=40)


BOTH = [
    pytest.param(losses.logistic, plain_logistic, id="logistic"),
    pytest.param(losses.bpr, plain_bpr, id="bpr"),
    pytest.param(losses.hinge, plain_hinge, id="hinge"),
    pytest.param(warp_of_40, plain_warp, id="warp"),
    pytest.param(losses.sampled_softmax, plain_softmax, id="softmax"),
]
Loss = Callable[[Tensor, Tensor], Tensor]


def logits(b: int, n: int, seed: int = 0, scale: float = 1.5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    both = scale * torch.randn(b, n + 1, generator=generator, dtype=torch.float64)
    return both[:, 0].clone().requires_grad_(), both[:, 1:].clone().requires_grad_()


@pytest.mark.parametrize(("loss", "plain"), BOTH)
@pytest.mark.parametrize(("b", "n"), [(1, 1), (1, 7), (5, 1), (6, 9)])
def test_the_formula(loss: Loss, plain: Callable[..., float], b: int, n: int) -> None:
    for seed in range(4):
        positive, negative = logits(b, n, seed)
        value = loss(positive, negative)
        assert value.shape == ()
        assert value.item() == pytest.approx(plain(positive.tolist(), negative.tolist()), rel=1e-9)


@pytest.mark.parametrize(("loss", "plain"), BOTH)
def test_the_gradient(loss: Loss, plain: Callable[..., float]) -> None:
    assert torch.autograd.gradcheck(loss, logits(4, 5, seed=1))
    # In the direction of the gradient a positive goes up and a negative down.
    positive, negative = logits(4, 5, seed=1)
    loss(positive, negative).backward()
    assert (positive.grad <= 0).all()
    assert (negative.grad >= 0).all()
    assert positive.grad.abs().sum() > 0


@pytest.mark.parametrize(("loss", "plain"), BOTH)
def test_extreme_logits_stay_finite(loss: Loss, plain: Callable[..., float]) -> None:
    for right, wrong in ((1e4, -1e4), (-1e4, 1e4), (88.0, -104.0), (-104.0, 88.0), (0.0, 0.0)):
        positive = torch.full((3,), right, requires_grad=True)
        negative = torch.full((3, 2), wrong, requires_grad=True)
        value = loss(positive, negative)
        value.backward()
        assert math.isfinite(value.item())
        assert positive.grad.isfinite().all()
        assert negative.grad.isfinite().all()
        if right > wrong:
            assert 0 <= value.item() < 1e-6
        elif right < wrong:
            assert value.item() > 80


def test_a_margin_of_ones_own() -> None:
    positive, negative = logits(5, 4)
    lists = positive.tolist(), negative.tolist()
    assert losses.hinge(positive, negative, 0.3).item() == pytest.approx(plain_hinge(*lists, margin=0.3))
    expected = plain_warp(*lists, n_items=1000, margin=2.5)
    assert losses.warp(positive, negative, 1000, 2.5).item() == pytest.approx(expected, rel=1e-6)


def test_only_differences_count_to_losses_of_pairs() -> None:
    positive, negative = logits(5, 4)
    for loss in (losses.bpr, losses.hinge, warp_of_40, losses.sampled_softmax):
        torch.testing.assert_close(loss(positive + 7, negative + 7), loss(positive, negative))
    assert losses.logistic(positive + 7, negative + 7) > losses.logistic(positive, negative) + 1


def test_warp_looks_at_the_first_violation_only() -> None:
    positive = torch.full((4,), 2.0, requires_grad=True)
    rows = [[0.0, 1.5, 9.0], [1.25, 5.0, 5.0], [0.5, 1.0, 0.9], [1.0, 1.25, 3.0]]
    negative = torch.tensor(rows, requires_grad=True)
    value = losses.warp(positive, negative, n_items=9)
    value.backward()
    # Ranks 8 // 2, 8 // 1, none and 8 // 2: behind by exactly the margin is far enough.
    four, eight = sum(1 / q for q in range(1, 5)), sum(1 / q for q in range(1, 9))
    assert value.item() == pytest.approx((four * 0.5 + eight * 0.25 + four * 0.25) / 4)
    expected = torch.tensor([[0, four, 0], [eight, 0, 0], [0, 0, 0], [0, four, 0]]) / 4
    torch.testing.assert_close(negative.grad, expected)
    torch.testing.assert_close(positive.grad, -expected.sum(1))


def test_warp_with_more_trials_than_items() -> None:
    positive, negative = torch.zeros(1), torch.tensor([[-5.0] * 7 + [0.0]])
    assert losses.warp(positive, negative, n_items=4).item() == pytest.approx(1.0)  # rank 1, not 3 // 8


def test_sampled_softmax_is_corrected() -> None:
    positive, negative = logits(4, 3)
    log_q = torch.log(torch.rand(4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    expected = plain_softmax(positive.tolist(), negative.tolist(), log_q.tolist())
    corrected = losses.sampled_softmax(positive, negative, log_q[:, 0], log_q[:, 1:])
    assert corrected.item() == pytest.approx(expected)
    # The same for all items is no correction.
    constant = losses.sampled_softmax(positive, negative, torch.full((4,), -3.0), torch.full((4, 3), -3.0))
    torch.testing.assert_close(constant, losses.sampled_softmax(positive, negative))
    for one in ({"log_q_positive": log_q[:, 0]}, {"log_q_negative": log_q[:, 1:]}):
        with pytest.raises(DataError, match="give both or none"):
            losses.sampled_softmax(positive, negative, **one)


def test_the_correction_finds_the_softmax_over_all_items() -> None:
    """The expected gradient with negatives from q is near that of the full softmax; without, it is not."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(20, generator=generator, dtype=torch.float64)
    q, target, n = 2 * torch.randn(20, generator=generator, dtype=torch.float64), 3, 5000
    q[target] = -torch.inf  # a positive is never drawn
    q = torch.softmax(q, 0)
    full = torch.softmax(scores, 0)
    full[target] -= 1
    drawn = torch.multinomial(q, n, replacement=True, generator=generator).view(1, n)
    gaps = []
    for log_q in (torch.log(q), torch.zeros(20)):
        leaf = scores.clone().requires_grad_()
        # The positive is there once for sure, another item n * q times on average.
        there = torch.tensor([-math.log(n)], dtype=torch.float64)
        losses.sampled_softmax(leaf[[target]], leaf[drawn], there, log_q[drawn]).backward()
        gaps.append(float((leaf.grad - full).abs().max()))
    assert gaps[0] < 0.03 < 0.1 < gaps[1]


# ---------------------------------------------------------------------- in-batch


def plain_in_batch(
    scores: np.ndarray, items: list[int], log_q: np.ndarray | None, known: np.ndarray | None
) -> float:
    total = 0.0
    for b in range(len(items)):
        logits = {}
        for c in range(len(items)):
            own, same = b == c, items[b] == items[c]
            if own or not (same or (known is not None and known[b, c])):
                logits[c] = scores[b, c] - (0 if log_q is None else log_q[c])
        total -= math.log(math.exp(logits[b]) / sum(map(math.exp, logits.values())))
    return total / len(items)


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_in_batch_softmax(corrected: bool, masked: bool) -> None:
    random = np.random.default_rng(4)
    scores, items = 2 * random.normal(size=(6, 6)), [3, 1, 3, 0, 2, 1]
    log_q = np.log(random.random(6)) if corrected else None
    known = (random.random((6, 6)) < 0.3) | np.eye(6, dtype=bool) if masked else None
    arguments = [None if x is None else torch.from_numpy(x) for x in (log_q, known)]
    leaf = torch.from_numpy(scores).requires_grad_()
    value = losses.in_batch_softmax(leaf, torch.tensor(items), *arguments)
    assert value.item() == pytest.approx(plain_in_batch(scores, items, log_q, known))
    assert torch.autograd.gradcheck(
        lambda s: losses.in_batch_softmax(s, torch.tensor(items), *arguments), leaf
    )
    value.backward()
    assert leaf.grad[0, 2] == leaf.grad[2, 0] == leaf.grad[1, 5] == 0  # the same item elsewhere


def test_more_items_than_people() -> None:
    """The other columns are negatives of everybody: those of another process."""
    scores, items = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 0])
    found = losses.in_batch_softmax(scores[:2], items)
    first = -math.log(math.exp(scores[0, 0]) / (math.exp(scores[0, 0]) + math.exp(scores[0, 1])))
    second = -math.log(math.exp(scores[1, 1]) / sum(map(math.exp, scores[1].tolist())))
    assert found.item() == pytest.approx((first + second) / 2)


def test_one_number_is_divided_by_one() -> None:
    assert losses.logistic(torch.zeros(1), torch.zeros(1, 0)).item() == pytest.approx(math.log(2))
    assert losses.l2_penalty(torch.tensor([[3.0, 4.0]])).item() == 25
    empty = torch.zeros(0)
    assert losses.logistic(empty, torch.zeros(0, 2)).item() == 0


def test_the_smallest_catalogue_and_margin_of_warp() -> None:
    value = losses.warp(torch.zeros(1), torch.zeros(1, 1), n_items=1, margin=0.5)
    assert value.item() == pytest.approx(0.5)
    assert losses.hinge(torch.zeros(1), torch.zeros(1, 1), margin=0).item() == 0


def test_a_batch_of_one_row_teaches_nothing() -> None:
    scores = torch.tensor([[3.0]], requires_grad=True)
    value = losses.in_batch_softmax(scores, torch.tensor([4]), torch.tensor([-1.0]), torch.tensor([[True]]))
    value.backward()
    assert value.item() == scores.grad.item() == 0


def test_everything_known_is_no_error() -> None:
    scores = torch.full((2, 2), 1e4, requires_grad=True)
    everywhere = torch.ones(2, 2, dtype=torch.bool)
    value = losses.in_batch_softmax(scores, torch.tensor([0, 1]), known=everywhere)
    value.backward()
    assert value.item() == 0
    assert scores.grad.tolist() == [[0, 0], [0, 0]]


def test_one_observed_rating_counts_once() -> None:
    mask = torch.tensor([[True, False]])
    assert losses.squared_error(torch.tensor([[3.0, 9.0]]), torch.zeros(1, 2), mask).item() == 9
