"""The figure of the chapter on variational and linear autoencoders: the two roads from a list to scores."""

from __future__ import annotations

from tools.svg import Sheet

# Bob has films A and B. The two rows of scores stand for the same idea and are not measured.
_FILMS = "ABCDEF"
_CLOUD = (0.86, 0.8, 0.72, 0.2, 0.14, 0.18)
_LINEAR = (0.55, 0.5, 0.74, 0.12, 0.08, 0.1)
_CELL = 20.0
# Where the dots of the cloud lie, in pixels from its middle; the last one is the draw.
_DOTS = ((-22, 6), (-12, -13), (-30, -6), (3, 17), (13, -17), (26, 5), (-6, 23), (31, -11), (-17, 17))
_DRAW = (19.0, 11.0)


def _scores(sheet: Sheet, x: float, top: float, values: tuple[float, ...]) -> None:
    """Six bars with the letters of the films; those that Bob has are grey, the film on top is orange."""
    for row, (film, value) in enumerate(zip(_FILMS, values, strict=True)):
        y = top + 20 * row
        look = "grey" if film in "AB" else "orange" if film == "C" else "blue"
        sheet.text(x - 12, y + 12, film, "muted b" if film in "AB" else f"{look} b", 14)
        sheet.rect(x, y + 1, 110 * value, 13, look)


def _history(sheet: Sheet, x: float, top: float) -> None:
    """Bob's list as a column of six squares, filled where he has the film."""
    for row, film in enumerate(_FILMS):
        own = film in "AB"
        sheet.rect(x, top + _CELL * row + 1, _CELL - 2, _CELL - 2, "grey" if own else "soft")
        sheet.text(x - 12, top + _CELL * row + 14, film, "muted b" if own else "muted", 14)


def two_roads() -> Sheet:
    """Above, the list becomes a cloud and a point is drawn; below, one matrix without its diagonal."""
    sheet = Sheet(
        680,
        370,
        "Two roads from a list of films to a score for every film",
        "Above: the list of Bob, who has films A and B, goes into an encoder. Out comes a cloud of points "
        "around a centre marked mean. One point of it, marked draw, goes on through a decoder to six bars, "
        "the scores. Film C has the longest bar of those that Bob does not have. Below: the same list goes "
        "into a square matrix of six by six cells whose diagonal is empty, and comes out as six bars at "
        "once; again C is the longest new one.",
    )
    for middle, title in ((98.0, "Mult-VAE: through a cloud"), (278.0, "EASE: through one matrix")):
        top = middle - 3 * _CELL
        sheet.text(24, top - 14, title, "ink b", 16, "start")
        _history(sheet, 48, top)
        _scores(sheet, 540, top, _CLOUD if middle < 200 else _LINEAR)
    middle = 98.0
    sheet.arrow(80, 190, middle)
    sheet.text(134, middle - 12, "encoder", "muted", 14)
    x = 272.0
    sheet.circle(x, middle, 62, "soft")
    for dx, dy in _DOTS:
        sheet.circle(x + dx, middle + dy, 3, "blue")
    sheet.circle(x, middle, 6, "purple")
    sheet.text(x - 8, middle - 40, "mean", "purple b", 14)
    sheet.line(x, middle - 35, x, middle - 8, "s-purple", 1.4)
    sheet.circle(x + _DRAW[0], middle + _DRAW[1], 6, "orange")
    sheet.line(x + _DRAW[0] + 8, middle + _DRAW[1], 380, middle, "s-orange", 2)
    sheet.text(376, middle + 26, "one draw", "orange b", 14)
    sheet.arrow(384, 510, middle)
    sheet.text(446, middle - 12, "decoder", "muted", 14)
    middle = 278.0
    sheet.arrow(80, 196, middle)
    sheet.text(134, middle - 12, "times", "muted", 14)
    for row in range(6):
        for column in range(6):
            look = "none s-line" if row == column else "soft" if row > 1 else "blue"
            left, up = 212 + _CELL * column, middle - 3 * _CELL + _CELL * row
            sheet.rect(left + 1, up + 1, _CELL - 2, _CELL - 2, look)
    sheet.arrow(346, 510, middle)
    sheet.text(428, middle - 12, "adds two rows", "muted", 14)
    sheet.text(272, middle + 80, "empty diagonal", "muted", 14)
    return sheet
