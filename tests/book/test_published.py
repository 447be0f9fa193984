"""The page "Published and reproduced" says what was measured, and nothing else."""

from __future__ import annotations

import json
import re

import pytest

from benchmarks.tables import TABLES
from tools import published
from tools.layout import REPO

ENTRY = {
    "table": "autorec", "model": "A <b> model", "metric": "rmse", "published": 0.831, "ours": 0.84,
    "spread": 0.001, "seconds": 1.0, "seeds": 3, "date": "2030-12-31",
}  # fmt: skip


@pytest.fixture
def page(tmp_path):
    """Writes entries as a result file and gives the page made of them."""
    folder = tmp_path / published.RESULTS
    folder.mkdir(parents=True)
    (folder / "speed.json").write_text('[{"case": "x", "ours_s": 1.0}]')

    def made(*entries):
        (folder / "new.json").write_text(json.dumps(entries))
        return published.with_tables(f"before\n\n{published.MARKER}\n\nafter", tmp_path)

    return made


def rows(page, caption):
    """The texts of the cells of the table with that caption, row by row."""
    part = page.split(f"<caption>{caption}</caption>")[1].split("</tbody>")[0]
    lines = re.findall(r"<tr>(.*?)</tr>", part.split("<tbody>")[1], re.S)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]


def test_a_new_result_has_its_row_without_further_changes(page):
    text = page(ENTRY, ENTRY | {"model": "B", "ours": 0.82})
    title = TABLES["autorec"].title
    assert text.startswith("before")
    assert text.endswith("after")
    assert rows(text, title) == [
        ["A &lt;b&gt; model", "RMSE", "0.8310", "0.8400 ± 0.0010 (3)", "+0.0090", "not reached"],
        ["B", "RMSE", "0.8310", "0.8200 ± 0.0010 (3)", "−0.0110", "better"],
    ]
    assert [row[1:] for row in rows(text, "How many published values were reached")] == [["2", "1", "0", "1"]]
    assert len(rows(text, "Not reached")) == 1
    assert "**Machine:** not recorded" in text
    assert "**Day:** 2030-12-31" in text
    assert "`python -m benchmarks.published autorec`" in text
    waiting = text.split("## Not measured yet")[1]
    assert TABLES["ncf-ml1m"].title in waiting
    assert title not in waiting


def test_what_was_recorded_is_shown(page):
    known = {"machine": "a_machine", "command": "python -m x --rows 'A B'", "remark": "From <there>."}
    text = page(ENTRY | known, ENTRY | known | {"model": "C", "published": None, "remark": ""})
    assert "**Machine:** a\\_machine" in text
    assert "`python -m x --rows 'A B'`" in text
    assert '<li id="note-autorec-1">From &lt;there&gt;.</li>' in text
    assert 'href="#note-autorec-1"' in text
    assert rows(text, "Measured here, nothing published")[0][:3] == ["C", "RMSE", ""]


def test_what_was_not_measured_is_said(page):
    nothing = {"ours": None, "spread": None, "seeds": None, "date": None}
    text = page(ENTRY | nothing)
    assert rows(text, "Published, and not measured here")[0][2:4] == ["0.8310", ""]
    assert "**Day:** not measured" in text
    assert "Ours is worse in none of them" in text


def test_a_table_that_the_benchmarks_do_not_know_is_shown_by_its_name(page):
    assert "## a new table" in page(ENTRY | {"table": "a new table"})


def test_the_page_of_the_book_has_every_published_value():
    text = published.with_tables((REPO / "book" / "published.md").read_text(encoding="utf-8"), REPO)
    entries = [entry for part in published.read_results(REPO / published.RESULTS).values() for entry in part]
    both = [entry for entry in entries if entry["published"] is not None and entry["ours"] is not None]
    counted = rows(text, "How many published values were reached")
    assert sum(int(row[1]) for row in counted) == len(both) > 50
    missed = [entry for entry in both if published.verdict(entry) == "not reached"]
    assert len(rows(text, "Not reached")) == len(missed)
    assert published.with_tables("no marker", REPO) == "no marker"
