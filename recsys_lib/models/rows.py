"""What all models share that learn from whole rows: all of a person's items at once."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recsys_lib import distributed, losses
from recsys_lib._validation import check_choice, check_integer, check_number
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.models.history_nets import Factors, silence
from recsys_lib.sampling import items_of
from recsys_lib.training import shuffled

# Users, their histories, and the items that these are over: None for the whole catalogue.
Batch = tuple[Tensor, Histories, Tensor | None]
LOSSES = ("multinomial", "logistic", "mse")


@dataclass(kw_only=True, eq=False, repr=False)
class RowRecommender(GradientRecommender):
    """A model that learns to give back a person's items, against all items or those of the batch.

    Parameters
    ----------
    loss : {"multinomial", "logistic", "mse"}
        What is minimised: :func:`recsys_lib.losses.multinomial`, :func:`recsys_lib.losses.row_logistic` or
        :func:`recsys_lib.losses.row_squared_error`.
    confidence : float
        How much more an item counts that a person has; for ``"mse"``.
    decode : {"all", "batch"}
        Which items are scored for a person in training. ``"all"``: the whole catalogue. ``"batch"``: the
        items that somebody in the batch has, so that those of the others serve as negatives: mini-batch based
        negative sampling (Moussawi 2018). The cost of a step then grows with the items of the batch, and
        popular items are negatives more often.
    sampling_users : int, optional
        With ``decode="batch"``: take the items of so many people at once, at least ``batch_size``, for all
        the batches that they are divided into. More people mean more negatives. Recoder calls it
        ``num_sampling_users``.
    batch_size : int
        People per step.
    """

    loss: str = "multinomial"
    confidence: float = 0.0
    decode: str = "all"
    sampling_users: int | None = None
    batch_size: int = 256

    def _check(self) -> None:
        super()._check()
        check_choice("loss", self.loss, LOSSES)
        check_choice("decode", self.decode, ("all", "batch"))
        check_number("confidence", self.confidence, 0)
        if self.confidence and self.loss != "mse":
            raise ValueError(f"confidence={self.confidence} goes with loss='mse', got loss={self.loss!r}.")
        if self.sampling_users is not None:
            check_integer("sampling_users", self.sampling_users, int(self.batch_size))
            if self.decode != "batch":
                raise ValueError(f"sampling_users={self.sampling_users} goes with decode='batch'.")
        if self._sparse and self.weight_decay and self.optimizer not in ("adam", "adamw"):
            raise ValueError(
                f"weight_decay={self.weight_decay} with decode='batch' goes with optimizer='adam' or "
                f"'adamw', got {self.optimizer!r}."
            )

    @property
    def _sparse(self) -> bool:
        """Whether the tables of the network get gradients for the items of a batch alone."""
        return self.decode == "batch"

    # ------------------------------------------------------------------ what a model fills in

    @abstractmethod
    def _logits(self, net: Any, batch: Batch) -> Tensor:
        """Score the items of a batch for its people -> (b, m)."""

    def _factors(self, net: Any, batch: Batch) -> Factors | None:
        """Return what the scores of a batch are a product of, if the model can."""
        return None

    # ------------------------------------------------------------------ fitting

    _streams = True
    _large_products = True
    # A last batch with fewer people than that is left out.
    _fewest = 1

    def _check_data(self, train: Interactions, valid: Interactions | None) -> None:
        super()._check_data(train, valid)
        n = int((train.user_counts() > 0).sum())
        if n < self._fewest:
            raise DataError(f"{self.name} needs at least {self._fewest} users with items, and train has {n}.")

    def _prepare(self, train: Interactions) -> Tensor:
        if self.decode == "batch":
            silence(self.net_, self.popularity_ == 0)
        return self.seen_.lengths().nonzero().flatten()

    def _batches(self, data: Tensor, generator: torch.Generator) -> Iterator[Batch]:
        size = int(self.batch_size)
        groups = [data[rows] for rows in shuffled(len(data), int(self.sampling_users or size), generator)]
        for users, n_entries in zip(groups, self.seen_.entries_of(groups), strict=True):
            histories, items = self.seen_.select(users, n_entries), None
            if self.decode == "batch":
                items, histories = items_of(histories)
            for part in torch.arange(len(users), device=users.device).split(size):
                if len(part) >= self._fewest:
                    mine = distributed.my_part(part)
                    everything = len(mine) == len(users)
                    yield users[mine], histories if everything else histories.select(mine), items

    def _n_batches(self, n_users: int) -> int:
        """Tell how many batches an epoch has."""
        size, group = int(self.batch_size), int(self.sampling_users or self.batch_size)
        return n_users // group * math.ceil(group / size) + math.ceil(n_users % group / size)

    def _loss(self, net: Any, batch: Batch) -> Tensor:
        factors = self._factors(net, batch) if self._may_skip_scores else None
        if factors is None:
            logits = self._logits(net, batch)
        elif _is_less_work(*factors[:2]):
            return losses.product_squared_error(*factors, batch[1], self.confidence)
        else:
            z, table, bias = factors
            logits = torch.addmm(bias, z, table.T)
        # The loss is computed in single precision, whatever the network is computed in.
        return self._compare(logits.float(), batch[1])

    @property
    def _may_skip_scores(self) -> bool:
        """Whether the loss can be worked out without the scores. Not every device has the sparse product."""
        return self.loss == "mse" and self.precision == "float32" and self.device_.type in ("cpu", "cuda")

    def _compare(self, logits: Tensor, targets: Histories) -> Tensor:
        if self.loss == "logistic":
            return losses.row_logistic(logits, targets)
        if self.loss == "mse":
            return losses.row_squared_error(logits, targets, self.confidence)
        return losses.multinomial(logits, targets)

    # ------------------------------------------------------------------ scoring

    @torch.no_grad()
    def _item_vectors(self) -> Tensor:
        self._need_whole_tables()
        vectors: Tensor = self.net_.item_vectors()
        return vectors


def _is_less_work(z: Tensor, table: Tensor) -> bool:
    """Tell whether two d x d matrices and their products are less work than the scores and theirs."""
    b, m, d = len(z), len(table), z.shape[1]
    return 2 * d * (b + m) < 3 * b * m


@dataclass(kw_only=True, eq=False, repr=False)
class HistoryRecommender(RowRecommender):
    """A row recommender that knows a person by their items alone, and so can serve new people."""

    def _logits(self, net: Any, batch: Batch) -> Tensor:
        logits: Tensor = net(*batch[1:])
        return logits

    def _scores(self, users: Tensor) -> Tensor:
        return self._scores_from(self.seen_.select(users))

    def _scores_from(self, histories: Histories) -> Tensor:
        scores: Tensor = self.net_(histories)
        return scores
