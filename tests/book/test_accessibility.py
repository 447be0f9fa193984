"""axe-core over every page, light and dark: nothing that keeps readers out."""

from __future__ import annotations

import pytest

from tools.layout import read_toc

pytestmark = pytest.mark.browser
# A page holds the same structures over and over, such as rows of tables and tokens of code. Of each that has
# the same tags and classes inside, a few stand for all: without that, axe needs a minute for a long page.
THIN = """() => {
    const WHOLE = "p, li, tr, div, section, dl, figure, details, table, .highlight span";
    const seen = new Map();
    const visit = (one) => {
        const inside = [...one.children].map(visit);
        const key = `${one.tagName}.${one.getAttribute("class")}[${one.getAttribute("style")}](${
            [...new Set(inside)].join()})`;
        seen.set(key, (seen.get(key) ?? 0) + 1);
        if (seen.get(key) > 2 && one.matches(WHOLE) && !one.closest("summary")) one.remove();
        return key;
    };
    for (const one of document.querySelectorAll("div.math, span.math")) one.textContent = "x";
    for (const one of [...document.body.children]) visit(one);
}"""
# The theme's two buttons show an icon and a key beside a name; axe takes these for words of the name.
RUN = """async ([theme, options]) => {
    document.documentElement.dataset.theme = document.documentElement.dataset.mode = theme;
    const found = await axe.run({exclude: [[".search-button-field"], [".theme-switch-button"]]}, {
        resultTypes: ["violations"], preload: false, ...options});
    return found.violations.filter(one => ["serious", "critical"].includes(one.impact)).flatMap(one =>
        one.nodes.slice(0, 3).map(node => `${one.id}: ${node.html.slice(0, 150)}: ${
            node.failureSummary.split("\\n").slice(1, 3).join(" ")}`));
}"""
COLORS_ALONE = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    opened = context.new_page()
    opened.route("**/mathjax/**", lambda route: route.abort())  # formulas are looked at elsewhere
    yield opened
    context.close()


def faults(page, axe_script):
    page.evaluate(THIN)
    page.evaluate(axe_script)
    light = page.evaluate(RUN, ["light", {}])
    return light + [f"dark: {one}" for one in page.evaluate(RUN, ["dark", COLORS_ALONE])]


def test_axe_finds_nothing_serious(page, axe_script, layout):
    docs, _ = read_toc(layout)
    found = []
    for path in [*(f"{doc}.html" for doc in docs), "genindex.html", "search.html", "404.html"]:
        page.goto((layout.html / path).as_uri(), wait_until="load")
        found += [f"{path}: {fault}" for fault in faults(page, axe_script)]
    assert not found, "\n".join(found)


def test_a_fault_is_found(page, axe_script):
    page.set_content(
        '<html lang="en"><title>x</title><main><h1>x</h1><img src="data:,"><p style="color: #999">pale</p>'
    )
    assert {fault.split(":")[0] for fault in faults(page, axe_script)} >= {"image-alt", "color-contrast"}
