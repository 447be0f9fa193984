"""The rows of the matrix are what pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools import matrix

PROJECT = tomllib.loads((matrix.REPO / "pyproject.toml").read_text())["project"]
ROWS = {row.name: row for row in matrix.ROWS}


def test_the_oldest_row_has_the_lower_bounds() -> None:
    bounds = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["plots"]]
    expected = {re.sub(r">=([\d.]+)", r"==\1.*", bound) for bound in bounds}
    assert set(ROWS["oldest"].requirements) == expected


def test_every_python_that_is_named_has_a_row() -> None:
    names = [c.rsplit(" :: ", 1)[1] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", c)]
    assert {row.python for row in matrix.ROWS} == {f"python{name}" for name in names}


def test_extras_are_those_of_the_project() -> None:
    for row in matrix.ROWS:
        assert set(row.extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_what_is_left_out_is_there() -> None:
    assert all((matrix.REPO / one).exists() for one in matrix.LEFT_OUT)


def test_a_missing_python_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = matrix.Row("nowhere", "python9.99")
    monkeypatch.setattr(matrix, "ROWS", (nowhere,))
    with pytest.raises(SystemExit) as end:
        matrix.main([])
    assert not end.value.code
    assert "nowhere: left out, python9.99 is not on this machine" in capsys.readouterr().out


def test_a_failing_row_ends_with_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "ROWS", (ROWS["numpy-2"],))
    monkeypatch.setattr(matrix, "environment", lambda row: tmp_path)
    monkeypatch.setattr(matrix, "versions", lambda python: "Python 3")
    monkeypatch.setattr(matrix, "run_tests", lambda row, python, arguments: 1)
    with pytest.raises(SystemExit) as end:
        matrix.main(["numpy-2"])
    assert end.value.code
    assert "numpy-2: FAILED (pytest ended with 1)" in capsys.readouterr().out
