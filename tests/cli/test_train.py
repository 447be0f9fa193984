"""The command `train`, and models by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_lib import Interactions, datasets, load, models
from recsys_lib.cli.models import Parameter, find_model, model_names, parameters
from recsys_lib.models import EASE
from tests.cli.common import Run, error_of


def test_train_saves_what_python_would_learn(run: Run, model_file: Path, table: pd.DataFrame) -> None:
    x = Interactions.from_dataframe(table)
    expected = EASE(l2=2).fit(x)
    loaded = load(model_file)
    assert isinstance(loaded, EASE)
    assert loaded.l2 == 2
    np.testing.assert_allclose(loaded.score(), expected.score(), atol=1e-6)
    status, out, _ = run("train", "shop.csv", "--model", "ease", "--output", "again.pt")
    assert status == 0
    assert "saved   again.pt" in out
    assert "next    recsys-lib recommend again.pt --user 001" in out


@pytest.mark.parametrize("name", model_names())
def test_every_model_trains_and_recommends(run: Run, films: Path, name: str) -> None:
    quick = ["--set", "epochs=1"] if "epochs" in parameters(find_model(name)) else []
    if name == "ProfilePopularity":  # a CSV file has nothing to say about people
        assert "with_features" in error_of(run("train", films, "--model", name, "--output", "m.pt"), 1)
        return
    assert run("train", films, "--model", name, *quick, "--output", "m.pt")[0] == 0
    status, out, err = run("recommend", "m.pt", "--user", 7, "--k", 4, "--format", "json")
    assert (status, err) == (0, "")
    records = json.loads(out)
    assert [record["rank"] for record in records] == [1, 2, 3, 4]
    assert {record["user"] for record in records} == {7}


def test_train_holds_out_for_validation(run: Run, films: Path) -> None:
    options = ["--model", "BiasedMF", "--set", "epochs=2", "--set", "patience=1", "--output", "m.pt"]
    assert "add --valid" in error_of(run("train", films, *options), 2)
    status, out, _ = run("train", films, *options, "--valid", "0.25")
    assert status == 0
    assert "valid   120 interactions held out" in out
    assert "valid_rmse" in out


def test_train_seed_and_min_rating(run: Run, films: Path) -> None:
    scores = []
    for seed in (3, 3, 4):
        options = ["--model", "BiasedMF", "--set", "epochs=1", "--seed", seed, "--output", "m.pt"]
        assert run("train", films, *options)[0] == 0
        scores.append(load("m.pt").score())
    assert (scores[0] == scores[1]).all()
    assert (scores[0] != scores[2]).any()
    assert run("train", films, "--model", "EASE", "--min-rating", "4.5", "--output", "m.pt")[0] == 0
    kept = pd.read_csv(films).query("stars >= 4.5")
    assert len(load("m.pt").seen_.indices) == len(kept)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "eas"], "there is no model 'eas'. Did you mean EASE?"),
        (["--model", "ease", "--set", "l3=1"], "EASE has no parameter 'l3'. It has: l2."),
        (["--model", "ease", "--set", "l2"], "--set takes NAME=VALUE, got 'l2'"),
        (["--model", "ease", "--set", "l2=big"], "l2 must be number, got 'big'"),
        (["--model", "ease", "--set", "l2=-1"], "l2 must be greater than 0"),
        (["--model", "ease", "--set", "seed=1"], "use --seed 1"),
        (["--model", "ease", "--set", "ItemKNN.neighbours=1"], "ItemKNN is not among the models asked for"),
        (["--model", "ease", "--device", "warp"], "--device 'warp' is not a device"),
        (["--model", "ease", "--seed", "-1"], "seed must be between"),
        (["--model", "ease", "--ids", "hex"], "invalid choice: 'hex'"),
        ([], "train needs --model"),
    ],
)
def test_bad_command_lines(run: Run, shop: Path, options: list[str], words: str) -> None:
    assert words in error_of(run("train", shop, "--output", "m.pt", *options), 2)
    assert not shop.with_name("m.pt").exists()


def test_a_bad_place_is_refused_before_training(
    run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[object] = []
    monkeypatch.setattr(EASE, "fit", lambda *args: fitted.append(args))
    (shop.parent / "folder").mkdir()
    assert "is a folder" in error_of(run("train", shop, "--model", "EASE", "--output", "folder"), 1)
    assert "cannot write" in error_of(run("train", shop, "--model", "EASE", "--output", shop / "m.pt"), 1)
    assert not fitted


def test_list_models_explains_every_parameter(run: Run) -> None:
    status, out, _ = run("train", "--list-models")
    assert status == 0
    for name in model_names():
        assert f"\n{name}\n" in f"\n{out}"
        for parameter in parameters(find_model(name)).values():
            assert f"    {parameter.name}=" in out
            assert parameter.type_words in out
            assert parameter.words, f"{name}.{parameter.name} has no description"
            assert not parameter.words.startswith("See recsys_lib"), f"{name}.{parameter.name} leads nowhere"


def test_parameters_of_all_types() -> None:
    assert parameters(models.ItemKNN)["similarity"].choices.startswith("cosine|")

    def parse(kind: object, text: str) -> object:
        return Parameter("p", kind, None).parse(text)

    assert parse(int, "3") == 3
    assert parse(float | None, "1e-3") == 0.001
    assert parse(int | None, "none") is None
    assert parse(bool, "true") is True
    assert parse(tuple[int, ...], "600, 200") == (600, 200)
    assert parse(str, "none") == "none"
    for kind, text in ((int, "1.5"), (bool, "maybe"), (float, "none"), (tuple[int, ...], "a,b"), (dict, "x")):
        with pytest.raises(ValueError, match="p must be"):
            parse(kind, text)
    assert find_model("item-knn") is models.ItemKNN
    assert Parameter("p", int | None, None).type_words == "whole number or none"


def test_columns_of_features_are_a_parameter(run: Run, films: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = datasets.synthetic(40, 60, 600)
    monkeypatch.setattr(datasets, "load", lambda name, **options: data)
    quick = ["--model", "NeuMF", "--set", "epochs=1", "--set", "pretrain_epochs=1", "--output", "m.pt"]
    status, _, err = run("train", "ml-100k", *quick, "--set", "item_features=genres, title")
    assert (status, err) == (0, "")
    assert load("m.pt").item_features == ("genres", "title")
    result = run("train", films, *quick, "--set", "item_features=genres")
    assert "item_features asks for ['genres'], and the training data has no item_features" in error_of(
        result, 1
    )


def test_a_share_for_validation_is_checked_under_its_own_name(run: Run, films: Path, tmp_path: Path) -> None:
    result = run("train", films, "--model", "EASE", "--valid", 2, "--output", tmp_path / "model.pt")
    assert "valid must be between 0 and 1" in error_of(result, 2)
