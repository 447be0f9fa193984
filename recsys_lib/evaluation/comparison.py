"""Which model is better, and is the difference more than luck? Paired tests over users."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from recsys_lib._validation import check_integer, check_number, shown
from recsys_lib.errors import DataError
from recsys_lib.evaluation.measure import DEFAULT_METRICS, evaluate
from recsys_lib.evaluation.result import Evaluation, table_html, table_text
from recsys_lib.evaluation.statistics import Floats, holm, sign_flip_p_value
from recsys_lib.splits import Split

__all__ = ["Leaderboard", "compare"]

LOWER_IS_BETTER = ("rmse", "mae")
N_FLIPS = 9_999


@dataclass(frozen=True, eq=False, repr=False)
class Leaderboard:
    """Models in the order of one metric. Made by :func:`compare`.

    Attributes
    ----------
    metric : str
        What the models are ordered by, such as ``"ndcg@10"``.
    table : DataFrame
        One row per model, best first: ``model``, ``mean``, ``low`` and ``high`` (95% bootstrap interval),
        ``difference`` to the best, ``p_value`` of the paired test against the best, corrected after Holm
        (``nan`` for the best itself), and ``tied``: whether the model is not significantly worse than the
        best.
    means : DataFrame
        All metrics: one row per model in the same order, one column per metric.
    alpha : float
        Level of the test.
    protocol : str
        How it was measured; the same for all.
    """

    metric: str
    table: pd.DataFrame
    means: pd.DataFrame
    alpha: float
    protocol: str

    @property
    def best(self) -> str:
        """Name of the first model. It may be tied with others."""
        return str(self.table["model"].iloc[0])

    def __repr__(self) -> str:
        return f"{self._heading()}\n{table_text(self.table)}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self._heading())}</p>\n{table_html(self.table)}"

    def _heading(self) -> str:
        return (
            f"{self.metric}; tied: not significantly worse than {self.best} at level {self.alpha:g} "
            f"(paired sign-flip test over users, Holm-corrected). {self.protocol}"
        )


def compare(
    models: Mapping[str, Any] | Sequence[Any],
    split: Split | None = None,
    k: int | Sequence[int] = 10,
    *,
    metric: str | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    on: Literal["test", "valid"] = "test",
    candidates: Any = None,
    exclude_known: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
    alpha: float = 0.05,
) -> Leaderboard:
    """Order models by a metric and test each against the best.

    The test is paired: it looks at the difference of the two models for each user, which removes the large
    differences between users. Under the hypothesis that two models are interchangeable, the sign of every
    difference is a coin toss; 9,999 rounds of coin tosses tell how unusual the observed sum is (a
    randomisation test; Smucker, Allan and Carterette 2007). p-values are corrected for the number of
    models (Holm 1979). The test is about users, not about training: it does not know what another seed or
    another split would give.

    Parameters
    ----------
    models : dict of name to model or Evaluation, or sequence of these
        At least two. Evaluations are taken as they are; fitted models are evaluated first.
    split : Split, optional
        Needed for models.
    k, metrics, on, candidates, exclude_known, seed, batch_size
        For models: see :func:`recsys_lib.evaluate`.
    metric : str, optional
        Column to order by, such as ``"recall@20"``. By default the first NDCG, or else the first metric.
        For RMSE and MAE lower is better.
    alpha : float
        Level of the test, between 0 and 1.

    Returns
    -------
    Leaderboard

    Raises
    ------
    DataError
        If the evaluations follow different protocols, or cover different users or held-out items.
    ValueError
        If there are fewer than two models, names repeat, or there is no such metric.

    Examples
    --------
    >>> from recsys_lib import Interactions, compare, splits
    >>> from recsys_lib.models import EASE, Popularity
    >>> x = Interactions.from_arrays(list("aaabbbccc"), [1, 2, 3, 1, 2, 4, 1, 3, 4])
    >>> split = splits.random_holdout(x, test=0.3, seed=0)
    >>> board = compare([Popularity().fit(split.train), EASE().fit(split.train)], split, k=2)
    >>> sorted(board.table["model"])
    ['EASE', 'Popularity']
    """
    check_number("alpha", alpha, 0.0, 1.0, open_low=True, open_high=True)
    check_integer("seed", seed, 0)
    contestants = _named(models)
    untested = [name for name, one in contestants.items() if not isinstance(one, Evaluation)]
    if untested and split is None:
        raise ValueError(f"split is needed to evaluate {untested[0]}: compare(models, split).")
    results = {
        name: one
        if isinstance(one, Evaluation) or split is None
        else evaluate(
            one,
            split,
            k,
            on=on,
            metrics=metrics,
            candidates=candidates,
            exclude_known=exclude_known,
            seed=seed,
            batch_size=batch_size,
        )
        for name, one in contestants.items()
    }
    _check_same(results)
    metric = _choose(metric, results)
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    names = sorted(results, key=lambda name: -sign * results[name][metric])
    best = results[names[0]]
    p_values = np.array([_p_value(best, results[name], metric, seed) for name in names[1:]])
    corrected = np.concatenate([[np.nan], holm(p_values)])
    rows = [results[name].table.set_index("metric").loc[metric] for name in names]
    table = pd.DataFrame(
        {
            "model": names,
            "mean": [row["mean"] for row in rows],
            "low": [row["low"] for row in rows],
            "high": [row["high"] for row in rows],
            "difference": [row["mean"] - best[metric] for row in rows],
            "p_value": corrected,
            "tied": ~(corrected < alpha),
        }
    )
    means = pd.DataFrame({name: results[name].table.set_index("metric")["mean"] for name in names}).T
    means.index.name, means.columns.name = "model", None
    return Leaderboard(metric, table, means, alpha, best.protocol)


def _named(models: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    if isinstance(models, str) or not isinstance(models, Iterable):
        raise TypeError(f"models must be a list of models, or a dict of them by name, got {shown(models)}.")
    named = dict(models) if isinstance(models, Mapping) else {}
    for one in () if isinstance(models, Mapping) else models:
        if not hasattr(one, "name"):
            raise TypeError(f"models must hold fitted models or evaluations, got {shown(one)}.")
        if one.name in named:
            raise ValueError(
                f"two models are called {one.name!r}. Name them yourself with a dict: "
                "compare({'first': ..., 'second': ...})."
            )
        named[one.name] = one
    if len(named) < 2:
        raise ValueError(f"models must be at least two, got {len(named)}. For one model use evaluate().")
    return named


def _check_same(results: Mapping[str, Evaluation]) -> None:
    (first, reference), *others = results.items()
    for name, other in others:
        if other.protocol != reference.protocol:
            raise DataError(
                "evaluations of different protocols cannot be compared.\n"
                f"  {first}: {reference.protocol}\n  {name}: {other.protocol}"
            )
        if other.fingerprint != reference.fingerprint or not other.per_user.index.equals(
            reference.per_user.index
        ):
            raise DataError(
                f"{first} and {name} were evaluated on other users, held-out items or candidates, although "
                f"the protocol reads the same: {reference.protocol} Evaluate both on the same split object."
            )


def _choose(metric: str | None, results: Mapping[str, Evaluation]) -> str:
    common = [
        column
        for column in next(iter(results.values())).per_user.columns
        if column != "n_ratings" and all(column in one.per_user for one in results.values())
    ]
    if metric is None:
        metric = next((column for column in common if column.startswith("ndcg")), common[0] if common else "")
    if not isinstance(metric, str) or metric not in common:
        raise ValueError(
            f"metric={shown(metric)} has no value per user in every evaluation, so it cannot be tested. "
            f"There are: {', '.join(common) or 'none'}."
        )
    return metric


def _p_value(best: Evaluation, other: Evaluation, metric: str, seed: int) -> float:
    differences = _contributions(best, metric) - _contributions(other, metric)
    return sign_flip_p_value(differences[~np.isnan(differences)], N_FLIPS, seed)


def _contributions(result: Evaluation, metric: str) -> Floats:
    """Return what each user adds to the metric: for RMSE and MAE the sum of their errors."""
    values = result.per_user[metric].to_numpy(dtype=np.float64)
    if metric not in LOWER_IS_BETTER:
        return values
    sizes = result.per_user["n_ratings"].to_numpy(dtype=np.float64)
    return sizes * (np.square(values) if metric == "rmse" else values)
