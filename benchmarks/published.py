"""Measure a published table again and print it beside the published values.

python -m benchmarks.published                      # lists the tables
python -m benchmarks.published ms-ml100k --seeds 3 --json results.json
python -m benchmarks.published ncf-ml1m --data FOLDER --rows EASE "NeuMF 64"
"""

from __future__ import annotations

import argparse
import functools
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.table import Table, choose_rows, measure, read_json, render, write_json, write_remarks
from benchmarks.tables import TABLES
from recsys_lib.errors import RecsysError


def main(arguments: Sequence[str] | None = None, tables: Mapping[str, Table] = TABLES) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.published",
        description="Measure a published table again.",
        epilog=_listing(tables),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", metavar="TABLE", nargs="?", help="one of the tables below")
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        help="folder of the data sets; for ncf-ml1m the folder with the files of the NCF authors, or the one "
        "that holds it under the name ncf-ml-1m (default: the cache folder of recsys_lib)",
    )
    parser.add_argument(
        "--rows", metavar="TEXT", nargs="+", help="only the rows with one of these texts in their name"
    )
    parser.add_argument("--seeds", metavar="N", type=int, default=3, help="runs per model (default: 3)")
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the results there as well, after each row; other rows that are there are kept",
    )
    parser.add_argument(
        "--remarks",
        action="store_true",
        help="measure nothing: only bring the remarks on sources in the file of --json up to date",
    )
    options = parser.parse_args(arguments)
    if options.table is None:
        print(_listing(tables))
        return 0
    if options.table not in tables:
        print(f"There is no table {options.table!r}.\n{_listing(tables)}", file=sys.stderr)
        return 2
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}.")
    if options.json is not None and options.json.is_dir():
        parser.error(f"--json must name a file, and {options.json} is a folder.")
    if options.remarks and options.json is None:
        parser.error("--remarks needs --json FILE, the file to bring up to date.")
    table = tables[options.table]
    try:
        if options.json is not None:
            read_json(options.json)
        rows = table.rows(options.data)
        if options.rows is not None:
            rows = choose_rows(rows, options.rows)
    except (RecsysError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.remarks:
        write_remarks(options.json, table, rows)
        return 0
    results = []
    say = functools.partial(print, file=sys.stderr, flush=True)
    for row in rows:
        results += measure(table, [row], options.seeds, say, _command(options))
        if options.json is not None:
            write_json(options.json, results)
    print(render(table, rows, results, options.seeds))
    return 0


def _command(options: argparse.Namespace) -> str:
    """What to type to measure again; the folders of this machine are left out."""
    words = [*shlex.split("python -m benchmarks.published"), options.table, "--seeds", str(options.seeds)]
    return shlex.join([*words, *(["--rows", *options.rows] if options.rows else [])])


def _listing(tables: Mapping[str, Table]) -> str:
    width = max(len(name) for name in tables)
    return "\n".join(["Tables:", *(f"  {name:<{width}}  {table.title}" for name, table in tables.items())])


if __name__ == "__main__":
    sys.exit(main())
