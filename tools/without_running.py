"""Pages that need a package which cannot be installed everywhere: they are shown without its results.

A notebook names the packages in its metadata, ``"requires": ["mxnet"]``; a page of the reference has a
comment ``<!-- requires: mxnet -->``.
"""

from __future__ import annotations

import copy
import re
from importlib.util import find_spec
from typing import Any

import nbformat

from recsys_lib.mx import is_available

GLUE = re.compile(r"\{glue:\w+\}`[^`]*`")
GLUE_BLOCK = re.compile(r"^(`{3,}|:{3,})\{glue:?\w*\}.*?^\1\s*$", re.M | re.S)
NUMREF = re.compile(r"\{numref\}`(?:[^`<]*<)?([^`>]+)>?`")

REQUIRES = re.compile(r"<!--\s*requires:\s*(\w+)\s*-->")
REFERENCE = re.compile(r"^```\{eval-rst\}.*?^```\s*$", re.M | re.S)

NO_REFERENCE = """```{{note}}
This reference is made from code that needs {packages}, which was not there when these pages were made.
```"""

NOTE = """```{{warning}}
This chapter needs {packages}, which is not there on the machine that made these pages. So its code was not
run, and where a sentence gives a result you see "(not run)". The rest of the book is complete. To run the
chapter, make the book with a version of Python for which the package exists: see `requirements.txt`.
```"""


def missing_packages(notebook: Any) -> list[str]:
    """The packages a notebook needs and this Python does not have."""
    return [name for name in notebook.metadata.get("requires", []) if is_missing(name)]


def is_missing(package: str) -> bool:
    """Whether this Python cannot import a package. MXNet may be there and yet not fit the NumPy."""
    return not is_available() if package == "mxnet" else find_spec(package) is None


def without_running(notebook: Any, missing: list[str]) -> Any:
    """A copy with a visible note instead of results.

    >>> cell = nbformat.v4.new_markdown_cell("# A\\n\\nIt took {glue:text}`a_time:.1f` s.")
    >>> page = without_running(nbformat.v4.new_notebook(cells=[cell]), ["mxnet"])
    >>> page.cells[0].source
    '# A\\n\\nIt took (not run) s.'
    >>> "mxnet" in page.cells[1].source
    True
    """
    page = copy.deepcopy(notebook)
    # Figures that cells would have drawn: nothing can refer to them.
    drawn = {
        str(cell.metadata.get("mystnb", {}).get("figure", {}).get("name", ""))
        for cell in page.cells
        if cell.cell_type == "code"
    }

    def plain(match: re.Match[str]) -> str:
        return "the figure" if match[1] in drawn else match[0]

    for cell in page.cells:
        if cell.cell_type == "markdown":
            source = GLUE_BLOCK.sub("(not run)", cell.source)
            cell.source = NUMREF.sub(plain, GLUE.sub("(not run)", source))
    note = nbformat.v4.new_markdown_cell(NOTE.format(packages=" and ".join(missing)), id="not-run")
    page.cells.insert(1, note)
    return page


def page_without(text: str) -> str:
    """A page of the reference as it can be made here: a note in place of what a missing package keeps away.

    >>> page = page_without("# A\\n<!-- requires: no_such_package -->\\n```{eval-rst}\\nx\\n```")
    >>> "needs no_such_package" in page, "eval-rst" in page
    (True, False)
    >>> page_without("<!-- requires: json -->text")
    'text'
    """
    missing = [name for name in REQUIRES.findall(text) if is_missing(name)]
    text = REQUIRES.sub("", text)
    if not missing:
        return text
    note = NO_REFERENCE.format(packages=" and ".join(missing))
    first, *others = REFERENCE.split(text)
    return "".join([first, note, *others])
