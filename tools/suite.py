"""What the longer checks of the tests have found, kept as data for the page of promises.

``make coverage`` and ``make mutants`` write it; ``python -m tools.suite`` reads the first from the data that
coverage.py has left.
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.layout import REPO, write_atomically

MARKER = "<!-- suite -->"
RECORD = Path("tests", "suite.json")  # in the repository


def record(check: str, record_file: Path = REPO / RECORD, **numbers: float) -> None:
    """Keep what a check has found, with the date; what others have found stays."""
    known = json.loads(record_file.read_text()) if record_file.is_file() else {}
    known[check] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **numbers}
    write_atomically(record_file, json.dumps(known, indent=1) + "\n")


def sentences(record_file: Path = REPO / RECORD) -> str:
    """Say what was found last, as the page shows it: an item for each command."""
    known: dict[str, dict[str, Any]] = json.loads(record_file.read_text())
    covered, mutants = known["coverage"], known["mutants"]
    share = mutants["noticed"] / mutants["made"]
    return (
        "`make coverage`\n"
        ": Tells which lines and branches of the library no unit test goes through. On "
        f"{covered['date']}, {covered['percent']:.1f}% were gone through.\n\n"
        "`make mutants`\n"
        ": Makes small mistakes on purpose, in the code of metrics, splits, samplers and losses: a `<` for a "
        f"`<=`, a 2 for a 1. On {mutants['date']}, the tests noticed {mutants['noticed']:,} of "
        f"{mutants['made']:,}, which is {share:.1%}. `tests/survivors.md` says what became of the others."
    )


def with_suite(text: str, root: Path = REPO) -> str:
    """Put the sentences in place of their marker; a page without it stays as it is."""
    return text.replace(MARKER, sentences(root / RECORD)) if MARKER in text else text


def main() -> None:
    """Keep the coverage of the last run of the tests."""
    from coverage import Coverage

    data = Coverage()
    data.load()
    record("coverage", percent=round(data.report(file=io.StringIO()), 2))


if __name__ == "__main__":
    main()
