"""Parquet files of interactions, read and sorted by DuckDB within a limit of memory.

Why DuckDB: it sorts, joins and counts on the disk once its limit is reached. Numbering and sorting 20 million
rows on two cores with a limit of 256 MB took it 24 s and 0.4 GB at its peak, Python and pandas included.
Polars took 51 s and 1.1 GB, and has no limit to set. PyArrow cannot sort what does not fit, so that the sort
would be our own; and the releases of it that take NumPy 1, which MXNet needs, are old.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from recsys_lib._columns import ColumnChoice, find_columns
from recsys_lib.errors import DataError, FileFormatError, ParquetUnavailableError

if TYPE_CHECKING:
    import duckdb

_WHOLE = ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"]
_FLOATS = ["FLOAT", "DOUBLE"]
_DATES = ["TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"]
_LARGEST_FLOAT = "3.4028234663852886e38"
# A thread of DuckDB needs so many megabytes to work well.
_MEGABYTES_PER_THREAD = 128


@contextlib.contextmanager
def connection(
    megabytes: int | None = None, folder: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory that spills to ``folder`` once its memory is used up.

    Raises
    ------
    ParquetUnavailableError
        If DuckDB is not installed.
    DataError
        If the memory is too little for the work.
    FileFormatError
        If a file cannot be read.
    OSError
        If it cannot write to ``folder``.
    """
    try:
        import duckdb
    except ImportError as error:
        raise ParquetUnavailableError(
            "reading Parquet files needs DuckDB: pip install duckdb. Or use CSV files, or a data frame."
        ) from error
    # It neither reaches for the network nor prints.
    config: dict[str, Any] = {"autoinstall_known_extensions": False}
    if megabytes is not None:
        threads = min(os.cpu_count() or 1, max(1, megabytes // _MEGABYTES_PER_THREAD))
        config |= {
            "memory_limit": f"{megabytes}MB",
            "threads": threads,
            "temp_directory": str(folder),
            "preserve_insertion_order": False,
        }
    try:
        with duckdb.connect(":memory:", config=config) as opened:
            # In Jupyter without ipywidgets DuckDB refuses to change this, and shows none.
            with contextlib.suppress(duckdb.InvalidInputException):
                opened.execute("SET enable_progress_bar = false")
            yield opened
    except duckdb.OutOfMemoryException as error:
        raise DataError(
            f"memory={megabytes} is too little, or the disk is full: {_first_line(error)}. Allow more."
        ) from error
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        if folder is not None and str(folder) in str(error):
            raise OSError(
                f"sorting needs room on the disk as well: {_first_line(error)}. Free some, or name a folder "
                "on another disk."
            ) from error
        raise FileFormatError(f"the Parquet files cannot be read: {_first_line(error)}") from error
    except duckdb.Error as error:
        raise DataError(f"the Parquet files cannot be used: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def find_files(source: str | os.PathLike[str]) -> list[str]:
    """Return the Parquet files of a folder, in the order of their names, or the one file.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = sorted(path.rglob("*.parquet"))
        # Spark and its like leave such names for files that are no data.
        found = [file for file in found if not file.relative_to(path).as_posix().startswith(("_", "."))]
        if not found:
            raise FileNotFoundError(f"the folder {os.fspath(source)!r} holds no files *.parquet.")
        return [str(file) for file in found]
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {os.fspath(source)!r}.")
    return [str(path)]


def read_frame(source: str | os.PathLike[str]) -> pd.DataFrame:
    """Read all columns of a file, or of all files of a folder in the order of their names, into memory."""
    files = find_files(source)
    with connection() as con:
        frame: pd.DataFrame = con.execute("SELECT * FROM read_parquet(?)", [files]).df()
    return frame


def read_columns(
    source: str | os.PathLike[str], chosen: Mapping[str, ColumnChoice]
) -> dict[str, pd.Series | None]:
    """Read the columns of some roles into memory, by role; None for a role without one."""
    with connection() as con:
        log = Log.look_at(con, source, chosen)
        roles = {role: sql for role, sql in log.roles.items() if sql is not None}
        shown = ", ".join(f"{sql} AS {role}" for role, sql in roles.items())
        frame = con.execute(f"SELECT {shown} FROM read_parquet(?)", [log.files]).df()
    return {role: frame[role] if role in roles else None for role in log.roles}


@dataclass(frozen=True)
class Log:
    """Parquet files, and how their columns are read.

    Attributes
    ----------
    con : duckdb.DuckDBPyConnection
    source : str
        What the user called them.
    files : list of str
    roles : dict of str to str or None
        The SQL of ``user``, ``item``, ``rating`` and ``timestamp``.
    columns : dict of str to str or None
        The names of the columns.
    types : dict of str to str
        What the roles are in SQL: BIGINT, DOUBLE or VARCHAR.
    """

    con: duckdb.DuckDBPyConnection
    source: str
    files: list[str]
    roles: dict[str, str | None]
    columns: dict[str, str | None]
    types: dict[str, str]

    @classmethod
    def look_at(
        cls,
        con: duckdb.DuckDBPyConnection,
        source: str | os.PathLike[str],
        chosen: Mapping[str, ColumnChoice],
    ) -> Log:
        """Find the files, the columns of each role and their types."""
        files = find_files(source)
        described = con.execute("DESCRIBE SELECT * FROM read_parquet(?)", [files]).fetchall()
        types = {str(row[0]): str(row[1]) for row in described}
        columns = find_columns(pd.DataFrame(columns=list(types)), dict(chosen))
        roles: dict[str, str | None] = {}
        kinds = {}
        for role, column in columns.items():
            roles[role] = None
            if column is not None:
                roles[role], kinds[role] = _expression(role, column, types[column])
        return cls(con, os.fspath(source), files, roles, columns, kinds)

    def check(self) -> None:
        """See that there are rows, and that nothing is missing in them; one pass over the files.

        Raises
        ------
        DataError
            If there are none, or values are missing or not finite. The first row is named.
        """
        bad = {role: self._bad(role) for role, sql in self.roles.items() if sql is not None}
        counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in bad.values())
        found = self.con.execute(f"SELECT count(*), {counts} FROM read_parquet(?)", [self.files]).fetchall()
        n_rows, *bad_rows = found[0]
        if n_rows == 0:
            raise DataError(f"{self.source} holds no rows: the data is empty.")
        for (role, condition), count in zip(bad.items(), bad_rows, strict=True):
            if count:
                first = f"min_by({_name(str(self.columns[role]))}, file_row_number)"
                file, row, value = self.con.execute(
                    f"SELECT filename, min(file_row_number), {first} "
                    "FROM read_parquet(?, filename=true, file_row_number=true) "
                    f"WHERE {condition} GROUP BY filename ORDER BY filename LIMIT 1",
                    [self.files],
                ).fetchall()[0]
                what = f"{role} id(s)" if role in ("user", "item") else f"{role}(s)"
                how = "missing, infinite or too large" if role == "rating" else "missing or infinite"
                raise DataError(
                    f"{count:,} {what} are {how}, the first in row {row} of {file}: {value}. "
                    "Drop or fill them first."
                )

    def _bad(self, role: str) -> str:
        sql, name = self.roles[role], _name(str(self.columns[role]))
        if role == "rating":
            number = f"{name}::DOUBLE"
            return f"{name} IS NULL OR NOT isfinite({number}) OR abs({number}) > {_LARGEST_FLOAT}"
        # Only a float, or a time, can be infinite; and what was no float before is not one in SQL.
        return f"{name} IS NULL" + (f" OR NOT isfinite({sql})" if self.types[role] == "DOUBLE" else "")


def _expression(role: str, column: str, kind: str) -> tuple[str, str]:
    """Return the SQL of a column, and its type."""
    name = _name(column)
    if role in ("user", "item"):
        if kind in _WHOLE:
            return f"{name}::BIGINT", "BIGINT"
        if kind in _FLOATS:
            return f"{name}::DOUBLE", "DOUBLE"
        if kind == "VARCHAR" or kind.startswith("ENUM"):
            return f"{name}::VARCHAR", "VARCHAR"
        hint = "ids must be numbers or text. Cast the column first"
    elif role == "rating":
        if kind in (*_WHOLE, *_FLOATS, "BOOLEAN") or kind.startswith("DECIMAL"):
            return f"{name}::DOUBLE::FLOAT", "FLOAT"
        hint = "ratings must be numbers. Cast the column first, or pass rating=False to do without"
    else:
        if kind in _WHOLE:
            return f"{name}::BIGINT", "BIGINT"
        if kind in _FLOATS:
            return f"{name}::DOUBLE", "DOUBLE"
        if kind == "DATE":
            return f"epoch_ns({name}::TIMESTAMP)", "BIGINT"
        if kind in _DATES:
            return f"epoch_ns({name})", "BIGINT"
        hint = "timestamps must be numbers or dates. Cast the column first, or pass timestamp=False"
    raise DataError(f"the {role} column {column!r} is of the type {kind}: {hint}.")


def _name(column: str) -> str:
    """Quote the name of a column for SQL."""
    quoted = column.replace('"', '""')
    return f'"{quoted}"'
