"""Every hyper-parameter of every model, out of range and of the wrong type."""

from __future__ import annotations

import math
import types
import typing
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys_lib.models import Popularity, Recommender
from recsys_lib.training import TrainingOptions
from tests.hardening.common import FAMILIES, fitted, refused, small, split

HUGE = 10**400
# What no parameter of a type takes, wherever its range ends.
NEVER: dict[Any, list[Any]] = {
    int: [-1, 2.5, math.nan, math.inf, "x", "1", True, [], {}, 1j, 10**30, HUGE, np.array([1, 2]), object()],
    float: [math.nan, math.inf, -math.inf, "x", "1", True, [], {}, 1j, HUGE, -HUGE, np.array([1.0, 2.0])],
    bool: [0, 1, 0.0, "False", "true", [], math.nan, np.array([True, False])],
    str: ["nonsense", "", 3, math.nan, True, b"adam", ["adam"], {}, object()],
    tuple: [3, "x", b"x", {}, [None], [-1], [2.5], [True], math.nan, object()],
}
MAY_BE_ZERO = {
    *("seed", "pretrain_epochs", "anneal_epochs", "weight_decay", "l2_exponent", "shrinkage", "bm25_k1"),
    *("bm25_b", "alpha", "confidence", "dropout", "noise", "kl_weight", "popularity_weight", "bias_l2"),
    *("pretrain_alpha", "output_bias"),
}
# Elsewhere these are above zero.
NAMES = {family.__name__ for family in FAMILIES}
ABOVE_ZERO = {"l2": {"EASE", "LowRankEASE", "IALS"}, "factors": NAMES - {"BiasedMF"}, "layers": set()}
MAY_BE_NEGATIVE = {"output_bias"}
AT_MOST_ONE = {"dropout", "noise", "l2_exponent", "bm25_b", "pretrain_alpha"}


def kinds(family: type[Recommender], name: str) -> list[Any]:
    hint = typing.get_type_hints(family)[name]
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return [typing.get_origin(option) or option for option in options]


def bad_values(family: type[Recommender], name: str) -> list[Any]:
    (kind, *_) = kinds(family, name)
    values = list(NEVER[kind])
    if type(None) not in kinds(family, name):
        values.append(None)
    above_zero = name not in MAY_BE_ZERO and family.__name__ in ABOVE_ZERO.get(name, NAMES)
    if kind in (int, float) and above_zero:
        values.append(0)
    if kind is float and name not in MAY_BE_NEGATIVE:
        values.append(-0.001)
    if name in AT_MOST_ONE:
        values.append(1.001)
    return values


EVERY = [(family, field.name) for family in FAMILIES for field in fields(family)]


@pytest.mark.parametrize(("family", "name"), EVERY, ids=lambda one: getattr(one, "__name__", one))
def test_every_parameter_of_every_model(family: type[Recommender], name: str) -> None:
    for value in bad_values(family, name):
        message = refused(lambda value=value: small(family, **{name: value}), rf"\b{name}\b")
        assert "must" in message or "is not" in message or "needs" in message or "goes with" in message


def test_there_are_enough_cases() -> None:
    assert len(FAMILIES) == 19
    assert sum(len(bad_values(*one)) for one in EVERY) > 3_000


@pytest.mark.parametrize("name", [field.name for field in fields(TrainingOptions)])
def test_options_of_training(name: str) -> None:
    (kind, *_) = kinds(TrainingOptions, name)  # type: ignore[arg-type]
    for value in NEVER[kind]:
        refused(lambda value=value: TrainingOptions(**{name: value}), rf"\b{name}\b")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.__name__)
def test_a_refused_second_fit_changes_nothing(family: type[Recommender]) -> None:
    """What can be refused before the work begins leaves the fitted model as it was."""
    model = small(family).fit(split().train)
    before = model.recommend(k=3)
    for train, valid in (
        (split().train.to_dataframe(), None),
        (None, None),
        (split().train.select([]), None),
        (split().train, split().test.compact()),
        (split().train, split().test.select([])),
        (split().train, 3),
    ):
        refused(lambda train=train, valid=valid: model.fit(train, valid), "train|valid")
        pd.testing.assert_frame_equal(model.recommend(k=3), before)
    model.seed = -1
    refused(lambda: model.fit(split().train), "seed must be at least 0|seed must be between 0")
    pd.testing.assert_frame_equal(model.recommend(k=3), before)


@pytest.mark.parametrize("device", ["meta", "vulkan", "xla", "tpu", "gpu", "cuda:-1", "cpu:x", "", 7.5])
def test_devices_that_do_not_exist(device: Any) -> None:
    message = refused(lambda: Popularity(device=device), "device=")
    assert "Use" in message


def test_the_shared_models_are_as_they_were() -> None:
    model = fitted(Popularity)
    assert model.is_fitted
    assert repr(model) == "Popularity(device='cpu')"
