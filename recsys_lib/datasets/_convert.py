"""From Parquet files of any size to a folder that :meth:`recsys_lib.Interactions.open` maps."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_lib._columns import ColumnChoice
from recsys_lib._files import atomic_folder
from recsys_lib._folder import NpyWriter, write_header, write_ids
from recsys_lib._parquet import Log, connection
from recsys_lib._rows import POLICIES, Duplicates
from recsys_lib._validation import check_choice, check_integer, check_kind, check_number
from recsys_lib.errors import DataError, UnknownIdError
from recsys_lib.ids import IdMap
from recsys_lib.interactions import Interactions

_CHUNKS = 50  # of 2,048 rows, that are taken from the database together


def convert(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    user: str | None = None,
    item: str | None = None,
    rating: ColumnChoice = None,
    timestamp: ColumnChoice = None,
    duplicates: Duplicates = "error",
    like: Interactions | None = None,
    unknown: Literal["error", "drop"] = "error",
    since: float | None = None,
    before: float | None = None,
    memory: int = 1024,
) -> Interactions:
    """Sort Parquet files that may be larger than the memory into a folder that can be mapped.

    The folder is 12 to 20 bytes for a row, and the work needs about as much again beside it on the way.
    :meth:`recsys_lib.Interactions.open` then takes no time and next to no memory: the system reads what a
    model asks for, and forgets it when memory is short. The folder gets its name when all is done.

    Rows are in the order of user and item, and not in that of the files. So a split that goes by the number
    of a row, such as a random one, is another than that of the same data in memory.

    Parameters
    ----------
    source : path-like
        A Parquet file, or a folder of them: all ``*.parquet`` in it and below.
    folder : path-like
        What to make. There must be nothing of that name.
    user, item, rating, timestamp, duplicates, like, unknown
        As in :meth:`recsys_lib.Interactions.from_dataframe`. Ids are whole numbers, floats or text. "First"
        and "last" rows at the same time go by the order of the files' names, and of their rows.
    since, before : float, optional
        Take only rows with ``since <= timestamp < before``, in the unit of the data; dates are in nanoseconds
        since 1970. Two calls, the second with ``like=``, cut a log at one moment into train and test.
    memory : int
        Megabytes that the sorting may use, at least 64. Python with this library needs 200 to 400 more. What
        does not fit goes to the disk, next to ``folder``. A tiny part of the limit is exceeded at times.

    Returns
    -------
    Interactions
        The folder, opened.

    Raises
    ------
    ParquetUnavailableError
        If DuckDB is not installed (``pip install duckdb``).
    FileExistsError
        If ``folder`` is there already.
    FileFormatError
        If a file is no Parquet file, or is damaged.
    DataError
        If the data is empty, values are missing, pairs repeat, or ``memory`` is too little.
    UnknownIdError
        If ``like`` is given and does not know an id.
    OSError
        If the disk is full, or the folder cannot be written. Nothing is left there.
    """
    check_choice("duplicates", duplicates, POLICIES)
    check_choice("unknown", unknown, ("error", "drop"))
    check_integer("memory", memory, 64)
    if like is not None:
        check_kind("like", like, Interactions)
    limits = {}
    for name, sign, value in (("since", ">=", since), ("before", "<", before)):
        if value is not None:
            check_number(name, value, -np.inf)
            limits[f"time {sign} ?"] = int(value) if value == int(value) else float(value)
    chosen: dict[str, ColumnChoice] = {"user": user, "item": item, "rating": rating, "timestamp": timestamp}
    with atomic_folder(folder) as made:
        spill = made / "spill"
        with connection(memory, spill) as con:
            log = Log.look_at(con, source, chosen)
            if limits and log.roles["timestamp"] is None:
                raise DataError("since and before need timestamps, and there are none.")
            log.check()
            sorting = _Sorting(log, duplicates, limits)
            checksums = {}
            for what in ("user", "item"):
                known = None if like is None else getattr(like, f"{what}_ids")
                sorting.number(what, known, unknown)
                name, checksum = write_ids(made, what, sorting.ids(what))
                checksums[name] = checksum
            n_rows, columns = sorting.write(made)
        if spill.exists():
            shutil.rmtree(spill)  # DuckDB has emptied it
        write_header(made, n_rows, checksums | columns)
    return Interactions.open(folder)


class _Sorting:
    """The tables and questions of one conversion."""

    def __init__(self, log: Log, duplicates: Duplicates, limits: dict[str, float]) -> None:
        self.log, self.duplicates, self.limits = log, duplicates, limits
        self.n_items = 0

    def _rows(self, *more: str) -> tuple[str, list[Any]]:
        """Return the SQL of the rows that are taken, and what is filled in."""
        names = {"user": "user_id", "item": "item_id", "rating": "rating", "timestamp": "time"}
        shown = [f"{sql} AS {names[role]}" for role, sql in self.log.roles.items() if sql is not None]
        places = ", filename=true, file_row_number=true" if more else ""
        where = f"WHERE {' AND '.join(self.limits)}" if self.limits else ""
        sql = f"SELECT * FROM (SELECT {', '.join([*shown, *more])} FROM read_parquet(?{places})) {where}"
        return sql, [self.log.files, *self.limits.values()]

    def number(self, what: str, known: IdMap | None, unknown: str) -> None:
        """Make the table ``users`` or ``items``: the ids and the numbers that stand for them."""
        con, (rows, values) = self.log.con, self._rows()
        if known is None:
            con.execute(
                f"CREATE TEMP TABLE {what}s AS SELECT (row_number() OVER () - 1)::INTEGER AS n, id "
                f"FROM (SELECT DISTINCT {what}_id AS id FROM ({rows}) ORDER BY id)",
                values,
            )
        else:
            numbers = pd.DataFrame({"n": np.arange(len(known), dtype=np.int32), "id": known.ids})
            con.register("numbers", numbers)
            con.execute(
                f"CREATE TEMP TABLE {what}s AS SELECT n, id::{self.log.types[what]} AS id FROM numbers"
            )
            con.unregister("numbers")
            if unknown == "error":
                self._refuse_unknown(what, known)
        count = con.execute(f"SELECT count(*) FROM {what}s").fetchall()[0][0]
        if count == 0:
            raise DataError(f"no row is left: since and before leave nothing of {self.log.source}.")
        self.n_items = count  # the items come last

    def _refuse_unknown(self, what: str, known: IdMap) -> None:
        rows, values = self._rows()
        others = self.log.con.execute(
            f"SELECT DISTINCT {what}_id AS id FROM ({rows}) log "
            f"WHERE NOT EXISTS (FROM {what}s WHERE id = {what}_id) ORDER BY 1 LIMIT 6",
            values,
        ).fetchall()
        if others:
            shown = ", ".join(repr(row[0]) for row in others[:5]) + (", ..." if len(others) > 5 else "")
            raise UnknownIdError(
                f"unknown {what} id(s): {shown}. like has {known!r}. Pass unknown='drop' to leave them out."
            )

    def ids(self, what: str) -> Iterator[list[Any]]:
        """Yield the ids by their numbers, in parts."""
        for part in self._parts(f"SELECT id FROM {what}s ORDER BY n", []):
            yield part["id"].tolist()

    def _parts(self, sql: str, values: list[Any]) -> Iterator[pd.DataFrame]:
        result = self.log.con.execute(sql, values)
        while len(part := result.fetch_df_chunk(_CHUNKS)):
            yield part

    def write(self, folder: Path) -> tuple[int, dict[str, str]]:
        """Sort the rows into the files of the columns; return how many there are, and the checksums."""
        rated = self.log.roles["rating"] is not None or self.duplicates == "sum"
        timed = self.log.roles["timestamp"] is not None
        dtypes = {"users": "<i4", "items": "<i4"}
        if rated:
            dtypes["ratings"] = "<f4"
        if timed:
            dtypes["timestamps"] = "<i8" if self.log.types["timestamp"] == "BIGINT" else "<f8"
        with contextlib.ExitStack() as stack:
            files = {
                name: stack.enter_context(NpyWriter(folder / f"{name}.npy", dtype))
                for name, dtype in dtypes.items()
            }
            for part in merged(self._sorted(), self.duplicates):
                if self.duplicates == "error" and (part.counts > 1).any():
                    self._refuse_repeat(int(part.pairs[part.counts > 1][0]))
                files["users"].append(part.pairs // self.n_items)
                files["items"].append(part.pairs % self.n_items)
                if part.values is not None:
                    files["ratings"].append(part.values)
                if part.times is not None:
                    files["timestamps"].append(part.times)
            n_rows = files["users"].length
            if n_rows == 0:
                raise DataError("no row has both a known user and a known item: nothing is left.")
            return n_rows, {f"{name}.npy": file.close() for name, file in files.items()}

    def _sorted(self) -> Iterator[Part]:
        """Yield the rows in the order of user and item, and of those of a pair in that of time and place."""
        columns, order = ["u.n AS u", "i.n AS i"], ["u", "i"]
        rated, timed = (self.log.roles[role] is not None for role in ("rating", "timestamp"))
        columns += ["rating"] * rated + ["time"] * timed
        order += ["time"] * (timed and self.duplicates != "error")
        places: tuple[str, ...] = ()
        if self.duplicates in ("first", "last"):
            places = ("list_position(?, filename) AS file", "file_row_number AS row")
            columns += ["file", "row"]
            order += ["file", "row"]
        rows, values = self._rows(*places)
        sql = (
            f"SELECT {', '.join(columns)} FROM ({rows}) log JOIN users u ON u.id = user_id "
            f"JOIN items i ON i.id = item_id ORDER BY {', '.join(order)}"
        )
        for frame in self._parts(sql, [self.log.files] * bool(places) + values):
            pairs = frame["u"].to_numpy(np.int64) * self.n_items + frame["i"].to_numpy(np.int64)
            ratings = frame["rating"].to_numpy(np.float64) if rated else None
            if ratings is None and self.duplicates == "sum":
                ratings = np.ones(len(pairs))
            times = frame["time"].to_numpy() if timed else None
            yield Part(pairs, ratings, times, np.ones(len(pairs), dtype=np.int64))

    def _refuse_repeat(self, pair: int) -> None:
        con = self.log.con
        ids = [
            con.execute(f"SELECT id FROM {what}s WHERE n = ?", [n]).fetchall()[0][0]
            for what, n in zip(("user", "item"), divmod(pair, self.n_items), strict=True)
        ]
        rows, values = self._rows("filename", "file_row_number")
        (file, row), (other, again) = con.execute(
            f"SELECT filename, file_row_number FROM ({rows}) WHERE user_id = ? AND item_id = ? "
            "ORDER BY 1, 2 LIMIT 2",
            [*values, *ids],
        ).fetchall()
        where = f"rows {row} and {again} of {file}"
        if other != file:
            where = f"row {row} of {file} and row {again} of {other}"
        raise DataError(
            f"(user, item) pairs repeat: user {ids[0]!r} and item {ids[1]!r} are in {where}. "
            "Choose duplicates='first', 'last', 'sum', 'mean' or 'max'."
        )


@dataclass
class Part:
    """Some rows in the order of their pairs, or pairs that rows were merged into."""

    pairs: npt.NDArray[np.int64]  # user * n_items + item
    values: npt.NDArray[np.float64] | None
    times: npt.NDArray[Any] | None
    counts: npt.NDArray[np.int64]  # rows


def merged(parts: Iterator[Part], policy: Duplicates) -> Iterator[Part]:
    """Merge the rows of each pair, which are in the order of time and place, also across two parts."""
    held: Part | None = None
    for part in parts:
        one = _merge(part if held is None else _join(held, part), policy)
        # The last pair may go on in the next part.
        yield _finished(_slice(one, slice(None, -1)), policy)
        held = _slice(one, slice(-1, None))
    if held is not None:
        yield _finished(held, policy)


def _merge(part: Part, policy: Duplicates) -> Part:
    starts = np.flatnonzero(np.concatenate([[True], part.pairs[1:] != part.pairs[:-1]]))
    ends = np.append(starts[1:], len(part.pairs)) - 1
    values = part.values
    if values is not None:
        if policy in ("sum", "mean"):
            values = np.add.reduceat(values, starts)
        elif policy == "max":
            values = np.maximum.reduceat(values, starts)
        else:
            values = values[ends if policy == "last" else starts]
    times = None if part.times is None else part.times[starts if policy == "first" else ends]
    return Part(part.pairs[starts], values, times, np.add.reduceat(part.counts, starts))


def _finished(part: Part, policy: Duplicates) -> Part:
    if policy == "mean" and part.values is not None:
        part.values = part.values / part.counts
    return part


def _join(first: Part, second: Part) -> Part:
    def both(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> Any:
        return None if one is None or other is None else np.concatenate([one, other])

    return Part(
        both(first.pairs, second.pairs),
        both(first.values, second.values),
        both(first.times, second.times),
        both(first.counts, second.counts),
    )


def _slice(part: Part, rows: slice) -> Part:
    return Part(
        part.pairs[rows],
        None if part.values is None else part.values[rows],
        None if part.times is None else part.times[rows],
        part.counts[rows],
    )
