"""The committed notebooks are clean."""

from __future__ import annotations

import copy

import nbformat
import pytest

from tools.layout import REPO, Layout, read_toc
from tools.notebooks import cleaned, notebook_paths, problems, typed_results

SOURCES = notebook_paths()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_notebook_is_clean(path):
    assert problems(path) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_cleaner_leaves_a_clean_notebook_as_it_is(path):
    text = path.read_text(encoding="utf-8")
    assert nbformat.writes(cleaned(nbformat.reads(text, as_version=4))) + "\n" == text


def test_every_page_of_the_book_is_in_the_toc():
    docs, _ = read_toc(Layout())
    files = [*SOURCES, *(REPO / "book").rglob("*.md")]
    assert sorted(docs) == sorted(path.relative_to(REPO).with_suffix("").as_posix() for path in files)


@pytest.fixture
def notebook(tmp_path):
    """A good notebook to spoil, and a function that says what is wrong with it."""
    v4 = nbformat.v4
    good = v4.new_notebook(
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        cells=[
            v4.new_markdown_cell("# Title\n\n<!-- run-time -->", id="title"),
            v4.new_code_cell("epochs = 2", id="settings", metadata={"tags": ["parameters"]}),
        ],
    )

    def check(spoil):
        book = copy.deepcopy(good)
        spoil(book)
        path = tmp_path / "chapter.ipynb"
        nbformat.write(book, path)
        return problems(path)

    assert check(lambda book: None) == []
    return check


def _set(cell, **values):
    return lambda book: book.cells[cell].update(values)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_set(1, execution_count=3), "outputs or an execution count"),
        (_set(1, outputs=[nbformat.v4.new_output("stream", text="x")]), "outputs or an execution count"),
        (_set(1, metadata={}), "exactly one code cell must be tagged"),
        (_set(0, source="# Title"), "<!-- run-time -->"),
        (_set(1, source="x = '/home/me/data'"), "absolute path"),
        (_set(1, source=" "), "is empty"),
        (_set(0, source="# T\n<!-- run-time -->\n\nIts NDCG@10 is 0.412."), "typed result"),
        (lambda book: book.metadata["kernelspec"].update(name="conda"), "kernelspec must be"),
        (lambda book: book.metadata.update(papermill={}), "metadata has keys"),
        (lambda book: book.cells[1].metadata.update(papermill={}), "metadata has keys"),
    ],
)
def test_a_spoilt_notebook_is_found(notebook, spoil, message):
    assert any(message in problem for problem in notebook(spoil))


def test_old_formats_and_broken_files_are_found(tmp_path):
    path = tmp_path / "chapter.ipynb"
    path.write_text("{}")
    assert "no valid notebook" in problems(path)[0]
    path.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}')
    assert "4.5" in problems(path)[0]


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("The hit rate rises to 0.31 here.", 1),
        ("Recall is 31 % of it.", 1),
        ("The precision is $2/3 = 0.67$.", 0),
        ("A learning rate of 0.01 works.", 0),
        ("They report an NDCG of 0.42 {cite:p}`steck2019ease`.", 0),
        ("The recall is 0.25. <!-- typed: the sum above, done by hand -->", 0),
        ("The recall is {glue:text}`recall:.3f`.", 0),
    ],
)
def test_results_typed_into_prose(source, count):
    assert len(list(typed_results(source))) == count
