"""The figures of the chapter on learning to rank: pairs, and the search for a pair that is wrong."""

from __future__ import annotations

from tools.svg import Sheet

# Bob has the first three films; the numbers are those that the chapter computes with.
_SCORES = {"A": 0.9, "B": 0.8, "D": 0.35, "C": 0.1, "E": 0.45, "F": 0.05}
_OWN, _OTHERS = "ABD", "CEF"


def pairs() -> Sheet:
    """Six scores, asked about one by one and in pairs."""
    sheet = Sheet(
        640,
        300,
        "Asking about films one by one, or in pairs",
        "Left: a bar for each of six films, up to its score. An orange line leads from the end of the bar to "
        "its target, 1 for the films A, B and D that Bob has, 0 for C, E and F. Right: a table of the nine "
        "pairs of a film that Bob has and one that he has not. Eight pairs are in the right order, marked by "
        "a tick. D against E is wrong: D has 0.35 and E has 0.45.",
    )
    sheet.text(160, 26, "one by one", "ink b", 16)
    sheet.text(160, 48, "how far from 1 or 0?", "muted", 14)
    left, width = 56, 204
    sheet.line(left, 62, left, 248, "s-line", 1.2)
    sheet.line(left + width, 62, left + width, 248, "s-line", 1.2)
    sheet.text(left, 268, "0", "muted", 14)
    sheet.text(left + width, 268, "1", "muted", 14)
    for row, (film, score) in enumerate(_SCORES.items()):
        y = 78 + 30 * row + (8 if film in _OTHERS else 0)
        own = film in _OWN
        end = left + width * score
        sheet.text(left - 18, y + 6, film, "blue b" if own else "muted b", 16)
        sheet.rect(left, y - 8, width * score, 16, "blue" if own else "grey", 2)
        target = left + width if own else left
        if own:
            sheet.line(end + 3, y, target - 6, y, "s-orange", 2.5)
        else:
            sheet.line(left, y + 12, end, y + 12, "s-orange", 2.5)
        sheet.circle(target, y if own else y + 12, 5, "orange")
    sheet.text(472, 26, "in pairs", "ink b", 16)
    sheet.text(472, 48, "is Bob's film above the other?", "muted", 14)
    size, x, y = 56, 398, 92
    for column, film in enumerate(_OTHERS):
        sheet.text(x + (column + 0.5) * size, y - 10, film, "muted b", 16)
    for row, own_film in enumerate(_OWN):
        sheet.text(x - 16, y + (row + 0.5) * size + 6, own_film, "blue b", 16)
        for column, film in enumerate(_OTHERS):
            right = _SCORES[own_film] > _SCORES[film]
            look = "soft" if right else "orange"
            sheet.rect(x + column * size + 2, y + row * size + 2, size - 4, size - 4, look, 4)
            mark = ("✓", "blue b") if right else ("✗", "on b")
            sheet.text(x + (column + 0.5) * size, y + (row + 0.5) * size + 8, *mark, 22)
    sheet.text(160, 290, "six distances", "orange b", 15)
    sheet.text(482, 290, "8 of 9 pairs are right", "blue b", 15)
    return sheet


def warp_trials() -> Sheet:
    """WARP: how many draws it takes to find a film that is too high."""
    sheet = Sheet(
        640,
        262,
        "WARP: draw films until one is too high",
        "Two cases for film D of a history. In the first, the first film drawn already stands too high: "
        "about n minus 1 films do, so the push is strong. In the second, three draws are fine, the next "
        "is too high: about a quarter as many films are, so the push is weaker.",
    )
    for x, words in ((102, "draws"), (330, "too high, in all, about"), (566, "push")):
        sheet.text(x, 30, words, "ink b", 16, "start")
    rows = ((("✗",), "n − 1", 56, "strong"), (("✓", "✓", "✓", "✗"), "(n − 1) / 4", 34, "weaker"))
    for row, (marks, rank, length, word) in enumerate(rows):
        y = 84 + 92 * row
        sheet.rect(34, y - 22, 44, 44, "blue", 6)
        sheet.text(56, y + 7, "D", "on b", 19)
        for place, mark in enumerate(marks):
            x = 102 + 54 * place
            found = mark == "✗"
            sheet.rect(x, y - 22, 44, 44, "orange" if found else "soft", 6)
            sheet.text(x + 22, y + 8, mark, "on b" if found else "muted b", 20)
        sheet.text(420, y + 6, rank, "ink", 18)
        sheet.line(574, y + length / 2, 574, y - length / 2 + 4, "s-orange", 4)
        top = y - length / 2
        sheet.path(f"M566 {top + 9}L574 {top}L582 {top + 9}", "none s-orange", 4)
        sheet.text(588, y + 5, word, "muted", 13, "start")
    sheet.text(34, 240, "✓  at least a margin below D", "muted", 15, "start")
    sheet.text(352, 240, "✗  too high: take this pair", "orange b", 15, "start")
    return sheet
