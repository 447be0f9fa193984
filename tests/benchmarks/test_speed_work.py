"""What the machine can do, and what share of it was reached."""

from __future__ import annotations

import pytest

from benchmarks.speed.__main__ import line_of
from benchmarks.speed.cases import CASES
from benchmarks.speed.work import ADAM, Limits, Work, limits, network_steps, report
from recsys_lib import datasets, splits

SPLIT = splits.random_holdout(datasets.synthetic(80, 60, 1_200, seed=0), 0.2, by="user", seed=0)


def test_shares_by_hand() -> None:
    found = report(Work(100, "people", flops=2e9, size=3e9), 2.0, Limits(flops=4e9, size=2e9))
    assert found["ours_samples_per_s"] == 50
    assert found["ours_flop_share"] == pytest.approx(0.25)
    assert found["ours_bandwidth_share"] == pytest.approx(0.75)


def test_steps_by_hand() -> None:
    # A layer of 3 x 2: six multiplications and as many additions, forwards once and backwards twice.
    assert network_steps(n_steps=2, batch=5, products=6, parameters=8) == (3 * 12 * 5 * 2, 2 * 8 * ADAM)


def test_limits_are_those_of_this_machine() -> None:
    found = limits("cpu", side=64, numbers=2**12, repeats=2)
    assert 1e6 < found.flops < 1e15
    assert 1e6 < found.size < 1e14


def test_the_work_of_a_ranking_is_that_of_its_scores() -> None:
    work = CASES["ranking-1m"].work
    assert work is not None
    assert work(SPLIT) == Work(80, "people", 2 * 80 * 60 * 64, 8 * 80 * 60)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.work])
def test_cases_know_their_work(name: str) -> None:
    work = CASES[name].work
    assert work is not None
    twice = splits.random_holdout(datasets.synthetic(160, 60, 2_400, seed=0), 0.2, by="user", seed=0)
    few, many = work(SPLIT), work(twice)
    assert 0 < few.samples < many.samples
    assert 0 < few.flops < many.flops
    assert 0 < few.size < many.size


def test_the_line_names_the_shares() -> None:
    shares = report(Work(100, "people", 2e9, 3e9), 2.0, Limits(4e9, 2e9))
    found = {"ours_s": 2.0, "ours_quality": 0.5, "ours_rss_mb": 70} | shares
    assert line_of(CASES["ranking-1m"], found).endswith("ours 50 people/s, 25% of 4 GFLOP/s, 75% of 2 GB/s")
