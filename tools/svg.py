"""A sheet to draw the book's figures on. Its SVG follows the page from light to dark by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

# Each name is a CSS class; the two colours are those on light and on dark paper. No single colour reaches a
# contrast of 4.5:1 on both, so the figure brings its paper along and a media query exchanges all colours at
# once. In an <img> browsers take the query from the page's own color-scheme, which the theme's switch sets.
COLORS: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14181e"),
    "soft": ("#e6eef5", "#263341"),
    "ink": ("#1f2933", "#e6eaee"),
    "muted": ("#52606d", "#a9b4bf"),
    "line": ("#7b8794", "#8592a0"),
    "grey": ("#5c6874", "#aeb8c2"),
    "blue": ("#0069a6", "#62b5ea"),
    "orange": ("#b34a00", "#f2a065"),
    "green": ("#00755a", "#4fcaa3"),
    "purple": ("#7d3f98", "#cf9be6"),
    "red": ("#a8323a", "#f28b87"),
}
# What is written on a filled shape of a strong colour.
ON_COLOR = ("#ffffff", "#14181e")
FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"


def style_sheet() -> str:
    """The rules for fill, stroke and text, once for light and once for dark."""

    def rules(which: int) -> Iterable[str]:
        for name, colors in COLORS.items():
            yield f".{name}{{fill:{colors[which]}}}"
            yield f".s-{name}{{stroke:{colors[which]}}}"
        yield f".on{{fill:{ON_COLOR[which]}}}"

    fixed = (
        f"text{{font-family:{FONT}}}"
        ".none{fill:none}.b{font-weight:600}.i{font-style:italic}"
        "[class*='s-']{stroke-linecap:round;stroke-linejoin:round}"
    )
    return f"{fixed}\n{' '.join(rules(0))}\n@media (prefers-color-scheme: dark) {{ {' '.join(rules(1))} }}"


def number(value: float) -> str:
    """A coordinate in as few digits as it needs.

    >>> number(2.0), number(1 / 3)
    ('2', '0.33')
    """
    return f"{value + 0.0:.2f}".rstrip("0").rstrip(".")


class Sheet:
    """Shapes in the order in which they are drawn, with a title and a description for screen readers."""

    def __init__(self, width: int, height: int, title: str, description: str) -> None:
        self.width, self.height, self.title, self.description = width, height, title, description
        self.shapes: list[str] = []

    def _add(self, tag: str, look: str, body: str, **attributes: float | str) -> None:
        named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        words = " ".join(
            f'{key}="{value if isinstance(value, str) else number(value)}"' for key, value in named.items()
        )
        end = f">{escape(body)}</{tag}>" if body else "/>"
        self.shapes.append(f'<{tag} class="{look}" {words}{end}')

    def rect(
        self, x: float, y: float, width: float, height: float, look: str, rx: float = 3, **more: float | str
    ) -> None:
        """A rectangle with round corners; `more` are further attributes."""
        self._add("rect", look, "", x=x, y=y, width=width, height=height, rx=rx, **more)

    def circle(self, x: float, y: float, r: float, look: str, **more: float | str) -> None:
        """A circle around (x, y)."""
        self._add("circle", look, "", cx=x, cy=y, r=r, **more)

    def path(self, d: str, look: str, width: float = 1.5, **more: float | str) -> None:
        """A path with a stroke of this width."""
        self._add("path", look, "", d=d, stroke_width=width, **more)

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        look: str = "s-line",
        width: float = 1.5,
        **more: float | str,
    ) -> None:
        """A straight line."""
        self._add("line", look, "", x1=x1, y1=y1, x2=x2, y2=y2, stroke_width=width, **more)

    def text(
        self, x: float, y: float, words: str, look: str = "ink", size: float = 15, anchor: str = "middle"
    ) -> None:
        """One line of words on the base line `y`."""
        self._add("text", look, words, x=x, y=y, font_size=size, text_anchor=anchor)

    def arrow(self, x1: float, x2: float, y: float, color: str = "line", width: float = 2) -> None:
        """A horizontal arrow from left to right."""
        self.line(x1, y, x2 - 1, y, f"s-{color}", width)
        self.path(
            f"M{number(x2 - 8)} {number(y - 5)}L{number(x2)} {number(y)}L{number(x2 - 8)} {number(y + 5)}",
            f"none s-{color}",
            width,
        )

    def diamond(self, x: float, y: float, r: float, look: str) -> None:
        """A square that stands on a corner."""
        corners = ((x, y - r), (x + r, y), (x, y + r), (x - r, y))
        self.path("M" + "L".join(f"{number(a)} {number(b)}" for a, b in corners) + "Z", look, 0)

    def grid(
        self,
        x: float,
        y: float,
        cells: Sequence[Sequence[str]],
        looks: Sequence[Sequence[str]],
        size: float = 30,
        text_size: float = 14,
    ) -> None:
        """Square cells with a word in each; a look is the class of the square, ``"soft"`` gets dark words."""
        for row, (words, classes) in enumerate(zip(cells, looks, strict=True)):
            for column, (word, look) in enumerate(zip(words, classes, strict=True)):
                left, top = x + column * size, y + row * size
                self.rect(left + 1, top + 1, size - 2, size - 2, look)
                if word:
                    ink = {"soft": "ink", "none s-line": "muted"}.get(look, "on")
                    self.text(left + size / 2, top + size / 2 + 0.36 * text_size, word, ink, text_size)

    def svg(self) -> str:
        """The file's text."""
        body = "\n".join(self.shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" aria-labelledby="title desc">\n'
            f'<title id="title">{escape(self.title)}</title>\n'
            f'<desc id="desc">{escape(self.description)}</desc>\n'
            f"<style>\n{style_sheet()}\n</style>\n"
            f'<rect class="paper" width="{self.width}" height="{self.height}"/>\n{body}\n</svg>\n'
        )
