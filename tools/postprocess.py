"""From papermill's notebook to the one a page shows."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

RECORDED = re.compile(r'<td data-glued="([^"]*)"></td>')
CHAPTER = re.compile(r'<span data-chapter="(\w+)">(.*?)</span>')
RUN_TIME = re.compile(r"<!--\s*run-time\s*-->")


def run_time_text(seconds: float, cores: int) -> str:
    """The sentence a chapter opens with: how long it ran here.

    >>> run_time_text(12.4, 2)
    'Run time on this machine: 12 s (2 CPU cores)'
    >>> run_time_text(200, 1)
    'Run time on this machine: 3 min 20 s (1 CPU core)'
    """
    whole = max(1, round(seconds))
    words = f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"
    return f"Run time on this machine: {words} ({cores} CPU core{'' if cores == 1 else 's'})"


def for_the_page(notebook: Any, *, seconds: float | None, cores: int) -> Any:
    """A copy of an executed notebook without papermill's traces and with its run time filled in.

    A notebook that was not run, for want of a package, has no ``seconds``.
    """
    page = copy.deepcopy(notebook)
    page.metadata.pop("papermill", None)
    page.metadata.pop("requires", None)
    for cell in page.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell["id"] = "injected-parameters"  # papermill draws a new one at every run
            if "remove-cell" not in tags:
                cell.metadata["tags"] = [*tags, "remove-cell"]
        elif not tags:
            cell.metadata.pop("tags", None)
    first = next((cell for cell in page.cells if cell.cell_type == "markdown"), None)
    if first is not None:
        words = "Not run on this machine" if seconds is None else run_time_text(seconds, cores)
        first.source = RUN_TIME.sub(words, first.source)
    return page


def recorded_values(notebook: Any) -> dict[str, str]:
    """What an executed notebook glued, by name, as text."""
    values = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            text = next(
                (v for kind, v in output.get("data", {}).items() if kind.endswith("text/plain")), None
            )
            if name and text is not None:
                values[name] = str(text)
    return values


def fill_in(notebook: Any, values: Mapping[str, str], pages: Mapping[str, str]) -> None:
    """Bring what other chapters recorded, and links to them, into the tables of a page.

    An output says ``<td data-glued="NAME"></td>`` for a number that a chapter glued under that name, and
    ``<span data-chapter="04">4</span>`` for a link to the page that `pages` has under 04.

    >>> html = '<td data-glued="a_b"></td><span data-chapter="04">4</span>'
    >>> output = {"data": {"text/html": html}}
    >>> fill_in({"cells": [{"outputs": [output]}]}, {"a_b": "0.41234"}, {"04": "chapters/04_a.html"})
    >>> output["data"]["text/html"]
    '<td>0.4123</td><a href="chapters/04_a.html">4</a>'

    Raises
    ------
    KeyError
        If no chapter recorded such a number, or there is no such chapter.
    """

    def number(match: re.Match[str]) -> str:
        return f"<td>{float(values[match[1]]):.4f}</td>" if match[1] else "<td></td>"

    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            html = output.get("data", {}).get("text/html")
            if html:
                html = RECORDED.sub(number, "".join(html))
                html = CHAPTER.sub(lambda match: f'<a href="{pages[match[1]]}">{match[2]}</a>', html)
                output["data"]["text/html"] = html
