"""Changes the code in small ways and asks the tests: ``python -m tools.mutants [NAME ...]``.

A mutant is the library with one small change: a ``<`` for a ``<=``, a 2 for a 1, an argument left out. If the
tests still pass, nobody would notice that mistake. The engine is mutmut, in an environment of its own below
``.matrix`` that sees the packages of the book's. It works on a copy of the files that git knows. All mutants
of ``TARGETS`` take six minutes on 2 cores. ``tests/survivors.md`` lists those that survive, with the
reason. Others are printed, and listed ones that are noticed by now, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.layout import REPO
from tools.matrix import PLACE, make
from tools.suite import record

MUTMUT = "mutmut==3.8.1"
# What decides whether the numbers are right.
TARGETS = ("metrics.py", "_list_metrics.py", "splits.py", "_cuts.py", "sampling.py", "losses/*.py")
TESTS = (
    "tests/test_metrics.py",
    "tests/test_splits.py",
    "tests/test_sampling.py",
    "tests/test_losses.py",
    "tests/test_row_losses.py",
    "tests/evaluation",
    "tests/hardening/test_words.py",
    "tests/hardening/test_functions.py",
    "tests/hardening/test_numbers.py",
    *(f"recsys_lib/{name.removesuffix('/*.py')}" for name in TARGETS),  # their examples
)
# The wording of a message in lines of its own, and lists of public names.
LEFT_ALONE = (r"^\s+f?\"", r"__all__")
SURVIVORS = REPO / "tests" / "survivors.md"


def environment() -> Path:
    """Make the environment of mutmut unless it is there, and return its folder of programs."""
    python = make(PLACE / "mutants", sys.executable, MUTMUT, MUTMUT)
    assert python is not None  # there is a Python: this one
    # The book's packages are found after its own.
    own = python.parents[1] / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    packages = dict.fromkeys(path for path in sys.path if path.endswith("site-packages"))
    (own / "book.pth").write_text("".join(f"{path}\n" for path in packages))
    return python.parent


def settings() -> str:
    """The table for pyproject.toml."""
    lists = {
        "source_paths": ["recsys_lib"],
        "only_mutate": [f"recsys_lib/{name}" for name in TARGETS],
        "also_copy": ["."],
        "do_not_mutate_patterns": LEFT_ALONE,
        "pytest_add_cli_args_test_selection": TESTS,
    }
    texts = {key: ", ".join(f"'{value}'" for value in values) for key, values in lists.items()}
    return "\n".join(["", "[tool.mutmut]", *(f"{key} = [{text}]" for key, text in texts.items()), ""])


def copy_to(folder: Path) -> None:
    """Copy what git knows, with the settings."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, folder / name)
    with open(folder / "pyproject.toml", "a") as file:
        file.write(settings())


def outcomes(text: str) -> dict[str, str]:
    """Read the list of ``mutmut results --all``: what became of each mutant.

    >>> outcomes("    a.x_f__mutmut_1: killed\\n    a.x_f__mutmut_2: survived\\n")
    {'a.x_f__mutmut_1': 'killed', 'a.x_f__mutmut_2': 'survived'}
    """
    return dict(re.findall(r"^\s*(\S+__mutmut_\d+): (.+?)\s*$", text, re.M))


def line_of(name: str, diff: str) -> str:
    """Say what a mutant changed, as ``tests/survivors.md`` lists it.

    >>> line_of("recsys_lib.a.xǁBǁf__mutmut_1", "--- a\\n+++ b\\n@@ -1 +1 @@\\n-    x = 1\\n+    x = 2\\n")
    '- `a.B.f`: `` x = 1 `` became `` x = 2 ``'
    """
    where = re.sub(r"\.x_|\.xǁ|ǁ", ".", name.removeprefix("recsys_lib.").split("__mutmut_")[0])
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    before, after = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return f"- `{where}`: `` {before} `` became `` {after} ``"


def complaints(lines: Mapping[str, str], listed: str, *, whole: bool) -> list[str]:
    """Compare survivors, changes with their names, with those that are listed; ``whole``: with all of these.

    >>> complaints({"- `f`: a": "f_1", "- `g`: b": "g_2"}, "# Why\\n- `f`: a\\n- `h`: c\\n", whole=True)
    ['- `g`: b (g_2) is not listed', '- `h`: c is listed and no longer survives']
    """
    known = [line for line in listed.splitlines() if line.startswith("- `")]
    found = [f"{line} ({name}) is not listed" for line, name in lines.items() if line not in known]
    gone = [f"{line} is listed and no longer survives" for line in known if line not in lines]
    return found + gone * whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the mutants, and end with counts and what the list of survivors lacks; 1 if that is anything."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutants", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument(
        "--folder", metavar="DIR", help="work there, in a new folder, and keep it: for `mutmut show NAME`"
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="mutants, such as 'recsys_lib.metrics*'")
    options = parser.parse_args(arguments)
    program = str(environment() / "mutmut")
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        scratch = options.folder or stack.enter_context(tempfile.TemporaryDirectory())
        Path(scratch).mkdir(parents=True, exist_ok=True)
        copy_to(Path(scratch))

        def mutmut(*words: str) -> str:
            told = [program, *words]
            return subprocess.run(
                told, check=True, cwd=scratch, env=variables, capture_output=True, text=True
            ).stdout

        run = [program, "run", "--max-children", "2", *options.names]
        subprocess.run(run, check=True, cwd=scratch, env=variables)
        found = outcomes(mutmut("results", "--all", "true"))
        found = {name: end for name, end in found.items() if end != "not checked"}
        alive = [name for name, end in found.items() if end in ("survived", "no tests")]
        lines = {line_of(name, mutmut("show", name)): name for name in alive}
    wrong = complaints(lines, SURVIVORS.read_text(), whole=not options.names)
    for line in wrong:
        print(line)
    if not options.names:
        record("mutants", made=len(found), noticed=len(found) - len(alive))
    told = f"; {len(wrong)} lines, above, of {SURVIVORS} are missing or out of date" if wrong else ""
    print(f"{len(found) - len(alive)} of {len(found)} mutants were noticed{told}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
