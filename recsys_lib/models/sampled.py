"""What all models share that learn from positives and sampled negatives."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from recsys_lib import _shards, distributed, losses
from recsys_lib._validation import check_choice, check_flag, check_integer, check_number
from recsys_lib.errors import DataError, NotSupportedError
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models._batch_rows import defer_large_tables, on_rows
from recsys_lib.models.embeddings import IdEmbedding, categories_of
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.models.pair_nets import PairNet
from recsys_lib.sampling import NegativeSampler, hardest, met_by
from recsys_lib.training import shuffled

# Items that are drawn at once, for as many batches as that makes: together they are drawn faster than one by
# one, and this many take little memory. Part of the meaning of a seed.
_DRAWN_AT_ONCE = 2**18

# Numbers that a step goes through below which one thread is faster than two. Measured on two cores with NeuMF
# and BPR, factors of 8 to 64 and batches of 64 to 4,096.
_FOR_ONE_THREAD = 350_000

SAMPLERS = ("uniform", "popularity", "hard", "in-batch")
LOSSES = ("logistic", "bpr", "hinge", "warp", "softmax")


@dataclass(kw_only=True, eq=False, repr=False)
class SampledRecommender(GradientRecommender):
    r"""A model that learns to score a user's items above items drawn for comparison.

    Parameters
    ----------
    negatives : int
        How many negatives are drawn for each positive, anew in every epoch. No more of them exist at a time
        than those of one batch, or 262,144 if that is more.
    sampler : {"uniform", "popularity", "hard", "in-batch"}
        Where they come from; never from the user's own items. ``"uniform"``: all other items alike.
        ``"popularity"``: in proportion to popularity to the power of ``alpha``. ``"hard"``: ``pool`` items
        are drawn uniformly, and the model's highest-scored of them are taken. ``"in-batch"``: the positives
        of the rest of the batch, corrected for their popularity; needs ``loss="softmax"``.
    alpha : float
        Exponent of the popularity, for the ``"popularity"`` sampler.
    pool : int
        Items drawn for each positive, for the ``"hard"`` sampler.
    loss : {"logistic", "bpr", "hinge", "warp", "softmax"}
        What is minimised: the functions of these names in :mod:`recsys_lib.losses`, where ``"softmax"`` is
        the sampled or the in-batch softmax. Both are corrected for the popularity of what was drawn.
    margin : float
        How far a positive should be ahead, for ``"hinge"`` and ``"warp"``. WARP needs several negatives.
    l2 : float
        Weight of the squared lengths of the vectors in the pairs of a batch. A frequent user or item is
        penalised more often.
    init_std : float
        Standard deviation of the vectors at the start.
    user_features, item_features : sequence of str
        Columns of ``train.user_features`` and ``train.item_features`` that are categories. Each category
        has a vector, which is added to those of its users or items.
    record_negatives : bool
        Keep which negatives were drawn, in ``negatives_drawn_``. Costs a byte for each user and item.
    batch_size : int
        Positives per step.

    Attributes
    ----------
    negatives_drawn_ : Histories
        With ``record_negatives``, until the model is saved and loaded. Those of a pre-training are among
        them. The ``"hard"`` sampler draws more than it takes; all that it draws is here.
    """

    negatives: int = 4
    sampler: str = "uniform"
    alpha: float = 0.75
    pool: int = 16
    loss: str = "logistic"
    margin: float = 1.0
    l2: float = 0.0
    init_std: float = 0.01
    user_features: tuple[str, ...] = ()
    item_features: tuple[str, ...] = ()
    record_negatives: bool = False

    def _check(self) -> None:
        super()._check()
        check_integer("negatives", self.negatives, 1)
        check_choice("sampler", self.sampler, SAMPLERS)
        check_choice("loss", self.loss, LOSSES)
        check_number("alpha", self.alpha, 0)
        check_integer("pool", self.pool, self.negatives if self.sampler == "hard" else 1)
        check_number("margin", self.margin, 0, open_low=True)
        check_number("l2", self.l2, 0)
        # Vectors of zeros multiply to zero, and so do their gradients: they would never leave the start.
        check_number("init_std", self.init_std, 0, open_low=True)
        check_flag("record_negatives", self.record_negatives)
        for name in ("user_features", "item_features"):
            columns = getattr(self, name)
            if not isinstance(columns, list | tuple) or not all(isinstance(c, str) for c in columns):
                raise TypeError(f"{name} must be a list of names of columns, got {columns!r}.")
            setattr(self, name, tuple(columns))
        if self.sampler == "hard" and self.loss == "warp":
            raise ValueError(
                "loss='warp' reads a rank off the order in which negatives were drawn, and sampler='hard' "
                "sorts them: take another loss or another sampler."
            )
        if self.sampler == "in-batch" and self.loss != "softmax":
            raise ValueError(f"sampler='in-batch' needs loss='softmax', got loss={self.loss!r}.")
        if self.sampler == "in-batch" and self.record_negatives:
            raise ValueError("record_negatives=True: the in-batch sampler draws nothing to record.")

    _streams = True

    # ------------------------------------------------------------------ what a model fills in

    @abstractmethod
    def _make_net(
        self,
        n_users: int,
        n_items: int,
        user_categories: Histories | None,
        item_categories: Histories | None,
        generator: torch.Generator | None,
    ) -> PairNet:
        """Make the network on the CPU; all its randomness comes from the generator."""

    def _build(self, n_users: int, n_items: int, generator: torch.Generator | None) -> nn.Module:
        return self._make_net(n_users, n_items, *self._categories, generator)

    # ------------------------------------------------------------------ fitting

    def _check_data(self, train: Interactions, valid: Interactions | None) -> None:
        super()._check_data(train, valid)
        full = np.flatnonzero(train.user_counts() == train.n_items)
        if len(full) and self.sampler != "in-batch":
            shown = ", ".join(map(repr, train.user_ids.take(full[:5]).tolist()))
            raise DataError(
                f"{len(full):,} user(s) have all {train.n_items:,} items, so there is nothing to compare "
                f"these with: {shown}{', ...' if len(full) > 5 else ''}. Leave these users out."
            )

    def _check_shards(self) -> None:
        for name in ("user_features", "item_features"):
            if getattr(self, name):
                raise NotSupportedError(
                    f"shard_tables=True goes without features, got {name}={getattr(self, name)}."
                )
        if self.sampler in ("hard", "in-batch"):
            raise NotSupportedError(
                f"shard_tables=True goes with sampler='uniform' or 'popularity', got {self.sampler!r}."
            )

    def _size(self, batch: Any) -> int:
        if not distributed.shards_tables():
            return super()._size(batch)
        mine = _shards.part(len(batch[0]))
        return mine.stop - mine.start

    def _fit(self, train: Interactions, valid: Interactions | None, **options: Any) -> None:
        if self.record_negatives and self._goes_on(options):
            raise ValueError(
                "record_negatives=True: a checkpoint does not hold what was drawn before it. "
                "Fit in one go, or without the record."
            )
        self._categories: tuple[Histories | None, Histories | None] = (
            categories_of(train.user_features, self.user_features, "user"),
            categories_of(train.item_features, self.item_features, "item"),
        )
        super()._fit(train, valid, **options)
        if self._sampler is not None and self.record_negatives:
            self._sampler.merge_ranks()
            self.negatives_drawn_: Histories = self._sampler.drawn
        del self._sampler, self._log_q, self._labels  # of no use to a fitted model

    def _threads(self) -> int | None:
        # A product with a weight is one of many at once; other numbers and parameters are read and written.
        pairs = int(self.batch_size) * (1 + int(self.pool if self.sampler == "hard" else self.negatives))
        layers = [part for part in self.net_.modules() if isinstance(part, nn.Linear)]
        vectors = [part for part in self.net_.modules() if isinstance(part, IdEmbedding)]
        numbers = sum(one.in_features for one in layers) + sum(one.ids.shape[1] for one in vectors)
        products = sum(one.weight.numel() for one in layers)
        parameters = sum(p.numel() for p in self.net_.parameters())
        return 1 if pairs * (numbers + products / 40) + parameters < _FOR_ONE_THREAD else None

    @staticmethod
    def _goes_on(options: Mapping[str, Any]) -> bool:
        """Tell whether a fit with these options starts from a checkpoint."""
        checkpoint = options.get("checkpoint")
        return bool(options.get("resume")) and checkpoint is not None and Path(checkpoint).exists()

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"categories": [_digest(one) for one in self._categories]}

    def _prepare(self, train: Interactions) -> dict[str, Tensor]:
        # The log of the chance of each item, where the loss has to know of it.
        self._sampler: NegativeSampler | None = None
        self._log_q: Tensor | None = None
        # Of a whole batch: to make them anew in every step takes a small one 15 microseconds.
        longest = min(int(self.batch_size), len(train))
        self._labels = torch.zeros(longest, 1 + int(self.negatives), device=self.device_)
        self._labels[:, 0] = 1
        if self.sampler == "in-batch":
            self._log_q = torch.log(self.popularity_ / self.popularity_.sum())
        elif self.sampler == "popularity":
            self._sampler = NegativeSampler(self.seen_, alpha=self.alpha, record=self.record_negatives)
            everything = torch.arange(self.seen_.n_items, device=self.device_)
            self._log_q = self._sampler.log_probability(everything)
        else:
            self._sampler = NegativeSampler(self.seen_, record=self.record_negatives)
        if self.sampler != "hard":  # which reads vectors between the steps
            size = int(self.batch_size)
            named = {
                "user": size,
                "item": size if self._sampler is None else size * (1 + int(self.negatives)),
            }
            defer_large_tables(self.net_, named, self._options(), self.device_)
        return self._columns(train)

    def _batches(
        self, data: Mapping[str, Tensor], generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield users (b,), an item of theirs and what to compare it with (b, 1 + negatives), and None.

        With divided tables all that the processes share is in the batch of each of them.
        The in-batch sampler yields items (b,), and in place of None a mask of what to leave out, (b, b). If
        several processes divide a batch of c, all c items are there, those of the b users first, and the mask
        is (b, c).
        """
        size, n = int(self.batch_size), int(self.pool if self.sampler == "hard" else self.negatives)
        own = distributed.own_generator(generator)
        n_batches = max(1, _DRAWN_AT_ONCE * distributed.n_parts() // (size * n))
        for rows in shuffled(len(data["users"]), n_batches * size, generator):
            if self._sampler is None:
                yield from (self._with_each_other(data, batch) for batch in rows.split(size))
                continue
            parts = [distributed.my_part(batch) for batch in rows.split(size)]
            mine, sizes = torch.cat(parts), [len(part) for part in parts]
            users, items = data["users"][mine].long(), data["items"][mine].long()
            items = torch.cat([items.unsqueeze(1), self._sampler.draw(users, n, own)], dim=1)
            for batch in zip(users.split(sizes), items.split(sizes), strict=True):
                yield self._with_the_hardest(*batch) if self.sampler == "hard" else (*batch, None)

    def _with_each_other(self, data: Mapping[str, Tensor], batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        users = data["users"][distributed.my_part(batch)].long()
        items = data["items"][distributed.my_part_first(batch)].long()
        return users, items, met_by(self.seen_, users, items)

    def _with_the_hardest(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor, None]:
        positives, others = items[:, :1], items[:, 1:]
        self.net_.eval()
        with torch.no_grad():
            scores = self.net_(users, others)
        self.net_.train()
        return users, torch.cat([positives, hardest(others, scores, int(self.negatives))], dim=1), None

    def _loss(self, net: Any, batch: Any) -> Tensor:
        users, items, known = batch
        value: Tensor = on_rows(net, users, items, partial(self._loss_of, items, known))
        return value

    def _loss_of(self, ids: Tensor, known: Tensor | None, net: Any, users: Tensor, items: Tensor) -> Tensor:
        """Return the loss of users and items, which have these ids and may be numbered in another way."""
        if known is not None:
            log_q = None if self._log_q is None else self._log_q[ids]
            value = losses.in_batch_softmax(net.catalogue(users, items), ids, log_q, known=known)
            pairs = items[: len(users)].unsqueeze(1)
        else:
            pairs = items
            # The loss is computed in single precision, whatever the network is computed in.
            logits = net(users, pairs).float()
            # With divided tables the network has returned those of this process's part of the batch.
            mine = ids[_shards.part(len(ids))] if distributed.shards_tables() else ids
            value = self._compare(logits, mine)
        return value + self.l2 * net.penalty(users, pairs) if self.l2 else value

    def _compare(self, logits: Tensor, items: Tensor) -> Tensor:
        """Compare the positives, in the first column, with the negatives."""
        if self.loss == "logistic":
            # losses.logistic, in a third of the operations.
            return binary_cross_entropy_with_logits(logits, self._labels[: len(logits)])
        positive, negative = logits[:, 0], logits[:, 1:]
        if self.loss == "bpr":
            return losses.bpr(positive, negative)
        if self.loss == "hinge":
            return losses.hinge(positive, negative, self.margin)
        if self.loss == "warp":
            return losses.warp(positive, negative, self.seen_.n_items, self.margin)
        if self._log_q is None:
            return losses.sampled_softmax(positive, negative)
        log_q = self._log_q[items]
        return losses.sampled_softmax(positive, negative, log_q[:, 0], log_q[:, 1:])

    # ------------------------------------------------------------------ scoring and keeping

    def _scores(self, users: Tensor) -> Tensor:
        scores: Tensor = self.net_.catalogue(users)
        return scores

    def _scores_of(self, users: Tensor, items: Tensor) -> Tensor:
        scores: Tensor = self.net_(users, items)
        return scores

    @torch.no_grad()
    def _item_vectors(self) -> Tensor:
        self._need_whole_tables()
        vectors: Tensor = self.net_.item_vectors()
        return vectors

    def _load_state(self, state: dict[str, Tensor]) -> None:
        self._categories = (_categories_in(state, "user"), _categories_in(state, "item"))
        super()._load_state(state)


def _digest(categories: Histories | None) -> str | None:
    if categories is None:
        return None
    content = torch.cat([categories.indptr, categories.indices]).cpu().numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def _categories_in(state: Mapping[str, Tensor], side: str) -> Histories | None:
    """Find the categories that a saved network holds; all its embeddings of one side have the same."""
    for key, codes in state.items():
        if f".{key}".endswith(f".{side}.codes"):
            stem = key.removesuffix("codes")
            return Histories.from_tensors(state[f"{stem}indptr"], codes, len(state[f"{stem}features"]))
    return None
