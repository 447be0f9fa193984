"""The drawn figures: what the script draws, with words for those who cannot see them, readable anywhere."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from tools.draw_figures import FIGURES, FOLDER
from tools.svg import COLORS, ON_COLOR, number

SVG = "{http://www.w3.org/2000/svg}"
STRONG = ("grey", "blue", "orange", "green", "purple", "red")


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_words_stand_out_from_what_they_are_on(mode):
    on_paper = ("ink", "muted", *STRONG)
    too_faint = [name for name in on_paper if contrast(COLORS[name][mode], COLORS["paper"][mode]) < 4.5]
    too_faint += [name for name in STRONG if contrast(COLORS[name][mode], ON_COLOR[mode]) < 4.5]
    too_faint += [name for name in ("ink",) if contrast(COLORS[name][mode], COLORS["soft"][mode]) < 4.5]
    too_faint += [name for name in ("line",) if contrast(COLORS[name][mode], COLORS["paper"][mode]) < 3]
    assert too_faint == []


def test_there_are_no_other_figures():
    assert {file.stem for file in FOLDER.glob("*.svg")} == set(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_the_file_is_what_the_script_draws(name):
    drawn = FIGURES[name]().svg()
    assert (FOLDER / f"{name}.svg").read_text(encoding="utf-8") == drawn, "run: python -m tools.draw_figures"


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_explains_itself_and_needs_nothing_else(name):
    root = ElementTree.fromstring((FOLDER / f"{name}.svg").read_text(encoding="utf-8"))
    assert len(root.findtext(f"{SVG}title") or "") > 10
    assert len(root.findtext(f"{SVG}desc") or "") > 60
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "desc", "style", "rect", "circle", "path", "line", "text")
    }
    values = [value for element in root.iter() for value in element.attrib.values()]
    assert not [value for value in values if "url(" in value or "://" in value]
    assert "@import" not in (root.findtext(f"{SVG}style") or "")


@pytest.mark.parametrize("name", FIGURES)
def test_every_look_has_a_rule(name):
    root = ElementTree.fromstring((FOLDER / f"{name}.svg").read_text(encoding="utf-8"))
    ruled = set(re.findall(r"\.([a-z-]+)\{", root.findtext(f"{SVG}style") or ""))
    used = {look for element in root.iter() for look in element.get("class", "").split()}
    assert used - ruled == set()


@pytest.mark.parametrize("name", FIGURES)
def test_words_are_large_enough_and_inside_the_figure(name):
    root = ElementTree.fromstring((FOLDER / f"{name}.svg").read_text(encoding="utf-8"))
    width, height = (float(root.get(side, "0")) for side in ("width", "height"))
    before = {"start": 0.0, "middle": 0.5, "end": 1.0}
    for text in root.iter(f"{SVG}text"):
        size, x, y = (float(text.get(key, "nan")) for key in ("font-size", "x", "y"))
        # DejaVu Sans, the widest of the common fonts, takes less than this on average
        length = 0.57 * size * len(text.text or "")
        left = x - before[text.get("text-anchor", "start")] * length
        assert size >= 13
        assert left >= 0, text.text
        assert left + length <= width, text.text
        assert size <= y <= height - 0.25 * size, text.text


@pytest.mark.parametrize(
    ("value", "words"),
    [(3, "3"), (2.50, "2.5"), (0.125, "0.12"), (-0.0, "0"), (640 / 7, "91.43")],
)
def test_numbers_are_short(value, words):
    assert number(value) == words
