"""A build that is killed (SIGKILL) anywhere goes on where it was, and ends with the same pages.

The builds are forks of this process, killed just before one of their operations on files. Stand-ins run the
notebooks and render the pages of a small book.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools import build_book, children, execute, mathjax
from tools.layout import REPO, Chapter, Layout, read_record

if not hasattr(os, "fork"):
    pytest.skip("this system cannot fork a process", allow_module_level=True)

from tests.hardening.forks import end_of, fork

v4 = nbformat.v4
CHAPTERS = [Chapter(f"book/chapters/{name}") for name in ("01_a", "02_b")]
# Every so many of the operations, to take seconds; KILL_EVERY=1 is all of them.
STEP = int(os.environ.get("KILL_EVERY", "7"))
OPERATIONS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}


def make_root(root: Path) -> Layout:
    (root / "book" / "chapters").mkdir(parents=True)
    (root / "recsys_lib").mkdir()
    (root / "tools").mkdir()
    for name in ("execute.py", "without_running.py"):
        shutil.copy(REPO / "tools" / name, root / "tools")
    shutil.copy(REPO / "_config.yml", root)
    (root / "requirements.txt").write_text("numpy\n")
    (root / "book" / "intro.md").write_text("# Intro\n")
    toc = "".join(f"  - file: {chapter.doc}\n" for chapter in CHAPTERS)
    (root / "_toc.yml").write_text(f"root: book/intro\nparts:\n- caption: One\n  chapters:\n{toc}")
    for chapter in CHAPTERS:
        write_notebook(root, chapter, "x = 1")
    return Layout(root)


def write_notebook(root: Path, chapter: Chapter, code: str) -> None:
    cells = [v4.new_markdown_cell("# A", id="t"), v4.new_code_cell(code, id="c")]
    nbformat.write(v4.new_notebook(cells=cells), chapter.notebook(root))


def run_notebook(
    source: Path, target: Path, layout: Layout, parameters: Mapping[str, Any], jobs: int = 1
) -> bool:
    """Stand in for :func:`tools.execute.run`."""
    with (layout.root / "runs.log").open("a") as log:
        log.write(f"{source.stem}\n")
    folder = execute.working_folder(layout, target.stem)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / execute.FOR_PAGES).mkdir(parents=True)
    code = source.read_text()
    (folder / execute.FOR_PAGES / f"{source.stem}.txt").write_text(code)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(code)
    return True


def make_pages(command: list[str], **options: Any) -> int:
    """Stand in for jupyter-book."""
    source, html = Path(command[4]), Path(command[6]) / "_build" / "html"
    with (options["cwd"] / "runs.log").open("a") as log:
        log.write("pages\n")
    for path in sorted(source.rglob("*.[imt]*")):
        page = html / path.relative_to(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_bytes(path.read_bytes())
    (html / "index.html").write_text("the first page")
    return 0


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_book, "DATASETS", ())
    monkeypatch.setattr(mathjax, "ensure", lambda folder: False)
    monkeypatch.setattr(execute, "run", run_notebook)
    monkeypatch.setattr(children, "run", make_pages)


def build(layout: Layout, *arguments: str, kill_at: int = 0) -> bool:
    """Build in a child; tell whether it was killed."""
    count = 0

    def watch(event: str, what: tuple[Any, ...]) -> None:
        nonlocal count
        if event in OPERATIONS:
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    with warnings.catch_warnings():
        # Newer versions of Python fear the threads of other tests; this child does nothing with them.
        warnings.simplefilter("ignore", DeprecationWarning)
        return end_of(fork(lambda: build_book.make_book(build_book.parse([*arguments]), layout), watch=watch))


def pages(layout: Layout) -> dict[str, bytes]:
    found = (path for path in layout.html.rglob("*") if path.is_file())
    return {path.relative_to(layout.html).as_posix(): path.read_bytes() for path in found}


def runs(layout: Layout) -> list[str]:
    log = layout.root / "runs.log"
    return log.read_text().split() if log.exists() else []


def finished(layout: Layout) -> set[str]:
    return {chapter.name for chapter in CHAPTERS if build_book.is_executed(chapter, layout, {})}


def goes_on(layout: Layout) -> None:
    """Build to the end; nothing that was finished is done again."""
    before, n_runs = finished(layout), len(runs(layout))
    assert not build(layout)
    assert not before & set(runs(layout)[n_runs:])
    assert finished(layout) == {chapter.name for chapter in CHAPTERS}
    assert not list(layout.run.rglob("*.part"))


def test_the_first_build_may_be_killed_anywhere(tmp_path: Path) -> None:
    whole = make_root(tmp_path / "whole")
    goes_on(whole)
    assert runs(whole) == ["01_a", "02_b", "pages"]
    assert len(pages(whole)) >= 6
    left_over = set()
    for at in range(1, 200, STEP):
        layout = make_root(tmp_path / f"killed {at}")
        if not build(layout, kill_at=at):
            break
        left_over.add(len(finished(layout)))
        goes_on(layout)
        assert pages(layout) == pages(whole)
    assert at > 25
    assert left_over == {0, 1, 2}


@pytest.mark.parametrize("then", ["x = 2", "x = 1"], ids=["go on", "go back"])
def test_a_later_build_may_be_killed_anywhere(tmp_path: Path, then: str) -> None:
    """Also when the sources are put back afterwards: no record vouches for what was half replaced."""
    whole, layout = make_root(tmp_path / "whole"), make_root(tmp_path / "old")
    goes_on(layout)
    write_notebook(whole.root, CHAPTERS[0], then)
    goes_on(whole)
    for at in range(1, 200, STEP):
        killed = Layout(tmp_path / f"killed {at}")
        shutil.copytree(layout.root, killed.root)
        write_notebook(killed.root, CHAPTERS[0], "x = 2")
        if not build(killed, kill_at=at):
            break
        write_notebook(killed.root, CHAPTERS[0], then)
        goes_on(killed)
        assert pages(killed) == pages(whole)
    assert at > 15


def test_one_chapter_can_be_made_although_another_was_interrupted(tmp_path: Path) -> None:
    layout = make_root(tmp_path / "book")
    goes_on(layout)
    CHAPTERS[1].record(layout.executed).unlink()  # killed before it was written
    assert not build(layout, "--chapter", "01")
    assert runs(layout) == ["01_a", "02_b", "pages", "01_a", "02_b"]
    assert read_record(CHAPTERS[1].record(layout.executed))


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_no_child_goes_on_after_its_parent(sign: signal.Signals) -> None:
    child = (
        "from tools.children import end_with_parent; end_with_parent()\n"
        "import time; print('here', flush=True); time.sleep(60)"
    )
    parent = f"import sys; from tools.children import run; run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], cwd=REPO, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        begin = time.monotonic()
        process.send_signal(sign)
        # The output is at its end when the last process that writes to it is gone.
        assert process.stdout.read() == b""
        assert time.monotonic() - begin < 30


def test_the_children_of_a_build_end_with_it() -> None:
    assert build_book.JUPYTER_BOOK.index("end_with_parent()") < build_book.JUPYTER_BOOK.index("jupyter_book")
    assert "--with-parent" in Path(execute.__file__).read_text()
