"""Public functions on tensors, splits and models: wrong types, shapes and ranges are refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib import compare, datasets, evaluate, load, losses, metrics, splits
from recsys_lib.evaluation import evaluate_ratings
from recsys_lib.histories import Histories
from recsys_lib.models import EASE, GMF, BiasedMF, Popularity, ProfilePopularity, Recommender
from recsys_lib.ranking import rank_candidates, rank_catalogue, top_k
from recsys_lib.sampling import NegativeSampler, sample_unknown
from recsys_lib.splits import Split
from tests.hardening.common import FAMILIES, PEOPLE, fitted, ratings, refused, small, split

REFUSALS = (ValueError, TypeError, LookupError)
NAN = float("nan")
ANYTHING: dict[str, Any] = {
    "None": None,
    "number": 3,
    "below zero": -1,
    "NaN": NAN,
    "text": "x",
    "list": [1],
    "flag": True,
    "array": np.eye(2),
    "frame": pd.DataFrame({"a": [1]}),
    "huge": 10**400,
    "tensor": torch.zeros(2),
    "cube": torch.zeros(2, 2, 2),
    "object": object(),
}
LISTS = Histories.from_lists([[0, 5], [4]], n_items=6)
RANKED = torch.tensor([[0, 1, 2], [3, 4, -1]])
HITS, N = metrics.hits(RANKED, LISTS), LISTS.lengths()
ONE, MANY = torch.zeros(4), torch.zeros(4, 3)
USERS = torch.arange(2)


def flat(users: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(users), 6)


# A function of one argument, its name, and which of the values above it may well take.
FUNCTIONS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("hits", lambda v: metrics.hits(v, LISTS), ""),
    ("hits", lambda v: metrics.hits(RANKED, v), ""),
    ("hit_rate", lambda v: metrics.hit_rate(v, 2), ""),
    ("hit_rate", lambda v: metrics.hit_rate(HITS, v), "number"),
    ("hit_rate", lambda v: metrics.hit_rate(HITS, 2, v), "None"),
    ("precision", lambda v: metrics.precision(v, 2), ""),
    ("reciprocal_rank", lambda v: metrics.reciprocal_rank(v, 2), ""),
    ("recall", lambda v: metrics.recall(v, N, 2), ""),
    ("recall", lambda v: metrics.recall(HITS, v, 2), ""),
    ("recall", lambda v: metrics.recall(HITS, N, v), "number"),
    ("recall", lambda v: metrics.recall(HITS, N, 2, v), "flag"),
    ("ndcg", lambda v: metrics.ndcg(v, N, 2), ""),
    ("ndcg", lambda v: metrics.ndcg(HITS, v, 2), ""),
    ("ndcg", lambda v: metrics.ndcg(HITS, N, v), "number"),
    ("ndcg", lambda v: metrics.ndcg(HITS, N, 2, v), "flag"),
    ("average_precision", lambda v: metrics.average_precision(HITS, v, 2), ""),
    ("auc", lambda v: metrics.auc(v, torch.ones(2, 6) > 0), ""),
    ("auc", lambda v: metrics.auc(torch.zeros(2, 6), v), ""),
    ("auc", lambda v: metrics.auc(torch.zeros(2, 6), torch.ones(2, 6) > 0, v), "None"),
    ("rmse", lambda v: metrics.rmse(v, torch.zeros(3)), ""),
    ("mae", lambda v: metrics.mae(torch.zeros(3), v), ""),
    ("coverage", lambda v: metrics.coverage(v, 6, 2), ""),
    ("coverage", lambda v: metrics.coverage(RANKED, v, 2), ""),
    ("gini", lambda v: metrics.gini(v, 6, 2), ""),
    ("gini", lambda v: metrics.gini(RANKED, v, 2), ""),
    ("novelty", lambda v: metrics.novelty(v, torch.ones(6), 2), ""),
    ("novelty", lambda v: metrics.novelty(RANKED, v, 2), ""),
    *(
        (loss.__name__, lambda v, loss=loss, first=first: loss(v, MANY) if first else loss(ONE, v), "")
        for loss in (losses.logistic, losses.bpr, losses.hinge, losses.sampled_softmax)
        for first in (True, False)
    ),
    ("hinge margin", lambda v: losses.hinge(ONE, MANY, v), "number"),
    ("warp margin", lambda v: losses.warp(ONE, MANY, 5, v), "number"),
    ("warp", lambda v: losses.warp(ONE, MANY, v), "number"),
    ("in_batch_softmax", lambda v: losses.in_batch_softmax(v, torch.arange(2)), ""),
    ("in_batch_softmax", lambda v: losses.in_batch_softmax(torch.zeros(2, 2), v), ""),
    *(
        (loss.__name__, lambda v, loss=loss, a=a: loss(v, LISTS) if a else loss(torch.zeros(2, 6), v), "")
        for loss in (losses.multinomial, losses.row_logistic, losses.row_squared_error)
        for a in (True, False)
    ),
    ("gaussian_kl", lambda v: losses.gaussian_kl(v, torch.zeros(2, 3)), ""),
    ("gaussian_kl", lambda v: losses.gaussian_kl(torch.zeros(2, 3), v), ""),
    ("squared_error", lambda v: losses.squared_error(v, MANY), ""),
    ("l2_penalty", lambda v: losses.l2_penalty(MANY, v), ""),
    ("top_k", lambda v: top_k(v, 2), ""),
    ("top_k", lambda v: top_k(torch.zeros(2, 6), v), "number"),
    ("rank_catalogue", lambda v: rank_catalogue(flat, v, 2), ""),
    ("rank_catalogue", lambda v: rank_catalogue(flat, USERS, v), "number"),
    ("rank_catalogue", lambda v: rank_catalogue(flat, USERS, 2, exclude=v), "None"),
    ("rank_catalogue", lambda v: rank_catalogue(flat, USERS, 2, items=v), "None"),
    ("rank_catalogue", lambda v: rank_catalogue(flat, USERS, 2, batch_size=v), "None number"),
    ("rank_candidates", lambda v: rank_candidates(flat, USERS, v, 2), ""),
    ("NegativeSampler", lambda v: NegativeSampler(v), ""),
    ("NegativeSampler", lambda v: NegativeSampler(LISTS, alpha=v), "number"),
    ("draw", lambda v: NegativeSampler(LISTS).draw(v, 2, torch.Generator()), ""),
    ("sample_unknown", lambda v: sample_unknown(LISTS, v, 0), "number"),
    ("sample_unknown", lambda v: sample_unknown(LISTS, 2, v), "number"),
    ("from_pairs", lambda v: Histories.from_pairs(v, torch.tensor([0]), 3, 3), ""),
    ("from_pairs", lambda v: Histories.from_pairs(torch.tensor([0]), torch.tensor([0]), v, 3), "number"),
    ("leave_last_out", lambda v: splits.leave_last_out(v), ""),
    ("leave_last_out", lambda v: splits.leave_last_out(ratings(), valid=v), "flag"),
    ("random_holdout", lambda v: splits.random_holdout(v), ""),
    ("random_holdout", lambda v: splits.random_holdout(ratings(), v), ""),
    ("random_holdout", lambda v: splits.random_holdout(ratings(), 0.2, v), ""),
    ("random_holdout", lambda v: splits.random_holdout(ratings(), by=v), ""),
    ("random_holdout", lambda v: splits.random_holdout(ratings(), seed=v), "number"),
    ("chronological", lambda v: splits.chronological(v), ""),
    ("chronological", lambda v: splits.chronological(ratings(), v), ""),
    ("held_out_users", lambda v: splits.held_out_users(v), ""),
    ("held_out_users", lambda v: splits.held_out_users(ratings(), v, 0), "number"),
    ("held_out_users", lambda v: splits.held_out_users(ratings(), 2, 0, v), ""),
    ("k_fold", lambda v: splits.k_fold(v), ""),
    ("k_fold", lambda v: splits.k_fold(ratings(), v), "number"),
    ("known", lambda v: split().known(v), ""),
    ("Split", lambda v: Split("by hand", split().train, None, v), ""),
    *(
        ("synthetic", lambda v, name=name: datasets.synthetic(**{"n_users": 9, "n_items": 9, name: v}), takes)
        for name, takes in [
            *(("n_users", ""), ("n_items", ""), ("n_interactions", ""), ("feedback", "")),
            *(("factors", ""), ("taste", ""), ("timestamps", ""), ("seed", "")),
        ]
    ),
    ("load", lambda v: datasets.load(v), ""),
    ("load folder", lambda v: datasets.load("ml-100k", folder=v), "text None"),
    ("load model", lambda v: load(v), "text"),
    ("load device", lambda v: load("nowhere.pt", device=v), ""),
    ("evaluate", lambda v: evaluate(v, split()), ""),
    ("evaluate", lambda v: evaluate(fitted(EASE), v), ""),
    ("evaluate k", lambda v: evaluate(fitted(EASE), split(), v), "number list"),
    ("evaluate on", lambda v: evaluate(fitted(EASE), split(), on=v), ""),
    ("evaluate metrics", lambda v: evaluate(fitted(EASE), split(), metrics=v), ""),
    ("evaluate candidates", lambda v: evaluate(fitted(EASE), split(), candidates=v), "None number"),
    ("evaluate exclude", lambda v: evaluate(fitted(EASE), split(), exclude=v), "None"),
    ("evaluate exclude_known", lambda v: evaluate(fitted(EASE), split(), exclude_known=v), "flag"),
    ("evaluate seed", lambda v: evaluate(fitted(EASE), split(), seed=v), "number"),
    ("evaluate batch_size", lambda v: evaluate(fitted(EASE), split(), batch_size=v), "None number"),
    ("evaluate_ratings", lambda v: evaluate_ratings(v, split()), ""),
    ("evaluate_ratings", lambda v: evaluate_ratings(fitted(BiasedMF), v), ""),
    ("evaluate_ratings seed", lambda v: evaluate_ratings(fitted(BiasedMF), split(), seed=v), "number"),
    ("compare", lambda v: compare(v, split()), ""),
    ("compare", lambda v: compare([fitted(EASE), fitted(Popularity)], v), ""),
    ("compare alpha", lambda v: compare([fitted(EASE), fitted(Popularity)], split(), alpha=v), ""),
    ("compare metric", lambda v: compare([fitted(EASE), fitted(Popularity)], split(), metric=v), "None"),
    ("compare seed", lambda v: compare([fitted(EASE), fitted(Popularity)], split(), seed=v), "number"),
]


@pytest.mark.parametrize("case", FUNCTIONS, ids=lambda case: case[0])
def test_arguments_of_functions(case: tuple[str, Callable[[Any], Any], str]) -> None:
    _, function, takes = case
    for name, value in ANYTHING.items():
        if name not in takes:
            refused(lambda value=value: function(value), error=REFUSALS)


def test_shapes_that_would_be_broadcast_are_refused() -> None:
    """Each of these once gave a number, and a wrong one."""
    refused(lambda: metrics.recall(RANKED, N, 2), "hits must be a tensor of bool")
    refused(lambda: metrics.recall(HITS, N[:1], 2), r"n_relevant must be .* shape \(2,\), got shape \(1,\)")
    refused(lambda: losses.bpr(ONE, torch.zeros(1, 3)), r"negative must be .* shape \(4, n\)")
    refused(lambda: losses.hinge(ONE, torch.zeros(4)), "negative must be")
    refused(lambda: Histories.from_lists([[0.7]], 3), "whole numbers")
    refused(lambda: metrics.coverage(RANKED.float(), 6, 2), "ranked must be a tensor of int")


# ---------------------------------------------------------------------- models

CALLS: list[tuple[str, Callable[[Recommender, Any], Any], str]] = [
    ("recommend", lambda m, v: m.recommend(v), "None list"),
    ("recommend k", lambda m, v: m.recommend(k=v), "number"),
    ("recommend items", lambda m, v: m.recommend(items=v), "None list"),
    ("recommend exclude_seen", lambda m, v: m.recommend(exclude_seen=v), "flag"),
    ("score", lambda m, v: m.score(v), "None list"),
    ("score items", lambda m, v: m.score(items=v), "None list"),
    ("predict", lambda m, v: m.predict(v, [1]), "list"),
    ("predict items", lambda m, v: m.predict([1], v), "list"),
    ("score_users", lambda m, v: m.score_users(v), ""),
    ("score_items", lambda m, v: m.score_items(USERS[:1], v), ""),
    ("score_histories", lambda m, v: m.score_histories(v), ""),
    ("similar_items", lambda m, v: m.similar_items(v), "list"),
    ("similar_items k", lambda m, v: m.similar_items([1], k=v), "number"),
    ("recommend_from_history", lambda m, v: m.recommend_from_history(v), "list"),
    ("recommend_from_history k", lambda m, v: m.recommend_from_history([1], k=v), "number"),
    ("recommend_from_history items", lambda m, v: m.recommend_from_history([1], items=v), "None list"),
    ("recommend_from_history seen", lambda m, v: m.recommend_from_history([1], exclude_seen=v), "flag"),
    ("save", lambda m, v: m.save(v), "text"),
    ("fit", lambda m, v: small(type(m)).fit(v), ""),
    ("fit valid", lambda m, v: small(type(m)).fit(split().train, v), "None"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0])
@pytest.mark.parametrize("family", [EASE, GMF, BiasedMF, ProfilePopularity], ids=lambda one: one.__name__)
def test_arguments_of_models(family: type[Recommender], call: tuple[str, Any, str]) -> None:
    _, method, takes = call
    model = fitted(family)
    for name, value in ANYTHING.items():
        if name not in takes:
            refused(lambda value=value: method(model, value), error=REFUSALS)


@pytest.mark.parametrize("name", ["checkpoint", "resume", "callbacks"])
def test_options_of_a_fit_are_checked_before_the_old_model_goes(name: str) -> None:
    model = small(GMF).fit(split().train)
    before = model.recommend(k=2)
    for value in (3, NAN, [1], np.eye(2), b"x", "" if name == "checkpoint" else "no"):
        refused(lambda value=value: model.fit(split().train, **{name: value}), name)
    pd.testing.assert_frame_equal(model.recommend(k=2), before)


@pytest.mark.parametrize("indices", [[-1], [10], [10**9]], ids=repr)
def test_indices_outside_of_the_data(indices: list[int]) -> None:
    users, model = torch.tensor(indices), fitted(EASE)
    refused(lambda: model.score_users(users), "users must be from 0 to 9", IndexError)
    refused(lambda: model.score_items(USERS[:1], users[:, None]), "items must be from 0 to", IndexError)
    refused(
        lambda: model.score_histories(Histories.from_lists([[0]], 3)), "histories are over 3 items, not 8"
    )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.__name__)
def test_lists_longer_than_the_catalogue(family: type[Recommender]) -> None:
    """A billion places take no memory, and hold the catalogue."""
    model = fitted(family)
    frame = model.recommend(k=10**9, exclude_seen=False)
    assert frame.groupby("user").size().tolist() == [8] * 10
    if family not in (Popularity, ProfilePopularity) and family._scores_from is not Recommender._scores_from:
        assert len(model.recommend_from_history([1, 2], k=2**62)) == 6
    result = evaluate(model, split(), k=[5, 10**9], metrics=["recall", "ndcg"])
    assert result["recall@1000000000"] == 1.0


def test_profiles() -> None:
    model = fitted(ProfilePopularity)
    for name, value in ANYTHING.items():
        refused(lambda value=value: model.recommend_from_profile(value), error=REFUSALS)
        if name != "number":
            refused(lambda value=value: model.recommend_from_profile(PEOPLE[:1], k=value), "k must be")
    assert len(model.recommend_from_profile(PEOPLE[:1], k=10**9)) == 8
