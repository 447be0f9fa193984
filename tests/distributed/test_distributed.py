"""Training in 2 and 4 processes, compared with one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from recsys_lib import distributed, load
from recsys_lib.cli import main
from recsys_lib.models.gradient import GradientRecommender
from tests.distributed.common import DRAWN, EXACT, ROOT, SPLIT, Ranks, chosen, clean_environment, results

# Sums in another order: a few units in the last place of single precision, after a few dozen steps.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """What one process learns."""
    models = {name: make().fit(SPLIT.train, SPLIT.test) for name, make in (EXACT | DRAWN).items()}
    found: dict[str, Any] = {name: results(model) for name, model in models.items()}
    found["drawn"] = len(models["LogisticMF-hard"].negatives_drawn_.indices)
    for name in ("BiasedMF", "MF-rows-batch"):
        found[f"{name} longer"] = results(EXACT[name](epochs=4).fit(SPLIT.train, SPLIT.test))
    return found


@pytest.fixture(scope="module", params=[2, 4], ids="{} processes".format)
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which that many processes have written what they learned."""
    folder = tmp_path_factory.mktemp("ranks")
    for name in ("BiasedMF", "MF-rows-batch"):
        EXACT[name](epochs=2).fit(SPLIT.train, SPLIT.test, checkpoint=folder / f"{name}.pt")
    shutil.copy(folder / "BiasedMF.pt", folder / "seen by 1.pt")
    n: int = request.param
    ranks = Ranks(n, "everything", folder)
    try:
        ends = [ranks.end(number) for number in range(n)]
    finally:
        ranks.kill()
    assert [status for status, _, _ in ends] == [0] * n, ends
    found = torch.load(folder / "fitted.pt", weights_only=True)
    assert found.keys() - {"drawn"} == set(chosen(n))
    # One run shows a progress bar, and the first process alone shows it.
    assert "training" in ends[0][2]
    assert not any("training" in err for _, _, err in ends[1:])
    return folder


