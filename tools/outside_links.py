"""Ask every outside address that the rendered book links to whether it answers: `make links`."""

from __future__ import annotations

import argparse
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

from tools.layout import Layout
from tools.pages import Site

# Publishers turn programs away with these; a reader's browser gets in.
GUARDED = (401, 403, 405, 406, 418, 429, 503)
AGENT = "Mozilla/5.0 (compatible; link check of a book)"


def outside_links(site: Site) -> dict[str, str]:
    """Each outside address without its fragment, with the first page that links to it."""
    found: dict[str, str] = {}
    for page in site.pages:
        for link in page.links:
            if urlsplit(link).scheme in ("http", "https"):
                found.setdefault(urldefrag(link)[0], page.path.relative_to(site.folder).as_posix())
    return found


def fault(address: str, seconds: float = 20.0) -> str:
    """What is wrong with an address; an empty text if it answers."""
    request = urllib.request.Request(address, headers={"User-Agent": AGENT})
    try:
        with urllib.request.urlopen(request, timeout=seconds):
            return ""
    except urllib.error.HTTPError as error:
        return "" if error.code in GUARDED else f"status {error.code}"
    except (OSError, ValueError) as error:
        return f"no answer: {error}"


def report(site: Site, ask: Callable[[str], str] = fault, jobs: int = 8) -> list[str]:
    """One line for each address that does not answer."""
    links = outside_links(site)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        faults = list(pool.map(ask, links))
    return [
        f"{page}: {link}: {words}" for (link, page), words in zip(links.items(), faults, strict=True) if words
    ]


def main(folder: Path | None = None) -> int:
    argparse.ArgumentParser(prog="make links", description=__doc__).parse_args([])
    html = Layout().html if folder is None else folder
    if not (html / "index.html").is_file():
        print("there is no rendered book yet: run `make book` first", file=sys.stderr)
        return 1
    site = Site(html)
    lines = report(site)
    print("\n".join([*lines, f"{len(outside_links(site))} addresses, {len(lines)} without an answer"]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
