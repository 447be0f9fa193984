"""The command `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from recsys_lib import Interactions
from recsys_lib.models import EASE, Popularity
from tests.cli.common import Run, error_of


def test_evaluate_prints_what_python_computes(run: Run, films: Path, tmp_path: Path) -> None:
    from recsys_lib import evaluate, splits

    status, out, err = run(
        "evaluate", films, "--model", "EASE", "--k", "5,10", "--json", "r.json", "--seed", 2
    )
    assert (status, err) == (0, "")
    split = splits.random_holdout(Interactions.from_dataframe(pd.read_csv(films)), seed=2)
    results = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [one["model"] for one in results["models"]] == ["EASE", "Popularity"]
    for one, model in zip(results["models"], (EASE(seed=2), Popularity(seed=2)), strict=True):
        expected = evaluate(model.fit(split.train), split, [5, 10], seed=2)
        assert results["protocol"] == expected.protocol
        for metric in expected.table["metric"]:
            assert one["metrics"][metric]["mean"] == pytest.approx(expected[metric], abs=1e-6)
        assert f"{expected['ndcg@5']:.4f}" in out
    assert results["models"][0]["parameters"] == {"device": "auto", "seed": 2, "l2": EASE().l2}
    assert "protocol  random hold-out by user" in out


@pytest.mark.parametrize("split", ["random", "leave-last-out", "chronological", "held-out-users"])
def test_every_split(run: Run, films: Path, split: str) -> None:
    options = ["--split", split, "--valid", "0.1", "--metrics", "ndcg,coverage"]
    status, out, err = run("evaluate", films, "--model", "ease,item-knn", "--set", "EASE.l2=9", *options)
    assert (status, err) == (0, "")
    assert "EASE(l2=9.0), ItemKNN(), Popularity()" in out
    assert "coverage@10" in out
    assert "p_value" in out


def test_evaluate_ratings_beside_the_mean(run: Run, films: Path, tmp_path: Path) -> None:
    options = ["--model", "BiasedMF", "--set", "epochs=1", "--metrics", "rmse,mae", "--json", "r.json"]
    status, out, _ = run("evaluate", films, *options)
    assert status == 0
    assert "MeanRating" in out
    assert "rmse" in out
    results = json.loads((tmp_path / "r.json").read_text())
    assert [one["model"] for one in results["models"]] == ["BiasedMF", "MeanRating"]
    # Ratings drawn at random: nothing is much better than their standard deviation.
    assert results["models"][1]["metrics"]["rmse"]["mean"] == pytest.approx(1.44, abs=0.1)


def test_sampled_candidates_are_warned_about_once(run: Run, films: Path) -> None:
    status, out, err = run("evaluate", films, "--model", "EASE", "--candidates", "9")
    assert status == 0
    assert err.count("warning: metrics over sampled candidates") == 1
    assert "9 others per user" in " ".join(out.split())


def test_metrics_without_an_interval(run: Run, films: Path, tmp_path: Path) -> None:
    options = ["--model", "Popularity", "--metrics", "coverage", "--json", "r.json"]
    status, out, _ = run("evaluate", films, *options)
    assert status == 0
    assert "p_value" not in out
    (one,) = json.loads((tmp_path / "r.json").read_text())["models"]
    assert one["metrics"]["coverage@10"]["low"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metrics", "speed"], "--metrics must be one of"),
        (["--metrics", "rmse,ndcg"], "rmse and mae are about ratings"),
        (["--metrics", "rmse"], "EASE does not predict ratings"),
        (["--split", "leave-last-out", "--test", "0.5"], "not a share"),
        (["--split", "leave-last-out", "--timestamp", "none"], "needs timestamps"),
        (["--test", "1.5"], "test must be between 0 (excluded) and 1 (excluded), got 1.5"),
        (["--k", "0"], "must be a whole number from 1 on, got '0'"),
        (["--model", "BiasedMF", "--split", "held-out-users"], "BiasedMF cannot score a user"),
        (["--split", "by-moon"], "invalid choice"),
    ],
)
def test_bad_evaluations(run: Run, films: Path, options: list[str], words: str) -> None:
    assert words in error_of(run("evaluate", films, "--model", "EASE", *options), 2)
