"""Content hashes: what a notebook or a page was made from. Times of files play no part."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat

from tools.layout import Chapter, Layout
from tools.without_running import missing_packages

# The parts of the tools that decide what an executed notebook holds. The others may change without a new run.
EXECUTION_TOOLS = ("tools/execute.py", "tools/without_running.py")


def files_below(folder: Path) -> list[Path]:
    """The files of a folder in a fixed order, without what Python and editors leave behind."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.suffix not in (".pyc", ".pyo", ".swp")
        and not any(part in ("__pycache__", ".ipynb_checkpoints") for part in path.parts)
    )


def hash_files(paths: Iterable[Path], root: Path) -> str:
    """One hash over the names (relative to `root`) and the contents of `paths`."""
    digest = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def library_fingerprint(layout: Layout) -> str:
    """The library's sources."""
    return hash_files(files_below(layout.root / "recsys_lib"), layout.root)


def environment_fingerprint(layout: Layout) -> str:
    """The pinned requirements and the Python that runs them."""
    requirements = (layout.root / "requirements.txt").read_bytes()
    python = ".".join(map(str, sys.version_info[:3]))
    return hashlib.sha256(requirements + python.encode()).hexdigest()


def chapter_fingerprint(chapter: Chapter, layout: Layout, parameters: Mapping[str, Any]) -> str:
    """Everything an executed chapter depends on. Another value means: run it again."""
    parts = {
        "notebook": hashlib.sha256(chapter.notebook(layout.root).read_bytes()).hexdigest(),
        "library": library_fingerprint(layout),
        "environment": environment_fingerprint(layout),
        "tools": hash_files([layout.root / name for name in EXECUTION_TOOLS], layout.root),
        "parameters": dict(parameters),
        "missing": missing_packages(nbformat.read(chapter.notebook(layout.root), as_version=4)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def render_fingerprint(layout: Layout) -> str:
    """Everything the pages depend on: what was staged, the docstrings, the packages, the tools."""
    parts = [
        hash_files(files_below(layout.source), layout.root),
        library_fingerprint(layout),
        environment_fingerprint(layout),
        hash_files(files_below(layout.root / "tools"), layout.root),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
