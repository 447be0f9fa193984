"""The sides of the speed suite on tiny data. Those of the peers are read only: nothing is installed."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.speed import measure as measuring
from benchmarks.speed import scaling
from benchmarks.speed.cases import CASES, Case, data
from benchmarks.speed.judges import AGREEMENT, NDCG
from benchmarks.speed.peers import RECODER
from benchmarks.speed.sides import common
from recsys_lib import datasets, splits
from recsys_lib.evaluation import evaluate
from recsys_lib.models import EASE, IALS, Popularity
from recsys_lib.splits import Split

SIDES = Path(common.__file__).parent
# What the lists of this library and of the plain readings find by chance, or by what is popular, is less.
GOOD = 0.2


@pytest.fixture(autouse=True)
def same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides that run on their own put their folder into the path."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def small(valid: float = 0.0) -> Split:
    whole = datasets.synthetic(120, 60, 2_400, popularity_skew=0.3, taste=2.0, seed=0)
    return splits.random_holdout(whole, 0.2, valid, by="user", seed=0)


def run(case: Case, module: str, split: Split, folder: Path, **changes: Any) -> tuple[dict[str, Any], float]:
    """Run a side in this process; return what it said and how good its lists are."""
    arrays = case.arrays(split)
    measuring._write_data(folder, split, arrays)
    settings = case.settings | {"seed": 0, "device": "cpu"} | changes
    (folder / "settings.json").write_text(json.dumps(settings))
    said: list[str] = []
    side: Any = importlib.import_module(f"benchmarks.speed.sides.{module}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", said.append)
        side.main(folder)
    lists = np.load(folder / "lists.npy")
    assert lists.shape == (split.train.n_users, 10)
    known = common.known_of(common.read(folder)[1])
    assert not any(known[user, item] for user, row in enumerate(lists) for item in row if item >= 0)
    return json.loads(said[-1]), case.judge.value(lists, split, arrays)


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("neumf-ml-100k", {"factors": 8, "batch_size": 128, "learning_rate": 0.02, "epochs": 10}),
        ("bpr-ml-100k", {"factors": 8, "batch_size": 64, "learning_rate": 0.02, "epochs": 20}),
        ("bpr-1m", {"factors": 8, "batch_size": 64, "learning_rate": 0.02, "epochs": 10}),
        ("als-1m", {"factors": 8, "l2": 0.1}),
        ("ease-1m", {"l2": 20.0}),
        ("multdae-ml-100k", {"layers": (32, 16), "batch_size": 20, "learning_rate": 0.005}),
        ("multvae-ml-100k", {"layers": (32,), "factors": 16, "batch_size": 20, "learning_rate": 0.005}),
    ],
)
def test_our_models(name: str, smaller: dict[str, Any], tmp_path: Path) -> None:
    case = CASES[name]
    split = small(0.1 if case.data is data.ml_100k_in_three else 0.0)
    said, quality = run(case, case.ours, split, tmp_path, ours=case.settings["ours"] | smaller)
    assert len(said["seconds"]) == 1
    assert quality > GOOD
    if name.startswith("ease"):
        assert "epochs" not in said
        whole = evaluate(EASE(l2=20.0, device="cpu").fit(split.train), split, 10, metrics=["ndcg"])
        assert quality == pytest.approx(whole["ndcg@10"])
    else:
        # The clock does not stop before the fit does.
        assert 1 <= said["epochs"] <= (case.settings["ours"] | smaller)["epochs"]


@pytest.mark.parametrize("name", ["prog-eval-20m", "prog-eval-20m-batch"])
def test_the_network_of_prog_eval_and_its_plain_reading(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    assert case.settings["decode"] == ("batch" if name.endswith("batch") else "all")
    qualities = []
    for module in (case.ours, case.peer_file.stem):
        said, quality = run(case, module, small(), tmp_path, epochs=10, batch_size=16)
        assert len(said["seconds"]) == 10
        qualities.append(quality)
    assert min(qualities) > GOOD
    assert abs(qualities[0] - qualities[1]) < 0.12


def test_neumf_and_its_plain_reading(tmp_path: Path) -> None:
    case = CASES["neumf-samples"]
    qualities = []
    for side, module in (("ours", case.ours), ("theirs", case.peer_file.stem)):
        chosen = case.settings[side] | {"epochs": 8, "learning_rate": 0.01}
        said, quality = run(case, module, small(), tmp_path, **{side: chosen})
        assert len(said["seconds"]) == 8
        qualities.append(quality)
    assert min(qualities) > GOOD
    assert abs(qualities[0] - qualities[1]) < 0.1


def test_a_step_has_as_many_samples_on_both_sides() -> None:
    ours, theirs = (CASES["neumf-samples"].settings[side] for side in ("ours", "theirs"))
    assert ours["negatives"] == theirs["negatives"]
    assert 0 <= theirs["batch_size"] - ours["batch_size"] * (1 + ours["negatives"]) < 1 + ours["negatives"]


@pytest.mark.skipif(importlib.util.find_spec("mxnet") is None, reason="MXNet is not installed")
def test_neumf_in_mxnet_and_plain_gluon() -> None:
    case = CASES["neumf-mxnet"]
    smaller = case.settings | {"epochs": 6, "batch_size": 200, "learning_rate": 0.03}
    found = measuring.measure(replace(case, data=small, settings=smaller), 1, "cpu", True)
    assert min(found["ours_quality"], found["peer_quality"]) > GOOD
    assert abs(found["ours_quality"] - found["peer_quality"]) < 0.1


@pytest.mark.parametrize("module", ["ranking_ours", "ranking_numpy"])
def test_ranking_by_given_factors(module: str, tmp_path: Path) -> None:
    said, right = run(CASES["ranking-20m"], module, small(), tmp_path, passes=3)
    assert len(said["seconds"]) == 3
    assert right == 1.0


def test_lists_that_are_wrong_are_seen(tmp_path: Path) -> None:
    split = small()
    arrays = CASES["ranking-1m"].arrays(split)
    lists = common.best_ten(
        lambda users: arrays["user_factors"][users] @ arrays["item_factors"].T, split.train.to_csr()
    )
    assert AGREEMENT.value(lists, split, arrays) == 1.0
    lists[:, 9] = -1
    assert AGREEMENT.value(lists, split, arrays) == pytest.approx(0.9)
    assert NDCG.value(np.full_like(lists, -1), split, {}) == 0.0


def test_negatives_of_the_plain_sides() -> None:
    seen = small().train.to_csr()
    seen.sort_indices()
    users, items, labels = common.draw_epoch(seen, 4, np.random.default_rng(0))
    assert len(users) == len(items) == len(labels) == 5 * seen.nnz
    assert np.array_equal(np.asarray(seen[users, items])[0] > 0, labels > 0)
    assert np.array_equal(np.bincount(users), 5 * np.diff(seen.indptr))


def test_both_sides_of_als_minimise_the_same_sum() -> None:
    ours, theirs = CASES["als-20m"].settings["ours"], CASES["als-20m"].settings["theirs"]["settings"]
    assert (ours["factors"], ours["epochs"]) == (theirs["factors"], theirs["iterations"])
    a, l2, c, penalty = ours["unobserved_weight"], ours["l2"], theirs["alpha"], theirs["regularization"]
    random = np.random.default_rng(0)
    has = random.random((7, 5)) < 0.4

    def our_sum(p: np.ndarray, q: np.ndarray) -> float:
        s = p @ q.T
        return (has * (1 - s) ** 2 + a * s**2).sum() + l2 * ((p**2).sum() + (q**2).sum())

    def their_sum(p: np.ndarray, q: np.ndarray) -> float:
        s = p @ q.T
        return np.where(has, c * (1 - s) ** 2, s**2).sum() + penalty * ((p**2).sum() + (q**2).sum())

    shrunk = (1 + a) ** -0.5
    differences = []
    for _ in range(3):
        p, q = random.normal(size=(7, 2)), random.normal(size=(5, 2))
        differences.append(our_sum(shrunk * p, shrunk * q) - a / (1 + a) ** 2 * their_sum(p, q))
    assert np.allclose(differences, differences[0])


def test_the_peak_of_memory_is_that_of_the_process_alone() -> None:
    """Not that of the process that started it, and with what is free again."""
    room = np.ones(2**25)  # 256 MiB
    code = "import numpy as np; np.ones(2**23); from common import peak_memory; print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], cwd=SIDES, capture_output=True, text=True, check=True)
    assert 64 < float(done.stdout) < 250
    assert common.peak_memory() > room.nbytes / 2**20


def _roots(file: Path) -> set[str]:
    """Return what a file imports, the first part of each name."""
    code = file.read_text()
    compile(code, str(file), "exec")
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).split(".")[0])
    return found - sys.stdlib_module_names


@pytest.mark.parametrize("name", CASES)
def test_a_peer_imports_only_what_its_environment_has(name: str) -> None:
    peer = CASES[name].peer
    named = {re.split("[=<>]", package)[0] for package in (*peer.packages, *peer.alone)}
    if peer == RECODER:
        named.add("recoder")
    if not peer.packages:
        named = {"numpy", "scipy", "torch", "mxnet"}
    seen, todo = set(), [CASES[name].peer_file]
    while todo:
        for root in _roots(todo.pop()):
            if root not in seen and (SIDES / f"{root}.py").is_file():
                todo.append(SIDES / f"{root}.py")
            elif root not in seen:
                assert root in named
            seen.add(root)
    assert "common" in seen


def test_the_peers_have_pins() -> None:
    wanted = Path("requirements.txt").read_text()
    for case in CASES.values():
        for package in case.peer.packages:
            if package.startswith("torch=="):
                assert package in wanted.split()


def test_the_slope_of_a_cost() -> None:
    sizes = [10.0, 100.0, 1_000.0, 10_000.0]
    # The small sizes, where something else costs the most, do not count.
    assert scaling.slope_of(sizes, [5.0, 5.0, 2e3, 2e5]) == pytest.approx(2.0)
    assert scaling.slope_of(sizes[:2], [3.0, 30.0]) == pytest.approx(1.0)


def test_scaling_is_measured_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        scaling, "MODELS", {"iALS": lambda: IALS(factors=4, epochs=2), "Popularity": Popularity}
    )
    file, picture = tmp_path / "seconds.json", tmp_path / "picture.png"
    scaling.main(["--most", "10000", "--json", str(file), "--out", str(picture)])
    rows = json.loads(file.read_text())
    assert {(row["axis"], row["size"]) for row in rows} == {
        *(("interactions", 10_000), ("users", 200), ("items", 500), ("items", 1_000)),
    }
    assert {row["model"] for row in rows} == {"iALS", "Popularity"}
    assert all(row["seconds"] > 0 for row in rows)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(capsys.readouterr().out.splitlines()) == len(rows) == 8


def test_scaling_needs_some_interactions(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        scaling.main(["--most", "100"])
    assert "--most must be at least 10,000" in capsys.readouterr().err


@pytest.mark.parametrize("most", [10_000, 1_000_000, 20_000_000])
def test_what_grows_stays_sparse(most: int) -> None:
    for axis in scaling.axes(most):
        assert list(axis.sizes) == sorted(axis.sizes)
        for n_users, n_items, n in map(axis.shape, axis.sizes):
            assert n_users <= n <= most  # everybody has something
            assert n <= 0.25 * n_users * n_items
