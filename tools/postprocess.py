"""From papermill's notebook to the one a page shows."""

from __future__ import annotations

import copy
import re
from typing import Any

RUN_TIME = re.compile(r"<!--\s*run-time\s*-->")


def run_time_text(seconds: float, cores: int) -> str:
    """The sentence a chapter opens with: how long it ran here.

    >>> run_time_text(12.4, 2)
    'Run time on this machine: 12 s (2 CPU cores)'
    >>> run_time_text(200, 1)
    'Run time on this machine: 3 min 20 s (1 CPU core)'
    """
    whole = max(1, round(seconds))
    words = f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"
    return f"Run time on this machine: {words} ({cores} CPU core{'' if cores == 1 else 's'})"


def for_the_page(notebook: Any, *, seconds: float | None, cores: int) -> Any:
    """A copy of an executed notebook without papermill's traces and with its run time filled in.

    A notebook that was not run, for want of a package, has no ``seconds``.
    """
    page = copy.deepcopy(notebook)
    page.metadata.pop("papermill", None)
    page.metadata.pop("requires", None)
    for cell in page.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell["id"] = "injected-parameters"  # papermill draws a new one at every run
            if "remove-cell" not in tags:
                cell.metadata["tags"] = [*tags, "remove-cell"]
        elif not tags:
            cell.metadata.pop("tags", None)
    first = next((cell for cell in page.cells if cell.cell_type == "markdown"), None)
    if first is not None:
        words = "Not run on this machine" if seconds is None else run_time_text(seconds, cores)
        first.source = RUN_TIME.sub(words, first.source)
    return page
