"""Work that is killed goes on and ends as if nobody had disturbed it. See :mod:`tests.hardening.kills`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if not hasattr(os, "fork"):
    pytest.skip("this system cannot fork a process", allow_module_level=True)

from tests.hardening.scenes import MAKE, duckdb

ROOT = Path(__file__).parents[2]
WORK = [*MAKE, "save", "data set", *(["convert"] if duckdb else []), "data set, 3 at once"]
KILLS = 12


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.hardening.kills", "--times", str(KILLS), "--seed", "1", "--json"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CI": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return {row["scene"]: row for row in json.loads(done.stdout)}


def test_all_work_was_killed(rows: dict[str, dict[str, Any]]) -> None:
    assert [*rows][:-1] == WORK
    assert sum(rows[name]["kills"] for name in WORK) == KILLS


@pytest.mark.parametrize("name", WORK)
def test_what_is_killed_goes_on_and_ends_the_same(rows: dict[str, dict[str, Any]], name: str) -> None:
    assert rows[name]["kills"] >= 1
    assert rows[name]["ends"] >= 1
    assert rows[name]["faults"] == 0, rows[name]["first_fault"]


def test_the_check_can_fail(rows: dict[str, dict[str, Any]]) -> None:
    control = rows["careless (control)"]
    assert control["faults"] >= 1
    assert "half a file" in control["first_fault"]
