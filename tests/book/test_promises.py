"""The page of promises names tests that exist, and counts them."""

from __future__ import annotations

import json

import pytest

from tools import promises, suite
from tools.layout import REPO, BuildError


def test_the_page_has_a_row_for_each_promise():
    text = (REPO / "book/promises.md").read_text(encoding="utf-8")
    page = promises.with_promises(text)
    assert promises.MARKER in text
    assert promises.MARKER not in page
    assert page.count('<th scope="row">') == len(promises.PROMISES)
    assert all(file.removeprefix("tests/") in page for one in promises.PROMISES for file in one.files)


def test_functions_are_counted(tmp_path):
    file = tmp_path / "test_x.py"
    file.write_text("def test_a(): ...\n\ndef helper(): ...\n\nclass TestB:\n    def test_b(self): ...\n")
    assert promises.n_tests(file) == 2


def test_a_promise_without_tests_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(
        promises, "PROMISES", (promises.Promise("Air", "There is some.", ("tests/gone.py",)),)
    )
    with pytest.raises(BuildError, match=r"tests/gone\.py"):
        promises.promises(tmp_path)


def test_every_file_of_the_hardening_suite_is_named():
    named = {file for one in promises.PROMISES for file in one.files}
    files = {path.relative_to(REPO).as_posix() for path in (REPO / "tests/hardening").glob("test_*.py")}
    assert files <= named


def test_what_the_longer_checks_found_is_kept_and_said(tmp_path):
    file = tmp_path / "suite.json"
    suite.record("coverage", file, percent=97.25)
    suite.record("mutants", file, made=2000, noticed=1)
    suite.record("mutants", file, made=2000, noticed=1900)
    said = suite.sentences(file)
    assert "97.2% were gone through" in said
    assert "noticed 1,900 of 2,000, which is 95.0%" in said
    assert set(json.loads(file.read_text())) == {"coverage", "mutants"}


def test_the_page_says_what_was_found_last():
    text = (REPO / "book/promises.md").read_text(encoding="utf-8")
    page = suite.with_suite(text)
    assert suite.MARKER in text
    assert suite.MARKER not in page
    assert suite.with_suite("text") == "text"
