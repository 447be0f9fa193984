"""What the book's tests share: the rendered pages, a server for them, a browser to open them."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import axe
from tools.build_book import is_fresh
from tools.layout import Layout
from tools.pages import Site
from tools.serve import server

IN_CI = bool(os.environ.get("CI"))


def _cannot(reason: str) -> None:
    """On a reader's machine a missing book or browser is no fault; in continuous integration it is."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def layout() -> Layout:
    """The book as `make book` left it."""
    built = Layout()
    if not (built.html / "index.html").is_file():
        _cannot("there is no rendered book: run `make book` first")
    if not is_fresh(built):
        _cannot("the rendered book is older than its sources: run `make book` first")
    return built


@pytest.fixture(scope="session")
def site(layout: Layout) -> Site:
    return Site(layout.html)


@pytest.fixture(scope="session")
def address(layout: Layout) -> Iterator[str]:
    """The book on a local web server."""
    with server(layout.html) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_address[1]}"
        http_server.shutdown()


def _chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome", "chrome"))
    return next((path for path in found if path), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium of the machine; `CHROMIUM` names one that is not on the path."""
    path = _chromium()
    if path is None or not Path(path).exists():
        _cannot("no Chromium found: install it, or name it in CHROMIUM=/path/to/chromium")
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox does not work for root, as in most containers
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=options)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def axe_script() -> str:
    """axe-core's script, which npm brings once; without npm or a network there is none."""
    path = axe.ensure(Layout().run / "axe")
    if path is None:
        _cannot("axe-core could not be fetched: it needs npm and, the first time, a network")
    assert path is not None
    return path.read_text(encoding="utf-8")
