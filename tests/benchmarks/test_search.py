from __future__ import annotations

import statistics
from dataclasses import fields

import pytest

from benchmarks import choose, search_autorec, search_trained
from benchmarks.choose import Validation, best_of, hidden_tenths
from benchmarks.search_biased_mf import AXES as BIASED_MF_AXES
from benchmarks.search_trained import AXES, CASES, MODELS, curve, main, mean_curve, search, settings_to_try
from recsys_lib import evaluate, splits
from recsys_lib.evaluation import SampledMetricsWarning
from recsys_lib.models import BPR, EASE, AutoRec, BiasedMF, Popularity
from recsys_lib.models.ncf import GMF


def test_the_best_setting_is_chosen_without_the_test_part(ratings):
    candidates = [EASE(l2=l2) for l2 in (1e6, 10.0)]
    validations = hidden_tenths(ratings, by="item", n_cuts=2)
    assert len(validations) == 2
    assert all(len(v.split.train) + len(v.split.test) == len(ratings) for v in validations)
    chosen = best_of(candidates, validations)
    values = [
        statistics.fmean(v.value(EASE(l2=model.l2).fit(v.split.train)) for v in validations)
        for model in candidates
    ]
    assert chosen is candidates[values.index(max(values))]
    assert not any(model.is_fitted for model in candidates)
    # The winner does not depend on the order, and fitting the one hides nothing from the other.
    assert best_of(candidates[::-1], validations) is chosen


def test_a_validation_ranks_all_items_or_a_sample(ratings):
    split = splits.leave_last_out(ratings, valid=False)
    model = Popularity().fit(split.train)
    assert Validation(split).value(model) == evaluate(model, split, metrics=["ndcg"])["ndcg@10"]
    with pytest.warns(SampledMetricsWarning):
        expected = evaluate(model, split, metrics=["hit_rate"], candidates=12)["hit_rate@10"]
    assert Validation(split, 12, "hit_rate").value(model) == expected


def test_a_model_is_fitted_on_train_alone_and_timed(ratings):
    model, seconds = choose.on(ratings, lambda seed: EASE(l2=10.0, seed=seed))(3)
    assert model.is_fitted
    assert (model.seed, seconds) == (3, model.fit_seconds_)


def test_the_search_for_biased_mf_leaves_the_defaults_alone():
    for axis, values in BIASED_MF_AXES.items():
        assert getattr(BiasedMF(), axis) not in values
        for value in values:
            assert BiasedMF(**{axis: value}).name == "BiasedMF"


# ---------------------------------------------------------------------- models with sampled negatives


def test_the_search_goes_along_one_axis_at_a_time():
    tried = list(settings_to_try({"a": 1, "b": 2}, {"a": (1, 3), "c": (True,)}))
    assert tried == [
        ("start", {"a": 1, "b": 2}),
        ("a=3", {"a": 3, "b": 2}),
        ("c=True", {"a": 1, "b": 2, "c": True}),
    ]


def test_the_curve_is_that_of_models_trained_for_so_long(ratings):
    [validation] = hidden_tenths(ratings, by="user", n_cuts=1)
    found = curve(BPR(factors=4, epochs=5, learning_rate=0.05), validation, every=2)
    assert list(found) == [2, 4, 5]
    for epochs, value in found.items():
        model = BPR(factors=4, epochs=epochs, learning_rate=0.05).fit(validation.split.train)
        assert validation.value(model) == value


def test_runs_have_other_cuts_and_other_seeds(ratings):
    validations = hidden_tenths(ratings, by="user", n_cuts=2)
    setting = {"factors": 4, "epochs": 2, "seed": 5, "patience": 3}
    single = [curve(BPR(factors=4, epochs=2, seed=5 + n), v, 2)[2] for n, v in enumerate(validations)]
    assert mean_curve(BPR, setting, validations, every=2) == {2: statistics.fmean(single)}


