"""The figure of the chapter on autoencoders for ratings: a column with gaps goes in, a full one comes out."""

from __future__ import annotations

from tools.svg import Sheet

# The toy of the chapter: rows are people, columns are films; 0 is a gap.
_PEOPLE = ("Ann", "Bob", "Cem", "Dia")
_RATINGS = ((5, 4, 1, 0), (0, 5, 2, 1), (1, 0, 5, 4), (2, 1, 0, 5))
_COLUMN = 0  # film A is read
_OUT = ("4.5", "4.5", "1.5", "1.5")  # what the net of the chapter makes of it
_SIZE, _TOP = 42.0, 66.0


def column_in_column_out() -> Sheet:
    """The column of film A, one hidden unit, and the same column without gaps."""
    sheet = Sheet(
        680,
        286,
        "A column with a gap goes in, a full column comes out",
        "Left, a matrix of the ratings of four people for four films, with a question mark in each row. The "
        "column of film A is framed: 5, question mark, 1, 2. Its three ratings, but not the gap, are joined "
        "by lines to one circle, the code 0.99. From the circle four lines lead to a full column, "
        "4.5, 4.5, 1.5, 1.5. The second of them, where the gap was, is marked.",
    )
    column = [row[_COLUMN] for row in _RATINGS]
    matrix, read, code, written = 70.0, 300.0, 440.0, 540.0
    middles = [_TOP + (row + 0.5) * _SIZE for row in range(len(_PEOPLE))]
    sheet.text(matrix + 2 * _SIZE, 26, "ratings", "ink b", 16)
    sheet.text(read + _SIZE / 2, 26, "in", "ink b", 16)
    sheet.text(code, 26, "code", "ink b", 16)
    sheet.text(written + _SIZE / 2, 26, "out", "ink b", 16)
    for name, y in zip(_PEOPLE, middles, strict=True):
        sheet.text(matrix - 10, y + 5, name, "muted", 15, "end")
    for place, film in enumerate("ABCD"):
        sheet.text(matrix + (place + 0.5) * _SIZE, _TOP - 10, film, "muted", 15)
    for x in (read, written):
        sheet.text(x + _SIZE / 2, _TOP - 10, "A", "muted", 15)
    looks = {True: "none s-line", False: "soft"}
    sheet.grid(
        matrix,
        _TOP,
        [[str(rating) if rating else "?" for rating in row] for row in _RATINGS],
        [[looks[rating == 0] for rating in row] for row in _RATINGS],
        _SIZE,
        17,
    )
    left = matrix + _COLUMN * _SIZE
    sheet.rect(left - 2, _TOP - 2, _SIZE + 4, 4 * _SIZE + 4, "none s-blue", 5, stroke_width=2.5)
    sheet.arrow(matrix + 4 * _SIZE + 10, read - 12, middles[1] + _SIZE / 2)
    center = _TOP + 2 * _SIZE
    for rating, y in zip(column, middles, strict=True):
        if rating:
            sheet.line(read + _SIZE + 3, y, code - 25, center, "s-blue", 1.8)
        sheet.line(code + 25, center, written - 3, y, "s-blue" if rating else "s-orange", 1.8)
    words, blues = [[str(rating) if rating else "?"] for rating in column], [["blue"]] * 4
    sheet.grid(read, _TOP, words, [[looks[True]] if not rating else ["blue"] for rating in column], _SIZE, 17)
    sheet.circle(code, center, 25, "purple")
    sheet.text(code, center + 6, "0.99", "on b", 16)
    sheet.grid(written, _TOP, [[value] for value in _OUT], blues, _SIZE, 16)
    gap = column.index(0)
    sheet.rect(written + 1, _TOP + gap * _SIZE + 1, _SIZE - 2, _SIZE - 2, "orange")
    sheet.text(written + _SIZE / 2, middles[gap] + 6, _OUT[gap], "on b", 16)
    sheet.text(written + _SIZE + 10, middles[gap] + 5, "Bob's", "orange", 15, "start")
    bottom = _TOP + 4 * _SIZE + 26
    sheet.text(read + _SIZE / 2, bottom, "a gap says nothing", "muted", 14)
    sheet.text(written + _SIZE / 2, bottom, "every cell has a value", "muted", 14)
    return sheet
