"""Training in several processes at once: each has a copy of the network and takes its part of every batch.

From the command line, nothing but ``torchrun`` is new::

    torchrun --nproc-per-node 2 -m recsys_lib train ratings.csv --model NeuMF --output model.pt

A script is started in the same way. Without ``torchrun`` it runs as ever, in one process::

    from recsys_lib import datasets, distributed, evaluate, models, splits

    split = splits.random_holdout(datasets.load("ml-1m"), test=0.2, seed=0)
    with distributed.process_group():
        model = models.NeuMF().fit(split.train, checkpoint="neumf.pt", resume=True)
        model.save("model.pt")  # the first process writes, the others pass
        first = distributed.is_first()
    if first:
        print(evaluate(model, split))

A process is called a *rank*, and counted from 0. All ranks run the same script on the same data with the same
seed; that they do is checked. What a model promises about several ranks:

* ``batch_size`` counts the examples of all ranks together, and the learning rate needs no change. A step
  follows the gradient of the mean over the whole batch, however the batch divides, also if it is smaller than
  the number of ranks.
* The order of the examples is that of one process. Negatives, noise and dropout are drawn by each rank from a
  seed of its own. So a model that draws nothing, such as BiasedMF or AutoRec, learns what one process learns,
  but for rounding; the others are as good, but not the same.
* What a loss compares within a batch is that of the whole batch: the items of ``decode="batch"``, the columns
  of the in-batch sampler, and the means and variances of batch normalisation.
* ``history_``, the validation metric and all decisions that depend on it are those of all ranks together.
* The first rank alone writes checkpoints and models and shows progress. When ``fit`` returns, the checkpoint
  is there; for a saved model, :func:`wait` before another rank reads it. A checkpoint can go on with any
  other number of ranks, one included; all ranks must see the file.
* Callbacks are called on every rank; if one returns True anywhere, all stop.

Tables too large for one GPU are divided with ``process_group(shard_tables=True)``, or ``--shard-tables``
after ``train``. Each rank then holds a contiguous part of the rows of the vectors of users and items, of
their gradients, and of what the optimizer keeps of them: with N ranks 1/N of each, from the start on. What
differs from the above:

* For GMF, MLP, NeuMF, BPR, LogisticMF and BottleneckAutoencoder; others say why not.
* Negatives are those of one process. So without dropout these learn what one process learns, but for
  rounding.
* ``recommend``, ``score`` and the like must be called by all ranks alike, within the block.
* A checkpoint is a folder, to which each rank writes its part. It too can go on with any number of ranks.
* ``save`` gathers the tables in the main memory of the first rank, one after the other, and writes a model
  for one process. Nothing else puts a whole table anywhere.

If a process dies, the others end with a :class:`RankError`, and the last checkpoint stays whole. Models that
are not trained by gradient descent gain nothing: every rank does all of their work.
Ranks talk through :mod:`torch.distributed`: Gloo between CPUs, NCCL between GPUs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import count
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from recsys_lib._validation import check_flag, check_number
from recsys_lib.errors import RecsysError

__all__ = [
    "RankError",
    "add_up",
    "agree",
    "any_rank",
    "anywhere",
    "check_device",
    "first_value",
    "from_first",
    "home",
    "is_first",
    "launched",
    "mean",
    "my_part",
    "my_part_first",
    "n_parts",
    "own_generator",
    "own_seed",
    "process_group",
    "rank",
    "shards_tables",
    "wait",
    "when_leaving",
    "whole_tables",
    "world_size",
]

# What torchrun tells each process. Launchers of clusters may set the first two without meaning us.
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_sharding = False
_store: Any = None
_leaving: list[Callable[[], object]] = []
_groups = count()  # that this process has been in; the others count alike


class RankError(RecsysError, RuntimeError):
    """Another process is gone or does something else, so that this one cannot go on."""


def world_size() -> int:
    """Return how many ranks there are; 1 outside of a process group."""
    return dist.get_world_size() if _running() else 1


def rank() -> int:
    """Return the number of this process, from 0; 0 outside of a process group."""
    return dist.get_rank() if _running() else 0


def is_first() -> bool:
    """Tell whether this process is the one that writes and prints."""
    return rank() == 0


def launched() -> bool:
    """Tell whether ``torchrun`` has started this process as one of several."""
    return all(os.environ.get(name) for name in _VARIABLES) and int(os.environ["WORLD_SIZE"]) > 1


def shards_tables() -> bool:
    """Tell whether tables that are made now are divided among the ranks."""
    return _sharding and world_size() > 1


@contextlib.contextmanager
def whole_tables(*, shard: bool = False) -> Iterator[None]:
    """Make whole tables on every rank, or divide them, for the time of a block."""
    global _sharding
    before, _sharding = _sharding, shard
    try:
        yield
    finally:
        _sharding = before


def _running() -> bool:
    return dist.is_available() and dist.is_initialized()


@contextlib.contextmanager
def process_group(timeout: float = 600.0, *, shard_tables: bool = False) -> Iterator[None]:
    """Bring together the processes that ``torchrun`` has started, for the time of a block.

    At the end of the block the ranks wait for each other, so that what the first has written is there. What
    one rank does alone and for long belongs after the block. In a process that was not started as one of
    several, or is in a group already, nothing happens.

    Parameters
    ----------
    timeout : float
        Seconds that a rank waits for the others before it gives up. A process that dies is noticed at once on
        CPUs, and ended by ``torchrun`` on GPUs; this is for one that hangs.
    shard_tables : bool
        Divide the tables of models that are fitted in the block among the ranks; see above.

    Raises
    ------
    RankError
        If another rank cannot be reached, dies or hangs.
    """
    global _store
    limit = timedelta(seconds=check_number("timeout", timeout, 0, open_low=True))
    shard = check_flag("shard_tables", shard_tables)
    if _running() or not launched():
        with whole_tables(shard=shard or _sharding):
            yield
        return
    me, everyone = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with _explained(me, everyone):
        # Not in every build of PyTorch. The first is imported now, because its functions have the group of
        # the moment as a default. PyTorch would import it in the middle of a fit and keep the group for good.
        import torch.distributed.nn.functional
        from torch.distributed.rendezvous import rendezvous

        backend = "gloo"
        if torch.cuda.is_available():
            # Whoever says "cuda" or "auto" now means this one. Numbers on the CPU still go through Gloo.
            backend = "cpu:gloo,cuda:nccl"
            if _local_rank() < torch.cuda.device_count():
                torch.cuda.set_device(_local_rank())
        # Where the ranks meet stays open: the next group could meet at one that the first is about to close.
        _store = _store or next(rendezvous("env://", me, everyone, timeout=limit))[0]
        _store.set_timeout(limit)
        store = dist.PrefixStore(f"group {next(_groups)}", _store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=me, world_size=everyone, timeout=limit)
        try:
            with whole_tables(shard=shard):
                yield
                wait()
        finally:
            # All must let go of the group: its threads end with it. One that is still there when Python ends
            # can end the process with SIGABRT.
            while _leaving:
                _leaving.pop()()
            dist.destroy_process_group()


def when_leaving(let_go: Callable[[], object]) -> None:
    """Call something at the end of :func:`process_group`, so that nothing keeps the group longer."""
    _leaving.append(let_go)


def _local_rank() -> int:
    """Return the number of this process on its machine: that of its GPU."""
    return int(os.environ.get("LOCAL_RANK", rank()))


@contextlib.contextmanager
def _explained(me: int, everyone: int) -> Iterator[None]:
    """Say in plain words what a broken connection means."""
    try:
        yield
    except RuntimeError as error:
        known = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
        if not known or isinstance(error, RankError):
            raise
        first_line = str(error).strip().splitlines()[0][:200]
        raise RankError(
            f"rank {me} of {everyone} waited for another one, which has died, hangs or cannot be reached: "
            "look for its message. A checkpoint, if there is one, is whole: start again with resume=True, "
            f"with as many processes as you like. ({type(error).__name__}: {first_line})"
        ) from error


def check_device(device: torch.device) -> None:
    """Refuse a device that this rank cannot share work on: each needs a GPU of its own, or the CPU.

    Raises
    ------
    ValueError
        If several ranks are on one GPU, or the device is neither a GPU nor the CPU.
    """
    if world_size() == 1 or device.type == "cpu":
        return
    if device.type != "cuda":
        raise ValueError(f"device={str(device)!r} cannot be used by several processes. Use device='cpu'.")
    here, found, mine = _local_rank(), torch.cuda.device_count(), torch.cuda.current_device()
    if here >= found:
        raise ValueError(
            f"device={str(device)!r}: process {here} of this machine has no GPU of its own; it has {found}. "
            f"Start {found} processes here (torchrun --nproc-per-node {found}), or use device='cpu'."
        )
    if device.index not in (None, mine) or mine != here:
        raise ValueError(
            f"device={str(device)!r}: process {here} of this machine must use GPU {here}, and no other. "
            "Use device='auto' or device='cuda' within distributed.process_group()."
        )


# ---------------------------------------------------------------------- dividing the work


def n_parts() -> int:
    """Tell into how many parts the rows of a batch are divided: none if all ranks need them for tables."""
    return 1 if shards_tables() else world_size()


def my_part(rows: Tensor) -> Tensor:
    """Return this rank's part of a tensor that is the same on all ranks, cut along the first dimension.

    The parts are contiguous and differ in length by at most 1. A part is empty if there are more ranks than
    rows. With divided tables every rank needs all of them.
    """
    return rows if n_parts() == 1 else rows.tensor_split(world_size())[rank()]


def my_part_first(rows: Tensor) -> Tensor:
    """Return all rows, with this rank's part of them at the beginning."""
    parts = rows.tensor_split(world_size())
    return torch.cat([*parts[rank() :], *parts[: rank()]])


