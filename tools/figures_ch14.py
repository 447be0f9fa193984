"""The figures of the chapter on large catalogues: what a batch decodes, and what was measured once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.svg import Sheet

_MEASURED = Path(__file__).parent.parent / "benchmarks" / "results" / "batch_negatives_ml1m.json"

_ITEMS = 16
_LISTS = {"Ann": {1, 4, 9}, "Bob": {4, 12}, "Cem": {1, 7, 14}}
_CELL = 27.0


def batch_output() -> Sheet:
    """Three people, sixteen items; only the columns that somebody has are computed."""
    sheet = Sheet(
        680,
        316,
        "Only the items that somebody in the batch has are scored",
        "A batch of three people, each a row of sixteen cells, one for each item. Six columns are lit, those "
        "of the items that somebody in the batch has. In a lit column, a blue cell with a 1 says that the "
        "person has the item, an orange cell with a 0 that somebody else has it. The other ten columns are "
        "empty outlines. Below, the last matrix has a column for each item. Only the six lit ones are read "
        "and changed, in purple.",
    )
    decoded = set().union(*_LISTS.values())
    left, top = 96.0, 56.0
    sheet.text(left + _ITEMS * _CELL / 2, 28, "scores of a batch", "ink b", 16)
    for row, (name, own) in enumerate(_LISTS.items()):
        y = top + row * (_CELL + 4)
        sheet.text(left - 12, y + _CELL / 2 + 5, name, "muted", 15, "end")
        for item in range(_ITEMS):
            x = left + item * _CELL
            if item not in decoded:
                sheet.rect(x + 1, y + 1, _CELL - 2, _CELL - 2, "none s-line", stroke_width=0.8)
                continue
            has = item in own
            sheet.rect(x + 1, y + 1, _CELL - 2, _CELL - 2, "blue" if has else "orange")
            sheet.text(x + _CELL / 2, y + _CELL / 2 + 5, "1" if has else "0", "on", 14)
    right = left + _ITEMS * _CELL + 14
    for y, look, words in ((69, "blue", "has it"), (100, "orange", "another has it")):
        sheet.rect(right, y - 12, 15, 15, look)
        sheet.text(right + 22, y, words, "ink", 14, "start")
    sheet.rect(right, 119, 15, 15, "none s-line", stroke_width=0.8)
    sheet.text(right + 22, 131, "not computed", "ink", 14, "start")
    bottom = top + 3 * (_CELL + 4) + 40
    for item in sorted(decoded):
        x = left + (item + 0.5) * _CELL
        sheet.line(x, bottom - 34, x, bottom - 6, "s-purple", 2)
    for item in range(_ITEMS):
        for row in range(4):
            x, y = left + item * _CELL, bottom + row * 21
            sheet.rect(x + 2, y + 1, _CELL - 4, 19, "purple" if item in decoded else "soft")
    sheet.text(right, bottom + 36, "read and", "purple b", 14, "start")
    sheet.text(right, bottom + 54, "changed", "purple b", 14, "start")
    words = "the last matrix, a vector for each of all the items"
    sheet.text(left + _ITEMS * _CELL / 2, bottom + 112, words, "ink b", 16)
    return sheet


def _name(row: dict[str, Any]) -> str:
    group = row.get("sampling_users")
    return f"{row['batch_size']} people" + (f", items of {group}" if group else "")


def batch_against_full() -> Sheet:
    """The measured points: processor time of an epoch against nDCG@10, with intervals."""
    found = json.loads(_MEASURED.read_text(encoding="utf-8"))
    rows = [row for row in found["rows"] if "batch_size" in row]
    points = ", ".join(
        f"{'full' if row['decode'] == 'all' else 'batch'} output, {_name(row)}: "
        f"{row['seconds_an_epoch']:.2f} s, {row['test']['ndcg@10']:.3f}"
        for row in rows
    )
    sheet = Sheet(680, 376, "nDCG@10 against the time of an epoch on MovieLens-1M", f"Six points. {points}.")
    left, right, top, bottom = 84.0, 650.0, 58.0, 308.0
    longest = 2.25
    low, high = 0.262, 0.297

    def x_of(seconds: float) -> float:
        return left + (right - left) * seconds / longest

    def y_of(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    sheet.line(left, bottom, right, bottom, "s-line", 1.2)
    sheet.line(left, top, left, bottom, "s-line", 1.2)
    for seconds in (0.0, 0.5, 1.0, 1.5, 2.0):
        sheet.line(x_of(seconds), bottom, x_of(seconds), bottom + 5, "s-line", 1.2)
        sheet.text(x_of(seconds), bottom + 23, f"{seconds:g}", "muted", 14)
    for value in (0.27, 0.28, 0.29):
        sheet.line(left - 5, y_of(value), left, y_of(value), "s-line", 1.2)
        sheet.text(left - 10, y_of(value) + 5, f"{value:.2f}", "muted", 14, "end")
    sheet.text((left + right) / 2, bottom + 50, "seconds of an epoch", "ink", 15)
    sheet.text(left - 48, top - 32, "nDCG@10", "ink", 15, "start")
    for row in rows:
        full = row["decode"] == "all"
        color = "blue" if full else "orange"
        x, y = x_of(row["seconds_an_epoch"]), y_of(row["test"]["ndcg@10"])
        sheet.line(x, y_of(row["test"]["low"]), x, y_of(row["test"]["high"]), f"s-{color}", 2)
        if full:
            sheet.circle(x, y, 6, color)
        else:
            sheet.diamond(x, y, 8, color)
        # Names of neighbours stand on different sides: below the fastest and the small batches, above others.
        words = _name(row).split(", ") + ([] if full else [f"{row['share_decoded']:.0%} decoded"])
        below = row["seconds_an_epoch"] < 0.8 or row["share_decoded"] < 0.6
        edge = y_of(row["test"]["low"]) + 18 if below else y_of(row["test"]["high"]) - 16 * len(words) + 8
        for line, one in enumerate(words):
            sheet.text(x, edge + 16 * line, one, f"{color} b" if line == 0 else color, 13)
    sheet.circle(x_of(1.2), top - 37, 6, "blue")
    sheet.text(x_of(1.2) + 14, top - 32, "full output", "blue b", 15, "start")
    sheet.diamond(x_of(1.8), top - 37, 8, "orange")
    sheet.text(x_of(1.8) + 14, top - 32, "batch output", "orange b", 15, "start")
    return sheet
