"""The figure of the chapter on the debate over networks and dot products."""

from __future__ import annotations

from math import sqrt

from tools.svg import Sheet, number

# Hit rate at 10 on MovieLens-1M among 100 candidates, as published; the year is that of the publication.
_ROWS = (
    ("NeuMF", "its own paper, 2017", 0.730, "green"),
    ("NeuMF", "re-run, 2021", 0.7093, "green"),
    ("iALS", "re-run, 2021", 0.7109, "blue"),
    ("EASE", "re-run, 2021", 0.7192, "grey"),
    ("dot product, log loss", "tuned, 2020", 0.7294, "blue"),
    ("iALS", "tuned, 2022", 0.722, "blue"),
)
_USERS = 6_040


def published_results() -> Sheet:
    """The published numbers of the debate, each with what chance does to a share of 6,040 users."""
    sheet = Sheet(
        640,
        310,
        "Published results on one benchmark",
        "Six published hit rates on the same split of MovieLens-1M, as points with intervals. NeuMF 0.730 in "
        "2017 and 0.709 when run again in 2021; iALS 0.711 and EASE 0.719 in 2021; a tuned dot product 0.729 "
        "in 2020; a tuned iALS 0.722 in 2022. The intervals of all six overlap.",
    )
    left, right, low, high = 290.0, 610.0, 0.69, 0.75
    sheet.text(right, 26, "hit rate at 10, MovieLens-1M, 100 candidates", "ink b", 15, "end")

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    for tick in (0.69, 0.71, 0.73, 0.75):
        x = place(tick)
        sheet.line(x, 42, x, 270, "s-line", 0.8)
        sheet.text(x, 292, number(tick), "muted", 14)
    for row, (name, source, value, color) in enumerate(_ROWS):
        y = 62 + 38 * row
        half = 1.96 * sqrt(value * (1 - value) / _USERS)
        sheet.text(270, y - 1, name, f"{'ink' if color == 'grey' else color} b", 15, "end")
        sheet.text(270, y + 15, source, "muted", 13, "end")
        sheet.line(place(value - half), y, place(value + half), y, f"s-{color}", 3)
        sheet.circle(place(value), y, 7, color)
    return sheet
