"""The leaderboard shows what the chapters recorded."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from tools import leaderboard
from tools.layout import BuildError


def cell(name, frame):
    return {"id": name, "execution_count": 1, "outputs": [{"data": {"text/html": frame.to_html()}}]}


@pytest.fixture
def notebooks(monkeypatch):
    monkeypatch.setattr(leaderboard, "CELLS", {"04": ("a", "b"), "08": ("c",)})
    first = pd.DataFrame({"model": ["EASE", "Popularity"], "mean": [0.4256, 0.2172], "low": 0.1, "high": 0.5})
    costs = {"coverage@10": [0.205], "parameters": [2829124], "seconds": [0.5]}
    more = pd.DataFrame(costs, index=pd.Index(["EASE"], name="model"))
    second = pd.DataFrame({"mean": [0.426, 0.431], "low": 0.2, "high": 0.6, "coverage": 0.9, "99 drawn": 0.8})
    second["seconds"] = None  # not known of this model
    second.index = ["EASE", "hard"]
    return {
        "book/chapters/04_x": {"cells": [cell("a", first), cell("b", more)]},
        "book/chapters/05_y": {"cells": [cell("a", first)]},
        "book/chapters/08_z": {"cells": [cell("c", second)]},
    }


def rows(html):
    lines = re.findall(r"<tr>(.*?)</tr>", html.split("<tbody>")[1], re.S)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in lines]


def test_the_rows_are_those_of_the_chapters_best_first(notebooks):
    link = '<a href="chapters/{}.html">{}</a>'.format
    assert rows(leaderboard.with_board(f"x {leaderboard.MARKER}", notebooks)) == [
        ["BPR, hard negatives", link("08_z", 8), "0.431", "0.2 to 0.6", "0.8", "", "0.9", "", ""],
        # the same model in two chapters is one row, and the later one fills its gaps
        ["EASE", link("04_x", 4), "0.4256", "0.1 to 0.5", "0.8", "", "0.205", "2,829,124", "0.5"],
        ["Popularity", link("04_x", 4), "0.2172", "0.1 to 0.5", "", "", "", "", ""],
    ]


def test_a_missing_table_is_an_error_that_names_the_cell(notebooks):
    notebooks["book/chapters/08_z"]["cells"][0]["id"] = "another"
    with pytest.raises(BuildError, match=r"cell 'c' of chapter 08"):
        leaderboard.board(notebooks)


def test_a_chapter_that_was_not_run_is_passed_over(notebooks):
    for one in notebooks["book/chapters/08_z"]["cells"]:
        one |= {"execution_count": None, "outputs": []}
    assert len(rows(leaderboard.board(notebooks))) == 2


def test_a_page_without_the_marker_stays(notebooks):
    assert leaderboard.with_board("text", notebooks) == "text"
