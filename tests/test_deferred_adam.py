"""Steps that are done later, against PyTorch's Adam, which does all of them at once."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recsys_lib import deferred_adam
from recsys_lib.deferred_adam import DeferredAdam
from recsys_lib.sparse_rows import LazyAdam, clip_gradients, take_rows

ROWS = 12


def table(*shape: int, seed: int = 0) -> nn.Parameter:
    return nn.Parameter(
        torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    )


def some_rows(step: int) -> Tensor:
    """Row 0 in every step, row 11 never, the others now and then, with gaps of many lengths."""
    keep = torch.rand(ROWS, generator=torch.Generator().manual_seed(step)) < torch.linspace(0.5, 0.02, ROWS)
    keep[0], keep[11] = True, False
    return keep.nonzero().flatten()


def loss_of(values: Tensor, step: int, rows: Tensor, scale: float = 1.0) -> Tensor:
    targets = table(ROWS, *values.shape[1:], seed=100 + step).detach()[rows]
    return scale * (values - targets).square().sum()


def both(*shape: int, **options: Any) -> tuple[Any, Any, Any, Any]:
    ours, theirs = table(*shape), table(*shape)
    settings = {"lr": 0.05, "fused": True} | options
    return ours, theirs, DeferredAdam([ours], **settings), torch.optim.Adam([theirs], **settings)


def step_both(ours: Any, theirs: Any, optimizer: Any, reference: Any, step: int, scale: float = 1.0) -> None:
    rows = some_rows(step)
    optimizer.zero_grad()
    reference.zero_grad()
    loss_of(take_rows(ours, rows), step, rows, scale).backward()
    loss_of(theirs[rows], step, rows, scale).backward()
    optimizer.step()
    reference.step()


def steps_both(
    ours: Any, theirs: Any, optimizer: Any, reference: Any, steps: range, scale: float = 1.0
) -> None:
    for step in steps:
        step_both(ours, theirs, optimizer, reference, step, scale)


def assert_same_in_the_end(ours: Any, theirs: Any, optimizer: Any) -> None:
    optimizer.finish()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------------- the result is Adam's


@pytest.mark.parametrize("shape", [(ROWS, 3), (ROWS,)])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.6)])
@pytest.mark.parametrize("fused", [False, True])
def test_every_row_that_is_looked_up_is_where_adam_has_it(
    shape: tuple[int, ...], betas: tuple[float, float], fused: bool
) -> None:
    ours, theirs, optimizer, reference = both(*shape, betas=betas, fused=fused)
    for step in range(200):
        rows = some_rows(step)
        found = take_rows(ours, rows).detach().clone()
        torch.testing.assert_close(found, theirs.detach()[rows], rtol=1e-6, atol=1e-6)
        step_both(ours, theirs, optimizer, reference, step)
    assert not torch.allclose(ours, theirs, atol=1e-3)  # some rows are behind
    assert_same_in_the_end(ours, theirs, optimizer)
    for name in ("exp_avg", "exp_avg_sq", "step"):
        torch.testing.assert_close(
            optimizer.state[ours][name], reference.state[theirs][name], atol=1e-6, rtol=1e-5
        )
    assert torch.equal(ours[11], table(*shape)[11])


def test_the_small_number_counts_where_gradients_are_small() -> None:
    """Without it in the sums the rows would be off by a twentieth of their way."""
    ours, theirs, optimizer, reference = both(ROWS, 3)
    start = theirs.detach().clone()
    steps_both(ours, theirs, optimizer, reference, range(200), scale=1e-7)
    optimizer.finish()
    way = (theirs - start).abs().mean()
    assert way > 0.05
    assert (ours - theirs).abs().max() < 0.002 * way


def test_more_steps_than_are_worked_out_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred_adam, "_STEPS", 7)
    ours, theirs, optimizer, reference = both(ROWS, 2)
    steps_both(ours, theirs, optimizer, reference, range(40))
    assert_same_in_the_end(ours, theirs, optimizer)


def test_finishing_now_and_then_changes_nothing() -> None:
    ours, theirs, optimizer, reference = both(ROWS, 2)
    for step in range(60):
        step_both(ours, theirs, optimizer, reference, step)
        if step % 10 == 9:
            optimizer.finish()
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
            for group in (*optimizer.param_groups, *reference.param_groups):
                group["lr"] *= 0.5


def test_lazy_adam_ends_elsewhere() -> None:
    """The drift is what the two differ in: without it this file would prove nothing."""
    ours, theirs = table(ROWS, 2), table(ROWS, 2)
    optimizer, reference = LazyAdam([ours], lr=0.05, fused=True), torch.optim.Adam([theirs], lr=0.05)
    steps_both(ours, theirs, optimizer, reference, range(60))
    assert (ours - theirs).abs().max() > 0.05


# ---------------------------------------------------------------------- unusual steps


def test_dense_gradients_between_sparse_ones() -> None:
    ours, theirs, optimizer, reference = both(ROWS, 2)
    for step in range(60):
        if step % 7 != 3:
            step_both(ours, theirs, optimizer, reference, step)
            continue
        optimizer.finish()
        for values, one in ((ours, optimizer), (theirs, reference)):
            one.zero_grad()
            loss_of(values, step, torch.arange(ROWS)).backward()
            one.step()
    assert_same_in_the_end(ours, theirs, optimizer)


def test_a_dense_gradient_after_a_look_up_alone() -> None:
    ours, theirs, optimizer, reference = both(ROWS, 2)
    steps_both(ours, theirs, optimizer, reference, range(5))
    optimizer.zero_grad()
    reference.zero_grad()
    take_rows(ours, torch.arange(3, 9))
    ours.grad, theirs.grad = torch.ones_like(ours), torch.ones_like(theirs)
    optimizer.step()
    reference.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_closure_that_leaves_a_dense_gradient() -> None:
    ours, theirs, optimizer, reference = both(ROWS, 2)
    steps_both(ours, theirs, optimizer, reference, range(20))

    def closure(values: Any, one: Any) -> Tensor:
        one.zero_grad()
        loss = values.square().sum()
        loss.backward()
        return loss.detach()

    # What the closure reads of a table has to be up to date, as for whoever reads it whole.
    optimizer.finish()
    found, expected = (
        optimizer.step(lambda: closure(ours, optimizer)),
        reference.step(lambda: closure(theirs, reference)),
    )
    torch.testing.assert_close(found, expected)
    steps_both(ours, theirs, optimizer, reference, range(20, 40))
    assert_same_in_the_end(ours, theirs, optimizer)


def test_rows_that_are_looked_up_twice_or_for_nothing() -> None:
    ours, theirs, optimizer, reference = both(ROWS, 2)
    for step in range(60):
        rows, others = some_rows(step), some_rows(1000 + step)
        optimizer.zero_grad()
        reference.zero_grad()
        with torch.no_grad():
            torch.testing.assert_close(take_rows(ours, others), theirs[others], rtol=1e-6, atol=1e-6)
        (
            loss_of(take_rows(ours, rows), step, rows) + loss_of(take_rows(ours, others), step, others)
        ).backward()
        (loss_of(theirs[rows], step, rows) + loss_of(theirs[others], step, others)).backward()
        optimizer.step()
        reference.step()
    assert_same_in_the_end(ours, theirs, optimizer)


def test_a_gradient_of_more_rows_than_were_looked_up() -> None:
    """What several processes give: the rows of all of them."""
    ours, theirs, optimizer, reference = both(ROWS, 2)
    for step in range(60):
        rows, mine = some_rows(step), some_rows(step)[::2]
        optimizer.zero_grad()
        reference.zero_grad()
        take_rows(ours, mine)
        loss_of(theirs[rows], step, rows).backward()
        slopes = theirs.grad[rows]
        ours.grad = torch.sparse_coo_tensor(rows[None], slopes, ours.shape, is_coalesced=True)
        optimizer.step()
        reference.step()
    assert_same_in_the_end(ours, theirs, optimizer)


def test_steps_without_a_gradient_do_not_count() -> None:
    ours, theirs, optimizer, reference = both(ROWS, 2)
    for step in range(20):
        step_both(ours, theirs, optimizer, reference, step)
        take_rows(ours, some_rows(step + 1))
        for one in (optimizer, reference):
            one.zero_grad()
            one.step()
    assert_same_in_the_end(ours, theirs, optimizer)


def test_clipped_gradients() -> None:
    ours, theirs, optimizer, reference = both(ROWS, 2)
    for step in range(40):
        rows = some_rows(step)
        optimizer.zero_grad()
        reference.zero_grad()
        loss_of(take_rows(ours, rows), step, rows).backward()
        loss_of(theirs[rows], step, rows).backward()
        clip_gradients([ours], 0.5)
        clip_gradients([theirs], 0.5)
        optimizer.step()
        reference.step()
    assert_same_in_the_end(ours, theirs, optimizer)


# ---------------------------------------------------------------------- keeping


def test_after_finish_the_state_is_adams() -> None:
    """It goes on in PyTorch's Adam, and PyTorch's in it."""
    ours, theirs, optimizer, reference = both(ROWS, 2)
    steps_both(ours, theirs, optimizer, reference, range(30))
    optimizer.finish()
    file = io.BytesIO()
    torch.save([optimizer.state_dict(), reference.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    assert set(states[0]["state"][0]) == set(states[1]["state"][0])
    optimizer.load_state_dict(states[1])
    steps_both(ours, theirs, optimizer, reference, range(30, 60))
    assert_same_in_the_end(ours, theirs, optimizer)


def test_the_table_outlives_its_optimizer() -> None:
    ours, theirs, optimizer, reference = both(ROWS, 2)
    steps_both(ours, theirs, optimizer, reference, range(5))
    optimizer.finish()
    del optimizer
    rows = torch.tensor([2, 4])
    torch.testing.assert_close(take_rows(ours, rows), theirs[rows], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("options", [{"weight_decay": 0.1}, {"betas": (0.9, 0.8)}, {"betas": (0.0, 0.9)}])
def test_what_has_no_sum_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Use LazyAdam, or dense gradients"):
        DeferredAdam([table(ROWS, 2)], **options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
def test_a_gpu_gives_the_same() -> None:
    ours = nn.Parameter(table(ROWS, 3).detach().cuda())
    theirs = table(ROWS, 3)
    optimizer = DeferredAdam([ours], lr=0.05, fused=True)
    reference = torch.optim.Adam([theirs], lr=0.05)
    for step in range(60):
        rows = some_rows(step)
        optimizer.zero_grad()
        reference.zero_grad()
        targets = table(ROWS, 3, seed=100 + step).detach()[rows]
        (take_rows(ours, rows.cuda()) - targets.cuda()).square().sum().backward()
        (theirs[rows] - targets).square().sum().backward()
        optimizer.step()
        reference.step()
    optimizer.finish()
    torch.testing.assert_close(ours.detach().cpu(), theirs.detach(), rtol=1e-6, atol=1e-6)
