"""What each process does: ``python -m tests.distributed.worker TASK FOLDER``."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recsys_lib import _shards, distributed, training
from recsys_lib._replica import union_of_rows
from recsys_lib.distributed import RankError, my_part, rank, world_size
from recsys_lib.errors import NotSupportedError
from recsys_lib.models._batch_norm import BatchNorm
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.training import EpochEnd, TrainingOptions, shuffled
from tests.distributed.common import DIVIDED, DRAWN, EXACT, SPLIT, chosen, results


def weights(model: GradientRecommender) -> str:
    digest = hashlib.sha256()
    for value in model.net_.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------------- the pieces


def check_numbers() -> None:
    me, n = rank(), world_size()
    assert distributed.add_up(2.0**-40 + me) == n * 2.0**-40 + n * (n - 1) / 2
    assert distributed.first_value(5.0 - me) == 5.0
    assert distributed.any_rank(me == 1)
    assert not distributed.any_rank(False)
    values = torch.arange(10, dtype=torch.float32)
    assert distributed.mean(my_part(values)) == 4.5
    assert distributed.mean(my_part(values[:1])) == 0.0  # most have none
    flags = torch.zeros(n + 1, dtype=torch.bool)
    flags[me] = True
    assert distributed.anywhere(flags).tolist() == [True] * n + [False]
    assert distributed.from_first(torch.tensor([me, 7])).tolist() == [0, 7]


def check_parts() -> None:
    rows, lengths = torch.arange(7), [0] * world_size()
    lengths[rank()] = len(my_part(rows))
    first = distributed.my_part_first(rows)
    assert first.sort().values.tolist() == rows.tolist()
    assert torch.equal(first[: len(my_part(rows))], my_part(rows))
    total = [distributed.add_up(length) for length in lengths]
    assert sum(total) == 7
    assert max(total) - min(total) <= 1


def check_generators() -> None:
    shared = torch.Generator().manual_seed(3)
    before = shared.get_state()
    own = distributed.own_generator(shared)
    assert torch.equal(shared.get_state(), before)
    assert own.initial_seed() == distributed.own_generator(shared).initial_seed()
    everyone: list[int | None] = [None] * world_size()
    torch.distributed.all_gather_object(everyone, own.initial_seed())
    assert len(set(everyone)) == world_size()
    torch.randperm(10, generator=shared)
    assert own.initial_seed() != distributed.own_generator(shared).initial_seed()  # another epoch


def check_agreement() -> None:
    distributed.agree({"data": "same"})
    with pytest.raises(RankError, match="rank 0 has data=0 and rank 1 has data=1"):
        distributed.agree({"data": rank()})
    options = TrainingOptions(epochs=1)
    net = nn.Linear(1, 1)
    ask = {"device": torch.device("cpu"), "size": len}
    with pytest.raises(RankError, match="rank 0 has seed=0 and rank 1 has seed=1"):
        training.train(net, lambda g: [], lambda net, x: x, options, seed=rank(), **ask)
    with pytest.raises(ValueError, match=r"processes train together, so train needs size="):
        training.train(net, lambda g: [], lambda net, x: x, options, device=torch.device("cpu"))
    with pytest.raises(ValueError, match=r"device='mps' cannot be used by several processes"):
        distributed.check_device(torch.device("mps"))


def check_sparse_gradients() -> None:
    table = torch.zeros(9, 2)
    mine = torch.tensor([[0, 4], [4, 7], [], [1, 4]][rank()], dtype=torch.int64)
    table[mine] = torch.randn(len(mine), 2, generator=torch.Generator().manual_seed(rank()))
    sparse = torch.sparse_coo_tensor(mine[None], table[mine], table.shape, check_invariants=True)
    union = union_of_rows(sparse)
    torch.distributed.all_reduce(table)
    torch.testing.assert_close(union.to_dense(), table)
    assert union.indices()[0].tolist() == [[], [], [0, 4, 7], [], [0, 1, 4, 7]][world_size()]


def check_batch_norm() -> None:
    """Against PyTorch's own on the whole batch: outputs, gradients, statistics; with empty parts too."""
    generator = torch.Generator().manual_seed(0)
    for n in (11, 3, 2):
        x = torch.randn(n, 4, generator=generator) * 3 + 50
        slopes = torch.randn(n, 4, generator=generator)
        ours, theirs = BatchNorm(4), nn.BatchNorm1d(4)
        whole, part = x.clone().requires_grad_(), my_part(x).clone().requires_grad_()
        expected, found = theirs(whole), ours(part)
        (expected * slopes).sum().backward()
        (found * my_part(slopes)).sum().backward()
        close = {"rtol": 1e-4, "atol": 1e-4}
        torch.testing.assert_close(found, my_part(expected), **close)
        torch.testing.assert_close(part.grad, my_part(whole.grad), **close)
        for gradient in (ours.weight.grad, ours.bias.grad):
            torch.distributed.all_reduce(gradient)
        torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, **close)
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-5, atol=1e-5)


