"""The cell by which a notebook installs the library where it is missing, as on Colab and Binder.

It needs the address of the repository, and so it is in the notebooks only while ``repository.url`` of
``_config.yml`` is set: ``make format`` puts it in, changes it and takes it away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import yaml

CELL_ID = "install-the-library"
SOURCE = """# On Colab or Binder: install what is missing. Elsewhere this does nothing.
from importlib.util import find_spec

if find_spec("recsys_lib") is None or find_spec("myst_nb") is None:
    %pip install --quiet "recsys_lib[plots] @ git+{url}@{branch}" myst-nb"""


def wanted(root: Path) -> str | None:
    """The source of the cell; None while the repository has no address."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    repository = config["repository"]
    url = str(repository["url"]).rstrip("/")
    return SOURCE.format(url=url, branch=repository["branch"]) if url else None


def found(notebook: Any) -> str | None:
    """The source of the cell that a notebook has."""
    return next((str(cell.source) for cell in notebook.cells if cell.get("id") == CELL_ID), None)


def put(notebook: Any, source: str | None) -> None:
    """Let a notebook have exactly this cell, before all other code and after its title.

    The pages do not show it: their reader installs nothing.

    >>> notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A", id="a")])
    >>> put(notebook, "install()")
    >>> put(notebook, "install_again()")
    >>> [cell.source for cell in notebook.cells]
    ['# A', 'install_again()']
    >>> put(notebook, None)
    >>> found(notebook) is None, len(notebook.cells)
    (True, 1)
    """
    notebook.cells = [cell for cell in notebook.cells if cell.get("id") != CELL_ID]
    if source is not None:
        cell = nbformat.v4.new_code_cell(source, id=CELL_ID, metadata={"tags": ["remove-cell"]})
        notebook.cells.insert(1, cell)
