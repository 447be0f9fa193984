"""A chapter that needs a package which cannot be installed everywhere: it is shown without having run.

Such a notebook names the packages in its metadata: ``"requires": ["mxnet"]``.
"""

from __future__ import annotations

import copy
import re
from importlib.util import find_spec
from typing import Any

import nbformat

GLUE = re.compile(r"\{glue:\w+\}`[^`]*`")
GLUE_BLOCK = re.compile(r"^(`{3,}|:{3,})\{glue:?\w*\}.*?^\1\s*$", re.M | re.S)
NUMREF = re.compile(r"\{numref\}`(?:[^`<]*<)?([^`>]+)>?`")

NOTE = """```{{warning}}
This chapter needs {packages}, which is not there on the machine that made these pages. So its code was not
run, and where a sentence gives a result you see "(not run)". The rest of the book is complete. To run the
chapter, make the book with a version of Python for which the package exists: see `requirements.txt`.
```"""


def missing_packages(notebook: Any) -> list[str]:
    """The packages a notebook needs and this Python does not have."""
    return [name for name in notebook.metadata.get("requires", []) if find_spec(name) is None]


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