def close(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    torch.testing.assert_close(found["history"], expected["history"], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found["scores"], expected["scores"], rtol=tolerance, atol=tolerance)
    assert found["items"] == expected["items"]


def test_what_draws_nothing_learns_the_same(together: Path, alone: dict[str, Any]) -> None:
    found = torch.load(together / "fitted.pt", weights_only=True)
    for name in EXACT.keys() & found.keys():
        close(found[name], alone[name], TOLERANCE)


def test_what_draws_learns_as_well(together: Path, alone: dict[str, Any]) -> None:
    """Losses within 5%, nDCG@10 within 0.06: what other seeds of one process do on such little data."""
    found = torch.load(together / "fitted.pt", weights_only=True)
    for name in DRAWN.keys() & found.keys():
        there, here = found[name]["history"], alone[name]["history"]
        torch.testing.assert_close(there[:, 1], here[:, 1], rtol=0.05, atol=0.01, msg=name)
        torch.testing.assert_close(there[-1, 2], here[-1, 2], rtol=0, atol=0.06, msg=name)
        assert not torch.equal(there[:, 1], here[:, 1])
    # The union of what all have drawn, not what one has.
    if "drawn" in found:
        assert found["drawn"] == pytest.approx(alone["drawn"], rel=0.1)


def test_only_the_first_writes(together: Path) -> None:
    assert sorted(file.name for file in together.glob("model_*")) == ["model_0.pt"]
    assert load(together / "model_0.pt").recommend(k=1)["item"].notna().all()


@pytest.mark.parametrize("name", ["BiasedMF", "MF-rows-batch"])
def test_a_checkpoint_goes_on_with_another_number(together: Path, alone: dict[str, Any], name: str) -> None:
    expected = alone[f"{name} longer"]
    from_one = torch.load(together / "gone_on.pt", weights_only=True)[name]
    close(from_one, expected, TOLERANCE)
    model = EXACT[name](epochs=4)
    close(results(_resumed(model, together / f"{name}-here.pt")), expected, TOLERANCE)


def _resumed(model: GradientRecommender, checkpoint: Path) -> GradientRecommender:
    fitted: GradientRecommender = model.fit(SPLIT.train, SPLIT.test, checkpoint=checkpoint, resume=True)
    assert len(fitted.history_) == 4
    return fitted


def test_a_killed_process_ends_the_others(tmp_path: Path) -> None:
    ranks = Ranks(2, "killed", tmp_path)
    try:
        status, _, err = ranks.end(0)
    finally:
        ranks.kill()
    assert status == 1
    (last,) = [line for line in err.splitlines() if "RankError: " in line]
    assert "rank 0 of 2 waited for another one, which has died, hangs or cannot be reached" in last
    assert "A checkpoint, if there is one, is whole: start again with resume=True" in last
    assert [file.name for file in tmp_path.iterdir()] == ["run.pt"]
    assert len(torch.load(tmp_path / "run.pt", weights_only=True)["rows"]) == 2
    again = EXACT["BiasedMF"](epochs=5).fit(
        SPLIT.train, SPLIT.test, checkpoint=tmp_path / "run.pt", resume=True
    )
    whole = EXACT["BiasedMF"](epochs=5).fit(SPLIT.train, SPLIT.test)
    close(results(again), results(whole), TOLERANCE)


# ---------------------------------------------------------------------- the command line


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    SPLIT.train.to_dataframe().to_csv(tmp_path / "ratings.csv", index=False)
    return tmp_path / "ratings.csv"


def test_torchrun_trains(ratings: Path, tmp_path: Path) -> None:
    options = ["--model", "BiasedMF", "--set", "epochs=2", "--device", "cpu", "--valid", "0.1"]
    train = ["-m", "recsys_lib", "train", str(ratings), *options]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    files = ["--output", str(tmp_path / "two.pt"), "--checkpoint", str(tmp_path / "run.pt")]
    # Warnings of torchrun are its own affair.
    environment = clean_environment() | {"PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [*torchrun, *train, *files], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fitted  in ") == 1
    assert "on cpu, 2 processes, 2 epochs" in done.stdout
    assert main([*train[2:], "--output", str(tmp_path / "one.pt")]) == 0
    one, two = (load(tmp_path / name).recommend(k=5) for name in ("one.pt", "two.pt"))
    pd.testing.assert_frame_equal(one, two, atol=TOLERANCE, rtol=TOLERANCE)
    assert (tmp_path / "run.pt").exists()


def test_what_several_processes_cannot_share_is_refused(
    ratings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    train = ["train", str(ratings), "--model", "EASE", "--output", str(tmp_path / "model.pt")]
    assert main(train) == 2
    assert "EASE is not trained in steps, which several processes could share" in capsys.readouterr().err
    monkeypatch.undo()
    assert main([*train, "--checkpoint", str(tmp_path / "run.pt")]) == 2
    assert "EASE is not trained in epochs, so it has no use for --checkpoint" in capsys.readouterr().err
    assert main([*train, "--resume"]) == 2
    assert "--resume needs the file to go on from: add --checkpoint FILE" in capsys.readouterr().err
    for number, lines in (("0", 1), ("1", 0)):  # one of them says it for all
        for name, value in (
            ("RANK", number),
            ("WORLD_SIZE", "2"),
            ("MASTER_ADDR", "x"),
            ("MASTER_PORT", "1"),
        ):
            monkeypatch.setenv(name, value)
        assert main(["evaluate", str(ratings), "--model", "EASE"]) == 2
        assert capsys.readouterr().err.count("only `train` can be shared by several processes") == lines


# ---------------------------------------------------------------------- one process


def test_one_process_is_the_first_of_one() -> None:
    assert (distributed.rank(), distributed.world_size(), distributed.is_first()) == (0, 1, True)
    rows, generator = torch.arange(3), torch.Generator()
    assert distributed.my_part(rows) is rows
    assert distributed.own_generator(generator) is generator
    assert distributed.mean(torch.tensor([1.0, 2.0])) == 1.5
    assert distributed.from_first(rows) is rows
    distributed.agree({"anything": object()})
    distributed.check_device(torch.device("mps"))
    with distributed.process_group():
        assert distributed.world_size() == 1


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_bad_timeout_is_named(timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be"), distributed.process_group(timeout):
        pass


def test_half_a_launch_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters set some of the variables for other purposes."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert not distributed.launched()


@pytest.mark.parametrize(
    ("device", "local", "current", "words"),
    [
        ("cuda", 2, 0, "process 2 of this machine has no GPU of its own; it has 2"),
        ("cuda:1", 0, 0, "process 0 of this machine must use GPU 0"),
        ("cuda", 1, 0, "process 1 of this machine must use GPU 1"),
        ("cuda", 1, 1, None),
    ],
)
def test_each_process_needs_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, device: str, local: int, current: int, words: str | None
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    monkeypatch.setenv("LOCAL_RANK", str(local))
    if words is None:
        distributed.check_device(torch.device(device))
        return
    with pytest.raises(ValueError, match=words):
        distributed.check_device(torch.device(device))
