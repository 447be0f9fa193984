"""The build's own decisions: what runs again, what a page shows, what a failure says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml

from tools import build_book, execute, make_env, mathjax
from tools.fingerprints import chapter_fingerprint
from tools.layout import REPO, BuildError, Chapter, Layout, read_record, read_toc, write_atomically
from tools.postprocess import for_the_page

v4 = nbformat.v4


@pytest.fixture
def layout(tmp_path):
    """A small repository with one chapter, in a folder whose name has a space."""
    root = tmp_path / "my book"
    (root / "book" / "chapters").mkdir(parents=True)
    (root / "recsys_lib").mkdir()
    (root / "recsys_lib" / "metrics.py").write_text("x = 1\n")
    (root / "requirements.txt").write_text("numpy\n")
    (root / "book" / "intro.md").write_text("# Intro\n")
    (root / "_toc.yml").write_text(
        "root: book/intro\nparts:\n- caption: One\n  chapters:\n  - file: book/chapters/01_a\n"
    )
    shutil.copytree(REPO / "tools", root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "_config.yml", root)
    write_notebook(root, "x = epochs")
    return Layout(root)


def write_notebook(root, *sources):
    cells = [
        v4.new_markdown_cell("# A\n\n<!-- run-time -->", id="title"),
        v4.new_code_cell("epochs = 1", id="settings", metadata={"tags": ["parameters"]}),
        *(v4.new_code_cell(source, id=f"code-{n}") for n, source in enumerate(sources)),
    ]
    nbformat.write(v4.new_notebook(cells=cells), root / "book" / "chapters" / "01_a.ipynb")


CHAPTER = Chapter("book/chapters/01_a")


def edit_library(layout):
    (layout.root / "recsys_lib" / "metrics.py").write_text("x = 2\n")


def add_module(layout):
    (layout.root / "recsys_lib" / "new.py").write_text("")


def edit_requirements(layout):
    (layout.root / "requirements.txt").write_text("numpy==2\n")


def edit_notebook(layout):
    write_notebook(layout.root, "x = 2 * epochs")


@pytest.mark.parametrize("change", [edit_library, add_module, edit_requirements, edit_notebook])
def test_a_change_that_matters_changes_the_fingerprint(layout, change):
    before = chapter_fingerprint(CHAPTER, layout, {})
    change(layout)
    assert chapter_fingerprint(CHAPTER, layout, {}) != before


def test_parameters_change_the_fingerprint(layout):
    assert chapter_fingerprint(CHAPTER, layout, {"epochs": 3}) != chapter_fingerprint(CHAPTER, layout, {})


def test_other_changes_do_not(layout):
    before = chapter_fingerprint(CHAPTER, layout, {})
    cache = layout.root / "recsys_lib" / "__pycache__"
    cache.mkdir()
    (cache / "metrics.pyc").write_bytes(b"x")
    (layout.root / "book" / "intro.md").write_text("# Another intro\n")
    (layout.root / "recsys_lib" / "metrics.py").touch()
    assert chapter_fingerprint(CHAPTER, layout, {}) == before


def executed_by_hand(layout):
    """Leave what a successful run leaves, without running anything."""
    notebook = nbformat.read(CHAPTER.notebook(layout.root), as_version=4)
    target = CHAPTER.notebook(layout.executed)
    target.parent.mkdir(parents=True)
    nbformat.write(notebook, target)
    record = {"fingerprint": chapter_fingerprint(CHAPTER, layout, {}), "seconds": 7.3, "cores": 2}
    write_atomically(CHAPTER.record(layout.executed), json.dumps({**record, "parameters": {}}))


def test_a_chapter_runs_again_only_when_it_must(layout):
    assert not build_book.is_executed(CHAPTER, layout, {})
    executed_by_hand(layout)
    assert build_book.is_executed(CHAPTER, layout, {})
    assert not build_book.is_executed(CHAPTER, layout, {"epochs": 2})
    CHAPTER.record(layout.executed).write_text('{"fingerprint": "cut o')
    assert not build_book.is_executed(CHAPTER, layout, {})


def test_the_toc_gives_pages_and_chapters(layout):
    assert read_toc(layout) == (["book/intro", "book/chapters/01_a"], [CHAPTER])
    (layout.root / "book" / "intro.md").unlink()
    with pytest.raises(BuildError, match="book/intro"):
        read_toc(layout)


def test_staging_mirrors_the_sources(layout, monkeypatch):
    monkeypatch.setattr(mathjax, "ensure", lambda folder: True)
    executed_by_hand(layout)
    (layout.root / "book" / "draft.md").write_text("# Not in the toc\n")
    files = build_book.staged_files(["book/intro", CHAPTER.doc], [CHAPTER], layout)
    assert set(files) == {"_toc.yml", "_config.yml", "book/intro.md", "book/chapters/01_a.ipynb"}
    assert b"Run time on this machine: 7 s (2 CPU cores)" in files["book/chapters/01_a.ipynb"]
    (layout.source / "book").mkdir(parents=True)
    (layout.source / "book" / "old.md").write_text("# Gone\n")
    build_book.stage(files, layout)
    staged = {p.relative_to(layout.source).as_posix() for p in layout.source.rglob("*") if p.is_file()}
    assert staged == set(files)


@pytest.mark.parametrize("url", ["", "https://example.org/us/book"])
def test_buttons_appear_with_the_address_they_lead_to(layout, monkeypatch, url):
    monkeypatch.setattr(mathjax, "ensure", lambda folder: False)
    path = layout.root / "_config.yml"
    config = yaml.safe_load(path.read_text())
    config["repository"]["url"] = url
    path.write_text(yaml.safe_dump(config))
    staged = yaml.safe_load(build_book.staged_config(layout))
    assert staged["html"]["use_repository_button"] is bool(url)
    assert ("colab_url" in staged["launch_buttons"]) is bool(url)
    assert "mathjax_path" not in staged["sphinx"]["config"]


def test_the_page_shows_no_trace_of_papermill():
    notebook = v4.new_notebook(
        metadata={"papermill": {"duration": 1}},
        cells=[
            v4.new_markdown_cell("# A\n<!-- run-time -->", metadata={"tags": [], "papermill": {}}, id="a"),
            v4.new_code_cell("epochs = 1", metadata={"tags": ["parameters"]}, id="b"),
            v4.new_code_cell("epochs = 9", metadata={"tags": ["injected-parameters"]}, id="8c1f"),
            v4.new_markdown_cell("<!-- run-time --> stays here", id="c"),
        ],
    )
    page = for_the_page(notebook, seconds=0.2, cores=1)
    assert "papermill" not in json.dumps(page)
    assert [cell.id for cell in page.cells] == ["a", "b", "injected-parameters", "c"]
    assert [cell.metadata.get("tags") for cell in page.cells] == [
        None,
        ["parameters"],
        ["injected-parameters", "remove-cell"],
        None,
    ]
    assert page.cells[0].source == "# A\nRun time on this machine: 1 s (1 CPU core)"
    assert page.cells[3].source == "<!-- run-time --> stays here"
    assert "papermill" in notebook.metadata, "the executed copy must stay as it is"


def test_a_failing_chapter_is_reported_and_the_next_run_goes_on(layout, monkeypatch):
    monkeypatch.setattr(build_book, "DATASETS", ())
    write_notebook(layout.root, "y = epochs + 1", "\n# the cause\nraise ValueError('no such film')", "z = 3")
    with pytest.raises(BuildError) as caught:
        build_book.execute_chapters([CHAPTER], layout, {})
    message = str(caught.value)
    assert "01_a" in message
    assert "cell 4 of 5: # the cause" in message
    assert "ValueError: no such film" in message
    partial = layout.partial / "01_a.ipynb"
    assert str(partial) in message
    assert any(cell.get("execution_count") for cell in nbformat.read(partial, as_version=4).cells)
    assert not CHAPTER.record(layout.executed).exists()

    write_notebook(layout.root, "import sys\nprint(epochs, sys.executable)")
    build_book.execute_chapters([CHAPTER], layout, {"epochs": 5})
    executed = nbformat.read(CHAPTER.notebook(layout.executed), as_version=4)
    printed = executed.cells[-1].outputs[0].text.split(maxsplit=1)
    assert printed[0] == "5"
    assert printed[1].strip() == sys.executable, "the notebook must run with the interpreter of .venv"
    assert read_record(CHAPTER.record(layout.executed))["parameters"] == {"epochs": 5}
    assert not partial.exists()


def test_a_process_that_dies_is_reported(tmp_path):
    partial = tmp_path / "01_a.ipynb"
    partial.with_suffix(".log").write_text("Traceback\nOSError: disk full\n")
    assert "did not start: OSError: disk full" in execute.failure_report(partial)
    cell = v4.new_code_cell("while True: pass", metadata={"papermill": {"status": "running"}})
    nbformat.write(v4.new_notebook(cells=[cell]), partial)
    partial.with_suffix(".log").write_text("nbclient.exceptions.CellTimeoutError: too slow\n")
    report = execute.failure_report(partial)
    assert "cell 1 of 1: while True: pass" in report
    assert "too slow" in report


def test_two_builds_at_once_are_refused(layout, monkeypatch, capsys):
    monkeypatch.setattr(build_book, "Layout", lambda: layout)
    monkeypatch.setattr(build_book, "make_book", lambda args, layout: built.append(1))
    built = []
    with build_book.alone(layout):
        assert build_book.main([]) == 1
    assert "another `make book` is at work" in capsys.readouterr().err
    assert not built
    assert build_book.main([]) == 0
    assert built


def test_unknown_parameters_and_chapters_are_refused(layout):
    with pytest.raises(BuildError, match="no parameter 'epoch'; it has: epochs"):
        execute.check_parameters(CHAPTER.notebook(layout.root), {"epoch": 3})
    assert build_book.pick("01", [CHAPTER]) == [CHAPTER]
    with pytest.raises(BuildError, match="the chapters are: 01_a"):
        build_book.pick("07", [CHAPTER])


def test_a_failed_rendering_names_the_warnings(layout):
    log = f"reading sources\n{layout.source}/book/intro.md:3: WARNING: unknown document\ndone\n"
    report = build_book.render_report(log, layout)
    assert "  book/intro.md:3: WARNING: unknown document" in report
    assert "reading sources" not in report


def test_atomic_writing_leaves_no_parts(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]
    assert path.read_text() == "new"


def test_the_environment_is_stale_when_its_inputs_or_its_place_change(tmp_path):
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_text("")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert not make_env.is_current(tmp_path)
    (tmp_path / ".venv" / ".stamp").write_text(make_env.wanted_stamp(tmp_path) + "\n")
    assert make_env.is_current(tmp_path)
    (tmp_path / "requirements.txt").write_text("numpy==2\n")
    assert not make_env.is_current(tmp_path)
    assert make_env.wanted_stamp(tmp_path / "elsewhere") != make_env.wanted_stamp(tmp_path)
    assert not make_env.is_usable(python)


def test_a_changed_mathjax_is_refused(tmp_path, monkeypatch, capsys):
    def fake(command, **options):
        folder = options.get("cwd") or command[command.index("--dest") + 1]
        for name in (f"mathjax-{mathjax.VERSION}.tgz", "sphinx_mathjax_offline-0.0.2-py3-none-any.whl"):
            with open(f"{folder}/{name}", "wb") as stream:
                stream.write(b"another file")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(mathjax.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(mathjax.subprocess, "run", fake)
    assert not mathjax.ensure(tmp_path / "mathjax")
    assert not (tmp_path / "mathjax").exists()
    printed = capsys.readouterr().out
    assert "sha512" in printed
    assert "sha256" in printed
    assert "need a network" in printed


def test_the_sphinx_extension_knows_names_by_import():
    from recsys_lib.interactions import Interactions
    from tools.book_sphinx import named

    assert named("recsys_lib.Interactions") is Interactions
    assert named("recsys_lib.interactions.Interactions.compact") == Interactions.compact
    assert named("recsys_lib.nothing.at.all") is None
    assert named("no_such_package.thing") is None


def test_a_chapter_whose_package_is_missing_is_shown_without_running(layout):
    path = CHAPTER.notebook(layout.root)
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["requires"] = ["no_such_package"]
    notebook.cells.append(v4.new_markdown_cell("It took {glue:text}`a_time:.1f` s.", id="text"))
    nbformat.write(notebook, path)
    assert build_book.execute_chapter(CHAPTER, layout, {}) is None
    assert build_book.is_executed(CHAPTER, layout, {})
    record = read_record(CHAPTER.record(layout.executed))
    assert record["seconds"] is None
    page = for_the_page(nbformat.read(CHAPTER.notebook(layout.executed), as_version=4), seconds=None, cores=0)
    assert "Not run on this machine" in page.cells[0].source
    assert "no_such_package" in page.cells[1].source
    assert page.cells[-1].source == "It took (not run) s."
    assert not any(cell.get("outputs") for cell in page.cells)
    # Once the package is there, the chapter is run.
    notebook.metadata["requires"] = ["json"]
    nbformat.write(notebook, path)
    assert not build_book.is_executed(CHAPTER, layout, {})


def test_the_reference_of_what_is_missing_may_be_absent(layout, monkeypatch):
    for ignored in (False, True):
        monkeypatch.setattr(build_book, "is_missing", lambda name, ignored=ignored: ignored)
        config = yaml.safe_load(build_book.staged_config(layout))
        patterns = config["sphinx"]["config"]["nitpick_ignore_regex"]
        assert (["py:.*", r"recsys_lib\.mx(\..*)?"] in patterns) is ignored


def test_a_source_that_changed_after_the_rendering_is_noticed(layout, monkeypatch):
    monkeypatch.setattr(mathjax, "ensure", lambda folder: True)
    executed_by_hand(layout)
    docs, chapters = read_toc(layout)

    def staged():
        return build_book.is_staged(build_book.staged_files(docs, chapters, layout), layout)

    assert not staged()
    build_book.stage(build_book.staged_files(docs, chapters, layout), layout)
    assert staged()
    (layout.root / "book" / "intro.md").write_text("# Another intro\n")
    assert not staged()
