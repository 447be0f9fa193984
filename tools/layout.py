"""Where everything of a build lies, and what the table of contents lists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from recsys_lib._files import atomic_write

REPO = Path(__file__).resolve().parent.parent


class BuildError(Exception):
    """A build that can't go on; the message says why and what to do."""


@dataclass(frozen=True)
class Layout:
    """The folders of one build. Nothing is ever written outside ``_run``."""

    root: Path = REPO

    @property
    def run(self) -> Path:
        """Everything a build makes."""
        return self.root / "_run"

    @property
    def source(self) -> Path:
        """What jupyter-book reads: the pages and the executed notebooks."""
        return self.run / "source"

    @property
    def executed(self) -> Path:
        """The notebooks as papermill left them, each with a record of what it was run from."""
        return self.run / "executed"

    @property
    def partial(self) -> Path:
        """Notebooks being run; after a failure the part that ran."""
        return self.run / "partial"

    @property
    def html(self) -> Path:
        """The pages."""
        return self.run / "_build" / "html"

    @property
    def render_record(self) -> Path:
        """What the pages were rendered from. It lies beside them, so that it goes where they go."""
        return self.run / "_build" / "rendered.json"

    @property
    def timings(self) -> Path:
        """The measured seconds of every chapter."""
        return self.run / "timings.json"


@dataclass(frozen=True)
class Chapter:
    """One notebook of the book, such as ``book/chapters/01_five_minutes``."""

    doc: str

    @property
    def name(self) -> str:
        """The short name: ``01_five_minutes``."""
        return self.doc.rsplit("/", 1)[-1]

    def notebook(self, folder: Path) -> Path:
        """The chapter's notebook below `folder`."""
        return folder / f"{self.doc}.ipynb"

    def written(self, folder: Path) -> Path:
        """Where the files lie that the executed notebook wrote for the pages."""
        return folder / f"{self.doc}.files"

    def record(self, folder: Path) -> Path:
        """The record that lies beside the executed notebook."""
        return folder / f"{self.doc}.json"


def documents(toc: Any) -> Iterator[str]:
    """Every document a table of contents names, in reading order."""
    if isinstance(toc, dict):
        for key, value in toc.items():
            if key in ("root", "file"):
                yield str(value)
            else:
                yield from documents(value)
    elif isinstance(toc, list):
        for entry in toc:
            yield from documents(entry)


def read_toc(layout: Layout) -> tuple[list[str], list[Chapter]]:
    """All documents of ``_toc.yml`` and those of them that are notebooks.

    Raises
    ------
    BuildError
        If a document has no file, or two notebooks share a short name.
    """
    toc = yaml.safe_load((layout.root / "_toc.yml").read_text(encoding="utf-8"))
    docs = list(documents(toc))
    chapters = []
    for doc in docs:
        if (layout.root / f"{doc}.ipynb").is_file():
            chapters.append(Chapter(doc))
        elif not (layout.root / f"{doc}.md").is_file():
            raise BuildError(f"_toc.yml lists {doc!r}, but there is neither {doc}.md nor {doc}.ipynb")
    names = [chapter.name for chapter in chapters]
    for name in names:
        if names.count(name) > 1:
            raise BuildError(f"two notebooks of _toc.yml are called {name!r}; give each its own name")
    return docs, chapters


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part."""
    with atomic_write(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


def read_record(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; empty when there is none or it can't be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON object atomically."""
    write_atomically(path, json.dumps(record, indent=2, sort_keys=True) + "\n")