def check_callbacks(folder: Path) -> None:
    """A True on any process ends all; a net whose steps leave weights out; what only the first writes."""
    net = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    net.trained_in_turns = True
    idle = distributed.from_first(net["b"].weight.clone())  # all start from the weights of the first
    x, seen = torch.randn(5, 1, generator=torch.Generator().manual_seed(1)), []

    def stop(end: EpochEnd) -> bool:
        seen.append(end.epoch)
        return rank() == 1 and end.epoch == 2

    history = training.train(
        net,
        lambda generator: [x[my_part(rows)] for rows in shuffled(5, 3, generator)],
        lambda net, x: net["a"](x).square().mean(),
        TrainingOptions(epochs=5, weight_decay=0.1),
        device=torch.device("cpu"),
        size=len,
        callbacks=[stop],
        validate=lambda: float(rank()),
        checkpoint=folder / f"only_{rank()}.pt",
        progress=True,
    )
    assert seen == [1, 2]
    assert history["valid"].tolist() == [0.0, 0.0]
    assert torch.equal(net["b"].weight, idle)
    assert (folder / f"only_{rank()}.pt").exists() == (rank() == 0)


# ---------------------------------------------------------------------- whole models


def fit_all(folder: Path) -> None:
    found = {}
    for name in chosen(world_size()):
        make = (EXACT | DRAWN)[name]
        model = make().fit(SPLIT.train, SPLIT.test)
        distributed.agree({name: weights(model)})
        found[name] = results(model)
        if name == "LogisticMF-hard":
            found["drawn"] = len(model.negatives_drawn_.indices)
            distributed.agree({"drawn": found["drawn"]})
    model.save(folder / f"model_{rank()}.pt")
    assert (folder / f"model_{rank()}.pt").exists() == (rank() == 0)
    if distributed.is_first():
        torch.save(found, folder / "fitted.pt")


def go_on(folder: Path) -> None:
    """From a checkpoint of one process; and from one of these processes."""
    found = {}
    for name, make in (("BiasedMF", EXACT["BiasedMF"]), ("MF-rows-batch", EXACT["MF-rows-batch"])):
        one = make(epochs=4).fit(SPLIT.train, SPLIT.test, checkpoint=folder / f"{name}.pt", resume=True)
        found[name] = results(one)
        make(epochs=2).fit(SPLIT.train, SPLIT.test, checkpoint=folder / f"{name}-here.pt")
    if distributed.is_first():
        torch.save(found, folder / "gone_on.pt")


