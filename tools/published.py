"""The page "Published and reproduced": what `benchmarks.published` measured, as tables of the book."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

MARKER = "<!-- published-tables -->"
RESULTS = "benchmarks/results"
LOWER_IS_BETTER = ("rmse", "mae")
NAMES = {"ndcg": "nDCG", "hit_rate": "hit rate", "map": "MAP", "mrr": "MRR", "rmse": "RMSE", "mae": "MAE"}
NEEDED = {"table", "model", "metric", "published", "ours", "spread", "seeds", "date"}
WORDS = ("better", "reached", "not reached")

Entry = Mapping[str, Any]


def with_tables(text: str, root: Path) -> str:
    """Put the tables in place of their marker; a page without it stays as it is."""
    return text.replace(MARKER, tables(root)) if MARKER in text else text


def read_results(folder: Path) -> dict[str, list[Entry]]:
    """The entries of all result files, by table; files of another form, such as timings, are passed over."""
    found: dict[str, list[Entry]] = {}
    for path in sorted(folder.glob("*.json")):
        entries = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(entries, list) and all(isinstance(e, dict) and e.keys() >= NEEDED for e in entries):
            for entry in entries:
                found.setdefault(entry["table"], []).append(entry)
    return found


def verdict(entry: Entry) -> str:
    """One of `WORDS`.

    >>> ours = {"metric": "ndcg@10", "published": 0.41, "ours": 0.414, "spread": 0.002}
    >>> verdict(ours), verdict(ours | {"spread": 0.004}), verdict(ours | {"metric": "rmse"})
    ('reached', 'reached', 'reached')
    >>> verdict(ours | {"published": 0.411}), verdict(ours | {"published": 0.411, "metric": "rmse"})
    ('better', 'not reached')
    """
    digits = len(f"{entry['published']!r}".partition(".")[2])
    room = max(entry["spread"] or 0.0, 0.5 * 10.0**-digits)
    gain = entry["ours"] - entry["published"]
    if entry["metric"].startswith(LOWER_IS_BETTER):
        gain = -gain
    if abs(gain) <= room * (1 + 1e-9):
        return "reached"
    return "better" if gain > 0 else "not reached"


def metric_name(metric: str) -> str:
    """A metric as the book writes it.

    >>> metric_name("ndcg@10 (100)"), metric_name("precision@5"), metric_name("hit_rate@10")
    ('nDCG@10 (100)', 'precision@5', 'hit rate@10')
    """
    name = re.match(r"\w+", metric)
    return NAMES.get(name[0], name[0]) + metric[name.end() :] if name else metric


def tables(root: Path) -> str:
    """All that was measured: an overview, what was not reached, and each table.

    Parameters
    ----------
    root : Path
        The repository; its results lie in `RESULTS`.
    """
    from benchmarks.tables import TABLES

    results = read_results(root / RESULTS)
    known = [name for name in TABLES if name in results]
    names = [*known, *sorted(set(results) - set(known))]
    parts = [_overview(known, results, TABLES)]
    parts += [_section(name, results[name], TABLES.get(name)) for name in names]
    waiting = [f"{table.title} ({table.source})" for name, table in TABLES.items() if name not in results]
    if waiting:
        parts.append("## Not measured yet\n\n" + "\n".join(f"- {_text(one)}" for one in waiting))
    return "\n\n".join(parts)


def _text(words: str) -> str:
    """Plain words within Markdown: no mark of theirs means anything."""
    return re.sub(r"([\\`*_{}\[\]<>$|#@~^])", r"\\\1", " ".join(words.split()))


def _both(entries: Sequence[Entry]) -> list[Entry]:
    return [e for e in entries if e["published"] is not None and e["ours"] is not None]


def _overview(names: Sequence[str], results: Mapping[str, list[Entry]], known: Mapping[str, Any]) -> str:
    body = []
    for name in names:
        words = [verdict(entry) for entry in _both(results[name])]
        if words:
            link = f'<a href="#published-{escape(name)}">{escape(known[name].title)}</a>'
            counts = "".join(f"<td>{words.count(word)}</td>" for word in WORDS)
            body.append(f'<tr><th scope="row">{link}</th><td>{len(words)}</td>{counts}</tr>')
    head = "".join(f'<th scope="col">{name}</th>' for name in ("table", "published values", *WORDS))
    overview = board_table("How many published values were reached", head, body)
    missed = [entry for name in names for entry in _both(results[name]) if verdict(entry) == "not reached"]
    rows = []
    for e in missed:
        link = f'<a href="#published-{escape(e["table"])}">{escape(e["table"])}</a>'
        rows.append(f'<tr><th scope="row">{escape(e["model"])}, {link}</th>{_cells(e)}</tr>')
    said = (
        "These values were published, and ours are worse:"
        if missed
        else "Ours is worse in none of them beyond its spread."
    )
    lost = board_table("Not reached", _head(), rows, ready=True) if missed else ""
    return f"## In short\n\n{overview}\n\n## What was not reached?\n\n{said}\n\n{lost}"


def _section(name: str, entries: Sequence[Entry], table: Any) -> str:
    title = table.title if table else name
    parts = [f"(published-{name})=\n## {_text(title)}", _facts(name, entries, table)]
    if table:
        parts.append(f"**How it is measured.** {_text(table.protocol)}")
    remarks = list(dict.fromkeys(e["remark"] for e in entries if e.get("remark") and e["published"]))

    def row(entry: Entry) -> str:
        mark = ""
        if entry.get("remark") and entry["published"]:
            number = remarks.index(entry["remark"]) + 1
            mark = f' <a href="#note-{escape(name)}-{number}" aria-label="note {number}">[{number}]</a>'
        return f'<tr><th scope="row">{escape(entry["model"])}{mark}</th>{_cells(entry)}</tr>'

    both = _both(entries)
    if both:
        words = [verdict(entry) for entry in both]
        counts = ", ".join(f"{words.count(word)} {word}" for word in WORDS)
        parts.append(f"Of {len(both)} published values: {counts}.")
        parts.append(board_table(title, _head(), [row(entry) for entry in both], ready=True))
    only_theirs = [entry for entry in entries if entry["published"] is not None and entry["ours"] is None]
    if only_theirs:
        rows = [row(entry) for entry in only_theirs]
        parts.append(board_table("Published, and not measured here", _head(), rows))
    if remarks:
        notes = [
            f'<li id="note-{escape(name)}-{number}">{escape(remark)}</li>'
            for number, remark in enumerate(remarks, start=1)
        ]
        parts.append(f'<ol class="notes" aria-label="Notes">{"".join(notes)}</ol>')
    only_ours = [entry for entry in entries if entry["published"] is None and entry["ours"] is not None]
    if only_ours:
        rows = [row(entry) for entry in only_ours]
        more = board_table("Measured here, nothing published", _head(), rows, ready=True)
        summary = f"Measured in the same way, with nothing published to compare with: {len(rows)} values"
        parts.append(f"<details><summary>{summary}</summary>\n{more}\n</details>")
    return "\n\n".join(parts)


def _facts(name: str, entries: Sequence[Entry], table: Any) -> str:
    measured = [entry for entry in entries if entry["ours"] is not None]

    def every(key: str) -> str:
        return "; ".join(sorted({str(entry[key]) for entry in measured if entry.get(key)}))

    days = sorted({entry["date"] for entry in measured if entry["date"]})
    seeds = sorted({entry["seeds"] for entry in measured if entry["spread"] and entry["seeds"]})
    facts = {
        "Source": _text(table.source) if table else "",
        "Split": _text(table.split) if table else "",
        "Items that are ranked": _text(table.candidates) if table else "",
        "Cut-off": _text(table.cutoff) if table else "",
        "Day": " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "not measured",
        "Seeds": f"{' or '.join(map(str, seeds))}; one run of what has no randomness" if seeds else "one run",
        "Machine": _text(every("machine")) or "not recorded",
        "Command": "`"
        + (every("command").replace("; ", "`; `") or f"python -m benchmarks.published {name}")
        + "`",
    }
    return "\n".join(f"- **{key}:** {value}" for key, value in facts.items() if value)


# ---------------------------------------------------------------------- tables


def _head() -> str:
    choices = ("metric", "in a word")
    names = ("model", "metric", "published", "ours (seeds)", "difference", "in a word")
    return "".join(
        f'<th scope="col"{" data-choose" if name in choices else ""}>{name}</th>' for name in names
    )


def _cells(entry: Entry) -> str:
    published, ours, spread = entry["published"], entry["ours"], entry["spread"]
    both = published is not None and ours is not None
    word = verdict(entry) if both else ""
    measured = ""
    if ours is not None:
        seeds = f" ({entry['seeds']})" if spread and entry["seeds"] else ""
        measured = f"{ours:.4f}{f' ± {spread:.4f}' if spread else ''}{seeds}"
    return "".join(
        f"<td{attributes}>{value}</td>"
        for attributes, value in (
            (' class="words"', escape(metric_name(entry["metric"]))),
            ("", "" if published is None else f"{published:.4f}"),
            ("" if ours is None else f' data-value="{ours!r}"', measured),
            ("", f"{ours - published:+.4f}".replace("-", "−") if both else ""),
            (' class="words"', word),
        )
    )


def board_table(
    caption: str, head: str, body: Sequence[str], *, ready: bool = False, wide: bool = False
) -> str:
    """An HTML table in a box that scrolls by itself.

    `ready` is for the page's own sorting and filtering. `wide` goes over the margin: on pages that have no
    list of sections there.
    """
    kind = "board sortable" if ready else "board"
    box = "board-box wide" if wide else "board-box"
    rows = "\n".join(body)
    return (
        f'<div class="{box}"><table class="{kind}"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>"
    )
