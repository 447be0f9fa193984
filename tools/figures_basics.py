"""The figures of the first edition: the map, the data, measuring, and the linear models."""

from __future__ import annotations

from itertools import pairwise

from tools.svg import Sheet, number

USERS = ("Ann", "Bob", "Cem", "Dia", "Eva")
# The toy of the whole book: 5 users, 6 films; 0 is unknown.
RATINGS = ((5, 0, 3, 0, 1, 4), (4, 2, 0, 5, 0, 0), (0, 1, 0, 4, 5, 0), (2, 0, 5, 0, 0, 3), (0, 4, 0, 3, 2, 0))


def _user_names(sheet: Sheet, x: float, y: float, size: float = 30) -> None:
    for row, name in enumerate(USERS):
        sheet.text(x, y + (row + 0.5) * size + 5, name, "muted", 14, "end")


def _film_names(sheet: Sheet, x: float, y: float, size: float = 30) -> None:
    for column, name in enumerate("ABCDEF"):
        sheet.text(x + (column + 0.5) * size, y, name, "muted", 14)


def ratings_matrix() -> Sheet:
    """From ratings to implicit feedback."""
    sheet = Sheet(
        640,
        270,
        "From ratings to implicit feedback",
        "Left: a matrix of five users and six films with ratings from 1 to 5 and question marks elsewhere. "
        "Right: the same matrix with a tick where the rating is at least 4; the other cells are empty.",
    )
    sheet.text(160, 24, "ratings: how much", "ink b", 16)
    sheet.text(520, 24, "implicit: what", "ink b", 16)
    for left in (70, 430):
        _user_names(sheet, left - 8, 60)
        _film_names(sheet, left, 52)
    words = [[str(r) if r else "?" for r in row] for row in RATINGS]
    looks = [["blue" if r >= 4 else "soft" if r else "none s-line" for r in row] for row in RATINGS]
    sheet.grid(70, 60, words, looks)
    liked = [["✓" if r >= 4 else "" for r in row] for row in RATINGS]
    sheet.grid(430, 60, liked, [["blue" if r >= 4 else "soft" for r in row] for row in RATINGS])
    sheet.arrow(272, 362, 135)
    sheet.text(316, 120, "keep 4 and 5", "muted", 14)
    sheet.text(160, 242, "?  = not rated", "muted", 14)
    sheet.text(520, 242, "empty = unknown or not liked", "muted", 14)
    return sheet


def leave_last_out() -> Sheet:
    """One timeline a user: train, validation, test."""
    sheet = Sheet(
        640,
        270,
        "The leave-last-out split",
        "Four users' interactions on timelines. The last interaction of each user is for testing, the one "
        "before for validation, all earlier ones for training.",
    )
    histories = {
        "Ann": (0, 2, 3, 5, 8, 9),
        "Bob": (1, 4, 5),
        "Cem": (0, 1, 2, 4, 6, 7, 8, 10),
        "Dia": (3, 6, 7, 11),
    }
    for row, (name, times) in enumerate(histories.items()):
        y = 40 + 44 * row
        sheet.text(62, y + 5, name, "ink", 15, "end")
        sheet.line(84, y, 610, y, "s-line", 1.2)
        for order, time in enumerate(reversed(times)):
            x = 102 + 44 * time
            if order == 0:
                sheet.diamond(x, y, 12, "orange")
            elif order == 1:
                sheet.rect(x - 9, y - 9, 18, 18, "blue", 2)
            else:
                sheet.circle(x, y, 8.5, "grey")
    sheet.text(84, 206, "earlier", "muted", 14, "start")
    sheet.arrow(140, 560, 201)
    sheet.text(610, 206, "later", "muted", 14, "end")
    sheet.circle(92, 242, 8.5, "grey")
    sheet.text(110, 247, "train: all the others", "ink", 15, "start")
    sheet.rect(282, 233, 18, 18, "blue", 2)
    sheet.text(309, 247, "validation: last but one", "ink", 15, "start")
    sheet.diamond(511, 242, 12, "orange")
    sheet.text(530, 247, "test: last", "ink", 15, "start")
    return sheet