def go_on_here(folder: Path) -> None:
    """As many processes as before draw the same as before; a file that one does not see is noticed."""
    whole = DRAWN["MultDAE"](epochs=4).fit(SPLIT.train)
    file = folder / "exact.pt"
    DRAWN["MultDAE"](epochs=2).fit(SPLIT.train, checkpoint=file)
    again = DRAWN["MultDAE"](epochs=4).fit(SPLIT.train, checkpoint=file, resume=True)
    for found_here, expected in zip(again.net_.parameters(), whole.net_.parameters(), strict=True):
        torch.testing.assert_close(found_here, expected, rtol=1e-4, atol=1e-5)
    missing = folder / f"seen by {min(rank(), 1)}.pt"
    with pytest.raises(RankError, match=r"epochs done in the checkpoint=0 and rank 1 has .*=2"):
        EXACT["BiasedMF"](epochs=2).fit(SPLIT.train, SPLIT.test, checkpoint=missing, resume=True)


def everything(folder: Path) -> None:
    with distributed.process_group():
        for check in (check_numbers, check_parts, check_generators, check_agreement):
            check()
        check_sparse_gradients()
        check_batch_norm()
        check_callbacks(folder)
        fit_all(folder)
        go_on(folder)
        two = world_size() == 2
        if two:
            go_on_here(folder)
    assert world_size() == 1
    check_nothing_is_left()
    check_next_group()
    if two:
        hang()


def check_next_group() -> None:
    """A second group meets, also if the first rank is the last to leave the one before."""
    leave = torch.distributed.destroy_process_group

    def leave_late() -> None:
        time.sleep(1.0 if rank() == 0 else 0.0)
        leave()

    torch.distributed.destroy_process_group = leave_late
    try:
        for seconds in (20, 30):
            with distributed.process_group(timeout=seconds):
                assert distributed.add_up(1.0) == world_size() > 1
    finally:
        torch.distributed.destroy_process_group = leave


def hang() -> None:
    """A process that does nothing for longer than the others wait is given up."""
    with pytest.raises(RankError, match="which has died, hangs or cannot"):
        sleep_too_long()


def sleep_too_long() -> None:
    with distributed.process_group(timeout=4):
        distributed.wait()
        time.sleep(6 if rank() == 1 else 0)
        distributed.wait()


def check_nothing_is_left() -> None:
    """Gloo's threads end with the group: one of them may end the process when Python ends."""
    tasks = Path("/proc/self/task")  # of Linux
    names = [task.read_text().strip() for task in tasks.glob("*/comm")]
    assert not [name for name in names if "gloo" in name], names


def killed(folder: Path) -> None:
    """One process is killed when two epochs are done."""

    def harm(end: EpochEnd) -> None:
        if end.epoch == 3 and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    with distributed.process_group():
        EXACT["BiasedMF"](epochs=5).fit(
            SPLIT.train, SPLIT.test, checkpoint=folder / "run.pt", callbacks=[harm]
        )


# ---------------------------------------------------------------------- divided tables


def check_divided_pieces() -> None:
    """Against whole tables: what is drawn, lookups, gradients; batches that do not divide, and of one row."""
    n, me = world_size(), rank()
    whole = torch.randn(2 * 16384 + 9, 3, generator=torch.Generator().manual_seed(4))
    generator = torch.Generator().manual_seed(4)
    mine = _shards.cut(len(whole))
    drawn = _shards.draw(len(whole), lambda rows: torch.randn(rows, 3, generator=generator))
    assert torch.equal(drawn, whole[mine.rows])
    table, expected = nn.Parameter(drawn), nn.Parameter(whole)
    generator = torch.Generator().manual_seed(5)
    for b in (5, 1):
        index = torch.randint(len(whole), (b, 2), generator=generator)
        assert torch.equal(_shards.look_up(table, mine, index, deal=False), whole[index])
        slopes = torch.randn(b, 2, 3, generator=generator)
        found = _shards.look_up(table, mine, index, deal=True)
        assert torch.equal(found, whole[index][_shards.part(b)])
        (found * slopes[_shards.part(b)]).sum().backward()
        (expected[index] * slopes).sum().backward()
        torch.testing.assert_close(table.grad, expected.grad[mine.rows])
    x = torch.ones(len(range(5)[_shards.part(5)]), 2, requires_grad=True)
    (_shards.collect(x, 5) * (me + 1)).sum().backward()
    assert x.grad.unique().tolist() == [n * (n + 1) / 2]
    gathered = _shards.at_first(drawn, mine)
    assert (gathered is None) == (me > 0)
    assert gathered is None or torch.equal(gathered, whole)
    with pytest.raises(ValueError, match="cannot divide a table of 1 rows among 2 processes"):
        _shards.cut(1)


