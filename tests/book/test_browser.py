"""The rendered pages in a real browser: equations, search, dark mode, narrow screens, no outside request."""

from __future__ import annotations

import pytest

from tools.layout import read_toc

pytestmark = pytest.mark.browser
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 390, "height": 844}
# A phone first; then on both sides of where the theme and the margin notes change their layout.
WIDTHS = (390, 575, 767, 769, 991, 993, 1100, 1199, 1201, 1440)
# MathJax leaves what it can't parse as it is, or shows it in red.
BAD_FORMULAS = """() => [...document.querySelectorAll("article .math")].filter(
    one => !one.querySelector("mjx-container") || one.querySelector("mjx-merror, mtext[mathcolor=red]")
).map(one => one.textContent.trim().slice(0, 80))"""
REACH = "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"
# What reaches beyond the screen, but for what lies in a box that scrolls by itself.
TOO_WIDE = """() => [...document.querySelectorAll("body *")].filter(one => {
    if (one.getBoundingClientRect().right <= innerWidth + 1) return false;
    for (let box = one; box && box !== document.body; box = box.parentElement) {
        const style = getComputedStyle(box);
        if (style.position === "fixed" || (box !== one && style.overflowX !== "visible")) return false;
    }
    return true;
}).slice(-3).map(one => `${one.tagName} ${one.className}: ${one.textContent.trim().slice(0, 60)}`)"""


class Tab:
    """A page that remembers what went wrong in it, cut off from every other machine."""

    def __init__(self, browser, address, size=WIDE):
        self.home = address
        self.troubles = []
        self.context = browser.new_context(viewport=size)
        self.page = self.context.new_page()
        self.page.route("**/*", self._only_ours)
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script error: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answer)

    def _only_ours(self, route):
        if route.request.url.startswith((self.home, "data:", "blob:")):
            route.continue_()
        else:
            route.abort()

    def _listen(self, message):
        if message.type in ("error", "warning"):
            self.troubles.append(f"console {message.type}: {message.text}")

    def _failed(self, request):
        # leaving a page ends the requests that still run: no fault of the page
        if "ERR_ABORTED" not in (request.failure or ""):
            self.troubles.append(f"failed: {request.url}")

    def _answer(self, response):
        if response.status >= 400:
            self.troubles.append(f"status {response.status}: {response.url}")

    def open(self, path):
        self.page.goto(f"{self.home}/{path}", wait_until="load")
        self.page.evaluate("() => window.MathJax?.startup?.promise")
        return self.page


@pytest.fixture
def tab(browser, address):
    opened = Tab(browser, address)
    yield opened
    opened.context.close()


def _html_pages(layout):
    docs, _ = read_toc(layout)
    return [*(f"{doc}.html" for doc in docs), "genindex.html", "search.html"]


@pytest.mark.parametrize("protocol", ["http", "file"])
def test_pages_open_without_trouble_and_without_a_network(browser, address, layout, protocol):
    tab = Tab(browser, address if protocol == "http" else layout.html.as_uri())
    found = []
    equations = 0
    for path in _html_pages(layout):
        page = tab.open(path)
        equations += page.locator("mjx-container").count()
        found += [f"{path}: formula not rendered: {text}" for text in page.evaluate(BAD_FORMULAS)]
        unseen = page.evaluate(
            "() => [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        found += [f"{path}: image not shown: {src}" for src in unseen]
        found += [f"{path}: {trouble}" for trouble in tab.troubles]
        tab.troubles.clear()
    tab.context.close()
    assert not found, "\n".join(found)
    assert equations > 0


def test_pages_do_not_scroll_sideways(browser, address, layout):
    from playwright.sync_api import TimeoutError as StillWide

    tab = Tab(browser, address, NARROW)
    found = []
    for path in _html_pages(layout):
        tab.page.set_viewport_size(NARROW)
        page = tab.open(path)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": NARROW["height"]})
            try:  # the sidebars move to their places
                page.wait_for_function(f"() => {REACH} <= {width}", timeout=3_000)
            except StillWide:
                reached, widest = page.evaluate(f"() => {REACH}"), page.evaluate(TOO_WIDE)
                found.append(f"{path}, {width} px: {reached} px wide because of {widest}")
    tab.context.close()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("protocol", ["http", "file"])
@pytest.mark.parametrize("word", ["precision", "EASE"])
def test_search_finds(browser, address, layout, protocol, word):
    tab = Tab(browser, address if protocol == "http" else layout.html.as_uri())
    page = tab.open(f"search.html?q={word}")
    page.wait_for_selector("#search-results ul.search li a", timeout=10_000)
    assert page.locator("#search-results ul.search li").count() > 0
    tab.context.close()
    # from file:// a browser refuses the excerpts below the results, not the results
    assert protocol == "file" or tab.troubles == []


def test_dark_mode(tab, layout):
    page = tab.open(_html_pages(layout)[0])
    colours = {}
    for _ in range(3):  # the button goes round through automatic, light and dark
        page.locator("button.theme-switch-button:visible").first.click()
        theme = page.locator("html").get_attribute("data-theme")
        colours[theme] = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert set(colours) == {"light", "dark"}
    assert colours["light"] != colours["dark"]


def test_solutions_open(tab, layout):
    found = 0
    for chapter in read_toc(layout)[1]:
        page = tab.open(f"{chapter.doc}.html")
        for solution in page.locator(".solution.dropdown").all():
            assert "toggle-hidden" in (solution.get_attribute("class") or ""), chapter.name
            solution.locator(".toggle-button").first.click()
            assert "toggle-hidden" not in (solution.get_attribute("class") or ""), chapter.name
            found += 1
    assert found > 0
