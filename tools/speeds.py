"""The page "How fast is it?": what `benchmarks.speed` measured, as a table of the book."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from tools.layout import REPO
from tools.published import board_table

MARKER = "<!-- speed-table -->"
RESULTS = Path("benchmarks", "results", "speed.json")  # in the repository

Entry = Mapping[str, Any]


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them.

    >>> duration(0.0794), duration(1.351), duration(93.6)
    ('79 ms', '1.35 s', '94 s')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def table(entries: list[Entry], titles: Mapping[str, str]) -> str:
    """All cases that were measured against somebody, in the order of the file."""
    rows = [
        f'<tr><th scope="row" class="prose">{escape(titles.get(e["case"], e["case"]))}</th>'
        f'<td class="words">{escape(e["peer"])}</td>'
        f'<td data-value="{e["ratio"]!r}">{e["ratio"]:.1f}</td>'
        f"<td>{duration(e['ours_s'])}</td><td>{duration(e['peer_s'])}</td>"
        f'<td class="words">{escape(e["unit"])}</td><td class="words">{escape(e["quality"])}</td>'
        f"<td>{e['ours_quality']:.3f}</td><td>{e['peer_quality']:.3f}</td>"
        f"<td>{e['ours_rss_mb']:,}</td><td>{e['peer_rss_mb']:,}</td></tr>"
        for e in entries
        if "ratio" in e
    ]
    names = (
        *("work", "beside", "times as fast", "ours", "theirs", "for"),
        *("quality", "ours", "theirs", "MB, ours", "MB, theirs"),
    )
    words = {"beside", "for", "quality"}
    head = "".join(
        f'<th scope="col"{" class=prose" if name == "work" else ""}{" data-choose" if name in words else ""}>'
        f"{name}</th>"
        for name in names
    )
    return board_table("The same work, in turn", head, rows, ready=True, wide=True)


def with_speeds(text: str, root: Path = REPO) -> str:
    """Put table and facts in place of their marker; a page without it stays as it is."""
    if MARKER not in text:
        return text
    from benchmarks.speed.cases import CASES

    entries: list[Entry] = json.loads((root / RESULTS).read_text(encoding="utf-8"))

    def every(key: str) -> str:
        return "; ".join(dict.fromkeys(str(e[key]) for e in entries if e.get(key))) or "not recorded"

    facts = (
        f"- **Day:** {every('date')}\n- **Machine:** {every('machine')}\n"
        f"- **Runs of each side:** {every('rounds')}\n- **Command:** `python -m benchmarks.speed`"
    )
    return text.replace(MARKER, f"{table(entries, {n: c.title for n, c in CASES.items()})}\n\n{facts}")
