"""The rendered pages and the executed notebooks behind them, checked without a browser."""

from __future__ import annotations

import threading

import nbformat
import pytest

from tools import outside_links
from tools.layout import REPO, Layout, read_record, read_toc
from tools.pages import Site
from tools.serve import server
from tools.without_running import missing_packages


def is_skipped(chapter):
    return bool(missing_packages(nbformat.read(chapter.notebook(REPO), as_version=4)))


def test_every_document_became_a_page(layout):
    docs, _ = read_toc(layout)
    assert [doc for doc in docs if not (layout.html / f"{doc}.html").is_file()] == []


def test_links_images_and_scripts_lead_somewhere(site):
    assert len(site.pages) > 5
    assert not site.broken_links(), "\n".join(site.broken_links())


def test_images_have_words(site):
    assert not site.images_without_words(), "\n".join(site.images_without_words())


def test_nothing_is_fetched_from_elsewhere(site):
    assert not site.outside_addresses(), "\n".join(site.outside_addresses())


def test_executed_notebooks_ran_to_their_end(layout):
    found = []
    for chapter in read_toc(layout)[1]:
        if is_skipped(chapter):
            continue
        # the notebook readers download
        notebook = nbformat.read(layout.html / "_sources" / f"{chapter.doc}.ipynb", as_version=4)
        for number, cell in enumerate(notebook.cells, start=1):
            if "papermill" in cell.metadata:
                found.append(f"{chapter.name} cell {number}: papermill's metadata")
            if cell.cell_type != "code":
                continue
            if cell.execution_count is None:
                found.append(f"{chapter.name} cell {number}: not executed")
            # what PyTorch's profiler says of itself, for one: the page does not show it
            hidden = "remove-stderr" in cell.metadata.get("tags", [])
            found += [
                f"{chapter.name} cell {number}: {output.output_type} {output.get('name', '')}"
                for output in cell.outputs
                if output.output_type == "error" or (output.get("name") == "stderr" and not hidden)
            ]
            if str(REPO) in nbformat.v4.writes(nbformat.v4.new_notebook(cells=[cell])):
                found.append(f"{chapter.name} cell {number}: shows a path of this machine")
    assert not found, "\n".join(found)


def test_every_chapter_shows_its_run_time(layout):
    timings = read_record(layout.timings)
    for chapter in read_toc(layout)[1]:
        page = (layout.html / f"{chapter.doc}.html").read_text(encoding="utf-8")
        if is_skipped(chapter):
            assert "Not run on this machine" in page
        else:
            assert timings[chapter.name]["seconds"] > 0
            assert "Run time on this machine:" in page


@pytest.fixture
def small_site(tmp_path):
    """A site of two pages with one fault of each kind."""
    (tmp_path / "a.html").write_text(
        '<h1 id="top-of-a">A</h1><a href="b.html#there">ok</a><a href="b.html#gone">x</a>'
        '<a href="nowhere.html">x</a><a href="https://example.org">ok</a><a href="../out.html">x</a>'
        '<img src="a.png" alt="_images/a.png"><img src="data:," alt="a line">'
        '<script src="https://example.org/x.js"></script><link rel="stylesheet" href="//example.org/x.css">'
        '<link rel="canonical" href="https://example.org/">'
    )
    (tmp_path / "b.html").write_text('<p id="there">B</p>')
    return Site(tmp_path)


def test_faults_of_pages_are_found(small_site):
    broken = small_site.broken_links()
    assert [line.split()[1] for line in broken] == ["../out.html", "a.png", "b.html#gone", "nowhere.html"]
    assert len(small_site.images_without_words()) == 1
    assert [line.split()[1] for line in small_site.outside_addresses()] == [
        "https://example.org/x.js",
        "//example.org/x.css",
    ]


def test_outside_links_are_asked_once_each(small_site):
    (small_site.folder / "b.html").write_text('<a href="https://example.org/a#x">1</a><a href="b.html">2</a>')
    (small_site.folder / "c.html").write_text('<a href="https://example.org/a#y">1</a>')
    asked = []
    lines = outside_links.report(
        small_site, lambda link: asked.append(link) or "gone" * link.endswith("a"), jobs=1
    )
    assert asked == ["https://example.org", "https://example.org/a"]
    assert lines == ["b.html: https://example.org/a: gone"]


def test_a_link_answers_or_not(tmp_path):
    (tmp_path / "here.txt").write_text("here")
    with server(tmp_path) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{http_server.server_address[1]}"
        assert outside_links.fault(f"{home}/here.txt") == ""
        assert outside_links.fault(f"{home}/gone.txt") == "status 404"
        http_server.shutdown()
    assert outside_links.fault(f"{home}/here.txt", 1.0).startswith("no answer")


def test_a_page_check_needs_a_fresh_book(tmp_path):
    # `is_fresh` guards all of the above: an empty folder is not fresh, and saying so must not raise
    from tools.build_book import is_rendered

    assert not is_rendered(Layout(_small_repository(tmp_path)))


def _small_repository(root):
    for name in ("recsys_lib", "tools"):
        (root / name).mkdir()
    (root / "requirements.txt").write_text("")
    return root
