"""Hit rate and NDCG as metrics of MXNet, right also when a list comes in pieces.

The numbers are those of :mod:`recsys_lib.metrics`, which does the work.

>>> metric = HitRate(k=2)
>>> scores = mx.nd.array([0.9, 0.5, 0.1]), mx.nd.array([0.7, 0.2])
>>> metric.update([mx.nd.array([0, 0, 1]), mx.nd.array([7, 7, 8])], [scores[0]])  # lists 7 and 8
>>> metric.update([mx.nd.array([1, 0]), mx.nd.array([7, 8])], [scores[1]])  # and the rest of them
>>> metric.get()
('hit_rate@2', 1.0)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from recsys_lib._validation import check_integer
from recsys_lib.errors import DataError
from recsys_lib.metrics import hit_rate, ndcg
from recsys_lib.mx.loading import load_mxnet

mx = load_mxnet()

__all__ = ["NDCG", "HitRate", "RankingMetric"]


class RankingMetric(mx.metric.EvalMetric):  # type: ignore[name-defined, misc]
    """What the metrics of lists share: they collect rows, and rank them when a value is asked for.

    A list has to be whole before it can be ranked. So :meth:`update` only keeps what it is given, and
    :meth:`get` sorts the rows into lists, ranks each by score, and returns the mean over all lists with at
    least one relevant row.

    Parameters
    ----------
    k : int
        Cut-off.
    name : str, optional
        By default such as ``"ndcg@10"``.
    output_names, label_names : list of str, optional
        Which outputs and labels to take, in MXNet's ``update_dict``.
    """

    _name = "metric"

    def __init__(
        self,
        k: int = 10,
        name: str | None = None,
        output_names: list[str] | None = None,
        label_names: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.k = check_integer("k", k, 1)
        kwargs.pop("has_global_stats", None)
        super().__init__(
            name or f"{self._name}@{k}", output_names, label_names, has_global_stats=True, k=k, **kwargs
        )

    def update(self, labels: Any, preds: Any) -> None:
        """Keep the rows of a batch. Nothing is computed, and MXNet is not waited for.

        Parameters
        ----------
        labels : NDArray or list of NDArray
            [relevant (n,)], [relevant, list (n,)] or [relevant, list, item (n,)]. ``relevant`` is above 0 for
            what should be found. ``list`` is a whole number that tells which rows are ranked together, such
            as the user. Without it the rows of each update are a list of their own.
        preds : NDArray or list of NDArray
            [score (n,)], higher is better. ``list`` and ``item`` may stand here instead, as further outputs
            of a network.

        Notes
        -----
        Equal scores are ordered by ``item``, lowest first, as everywhere in this library; without ``item`` by
        when they came, so give the rows in order of the item index.
        """
        labels, preds = (list(x) if isinstance(x, list | tuple) else [x] for x in (labels, preds))
        columns = [labels[0], preds[0], *labels[1:], *preds[1:]] if labels and preds else []
        if not 2 <= len(columns) <= 4:
            raise DataError(
                f"update takes labels and scores, then perhaps lists and items: got {len(labels)} labels and "
                f"{len(preds)} predictions. Choose them with label_names and output_names."
            )
        n = columns[0].size
        if any(column.size != n for column in columns):
            shapes = [tuple(column.shape) for column in columns]
            raise DataError(f"labels, scores, lists and items must be equally long, got shapes {shapes}.")
        # Copies, because a network may write its next output to the same memory.
        self._parts.append([column.copy() for column in columns])

    def reset(self) -> None:
        """Forget everything."""
        self._parts: list[list[Any]] = []
        self._from = 0
        super().reset()

    def reset_local(self) -> None:
        """Start anew for :meth:`get`; :meth:`get_global` still knows everything since :meth:`reset`."""
        self._from = len(self._parts)
        super().reset_local()

    def get(self) -> tuple[str, float]:
        """Return the name and the mean over the lists; nan if there is none."""
        return self.name, _mean(self._values(self._parts[self._from :]))

    def get_global(self) -> tuple[str, float]:
        """Return the name and the mean over all lists since :meth:`reset`."""
        return self.name, _mean(self._values(self._parts))

    def per_list(self) -> pd.Series:
        """Return the value of each list, by the number of the list; nan where nothing is relevant."""
        return self._values(self._parts[self._from :])

    def _values(self, parts: list[list[Any]]) -> pd.Series:
        if not parts:
            return pd.Series([], dtype=np.float64, name=self.name)
        kinds = {len(part) for part in parts}
        if len(kinds) > 1:
            raise DataError("some updates named their lists or items and some did not.")
        labels, scores, *more = (
            np.concatenate([_numbers(part[column]) for part in parts]) for column in range(kinds.pop())
        )
        if np.isnan(scores).any():
            raise DataError(f"{int(np.isnan(scores).sum()):,} scores are NaN. Training may have diverged.")
        lists = more[0] if more else np.repeat(np.arange(len(parts)), [part[0].size for part in parts])
        items = more[1] if len(more) > 1 else np.arange(len(lists))
        names, hits, n_relevant = _rank(labels > 0, scores, lists, items, self.k)
        return pd.Series(self._measure(hits, n_relevant).numpy(), index=names, name=self.name)

    def _measure(self, hits: Tensor, n_relevant: Tensor) -> Tensor:
        """Return the value of each list, (n, k) and (n,) -> (n,)."""
        raise TypeError("RankingMetric has no value of its own: use HitRate or NDCG.")


@mx.metric.register
class HitRate(RankingMetric):
    """Whether the first ``k`` places hold anything relevant: :func:`recsys_lib.metrics.hit_rate`.

    Also to be had by its name, ``mx.metric.create("hitrate", k=10)``, once this module is imported. The
    parameters are those of :class:`RankingMetric`.

    References
    ----------
    M. Deshpande and G. Karypis (2004), "Item-based top-N recommendation algorithms".
    """

    _name = "hit_rate"

    def _measure(self, hits: Tensor, n_relevant: Tensor) -> Tensor:
        return hit_rate(hits, self.k, n_relevant)


@mx.metric.register
class NDCG(RankingMetric):
    """The gain of the first ``k`` places, discounted and normalised: :func:`recsys_lib.metrics.ndcg`.

    Also to be had by its name, ``mx.metric.create("ndcg", k=10)``, once this module is imported. The
    parameters are those of :class:`RankingMetric`, and one more.

    Parameters
    ----------
    truncated : bool
        Cut the ideal list at ``k`` too.

    References
    ----------
    K. Järvelin and J. Kekäläinen (2002), "Cumulated gain-based evaluation of IR techniques".
    """

    _name = "ndcg"

    def __init__(self, k: int = 10, name: str | None = None, truncated: bool = True, **kwargs: Any) -> None:
        self.truncated = bool(truncated)
        super().__init__(k, name, truncated=truncated, **kwargs)

    def _measure(self, hits: Tensor, n_relevant: Tensor) -> Tensor:
        return ndcg(hits, n_relevant, self.k, self.truncated)


def _numbers(values: Any) -> npt.NDArray[Any]:
    return (values.asnumpy() if isinstance(values, mx.nd.NDArray) else np.asarray(values)).ravel()


def _mean(values: pd.Series) -> float:
    return float(values.mean()) if values.notna().any() else float("nan")


def _rank(
    relevant: npt.NDArray[np.bool_],
    scores: npt.NDArray[Any],
    lists: npt.NDArray[Any],
    items: npt.NDArray[Any],
    k: int,
) -> tuple[npt.NDArray[Any], Tensor, Tensor]:
    """Return the number of each list, the hits in its first k places, (n, k), and its relevant rows, (n,)."""
    names, lists = np.unique(lists, return_inverse=True)
    order = np.lexsort((items, -scores, lists))
    ordered = lists[order]
    lengths = np.bincount(ordered, minlength=len(names))
    place = np.arange(len(ordered)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    first = place < k
    hits = torch.zeros(len(names), k, dtype=torch.bool)
    hits[ordered[first], place[first]] = torch.from_numpy(relevant[order][first])
    n_relevant = np.bincount(lists[relevant], minlength=len(names))
    return names, hits, torch.from_numpy(n_relevant)
