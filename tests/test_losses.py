from __future__ import annotations

import pytest
import torch

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
