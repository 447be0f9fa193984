"""How good are the recommendations? Metrics per user, on the held-out part of a split.

By default every item of the catalogue competes, except the items that the user is already known to have.
Results are kept per user, so that they come with intervals and can be compared in pairs: see
:func:`recsys_lib.compare`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsys_lib import metrics as metric_functions
from recsys_lib._validation import check_choice, check_flag, check_integer
from recsys_lib.errors import DataError, NotFittedError, NotSupportedError
from recsys_lib.evaluation.candidates import candidate_lists, rank_lists
from recsys_lib.evaluation.result import N_RESAMPLES, Evaluation, fingerprint, metrics_of, summarise
from recsys_lib.evaluation.statistics import Floats, bootstrap_ratios
from recsys_lib.histories import Histories
from recsys_lib.ids import IdMap
from recsys_lib.interactions import Interactions
from recsys_lib.ranking import PairScorer, Scorer, rank_catalogue, score_batches
from recsys_lib.splits import Split

__all__ = ["RankingModel", "SampledMetricsWarning", "evaluate", "evaluate_ratings"]

DEFAULT_METRICS = ("hit_rate", "precision", "recall", "ndcg", "map", "mrr")
METRICS = (*DEFAULT_METRICS, "truncated_recall", "truncated_map", "auc", "novelty", "coverage", "gini")


class SampledMetricsWarning(UserWarning):
    """The metrics come from a sample of the items, not from the catalogue."""


class RankingModel(Protocol):
    """What evaluation needs of a model. Every :class:`recsys_lib.models.Recommender` has it.

    A model for held-out users also has ``score_histories(histories) -> (b, n_items)``, and one that
    predicts ratings has ``predict(users, items) -> (n,)`` for pairs of ids and ``predicts_ratings = True``.
    """

    @property
    def name(self) -> str:
        """What the model is called in tables."""

    @property
    def user_ids(self) -> IdMap:
        """The users that it was fitted on."""

    @property
    def item_ids(self) -> IdMap:
        """The items that it was fitted on."""

    def score_users(self, users: Tensor) -> Tensor:
        """Score the catalogue for user indices, shape (b,) -> (b, n_items)."""


def evaluate(
    model: RankingModel,
    split: Split,
    k: int | Sequence[int] = 10,
    *,
    on: Literal["test", "valid"] = "test",
    metrics: Sequence[str] = DEFAULT_METRICS,
    candidates: Any = None,
    exclude: Histories | None = None,
    exclude_known: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
) -> Evaluation:
    """Measure how well a model ranks the held-out items of a split.

    All users with at least one item in the held-out part are evaluated, and every item there is relevant.
    By default the whole catalogue is ranked for each user, without the items that the user is known to
    have: those of ``split.known(on)``.

    Parameters
    ----------
    model : fitted model
        Fitted on the id space of the split.
    split : Split
        If its users are held out, the model scores them by their fold-in items.
    k : int or sequence of int
        Cut-off, or several.
    on : {"test", "valid"}
        Which part to evaluate on.
    metrics : sequence of str
        Of ``hit_rate``, ``precision``, ``recall``, ``ndcg``, ``map``, ``mrr``, ``truncated_recall`` and
        ``truncated_map`` (divided by min(k, number of relevant items)), ``auc``, ``novelty``, ``coverage``
        and ``gini``. All are defined in :mod:`recsys_lib.metrics`. For novelty, the probability of an item
        is the share of training users who have it; an item without users counts as having one.
    candidates : int, DataFrame, pair of columns, or array, optional
        Rank only some items for each user, and raise a :class:`SampledMetricsWarning`.

        * An int: the held-out items of the user and this many others, drawn uniformly without replacement
          among the items that the user has in no part of the split. With one held-out item a user and 99
          others this is the protocol of He et al. (2017).
        * A data frame with the columns ``user`` and ``item``, or a pair (users, items), in your own ids:
          just these items. A user's candidates are a set. A held-out item that is not among them is a
          miss, so list the held-out items too.
        * An array of item indices, shape (n_users, c): the same, row ``u`` for user index ``u``, ``-1`` for
          none.
    exclude : Histories, optional
        Pairs that are not drawn as candidates when ``candidates`` is an int, one list per user. Give it the
        ``negatives_drawn_`` of a model, and no candidate was a negative of its training.
    exclude_known : bool
        Leave out known items. Explicit candidates are ranked as they are.
    seed : int
        For the drawn candidates and the bootstrap.
    batch_size : int, optional
        Users scored at once; by default chosen to bound the memory.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If the part is empty, the model was fitted on another id space or gives NaN, or the candidates do
        not fit.
    NotSupportedError
        If the users are held out and the model cannot score a user by their items.
    NotFittedError
        If the model is not fitted.

    Examples
    --------
    >>> from recsys_lib import Interactions, evaluate, splits
    >>> from recsys_lib.models import Popularity
    >>> x = Interactions.from_arrays(list("aaabbbccc"), [1, 2, 3, 1, 2, 4, 1, 3, 4])
    >>> split = splits.random_holdout(x, test=0.3, seed=0)
    >>> result = evaluate(Popularity().fit(split.train), split, k=2, metrics=["ndcg"])
    >>> 0 <= result["ndcg@2"] <= 1
    True
    """
    check_choice("on", on, ("test", "valid"))
    check_integer("seed", seed, 0)
    check_flag("exclude_known", exclude_known)
    cuts = list(k) if isinstance(k, Iterable) and not isinstance(k, str) else [k]
    cuts = [check_integer("k", cut, 1) for cut in cuts]
    if not cuts or len(set(cuts)) < len(cuts):
        raise ValueError(f"k must be a cut-off or a few different ones, got {k!r}.")
    metrics = [metrics] if isinstance(metrics, str) else metrics
    names = [check_choice("metrics", name, METRICS) for name in metrics]
    if not names:
        raise ValueError(f"metrics is empty: ask for at least one of {', '.join(METRICS)}.")
    part, fold_in = _part(split, on)
    _check_id_space(model, split.train, items_only=fold_in is not None)
    longest = min(max(cuts), split.train.n_items)

    relevant_of_all = part.histories("cpu")
    users = relevant_of_all.lengths().nonzero().flatten()
    relevant = relevant_of_all.select(users)
    score = _scorer(model, users, fold_in)
    lists, words = candidate_lists(candidates, split, part, users, relevant, seed, exclude)
    known = None
    if lists is None and exclude_known:
        known = split.known(on).histories("cpu").select(users)
        _refuse_overlap(relevant, known)
        words += f" except what the user has in {_known_words(split, on)}"
    if lists is None:
        ranked, _ = rank_catalogue(
            score, torch.arange(len(users)), longest, exclude=known, batch_size=batch_size
        )
    else:
        warnings.warn(
            "metrics over sampled candidates are inconsistent with the full ranking: they can put the worse "
            "of two models first (Krichene and Rendle 2020). Use candidates=None unless you match a paper.",
            SampledMetricsWarning,
            stacklevel=2,
        )
        ranked = rank_lists(score, _pair_scorer(model, users, fold_in), lists, longest, batch_size)
    columns = metrics_of(names, cuts, ranked, relevant.to(ranked.device), split.train)
    if "auc" in names:
        columns["auc"] = _auc(score, relevant, known, lists, batch_size)
    per_user = pd.DataFrame(
        {name: values.cpu().double().numpy() for name, values in columns.items() if values.ndim},
        index=pd.Index(part.user_ids.take(users.numpy()), name="user"),
    )
    overall = {name: float(values) for name, values in columns.items() if not values.ndim}
    protocol = (
        f"{split.name}, {on} part: {len(users):,} users with {len(part):,} held-out items; "
        f"candidates: {words}; cut-off {', '.join(map(str, cuts))}; "
        f"intervals: {N_RESAMPLES:,} bootstrap resamples of users, seed {seed}."
    )
    hashed = fingerprint(
        users, relevant_of_all.indices, *([] if lists is None else [lists.indptr, lists.indices])
    )
    return Evaluation(
        model.name, per_user, summarise(per_user, list(columns), overall, seed), protocol, hashed
    )


def evaluate_ratings(
    model: Any, data: Split | Interactions, *, on: Literal["test", "valid"] = "test", seed: int = 0
) -> Evaluation:
    """Measure how far predicted ratings are from the held-out ones.

    RMSE and MAE are taken over all ratings, not as means of the users' values. Ratings of one user are
    alike, so the bootstrap draws users with all their ratings.

    Parameters
    ----------
    model : fitted model with ``predicts_ratings = True``
    data : Split or Interactions
        The held-out ratings: a part of a split, or interactions whose ids the model knows.
    on : {"test", "valid"}
        Which part of a split.
    seed : int
        For the bootstrap.

    Returns
    -------
    Evaluation
        ``per_user`` has the columns ``rmse``, ``mae`` and ``n_ratings``. The standard error is that of the
        bootstrap.

    Raises
    ------
    NotSupportedError
        If the model's scores are not ratings.
    DataError
        If there are no held-out ratings, or a prediction is not finite.
    """
    check_integer("seed", seed, 0)
    _check_model(model, "predict")
    if not getattr(model, "predicts_ratings", False):
        raise NotSupportedError(
            f"{model.name} does not predict ratings: its scores only order items. Use evaluate() for it."
        )
    if isinstance(data, Interactions):
        part, where = data, "the given interactions"
    else:
        part, _ = _part(data, check_choice("on", on, ("test", "valid")))
        where = f"{data.name}, {on} part"
    _check_fitted(model)
    if part.ratings is None or not len(part):
        raise DataError("there are no ratings to compare with: the held-out interactions have none.")
    predicted = np.asarray(
        model.predict(part.user_ids.take(part.users), part.item_ids.take(part.items)), dtype=np.float64
    )
    if not np.isfinite(predicted).all():
        raise DataError(
            f"{model.name} predicted {int((~np.isfinite(predicted)).sum()):,} of {len(predicted):,} ratings "
            "as NaN or infinite. Training may have diverged: lower the learning rate."
        )
    errors = predicted - part.ratings
    users, counts = np.unique(part.users, return_counts=True)
    totals = np.column_stack(
        [
            np.bincount(part.users, weights=np.square(errors), minlength=part.n_users)[users],
            np.bincount(part.users, weights=np.abs(errors), minlength=part.n_users)[users],
        ]
    )
    sizes = counts[:, None].astype(np.float64).repeat(2, axis=1)

    def to_metrics(means: Floats) -> Floats:
        return np.column_stack([np.sqrt(means[:, 0]), means[:, 1]])

    per_user = pd.DataFrame(
        to_metrics(totals / sizes),
        columns=["rmse", "mae"],
        index=pd.Index(part.user_ids.take(users), name="user"),
    ).assign(n_ratings=counts)
    resampled = to_metrics(bootstrap_ratios(totals, sizes, N_RESAMPLES, seed))
    overall = to_metrics(totals.sum(0, keepdims=True) / sizes.sum(0))[0]
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    table = pd.DataFrame(
        {
            "metric": ["rmse", "mae"],
            "mean": overall,
            "stderr": resampled.std(0, ddof=1),
            "low": low,
            "high": high,
        }
    ).assign(n_users=len(users))
    protocol = (
        f"{where}: {len(part):,} held-out ratings of {len(users):,} users; error over all ratings; "
        f"intervals: {N_RESAMPLES:,} bootstrap resamples of users, seed {seed}."
    )
    hashed = fingerprint(*(torch.from_numpy(np.array(a)) for a in (part.users, part.items, part.ratings)))
    return Evaluation(model.name, per_user, table, protocol, hashed)


def _part(split: Split, on: str) -> tuple[Interactions, Interactions | None]:
    """Return the held-out part and, where its users are held out too, their fold-in items."""
    if not isinstance(split, Split):
        raise TypeError(
            f"split must be a Split, got {type(split).__name__}: make one with recsys_lib.splits."
        )
    part = split.test if on == "test" else split.valid
    if part is None or not len(part):
        raise DataError(
            f"the split {split.name!r} has no interactions in its {on} part: make it with a larger share."
        )
    return part, split.test_fold_in if on == "test" else split.valid_fold_in


def _check_model(model: Any, *methods: str) -> None:
    missing = [name for name in ("name", *methods) if not hasattr(model, name)]
    if missing:
        raise TypeError(
            f"model must be a recommender such as those of recsys_lib.models, got {type(model).__name__}, "
            f"which has no {' and no '.join(missing)}."
        )


def _check_fitted(model: Any) -> None:
    if not getattr(model, "is_fitted", True):
        raise NotFittedError(f"this {model.name} is not fitted yet. Call fit(split.train) first.")


def _check_id_space(model: RankingModel, train: Interactions, *, items_only: bool) -> None:
    # New people are known by their histories alone, and a model for them need not score others.
    _check_model(model, *([] if items_only else ["score_users"]))
    _check_fitted(model)
    pairs = [(model.item_ids, train.item_ids)]
    if not items_only:
        pairs.append((model.user_ids, train.user_ids))
    for ours, theirs in pairs:
        if ours != theirs:
            raise DataError(
                f"{model.name} was fitted on other {theirs.what}s than those of the split "
                f"({len(ours):,} against {len(theirs):,}, or in another order). Fit it on split.train."
            )


def _refuse_overlap(relevant: Histories, known: Histories) -> None:
    shared = int(known.contains(*relevant.pairs()).sum())
    if shared:
        raise DataError(
            f"{shared:,} held-out interactions are also among the known ones, which are left out of the "
            "ranking, so they could never be hit. Remove them from one part, or use exclude_known=False."
        )


def _known_words(split: Split, on: str) -> str:
    if (split.test_fold_in if on == "test" else split.valid_fold_in) is not None:
        return "the fold-in part"
    return "train and valid" if on == "test" and split.valid is not None else "train"


def _scorer(model: Any, users: Tensor, fold_in: Interactions | None) -> Scorer:
    """Return a function from positions in ``users`` to scores."""
    device = getattr(model, "device_", torch.device("cpu"))
    if fold_in is None:
        return lambda rows: model.score_users(users[rows].to(device))
    if not hasattr(model, "score_histories"):
        raise NotSupportedError(
            f"the users of this split are held out, and {model.name} cannot score a user by their items. "
            "Use a model that can, such as ItemKNN or EASE, or a split that keeps all users in train."
        )
    histories = fold_in.histories("cpu").select(users).to(device)
    return lambda rows: model.score_histories(histories.select(rows.to(device)))


def _pair_scorer(model: Any, users: Tensor, fold_in: Interactions | None) -> PairScorer | None:
    """Return a function from positions in ``users`` and items to scores, if the model has one."""
    if fold_in is not None or not hasattr(model, "score_items"):
        return None
    device = getattr(model, "device_", torch.device("cpu"))
    return lambda rows, items: model.score_items(users[rows].to(device), items.to(device))


def _auc(
    score: Scorer,
    relevant: Histories,
    known: Histories | None,
    lists: Histories | None,
    batch_size: int | None,
) -> Tensor:
    values = []
    for rows, scores in score_batches(score, torch.arange(len(relevant)), batch_size=batch_size):
        excluded = None
        if lists is not None:
            excluded = ~lists.select(rows).to_dense(torch.bool).to(scores.device)
        elif known is not None:
            excluded = known.select(rows).to_dense(torch.bool).to(scores.device)
        positives = relevant.select(rows).to_dense(torch.bool).to(scores.device)
        values.append(metric_functions.auc(scores, positives, excluded))
    return torch.cat(values)
