from itertools import product

import numpy as np
import pytest

from recsys_lib.evaluation.statistics import bootstrap_ratios, holm, sign_flip_p_value


def test_bootstrap_agrees_with_theory_in_any_block_size(monkeypatch):
    values = np.random.default_rng(0).normal(5, 2, (400, 2))
    ones = np.ones_like(values)
    means = bootstrap_ratios(values, ones, 2000, seed=1)
    assert means.shape == (2000, 2)
    assert means.mean(0) == pytest.approx(values.mean(0), abs=0.02)
    assert means.std(0) == pytest.approx(values.std(0) / 20, rel=0.06)
    monkeypatch.setattr("recsys_lib.evaluation.statistics._BLOCK", 1)
    assert bootstrap_ratios(values, ones, 2000, seed=1) == pytest.approx(means)


def test_sign_flip_agrees_with_all_sign_patterns():
    differences = np.array([0.5, -0.25, 1.0, 0.75, 0.0, 2.0, -0.5, 1.5])
    patterns = np.array(list(product([-1, 1], repeat=len(differences))))
    exact = np.mean(np.abs(patterns @ differences) >= abs(differences.sum()))
    assert sign_flip_p_value(differences, 20_000, seed=0) == pytest.approx(exact, abs=0.01)


def test_sign_flip_with_many_users_takes_the_normal_limit(monkeypatch):
    differences = np.random.default_rng(1).normal(0.05, 1, 2000)
    drawn = sign_flip_p_value(differences, 20_000, seed=0)
    monkeypatch.setattr("recsys_lib.evaluation.statistics._EXACT_LIMIT", 10)
    assert sign_flip_p_value(differences, 20_000, seed=0) == pytest.approx(drawn, abs=0.005)


def test_sign_flip_is_fair_when_there_is_no_difference():
    rng = np.random.default_rng(2)
    p_values = [sign_flip_p_value(rng.normal(size=30), 199, seed=i) for i in range(400)]
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.045)


def test_holm_never_falls_and_never_exceeds_one():
    assert holm(np.array([0.01, 0.02, 0.03, 0.9])) == pytest.approx([0.04, 0.06, 0.06, 0.9])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
    assert len(holm(np.array([]))) == 0
