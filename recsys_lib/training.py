"""One training loop for every network. It knows nothing of recommenders: a net, batches and a loss."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from recsys_lib import _checkpoints, _optimizers, _random, distributed
from recsys_lib._replica import Replica
from recsys_lib._shuffling import shuffled as shuffled
from recsys_lib._validation import check_choice, check_integer, check_number
from recsys_lib.deferred_adam import DeferredAdam
from recsys_lib.device import cpu_threads
from recsys_lib.errors import FileFormatError, RecsysError
from recsys_lib.sparse_rows import LazyAdam, LazyAdamW, clip_gradients

Batches = Callable[[torch.Generator], Iterable[Any]]
Loss = Callable[[nn.Module, Any], Tensor]
Size = Callable[[Any], int]


class TrainingError(RecsysError, ArithmeticError):
    """Training diverged: the loss is no longer a finite number."""


@dataclass(frozen=True)
class EpochEnd:
    """What a callback is told after each epoch.

    Attributes
    ----------
    epoch : int
        Epochs done, counted from 1.
    loss : float
        Mean training loss over the epoch's batches.
    valid : float or None
        The validation metric, when there is validation data.
    seconds : float
        Wall-clock seconds of this epoch, validation included.
    net : nn.Module
        The network as it is now.
    """

    epoch: int
    loss: float
    valid: float | None
    seconds: float
    net: nn.Module


# A callback that returns True ends the training after this epoch.
Callback = Callable[[EpochEnd], bool | None]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How to train; every torch model passes its own.

    Attributes
    ----------
    epochs : int
        Passes over the data; with ``patience`` the most there can be.
    learning_rate, weight_decay : float
        Of the optimizer.
    optimizer : {"adam", "adamw", "sgd", "adagrad"}
        Fused implementations are used: one kernel for all parameters instead of many small ones.
    schedule : {"constant", "cosine", "linear"}
        How the learning rate falls over the epochs.
    clip_norm : float, optional
        Rescale the gradient when its norm is larger.
    patience : int, optional
        Stop after so many epochs without a better validation metric.
    precision : {"float32", "bfloat16"}
        ``bfloat16`` computes the forward pass under autocast.
    """

    epochs: int = 20
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimizer: str = "adam"
    schedule: str = "constant"
    clip_norm: float | None = None
    patience: int | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", check_integer("epochs", self.epochs, 1))
        # Plain floats: a checkpoint is read back without NumPy's types.
        learning_rate = check_number("learning_rate", self.learning_rate, 0, open_low=True)
        object.__setattr__(self, "learning_rate", learning_rate)
        object.__setattr__(self, "weight_decay", check_number("weight_decay", self.weight_decay, 0))
        check_choice("optimizer", self.optimizer, _OPTIMIZERS)
        check_choice("schedule", self.schedule, _SCHEDULES)
        check_choice("precision", self.precision, ("float32", "bfloat16"))
        if self.clip_norm is not None:
            object.__setattr__(self, "clip_norm", check_number("clip_norm", self.clip_norm, 0, open_low=True))
        if self.patience is not None:
            object.__setattr__(self, "patience", check_integer("patience", self.patience, 1))


_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    # Adam itself, unless a gradient is sparse.
    "adam": LazyAdam,
    "adamw": LazyAdamW,
    "sgd": _optimizers.SGD,
    "adagrad": _optimizers.Adagrad,
}
# Share of the first learning rate that is left after a share t of the epochs.
_SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "cosine": lambda t: 0.5 * (1 + math.cos(math.pi * t)),
    "linear": lambda t: 1 - t,
}


