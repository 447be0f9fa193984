"""A refusal names the argument as it is called, and what it should have been."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from recsys_lib import losses, metrics, splits
from recsys_lib.histories import Histories
from recsys_lib.sampling import NegativeSampler, hardest, items_of, met_by, sample_unknown
from tests.hardening.common import ratings, refused

LISTS = Histories.from_lists([[0, 5], [4]], n_items=6)
RANKED = torch.tensor([[0, 1, 2], [3, 4, -1]])
HITS, N = metrics.hits(RANKED, LISTS), LISTS.lengths()
ONE, MANY, ROWS = torch.zeros(4), torch.zeros(4, 3), torch.zeros(2, 6)
PAIR = {"positive": ONE, "negative": MANY}
MASK = torch.tensor([[True] * 3 + [False] * 3] * 2)
LAST = torch.tensor([[False] * 5 + [True]] * 2)

# Arguments that a function takes.
GOOD: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (metrics.hits, {"ranked": RANKED, "relevant": LISTS}),
    (metrics.hit_rate, {"hits": HITS, "k": 2, "n_relevant": N}),
    (metrics.precision, {"hits": HITS, "k": 2, "n_relevant": N}),
    (metrics.reciprocal_rank, {"hits": HITS, "k": 2, "n_relevant": N}),
    (metrics.recall, {"hits": HITS, "n_relevant": N, "k": 2, "truncated": True}),
    (metrics.ndcg, {"hits": HITS, "n_relevant": N, "k": 2, "truncated": True}),
    (metrics.average_precision, {"hits": HITS, "n_relevant": N, "k": 2, "truncated": True}),
    (metrics.auc, {"scores": ROWS, "positives": MASK, "excluded": LAST}),
    (metrics.rmse, {"predicted": ONE, "true": ONE}),
    (metrics.mae, {"predicted": ONE, "true": ONE}),
    (metrics.coverage, {"ranked": RANKED, "n_items": 6, "k": 2}),
    (metrics.gini, {"ranked": RANKED, "n_items": 6, "k": 2}),
    (metrics.novelty, {"ranked": RANKED, "item_probabilities": torch.full((6,), 0.2), "k": 2}),
    (losses.squared_error, {"predicted": MANY, "actual": MANY}),
    *((loss, PAIR) for loss in (losses.logistic, losses.bpr, losses.sampled_softmax)),
    (losses.hinge, PAIR | {"margin": 1.0}),
    (losses.warp, PAIR | {"n_items": 9, "margin": 1.0}),
    (losses.in_batch_softmax, {"scores": torch.zeros(3, 3), "items": torch.arange(3)}),
    *((loss, {"scores": ROWS, "targets": LISTS}) for loss in (losses.multinomial, losses.row_logistic)),
    (losses.row_squared_error, {"scores": ROWS, "targets": LISTS, "confidence": 1.0}),
    (
        losses.product_squared_error,
        {
            **{"vectors": torch.ones(2, 3), "table": torch.ones(6, 3), "bias": torch.ones(6)},
            **{"targets": LISTS, "confidence": 1.0},
        },
    ),
    (losses.gaussian_kl, {"mean": MANY, "log_variance": MANY}),
    (NegativeSampler, {"seen": LISTS, "alpha": 0.5}),
    (
        lambda users, n: NegativeSampler(LISTS).draw(users, n, torch.Generator()),
        {"users": torch.tensor([1, 0, 1]), "n": 2},
    ),
    (met_by, {"seen": LISTS, "users": torch.tensor([1, 0]), "items": torch.tensor([4, 2, 5])}),
    (items_of, {"histories": LISTS}),
    (hardest, {"candidates": RANKED, "scores": MANY[:2], "n": 2}),
    (sample_unknown, {"known": LISTS, "n": 2, "seed": 0}),
    (splits.leave_last_out, {"x": ratings(), "valid": True}),
    (splits.random_holdout, {"x": ratings(), "test": 0.2, "valid": 0.1, "by": "user", "seed": 0}),
    (splits.chronological, {"x": ratings(), "test": 0.2, "valid": 0.1}),
    (splits.held_out_users, {"x": ratings(), "test_users": 2, "valid_users": 2, "fold_in": 0.5, "seed": 0}),
    (splits.k_fold, {"x": ratings(), "k": 2, "seed": 0}),
]
# What these are is left to PyTorch.
UNCHECKED = {("hardest", "candidates"), ("hardest", "scores"), ("items_of", "histories")}
UNCHECKED |= {("met_by", name) for name in ("seen", "users", "items")}
# The shape that a message tells: sizes that another argument sets are numbers.
SHAPES = {
    ("hits", "ranked"): "(2, K)",
    ("hit_rate", "hits"): "(n_users, K)",
    ("hit_rate", "n_relevant"): "(2,)",
    ("auc", "scores"): "(n_users, n_items)",
    ("auc", "positives"): "(2, 6)",
    ("auc", "excluded"): "(2, 6)",
    ("coverage", "ranked"): "(n_users, K)",
    ("novelty", "ranked"): "(n_users, K)",
    ("novelty", "item_probabilities"): "(n_items,)",
    ("logistic", "positive"): "(b,)",
    ("logistic", "negative"): "(4, n)",
    ("in_batch_softmax", "scores"): "(b, c)",
    ("in_batch_softmax", "items"): "(3,)",
    ("gaussian_kl", "mean"): "(b, d)",
    ("gaussian_kl", "log_variance"): "(4, 3)",
    ("draw", "users"): "(b,)",
}


def name_of(function: Callable[..., Any]) -> str:
    return "draw" if function.__name__ == "<lambda>" else function.__name__


ARGUMENTS = [
    (function, arguments, name)
    for function, arguments in GOOD
    for name in arguments
    if (name_of(function), name) not in UNCHECKED
]


@pytest.mark.parametrize(("function", "arguments"), GOOD, ids=[name_of(one) for one, _ in GOOD])
def test_these_arguments_are_good(function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    assert set(arguments) <= set(inspect.signature(function).parameters)
    function(**arguments)


@pytest.mark.parametrize(
    ("function", "arguments", "name"), ARGUMENTS, ids=[f"{name_of(f)}-{name}" for f, _, name in ARGUMENTS]
)
def test_the_argument_is_named(function: Callable[..., Any], arguments: dict[str, Any], name: str) -> None:
    for wrong in (object(), torch.zeros(2, dtype=torch.complex64)):
        message = refused(lambda wrong=wrong: function(**arguments | {name: wrong}))
        assert re.search(rf"(?<!\w){name}(?!\w)", message), message
        # The wording is a sentence in plain letters, not a constant that something has changed.
        assert not re.search(r"XX|\bNone\b", message), message


@pytest.mark.parametrize(
    ("of", "shape"), SHAPES.items(), ids=[f"{function}-{name}" for function, name in SHAPES]
)
def test_the_shape_is_told(of: tuple[str, str], shape: str) -> None:
    function, arguments = next(one for one in GOOD if name_of(one[0]) == of[0])
    value = arguments[of[1]]
    message = refused(lambda: function(**arguments | {of[1]: value.unsqueeze(0)}))
    assert f"shape {shape}" in message
    assert str(tuple(value.unsqueeze(0).shape)) in message


def same(one: Any, other: Any) -> bool:
    """Whether two results are equal: tensors, histories, splits, or several of them."""
    if isinstance(one, torch.Tensor):
        return one.device.type == "cpu" and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Histories):
        return same(one.indptr, other.indptr) and same(one.indices, other.indices)
    if isinstance(one, tuple):
        return all(map(same, one, other))
    return repr(one) == repr(other)


# Without sparse products, which PyTorch has not for tensors of no content, and what has a way for CPUs alone.
ANYWHERE = [one for one in GOOD if one[0] not in (losses.product_squared_error, met_by)]


@pytest.mark.parametrize(("function", "arguments"), ANYWHERE, ids=[name_of(one) for one, _ in ANYWHERE])
def test_the_work_is_done_where_the_arguments_are(
    function: Callable[..., Any], arguments: dict[str, Any]
) -> None:
    """What is made without a word on its device would land on another one, and not fit the arguments."""
    if function in (NegativeSampler, *(one for one, _ in GOOD if name_of(one) == "draw")):
        arguments = {"users": torch.tensor([1, 0, 1]), "n": 2}

        def function(users: torch.Tensor, n: int) -> torch.Tensor:
            generator = torch.Generator("cpu").manual_seed(0)
            return NegativeSampler(LISTS, alpha=0.5).draw(users, n, generator)

    expected = function(**arguments)
    with torch.device("meta"):
        found = function(**arguments)
    assert same(found, expected)
