"""The figures of the chapter on matrix factorization for implicit feedback."""

from __future__ import annotations

from tools.svg import Sheet

# The toy of the book.
_HISTORIES = {"Ann": "ACEF", "Bob": "ABD", "Cem": "BDE", "Dia": "ACF", "Eva": "BDE"}
_FILMS = "ABCDEF"


def confidence() -> Sheet:
    """A loss over the known cells, and one over all cells in two sizes."""
    sheet = Sheet(
        640,
        290,
        "Asking about the empty cells too",
        "Left, a table of five users and six films. The 16 pairs that happened hold a tick, the other 14 a "
        "question mark: the loss does not ask about them. Right, the same table. Each pair that happened is "
        "a large square, which should score 1; each other pair is a small square, which should score 0.",
    )
    size, top = 30, 66
    seen = [[film in history for film in _FILMS] for history in _HISTORIES.values()]
    for left, title in ((70, "16 pairs count"), (410, "all 30 pairs count")):
        sheet.text(left + 3 * size, 24, title, "ink b", 16)
        for column, film in enumerate(_FILMS):
            sheet.text(left + (column + 0.5) * size, top - 10, film, "muted", 14)
        for row, name in enumerate(_HISTORIES):
            sheet.text(left - 8, top + (row + 0.5) * size + 5, name, "muted", 14, "end")
    sheet.grid(
        70,
        top,
        [["✓" if cell else "?" for cell in row] for row in seen],
        [["blue" if cell else "none s-line" for cell in row] for row in seen],
        size,
    )
    small = 9
    for row, cells in enumerate(seen):
        for column, cell in enumerate(cells):
            x, y = 410 + (column + 0.5) * size, top + (row + 0.5) * size
            side = size - 2 if cell else small
            sheet.rect(x - side / 2, y - side / 2, side, side, "blue" if cell else "orange", 3 if cell else 1)
            if cell:
                sheet.text(x, y + 5, "1", "on", 14)
    sheet.text(160, 246, "?  = not in the loss", "muted", 14)
    sheet.rect(358, 233, 16, 16, "blue", 2)
    sheet.text(382, 246, "should score 1, counts much", "ink", 14, "start")
    sheet.rect(361.5, 262.5, small, small, "orange", 1)
    sheet.text(382, 272, "should score 0, counts little", "ink", 14, "start")
    return sheet


def shared_block() -> Sheet:
    """One sum over all films for everybody, and a short sum for each person."""
    sheet = Sheet(
        640,
        300,
        "One sum over all films, shared by everybody",
        "Left, the tall table Q with a row for each film. From it one small square matrix is computed, once. "
        "Right, the equations of three people: for each of them the same square matrix, plus one thin square "
        "for each of their own films, four for Ann, three for Bob and three for Cem.",
    )
    cell, top = 15, 52
    for row in range(13):
        for column in range(3):
            sheet.rect(46 + column * cell, top + row * cell, cell - 2, cell - 2, "green", 2)
    sheet.text(68, 34, "all films: Q", "ink b", 15)
    sheet.text(68, 272, "n × d", "muted", 14)
    sheet.arrow(106, 150, 149, "line")
    sheet.grid(162, 126, [[""] * 3] * 3, [["green"] * 3] * 3, cell)
    sheet.text(184, 108, "QᵀQ", "green b", 16)
    sheet.text(184, 196, "d × d,", "muted", 14)
    sheet.text(184, 216, "once", "muted", 14)
    for row, name in enumerate(("Ann", "Bob", "Cem")):
        y = 60 + row * 76
        middle = y + 22.5
        sheet.path(f"M218 149C258 149 248 {middle} 274 {middle}", "none s-line", 1.8)
        sheet.text(318, middle + 5, name, "ink", 15, "end")
        sheet.grid(334, y, [[""] * 3] * 3, [["green"] * 3] * 3, cell)
        sheet.text(396, middle + 6, "+", "ink", 18)
        for place, film in enumerate(_HISTORIES[name]):
            x = 416 + place * 54
            sheet.rect(x, y, 44, 44, "soft", 4)
            sheet.rect(x, y, 44, 44, "none s-orange", 4, stroke_width=2.5)
            sheet.text(x + 22, y + 28, film, "orange b", 17)
    sheet.text(357, 34, "the same", "green b", 15)
    sheet.text(520, 34, "own films only", "orange b", 15)
    return sheet
