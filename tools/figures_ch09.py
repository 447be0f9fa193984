"""The figure of the chapter on neural collaborative filtering."""

from __future__ import annotations

from tools.svg import Sheet, number

_BASE = 262.0  # top of the vectors, at the bottom of each net
_SCORE = 62.0  # middle of the score


def three_networks() -> Sheet:
    """GMF, MLP and NeuMF beside each other, from the vectors below to the score above."""
    sheet = Sheet(
        720,
        340,
        "Three networks for a person and a film",
        "Each network goes from two vectors, below, to a score, above. GMF multiplies the vector of the "
        "person and that of the film entry by entry and adds the products up with weights. MLP lays the two "
        "vectors end to end and sends them through layers that get narrower. NeuMF does both, with vectors "
        "of its own for each half, lays the results end to end, and adds them up with weights.",
    )
    for x, name, words in (
        (112, "GMF", "multiply entry by entry"),
        (332, "MLP", "a tower of layers"),
        (580, "NeuMF", "both, side by side"),
    ):
        sheet.text(x, 26, name, "ink b", 18)
        sheet.circle(x, _SCORE, 14, "blue")
        sheet.text(x, _SCORE + 5, "s", "on b i", 16)
        sheet.text(x, 330, words, "muted", 15)
    _product(sheet, 112, 4, 98)
    _up(sheet, 112, 98, _SCORE + 17)
    _tower(sheet, 332, 4, (8, 4, 2), 98)
    _up(sheet, 332, 98, _SCORE + 17)
    _product(sheet, 512, 3, 150)
    _tower(sheet, 644, 3, (6, 3), 150)
    # The two results end to end: three products and three units.
    _cells(sheet, 580, 98, (*["purple"] * 3, *["grey"] * 3))
    _up(sheet, 512, 150, 98 + 21, to=556)
    _up(sheet, 644, 150, 98 + 21, to=604)
    _up(sheet, 580, 98, _SCORE + 17)
    return sheet


def _cells(sheet: Sheet, x: float, y: float, looks: tuple[str, ...], size: float = 18) -> None:
    """A row of cells around x."""
    left = x - len(looks) * size / 2
    for place, look in enumerate(looks):
        sheet.rect(left + place * size + 1, y, size - 2, size - 2, look)


def _up(sheet: Sheet, x: float, start: float, end: float, to: float | None = None) -> None:
    """An arrow upwards, from above the cells at height `start`."""
    top, tip = start - 4, x if to is None else to
    bend = (top + end) / 2
    sheet.path(
        f"M{number(x)} {number(top)}C{number(x)} {bend} {number(tip)} {bend} {number(tip)} {end}",
        "none s-line",
        2,
    )
    sheet.path(
        f"M{number(tip - 5)} {end + 7}L{number(tip)} {end}L{number(tip + 5)} {end + 7}", "none s-line", 2
    )


def _vectors(sheet: Sheet, x: float, gap: float, entries: int) -> None:
    """The vectors of a person and a film, `gap` to the left and right of x."""
    for side, look, name in ((-1, "green", "person"), (1, "orange", "film")):
        _cells(sheet, x + side * gap, _BASE, (look,) * entries)
        sheet.text(x + side * gap, _BASE + 38, name, f"{look} b", 14)


def _product(sheet: Sheet, x: float, entries: int, top: float) -> None:
    """Two vectors, multiplied entry by entry."""
    gap = 9.0 * entries + (9 if entries > 3 else 5)
    _vectors(sheet, x, gap, entries)
    for side in (-1, 1):
        _up(sheet, x + side * gap, _BASE, top + 24, to=x + side * 7)
    sheet.text(x, (top + _BASE) / 2 + 30, "×", "ink", 22)
    _cells(sheet, x, top, ("purple",) * entries)


def _tower(sheet: Sheet, x: float, entries: int, widths: tuple[int, ...], top: float) -> None:
    """Two vectors end to end, and the layers above them."""
    gap = 9.0 * entries
    _vectors(sheet, x, gap, entries)
    step = (_BASE - top) / len(widths)
    for layer, width in enumerate(widths, start=1):
        below = _BASE - (layer - 1) * step
        _up(sheet, x, below, below - step + 21)
        _cells(sheet, x, below - step, ("grey",) * width)
