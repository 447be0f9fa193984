"""Draw the picture that a shared link to the book shows: `python -m tools.draw_social`."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from tools.layout import REPO, write_atomically
from tools.svg import COLORS

TARGET = REPO / "book" / "_static" / "social.png"
WIDTH, HEIGHT, DPI = 1200, 630, 100
DARK = {name: pair[1] for name, pair in COLORS.items()}


def _box(ax: Any, x: float, y: float, width: float, height: float, color: str) -> None:
    style = "round,pad=0,rounding_size=6"
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, color=color, linewidth=0))


def picture() -> bytes:
    """A PNG of 1200 by 630 points: the title, and a matrix that becomes a ranked list."""
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=DARK["paper"])
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    ax.set_axis_off()
    lines = ("Deep Learning for", "Recommender Systems")
    for y, line in zip((120, 195), lines, strict=True):
        ax.text(80, y, line, color=DARK["ink"], fontsize=44, fontweight="bold", va="center")
    ax.text(
        80,
        275,
        "An executable book, and the library behind it",
        color=DARK["muted"],
        fontsize=21,
        va="center",
    )
    # who has met what: most cells are empty, and one row is asked for
    rng = np.random.default_rng(3)
    known = rng.random((5, 9)) < 0.3
    known[2] = [True, False, False, True, False, True, False, False, False]
    for row, column in np.ndindex(known.shape):
        color = DARK["orange"] if row == 2 else DARK["blue"]
        _box(ax, 80 + 44 * column, 350 + 44 * row, 36, 36, color if known[row, column] else DARK["soft"])
    arrow = {"arrowstyle": "-|>", "color": DARK["line"], "linewidth": 3, "mutation_scale": 24}
    ax.annotate("", (600, 456), (500, 456), arrowprops=arrow)
    # a narrow middle
    left, middle = np.linspace(370, 542, 5), np.linspace(420, 492, 2)
    for start, end in ((640, 720), (800, 720)):
        for a in left:
            for b in middle:
                ax.plot((start, end), (a, b), color=DARK["line"], linewidth=1, zorder=1)
    for x, ys in ((640, left), (720, middle), (800, left)):
        ax.scatter([x] * len(ys), ys, s=170, color=DARK["green"], zorder=2)
    ax.annotate("", (930, 456), (840, 456), arrowprops=arrow)
    for n, width in enumerate((180, 140, 105, 80, 55)):
        _box(ax, 950, 356 + 44 * n, width, 24, DARK["orange"])
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor=DARK["paper"], metadata={"Software": None})
    return stream.getvalue()


def main(target: Path = TARGET) -> int:
    write_atomically(target, picture())
    return 0


if __name__ == "__main__":
    sys.exit(main())
