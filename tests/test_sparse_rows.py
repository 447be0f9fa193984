"""Steps on the rows of a batch, against PyTorch's dense optimizers and a reading by hand."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recsys_lib import sparse_rows
from recsys_lib.sparse_rows import LazyAdam, LazyAdamW, clip_gradients, take_rows

ROWS = 6
STATE = ("step", "exp_avg", "exp_avg_sq", "last")
PAIRS = {"Adam": (LazyAdam, torch.optim.Adam), "AdamW": (LazyAdamW, torch.optim.AdamW)}
both = pytest.mark.parametrize(("lazy", "dense"), PAIRS.values(), ids=PAIRS)


def table(*shape: int, seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def pull(values: Tensor, step: int, rows: Tensor | None = None) -> Tensor:
    """A loss with other gradients in every step and row."""
    targets = table(ROWS, *values.shape[1:], seed=100 + step).detach()
    return ((values - (targets if rows is None else targets[rows])) * (1 + step % 3)).square().sum()


def some_rows(step: int) -> Tensor:
    """Row 0 in every step, row 5 never, the others now and then."""
    keep = torch.rand(ROWS, generator=torch.Generator().manual_seed(step)) < 0.4
    keep[0], keep[5] = True, False
    return keep.nonzero().flatten()


# ---------------------------------------------------------------------- looking up


@pytest.mark.parametrize("shape", [(ROWS, 3), (ROWS,)])
def test_rows_and_their_gradient(shape: tuple[int, ...]) -> None:
    ours, rows = table(*shape), torch.tensor([1, 4])
    found = take_rows(ours, rows)
    assert torch.equal(found, ours[rows])
    (expected,) = torch.autograd.grad(pull(ours[rows], 2, rows), ours)
    pull(found, 2, rows).backward()
    assert ours.grad.is_sparse
    assert ours.grad.coalesce().indices().tolist() == [[1, 4]]
    torch.testing.assert_close(ours.grad.to_dense(), expected)


def test_no_rows() -> None:
    ours = table(ROWS, 3)
    before = ours.detach().clone()
    optimizer = LazyAdam([ours], lr=0.1)
    take_rows(ours, torch.empty(0, dtype=torch.int64)).sum().backward()
    clip_gradients([ours], 1.0)
    optimizer.step()
    assert torch.equal(ours, before)


# ---------------------------------------------------------------------- steps


@both
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(ROWS, 3), (ROWS,)])
@pytest.mark.parametrize("fused", [False, True])
def test_with_all_rows_in_every_gradient_it_is_the_dense_optimizer(
    lazy: Any, dense: Any, weight_decay: float, shape: tuple[int, ...], fused: bool
) -> None:
    ours, theirs, options = table(*shape), table(*shape), {"lr": 0.05, "weight_decay": weight_decay}
    optimizer, reference = lazy([ours], fused=fused, **options), dense([theirs], **options)
    for step in range(20):
        optimizer.zero_grad()
        reference.zero_grad()
        pull(take_rows(ours, torch.arange(ROWS)), step).backward()
        pull(theirs, step).backward()
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@both
def test_dense_parameters_beside_sparse_ones_are_stepped_as_ever(lazy: Any, dense: Any) -> None:
    ours, theirs, sparse = table(4, 2), table(4, 2), table(ROWS, 3)
    options: dict[str, Any] = {"lr": 0.05, "weight_decay": 0.1, "fused": True}
    optimizer, reference = lazy([sparse, ours], **options), dense([theirs], **options)
    for step in range(10):
        optimizer.zero_grad()
        reference.zero_grad()
        rows = some_rows(step)
        ((ours * step).cos().sum() + pull(take_rows(sparse, rows), step, rows)).backward()
        (theirs * step).cos().sum().backward()
        optimizer.step()
        reference.step()
        assert torch.equal(ours, theirs)
        assert sparse.grad.is_sparse  # it is still there after the step


@both
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rows_that_come_and_go_by_hand(lazy: Any, dense: Any, weight_decay: float) -> None:
    lr, beta1, beta2, eps = 0.05, 0.8, 0.95, 1e-6
    ours = table(ROWS, 2)
    start = ours.detach().clone()
    optimizer = lazy([ours], lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)
    # Plain numbers: value, first and second moment of each entry.
    value = start.double().tolist()
    first, second = ([[0.0, 0.0] for _ in range(ROWS)] for _ in range(2))
    for step in range(1, 16):
        rows = some_rows(step)
        before = ours.detach().clone()
        optimizer.zero_grad()
        pull(take_rows(ours, rows), step, rows).backward()
        slopes = ours.grad.to_dense().double().tolist()
        optimizer.step()
        for row in range(ROWS):
            for k in range(2):
                # The moments fade in every step, gradient or not.
                first[row][k] *= beta1
                second[row][k] *= beta2
                if row not in rows:
                    continue
                slope = slopes[row][k]
                if lazy is LazyAdamW:
                    value[row][k] *= 1 - lr * weight_decay
                else:
                    slope += weight_decay * value[row][k]
                first[row][k] += (1 - beta1) * slope
                second[row][k] += (1 - beta2) * slope**2
                mean, square = first[row][k] / (1 - beta1**step), second[row][k] / (1 - beta2**step)
                value[row][k] -= lr * mean / (math.sqrt(square) + eps)
        torch.testing.assert_close(ours.detach(), torch.tensor(value), rtol=1e-5, atol=1e-5)
        away = torch.ones(ROWS, dtype=torch.bool)
        away[rows] = False
        assert torch.equal(ours[away], before[away])
    assert torch.equal(ours[5], start[5])


@both
@pytest.mark.parametrize("numbers", [1, 4, 2**17])
@pytest.mark.parametrize("fused", [False, True])
def test_all_ways_to_step_rows_agree(
    lazy: Any, dense: Any, fused: bool, numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going through the whole table, and through the rows in parts of any size."""
    found = []
    for share, size in ((0.0, 2**17), (2.0, numbers)):
        monkeypatch.setattr(sparse_rows, "_SPREAD_FROM", share)
        monkeypatch.setattr(sparse_rows, "_NUMBERS", size)
        tables = table(ROWS, 3), table(ROWS, seed=1)
        optimizer = lazy(tables, lr=0.1, weight_decay=0.2, fused=fused)
        for step in range(12):
            optimizer.zero_grad()
            rows = some_rows(step)
            sum(pull(take_rows(one, rows), step, rows) for one in tables).backward()
            optimizer.step()
        found.append([*tables, *(optimizer.state[one][name] for one in tables for name in STATE)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.equal(found[0][0][5], table(ROWS, 3)[5])  # a row that is in no gradient


@both
@pytest.mark.parametrize("fused", [False, True])
def test_a_saved_state_goes_on_exactly(lazy: Any, dense: Any, fused: bool) -> None:
    def steps(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for step in numbers:
            optimizer.zero_grad()
            rows = some_rows(step)
            loss = pull(take_rows(parameters[0], rows), step, rows) + pull(parameters[1], step)
            loss.backward()
            optimizer.step()

    whole, part = ([table(ROWS, 3), table(ROWS, 1, seed=1)] for _ in range(2))
    steps(whole, lazy(whole, lr=0.1, fused=fused), range(12))
    first = lazy(part, lr=0.1, fused=fused)
    steps(part, first, range(5))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = lazy(part, lr=0.7, fused=fused)
    second.load_state_dict(torch.load(file, weights_only=True))
    steps(part, second, range(5, 12))
    assert all(map(torch.equal, part, whole))


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adagrad])
def test_rows_alone_are_all_that_plain_optimizers_would_move(make: Any) -> None:
    """Without momentum and decay a row without a gradient stays where it is: lazy and dense are the same."""
    ours, theirs = table(ROWS, 3), table(ROWS, 3)
    optimizer, reference = make([ours], lr=0.1), make([theirs], lr=0.1)
    for step in range(10):
        optimizer.zero_grad()
        reference.zero_grad()
        rows = some_rows(step)
        pull(take_rows(ours, rows), step, rows).backward()
        pull(theirs[rows], step, rows).backward()
        optimizer.step()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    assert torch.equal(ours[5], table(ROWS, 3)[5])


@both
def test_a_closure_is_called_before_the_step(lazy: Any, dense: Any) -> None:
    ours, theirs = table(ROWS, 2), table(ROWS, 2)
    optimizer, reference = lazy([ours], lr=0.1), dense([theirs], lr=0.1)

    def closure(values: nn.Parameter, step: torch.optim.Optimizer, rows: Tensor | None) -> Tensor:
        step.zero_grad()
        loss = pull(values if rows is None else take_rows(values, rows), 1)
        loss.backward()
        return loss

    for _ in range(3):
        found = optimizer.step(lambda: closure(ours, optimizer, torch.arange(ROWS)))
        expected = reference.step(lambda: closure(theirs, reference, None))
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours, theirs)