def candidate_list() -> Sheet:
    """Why a few sampled candidates make a model look better."""
    sheet = Sheet(
        640,
        290,
        "Full ranking and sampled candidates",
        "Above: a model ranks all 40 items; the held-out item is at rank 13, a miss in the top 5. Below: "
        "only that item and nine random others are ranked; it comes third, a hit in the top 5.",
    )
    held_out, sampled, top = 13, (4, 9, 15, 18, 22, 26, 31, 35, 39), 5
    size, left, upper, lower = 14.4, 32, 64, 186
    sheet.text(left, 30, "all 40 items, best score first:", "ink b", 16, "start")
    sheet.text(left + 40 * size, 30, "rank 13, a miss", "orange b", 16, "end")
    kept = sorted((held_out, *sampled))
    for rank in range(1, 41):
        x = left + (rank - 1) * size
        if rank in kept:
            place = kept.index(rank)
            start, end = number(x + size / 2), left + place * 32 + 14
            color = "orange" if rank == held_out else "line"
            sheet.path(
                f"M{start} {upper + 32}C{start} {upper + 75} {end} {lower - 55} {end} {lower - 6}",
                f"none s-{color}",
                2.5 if rank == held_out else 1.2,
            )
        look = "orange" if rank == held_out else "blue" if rank in sampled else "soft"
        sheet.rect(x + 1, upper, size - 2, 28, look, 2)
    sheet.rect(left - 3, upper - 4, top * size + 6, 36, "none s-ink", 4, stroke_width=2)
    sheet.text(left - 3, upper - 10, "top 5", "ink", 14, "start")
    for place, rank in enumerate(kept):
        sheet.rect(left + place * 32, lower, 28, 28, "orange" if rank == held_out else "blue", 2)
        sheet.text(left + place * 32 + 14, lower + 19, str(place + 1), "on", 14)
    sheet.rect(left - 4, lower - 4, top * 32 + 4, 36, "none s-ink", 4, stroke_width=2)
    sheet.text(left + 336, lower + 14, "the held-out item and", "ink b", 16, "start")
    sheet.text(left + 336, lower + 34, "9 others drawn at random:", "ink b", 16, "start")
    sheet.text(left + 336, lower + 54, "rank 3, a hit", "orange b", 16, "start")
    sheet.text(left - 3, lower + 50, "top 5", "ink", 14, "start")
    sheet.text(
        left,
        272,
        "Same model, same scores: most of the better items were just not asked.",
        "muted",
        15,
        "start",
    )
    return sheet


def matrix_factorization() -> Sheet:
    """R is about mu + b + P Q^T."""
    sheet = Sheet(
        640,
        250,
        "Matrix factorization",
        "The rating matrix is approximated by the mean, plus a bias for each user and each item, plus the "
        "product of a matrix with two numbers for each user and one with two numbers for each item.",
    )
    size, top = 25, 60
    words = [[str(r) if r else "?" for r in row] for row in RATINGS]
    looks = [["soft" if r else "none s-line" for r in row] for row in RATINGS]
    middle = top + 2.5 * size + 6
    sheet.grid(20, top, words, looks, size, 13)
    sheet.text(95, 210, "ratings R", "ink b", 15)
    sheet.text(95, 230, "5 users × 6 items", "muted", 13)
    sheet.text(183, middle, "≈", "ink", 22)
    sheet.text(207, middle, "μ", "ink i", 22)
    sheet.text(207, 210, "mean", "ink b", 15)
    sheet.text(234, middle, "+", "ink", 20)
    sheet.grid(268, top, [[""]] * 5, [["green"]] * 5, size)
    sheet.text(281, 210, "users", "green b", 15)
    sheet.text(281, 230, "bias", "muted", 13)
    sheet.text(312, middle, "+", "ink", 20)
    sheet.grid(328, top + 2 * size, [[""] * 6], [["orange"] * 6], size * 0.72)
    sheet.text(382, 210, "items", "orange b", 15)
    sheet.text(382, 230, "bias", "muted", 13)
    sheet.text(452, middle, "+", "ink", 20)
    sheet.grid(466, top, [["", ""]] * 5, [["green", "green"]] * 5, size)
    sheet.text(491, 210, "P", "green b i", 16)
    sheet.text(491, 230, "users × 2", "muted", 13)
    sheet.grid(522, top, [[""] * 6] * 2, [["orange"] * 6] * 2, 18)
    sheet.text(576, 114, "Qᵀ", "orange b i", 16)
    sheet.text(576, 132, "2 × items", "muted", 13)
    sheet.text(
        320, 30, "a rating is the mean, who rates, what is rated, and how well the two fit", "muted", 15
    )
    return sheet


