"""Tables that a reader sorts and filters: book/_static/board.js in a browser, on a table of its own."""

from __future__ import annotations

import pytest

from tools.layout import REPO
from tools.published import board_table

pytestmark = pytest.mark.browser
HEAD = '<th scope="col">model</th><th scope="col" data-choose>chapter</th><th scope="col">nDCG</th>'
ROWS = (("iALS", "6", "0.41"), ("EASE", "4", "0.43"), ("BPR", "7", ""), ("NeuMF", "6", "−0.5"))


@pytest.fixture
def page(browser):
    lines = [
        f'<tr><th scope="row">{model}</th><td>{chapter}</td><td>{value}</td></tr>'
        for model, chapter, value in ROWS
    ]
    context = browser.new_context()
    opened = context.new_page()
    opened.set_content(f"<main>{board_table('four models', HEAD, lines, ready=True)}</main>")
    opened.evaluate((REPO / "book/_static/board.js").read_text(encoding="utf-8"))
    yield opened
    context.close()


def shown(page):
    """The names of the rows that can be seen, from above."""
    return page.locator("tbody tr:visible th").all_inner_texts()


def order(page, name):
    return page.locator("th", has=page.get_by_role("button", name=name)).get_attribute("aria-sort")


def test_a_column_of_numbers_is_sorted_from_its_largest(page):
    button = page.get_by_role("button", name="nDCG")
    button.click()
    assert shown(page) == ["EASE", "iALS", "NeuMF", "BPR"]  # a row without a number stays last
    assert order(page, "nDCG") == "descending"
    button.click()
    assert shown(page) == ["NeuMF", "iALS", "EASE", "BPR"]
    assert order(page, "nDCG") == "ascending"


def test_a_column_of_words_is_sorted_from_a_by_keyboard(page):
    page.get_by_role("button", name="nDCG").click()
    page.get_by_role("button", name="model").focus()
    page.keyboard.press("Enter")
    assert shown(page) == ["BPR", "EASE", "iALS", "NeuMF"]
    assert order(page, "model") == "ascending"
    assert order(page, "nDCG") is None


def test_words_and_a_choice_keep_rows_and_the_count_is_said(page):
    status = page.get_by_role("status")
    assert status.inner_text() == "4 of 4 rows"
    page.get_by_label("Filter", exact=True).fill("s")
    assert shown(page) == ["iALS", "EASE"]
    page.get_by_label("chapter").select_option("6")
    assert shown(page) == ["iALS"]
    assert status.inner_text() == "1 of 4 rows"
    page.get_by_label("Filter", exact=True).fill("")
    page.get_by_label("chapter").select_option("")
    assert shown(page) == [model for model, _, _ in ROWS]