def own_seed(generator: torch.Generator) -> int:
    """Derive a seed for this rank from a generator that is in the same state on all ranks.

    The generator is not moved on. So the ranks stay together, and a checkpoint that holds its state holds the
    seeds of any number of ranks.
    """
    state = generator.get_state().numpy().tobytes()
    digest = hashlib.sha256(state + f"rank {rank()}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def own_generator(generator: torch.Generator) -> torch.Generator:
    """Return a generator for what each rank draws for itself; the same generator if there is one part."""
    if n_parts() == 1:
        return generator
    return torch.Generator(device=generator.device).manual_seed(own_seed(generator))


# ---------------------------------------------------------------------- putting it together


def home() -> torch.device:
    """Return where numbers have to be for the others to get them."""
    on_gpu = dist.get_backend() == "nccl"  # a group that was started elsewhere, for GPUs alone
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def wait() -> None:
    """Wait until all ranks are here. What the first has written is then there for all."""
    add_up(0)


def add_up(value: float) -> float:
    """Return the sum of a number over all ranks, in double precision: the same on each of them."""
    if world_size() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=home())
    dist.all_reduce(total)
    return float(total)


def mean(values: Tensor) -> float:
    """Return the mean over the values of all ranks, each of which has some or none.

    Sums and counts are added up in double precision: but for its last digits, who had what does not matter.
    """
    if world_size() == 1:
        return float(values.mean())
    sums = torch.tensor([float(values.double().sum()), values.numel()], dtype=torch.float64, device=home())
    dist.all_reduce(sums)
    return float(sums[0] / sums[1])


