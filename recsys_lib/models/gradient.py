"""What all models trained by gradient descent share: the loop, early stopping, checkpoints."""

from __future__ import annotations

import contextlib
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from recsys_lib import _shards, distributed, training
from recsys_lib._blocks import digest
from recsys_lib._list_metrics import float_type
from recsys_lib._validation import check_flag, check_integer, check_path, shown
from recsys_lib.device import kept_memory, onednn_products
from recsys_lib.errors import DataError, NotSupportedError
from recsys_lib.interactions import Interactions
from recsys_lib.models._held_out import ndcg_on
from recsys_lib.models.base import Recommender
from recsys_lib.training import Callback, TrainingOptions

# Numbers in a table whose gradient glibc would give back to the system in every step, 32 MB: see kept_memory.
_LARGE = 2**23


@dataclass(kw_only=True, eq=False, repr=False)
class GradientRecommender(Recommender):
    """A recommender whose network is trained by :func:`recsys_lib.training.train`.

    Several processes may call ``fit`` together: see :mod:`recsys_lib.distributed`.

    Parameters
    ----------
    epochs, learning_rate, weight_decay, optimizer, schedule, clip_norm, precision
        See :class:`recsys_lib.training.TrainingOptions`.
    batch_size : int
        Examples per step, those of all processes together.
    patience : int, optional
        Stop after so many epochs without a better validation metric, which needs validation data. The
        metric is nDCG@10 over the full catalogue, or the RMSE for models of ratings.
    progress : bool, optional
        Show a progress bar; the default shows one in a terminal and none in CI.

    Attributes
    ----------
    net_ : nn.Module
        The trained network.
    history_ : DataFrame
        One row per epoch: loss, validation metric, seconds.
    """

    epochs: int = 20
    batch_size: int = 1024
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    optimizer: str = "adam"
    schedule: str = "constant"
    clip_norm: float | None = None
    patience: int | None = None
    precision: str = "float32"
    progress: bool | None = None

    def _check(self) -> None:
        check_integer("batch_size", self.batch_size, 1)
        if self.progress is not None:
            check_flag("progress", self.progress)
        self._options()

    def _options(self) -> TrainingOptions:
        return TrainingOptions(**{f.name: getattr(self, f.name) for f in fields(TrainingOptions)})

    # ------------------------------------------------------------------ what a model fills in

    @abstractmethod
    def _build(self, n_users: int, n_items: int, generator: torch.Generator | None) -> nn.Module:
        """Make the network on the CPU; all its randomness comes from the generator."""

    @abstractmethod
    def _batches(self, data: Any, generator: torch.Generator) -> Iterable[Any]:
        """Yield the batches of one epoch, on the device. ``data`` is what :meth:`_prepare` returned.

        Of each batch only the part that :func:`recsys_lib.distributed.my_part` gives to this process.
        """

    @abstractmethod
    def _loss(self, net: nn.Module, batch: Any) -> Tensor:
        """Return the mean loss of a batch."""

    def _size(self, batch: Any) -> int:
        """Return the number of examples that the loss of a batch is a mean over."""
        return len(batch[0])

    # Whether a step is mostly products of large matrices.
    _large_products = False

    def _threads(self) -> int | None:
        """Return the most threads that a step on a CPU may take, or None for as many as there are."""
        return None

    def _prepare(self, train: Interactions) -> Any:
        """Return what the batches need, on the device. Called once per fit; not kept afterwards."""
        return train.to_torch(self.device_)

    def _columns(self, train: Interactions) -> dict[str, Tensor]:
        """Return the columns on the device, with indices of int32: what is on the disk stays there."""
        return {name: column.to(self.device_) for name, column in train._tensors().items()}

    def _check_shards(self) -> None:
        """Raise an error that says why the tables of this model cannot be divided among processes."""
        raise NotSupportedError(
            f"shard_tables=True: the tables of {self.name} cannot be divided among processes. Models whose "
            "tables can: GMF, MLP, NeuMF, BPR, LogisticMF, BottleneckAutoencoder. Fit others without it: "
            "then each process has a copy."
        )

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        train: Interactions,
        valid: Interactions | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> Self:
        """Learn from interactions.

        Parameters
        ----------
        train : Interactions
            What the model may learn from.
        valid : Interactions, optional
            Held-out interactions over the same ids. They give the validation metric of each epoch, and the
            model keeps its best epoch, whether or not ``patience`` ends the training early.
        checkpoint : path, optional
            Written after every epoch. A folder, if several processes divide the tables.
        resume : bool
            Go on from the checkpoint when there is one. It must come from the same hyper-parameters and data;
            only ``epochs`` and ``patience`` may change.
        callbacks : sequence of callables
            Called after each epoch with a :class:`recsys_lib.training.EpochEnd`.

        Returns
        -------
        self
        """
        if self.patience is not None and valid is None:
            raise ValueError(f"patience={self.patience} needs validation data: fit(train, valid=...).")
        if checkpoint is not None:
            check_path("checkpoint", checkpoint)
        if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
            raise TypeError(f"callbacks must be a list of functions, got {shown(callbacks)}.")
        if check_flag("resume", resume) and checkpoint is None:
            raise ValueError(
                "resume=True needs the checkpoint to go on from: fit(..., checkpoint='file.pt')."
            )
        if distributed.shards_tables():
            if self.clip_norm is not None:
                raise ValueError(
                    f"clip_norm={self.clip_norm} needs the whole gradient in one place, and "
                    "shard_tables=True divides it: fit without one of them."
                )
            self._check_shards()
        return self._fit_or_forget(train, valid, checkpoint=checkpoint, resume=resume, callbacks=callbacks)

    def _fit(self, train: Interactions, valid: Interactions | None, **options: Any) -> None:
        self.net_: Any = self._new_net().to(self.device_)
        data = self._prepare(train)
        with contextlib.ExitStack() as settings:
            if self.device_.type == "cpu":
                large = any(p.numel() >= _LARGE for p in self.net_.parameters())
                if self._large_products:
                    settings.enter_context(onednn_products())
                if self._large_products or large:
                    settings.enter_context(kept_memory())
            history = training.train(
                self.net_,
                lambda generator: self._batches(data, generator),
                self._loss,
                self._options(),
                device=self.device_,
                seed=self.seed,
                size=self._size,
                validate=None if valid is None else self._validator(valid),
                threads=self._threads(),
                settings=self._settings() | {"train": _fingerprint(train), "valid": _fingerprint(valid)},
                progress=self.progress,
                name=self.name,
                **options,
            )
        if "valid" in history and self.predicts_ratings:
            history["valid"] *= -1  # the loop maximises, and a lower error is better
        metric = "rmse" if self.predicts_ratings else "ndcg@10"
        self.history_: pd.DataFrame = history.rename(columns={"valid": f"valid_{metric}"})

    def _settings(self) -> dict[str, Any]:
        """Return the hyper-parameters that must not change between a checkpoint and the run that goes on."""
        free = {f.name for f in fields(TrainingOptions)} | {"device", "seed", "progress"}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in free}
        return {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}

    def _validator(self, valid: Interactions) -> Callable[[], float]:
        """Return a function that measures the net on held-out data; higher is better."""
        if not self.predicts_ratings:
            return ndcg_on(self, valid)
        if valid.ratings is None:
            raise DataError(f"{self.name} is validated on ratings, and valid has none.")
        data = valid.to_torch(self.device_)
        users, items, ratings = (distributed.my_part(data[key]) for key in ("users", "items", "ratings"))
        ratings = ratings.to(float_type(ratings))

        def negative_rmse() -> float:
            errors = self._predict_pairs(users, items).to(ratings.dtype) - ratings
            return -math.sqrt(distributed.mean(errors.square()))

        return negative_rmse

    def _new_net(self) -> nn.Module:
        generator = torch.Generator().manual_seed(self.seed)
        return self._build(len(self.user_ids), len(self.item_ids), generator)

    # ------------------------------------------------------------------ keeping

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file of tensors and JSON, atomically; of several ranks the first.

        The file is for one process. If the ranks divide the tables, all must call this: the tables are
        gathered in the main memory of the first, one after the other, and it holds all of them to write them.
        """
        super().save(path)

    def _state(self) -> dict[str, Tensor]:
        state, cuts = dict(self.net_.state_dict()), _shards.tables_of(self.net_)
        for name, cut in cuts.items():
            whole = _shards.at_first(state.pop(name), cut)
            if whole is not None:
                state[name] = whole
        return state

    def _need_whole_tables(self) -> None:
        if _shards.tables_of(self.net_):
            raise NotSupportedError(
                f"the vectors of this {self.name} are divided among processes. "
                "Call save(path), and load(path) in one process."
            )

    def _load_state(self, state: dict[str, Tensor]) -> None:
        # Built without memory first: the parameters in a file may ask for a network of any size.
        with distributed.whole_tables(), torch.device("meta"):
            expected = self._build(len(self.user_ids), len(self.item_ids), None).state_dict()
        # PyTorch lets some buffers of batch normalisation be missing.
        missing = expected.keys() - state.keys()
        if missing:
            raise KeyError(f"the weights lack {', '.join(sorted(missing))}")
        for name, weights in expected.items():
            found = tuple(state[name].shape), state[name].dtype
            if found != (tuple(weights.shape), weights.dtype):
                raise DataError(f"{name} has shape {found[0]} of {found[1]}, not {tuple(weights.shape)}.")
        with distributed.whole_tables():
            self.net_ = self._new_net().to(self.device_)
        self.net_.load_state_dict(state)
        self.net_.eval()


def _fingerprint(x: Interactions | None) -> str | None:
    """Return a short hash of the rows: other data of the same size must not pass for the same."""
    return None if x is None else digest((x.users, x.items, x.ratings, x.timestamps))
