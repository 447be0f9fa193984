"""The speed suite on a small case, with a stand-in for the peer: nothing is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.speed import __main__ as command
from benchmarks.speed import measure as measuring
from benchmarks.speed.cases import CASES, Case
from benchmarks.speed.peers import Peer, folder_of, python_of
from recsys_lib import datasets, splits
from recsys_lib.evaluation import evaluate
from recsys_lib.models import Popularity
from recsys_lib.splits import Split

# Its first epoch takes 100 s, the others 1 or 2, by the seed. Its lists are the popular items that are new.
STAND_IN = """
import json, sys
from pathlib import Path
import numpy as np
folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text())
data = np.load(folder / "data.npz")
counts = np.bincount(data["items"], minlength=int(data["n_items"]))
lists = []
for start, end in zip(data["indptr"], data["indptr"][1:]):
    own = counts.astype(float)
    own[data["items"][start:end]] = -1
    lists.append(np.argsort(-own, kind="stable")[:10])
np.save(folder / "lists.npy", np.array(lists))
print("some words of the peer")
print(json.dumps({"seconds": [100.0] + [1.0 + settings["seed"]] * 3, "rss_mb": 70 - settings["seed"]}))
"""


def small() -> Split:
    return splits.random_holdout(datasets.synthetic(80, 60, 1_200, seed=0), 0.2, by="user", seed=0)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    file = tmp_path / "stand_in.py"
    file.write_text(STAND_IN)
    settings = CASES["recoder-ml-100k-mse"].settings | {"epochs": 2, "width": 8, "batch_size": 32}
    found = Case(
        "small", "a small case", small, settings, "autoencoder_ours", Peer("Nobody 1", ("nobody",)), file, 2.0
    )
    monkeypatch.setitem(CASES, "small", found)
    monkeypatch.setattr(measuring, "python_of", lambda peer: Path(sys.executable))
    return found


@pytest.fixture
def both_stand_ins(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our side is a stand-in as well: it need not train where the question is another one."""
    ours, run = tmp_path / "ours.py", measuring._run
    ours.write_text(STAND_IN)

    def stand_in(command: Sequence[str]) -> dict[str, Any]:
        return run([sys.executable, str(ours), command[-1]] if "-m" in command else command)

    monkeypatch.setattr(measuring, "_run", stand_in)


def test_both_sides_of_a_case(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.json"
    command.main(["small", "--rounds", "2", "--json", str(file)])
    (found,) = json.loads(file.read_text())
    # The first epoch of a round does not count: 1, 1, 1 and 2, 2, 2.
    assert found["peer_s"] == 1.5
    assert found["peer_rss_mb"] == 70
    assert found["ratio"] == pytest.approx(1.5 / found["ours_s"])
    popular = evaluate(Popularity(device="cpu").fit(small().train), small(), 10, metrics=["ndcg"])
    assert found["peer_quality"] == pytest.approx(popular["ndcg@10"], rel=1e-5)
    assert 0 < found["ours_quality"] < 1
    assert found["ours_rss_mb"] > 100
    assert found["rounds"] == 2
    assert found["date"] <= f"{datetime.now(UTC):%Y-%m-%d}"
    assert f"PyTorch {torch.__version__}" in found["machine"]
    said = capsys.readouterr().out
    assert f"ratio {found['ratio']:.2f} (at least 2)" in said
    assert "Nobody 1 1500 ms an epoch" in said


@pytest.mark.usefixtures("both_stand_ins")
def test_our_side_alone(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["small", "--rounds", "1", "--no-peers"])
    said = capsys.readouterr().out
    assert "ours" in said
    assert "Nobody" not in said


@pytest.mark.usefixtures("both_stand_ins")
def test_a_peer_that_needs_no_environment_is_always_there(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CASES, "small", replace(case, peer=Peer("Plain", ())))
    command.main(["small", "--rounds", "1", "--no-peers"])
    assert "Plain 1000 ms an epoch" in capsys.readouterr().out


def test_a_case_is_left_out_where_its_module_is_missing(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CASES, "small", replace(case, needs="no_module_of_this_name"))
    command.main(["small"])
    assert capsys.readouterr().out == "a small case: left out, no_module_of_this_name is not installed here\n"


def test_a_whole_fit_is_one_number(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    found = {"ours_s": 12.34, "ours_quality": 0.5, "ours_rss_mb": 7, "ours_epochs": 6.5}
    said = command.line_of(replace(case, unit="a fit"), found)
    assert said == "a small case: ours 12.3 s a fit of 6.5 epochs, nDCG@10 0.5000, 7 MB"


@pytest.mark.usefixtures("both_stand_ins")
def test_a_side_that_fails_is_shown(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    case.peer_file.write_text("raise RuntimeError('no such luck')")
    with pytest.raises(SystemExit):
        command.main(["small", "--rounds", "1"])
    assert "no such luck" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"), [(["nonsense"], "no case nonsense"), (["--rounds", "0"], "--rounds must be")]
)
def test_bad_arguments(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert words in capsys.readouterr().err


def test_an_environment_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    peer = Peer("Nobody 1", ("a-package-that-is-not-there==1.0",))
    with pytest.raises(RuntimeError, match="cannot make the environment of Nobody 1"):
        python_of(peer)
    assert folder_of(peer).parent.parent == tmp_path
    assert folder_of(peer) != folder_of(Peer("Nobody 1", ("another==1.0",)))
    assert not (folder_of(peer) / "ready").exists()


def test_every_case_has_its_sides() -> None:
    for name, one in CASES.items():
        assert one.name == name
        assert one.peer_file.is_file()
        assert (Path(measuring.__file__).parent / "sides" / f"{one.ours}.py").is_file()
        assert np.isfinite(one.least)
