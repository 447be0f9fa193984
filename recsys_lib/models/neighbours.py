"""Neighbourhood models: recommend what is similar to what a user already has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recsys_lib._tensors import check_indices, check_tensor
from recsys_lib._validation import check_choice, check_integer, check_number
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.models._bags import sum_rows
from recsys_lib.models._cooccurrence import co_counts
from recsys_lib.models.base import Recommender
from recsys_lib.ranking import top_k

# A dense table of similarities is the faster way to score; up to this size it is made.
_TABLE_BYTES = 512 * 2**20
# Turns a block of (weighted) counts, whose first row belongs to item `start`, into similarities.
Similarity = Callable[[int, Tensor], Tensor]


@dataclass(kw_only=True, eq=False, repr=False)
class ItemKNN(Recommender):
    r"""Item-based neighbourhood model on 0/1 data.

    The score of item :math:`i` for a user with history :math:`H_u` is the sum of similarities

    .. math:: s_{ui} = \sum_{j \in H_u \cap N(i)} \mathrm{sim}(i, j)

    where :math:`N(i)` are the items most similar to :math:`i`. With :math:`c_{ij}` users who have both items,
    :math:`n_i` users who have item :math:`i`, and shrinkage :math:`h`, the similarities are

    ============  ===========================================================================
    ``cosine``    :math:`c_{ij} / (\sqrt{n_i n_j} + h)`
    ``jaccard``   :math:`c_{ij} / (n_i + n_j - c_{ij} + h)`
    ``tfidf``     the cosine of columns in which user :math:`u` has the entry :math:`\mathrm{idf}_u`
    ``bm25``      :math:`w_i w_j \sum_u \mathrm{idf}_u^2` over the users who have both items
    ``counts``    :math:`c_{ij}`
    ============  ===========================================================================

    Users with many items say less about each: :math:`\mathrm{idf}_u = \ln(1 + \frac{m - |H_u| + 0.5}{|H_u| +
    0.5})` for :math:`m` items. BM25 looks at an item as a document and at its users as the words, each of
    which appears once. Its weights :math:`w_i = (k_1 + 1) / (k_1 (1 - b + b\, n_i / \bar n) + 1)` damp items
    that are more popular than the mean :math:`\bar n`. Dividing by norms would undo the damping.

    Items without a user in common are no neighbours, and an item is not its own neighbour. Among equally
    similar items the lower index is kept. Ratings and times are not looked at.

    Parameters
    ----------
    neighbours : int or None
        Size of :math:`N(i)`; None keeps all.
    similarity : {"cosine", "jaccard", "tfidf", "bm25", "counts"}
        See the table.
    shrinkage : float
        :math:`h`, at least 0: takes the edge off similarities that rest on few users. Only for similarities
        with a denominator: not for ``bm25`` and ``counts``.
    bm25_k1, bm25_b : float
        :math:`k_1 \ge 0` and :math:`b` from 0 to 1. With ``b=0`` popularity is not damped.

    Attributes
    ----------
    indptr_, neighbours_, similarities_ : Tensor
        The neighbours of item ``i``, in index order, are ``neighbours_[indptr_[i]:indptr_[i + 1]]``; their
        similarities stand at the same places.

    Notes
    -----
    Similarities are computed in blocks of items on the CPU, about 250 MB at a time, and only the neighbours
    are kept. Catalogues of up to some 11,500 items are scored with a dense table of similarities, larger ones
    from the lists of neighbours.

    References
    ----------
    M. Deshpande and G. Karypis (2004), "Item-based top-N recommendation algorithms", ACM TOIS 22(1).
    S. Robertson and H. Zaragoza (2009), "The probabilistic relevance framework: BM25 and beyond",
    Foundations and Trends in Information Retrieval 3(4).

    Examples
    --------
    >>> from recsys_lib import Interactions
    >>> x = Interactions.from_arrays(
    ...     ["ann", "ann", "bob", "bob", "eve", "eve", "joe"],
    ...     ["tea", "jam", "tea", "jam", "jam", "nut", "joe's"],
    ... )
    >>> model = ItemKNN(similarity="jaccard").fit(x)
    >>> model.similar_items(["jam"])
      item similar  rank     score
    0  jam     tea     1  0.666667
    1  jam     nut     2  0.333333
    >>> model.recommend_from_history(["tea"], k=1)["item"].tolist()
    ['jam']
    """

    neighbours: int | None = 100
    similarity: str = "cosine"
    shrinkage: float = 0.0
    bm25_k1: float = 1.2
    bm25_b: float = 0.75

    def _check(self) -> None:
        if self.neighbours is not None:
            check_integer("neighbours", self.neighbours, 1)
        check_choice("similarity", self.similarity, ("cosine", "jaccard", "tfidf", "bm25", "counts"))
        check_number("shrinkage", self.shrinkage, 0)
        check_number("bm25_k1", self.bm25_k1, 0)
        check_number("bm25_b", self.bm25_b, 0, 1)
        if self.shrinkage and self.similarity in ("bm25", "counts"):
            raise ValueError(
                f"shrinkage={self.shrinkage} has no effect with similarity={self.similarity!r}: "
                "leave it at 0."
            )

    # ------------------------------------------------------------------ fitting

    def _fit(self, train: Interactions, valid: Interactions | None) -> None:
        user_weights, similarity = self._similarity()
        lengths, neighbours, similarities = [], [], []
        for start, block in co_counts(self.seen_, user_weights):
            values = similarity(start, block)
            rows = torch.arange(len(values))
            values[rows, start + rows] = 0.0  # an item is not its own neighbour
            values, columns = self._nearest(values)
            kept = values > 0
            lengths.append(kept.sum(1))
            neighbours.append(columns[kept].int())
            similarities.append(values[kept])
        indptr = torch.cat([torch.zeros(1, dtype=torch.int64), torch.cat(lengths).cumsum(0)])
        state = {
            "indptr": indptr,
            "neighbours": torch.cat(neighbours),
            "similarities": torch.cat(similarities),
        }
        self._load_state({key: value.to(self.device_) for key, value in state.items()})

    def _similarity(self) -> tuple[Tensor | None, Similarity]:
        """Return the weights of the users, and the function that turns weighted counts into similarities."""
        user_weights = self._squared_idf().cpu() if self.similarity in ("tfidf", "bm25") else None
        users, items = self.seen_.to("cpu").pairs()
        h = self.shrinkage
        # Size of an item: the number of its users, or the sum of their weights.
        weights = None if user_weights is None else user_weights[users]
        size = torch.bincount(items, weights, minlength=self.seen_.n_items).float()

        def cosine(start: int, counts: Tensor) -> Tensor:
            # In double precision, so that cosines that are equal on paper are equal here too. Otherwise the
            # last bit of a square root would decide between neighbours, on each machine in its own way.
            norm = size.double().sqrt()
            return counts.div_(torch.outer(norm[start : start + len(counts)], norm).add_(h).clamp_(min=1e-30))

        def jaccard(start: int, counts: Tensor) -> Tensor:
            either = size[start : start + len(counts), None] + size - counts
            return counts.div_(either.add_(h).clamp_(min=1e-30))

        def bm25(start: int, counts: Tensor) -> Tensor:
            k1, b, popularity = self.bm25_k1, self.bm25_b, self.popularity_.cpu()
            damp = (k1 + 1) / (k1 * (1 - b + b * popularity / popularity.mean()) + 1)
            return counts.mul_(damp[start : start + len(counts), None]).mul_(damp)

        def counts_as_they_are(start: int, counts: Tensor) -> Tensor:
            return counts

        functions = {"cosine": cosine, "tfidf": cosine, "jaccard": jaccard, "bm25": bm25}
        return user_weights, functions.get(self.similarity, counts_as_they_are)

    def _squared_idf(self) -> Tensor:
        lengths = self.seen_.lengths().float()
        return torch.log1p((self.seen_.n_items - lengths + 0.5) / (lengths + 0.5)).square()

    def _nearest(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Pick the nearest neighbours of each row, in the order of their index."""
        n_items = values.shape[1]
        if self.neighbours is None or self.neighbours >= n_items:
            return values, torch.arange(n_items).expand(len(values), -1)
        values, columns = top_k(values, self.neighbours)
        columns, order = columns.sort(1)
        return values.gather(1, order), columns

    # ------------------------------------------------------------------ scoring

    def _scores(self, users: Tensor) -> Tensor:
        return self._scores_from(self.seen_.select(users))

    def _scores_from(self, histories: Histories) -> Tensor:
        if self._table is not None:
            return sum_rows(self._table, histories)
        # The product of the sparse similarities with the dense histories, (n_items, n_items) x (n_items, b).
        # Like sum_rows it adds in the same order whatever else is in the batch, and on every device.
        scores = torch.nn.functional.embedding_bag(
            self.neighbours_,
            histories.to_dense().T.contiguous(),
            self.indptr_[:-1].int(),
            mode="sum",
            per_sample_weights=self.similarities_,
        )
        return scores.T.contiguous()

    def _item_similarity(self, items: Tensor) -> Tensor:
        starts, lengths = self.indptr_[items], self.indptr_.diff()[items]
        rows = torch.repeat_interleave(torch.arange(len(items), device=items.device), lengths)
        places = (
            torch.arange(len(rows), device=items.device) - (lengths.cumsum(0) - lengths)[rows] + starts[rows]
        )
        # What is no neighbour has no similarity, not a similarity of 0.
        scores = torch.full((len(items), self.seen_.n_items), -torch.inf, device=items.device)
        scores[rows, self.neighbours_[places].long()] = self.similarities_[places]
        return scores

    # ------------------------------------------------------------------ keeping

    def _state(self) -> dict[str, Tensor]:
        return {
            "indptr": self.indptr_,
            "neighbours": self.neighbours_,
            "similarities": self.similarities_,
        }

    def _load_state(self, state: dict[str, Tensor]) -> None:
        n_items, n = self.seen_.n_items, len(state["neighbours"])
        self.indptr_: Tensor = check_tensor("indptr", state["indptr"], "int", n_items + 1)
        self.neighbours_: Tensor = check_indices("neighbours", state["neighbours"], n_items, 1)
        self.similarities_: Tensor = check_tensor("similarities", state["similarities"], "float", n)
        ends = self.indptr_.tolist()
        if ends[0] != 0 or ends[-1] != n or ends != sorted(ends):
            raise DataError("indptr does not say where the neighbours of each item start and end.")
        # Row j of the table: how much having item j adds to the score of every item.
        self._table: Tensor | None = None
        sparse_bytes = 8 * len(self.neighbours_)
        if 4 * n_items**2 <= max(_TABLE_BYTES, sparse_bytes):
            rows = torch.repeat_interleave(
                torch.arange(n_items, device=self.indptr_.device), self.indptr_.diff()
            )
            self._table = torch.zeros(n_items, n_items, device=self.indptr_.device)
            self._table[self.neighbours_.long(), rows] = self.similarities_