def item_knn() -> Sheet:
    """Who watched this also watched."""
    sheet = Sheet(
        640,
        290,
        "Item neighbours: who watched this also watched",
        "Left the film K, in the middle the three users who watched it, right the films they also watched. "
        "Film N was watched by all three, so it is the nearest neighbour.",
    )
    viewers = {"Gil": ("N", "P"), "Hua": ("N", "O"), "Ida": ("N", "P")}
    rows = dict(zip(viewers, (84, 152, 220), strict=True))
    films = dict(zip("NPO", (84, 152, 220), strict=True))
    sheet.text(86, 34, "this film", "muted", 15)
    sheet.text(262, 34, "was watched by", "muted", 15)
    sheet.text(492, 34, "who also watched", "muted", 15)
    for name, y in rows.items():
        sheet.path(f"M112 152C170 152 180 {y} 232 {y}", "none s-line", 2)
        for film in viewers[name]:
            sheet.path(
                f"M292 {y}C350 {y} 350 {films[film]} 400 {films[film]}",
                f"none s-{'blue' if film == 'N' else 'line'}",
                2.2,
            )
    sheet.rect(60, 126, 52, 52, "orange", 6)
    sheet.text(86, 160, "K", "on b", 22)
    for name, y in rows.items():
        sheet.circle(262, y, 29, "soft")
        sheet.text(262, y + 5, name, "ink", 15)
    for film, y in films.items():
        count = sum(film in seen for seen in viewers.values())
        sheet.rect(400, y - 22, 44, 44, "blue" if film == "N" else "grey", 6)
        sheet.text(422, y + 7, film, "on b", 19)
        for n in range(3):
            sheet.rect(
                458 + 22 * n, y - 8, 18, 16, ("blue" if film == "N" else "grey") if n < count else "soft", 2
            )
        sheet.text(534, y + 6, f"{count} of 3", "ink", 15, "start")
    sheet.text(
        320, 278, "The similarity also divides by how often each film was watched at all.", "muted", 15
    )
    return sheet


def ease() -> Sheet:
    """X B is about X, with a zero diagonal."""
    sheet = Sheet(
        640,
        290,
        "EASE: every film explained by the others",
        "The matrix X of users and films times a square matrix B of weights between films gives X again, as "
        "closely as possible. The diagonal of B is zero, so that no film can explain itself.",
    )
    size, top = 28, 64
    seen = [["" for r in row] for row in RATINGS]
    looks = [["blue" if r else "soft" for r in row] for row in RATINGS]
    sheet.grid(24, top, seen, looks, size)
    # The signs of what EASE(l2=1) learns from this matrix.
    signs = ("0+++-+", "+0-++-", "+-0-++", "++-0+-", "-+++0+", "+-+-+0")
    words = [[c.replace("-", "−") for c in row] for row in signs]
    tones = [[{"0": "none s-line", "+": "purple", "-": "orange"}[c] for c in row] for row in signs]
    sheet.grid(236, top - 14, words, tones, size, 15)
    sheet.grid(448, top, seen, [["blue" if r else "soft" for r in row] for row in RATINGS], size)
    sheet.text(214, 140, "×", "ink", 22)
    sheet.text(426, 140, "≈", "ink", 22)
    for x, name, shape in (
        (108, "X", "users × films"),
        (320, "B", "films × films"),
        (532, "X", "rebuilt from it"),
    ):
        sheet.text(x, 246, name, "ink b i", 18)
        sheet.text(x, 268, shape, "muted", 14)
    sheet.text(320, 30, "diagonal 0: no film may explain itself", "muted", 15)
    return sheet


def book_map() -> Sheet:
    """The stations of the book."""
    lines = {
        "grey": ("neighbours and linear models", ("Popularity", "ItemKNN", "EASE")),
        "blue": ("matrix factorization", ("BiasedMF", "iALS", "BPR", "LogisticMF")),
        "green": ("neural collaborative filtering", ("GMF", "MLP", "NeuMF")),
        "purple": ("autoencoders", ("AutoRec", "MultDAE", "MultVAE", "RecVAE")),
        "red": ("a bottleneck for large catalogues", ("Bottleneck AE", "Recoder")),
    }
    sheet = Sheet(
        760,
        440,
        "The map of the book",
        "From data over splits, along five lines of models, to metrics and comparison. "
        + " ".join(f"{title[0].upper()}{title[1:]}: {', '.join(stops)}." for title, stops in lines.values()),
    )
    first, middle, left, right = 84, 238, 222, 590
    for number_of_line, (color, (title, stops)) in enumerate(lines.items()):
        y = first + 77 * number_of_line
        bend = f"M128 {middle}C182 {middle} 160 {y} {left} {y}H{right}C652 {y} 630 {middle} 684 {middle}"
        sheet.path(bend, f"none s-{color}", 5)
        sheet.text(left, y - 34, title, f"{color} b", 14, "start")
        for stop, name in enumerate(stops):
            x = left + 34 + stop * 106
            sheet.circle(x, y, 8, f"paper s-{color}", stroke_width=4)
            sheet.text(x, y - 14, name, "ink", 14)
    sheet.line(40, middle, 128, middle, "s-ink", 5)
    sheet.line(684, middle, 724, middle, "s-ink", 5)
    for x in (40, 128, 684, 724):
        sheet.circle(x, middle, 11, "paper s-ink", stroke_width=4)
    sheet.text(24, middle - 22, "Data", "ink b", 16, "start")
    sheet.text(142, middle - 22, "Splits", "ink b", 16, "end")
    sheet.text(670, middle - 22, "Metrics", "ink b", 16, "start")
    sheet.text(746, middle + 36, "Compare", "ink b", 16, "end")
    return sheet


