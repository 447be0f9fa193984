"""The figure of the first chapter: from data to a list in five steps."""

from __future__ import annotations

from itertools import pairwise

from tools.svg import Sheet

# A person a row; 1 is known, 2 is hidden for the test.
_CELLS = ((1, 0, 2, 0, 1), (0, 1, 1, 0, 0), (1, 0, 1, 2, 0), (2, 1, 0, 0, 1), (1, 0, 0, 1, 2))
_ME = 2  # the row that gets a list
# How much an item says about another one: light, middle, strong; nothing about itself.
_WEIGHTS = ((0, 1, 3, 1, 2), (1, 0, 2, 1, 1), (3, 2, 0, 2, 1), (1, 1, 2, 0, 3), (2, 1, 1, 3, 0))


def five_steps() -> Sheet:
    """Data, split, model, scores, list; and the way back from the list to what was hidden."""
    sheet = Sheet(
        720,
        256,
        "From data to a list in five steps",
        "Five pictures in a row. Data: a matrix of people and films with some cells filled. Split: the same "
        "matrix, a few of the cells in another colour, because they are hidden. Model: a square of weights "
        "between films. Scores: one bar for each film, for one person. List: the films that this person has "
        "not seen, in order. A line leads from the hidden cells to the list: are they in it?",
    )
    steps = {
        "data": "load",
        "split": "random_holdout",
        "model": "fit",
        "scores": "score",
        "list": "recommend",
    }
    middles = [76 + 142 * place for place in range(5)]
    for x, (name, code) in zip(middles, steps.items(), strict=True):
        sheet.text(x, 28, name, "ink b", 16)
        sheet.text(x, 186, code, "muted", 15)
    for left, right in pairwise(middles):
        sheet.arrow(left + 58, right - 58, 100)
    for x, colors in ((middles[0], ("soft", "blue", "blue")), (middles[1], ("soft", "blue", "orange"))):
        sheet.grid(x - 50, 50, [[""] * 5] * 5, [[colors[cell] for cell in row] for row in _CELLS], 20)
    for row, weights in enumerate(_WEIGHTS):
        for column, weight in enumerate(weights):
            if weight:
                x, y = middles[2] - 40 + 20 * column, 60 + 20 * row
                sheet.circle(x, y, 2 + 2.2 * weight, "green")
    sheet.rect(middles[1] - 53, 47 + 20 * _ME, 106, 26, "none s-ink", 5, stroke_width=2)
    for row, share in enumerate((0.35, 0.5, 0.2, 0.95, 0.7)):
        sheet.rect(middles[3] - 46, 54 + 20 * row, 92 * share, 12, "orange" if row == _ME + 1 else "grey", 3)
    for place, share in enumerate((0.95, 0.7, 0.5)):
        look, top = "grey" if place else "orange", 52 + 34 * place
        sheet.rect(middles[4] - 50, top, 100, 28, "soft", 4)
        sheet.rect(middles[4] - 50, top, 28, 28, look, 4)
        sheet.text(middles[4] - 36, top + 20, str(place + 1), "on b", 16)
        sheet.rect(middles[4] - 15, top + 10, 58 * share, 8, look, 4)
    sheet.path(f"M{middles[1]} 196V210H{middles[4]}V198", "none s-orange", 2)
    sheet.path(f"M{middles[4] - 5} 204L{middles[4]} 196L{middles[4] + 5} 204", "none s-orange", 2)
    sheet.text(431, 236, "evaluate: is what was hidden in the list?", "orange b", 15)
    return sheet