def anywhere(flags: Tensor) -> Tensor:
    """Tell which flags of a tensor of bool are set on any rank."""
    if world_size() == 1:
        return flags
    numbers = flags.to(torch.uint8)
    dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
    return numbers.bool()


def any_rank(flag: bool) -> bool:
    """Tell whether something is true on any rank."""
    return add_up(float(flag)) > 0


def first_value(value: float) -> float:
    """Return the number that the first rank has, on all ranks."""
    return add_up(value if is_first() else 0.0)


def from_first(tensor: Tensor) -> Tensor:
    """Overwrite a tensor with that of the first rank, and return it."""
    if world_size() > 1:
        dist.broadcast(tensor.detach(), 0)
    return tensor


def agree(facts: Mapping[str, Any]) -> None:
    """Check that all ranks have the same facts: plain values by name.

    Raises
    ------
    RankError
        On every rank, if they have not. The message names the first difference.
    """
    if world_size() == 1:
        return
    everyone: list[Any] = [None] * world_size()
    dist.all_gather_object(everyone, dict(facts))
    for number, others in enumerate(everyone):
        for name in everyone[0].keys() | others.keys():
            here, there = everyone[0].get(name), others.get(name)
            if here != there:
                raise RankError(
                    f"all processes must do the same, but rank 0 has {name}={here!r} and rank {number} has "
                    f"{name}={there!r}. Give them the same data, parameters and files."
                )
