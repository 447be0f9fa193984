"""A full disk, a cache that cannot be written: a clear error, nothing half done, and what was there stays."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from recsys_lib import Interactions, datasets, load
from recsys_lib._files import atomic_folder, atomic_write
from recsys_lib._parquet import connection
from recsys_lib._tensors import read_tensors
from recsys_lib.cli import main
from recsys_lib.datasets import DownloadError, movielens
from recsys_lib.models import EASE, GMF, IALS, BiasedMF, MultVAE
from tests.hardening.common import fitted, ratings, small, split
from tests.hardening.scenes import address_of, archive_of, same, server_of, serving

resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")


@contextlib.contextmanager
def full_disk(room: int) -> Iterator[None]:
    """Let the system refuse every write beyond the first bytes of a file, in Python and in C++ alike."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def refused_by_disk(path: Path, call: Callable[[], object]) -> None:
    """Assert that a call fails because of the disk, and says which file it could not write."""
    with pytest.raises(OSError, match="File too large") as caught:
        call()
    assert caught.value.errno == errno.EFBIG
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("family", [EASE, GMF, IALS])
def test_a_model_is_saved_whole_or_not_at_all(family: type, share: float, tmp_path: Path) -> None:
    model, path = fitted(family), tmp_path / "model.pt"
    model.save(path)
    before = path.read_bytes()
    with full_disk(int(share * len(before))):
        refused_by_disk(path, lambda: model.save(path))
        refused_by_disk(tmp_path / "new.pt", lambda: model.save(tmp_path / "new.pt"))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("family", [GMF, BiasedMF, MultVAE])
