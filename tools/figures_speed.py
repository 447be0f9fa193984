"""The figure of the page "How fast is it?", from what `benchmarks.speed.scaling` measured."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from benchmarks.speed.scaling import lines_of, slope_of
from recsys_lib.plots import model_color
from tools.layout import REPO
from tools.svg import Sheet, number

RESULTS = REPO / "benchmarks" / "results" / "scaling.json"
_LEFT, _TOP, _WIDTH, _HEIGHT, _STEP = 78, 52, 226, 250, 306


def growth() -> Sheet:
    """How the time of an epoch grows with interactions, users and items."""
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))
    axes, models = (list(dict.fromkeys(row[key] for row in rows)) for key in ("axis", "model"))
    lines = lines_of(rows)
    slopes = {key: slope_of(*line) for key, line in lines.items() if len(line[0]) > 1}
    told = "; ".join(
        f"with {axis}: " + ", ".join(f"{m} {slopes[axis, m]:.1f}" for m in models if (axis, m) in slopes)
        for axis in axes
    )
    sheet = Sheet(
        940,
        _TOP + _HEIGHT + 70 + 22 * len(models),
        "How the time of an epoch grows",
        f"Three panels with logarithmic axes, seconds of an epoch over sizes. Slopes {told}.",
    )
    low, high = _decades([row["seconds"] for row in rows])
    for k, axis in enumerate(axes):
        of = {model: lines[axis, model] for model in models if (axis, model) in lines}
        _panel(sheet, _LEFT + k * _STEP, axis, of, (low, high), with_label=k == 0)
        for j, model in enumerate(models):
            y = _TOP + _HEIGHT + 74 + 22 * j
            x = _LEFT + k * _STEP
            sheet.circle(x + 8, y - 5, 5, "", style=f"fill:{model_color(model)}")
            sheet.text(x + 22, y, model, "ink", 15, "start")
            slope = f"slope {slopes[axis, model]:.2f}" if (axis, model) in slopes else ""
            sheet.text(x + _WIDTH, y, slope, "muted", 15, "end")
    return sheet


def _panel(
    sheet: Sheet,
    left: float,
    axis: str,
    lines: dict[str, tuple[list[int], list[float]]],
    seconds: tuple[int, int],
    *,
    with_label: bool,
) -> None:
    sizes = _decades([size for line in lines.values() for size in line[0]])

    def x(size: float) -> float:
        return left + _WIDTH * (math.log10(size) - sizes[0]) / (sizes[1] - sizes[0])

    def y(time: float) -> float:
        return _TOP + _HEIGHT * (seconds[1] - math.log10(time)) / (seconds[1] - seconds[0])

    sheet.text(left, _TOP - 22, f"more {axis}", "ink b", 17, "start")
    for power in range(seconds[0], seconds[1] + 1):
        sheet.line(left, y(10.0**power), left + _WIDTH, y(10.0**power), "s-soft", 1)
        sheet.text(left - 8, y(10.0**power) + 5, _duration(power), "muted", 14, "end")
    for power in range(sizes[0], sizes[1] + 1):
        sheet.line(x(10.0**power), _TOP, x(10.0**power), _TOP + _HEIGHT, "s-soft", 1)
        sheet.text(x(10.0**power), _TOP + _HEIGHT + 20, _count(power), "muted", 14)
    if with_label:
        sheet.text(left - 60, _TOP - 22, "time", "muted", 14, "start")
    for model, line in lines.items():
        points = list(zip(*line, strict=True))
        d = "M" + "L".join(f"{number(x(size))} {number(y(time))}" for size, time in points)
        sheet.path(d, "none", 2.2, style=f"stroke:{model_color(model)}")
        for size, time in points:
            sheet.circle(x(size), y(time), 3.5, "", style=f"fill:{model_color(model)}")


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around all values."""
    return math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))


def _duration(power: int) -> str:
    return f"{10**power:,} s" if power >= 0 else f"{10 ** (power + 3):,} ms"


def _count(power: int) -> str:
    """A power of ten in few letters.

    >>> _count(3), _count(7)
    ('1k', '10M')
    """
    thousands = power // 3
    return f"{10 ** (power - 3 * thousands)}{['', 'k', 'M', 'G'][thousands]}"
