"""The book's own Sphinx extension: links to every name of the library, and no script without a use."""

from __future__ import annotations

import functools
import html
import importlib
import inspect
import re
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx.util.nodes import make_refnode


def silence_thebe(app: Any, config: Any) -> None:
    """Switch sphinx-thebe off.

    It comes with jupyter-book and, although live code is off, puts scripts with outside addresses on every
    page, one of them twice, so that browsers report an error.
    """
    for listeners in app.events.listeners.values():
        listeners[:] = [one for one in listeners if not one.handler.__module__.startswith("sphinx_thebe")]


def drop_thebe_style(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    styles = context.get("css_files", [])
    context["css_files"] = [one for one in styles if "thebe" not in str(getattr(one, "filename", one))]


def add_film_search(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Bring script and style of the film search to pages that hold one, and the models if there are any."""
    if 'class="film-search"' not in context.get("body", ""):
        return
    if (Path(app.srcdir) / "book" / "_static" / "films.js").is_file():
        app.add_js_file("films.js", loading_method="defer")
    app.add_js_file("film-search.js", loading_method="defer")
    app.add_css_file("film-search.css")


def add_board(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Bring what sorts and filters tables to pages that hold such a table."""
    if 'class="board' in context.get("body", ""):
        app.add_css_file("board.css")
        app.add_js_file("board.js", loading_method="defer")


def first_words(doctree: Any, length: int = 200) -> str:
    """The first paragraph of a page, cut at a word: what a search engine or a shared link shows of it."""
    paragraphs = (" ".join(node.astext().split()) for node in doctree.findall(nodes.paragraph))
    text = next((words for words in paragraphs if not words.startswith("Run time")), "")
    return text if len(text) <= length else text[: length - 1].rsplit(" ", 1)[0] + "…"


def add_preview(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Describe a page to those who share a link to it (Open Graph).

    Its address and that of the picture must be whole, so they are whole only if the book knows its own.
    """
    if doctree is None:
        return
    base = (app.config.html_baseurl or "").rstrip("/")
    picture = f"{base}/_static/social.png" if base else context["pathto"]("_static/social.png", resource=1)
    title = re.sub(r"<[^>]+>", "", context.get("title", "")) or app.config.html_short_title
    words = first_words(doctree)
    tags = {
        "og:type": "article",
        "og:title": title,
        "og:site_name": app.config.html_short_title,
        "og:description": words,
        "og:image": picture,
        "og:image:width": "1200",
        "og:image:height": "630",
        "og:image:alt": "People and films, a small network, and a ranked list of films",
        **({"og:url": f"{base}/{page}.html"} if base else {}),
    }
    lines = [f'<meta property="{name}" content="{escape(html.unescape(v))}" />' for name, v in tags.items()]
    lines.append('<meta name="twitter:card" content="summary_large_image" />')
    lines.append(f'<meta name="description" content="{escape(words)}" />')
    context["metatags"] = "\n    ".join([context.get("metatags", ""), *lines])


SIGNATURE = re.compile(r'(<span class="sig-paren">[\[(]</span>)\s*<dl>(.*?)</dl>', re.S)


def mend_markup(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mend what shuts out readers who hear a page.

    Sphinx writes long signatures as definition lists that define nothing. And myst-nb gives all hidden cells
    the same name, in place of the words that are shown.
    """

    def lines(match: re.Match[str]) -> str:
        inner = match[2].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
        return f"{match[1]}{inner}"

    if "body" in context:
        body = SIGNATURE.sub(lines, context["body"])
        body = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")
        # its entries have the role of an entry of a bibliography, and a list must have items
        context["body"] = body.replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


@functools.cache
def named(name: str) -> Any:
    """The object with a dotted name such as ``recsys_lib.metrics.ndcg``; None when there is none."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            found = getattr(found, part, None)
        return found
    return None


def link_by_any_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Link ``recsys_lib.evaluate`` to where ``recsys_lib.evaluation.evaluate`` is explained, and the like.

    The library exports names from the modules that define them, and Sphinx knows each by one name only.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    module, owner = node.get("py:module"), node.get("py:class")
    for name in (target, f"{module}.{target}", f"{module}.{owner}.{target}"):
        wanted = named(name) if name.startswith("recsys_lib.") else None
        if wanted is None:
            continue
        for known, entry in env.get_domain("py").objects.items():
            found = named(known)
            if found is wanted or (inspect.isroutine(found) and found == wanted):
                return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, known)
    return None


def keep_last_underscore(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape the underscore that ends the name of a fitted attribute: to docutils it means a link."""
    lines[:] = [re.sub(r"^(:(?:ivar|vartype) \w+)_:", r"\1\\_:", line) for line in lines]


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", silence_thebe)
    app.connect("html-page-context", drop_thebe_style, priority=900)
    app.connect("html-page-context", add_film_search)
    app.connect("html-page-context", mend_markup)
    app.connect("html-page-context", add_board)
    app.connect("html-page-context", add_preview)
    app.connect("missing-reference", link_by_any_name)
    app.connect("autodoc-process-docstring", keep_last_underscore, priority=900)  # after napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}
