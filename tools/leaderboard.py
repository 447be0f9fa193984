"""The page "Leaderboard": results of several chapters in one table, read from their executed notebooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape, unescape
from typing import Any

from tools.layout import BuildError
from tools.published import board_table

MARKER = "<!-- leaderboard -->"
# By the number of the chapter: the cells whose tables hold its results on the test part. All these chapters
# use the split that the page names; a chapter on another split does not belong here.
CELLS: dict[str, tuple[str, ...]] = {
    "04": ("157680a9", "00908002", "cost-04"),
    "06": ("e6f04bda", "80428b7a", "cost-06"),
    "07": ("ab0d03b9", "cost-07"),
    "08": ("8aaded68", "cost-08"),
    "09": ("dbc8c24f", "18eab485", "cost-09"),
    "10": ("ch10-038", "cost-10"),
    "14": ("b4160462", "cost-14"),
    "15": ("c15-045", "c15-048", "cost-15"),
}
# What a chapter calls its models among themselves, where that says too little here.
NAMES: dict[str, dict[str, str]] = {
    "08": {
        "uniform": "BPR, uniform negatives",
        "popularity": "BPR, popular negatives",
        "hard": "BPR, hard negatives",
        "in-batch": "BPR, in-batch negatives",
        "uncorrected": "BPR, popular negatives, uncorrected",
        "uncorrected, same penalty": "BPR, popular negatives, uncorrected, same penalty",
    },
    "10": {
        "MXNet, seed 0": "NeuMF in MXNet, seed 0",
        "MXNet, seed 1": "NeuMF in MXNet, seed 1",
        "PyTorch, seed 0": "NeuMF in PyTorch, seed 0",
        "PyTorch, seed 1": "NeuMF in PyTorch, seed 1",
    },
}
# Heading here: what the chapters' tables call it.
COLUMNS = {
    "nDCG@10": "mean",
    "95% interval": "interval",
    "99 others": "99 drawn",
    "recall@10": "recall@10",
    "coverage@10": ("coverage@10", "coverage"),
    "parameters": "parameters",
    "seconds": "seconds",
}


def rows_of(html: str) -> Iterator[dict[str, str]]:
    """The rows of a data frame shown as HTML: text by heading, the row's name under ``model``.

    >>> head = "<thead><tr><th></th><th>mean</th></tr></thead>"
    >>> list(rows_of(head + "<tbody><tr><th>EASE</th><td>0.4</td></tr></tbody>"))
    [{'model': 'EASE', 'mean': '0.4'}]
    """
    head, _, body = html.partition("<tbody>")

    def cells(text: str) -> list[str]:
        found = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", text, re.S)
        return [unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in found]

    first = re.search(r"<thead>.*?<tr[^>]*>(.*?)</tr>", head, re.S)
    names = cells(first[1]) if first else []
    for line in re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.S):
        values = dict(zip(names, cells(line), strict=True))
        name = values.get("model") or values.pop("", "")
        yield {"model": name, **{key: value for key, value in values.items() if key not in ("", "model")}}


def chapter_rows(number: str, notebook: Any) -> list[dict[str, str]]:
    """The models of one chapter, with all that its tables say of them.

    Raises
    ------
    BuildError
        If a cell of `CELLS` is not there or shows no table.
    """
    outputs = {cell.get("id"): cell.get("outputs", []) for cell in notebook["cells"]}
    found: dict[str, dict[str, str]] = {}
    for cell in CELLS[number]:
        shown = ["".join(o.get("data", {}).get("text/html", "")) for o in outputs.get(cell, [])]
        tables = [html for html in shown if "<tbody>" in html]
        if not tables:
            raise BuildError(
                f"the leaderboard wants the table of cell {cell!r} of chapter {number}, and there is none: "
                "see CELLS of tools/leaderboard.py"
            )
        for row in rows_of(tables[0]):
            found.setdefault(row["model"], {}).update(row)
    shared = NAMES.get(number, {})
    return [row | {"model": shared.get(name, name)} for name, row in found.items() if "mean" in row]


def board(notebooks: Mapping[str, Any]) -> str:
    """The table, best first.

    Parameters
    ----------
    notebooks : dict of document to executed notebook
        Such as ``book/chapters/04_baselines``. A chapter that could not be run is passed over.
    """
    rows: list[dict[str, str]] = []
    for doc, notebook in notebooks.items():
        name = doc.rsplit("/", 1)[-1]
        if name[:2] not in CELLS or not any(cell.get("execution_count") for cell in notebook["cells"]):
            continue
        for row in chapter_rows(name[:2], notebook):
            before = [r for r in rows if r["model"] == row["model"] and _same(r["mean"], row["mean"])]
            if before:  # what a later chapter measured as well fills the gaps
                before[0].update(row | before[0])
            else:
                rows.append(row | {"chapter": name})
    rows.sort(key=lambda row: -float(row["mean"]))
    names = ("model", "chapter", *COLUMNS)
    head = "".join(
        f'<th scope="col"{" data-choose" if name == "chapter" else ""}>{name}</th>' for name in names
    )
    return board_table(
        f"{len(rows)} models on one split", head, [_line(row) for row in rows], ready=True, wide=True
    )


def _same(one: str, other: str) -> bool:
    """Whether two printed values are equal in the digits that both have."""
    digits = min(len(text.partition(".")[2]) for text in (one, other))
    return abs(float(one) - float(other)) < 0.51 * 10.0**-digits


def _line(row: Mapping[str, str]) -> str:
    chapter = row["chapter"]
    link = f'<a href="chapters/{chapter}.html">{int(chapter[:2])}</a>'
    cells = [f'<th scope="row">{escape(row["model"])}</th>', f"<td>{link}</td>"]
    row = {"interval": f"{row['low']} to {row['high']}", **row}
    for wanted in COLUMNS.values():
        keys = (wanted,) if isinstance(wanted, str) else wanted
        value = next((row[key] for key in keys if key in row), "")
        if value in ("NaN", "None"):
            value = ""
        elif value.isdigit():
            value = f"{int(value):,}"
        cells.append(f"<td>{escape(value)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def with_board(text: str, notebooks: Mapping[str, Any]) -> str:
    """Put the table in place of its marker; a page without it stays as it is."""
    return text.replace(MARKER, board(notebooks)) if MARKER in text else text