def cover() -> Sheet:
    """From a matrix full of holes to a short list."""
    sheet = Sheet(
        760,
        300,
        "From a matrix full of holes to a short list",
        "A large matrix of users and items, most cells empty. The row of one user is set off; from it a "
        "network leads to a ranked list of five items.",
    )
    size, rows, columns, chosen = 20, 12, 15, 5
    for row in range(rows):
        for column in range(columns):
            # A fixed pattern: popular columns on the left, the long tail on the right.
            known = (row * 7 + column * column * 3 + row * column * 5) % 23 < 9 - column // 2
            if row == chosen:
                known = column in (0, 2, 5, 11)
            x, y = 30 + column * size, 30 + row * size
            look = ("orange" if row == chosen else "blue") if known else "soft"
            sheet.rect(x + 1.5, y + 1.5, size - 3, size - 3, look, 3)
    y = 30 + chosen * size
    sheet.rect(27, y - 3, columns * size + 6, size + 6, "none s-orange", 6, stroke_width=2.5)
    layers = ((400, (80, 115, 150, 185, 220)), (460, (115, 150, 185)), (520, (80, 115, 150, 185, 220)))
    for (x1, ys), (x2, zs) in pairwise(layers):
        for a in ys:
            for b in zs:
                sheet.line(x1, a, x2, b, "s-line", 0.8)
    for x, ys in layers:
        for a in ys:
            sheet.circle(x, a, 8, "green")
    sheet.arrow(340, 384, 150, "orange", 3)
    sheet.arrow(536, 580, 150, "orange", 3)
    for place, share in enumerate((1.0, 0.8, 0.66, 0.5, 0.42)):
        top = 60 + place * 38
        sheet.rect(592, top, 138, 28, "soft", 4)
        sheet.rect(592, top, 28, 28, "orange", 4)
        sheet.text(606, top + 20, str(place + 1), "on b", 16)
        sheet.rect(630, top + 10, 90 * share, 8, "orange", 4)
    return sheet


def two_lists() -> Sheet:
    """The same question put to two lists: the metric decides."""
    sheet = Sheet(
        640,
        220,
        "Two lists and two metrics",
        "Two lists of five films. The first has one hit, at place 1; the second has two hits, at places 4 "
        "and 5. Precision is 1/5 and 2/5, so the second wins. Discounted gain is 1.00 and 0.82, so the first "
        "wins.",
    )
    left, size = 116, 56
    for place, weight in enumerate(("1", ".63", ".50", ".43", ".39")):
        x = left + (place + 0.5) * size
        sheet.text(x, 40, str(place + 1), "muted", 15)
        sheet.text(x, 200, weight, "muted", 15)
    sheet.text(left - 12, 40, "place", "muted", 15, "end")
    sheet.text(left - 12, 200, "weight", "muted", 15, "end")
    sheet.text(468, 40, "precision", "ink b", 15)
    sheet.text(568, 40, "gain", "ink b", 15)
    rows = (("list X", (0,), "1/5", "1.00", 1), ("list Y", (3, 4), "2/5", "0.82", 0))
    for row, (name, hits, precision, gain, winner) in enumerate(rows):
        y = 60 + row * 60
        sheet.text(left - 12, y + 29, name, "ink b", 16, "end")
        for place in range(5):
            hit = place in hits
            sheet.rect(left + place * size + 4, y, size - 8, 46, "blue" if hit else "soft", 4)
            if hit:
                sheet.text(left + (place + 0.5) * size, y + 30, "✓", "on b", 20)
        for column, (x, words) in enumerate(((468, precision), (568, gain))):
            sheet.text(x, y + 29, words, "orange b" if column == winner else "muted", 17)
    return sheet
