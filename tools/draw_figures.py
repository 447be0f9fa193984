"""Draw the figures of ideas into book/figures: `python -m tools.draw_figures`.

They are the public functions of the files ``tools/figures_*.py``, each named like its figure.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tools.svg import Sheet

FOLDER = Path(__file__).resolve().parent.parent / "book" / "figures"


def figures() -> dict[str, Callable[[], Sheet]]:
    """Every figure by the name of its file."""
    found: dict[str, Callable[[], Sheet]] = {}
    for path in sorted(Path(__file__).parent.glob("figures_*.py")):
        module = import_module(f"tools.{path.stem}")
        for name, draw in inspect.getmembers(module, inspect.isfunction):
            if draw.__module__ == module.__name__ and not name.startswith("_"):
                found[name.replace("_", "-")] = draw
    return found


FIGURES = figures()


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        (FOLDER / f"{name}.svg").write_text(draw().svg(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
