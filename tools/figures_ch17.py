"""The figures of the chapter on scale: the order of remedies, copies of a model, and a divided table."""

from __future__ import annotations

from tools.svg import Sheet

_STAIRS = (
    ("measure", "the step"),
    ("larger", "batches"),
    ("only rows", "in use"),
    ("fewer", "bits"),
    ("more", "processes"),
    ("divide", "the tables"),
)
_STAIR_LOOKS = ("grey", "blue", "blue", "blue", "orange", "orange")
# Where the two processes stand, and what is said between them.
_COLUMNS = (128.0, 552.0)
_MIDDLE = 340.0


def order_of_remedies() -> Sheet:
    """Six stairs, and a disk below them all."""
    sheet = Sheet(
        680,
        340,
        "In which order to try what",
        "A staircase of six steps that rises from left to right: measure the step, larger batches, only rows "
        "in use, fewer bits, more processes, divide the tables. The first is grey, the next three are blue "
        "and concern one process, the last two are orange and need several. Below all of them lies a flat "
        "bar: if the data does not fit, leave it on the disk.",
    )
    base, width = 268.0, 106.0
    for number, (lines, look) in enumerate(zip(_STAIRS, _STAIR_LOOKS, strict=True)):
        left, top = 22 + number * width, base - 54 - 36 * number
        sheet.rect(left + 1, top, width - 2, base - top, look)
        for line, one in enumerate(lines):
            sheet.text(left + width / 2, top + 24 + 19 * line, one, "on b", 14)
    sheet.text(22, 46, "each step asks for more than the one before", "ink", 15, "start")
    for y, look, words in ((70, "blue", "in one process"), (94, "orange", "in several")):
        sheet.rect(22, y, 15, 15, look)
        sheet.text(44, y + 13, words, "ink", 14, "start")
    sheet.rect(23, base + 12, 6 * width - 2, 44, "soft")
    words = "the data does not fit: leave it on the disk, on any step"
    sheet.text(_MIDDLE, base + 40, words, "ink", 15)
    return sheet


def _down(sheet: Sheet, x: float, y: float, end: float, look: str = "s-line") -> None:
    sheet.line(x, y, x, end - 1, look, 2)
    sheet.path(f"M{x - 5} {end - 8}L{x} {end}L{x + 5} {end - 8}", f"none {look}", 2)


def _cells(sheet: Sheet, x: float, y: float, words: tuple[str, ...], looks: tuple[str, ...]) -> None:
    """A row of cells around x."""
    sheet.grid(x - 15 * len(words), y, [words], [looks])


def _exchange(sheet: Sheet, y: float, words: str, look: str) -> None:
    """What both hand over and get back: a bar between the two, with arrows in and out."""
    sheet.rect(_MIDDLE - 300, y, 600, 30, look)
    sheet.text(_MIDDLE, y + 20, words, "on b", 15)


def data_parallel() -> Sheet:
    """Two processes with copies of the weights: own part, own slopes, one sum, one step."""
    sheet = Sheet(
        680,
        428,
        "A step of data-parallel training",
        "Two columns, one for each of two processes. Both have the same four weights. Of the same batch of "
        "six examples, process 0 takes the first three and process 1 the last three. Each computes the "
        "slopes of its part. A bar across both, all-reduce, adds up the slopes and gives the sum to both. "
        "Each takes the same step, and the weights are the same again.",
    )
    for number, x in enumerate(_COLUMNS):
        sheet.text(x, 26, f"process {number}", "ink b", 16)
        _cells(sheet, x, 42, ("", "", "", ""), ("blue",) * 4)
        mine = range(3) if number == 0 else range(3, 6)
        looks = tuple("orange" if place in mine else "none s-line" for place in range(6))
        _down(sheet, x, 78, 98)
        _cells(sheet, x, 102, tuple("123456"), looks)
        _down(sheet, x, 138, 174)
        _cells(sheet, x, 178, ("", "", "", ""), ("purple",) * 4)
        _down(sheet, x, 214, 242)
        _down(sheet, x, 276, 302)
        _cells(sheet, x, 306, ("", "", "", ""), ("purple",) * 4)
        _down(sheet, x, 342, 372)
        _cells(sheet, x, 376, ("", "", "", ""), ("blue",) * 4)
    _exchange(sheet, 244, "all-reduce: add up, the sum for everybody", "purple")
    for y, words in (
        (62, "the same weights"),
        (122, "its part of the batch"),
        (198, "the slopes of its part"),
        (326, "the slopes of the batch"),
        (396, "the same step, the same weights"),
    ):
        sheet.text(_MIDDLE, y, words, "ink", 15)
    return sheet


def divided_table() -> Sheet:
    """A table of eight rows, four for each of two processes; vectors out, slopes back."""
    sheet = Sheet(
        680,
        520,
        "A table divided by rows, and what travels in a step",
        "Two columns, one for each of two processes. Process 0 has rows 0 to 3 of a table, in blue, process "
        "1 rows 4 to 7, in green. The batch asks for rows 2, 6, 1 and 5. Process 0 fills in 2 and 1 and has "
        "zeros for the others, process 1 fills in 6 and 5. A bar across both adds up and deals out: process "
        "0 gets the vectors 2 and 6, process 1 the vectors 1 and 5. They compute the slopes of these. A "
        "second bar collects the slopes of all four for both. Process 0 keeps those of rows 2 and 1, process "
        "1 those of rows 6 and 5.",
    )
    batch, looks = (2, 6, 1, 5), ("blue", "green")
    for number, (x, look) in enumerate(zip(_COLUMNS, looks, strict=True)):
        sheet.text(x, 26, f"process {number}", "ink b", 16)
        for row in range(4):
            sheet.rect(x - 55, 40 + 24 * row, 110, 22, look)
            sheet.text(x, 56 + 24 * row, f"row {4 * number + row}", "on", 14)
        _down(sheet, x, 140, 162)
        here = [row // 4 == number for row in batch]
        filled = tuple(str(row) if mine else "0" for row, mine in zip(batch, here, strict=True))
        looks_of = tuple(look if mine else "none s-line" for mine in here)
        _cells(sheet, x, 166, filled, looks_of)
        _down(sheet, x, 202, 226)
        _down(sheet, x, 260, 284)
        dealt = batch[2 * number : 2 * number + 2]
        _cells(sheet, x, 288, tuple(map(str, dealt)), tuple(looks[row // 4] for row in dealt))
        _down(sheet, x, 324, 354)
        _cells(sheet, x, 358, tuple(map(str, dealt)), ("purple",) * 2)
        _down(sheet, x, 394, 414)
        _down(sheet, x, 448, 470)
        kept = tuple(str(row) if mine else "" for row, mine in zip(batch, here, strict=True))
        _cells(sheet, x, 474, kept, tuple("purple" if mine else "none s-line" for mine in here))
    _exchange(sheet, 228, "add up, and deal out", "orange")
    _exchange(sheet, 416, "collect the slopes", "purple")
    for y, words in (
        (82, "half of the rows each"),
        (186, "the batch asks for 2, 6, 1, 5"),
        (308, "vectors of its part"),
        (378, "their slopes"),
        (494, "into the gradient of its rows"),
    ):
        sheet.text(_MIDDLE, y, words, "ink", 15)
    return sheet
