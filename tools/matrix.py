"""The library's tests with other versions than those of the book: ``python -m tools.matrix [ROW ...]``.

Each row has an environment of its own below ``.matrix``, made once, with the library and what its tests
need. A row whose Python is not on this machine is left out, and said so. The book's tests need the book's
environment: they are part of ``make test`` and not of this.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.layout import REPO

PLACE = REPO / ".matrix"
# The book, its tools (of which this is one) and the benchmarks run with the pinned versions alone.
LEFT_OUT = ("tests/book", "tests/benchmarks", "tests/mx", "tests/test_matrix.py")
# Their newest versions are what pip finds; these are the oldest that pyproject.toml allows.
OLDEST = (
    "numpy==1.26.*",
    "pandas==2.2.*",
    "scipy==1.11.*",
    "torch==2.8.*",
    "tqdm==4.60.*",
    "matplotlib==3.10.*",
)
# That of the book, where another one would only take longer to fetch.
TORCH = next(
    line for line in (REPO / "requirements.txt").read_text().splitlines() if line.startswith("torch==")
)


@dataclass(frozen=True)
class Row:
    """One environment.

    Parameters
    ----------
    name : str
    python : str
        The interpreter, as a command.
    requirements : tuple of str
        For pip, beside the library with its extras.
    extras : str
        Of the library.
    """

    name: str
    python: str
    requirements: tuple[str, ...] = ()
    extras: str = "plots,parquet,test"

    @property
    def folder(self) -> Path:
        """Where its environment lies."""
        return PLACE / self.name


ROWS = (
    Row("numpy-2", "python3.11", ("numpy>=2", TORCH)),
    Row("mxnet", "python3.11", ("numpy<2", TORCH), "plots,parquet,test,mxnet"),
    Row("bare", "python3.11", ("numpy>=2", TORCH), "test"),
    Row("oldest", "python3.11", OLDEST),
    Row("newest", "python3.11"),
    Row("python-3.12", "python3.12"),
    Row("python-3.13", "python3.13"),
)


def environment(row: Row) -> Path | None:
    """Make the environment of a row unless it is there; its interpreter, or None without such a Python."""
    wanted = "\n".join([row.extras, *row.requirements])
    return make(
        row.folder, shutil.which(row.python), wanted, "-e", f"{REPO}[{row.extras}]", *row.requirements
    )


def make(folder: Path, base: str | None, wanted: str, *packages: str) -> Path | None:
    """Make an environment unless that with the same stamp is there; its interpreter.

    Parameters
    ----------
    folder : Path
    base : str or None
        The Python to make it with; without one, an environment that is not there stays so: None.
    wanted : str
        The stamp: what the environment is for.
    *packages : str
        What pip is to install.
    """
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    if base is None:
        return None
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([base, "-m", "venv", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *packages], check=True)
    stamp.write_text(wanted)
    return python


def versions(python: Path) -> str:
    """Name the versions that are installed."""
    code = (
        "import platform, numpy, pandas, scipy, torch; "
        "print('Python', platform.python_version(), *(f'{m.__name__} {m.__version__}' "
        "for m in (numpy, pandas, scipy, torch)), sep=', ')"
    )
    return subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def run_tests(row: Row, python: Path, arguments: Sequence[str]) -> int:
    """Run the library's tests, and return the status of pytest."""
    left_out = [
        f"--ignore={folder}" for folder in LEFT_OUT if not (folder == "tests/mx" and "mxnet" in row.extras)
    ]
    command = [
        str(python),
        "-m",
        "pytest",
        "-rs",
        *left_out,
        *(arguments or ["-n", "2", "--dist", "loadfile"]),
    ]
    return subprocess.run(
        command, check=False, cwd=REPO, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ).returncode


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rows that are asked for, or all, and end with a line for each."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog="python -m tools.matrix", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("rows", metavar="ROW", nargs="*", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--pytest", metavar="TEXT", default="", help="arguments for pytest in place of ours")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.rows if name not in names]
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(names)}.")
    words, failed = [], False
    for row in ROWS:
        if options.rows and row.name not in options.rows:
            continue
        started = time.monotonic()
        python = environment(row)
        if python is None:
            words.append(f"{row.name}: left out, {row.python} is not on this machine")
            continue
        print(f"== {row.name}: {versions(python)}", flush=True)
        status = run_tests(row, python, options.pytest.split())
        failed |= status != 0
        outcome = "passed" if status == 0 else f"FAILED (pytest ended with {status})"
        words.append(f"{row.name}: {outcome} in {time.monotonic() - started:.0f} s, {versions(python)}")
    print(*words, sep="\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
