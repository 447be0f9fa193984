"""Tables divided between 2 processes, compared with one process that has them whole."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import torch

from recsys_lib import distributed, load
from recsys_lib._checkpoint_parts import _Harmless
from recsys_lib._checkpoints import read
from recsys_lib.cli import main
from recsys_lib.errors import FileFormatError
from tests.distributed.common import DIVIDED, SPLIT, Ranks, results

# Sums in another order: a few units in the last place of single precision, after a few dozen steps. SGD with
# batch normalisation, which divides by variances, makes more of them.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where 2 processes have written what they learned. They make the checks of tests.distributed.worker."""
    folder = tmp_path_factory.mktemp("divided")
    ranks = Ranks(2, "divided", folder)
    try:
        ends = [ranks.end(number) for number in range(2)]
    finally:
        ranks.kill()
    assert [status for status, _, _ in ends] == [0, 0], ends
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    contents: dict[str, Any] = torch.load(folder / "divided.pt", weights_only=True)
    return contents


def close(found: dict[str, Any], expected: dict[str, Any], tolerance: float = TOLERANCE) -> None:
    torch.testing.assert_close(found["history"], expected["history"], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found["scores"], expected["scores"], rtol=TOLERANCE, atol=5e-5)
    assert found["items"] == expected["items"]


@pytest.mark.parametrize("name", DIVIDED)
def test_what_one_process_learns(folder: Path, found: dict[str, Any], name: str) -> None:
    """The same losses, scores and recommendations; and the saved model serves in one process."""
    model = DIVIDED[name]().fit(SPLIT.train, SPLIT.test)
    expected = results(model)
    close(found[name], expected)
    saved = load(folder / f"{name}.pt", device="cpu")
    assert [str(item) for item in saved.recommend(k=5)["item"]] == found[name]["items"]
    assert {key: value.shape for key, value in saved.net_.state_dict().items()} == {
        key: value.shape for key, value in model.net_.state_dict().items()
    }


@pytest.mark.parametrize("name", ["LogisticMF", "Bottleneck-batch"])
def test_one_process_goes_on_from_the_parts(folder: Path, found: dict[str, Any], name: str) -> None:
    epochs = len(found[name]["history"])
    same = DIVIDED[name]().fit(SPLIT.train, SPLIT.test, checkpoint=folder / name, resume=True)
    assert results(same)["items"] == found[name]["items"]
    longer = DIVIDED[name](epochs=epochs + 1)
    longer.fit(SPLIT.train, SPLIT.test, checkpoint=folder / name, resume=True)
    whole = DIVIDED[name](epochs=epochs + 1).fit(SPLIT.train, SPLIT.test)
    # The last epoch starts from weights that differ by as much already.
    close(results(longer), results(whole), 20 * TOLERANCE)
    assert sorted(file.name for file in (folder / name).iterdir()) in (["a", "current"], ["b", "current"])


def test_two_processes_go_on_from_the_parts(found: dict[str, Any]) -> None:
    close(found["GMF longer"], results(DIVIDED["GMF"](epochs=3).fit(SPLIT.train, SPLIT.test)))


def test_a_folder_that_is_not_ours_or_damaged(folder: Path, tmp_path: Path) -> None:
    model = DIVIDED["GMF"](epochs=3)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        model.fit(SPLIT.train, checkpoint=tmp_path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        model.fit(SPLIT.train, SPLIT.test, checkpoint=folder / "GMF")  # it would be lost
    shutil.copytree(folder / "GMF", tmp_path / "GMF")
    here = tmp_path / "GMF" / (tmp_path / "GMF" / "current").read_text()

    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harm",))

    (here / ".metadata").write_bytes(pickle.dumps(Harm()))
    net, cpu = DIVIDED["GMF"]().fit(SPLIT.train).net_, torch.device("cpu")
    with pytest.raises(FileFormatError, match=r"Delete it to start anew.*is damaged.*the index names"):
        read(tmp_path / "GMF", net, cpu)
    assert not (tmp_path / "harm").exists()
    (here / ".metadata").unlink()
    with pytest.raises(FileFormatError, match=r"Delete it to start anew.*is damaged"):
        read(tmp_path / "GMF", net, cpu)


def test_one_process_alone_divides_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with distributed.process_group(shard_tables=True):
        assert not distributed.shards_tables()
    with pytest.raises(TypeError, match="shard_tables must be True or False"):
        distributed.process_group(shard_tables="no").__enter__()
    train = ["train", "x.csv", "--model", "GMF", "--output", str(tmp_path / "m.pt"), "--shard-tables"]
    assert main(train) == 2
    assert (
        "--shard-tables divides tables among processes: start them with torchrun" in capsys.readouterr().err
    )


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_an_index_is_read_by_any_python(module: str) -> None:
    # Python 3.13 writes its paths under a name that no other one has.
    index = f"c{module}\nPurePosixPath\n(Vparts\ntR.".encode()
    assert _Harmless(io.BytesIO(index)).load() == PurePosixPath("parts")
    with pytest.raises(pickle.UnpicklingError, match="the index names"):
        _Harmless(io.BytesIO(index.replace(b"PurePosixPath", b"os"))).load()
