"""The figures of the chapter on negative sampling."""

from __future__ import annotations

from tools.svg import Sheet, number

# Who has what in the toy of the book, and how many people have each film.
_HISTORIES = {"Ann": "ACEF", "Bob": "ABD", "Cem": "BDE", "Dia": "ACF", "Eva": "BDE"}
_COUNTS = {film: sum(film in history for history in _HISTORIES.values()) for film in "ABCDEF"}


def zeros() -> Sheet:
    """One pair that happened, and all that did not, to scale."""
    data = {
        ("MovieLens-", "100K"): 943 * 1_682 / 100_000,
        ("MovieLens-", "1M"): 6_040 * 3_706 / 1_000_209,
        ("MovieLens-", "20M"): 138_493 * 26_744 / 20_000_263,
        ("20,000 products,", "20 per customer"): 20_000 / 20,
    }
    sheet = Sheet(
        640,
        300,
        "How many pairs did not happen for each one that did",
        "Four squares of growing size, each with the same small square in its corner. The small one is a "
        "pair that happened. The rest of the square is the pairs that did not: 15 for each one in "
        "MovieLens-100K, 21 in MovieLens-1M, 184 in MovieLens-20M, and 999 in a shop with 20,000 products "
        "and 20 purchases per customer.",
    )
    unit, bottom = 6.4, 232.0
    for x, ((first, second), cells) in zip((76, 180, 308, 500), data.items(), strict=True):
        side = unit * cells**0.5
        left = x - side / 2
        sheet.rect(left, bottom - side, side, side, "soft", 2)
        sheet.rect(left, bottom - unit, unit, unit, "orange", 0)
        sheet.text(x, bottom - side - 10, f"1 to {cells - 1:.0f}", "ink b", 16)
        sheet.text(x, bottom + 26, first, "ink", 15)
        sheet.text(x, bottom + 46, second, "ink", 15)
    for y, look, words in ((44, "orange", "a pair that happened"), (76, "soft", "pairs that did not")):
        sheet.rect(36, y - 13, 16, 16, look, 1)
        sheet.text(62, y, words, "ink", 15, "start")
    return sheet


def gaps() -> Sheet:
    """A point on what is left of the line, after a person's own films have been cut out."""
    own, drawn, unit, left = _HISTORIES["Bob"], 3, 33.0, 56.0
    sheet = Sheet(
        640,
        266,
        "Drawing without throwing away",
        "Above, a line of 16 places: film A has 3, B 3, C 2, D 3, E 3 and F 2. Bob's films A, B and D are "
        "grey. Below, what is left when they are cut out: 7 places, 2 of film C, 3 of E, 2 of F. Place 3 is "
        "drawn. Nine places were cut out before it, so it is place 12 of the line above, in film E.",
    )
    upper, lower, height = 52.0, 178.0, 40.0
    sheet.text(left, 32, "as many places as people have the film", "muted", 15, "start")
    begin = short = 0
    for film, count in _COUNTS.items():
        x, width = left + begin * unit, count * unit
        free = film not in own
        sheet.rect(x + 1, upper, width - 2, height, "blue" if free else "soft", 4)
        sheet.text(x + width / 2, upper + 27, film, "on b" if free else "ink", 18)
        if free:
            below = left + short * unit
            for a, b in ((x + 1, below + 1), (x + width - 1, below + width - 1)):
                start, end = upper + height + 2, lower - 3
                bend = (start + end) / 2
                sheet.path(
                    f"M{number(a)} {number(start)}C{number(a)} {number(bend)} {number(b)} {number(bend)} "
                    f"{number(b)} {number(end)}",
                    "none s-line",
                    1.2,
                )
            sheet.rect(below + 1, lower, width - 2, height, "blue", 4)
            sheet.text(below + width / 2, lower + 27, film, "on b", 18)
            if short <= drawn < short + count:
                for place, top in ((drawn, lower), (begin + drawn - short, upper)):
                    middle = left + (place + 0.5) * unit
                    sheet.rect(middle - unit / 2 + 1, top - 3, unit - 2, height + 6, "orange", 4)
                    sheet.text(middle, top + 27, film, "on b", 18)
                full = begin + drawn - short
                sheet.text(left + (full + 0.5) * unit, upper + height + 22, str(full), "orange b", 15)
            short += count
        begin += count
    for place in range(short):
        look = "orange b" if place == drawn else "muted"
        sheet.text(left + (place + 0.5) * unit, lower + height + 22, str(place), look, 15)
    sheet.text(left + 7.6 * unit, lower + 18, "Bob has A, B and D: cut out.", "ink", 15, "start")
    sheet.text(left + 7.6 * unit, lower + 40, "Draw a place from 0 to 6.", "ink", 15, "start")
    return sheet


def in_batch() -> Sheet:
    """The films of the others in the batch are the negatives."""
    batch = dict(zip(_HISTORIES, "ABDFE", strict=True))
    sheet = Sheet(
        640,
        262,
        "In-batch negatives",
        "A square table of the five pairs of a batch: Ann and A, Bob and B, Cem and D, Dia and F, Eva and E. "
        "The diagonal holds the positives. In each row the films of the others are the negatives, except "
        "those that the person has: they are left out.",
    )
    words = {"own": "✓", "out": "", "negative": "−"}
    looks = {"own": "blue", "out": "none s-line", "negative": "orange"}
    kinds = [
        ["own" if f == batch[name] else "out" if f in history else "negative" for f in batch.values()]
        for name, history in _HISTORIES.items()
    ]
    size, left, top = 38.0, 96.0, 56.0
    for place, (name, film) in enumerate(batch.items()):
        sheet.text(left - 12, top + (place + 0.5) * size + 5, name, "ink", 15, "end")
        sheet.text(left + (place + 0.5) * size, top - 10, film, "ink b", 16)
    sheet.text(left + 2.5 * size, 24, "the films of the batch", "muted", 15)
    sheet.grid(
        left,
        top,
        [[words[kind] for kind in row] for row in kinds],
        [[looks[kind] for kind in row] for row in kinds],
        size,
        18,
    )
    legend = (
        ("own", "this person's film in the batch"),
        ("negative", "somebody else's: a negative"),
        ("out", "this person has it too: left out"),
    )
    for row, (kind, meaning) in enumerate(legend):
        y = top + 24 + row * 48
        sheet.grid(322, y, [[words[kind]]], [[looks[kind]]], 30, 16)
        sheet.text(364, y + 20, meaning, "ink", 15, "start")
    return sheet
