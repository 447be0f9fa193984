"""Sums of rows of a table, against the product with a dense matrix of histories."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_lib import _products
from recsys_lib.histories import Histories
from recsys_lib.models._bags import sum_rows

N_ITEMS, WIDTH = 8, 3
LISTS = {
    "some": [[0, 3, 4], [], [7], list(range(N_ITEMS)), [3, 7]],
    "empty ones first and last": [[], [], [2, 5], [], []],
    "all empty": [[], []],
    "nobody": [],
}
every_batch = pytest.mark.parametrize("lists", LISTS.values(), ids=LISTS)
weighted = pytest.mark.parametrize("with_weights", [False, True], ids=["plain", "weighted"])


def case(lists: list[list[int]], with_weights: bool) -> tuple[Tensor, Histories, Tensor | None, Tensor]:
    """A table, histories, the weights of their entries, and the matrix of all that."""
    generator = torch.Generator().manual_seed(0)
    histories = Histories.from_lists(lists, N_ITEMS)
    weights = torch.randn(len(histories.indices), generator=generator) if with_weights else None
    matrix = histories.to_dense()
    if weights is not None:
        matrix[histories.pairs()] = weights
    return torch.randn(N_ITEMS, WIDTH, generator=generator), histories, weights, matrix


@every_batch
@weighted
def test_value_and_gradient_are_those_of_the_dense_product(
    lists: list[list[int]], with_weights: bool
) -> None:
    table, histories, weights, matrix = case(lists, with_weights)
    table.requires_grad_()
    slopes = torch.randn(len(lists), WIDTH, generator=torch.Generator().manual_seed(1))
    expected = matrix @ table
    found = sum_rows(table, histories, weights)
    torch.testing.assert_close(found, expected)
    (wanted,) = torch.autograd.grad(expected, table, slopes)
    (slope,) = torch.autograd.grad(found, table, slopes)
    torch.testing.assert_close(slope, wanted)


@every_batch
@weighted
def test_some_rows_of_a_table_get_a_gradient_of_these_alone(
    lists: list[list[int]], with_weights: bool
) -> None:
    table, histories, weights, matrix = case(lists, with_weights)
    slopes = torch.randn(len(lists), WIDTH, generator=torch.Generator().manual_seed(1))
    items = torch.tensor([1, 2, 4, 5, 6, 9, 11, 12])
    larger = torch.full((14, WIDTH), torch.nan)
    larger[items] = table
    larger.requires_grad_()
    found = sum_rows(larger, histories, weights, items)
    assert torch.equal(found, sum_rows(table, histories, weights))
    (slope,) = torch.autograd.grad(found, larger, slopes)
    assert slope.is_sparse
    assert slope.shape == larger.shape
    assert torch.equal(slope._indices()[0], items)
    torch.testing.assert_close(slope._values(), matrix.T @ slopes)
    with torch.no_grad():
        assert torch.equal(sum_rows(larger, histories, weights, items), found)


@weighted
def test_a_large_table_in_strips_gives_the_same_to_the_last_bit(
    with_weights: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    histories = Histories.from_lists([list(range(40)), [], [3], [5, 39]] * 20, 40)
    weights = torch.rand(len(histories.indices), generator=generator) if with_weights else None
    table = torch.randn(40, 300, generator=generator)
    whole = sum_rows(table, histories, weights)
    widths: list[int] = []
    inner = _products.embedding_bag

    def counted(places: Tensor, part: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        widths.append(part.shape[1])
        return inner(places, part, *args, **kwargs)

    monkeypatch.setattr(_products, "_LARGE", table.nbytes - 1)
    monkeypatch.setattr(_products, "embedding_bag", counted)
    assert sum_rows(table, histories, weights).equal(whole)
    assert widths == [128, 128, 44]


@weighted
def test_gradcheck(with_weights: bool) -> None:
    table, histories, weights, _ = case(LISTS["some"], with_weights)
    table = table.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda t: sum_rows(t, histories, weights), table)


@weighted
def test_slopes_that_do_not_lie_in_order(with_weights: bool) -> None:
    table, histories, weights, matrix = case(LISTS["some"], with_weights)
    table.requires_grad_()
    for use in (lambda sums: sums.sum(), lambda sums: (sums.T * torch.arange(5.0)).sum()):
        (wanted,) = torch.autograd.grad(use(matrix @ table), table)
        (slope,) = torch.autograd.grad(use(sum_rows(table, histories, weights)), table)
        torch.testing.assert_close(slope, wanted)


def test_it_is_differentiated_only_if_asked() -> None:
    table, histories, _, _ = case(LISTS["some"], False)
    assert sum_rows(table, histories).grad_fn is None
    table.requires_grad_()
    assert sum_rows(table, histories).requires_grad
    with torch.no_grad():
        assert not sum_rows(table, histories).requires_grad
    weights = torch.ones(len(histories.indices), requires_grad=True)
    sum_rows(table, histories, weights).sum().backward()
    assert weights.grad is None


@weighted
def test_the_sum_of_one_history_does_not_depend_on_the_others(with_weights: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.rand(30, 200, generator=generator) < 0.3
    histories = Histories.from_pairs(*dense.nonzero().T, 30, 200)
    weights = torch.rand(len(histories.indices), generator=generator) if with_weights else None
    table = torch.randn(200, 33, generator=generator)
    together = sum_rows(table, histories, weights)
    for row in range(30):
        indptr, places = histories.places(torch.tensor([row]))
        alone = Histories(indptr, histories.indices[places], 200)
        found = sum_rows(table, alone, None if weights is None else weights[places])
        assert torch.equal(found[0], together[row])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
@every_batch
@weighted
def test_a_gpu_gives_the_same(lists: list[list[int]], with_weights: bool) -> None:
    table, histories, weights, matrix = case(lists, with_weights)
    there = table.cuda().requires_grad_()
    found = sum_rows(there, histories.to("cuda"), None if weights is None else weights.cuda())
    torch.testing.assert_close(found.cpu(), matrix @ table, rtol=1e-4, atol=1e-5)
    found.square().sum().backward()
    torch.testing.assert_close(there.grad.cpu(), 2 * matrix.T @ (matrix @ table), rtol=1e-4, atol=1e-4)
