"""The page "What we promise": each promise beside the tests that would fail if it were broken."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tools.layout import REPO, BuildError
from tools.published import board_table

MARKER = "<!-- promises -->"


@dataclass(frozen=True)
class Promise:
    """One row of the page.

    Parameters
    ----------
    subject, words : str
    files : tuple of str
        Where its tests are.
    """

    subject: str
    words: str
    files: tuple[str, ...]


PROMISES = (
    Promise(
        "Bad input",
        "Whatever a function, a model or the command line is given, it works or says what is wrong: the "
        "argument, the value, and the way out. No model is left half fitted, no file half written, no "
        "input changed.",
        (
            "tests/hardening/test_columns.py",
            "tests/hardening/test_functions.py",
            "tests/hardening/test_words.py",
            "tests/hardening/test_parameters.py",
            "tests/hardening/test_command_line.py",
        ),
    ),
    Promise(
        "Numbers",
        "Losses and metrics stay finite for extreme scores, and our own gradients are those of the "
        "formula. A fit that diverges stops, names the epoch, and keeps the last good checkpoint.",
        ("tests/hardening/test_numbers.py", "tests/test_losses.py", "tests/test_row_losses.py"),
    ),
    Promise(
        "Metrics",
        "Every metric agrees with values worked out by hand, and with a slow and plain version of itself.",
        ("tests/test_metrics.py", "tests/test_ranking.py", "tests/evaluation/test_evaluation.py"),
    ),
    Promise(
        "Killed at any moment",
        "A fit that was killed goes on from its checkpoint and ends with the same weights, bit for bit, "
        "on a CPU. Downloads, caches, models and converted data are whole or absent.",
        ("tests/hardening/test_kills.py", "tests/book/test_interrupted.py"),
    ),
    Promise(
        "Disks and networks",
        "A full disk, a read-only cache, a cut connection, a server that lies or never ends: each is "
        "said, and leaves what was there before.",
        (
            "tests/hardening/test_faults.py",
            "tests/hardening/test_network.py",
            "tests/test_datasets_download.py",
        ),
    ),
    Promise(
        "Trust",
        "Loading a file never runs code from it, and a small file cannot ask for much memory. Titles with "
        "HTML or scripts in them appear as text.",
        ("tests/hardening/test_trust.py", "tests/models/test_saving.py", "tests/test_web.py"),
    ),
    Promise(
        "Load",
        "Eight threads get the answers of one. Fifty fits leak nothing. A catalogue of a million items is "
        "ranked in bounded memory.",
        ("tests/hardening/test_load.py",),
    ),
    Promise(
        "Many processes",
        "Two and four processes learn what one learns, within the tolerance that the tests state. A "
        "process that dies ends the job with a clear message.",
        ("tests/distributed/test_distributed.py", "tests/distributed/test_divided.py"),
    ),
    Promise(
        "One device through a step",
        "A training step copies nothing between a GPU and the host, and neither waits for the other. "
        "(Divided tables are an exception; and which items a batch has, where only these are scored, is "
        "asked before the step.)",
        ("tests/models/test_no_waits.py",),
    ),
    Promise(
        "The pages",
        "No page has an error, a missing picture, a dead link or a request to the outside; nothing "
        "serious is found by axe-core; the film search ranks as the library does.",
        (
            "tests/book/test_pages.py",
            "tests/book/test_browser.py",
            "tests/book/test_accessibility.py",
            "tests/book/test_film_search.py",
        ),
    ),
)


def n_tests(path: Path) -> int:
    """Count the test functions of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return sum(isinstance(one, ast.FunctionDef) and one.name.startswith("test_") for one in ast.walk(tree))


def promises(root: Path = REPO) -> str:
    """The table of the page.

    Raises
    ------
    BuildError
        If a promise names a file that is not there, or has no test.
    """
    lines = []
    for promise in PROMISES:
        counts = {file: n_tests(root / file) if (root / file).is_file() else 0 for file in promise.files}
        for file, count in counts.items():
            if not count:
                raise BuildError(
                    f"the page of promises names {file}, which has no test: see tools/promises.py"
                )
        files = "<br>".join(f"<code>{escape(file.removeprefix('tests/'))}</code>" for file in counts)
        lines.append(
            f'<tr><th scope="row">{escape(promise.subject)}</th>'
            f'<td class="prose">{escape(promise.words)}</td>'
            f'<td class="prose">{files}</td><td>{sum(counts.values())}</td></tr>'
        )
    head = (
        '<th scope="col">of</th><th scope="col" class="prose">promise</th>'
        '<th scope="col" class="prose">in tests/</th><th scope="col">test functions</th>'
    )
    return board_table("What is promised, and where it is tested", head, lines, wide=True)


def with_promises(text: str, root: Path = REPO) -> str:
    """Put the table in place of its marker; a page without it stays as it is."""
    return text.replace(MARKER, promises(root)) if MARKER in text else text