def test_a_checkpoint_survives_a_full_disk(family: type, share: float, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    whole = small(family, epochs=3).fit(split().train)
    small(family, epochs=3).fit(split().train, checkpoint=path, callbacks=[lambda end: end.epoch == 2])
    before = path.read_bytes()
    stopped = small(family, epochs=3)
    with full_disk(int(share * len(before))):
        refused_by_disk(path, lambda: stopped.fit(split().train, checkpoint=path, resume=True))
    assert not stopped.is_fitted
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.pt"]
    assert len(read_tensors(path)["rows"]) == 2
    assert same(stopped.fit(split().train, checkpoint=path, resume=True)._state(), whole._state())


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    duckdb = pytest.importorskip("duckdb")
    frame = datasets.synthetic(60, 50, 1500, seed=2).to_dataframe()[["user", "item", "timestamp"]]
    with duckdb.connect() as con:
        con.register("frame", frame)
        con.execute(f"COPY (FROM frame) TO '{tmp_path / 'log.parquet'}' (FORMAT parquet)")
    return tmp_path / "log.parquet"


@pytest.mark.parametrize("room", [0, 200, 3000, 6000])
def test_a_conversion_leaves_nothing_on_a_full_disk(parquet: Path, room: int) -> None:
    target = parquet.with_name("out")
    with full_disk(room):
        refused_by_disk(target, lambda: datasets.convert(parquet, target, memory=64))
    assert os.listdir(parquet.parent) == ["log.parquet"]
    assert len(datasets.convert(parquet, target, memory=64)) == len(Interactions.open(target, check=True)) > 0


def test_no_room_for_sorting_is_not_called_a_damaged_file(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    words = f'IO Error: Could not write file "{tmp_path}/spill/duckdb_temp_1.tmp": No space left on device'
    with (
        pytest.raises(OSError, match=r"needs room on the disk.*No space left.*another disk"),
        connection(64, tmp_path / "spill"),
    ):
        raise duckdb.IOException(words)


def test_a_command_leaves_no_half_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted(EASE).save(tmp_path / "model.pt")
    (tmp_path / "out.csv").write_text("old")
    command = ["recommend", str(tmp_path / "model.pt"), "--all-users"]
    command += ["--output", str(tmp_path / "out.csv")]
    with full_disk(100):
        assert main(command) != 0
    assert "out.csv" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["model.pt", "out.csv"]
    assert main(command) == 0
    assert len(pd.read_csv(tmp_path / "out.csv")) > 10


# ---------------------------------------------------------------------- what a killed writer left


def parts(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".part")]


@pytest.mark.skipif(sys.platform == "win32", reason="there, nothing is removed")
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    left = tmp_path / f".x.pt.{'0' * 32}.part"
    other = tmp_path / f".y.pt.{'0' * 32}.part"
    left.write_bytes(b"half")
    other.mkdir()
    (other / "half").write_bytes(b"half")
    with atomic_write(tmp_path / "x.pt") as file:
        assert not left.exists()
        file.write(b"whole")
    assert parts(tmp_path) == [other.name]  # it belongs to another file
    with atomic_folder(tmp_path / "y.pt"):
        assert not other.exists()
    assert sorted(os.listdir(tmp_path)) == ["x.pt", "y.pt"]


def test_a_writer_at_work_is_left_alone(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "x") as slow, atomic_folder(tmp_path / "y") as folder:
        slow.write(b"slow")
        with atomic_write(tmp_path / "x") as fast:
            fast.write(b"fast")
        with atomic_folder(tmp_path / "y2"):
            assert folder.exists()
        assert (tmp_path / "x").read_bytes() == b"fast"
    assert (tmp_path / "x").read_bytes() == b"slow"
    assert sorted(os.listdir(tmp_path)) == ["x", "y", "y2"]


# ---------------------------------------------------------------------- the cache of data sets


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Let ml-1m be a small archive in its format, on a server of our own."""
    content, about = archive_of(3_000)
    monkeypatch.setitem(movielens.CATALOGUE, "ml-1m", about)
    return content


@pytest.fixture
def server(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving(server_of(content, pause=0.0)) as server:
        monkeypatch.setattr(datasets, "_ADDRESS", address_of(server))
        yield


def test_a_full_disk_stops_a_download_that_then_goes_on(server: None, content: bytes, tmp_path: Path) -> None:
    with full_disk(len(content) // 2):
        message = not_loaded(tmp_path, r"File too large.*folder=\.\.\. or RECSYS_LIB_DATA")
    assert f"cannot use the folder {tmp_path}:" in message
    assert not (tmp_path / "ml-1m.zip").exists()
    assert 0 < (tmp_path / "ml-1m.zip.part").stat().st_size <= len(content) // 2
    assert len(datasets.load("ml-1m", folder=tmp_path)) == 3_000
    assert (tmp_path / "ml-1m.zip").read_bytes() == content


def not_loaded(folder: Path, words: str) -> str:
    with pytest.raises(DownloadError, match=words) as caught:
        datasets.load("ml-1m", folder=folder)
    return str(caught.value)


@contextlib.contextmanager
def not_root() -> Iterator[None]:
    """Root may write everywhere; nobody may not."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def cache() -> Iterator[Path]:
    """A folder that others may look into, unlike those that pytest makes."""
    folder = Path(tempfile.mkdtemp())
    (folder / "cache").mkdir()
    folder.chmod(0o755)
    yield folder / "cache"
    (folder / "cache").chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_cache_is_read(content: bytes, cache: Path) -> None:
    (cache / "ml-1m.zip").write_bytes(content)
    (cache / "ml-1m.zip").chmod(0o444)
    x = datasets.load("ml-1m", folder=cache)  # also loads whatever nobody could not
    cache.chmod(0o555)
    with not_root():
        assert len(datasets.load("ml-1m", folder=cache)) == len(x) == 3_000
        assert datasets.available(folder=cache)["cached"]["ml-1m"]
    assert os.listdir(cache) == ["ml-1m.zip"]


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "closed"])
@pytest.mark.parametrize("there", ["nothing", "damaged", "a lock", "no folder"])
def test_a_cache_that_cannot_be_written_is_named(
    server: None, content: bytes, cache: Path, mode: int, there: str
) -> None:
    folder = cache / "below" if there == "no folder" else cache
    if there == "damaged":
        (cache / "ml-1m.zip").write_bytes(content[:-1])
    if there == "a lock":
        (cache / "ml-1m.zip.lock").touch(0o444)
    before = os.listdir(cache)
    cache.chmod(mode)
    with not_root():
        message = not_loaded(folder, r"Permission denied.*folder=\.\.\. or RECSYS_LIB_DATA")
    assert f"cannot use the folder {folder}:" in message
    assert os.listdir(cache) == before


def test_a_model_is_not_saved_into_a_read_only_folder(cache: Path) -> None:
    fitted(EASE).save(cache / "model.pt")
    before = (cache / "model.pt").read_bytes()
    cache.chmod(0o555)
    with not_root(), pytest.raises(PermissionError, match=r"Permission denied: .*model\.pt"):
        EASE(l2=3.0, device="cpu").fit(ratings()).save(cache / "model.pt")
    assert (cache / "model.pt").read_bytes() == before
    assert os.listdir(cache) == ["model.pt"]
    assert torch.equal(load(cache / "model.pt").weights_, fitted(EASE).weights_)
