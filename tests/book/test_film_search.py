"""The recommender within the pages: it gives what the library gives, and can be used without a mouse."""

from __future__ import annotations

import numpy as np
import pytest

from recsys_lib import web

pytestmark = pytest.mark.browser
PAGES = ["book/intro.html", "book/chapters/13_bottleneck.html"]
READY = "() => document.querySelector('.film-search ol li')"


@pytest.fixture
def models(layout):
    return layout.html / "_static" / "films.js"


@pytest.fixture
def page(browser, layout):
    context = browser.new_context()
    opened = context.new_page()
    opened.goto((layout.html / PAGES[0]).as_uri(), wait_until="load")
    opened.wait_for_function(READY)
    yield opened
    context.close()


def test_the_models_are_small_and_only_where_they_are_used(layout, models):
    extra = [models, *(layout.html / "_static" / f"film-search.{kind}" for kind in ("js", "css"))]
    assert sum(path.stat().st_size for path in extra) < 3_000_000
    holders = {
        path.relative_to(layout.html).as_posix()
        for path in layout.html.rglob("*.html")
        if "films.js" in path.read_text(encoding="utf-8")
    }
    assert holders == set(PAGES)


@pytest.mark.parametrize("name", ["net", "ease", "popularity"])
def test_the_page_recommends_what_the_library_does(page, models, name):
    """For 100 histories; films whose scores differ by less than 1e-4 may change places."""
    model = web.read_models(models, device="cpu")[name]
    ids = model.item_ids.ids
    rng = np.random.default_rng(0)
    histories = [rng.choice(len(ids), size=n, replace=False) for n in rng.integers(1, 40, size=100)]
    lists = page.evaluate(
        "([name, all]) => all.map(picks => window.filmSearch.recommender.recommend(name, picks))",
        [name, [history.tolist() for history in histories]],
    )
    frame = model.recommend_from_history([list(ids[history]) for history in histories], k=len(ids))
    found = frame.groupby("user", sort=False)
    assert len(found) == len(lists) == 100
    for (_, expected), shown in zip(found, lists, strict=True):
        scores = expected.set_index("item")["score"]
        theirs = np.array([one["score"] for one in shown])
        ours = scores[[ids[one["film"]] for one in shown]].to_numpy()
        tolerance = 1e-4 * max(1.0, np.abs(ours).max())
        np.testing.assert_allclose(theirs, ours, atol=tolerance)
        # The same scores in the same places: another film only where two are equal but for rounding.
        np.testing.assert_allclose(ours, np.sort(scores.to_numpy())[::-1][:10], atol=tolerance)


def test_a_film_is_found_picked_and_removed_with_the_keyboard(page):
    field = page.get_by_role("combobox").first
    field.focus()
    page.keyboard.type("star wars")
    options = page.get_by_role("option")
    assert "Star Wars" in options.first.inner_text()
    assert field.get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    assert field.get_attribute("aria-activedescendant") == options.first.get_attribute("id")
    page.keyboard.press("Enter")
    assert field.get_attribute("aria-expanded") == "false"
    picked = page.locator(".film-search-picks li")
    assert picked.count() == 1
    rows = page.locator(".film-search-list li")
    assert rows.count() == 10
    assert "because of Star Wars" in rows.first.inner_text()
    assert "1 film picked" in page.get_by_role("status").first.inner_text()
    lists = set()
    for label in ("Autoencoder", "EASE", "Popularity"):
        page.get_by_label(label, exact=True).check()
        lists.add(tuple(row.get_attribute("data-film") for row in rows.all()))
    assert len(lists) == 3
    field.focus()
    page.keyboard.type("star")
    page.get_by_text("films found.").first.wait_for()
    page.keyboard.press("Escape")
    assert not page.get_by_text("No film found.").count()
    page.get_by_role("button", name="Remove Star Wars").focus()
    page.keyboard.press("Enter")
    assert picked.count() == 0


def test_titles_stay_text(browser, layout, models):
    context = browser.new_context()
    page = context.new_page()
    evil = "<img src=x onerror='window.harmed = true'>"
    page.add_init_script(
        "Object.defineProperty(window, 'filmModels', {get: () => this.kept, set: (models) => {"
        f"models.titles[0] = {evil!r}; models.counts[0] = 1e9; this.kept = models; }}}});"
    )
    page.goto((layout.html / PAGES[0]).as_uri(), wait_until="load")
    page.wait_for_function(READY)
    page.get_by_label("Popularity", exact=True).check()
    assert evil in page.locator(".film-search-list li").first.inner_text()
    assert page.evaluate("() => window.harmed") is None
    context.close()


def test_without_the_models_the_page_says_so(browser, layout):
    context = browser.new_context()
    page = context.new_page()
    troubles = []
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    # as if the chapter that trains the models had not been run: the page does not ask for them then
    page.route("**/films.js*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.goto((layout.html / PAGES[0]).as_uri(), wait_until="load")
    page.get_by_text("The trained models are not part of these pages").wait_for()
    assert page.locator(".film-search input").count() == 0
    assert troubles == []
    context.close()


def test_on_a_phone_in_the_dark_the_open_list_can_be_read(browser, layout):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.add_init_script("localStorage.setItem('mode', 'dark'); localStorage.setItem('theme', 'dark')")
    page.goto((layout.html / PAGES[0]).as_uri(), wait_until="load")
    page.wait_for_function(READY)
    page.get_by_role("combobox").first.fill("the")
    box = page.get_by_role("listbox").first.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.keyboard.press("ArrowDown")
    options = page.get_by_role("option")
    for number in (0, 1):  # the marked one, and another
        colors = options.nth(number).evaluate(
            "one => [getComputedStyle(one).color, getComputedStyle(one.ariaSelected === 'true' ? one :"
            " one.parentElement).backgroundColor]"
        )
        light, dark = sorted((_luminance(color) for color in colors), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5
    context.close()


def _luminance(color):
    """The relative luminance of ``rgb(r, g, b)``, as the contrast of WCAG has it."""
    parts = np.array([float(part) for part in color[color.index("(") + 1 : -1].split(",")[:3]]) / 255
    return np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [
        0.2126,
        0.7152,
        0.0722,
    ]
