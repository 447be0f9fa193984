"""How readers come in: buttons, the cell that installs, wrong addresses, shared links, paper."""

from __future__ import annotations

import struct
import threading
import urllib.error
import urllib.request

import nbformat
import pytest
import yaml

from tools import build_book, draw_social, mathjax, setup_cell
from tools.layout import REPO, Layout
from tools.notebooks import notebook_paths, problems
from tools.pages import Page
from tools.serve import server

ADDRESS = "https://example.org/us/book"


@pytest.fixture
def with_address(tmp_path):
    """A folder with the book's settings and an address."""

    def made(url):
        config = yaml.safe_load((REPO / "_config.yml").read_text(encoding="utf-8"))
        config["repository"]["url"] = url
        (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
        return tmp_path

    return made


def test_the_book_has_one_place_for_its_address():
    config = yaml.safe_load((REPO / "_config.yml").read_text(encoding="utf-8"))
    assert set(config["repository"]) == {"url", "branch", "path_to_book"}


@pytest.mark.parametrize("url", ["", ADDRESS])
def test_binder_and_colab_come_with_the_address(with_address, monkeypatch, url):
    monkeypatch.setattr(mathjax, "ensure", lambda folder: True)
    staged = yaml.safe_load(build_book.staged_config(Layout(with_address(url))))
    assert {"colab_url", "binderhub_url"} & set(staged["launch_buttons"]) == (
        {"colab_url", "binderhub_url"} if url else set()
    )
    extra = staged["sphinx"]["config"]["html_extra_path"]
    assert extra[0] == "book/_extra"
    assert len(extra) == 2


def test_notebooks_install_only_where_the_library_is_missing(with_address, monkeypatch):
    assert setup_cell.wanted(with_address("")) is None
    source = setup_cell.wanted(with_address(ADDRESS))
    assert f"git+{ADDRESS}@main" in source
    asked = []
    code = source.replace("%pip install", "asked.append(1)  #")
    exec(code, {"asked": asked})
    assert asked == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    exec(code, {"asked": asked})
    assert asked == [1]


def test_notebooks_follow_the_address(with_address, tmp_path):
    root = with_address(ADDRESS)
    notebook = nbformat.read(notebook_paths()[0], as_version=4)
    path = tmp_path / "chapter.ipynb"
    nbformat.write(notebook, path)
    assert any("make format" in problem for problem in problems(path, root))
    setup_cell.put(notebook, setup_cell.wanted(root))
    nbformat.write(notebook, path)
    assert problems(path, root) == []
    assert any("make format" in problem for problem in problems(path, REPO))
    assert [cell.cell_type for cell in notebook.cells[:2]] == ["markdown", "code"]


def test_a_wrong_address_is_answered_with_the_page_of_the_book(tmp_path):
    (tmp_path / "404.html").write_text("<h1>Not in the book</h1>")
    with server(tmp_path) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(urllib.error.HTTPError) as answer:
                urllib.request.urlopen(f"http://127.0.0.1:{http_server.server_address[1]}/a/b/c.html")
            assert answer.value.code == 404
            assert b"Not in the book" in answer.value.read()
        finally:
            http_server.shutdown()


def test_the_page_for_wrong_addresses_needs_no_other_file():
    page = Page(REPO / "book" / "_extra" / "404.html")
    assert page.fetched == []
    assert "index.html" in page.links


def test_the_picture_of_shared_links_has_their_size():
    for content in (draw_social.TARGET.read_bytes(), draw_social.picture()):
        assert content.startswith(b"\x89PNG")
        assert struct.unpack(">II", content[16:24]) == (1200, 630)


def test_pages_describe_themselves_to_those_who_share_them(layout):
    titles = set()
    for name in ("book/intro", "book/chapters/04_baselines", "book/published"):
        text = (layout.html / f"{name}.html").read_text(encoding="utf-8")
        tags = {part.split('"')[0]: part.split('"')[2] for part in text.split('<meta property="')[1:]}
        assert tags["og:image"].endswith("_static/social.png")
        assert len(tags["og:description"]) > 20
        assert "og:url" not in tags  # the book has no public address
        titles.add(tags["og:title"])
    assert len(titles) == 3
    assert (layout.html / "_static" / "social.png").is_file()


@pytest.mark.browser
def test_a_lost_reader_finds_the_search(browser, address):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(f"{address}/book/no/such/page.html", wait_until="load")
    page.wait_for_function("() => document.querySelector('form').action.endsWith('/search.html')")
    page.wait_for_function(f"() => document.querySelector('a').href === '{address}/index.html'")
    page.get_by_label("Search the book").fill("EASE")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results ul.search li a", timeout=10_000)
    context.close()


CUT = """() => [...document.querySelectorAll(".bd-article pre")].filter(one => {
    return one.offsetParent && one.scrollWidth > one.clientWidth + 1;
}).map(one => one.textContent.slice(0, 60))"""


@pytest.mark.browser
def test_paper_shows_the_text_alone_and_all_of_it(browser, layout):
    context = browser.new_context(viewport={"width": 720, "height": 1000})
    page = context.new_page()
    page.emulate_media(media="print")
    for name in ("book/chapters/09_neural_collaborative_filtering", "book/api/models"):
        page.goto((layout.html / f"{name}.html").as_uri(), wait_until="load")
        for part in (
            ".bd-sidebar-primary",
            ".bd-sidebar-secondary",
            ".prev-next-footer",
            ".bd-header-article",
        ):
            assert not page.locator(part).first.is_visible(), part
        assert page.evaluate(CUT) == []
    assert len(page.pdf()) > 10_000
    context.close()