def check_bytes(model: GradientRecommender) -> None:
    """Count what this process holds of tables, gradients and the optimizer's: half, and a row at most."""
    state = _Kept.optimizer.state
    cuts = _shards.tables_of(model.net_)
    assert cuts
    for name, parameter in model.net_.named_parameters():
        kept = [parameter, *(value for value in state[parameter].values() if value.ndim)]
        assert len(kept) == 3  # Adam's two
        row = parameter[0].nbytes
        whole = cuts[name].n * row if name in cuts else parameter.nbytes
        for tensor in kept:
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
            limit = whole / world_size() + row if name in cuts else whole
            assert tensor.nbytes <= limit, (name, tensor.nbytes, whole)
        assert name not in cuts or parameter.grad.nbytes == parameter.nbytes
    assert distributed.add_up(sum(len(cut) for cut in cuts.values())) == sum(cut.n for cut in cuts.values())


class _Kept:
    """The optimizer that was made last."""

    optimizer: torch.optim.Optimizer


def check_refusals(folder: Path) -> None:
    for model, words in (
        (EXACT["BiasedMF"](), "the tables of BiasedMF cannot be divided"),
        (EXACT["in-batch"](), "goes with sampler='uniform' or 'popularity', got 'in-batch'"),
        (DIVIDED["Bottleneck"](loss="multinomial"), "loss='multinomial' needs all scores"),
        (DIVIDED["GMF"](item_features=["genre"]), "goes without features, got item_features="),
        (DIVIDED["GMF"](clip_norm=1.0), "clip_norm=1.0 needs the whole gradient"),
    ):
        with pytest.raises((NotSupportedError, ValueError), match=words):
            model.fit(SPLIT.train)
    (folder / f"file {rank()}.pt").write_bytes(b"whole tables")
    with pytest.raises(ValueError, match="is a file of whole tables, and shard_tables=True divides them"):
        DIVIDED["GMF"]().fit(SPLIT.train, checkpoint=folder / f"file {rank()}.pt")


def divided(folder: Path) -> None:
    found = {}
    make_optimizer = training._make_optimizer

    def keep(*arguments: Any) -> torch.optim.Optimizer:
        _Kept.optimizer = make_optimizer(*arguments)
        return _Kept.optimizer

    training._make_optimizer = keep
    with distributed.process_group(shard_tables=True):
        check_divided_pieces()
        check_refusals(folder)
        for name, make in DIVIDED.items():
            model = make().fit(SPLIT.train, SPLIT.test, checkpoint=folder / name)
            found[name] = results(model)
            model.save(folder / f"{name}.pt")
            if name == "GMF":
                check_bytes(model)
                with pytest.raises(NotSupportedError, match="the vectors of this GMF are divided"):
                    model.similar_items([1])
        again = DIVIDED["GMF"](epochs=3).fit(SPLIT.train, SPLIT.test, checkpoint=folder / "GMF", resume=True)
        found["GMF longer"] = results(again)
    with pytest.raises(NotSupportedError, match="divided among 2 processes, so it can be used by all"):
        model.recommend(k=1)
    check_nothing_is_left()
    if not rank_of_launch():
        torch.save(found, folder / "divided.pt")


def rank_of_launch() -> int:
    return int(os.environ["RANK"])


if __name__ == "__main__":
    {"everything": everything, "killed": killed, "divided": divided}[sys.argv[1]](Path(sys.argv[2]))
