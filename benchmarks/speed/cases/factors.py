"""Alternating least squares, against implicit.

Both sides minimise the same sum, so that quality is equal by construction, and take as many epochs of three
steps of the conjugate gradient method. With the weight c of an interaction, called ``alpha``, and the penalty
r, implicit minimises

    sum over interactions of c (1 - s)^2 + sum over all other pairs of s^2 + r (|p|^2 + |q|^2)

With a = 1 / (c - 1) as the weight of the unobserved and l = r / c as the penalty, this library minimises the
same sum but for a factor, at scores that are smaller by the factor 1 + a.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.speed.cases import data
from benchmarks.speed.cases.case import SIDES, SIZES, Case
from benchmarks.speed.peers import IMPLICIT
from recsys_lib.splits import Split

# Chosen on a validation part of the million, by how good implicit is with them.
_WEIGHT, _PENALTY, _EPOCHS = 2.0, 30.0, 15


def _als(size: str, split: Callable[[], Split]) -> Case:
    return Case(
        name=f"als-{size}",
        title=f"alternating least squares with 64 factors, on {SIZES[size]}",
        data=split,
        settings={
            "model": "IALS",
            "ours": {
                "factors": 64,
                "epochs": _EPOCHS,
                "unobserved_weight": 1 / (_WEIGHT - 1),
                "l2": _PENALTY / _WEIGHT,
                "l2_exponent": 0.0,
                "solver": "cg",
                "cg_steps": 3,
            },
            "theirs": {
                "model": "ALS",
                "settings": {
                    "factors": 64,
                    "iterations": _EPOCHS,
                    "alpha": _WEIGHT,
                    "regularization": _PENALTY,
                },
            },
            "timed": "fit",
        },
        ours="model_ours",
        peer=IMPLICIT,
        peer_file=SIDES / "model_implicit.py",
        least=1.0,
        unit="a fit",
    )


CASES = (_als("1m", data.like_ml_1m), _als("20m", data.like_ml_20m))
