"""From data to the lists of everybody: EASE, whose fit has no epochs, and ranking alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.speed.cases import data
from benchmarks.speed.cases.case import SIDES, SIZES, Case
from benchmarks.speed.judges import AGREEMENT, Arrays
from benchmarks.speed.peers import IMPLICIT, RECBOLE, Peer
from benchmarks.speed.work import Work
from recsys_lib.splits import Split

_FACTORS = 64


def _ease(size: str, split: Callable[[], Split]) -> Case:
    return Case(
        name=f"ease-{size}",
        title=f"EASE from the interactions to the ten best new items of everybody, on {SIZES[size]}",
        data=split,
        settings={
            **{"model": "EASE", "ours": {"l2": 250.0}, "timed": "fit and lists"},
            "theirs": {"model": "EASE", "settings": {"reg_weight": 250.0}},
        },
        ours="model_ours",
        peer=RECBOLE,
        peer_file=SIDES / "model_recbole.py",
        least=3.0,
        unit="a fit with its lists",
    )


def _random_factors(split: Split) -> Arrays:
    random = np.random.default_rng(0)
    shapes = {
        "user_factors": (split.train.n_users, _FACTORS),
        "item_factors": (split.train.n_items, _FACTORS),
    }
    return {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def _ranking(
    size: str, split: Callable[[], Split], peer: Peer, file: Path, passes: int, least: float
) -> Case:
    return Case(
        name=f"ranking-{size}",
        title=f"the ten best new items of everybody by 64 random factors, on {SIZES[size]}",
        data=split,
        settings={"passes": passes},
        ours="ranking_ours",
        peer=peer,
        peer_file=file,
        least=least,
        unit="a pass",
        judge=AGREEMENT,
        arrays=_random_factors,
        work=_work_of_ranking,
    )


def _work_of_ranking(split: Split) -> Work:
    scores = split.train.n_users * split.train.n_items
    # Every score is written by the product and read by the ranking.
    return Work(split.train.n_users, "people", 2 * scores * _FACTORS, 2 * 4 * scores)


CASES = (
    _ease("ml-100k", data.ml_100k),
    _ease("1m", data.like_ml_1m),
    _ranking("1m", data.like_ml_1m, IMPLICIT, SIDES / "ranking_implicit.py", 5, 2.0),
    _ranking("20m", data.like_ml_20m, Peer("chunked NumPy", ()), SIDES / "ranking_numpy.py", 2, 5.0),
)