def test_every_setting_is_said_in_a_line(ratings):
    said: list[str] = []
    validations = hidden_tenths(ratings, by="user", n_cuts=1)
    search(GMF, validations, {"factors": 2, "epochs": 2}, {"l2": (0.1, 0.2)}, every=1, say=said.append)
    assert [line.split("  ")[1] for line in said] == ["start", "l2=0.1", "l2=0.2"]
    measured = curve(GMF(factors=2, epochs=2), validations[0], 1)
    assert said[0].startswith(f"{max(measured.values()):.4f} at epoch ")
    assert f", {measured[2]:.4f} at 2 " in said[0]


@pytest.mark.parametrize("table", CASES)
def test_the_settings_in_use_are_among_those_that_can_be_searched(table):
    for name, start in CASES[table].starts.items():
        model = MODELS[name](**start)
        for axis, values in AXES[name].items():
            assert axis in {field.name for field in fields(model)}
            for value in values:
                MODELS[name](**(start | {axis: value}))  # raises if it is no good
        for key, value in start.items():
            assert value in AXES[name].get(key, (value,)), (name, key)


@pytest.mark.parametrize("table", CASES)
def test_the_command_runs(table, small, capsys):
    main(["--table", table, "--model", "BPR", "--data", str(small), "--axes", "schedule", "--epochs", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{table}, BPR, start: ")
    assert "'epochs': 2" in lines[0]
    assert all(" at 2  " in line for line in lines[1:])
    assert len(lines) >= 3


def test_the_start_can_be_changed(small, capsys):
    case = ["--table", "ms-ml100k", "--model", "BPR", "--epochs", "1", "--runs", "2", "--axes"]
    main([*case, "--set", "factors=3", "sampler=popularity", "l2=0.5"])
    first, *rest = capsys.readouterr().out.splitlines()
    assert "'factors': 3" in first
    assert "'sampler': 'popularity'" in first
    assert "'l2': 0.5" in first
    assert len(rest) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--table", "ms-ml100k", "--model", "GMF"], "no row for GMF"),
        (["--table", "ms-ml100k", "--model", "BPR", "--axes", "dropout"], "no axis dropout"),
        (["--table", "ms-ml100k", "--model", "BPR", "--every", "0"], "--every must be at least 1"),
        (["--table", "ms-ml100k", "--model", "BPR", "--runs", "0"], "--runs must be at least 1"),
        (["--table", "ms-ml100k", "--model", "BPR", "--set", "l2"], "name=value"),
        (["--table", "ms-ml100k", "--model", "BPR", "--set", "l2=-1"], "l2 must be"),
        (["--table", "ms-ml100k", "--model", "BPR", "--set", "nonsense=1"], "nonsense"),
    ],
)
def test_bad_options_are_refused_before_any_work(options, words, capsys, monkeypatch):
    monkeypatch.setattr(search_trained, "search", lambda *a: pytest.fail("the work has begun"))
    with pytest.raises(SystemExit) as stop:
        main(options)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_missing_files_are_said(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--table", "ncf-ml1m", "--model", "BPR", "--data", str(tmp_path)])
    assert "ml-1m.test.negative" in capsys.readouterr().err


# ---------------------------------------------------------------------- AutoRec


def test_the_search_for_autorec_measures_hidden_ratings(small, ratings):
    said: list[str] = []
    parts = search_autorec.cut("100K", small)
    assert len(parts.train) + len(parts.test) < len(ratings)
    search_autorec.search(AutoRec, parts, {"factors": 4, "epochs": 2}, {"l2": (0.5,)}, said.append)
    assert [line.split("  ")[1] for line in said] == ["start", "l2=0.5"]
    expected = AutoRec(factors=4, epochs=2, progress=False).fit(parts.train, parts.test).history_
    assert said[0].startswith(f"{expected['valid_rmse'].min():.4f} at epoch")


def test_the_search_for_autorec_on_the_command_line(small, capsys):
    search_autorec.main(["--size", "1M", "--data", str(small), "--kind", "user", "--axes", "schedule"])
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(search_autorec.AXES["schedule"])
    with pytest.raises(SystemExit):
        search_autorec.main(["--kind", "biased-mf"])
    assert "no row for biased-mf on 100K" in capsys.readouterr().err
