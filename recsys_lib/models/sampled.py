"""What all models share that learn from positives and sampled negatives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recsys_lib import losses
from recsys_lib._validation import check_choice, check_integer, check_number
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models.embeddings import categories_of
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.models.pair_nets import PairNet
from recsys_lib.sampling import NegativeSampler, hardest
from recsys_lib.training import shuffled

SAMPLERS = ("uniform", "popularity", "hard", "in-batch")
LOSSES = ("logistic", "bpr", "hinge", "warp", "softmax")


@dataclass(kw_only=True, eq=False, repr=False)
class SampledRecommender(GradientRecommender):
    r"""A model that learns to score a user's items above items drawn for comparison.

    Parameters
    ----------
    negatives : int
        How many negatives are drawn for each positive, anew in every epoch.
    sampler : {"uniform", "popularity", "hard", "in-batch"}
        Where they come from; never from the user's own items. ``"uniform"``: all other items alike.
        ``"popularity"``: in proportion to popularity to the power of ``alpha``. ``"hard"``: ``pool`` items
        are drawn uniformly, and the model's highest-scored of them are taken. ``"in-batch"``: the positives
        of the rest of the batch, corrected for their popularity; needs ``loss="softmax"``.
    alpha : float
        For ``"popularity"``.
    pool : int
        For ``"hard"``.
    loss : {"logistic", "bpr", "hinge", "warp", "softmax"}
        See :mod:`recsys_lib.losses`. With the popularity sampler, the softmax is corrected for it.
    margin : float
        For ``"hinge"`` and ``"warp"``.
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
        With ``record_negatives``, until the model is saved and loaded.
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
        check_choice("record_negatives", str(self.record_negatives), ("True", "False"))
        for name in ("user_features", "item_features"):
            columns = getattr(self, name)
            if isinstance(columns, str) or not all(isinstance(column, str) for column in columns):
                raise TypeError(f"{name} must be a list of names of columns, got {columns!r}.")
            setattr(self, name, tuple(columns))
        if self.sampler == "in-batch" and self.loss != "softmax":
            raise ValueError(f"sampler='in-batch' needs loss='softmax', got loss={self.loss!r}.")
        if self.sampler == "in-batch" and self.record_negatives:
            raise ValueError("record_negatives=True: the in-batch sampler draws nothing to record.")

    # ------------------------------------------------------------------ what a model fills in

    @abstractmethod
    def _make_net(
        self,
        n_users: int,
        n_items: int,
        user_categories: Histories | None,
        item_categories: Histories | None,
        generator: torch.Generator,
    ) -> PairNet:
        """Make the network on the CPU; all its randomness comes from the generator."""

    def _build(self, n_users: int, n_items: int, generator: torch.Generator) -> nn.Module:
        return self._make_net(n_users, n_items, *self._categories, generator)

    # ------------------------------------------------------------------ fitting

    def _fit(self, train: Interactions, valid: Interactions | None, **options: Any) -> None:
        self._categories: tuple[Histories | None, Histories | None] = (
            categories_of(train.user_features, self.user_features, "user"),
            categories_of(train.item_features, self.item_features, "item"),
        )
        super()._fit(train, valid, **options)

    def _prepare(self, train: Interactions) -> dict[str, Any]:
        data: dict[str, Any] = train.to_torch(self.device_)
        if self.sampler != "in-batch":
            alpha = self.alpha if self.sampler == "popularity" else 0.0
            data["sampler"] = NegativeSampler(self.seen_, alpha=alpha, record=self.record_negatives)
        # What the loss has to know of the sampling: the log of the chance of each item.
        self._log_q: Tensor | None = None
        if self.sampler == "in-batch":
            self._log_q = torch.log(self.popularity_ / self.popularity_.sum())
        elif self.sampler == "popularity":
            everything = torch.arange(self.seen_.n_items, device=self.device_)
            self._log_q = data["sampler"].log_probability(everything)
        return data

    def _batches(self, data: Mapping[str, Any], generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
        for rows in shuffled(len(data["users"]), self.batch_size, generator):
            users, items = data["users"][rows], data["items"][rows]
            if self.sampler == "in-batch":
                yield users, items, self.seen_.select(users).to_dense(torch.bool)[:, items]
            else:
                yield users, items, self._draw(data["sampler"], users, generator)
        if self.record_negatives:
            self.negatives_drawn_: Histories = data["sampler"].drawn

    def _draw(self, sampler: NegativeSampler, users: Tensor, generator: torch.Generator) -> Tensor:
        if self.sampler != "hard":
            return sampler.draw(users, self.negatives, generator)
        candidates = sampler.draw(users, self.pool, generator)
        with torch.no_grad():
            scores = self.net_(users, candidates)
        return hardest(candidates, scores, self.negatives)

    def _loss(self, net: Any, batch: Any) -> Tensor:
        users, items, others = batch
        if self.sampler == "in-batch":
            log_q = None if self._log_q is None else self._log_q[items]
            value = losses.in_batch_softmax(net.catalogue(users, items), items, log_q, known=others)
            pairs = items.unsqueeze(1)
        else:
            pairs = torch.cat([items.unsqueeze(1), others], dim=1)
            value = self._compare(net(users, pairs), pairs)
        return value + self.l2 * net.penalty(users, pairs) if self.l2 else value

    def _compare(self, logits: Tensor, items: Tensor) -> Tensor:
        """Compare the positives, in the first column, with the negatives."""
        positive, negative = logits[:, 0], logits[:, 1:]
        if self.loss == "bpr":
            return losses.bpr(positive, negative)
        if self.loss == "hinge":
            return losses.hinge(positive, negative, self.margin)
        if self.loss == "warp":
            return losses.warp(positive, negative, self.seen_.n_items, self.margin)
        if self.loss == "softmax":
            if self._log_q is None:
                return losses.sampled_softmax(positive, negative)
            log_q = self._log_q[items]
            return losses.sampled_softmax(positive, negative, log_q[:, 0], log_q[:, 1:])
        return losses.logistic(positive, negative)

    # ------------------------------------------------------------------ scoring and keeping

    def _scores(self, users: Tensor) -> Tensor:
        scores: Tensor = self.net_.catalogue(users)
        return scores

    @torch.no_grad()
    def _item_vectors(self) -> Tensor:
        vectors: Tensor = self.net_.item_vectors()
        return vectors

    def _load_state(self, state: dict[str, Tensor]) -> None:
        self._categories = (_categories_in(state, "user"), _categories_in(state, "item"))
        super()._load_state(state)


def _categories_in(state: Mapping[str, Tensor], side: str) -> Histories | None:
    """Find the categories that a saved network holds; all its embeddings of one side have the same."""
    for key, codes in state.items():
        if f".{key}".endswith(f".{side}.codes"):
            stem = key.removesuffix("codes")
            return Histories(state[f"{stem}indptr"], codes, len(state[f"{stem}features"]))
    return None
