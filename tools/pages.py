"""What can be checked on rendered pages without a browser: links, anchors, images, outside addresses."""

from __future__ import annotations

from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# <a href> may lead anywhere; these make a browser fetch
FETCHING = {"script": "src", "img": "src", "source": "src", "iframe": "src", "video": "src", "embed": "src"}
FETCHING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch"}
IMAGE_ENDINGS = (".png", ".svg", ".jpg", ".jpeg", ".gif", ".webp")


class Page(HTMLParser):
    """The parts of one HTML file that its checks look at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.images: list[tuple[str, str | None]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect ids, links, images and everything a browser would fetch."""
        values = dict(attrs)
        for name in ("id", "name"):
            if name == "id" or tag == "a":
                self.ids.add(values.get(name) or "")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if tag in FETCHING and values.get(FETCHING[tag]):
            self.fetched.append(values[FETCHING[tag]] or "")
        if tag == "link" and FETCHING_LINKS & set((values.get("rel") or "").split()):
            self.fetched.append(values.get("href") or "")
        if tag == "img":
            self.images.append((values.get("src") or "", values.get("alt")))

    handle_startendtag = handle_starttag


class Site:
    """All pages of a rendered book."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    @cached_property
    def pages(self) -> list[Page]:
        """Every HTML file the build wrote, without the theme's own samples."""
        paths = sorted(self.folder.rglob("*.html"))
        return [Page(path) for path in paths if "_static" not in path.relative_to(self.folder).parts]

    @cached_property
    def _ids(self) -> dict[Path, set[str]]:
        return {page.path: page.ids for page in self.pages}

    def _name(self, page: Page) -> str:
        return page.path.relative_to(self.folder).as_posix()

    def broken_links(self) -> list[str]:
        """Links within the book that lead to no file, or to no place in it."""
        found = []
        for page in self.pages:
            for link in sorted(set(page.links + page.fetched)):
                parts = urlsplit(link)
                if parts.scheme or parts.netloc:
                    continue
                target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
                if target.is_dir():
                    target = target / "index.html"
                if not target.is_relative_to(self.folder) or not target.is_file():
                    found.append(f"{self._name(page)}: {link} leads to no file of the book")
                elif parts.fragment and target in self._ids:
                    place = unquote(parts.fragment)
                    if place not in self._ids[target] | {"top"}:
                        found.append(f"{self._name(page)}: {link} names a place that isn't there")
        return found

    def images_without_words(self) -> list[str]:
        """Images without a text for those who can't see them; a file name is no text."""
        return [
            f"{self._name(page)}: {src} has the alt text {alt!r}"
            for page in self.pages
            for src, alt in page.images
            if not (alt or "").strip() or (alt or "").strip().lower().endswith(IMAGE_ENDINGS)
        ]

    def outside_addresses(self) -> list[str]:
        """Everything a browser would fetch from another machine."""
        return [
            f"{self._name(page)}: {address}"
            for page in self.pages
            for address in page.fetched
            if address.startswith("//") or urlsplit(address).scheme not in ("", "data")
        ]