@dataclass
class _Run:
    """All that changes while training runs: what a checkpoint must hold to go on exactly."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    settings: dict[str, Any]
    threads: int | None = None
    rows: list[dict[str, float]] = field(default_factory=list)
    best_valid: float = -math.inf
    best_epoch: int = 0
    best_state: dict[str, Tensor] | None = None
    kept: bool = False  # whether there is a checkpoint of the last epoch

    def state(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "dropout": _random.get_state(self.generator.device),
            "rows": self.rows,
            "best": [self.best_valid, self.best_epoch],
            "best_state": self.best_state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        _random.set_state(self.generator.device, state["dropout"].cpu())
        self.rows = state["rows"]
        self.best_valid, self.best_epoch = state["best"]
        self.best_state = state["best_state"]
        self.kept = True


def train(
    net: nn.Module,
    batches: Batches,
    loss: Loss,
    options: TrainingOptions,
    *,
    device: torch.device,
    seed: int = 0,
    size: Size | None = None,
    validate: Callable[[], float] | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    threads: int | None = None,
    progress: bool | None = None,
    name: str = "training",
) -> pd.DataFrame:
    """Train ``net`` in place and return its history.

    Parameters
    ----------
    net : nn.Module
        Already on ``device``.
    batches : callable
        Given a :class:`torch.Generator`, yields the batches of one epoch, on the device.
    loss : callable
        ``loss(net, batch)`` returns a scalar tensor, a mean over the batch.
    options : TrainingOptions
        How long and how to train.
    device : torch.device
        Where the generator lives.
    seed : int
        Seeds the generator and dropout. PyTorch's global generators are put back as they were.
    size : callable, optional
        ``size(batch)`` returns how many examples the loss is a mean over. Needed by several processes, each
        of which must yield as many batches of its part alone (:func:`recsys_lib.distributed.my_part`). An
        attribute ``net.trained_in_turns = True`` says that some steps leave out some of the weights.
    validate : callable, optional
        Returns the validation metric, after every epoch; higher is better. At the end the net goes back to
        the best epoch. Of several processes, the first one's metric counts.
    callbacks : sequence of callables
        Each is given an :class:`EpochEnd`; one that returns True ends the training.
    checkpoint : path, optional
        Written after every epoch, atomically. A folder, if several processes divide the tables.
    resume : bool
        Go on from ``checkpoint`` when it exists. On a CPU the end result is exactly that of an
        undisturbed run; of several processes, but for rounding, if as many go on as before.
    settings : mapping of str to plain values, optional
        What else must be the same to go on from a checkpoint, such as a fingerprint of the data.
    threads : int, optional
        The most threads that a step on a CPU may take; validation may take all.
    progress : bool, optional
        Show a progress bar; the default shows one in a terminal and none in CI.

    Returns
    -------
    DataFrame
        One row per epoch: ``epoch``, ``loss``, ``valid`` (when there is validation data), ``seconds``.

    Raises
    ------
    TrainingError
        If the loss or a weight stops being finite.
    FileFormatError
        If the checkpoint to go on from is damaged, or belongs to another network.
    RankError
        If several processes train, and differ in their options, settings or checkpoint.
    ValueError
        If it was made with other options or settings, or only one of the two runs has ``validate``; only
        ``epochs`` and ``patience`` may change on the way.
    """
    if options.patience is not None and validate is None:
        raise ValueError(f"patience={options.patience} needs validation data: pass valid= to fit.")
    if checkpoint is not None:
        _checkpoints.check(checkpoint, resume)
    generator = torch.Generator(device=device).manual_seed(seed)
    fixed = {**asdict(options), "seed": int(seed), "validated": validate is not None, **(settings or {})}
    with _random.own_numbers(device, seed):
        run = _Run(net, _make_optimizer(net, options), generator, fixed, threads)
        if resume and checkpoint is not None and Path(checkpoint).exists():
            _restore(run, checkpoint, device)
        done = len(run.rows)
        start = {"shard_tables": distributed.shards_tables(), "epochs done in the checkpoint": done}
        distributed.agree(fixed | start)
        replica = _replica(net, loss, size, device)
        with _progress_bar(options.epochs, done, name, progress) as bar:
            for epoch in range(done + 1, options.epochs + 1):
                if _out_of_patience(run, options, epoch):
                    break
                end = _epoch(run, batches, replica or loss, options, epoch, device, validate)
                bar.update(1)
                bar.set_postfix({key: f"{v:.4f}" for key, v in run.rows[-1].items() if key != "epoch"})
                stops = [callback(end) for callback in callbacks]
                stop = distributed.any_rank(any(stops))
                if checkpoint is not None:
                    _checkpoints.write(checkpoint, run.state(), net)
                    run.kept = True
                if stop:
                    break
        if checkpoint is not None:
            distributed.wait()  # for the first process to have written it
    if run.best_state is not None:
        net.load_state_dict(run.best_state)
    net.eval()
    return pd.DataFrame(run.rows)


def _epoch(
    run: _Run,
    batches: Batches,
    loss: Loss | Replica,
    options: TrainingOptions,
    epoch: int,
    device: torch.device,
    validate: Callable[[], float] | None,
) -> EpochEnd:
    started = time.perf_counter()
    share = (epoch - 1) / options.epochs
    for group in run.optimizer.param_groups:
        group["lr"] = options.learning_rate * _SCHEDULES[options.schedule](share)
    run.net.train()
    if isinstance(loss, Replica):  # each rank drops other things, and so it goes on from any checkpoint
        _random.reseed(device, distributed.own_seed(run.generator))
    # The sum stays on the device: reading it in every step would make the host wait for the GPU.
    total, count = torch.zeros((), device=device), 0
    parameters = list(run.net.parameters())
    autocast = (
        torch.autocast(device.type, dtype=torch.bfloat16)
        if options.precision == "bfloat16"
        else contextlib.nullcontext()
    )
    with cpu_threads(run.threads):
        for batch in batches(run.generator):
            for p in parameters:  # what zero_grad does takes a fortieth of a small step
                p.grad = None
            if isinstance(loss, Replica):
                value = loss.backward(batch, autocast)
            else:
                with autocast:
                    value = loss(run.net, batch)
                value.backward()
            if options.clip_norm is not None:
                clip_gradients(run.net.parameters(), options.clip_norm)
            run.optimizer.step()
            total += value.detach()
            count += 1
        if isinstance(run.optimizer, DeferredAdam):
            run.optimizer.finish()
    mean = distributed.add_up(float(total)) / max(1, count)
    if not math.isfinite(mean):
        raise _diverged(f"the training loss became {mean} in epoch {epoch}", options, run)
    # The loss of an epoch is that before its last step, so it says nothing about where that step led. No
    # checkpoint is written of such weights: from the last one, training can go on.
    if distributed.any_rank(not all(bool(weights.isfinite().all()) for weights in run.net.parameters())):
        raise _diverged(f"some weights are NaN or infinite after epoch {epoch}", options, run)
    run.net.eval()
    if isinstance(loss, Replica):
        loss.share_buffers()
    valid = None
    if validate is not None:
        with torch.no_grad():
            valid = distributed.first_value(validate())
        if valid > run.best_valid:
            run.best_valid, run.best_epoch = valid, epoch
            run.best_state = copy.deepcopy(run.net.state_dict())
    seconds = time.perf_counter() - started
    row = {"epoch": epoch, "loss": mean, "valid": valid, "seconds": seconds}
    run.rows.append({key: value for key, value in row.items() if value is not None})
    return EpochEnd(epoch, mean, valid, seconds, run.net)


def _replica(net: nn.Module, loss: Loss, size: Size | None, device: torch.device) -> Replica | None:
    """Return what computes gradients together with other processes, if there are any."""
    if distributed.world_size() == 1:
        return None
    if size is None:
        raise ValueError(
            f"{distributed.world_size()} processes train together, so train needs size=: a function that "
            "says how many examples of a batch the loss is a mean over."
        )
    distributed.check_device(device)
    return Replica(net, loss, size)


def _diverged(what: str, options: TrainingOptions, run: _Run) -> TrainingError:
    n = len(run.rows)
    kept = f" The checkpoint has what was learned before: epochs={n} and resume=True give it." if n else ""
    return TrainingError(
        f"{what}. The usual cause is a learning rate that is too high: it is {options.learning_rate}. "
        f"Lower it, or set clip_norm.{kept if run.kept else ''}"
    )


def _make_optimizer(net: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    make = _OPTIMIZERS[options.optimizer]
    if getattr(net, "deferred_tables", None) and "adam" in options.optimizer:
        make = DeferredAdam  # of both: there is no weight decay
    # One kernel for all parameters. Adagrad has it on the CPU only, and SGD only for dense gradients.
    sparse = any(getattr(module, "sparse", False) for module in net.modules())
    fused = options.optimizer != "adagrad" and not (sparse and options.optimizer == "sgd")
    return make(net.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=fused)


def _out_of_patience(run: _Run, options: TrainingOptions, epoch: int) -> bool:
    return options.patience is not None and bool(run.rows) and epoch - run.best_epoch > options.patience


def _restore(run: _Run, path: str | os.PathLike[str], device: torch.device) -> None:
    """Bring a run to where its checkpoint was written."""
    way_out = "Delete it to start anew, or pass resume=False."
    state = _checkpoints.read(path, run.net, device)
    for key, value in state.get("settings", {}).items():
        if value != run.settings.get(key) and key not in ("epochs", "patience"):
            raise ValueError(
                f"checkpoint {os.fspath(path)!r} was made with {key}={value!r}, "
                f"and this run has {key}={run.settings.get(key)!r}. {way_out}"
            )
    try:
        run.restore(state)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"checkpoint {os.fspath(path)!r} does not fit this network. {way_out} ({error})"
        ) from error


@contextlib.contextmanager
def _progress_bar(total: int, done: int, name: str, progress: bool | None) -> Iterator[Any]:
    if not distributed.is_first():
        progress = False
    if progress is None:
        progress = sys.stderr.isatty() and not os.environ.get("CI")
    with tqdm(total=total, initial=done, desc=name, unit="epoch", disable=not progress, leave=False) as bar:
        yield bar