@both
@pytest.mark.parametrize("option", ["amsgrad", "maximize"])
def test_what_a_sparse_step_does_not_know_is_refused(lazy: Any, dense: Any, option: str) -> None:
    ours = table(ROWS, 2)
    optimizer = lazy([ours], **{option: True})
    take_rows(ours, torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match=option):
        optimizer.step()


# ---------------------------------------------------------------------- clipping


@pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e6])
def test_dense_gradients_are_clipped_as_pytorch_does(max_norm: float) -> None:
    ours, theirs = [table(3, 2), table(4), table(1)], [table(3, 2), table(4), table(1)]
    for parameters in (ours, theirs):
        (parameters[0].square().sum() + 3 * parameters[1].sum()).backward()
    clip_gradients(iter(ours), max_norm)
    torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    torch.testing.assert_close([p.grad for p in ours[:2]], [p.grad for p in theirs[:2]])
    assert ours[2].grad is None


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_sparse_and_dense_gradients_are_clipped_together(max_norm: float) -> None:
    sparse, dense, bias = table(ROWS, 3), table(4, 2), table(ROWS)
    embedding = nn.Embedding.from_pretrained(table(ROWS, 2).detach(), freeze=False, sparse=True)
    parameters = [sparse, dense, bias, embedding.weight]
    rows = torch.tensor([0, 2, 3])
    loss = take_rows(sparse, rows).square().sum() + dense.square().sum() + 2 * take_rows(bias, rows).sum()
    # A gradient of an embedding has a row for each time it was looked up; it is their sum that counts.
    (loss + embedding(torch.tensor([1, 1, 4])).sum()).backward()
    before = [p.grad.to_dense().clone() for p in parameters]
    norm = torch.cat([slope.flatten() for slope in before]).norm()
    clip_gradients(parameters, max_norm)
    scale = min(1.0, max_norm / norm.item())
    after = [p.grad.to_dense() for p in parameters]
    torch.testing.assert_close(after, [slope * scale for slope in before], rtol=1e-5, atol=1e-6)
    assert torch.cat([slope.flatten() for slope in after]).norm().item() <= max(max_norm, norm) * 1.00001


def test_nothing_to_clip() -> None:
    parameter = table(2)
    clip_gradients([parameter], 1.0)
    clip_gradients([], 1.0)
    assert parameter.grad is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
@both
def test_a_gpu_gives_the_same(lazy: Any, dense: Any) -> None:
    results = []
    for device in ("cpu", "cuda"):
        ours = nn.Parameter(table(ROWS, 3).detach().to(device))
        optimizer = lazy([ours], lr=0.1, weight_decay=0.1, fused=True)
        for step in range(10):
            optimizer.zero_grad()
            rows = some_rows(step)
            targets = table(ROWS, 3, seed=100 + step).detach()[rows].to(device)
            (take_rows(ours, rows.to(device)) - targets).square().sum().backward()
            clip_gradients([ours], 1.0)
            optimizer.step()
        results.append(ours.detach().cpu())
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)
