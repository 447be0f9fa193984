"""Run one notebook with papermill, in a process of its own: `python -m tools.execute IN OUT ...`."""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from tools import children
from tools.layout import BuildError, Layout

CELL_SECONDS = 600  # a single cell that takes longer is stuck
FOR_PAGES = "_static"  # what a notebook writes into this folder is put beside the pages


def threads(jobs: int = 1) -> int:
    """The cores that each of `jobs` notebooks side by side may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, cores // jobs))


def kernel_environment(layout: Layout, jobs: int = 1) -> dict[str, str]:
    """The environment a notebook runs in: the book's own kernel and settings, none of the user's."""
    jupyter = layout.run / "jupyter"
    jupyter.mkdir(parents=True, exist_ok=True)  # IPython warns where it can't make its own folder
    ours = {
        # `python3` must be the interpreter of .venv, whatever kernels and settings the user has
        "JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_DATA_DIR": str(jupyter / "data"),
        "JUPYTER_CONFIG_DIR": str(jupyter / "config"),
        "JUPYTER_RUNTIME_DIR": str(jupyter / "runtime"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(jupyter / "ipython"),
        "MPLCONFIGDIR": str(layout.run / "matplotlib"),
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        # progress bars belong to a terminal; on a page they would be dead widgets
        "TQDM_DISABLE": "1",
    }
    inherited = {k: v for k, v in os.environ.items() if k not in ("MPLBACKEND", "PYTHONPATH")}
    return {"OMP_NUM_THREADS": str(threads(jobs)), **inherited, **ours}


def parameter_names(notebook: Any) -> list[str]:
    """The names assigned in the cell tagged ``parameters``."""
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            return [
                target.id
                for statement in ast.parse(cell.source).body
                for target in getattr(statement, "targets", [getattr(statement, "target", None)])
                if isinstance(target, ast.Name)
            ]
    return []


def check_parameters(path: Path, parameters: Mapping[str, Any]) -> None:
    """Raise `BuildError` for a parameter the notebook does not have, before anything runs."""
    known = parameter_names(nbformat.read(path, as_version=4))
    for name in parameters:
        if name not in known:
            raise BuildError(f"{path.name} has no parameter {name!r}; it has: {', '.join(known) or 'none'}")


def working_folder(layout: Layout, name: str) -> Path:
    """The folder in which the notebook of that name runs."""
    return layout.run / "cwd" / name


def run(source: Path, target: Path, layout: Layout, parameters: Mapping[str, Any], jobs: int = 1) -> bool:
    """Execute `source` into `target`; whether it ran to its end. What it printed goes to a log beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    # an empty folder of its own: a notebook that writes a relative path can't touch the repository
    folder = working_folder(layout, target.stem)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tools.execute", str(source), str(target)]
    command += ["--cwd", str(folder), "--parameters", json.dumps(dict(parameters)), "--with-parent"]
    with target.with_suffix(".log").open("w", encoding="utf-8") as log:
        status = children.run(
            command,
            cwd=Path(__file__).resolve().parent.parent,
            env=kernel_environment(layout, jobs),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return status == 0


def failure_report(partial: Path) -> str:
    """What went wrong in a notebook: the cell, its first line and the error.

    Parameters
    ----------
    partial
        The notebook papermill left; ``<stem>.log`` beside it holds the process's own words.
    """
    log = partial.with_suffix(".log")
    lines = log.read_text(encoding="utf-8").strip().splitlines() if log.is_file() else []
    last_words = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
    if not partial.is_file():
        return f"  it did not start: {last_words}"
    # papermill puts notes of its own around the failing cell; they are not cells of the chapter
    cells = [
        cell
        for cell in nbformat.read(partial, as_version=4).cells
        if not any(tag.startswith("papermill-error") for tag in cell.metadata.get("tags", []))
        and "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    for number, cell in enumerate(cells, start=1):
        if cell.cell_type != "code":
            continue
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if not errors and cell.metadata.get("papermill", {}).get("status") not in ("failed", "running"):
            continue
        message = f"{errors[0].ename}: {errors[0].evalue}" if errors else last_words
        first = next((line for line in cell.source.splitlines() if line.strip()), "(empty)")
        return f"  cell {number} of {len(cells)}: {first.strip()}\n  {message}"
    return f"  {last_words}"


def main(argv: list[str] | None = None) -> int:
    """Execute one notebook in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--cwd", required=True)
    parser.add_argument("--parameters", default="{}", type=json.loads)
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    args = parser.parse_args(argv)
    if args.with_parent:
        children.end_with_parent()
    # The first import on a machine builds the font cache, slowly and with a message: not in a chapter.
    import matplotlib.font_manager  # noqa: F401
    import papermill  # type: ignore[import-untyped]

    papermill.execute_notebook(
        args.source,
        args.target,
        parameters=args.parameters,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        cwd=args.cwd,
        start_timeout=120,
        execution_timeout=CELL_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
