"""The figure of the chapter on MXNet."""

from __future__ import annotations

from tools.svg import Sheet

# What the part does, and what it is called in PyTorch and in MXNet.
_PARTS = (
    ("feed", "DataLoader", "DataIter"),
    ("score", "nn.Module", "HybridBlock"),
    ("slopes", "backward()", "backward()"),
    ("step", "optim.Adam", "gluon.Trainer"),
    ("measure", "own code", "EvalMetric"),
)


def two_frameworks() -> Sheet:
    """The five parts of training, and their names in two frameworks."""
    names = "; ".join(f"{part} is {first} and {second}" for part, first, second in _PARTS)
    sheet = Sheet(
        640,
        200,
        "Five parts of training, with two names each",
        f"From left to right, with the name in PyTorch above and that in MXNet below: {names}.",
    )
    width, height, gap, left, top = 102.0, 46.0, 9.0, 88.0, 84.0
    sheet.text(left - 10, top - 36, "PyTorch", "blue b", 15, "end")
    sheet.text(left - 10, top + height / 2 + 5, "the part", "muted", 15, "end")
    sheet.text(left - 10, top + height + 46, "MXNet", "orange b", 15, "end")
    for place, (part, first, second) in enumerate(_PARTS):
        x = left + place * (width + gap)
        middle = x + width / 2
        sheet.rect(x, top - 58, width, 34, "none s-blue", 6, stroke_width=1.5)
        sheet.text(middle, top - 36, first, "blue", 14)
        sheet.line(middle, top - 24, middle, top)
        sheet.rect(x, top, width, height, "soft", 6)
        sheet.text(middle, top + height / 2 + 6, part, "ink b", 17)
        sheet.line(middle, top + height, middle, top + height + 24)
        sheet.rect(x, top + height + 24, width, 34, "none s-orange", 6, stroke_width=1.5)
        sheet.text(middle, top + height + 46, second, "orange", 14)
        if place:
            sheet.arrow(x - gap + 1, x - 1, top + height / 2, "line", 2)
    return sheet
