"""The figure of the chapter on the cold start: what is known of a newcomer, and where the list comes from."""

from __future__ import annotations

from tools.svg import Sheet

# What is known of each newcomer: answers about themselves, films; then where their list comes from.
_NEWCOMERS = (
    (False, 0, "nothing", ("what is", "popular")),
    (True, 0, "age and job", ("popular among", "people like that")),
    (True, 1, "one film", ("films that go", "with it")),
    (True, 3, "three films", ("films that go", "with them")),
)
_LOOKS = ("grey", "purple", "blue", "blue")


def _person(sheet: Sheet, x: float, y: float, look: str) -> None:
    sheet.circle(x, y, 13, look)
    low, high = y + 46, y + 18
    sheet.path(f"M{x - 24} {low}Q{x - 24} {high} {x} {high}Q{x + 24} {high} {x + 24} {low}Z", look)


def _down(sheet: Sheet, x: float, y: float, end: float) -> None:
    sheet.line(x, y, x, end - 1, "s-line", 2)
    sheet.path(f"M{x - 5} {end - 8}L{x} {end}L{x + 5} {end - 8}", "none s-line", 2)


def cold_start() -> Sheet:
    """Four newcomers of whom more and more is known, and a new film."""
    sheet = Sheet(
        680,
        390,
        "More and more is known of a newcomer",
        "Four people side by side. Of the first nothing is known, and an arrow leads to what is popular. "
        "Of the second age and job are known: popular among people like that. Of the third one film is "
        "known: films that go with it. Of the fourth three films are known: films that go with them. Below "
        "a line, a new film that nobody has seen: its genres and its year lead to those who like such films.",
    )
    for column, ((profile, films, known, source), look) in enumerate(zip(_NEWCOMERS, _LOOKS, strict=True)):
        x = 95 + 163 * column
        _person(sheet, x, 34, look)
        if not profile:
            sheet.text(x, 120, "?", "muted b", 26)
        elif films == 0:
            for row, width in enumerate((56, 38)):
                sheet.rect(x - 28, 100 + 14 * row, width, 8, "purple")
        for place in range(films):
            sheet.rect(x - 15 + 36 * (place - (films - 1) / 2), 98, 30, 30, "orange")
        sheet.text(x, 154, known, f"{look} b", 16)
        _down(sheet, x, 168, 200)
        for row, words in enumerate(source):
            sheet.text(x, 222 + 20 * row, words, "ink", 15)
    sheet.line(30, 270, 650, 270, "s-line", 1.2, stroke_dasharray="4 5")
    sheet.rect(52, 302, 52, 52, "orange")
    sheet.text(78, 334, "new", "on b", 15)
    sheet.text(122, 323, "a film that nobody has seen", "ink", 15, "start")
    sheet.text(122, 344, "only genres and a year are known", "muted", 14, "start")
    sheet.arrow(376, 424, 328)
    sheet.text(436, 323, "people who like", "ink", 15, "start")
    sheet.text(436, 344, "such films", "ink", 15, "start")
    return sheet
