"""Files from elsewhere: they run nothing, take no memory by a claim, and write nowhere. Titles are text."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from recsys_lib import Interactions, evaluate, load
from recsys_lib._tensors import read_tensors
from recsys_lib.errors import FileFormatError
from recsys_lib.histories import Histories
from recsys_lib.models import EASE, GMF, IALS, Popularity, Recommender
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.training import TrainingOptions, shuffled, train
from tests.hardening.common import FAMILIES, fitted, ratings, refused, small, split


class Calls:
    """A pickle that calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.what = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.what


def repacked(source: Path, target: Path, change: Callable[[str, bytes], bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    fitted(EASE).save(path)
    return path


def changed(path: Path, **entries: Any) -> Path:
    """Write the file anew with other entries; a function makes a new value of the old one."""
    contents = torch.load(path, weights_only=True)
    for key, value in entries.items():
        contents[key] = value(contents[key]) if callable(value) else value
    torch.save(contents, path)
    return path


HOSTILE: dict[str, Callable[[Path], Any]] = {
    "system": lambda witness: Calls(os.system, f"touch '{witness}'"),
    "mkdir": lambda witness: Calls(os.mkdir, str(witness)),
    "eval": lambda witness: Calls(eval, f"open({str(witness)!r}, 'w')"),
    "import": lambda witness: Calls(__import__, "antigravity"),
    "bytes without end": lambda witness: Calls(bytearray, 10**11),
    "tensors without end": lambda witness: Calls(torch.zeros, 10**12),
    "shape without end": lambda witness: Calls(torch.Size, [10**9]),
    "load": lambda witness: Calls(torch.load, str(witness)),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("where", ["value", "key", "deep"])
def test_a_file_calls_nothing(hostile: Callable[[Path], Any], where: str, tmp_path: Path) -> None:
    witness, path = tmp_path / "was_here", tmp_path / "model.pt"
    one = hostile(witness)
    torch.save({"value": {"x": one}, "key": {one: 1}, "deep": {"x": [{"y": (one,)}]}}[where], path)
    for read in (load, read_tensors, Recommender.load):
        refused(lambda read=read: read(path), "was not written by this library", FileFormatError)
    path.write_bytes(pickle.dumps(one))
    refused(lambda: load(path), error=FileFormatError)
    assert not witness.exists()


def test_a_checkpoint_calls_nothing(tmp_path: Path) -> None:
    witness, path = tmp_path / "was_here", tmp_path / "run.pt"
    torch.save({"net": Calls(os.mkdir, str(witness))}, path)
    model = small(GMF)
    refused(lambda: model.fit(split().train, checkpoint=path, resume=True), "Delete it", FileFormatError)
    assert not witness.exists()
    assert not model.is_fitted


# ---------------------------------------------------------------------- claims about sizes


def test_views_that_are_larger_than_the_file(saved: Path) -> None:
    bomb = torch.zeros(1, dtype=torch.int32).expand(10**12)
    changed(saved, **{"seen.indices": bomb})
    assert saved.stat().st_size < 10**5
    refused(lambda: load(saved), "larger than the file", FileFormatError)


def test_many_views_of_the_same_numbers(tmp_path: Path) -> None:
    shared = torch.zeros(10_000)
    torch.save({str(n): shared[:] for n in range(500)}, tmp_path / "m.pt")
    refused(lambda: read_tensors(tmp_path / "m.pt"), "larger than the file", FileFormatError)


def test_a_storage_that_is_shorter_than_it_says(tmp_path: Path) -> None:
    """PyTorch would read what lies behind it in memory."""
    torch.save({"x": torch.arange(4, dtype=torch.int32)}, tmp_path / "t.pt")

    def grow(name: str, data: bytes) -> bytes:
        four, many = b"K\x04", b"J" + struct.pack("<i", 10**6)
        return data.replace(four, many) if name.endswith("data.pkl") else data

    path = repacked(tmp_path / "t.pt", tmp_path / "u.pt", grow)
    refused(lambda: read_tensors(path), "damaged", FileFormatError)


def test_members_that_overlap(saved: Path, tmp_path: Path) -> None:
    """The directory of the archive names one member many times: more to read than there is."""
    with zipfile.ZipFile(saved, "a") as archive:
        large = max(archive.infolist(), key=lambda member: member.file_size)
        archive.filelist.extend([large] * 200)
        archive._didModify = True
    refused(lambda: load(saved), "overlap", FileFormatError)


def test_names_that_point_elsewhere_are_never_used(saved: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = inside / "m.pt"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        for name in ("../../escaped", "/escaped", "..\\escaped"):
            new.writestr(name, b"x")
    before = sorted(os.listdir(tmp_path))
    with contextlib.suppress(FileFormatError):
        load(path)
    assert sorted(os.listdir(tmp_path)) == before
    assert os.listdir(inside) == ["m.pt"]
    assert not Path("/escaped").exists()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.__name__)
def test_parameters_that_ask_for_more_than_the_file_holds(
    family: type[Recommender], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.pt"
    fitted(family).save(path)
    header = json.loads(torch.load(path, weights_only=True)["header"])
    sizes = {"factors", "layers", "width", "embedding_dim"} & header["params"].keys()
    if not issubclass(family, GradientRecommender):
        assert sizes <= {"factors"}
    for name in sizes:
        old = header["params"][name]
        many = (
            [10**7] * len(old) if isinstance(old, list) else 16 if (family.__name__, name) in DEPTH else 10**7
        )
        changed(path, header=json.dumps(header | {"params": header["params"] | {name: many}}))
        if family.__name__ == "LowRankEASE":
            assert load(path, device="cpu").is_fitted  # more factors than items are as many as items
            continue
        refused(lambda: load(path, device="cpu"), "does not hold a complete", FileFormatError)


DEPTH = {("MLP", "layers"), ("NeuMF", "layers")}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.__name__)
def test_tensors_of_other_types_and_shapes(family: type[Recommender], tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    fitted(family).save(path)
    whole = path.read_bytes()
    state = [key for key in torch.load(path, weights_only=True) if key.startswith("state.")]
    other: list[Callable[[torch.Tensor], Any]] = [
        lambda t: t.double() if t.is_floating_point() else t.float(),
        lambda t: t.to(torch.complex64),
        lambda t: t.unsqueeze(0),
        lambda t: t.flatten()[:-1] if t.numel() > 1 else t.new_zeros(2),
        lambda t: "text",
    ]
    for key in {*state[:1], *state[-1:], "seen.indptr", "seen.indices"}:
        for change in other:
            path.write_bytes(whole)
            changed(path, **{key: change})
            refused(lambda: load(path, device="cpu"), error=FileFormatError)


LISTS: dict[str, tuple[list[int], list[int]]] = {
    "no start": ([], []),
    "late start": ([1, 2], [0, 1]),
    "early end": ([0, 1], [0, 1]),
    "late end": ([0, 3], [0, 1]),
    "backwards": ([0, 2, 1, 2], [0, 1]),
    "below zero": ([0, -1, 2], [0, 1]),
    "outside": ([0, 2], [0, 5]),
    "negative item": ([0, 2], [-1, 0]),
    "repeated": ([0, 2], [1, 1]),
    "unsorted": ([0, 2], [1, 0]),
}


@pytest.mark.parametrize(("indptr", "indices"), LISTS.values(), ids=LISTS)
def test_what_are_no_lists(indptr: list[int], indices: list[int]) -> None:
    tensors = [torch.tensor(one, dtype=torch.int64) for one in (indptr, indices)]
    refused(lambda: Histories.from_tensors(*tensors, 5), "indptr|indices")


HEADERS: dict[str, Any] = {
    "list": "[]",
    "text": '"x"',
    "number": "3",
    "nothing": "",
    "deep": "[" * 100_000,
    "no version": '{"format": "recsys_lib model", "model": "EASE", "params": {}}',
    "version of no number": '{"format": "recsys_lib model", "version": "x", "model": "EASE", "params": {}}',
    "later version": '{"format": "recsys_lib model", "version": 99, "model": "EASE", "params": {}}',
    "model of a path": '{"format": "recsys_lib model", "version": 1, "model": "../../EASE", "params": {}}',
    "model of a module": '{"format": "recsys_lib model", "version": 1, "model": "os.system", "params": {}}',
    "abstract model": '{"format": "recsys_lib model", "version": 1, "model": "Recommender", "params": {}}',
    "parameters in a list": '{"format": "recsys_lib model", "version": 1, "model": "EASE", "params": []}',
    "a device": '{"format": "recsys_lib model", "version": 1, "model": "EASE", "params": {"device": "cuda"}}',
    "bytes": b"{}",
    "tensor": torch.zeros(3),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_foreign_headers(header: Any, saved: Path) -> None:
    refused(lambda: load(changed(saved, header=header)), "model.pt", FileFormatError)


IDS: dict[str, Any] = {
    "too few": torch.arange(3),
    "repeated": torch.zeros(10, dtype=torch.int64),
    "of a table": torch.zeros(10, 1, dtype=torch.int64),
    "infinite": torch.full((10,), float("inf")),
    "no JSON": "x",
    "too deep": "[" * 100_000,
    "lists": json.dumps({"kind": "string", "ids": [[1]] * 10}),
    "mixed": json.dumps({"kind": "integer", "ids": [*range(9), "x"]}),
    "nothing": None,
}


@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_foreign_ids(ids: Any, saved: Path) -> None:
    refused(lambda: load(changed(saved, user_ids=ids)), "model.pt", FileFormatError)


def test_what_is_no_file(tmp_path: Path) -> None:
    refused(lambda: load(tmp_path), "damaged", FileFormatError)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
        refused(lambda: load(tmp_path / "pipe"), "damaged", FileFormatError)


def test_a_link_is_followed_for_reading_and_replaced_for_writing(saved: Path, tmp_path: Path) -> None:
    """A link at the place of a file to write leads nowhere else."""
    precious, link = tmp_path / "precious", tmp_path / "link.pt"
    precious.write_text("keep me")
    link.symlink_to(precious)
    fitted(Popularity).save(link)
    assert precious.read_text() == "keep me"
    assert not link.is_symlink()
    assert load(link).name == "Popularity"


def test_good_files_are_still_read(tmp_path: Path) -> None:
    for family in FAMILIES:
        fitted(family).save(tmp_path / "m.pt")
        loaded = load(tmp_path / "m.pt", device="cpu")
        pd.testing.assert_frame_equal(loaded.recommend(k=3), fitted(family).recommend(k=3))
        (tmp_path / "m.pt").unlink()
        loaded.recommend(k=3)  # nothing of it is left in the file


# ---------------------------------------------------------------------- titles are text

SCRIPT = '<script>alert("x")</script><img src=x onerror=alert(1)>&amp;\'--><!--'


def test_scripts_in_tables_are_text() -> None:
    result = evaluate(fitted(EASE), split(), metrics=["ndcg"])
    named = type(result)(SCRIPT, result.per_user, result.table.assign(metric=SCRIPT), SCRIPT)
    page = named._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;") == 3

    from recsys_lib import compare

    board = compare({SCRIPT: fitted(EASE), "other": fitted(IALS)}, split())
    page = board._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_scripts_among_ids_are_text() -> None:
    x = Interactions.from_arrays([SCRIPT, SCRIPT, "b"], ["a", SCRIPT, "a"])
    page = Popularity(device="cpu").fit(x).recommend(exclude_seen=False)._repr_html_()
    assert "<script" not in page
    assert "<script" in repr(x.user_ids)  # and plain text is left as it is


def test_scripts_in_figures_are_drawn(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    import numpy as np

    from recsys_lib import plots

    ax = plots.heatmap(np.eye(2), [SCRIPT, "$b$"], [SCRIPT, "c"])
    ax.set_title(SCRIPT)
    with matplotlib.rc_context(plots.STYLE):
        ax.get_figure().savefig(tmp_path / "f.svg")
    plt.close("all")
    drawn = (tmp_path / "f.svg").read_text(encoding="utf-8")
    assert "<script" not in drawn
    assert "<img" not in drawn
    import xml.dom.minidom

    assert xml.dom.minidom.parseString(drawn).documentElement.tagName == "svg"


# ---------------------------------------------------------------------- the library itself


def test_no_module_can_unpickle() -> None:
    library = Path(__file__).parents[2] / "recsys_lib"
    for path in sorted(library.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for word in ("import joblib", "import dill", "import marshal", "import shelve", "read_pickle"):
            assert word not in text, path
        assert text.count("torch.load(") == text.count("weights_only=True"), path
        assert "extractall" not in text, path
        assert "shell=True" not in text, path


def test_the_policy_says_what_is_promised() -> None:
    text = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    assert "private advisory in the repository where you got it" in text
    assert "MXNet is retired" in text
    assert "@" not in text
    assert "http" not in text.replace("https,", "")


def test_a_checkpoint_is_checked_like_a_model(tmp_path: Path) -> None:
    path, net = tmp_path / "run.pt", torch.nn.Linear(2, 1)

    def go(resume: bool) -> pd.DataFrame:
        x = torch.ones(4, 2)
        return train(
            net,
            lambda generator: (x[rows] for rows in shuffled(4, 2, generator)),
            lambda net, batch: net(batch).square().mean(),
            TrainingOptions(epochs=2),
            device=torch.device("cpu"),
            checkpoint=path,
            resume=resume,
        )

    go(False)
    contents = torch.load(path, weights_only=True)
    contents["net"]["weight"] = torch.zeros(1).expand(10**11)
    torch.save(contents, path)
    refused(lambda: go(True), "Delete it", FileFormatError)
    assert len(ratings()) > 0
