"""Run the two sides of a case in turn, and compare time, memory and quality."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.cases import Case
from benchmarks.speed.judges import Arrays
from benchmarks.speed.peers import python_of
from benchmarks.speed.work import limits, report
from recsys_lib.splits import Split

REPO = Path(__file__).parents[2]


def measure(case: Case, rounds: int, device: str, with_peer: bool) -> dict[str, Any]:
    """Run the sides in turn, as often as asked, each time in new processes with another seed.

    Returns
    -------
    dict
        Seconds are medians over all rounds, of the epochs or passes without the first of each round, or of
        the whole fits; memory is the largest, and quality the mean of the rounds. ``ours_epochs`` and
        ``peer_epochs`` say how many epochs a whole fit took in the mean. Where the work of a unit is known,
        there is more: see :func:`benchmarks.speed.work.report`.
    """
    split = case.data()
    arrays = case.arrays(split)
    ours = [sys.executable, "-m", f"benchmarks.speed.sides.{case.ours}"]
    sides = {"ours": ours}
    if with_peer:
        sides["peer"] = [str(python_of(case.peer)), str(case.peer_file)]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _write_data(folder, split, arrays)
        for number in range(rounds):
            settings = case.settings | {"seed": number, "device": device}
            (folder / "settings.json").write_text(json.dumps(settings))
            for side, command in sides.items():
                result = _run([*command, str(folder)])
                lists = np.load(folder / "lists.npy")
                runs[side].append(result | {"quality": case.judge.value(lists, split, arrays)})
    found: dict[str, Any] = {
        **{"case": case.name, "peer": case.peer.name, "device": device},
        **{"unit": case.unit, "quality": case.judge.name},
    }
    for side, all_of in runs.items():
        parts = [second for run in all_of for second in run["seconds"][1:] or run["seconds"]]
        found[f"{side}_s"] = statistics.median(parts)
        found[f"{side}_quality"] = statistics.fmean(run["quality"] for run in all_of)
        found[f"{side}_rss_mb"] = max(run["rss_mb"] for run in all_of)
        if all("epochs" in run for run in all_of):
            found[f"{side}_epochs"] = statistics.fmean(run["epochs"] for run in all_of)
    if with_peer:
        found["ratio"] = found["peer_s"] / found["ours_s"]
    if case.work is not None:
        found |= report(case.work(split), found["ours_s"], limits(device))
    return found


def _write_data(folder: Path, split: Split, arrays: Arrays) -> None:
    train = split.train.to_csr()
    parts = {"indptr": train.indptr, "items": train.indices, "n_items": np.int64(train.shape[1])}
    if split.valid is not None:
        valid = split.valid.to_csr()
        parts |= {"valid_indptr": valid.indptr, "valid_items": valid.indices}
    np.savez(folder / "data.npz", **parts, **arrays)


def _run(command: Sequence[str]) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": str(REPO), "CI": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPO, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
