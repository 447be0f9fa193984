"""What the tests against bad input share: small data, models that are fitted fast, and what a refusal is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pandas as pd
import pytest

from recsys_lib import Interactions, models, splits
from recsys_lib.errors import RecsysError
from recsys_lib.models import Recommender
from recsys_lib.splits import Split

FAMILIES = [
    family
    for family in (getattr(models, name) for name in models.__all__)
    if inspect.isclass(family) and not inspect.isabstract(family)
]
# What makes the smallest model of each kind; a family has those that it knows.
SMALL = {
    "epochs": 1,
    "factors": 3,
    "width": 4,
    "layers": (4,),
    "batch_size": 16,
    "embedding_dim": 3,
    "progress": False,
}
OWN = {"BottleneckAutoencoder": {"layers": (5, 4)}, "MLP": {"layers": 1}, "NeuMF": {"layers": 1}}
PEOPLE = pd.DataFrame({"job": ["cook", "pilot"] * 5}, index=range(1, 11))


def small(family: type[Recommender], **parameters: Any) -> Recommender:
    """Make a model that is fitted in a moment, with some parameters of the caller's choice."""
    known = inspect.signature(family).parameters
    options = {**SMALL, **OWN.get(family.__name__, {})}
    return family(**{"device": "cpu", **{k: v for k, v in options.items() if k in known}, **parameters})


@cache
def ratings() -> Interactions:
    """Ten users, eight items, every item of every user's colour and some of the other one."""
    pairs = [(u, i) for u in range(1, 11) for i in range(1, 9) if (u * i + u + i) % 3]
    users, items = zip(*pairs, strict=True)
    stars = [1 + (u + i) % 5 for u, i in pairs]
    x = Interactions.from_arrays(users, items, stars, range(len(pairs)))
    return x.with_features(users=PEOPLE)


@cache
def split() -> Split:
    return splits.random_holdout(ratings(), test=0.3, seed=0)


@cache
def fitted(family: type[Recommender]) -> Recommender:
    """Fit a model on the training part, once for all tests: none of them may change it."""
    return small(family).fit(split().train)


def refused(call: Callable[[], Any], words: str = "", error: Any = (ValueError, TypeError)) -> str:
    """Assert that a call is refused by the library itself, in these words; return the message."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    raised_in = str(caught.traceback[-1].path)
    assert "recsys_lib" in raised_in, f"{raised_in} refused it, in its own words: {message}"
    assert re.search(words, message, re.S), message
    assert len(message) < 1_000
    return message


def error_of(call: Callable[[], Any]) -> RecsysError | None:
    """Return the error that the library raises on purpose, or None where the call ends well."""
    try:
        call()
    except RecsysError as error:
        return error
    return None
