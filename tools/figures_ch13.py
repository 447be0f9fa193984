"""The figure of the chapter on the bottleneck: from the sum of a few vectors to a score for every film."""

from __future__ import annotations

from tools.svg import Sheet

# Bob has films A and B; the strips are shades of the numbers of a vector, the bars are scores. The order of
# the bars is what the chapter works out: his own films and film C stand above D, E and F.
_VECTORS = {"A": "1101", "B": "1011"}
_SCORES = {"A": 0.94, "B": 0.9, "C": 0.8, "D": 0.22, "E": 0.14, "F": 0.18}
_CELL = 22.0


def _strip(sheet: Sheet, x: float, middle: float, looks: list[str]) -> None:
    """A column of small squares around a height: one vector."""
    top = middle - len(looks) * _CELL / 2
    for place, look in enumerate(looks):
        sheet.rect(x, top + place * _CELL + 1, _CELL - 2, _CELL - 2, look)


def bottleneck() -> Sheet:
    """Two films go in as vectors, through a narrow layer, and every film gets a score."""
    sheet = Sheet(
        680,
        300,
        "From a few films, through a narrow layer, to a score for every film",
        "Left, the films A and B that Bob has, each with a vector of four numbers. A plus sign joins them to "
        "one vector of four numbers, their sum. An arrow leads to a narrow layer of two numbers, and lines "
        "from there to six bars, the scores of all films A to F. The bars of A and B are long and grey, as "
        "Bob has them. The bar of C is nearly as long, in orange, and marked: new, on top. Those of D, E and "
        "F are short.",
    )
    middle = 158.0
    for x, words in ((52, "his films"), (186, "sum"), (322, "narrow layer"), (520, "a score for every film")):
        sheet.text(x, 28, words, "ink b", 16)
    for (film, signs), y in zip(_VECTORS.items(), (96.0, 220.0), strict=True):
        sheet.text(34, y + 6, film, "blue b", 18)
        _strip(sheet, 56, y, ["blue" if sign == "1" else "soft" for sign in signs])
        sheet.line(82, y, 150, middle + (y - middle) * 0.2, "s-line", 1.8)
    sheet.circle(162, middle, 15, "none s-line", stroke_width=2)
    sheet.text(162, middle + 7, "+", "ink b", 20)
    _strip(sheet, 186, middle, ["blue"] * 4)
    sheet.arrow(216, 298, middle)
    _strip(sheet, 311, middle, ["purple"] * 2)
    left, width = 440.0, 150.0
    for row, (film, score) in enumerate(_SCORES.items()):
        y = 66 + 38 * row
        own, new = film in _VECTORS, film == "C"
        look = "grey" if own else "orange" if new else "blue"
        sheet.line(336, middle, left - 34, y, "s-orange" if new else "s-line", 2.2 if new else 1.4)
        sheet.text(left - 18, y + 6, film, "muted b" if own else f"{look} b", 17)
        sheet.rect(left, y - 10, width * score, 20, look)
        if own:
            sheet.text(left + width * score + 8, y + 5, "has it", "muted", 14, "start")
        if new:
            sheet.text(left + width * score + 8, y + 5, "new, on top", "orange b", 14, "start")
    sheet.text(298, 226, "too few numbers", "muted", 14)
    sheet.text(298, 245, "to copy a list", "muted", 14)
    return sheet
