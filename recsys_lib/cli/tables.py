"""Tables in files, for the command line: CSV in its dialects, gzip, Parquet; which ids are numbers."""

from __future__ import annotations

import csv
import gzip
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pandas as pd

from recsys_lib import datasets
from recsys_lib._columns import ColumnChoice, find_columns
from recsys_lib._folder import is_folder_of_ours
from recsys_lib._parquet import read_frame
from recsys_lib._rows import Duplicates
from recsys_lib.errors import DataError, FileFormatError
from recsys_lib.ids import IdMap
from recsys_lib.interactions import Interactions

SYNTHETIC = "synthetic"
_SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}
_SAMPLE_BYTES = 1 << 18
_TITLES = ("title", "name", "itemname", "movietitle", "label", "description")
_NO_VALUE = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"]
# A number that is written back exactly as it was read: no leading zero, no plus sign, fits 64 bits.
_WHOLE = r"0|-?[1-9]\d{0,17}"


@dataclass(frozen=True)
class TableOptions:
    """How to read a file of interactions; the names of the options on the command line."""

    user: str | None = None
    item: str | None = None
    rating: ColumnChoice = None
    timestamp: ColumnChoice = None
    columns: Sequence[str] | None = None
    duplicates: Duplicates = "error"
    ids: str = "auto"


def dataset_names() -> list[str]:
    """Return the data sets that can stand where a file can."""
    return [*datasets.available().index, SYNTHETIC]


def read_source(source: str, options: TableOptions, folder: str | None = None) -> Interactions:
    """Load a data set by its name, or read a file."""
    if source == SYNTHETIC:
        return datasets.synthetic(feedback="explicit")
    if source in dataset_names():
        return datasets.load(source, folder=folder)
    if is_folder_of_ours(source):
        if options != TableOptions():
            raise DataError(f"{source} is converted already: say how to read it to `recsys-lib convert`.")
        return Interactions.open(source)
    path = _existing(source, folder_too=True)
    if path.is_dir() or _is_parquet(path):
        frame = read_frame(path)
        columns = _roles(list(frame.columns), options)
        frame = frame[[name for name in columns.values() if name is not None]]
    else:
        frame, columns = _read_text(path, options)
    for what in ("user", "item"):
        frame[columns[what]] = _ids(frame[columns[what]], what, options.ids, path)
    if columns["rating"] is not None:
        frame[columns["rating"]] = _ratings(frame[columns["rating"]], path)
    if columns["timestamp"] is not None:
        frame[columns["timestamp"]] = _times(frame[columns["timestamp"]], path)
    return Interactions.from_arrays(
        *(None if name is None else frame[name] for name in columns.values()), duplicates=options.duplicates
    )


def read_titles(source: str, ids: IdMap, folder: str | None = None) -> dict[str, str]:
    """Return titles by the item id as text, from a data set or a file with an item and a title column."""
    if source in dataset_names():
        loaded = read_source(source, TableOptions(), folder)
        if loaded.item_features is None or "title" not in loaded.item_features:
            raise DataError(f"the data set {source} has no titles.")
        return dict(zip(map(str, loaded.item_ids.ids), loaded.item_features["title"], strict=True))
    path = _existing(source)
    if _is_parquet(path):
        frame = read_frame(path)
    else:
        separator, names = _dialect(path, None)
        frame = _parse(path, separator, names, dtype=str)
    plain = {re.sub(r"[\W_]", "", str(name).split(":")[0].lower()): name for name in frame.columns}
    title = next((plain[name] for name in _TITLES if name in plain), None)
    if title is None:
        raise DataError(f"{path}: no column looks like a title. The columns are {list(frame.columns)}.")
    item = find_columns(frame.drop(columns=title), {"item": None})["item"]
    titles = dict(zip(frame[item].astype(str), frame[title].fillna("").astype(str), strict=True))
    if not any(str(known) in titles for known in ids.ids.tolist()):
        raise DataError(
            f"{path}: no item of the model is in the column {item!r}. The file has ids such as "
            f"{next(iter(titles), '')!r}, the model {ids!r}."
        )
    return titles


def typed_ids(texts: Sequence[str], ids: IdMap) -> list[Any]:
    """Turn ids typed on the command line into the type of the ids of a model."""
    kind = type(ids.ids[:1].tolist()[0])
    if kind is str:
        return list(texts)
    if kind not in (int, float):
        raise DataError(
            f"{ids.what} ids of the type {kind.__name__} cannot be typed on a command line: {ids!r}."
        )
    typed = []
    for text in texts:
        try:
            typed.append(kind(text))
        except ValueError:
            raise DataError(
                f"{text!r} is no {ids.what} of this model: its ids are numbers, such as {ids.ids[0]}."
            ) from None
    return typed


# ---------------------------------------------------------------------- files


def _existing(source: str, folder_too: bool = False) -> Path:
    path = Path(source).expanduser()
    if path.is_dir() and not (folder_too and any(path.rglob("*.parquet"))):
        raise IsADirectoryError(f"{source!r} is a folder. Name a file in it.")
    if not path.exists():
        hint = "" if path.suffix else f", nor a data set: these are {', '.join(dataset_names())}"
        raise FileNotFoundError(f"there is no file {source!r}{hint}.")
    return path


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else path.open("rb")


def _dialect(path: Path, columns: Sequence[str] | None) -> tuple[str, list[str] | None]:
    """Find the separator; return it and the names to give to the columns where the file names none."""
    try:
        with _open(path) as file:
            raw = rest = file.read(_SAMPLE_BYTES)
            while rest and b"\0" not in rest:
                rest = file.read(_SAMPLE_BYTES)
    except (gzip.BadGzipFile, EOFError) as error:
        raise FileFormatError(f"{path} is damaged: {error}.") from error
    if rest:
        raise FileFormatError(f"{path} holds zero bytes, so it is no text in UTF-8. Save it again as such.")
    complete = raw[: raw.rfind(b"\n") + 1] or raw
    try:
        lines = complete.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").split("\n")[:200]
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path} is not UTF-8 text (byte {error.start}). Save it again as CSV in UTF-8."
        ) from error
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise DataError(f"{path} is empty.")
    try:
        separator = max(_SEPARATORS, key=lambda candidate: _fit(lines, candidate))
        first = next(csv.reader(lines[:1], delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise FileFormatError(f"{path} cannot be read: {error}.") from error
    if len(first) == 1:
        raise FileFormatError(
            f"{path}: the first line {lines[0][:60]!r} has one column only. Columns may be separated by "
            f"{', '.join(_SEPARATORS.values())}."
        )
    if columns is not None:
        if len(columns) != len(first):
            raise DataError(f"--columns names {len(columns)} columns, and {path} has {len(first)}.")
        return separator, list(columns)
    if all(re.fullmatch(r"[-+.\d]+", name) for name in first):
        raise DataError(
            f"{path}: the first line {lines[0][:60]!r} holds numbers, not the names of columns. Name them: "
            "--columns user,item,rating,timestamp"
        )
    return separator, None


def _fit(lines: Sequence[str], separator: str) -> tuple[float, int]:
    """Say how well a separator explains the lines: share that agrees with the first one, and columns."""
    counts = [len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=True)]
    share = sum(count == counts[0] for count in counts) / len(counts)
    return (share if counts[0] > 1 else 0.0), counts[0]


def _parse(path: Path, separator: str, names: list[str] | None, **options: Any) -> pd.DataFrame:
    try:
        with _open(path) as file, warnings.catch_warnings():
            # A column of numbers and text is reported later, with the row.
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                file,
                sep=separator,
                names=names,
                header=0 if names is None else None,
                index_col=False,
                encoding="utf-8-sig",
                skipinitialspace=True,
                keep_default_na=False,
                **options,
            )
    except pd.errors.ParserWarning as error:
        raise FileFormatError(f"{path}: the rows have more fields than the first line has names.") from error
    except pd.errors.ParserError as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        raise FileFormatError(
            f"{path} cannot be read: {reason}. Text with a {_SEPARATORS[separator]} in it needs quotes."
        ) from error
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise FileFormatError(f"{path} cannot be read: {error}.") from error


def _roles(header: list[Any], options: TableOptions) -> dict[str, Any]:
    chosen = {
        "user": options.user,
        "item": options.item,
        "rating": options.rating,
        "timestamp": options.timestamp,
    }
    return find_columns(pd.DataFrame(columns=header), chosen)


def _read_text(path: Path, options: TableOptions) -> tuple[pd.DataFrame, dict[str, Any]]:
    separator, names = _dialect(path, options.columns)
    header = _parse(path, separator, names, nrows=0).columns.tolist()
    columns = _roles(header, options)
    numbers = [columns[role] for role in ("rating", "timestamp") if columns[role] is not None]
    # Ids stay the text that they were. As categories they take little memory, but only after reading: asked
    # for categories, newer releases of pandas make numbers of them.
    # All columns are read: with only some of them, pandas would not see a row that has too many fields.
    texts = [name for name in header if name not in numbers]
    frame = _parse(
        path,
        separator,
        names,
        dtype=dict.fromkeys(texts, str),
        na_values={**{name: [""] for name in texts}, **dict.fromkeys(numbers, _NO_VALUE)},
    )[[name for name in columns.values() if name is not None]]
    if frame.empty:
        raise DataError(f"{path} has a line of column names and no rows.")
    ids = [columns["user"], columns["item"]]
    return frame.astype(dict.fromkeys(ids, "category")), columns


# ---------------------------------------------------------------------- columns


def _ids(column: pd.Series, what: str, ids: str, path: Path) -> pd.Series:
    """Decide between numbers and text; text where a number could not be written back as it was read."""
    missing = column.isna()
    if missing.any():
        row = int(missing.to_numpy().argmax()) + 1
        raise DataError(
            f"{path}: {int(missing.sum())} rows have no {what}, the first is row {row}. Fill or remove them."
        )
    if not isinstance(column.dtype, pd.CategoricalDtype):  # from Parquet, where ids have types
        return column.astype(str) if ids == "str" else column.astype("int64") if ids == "int" else column
    texts = column.cat.categories.astype(str)
    whole = texts.str.fullmatch(_WHOLE)
    if ids == "int" and not whole.all():
        bad = texts[~whole][0]
        raise DataError(f"{path}: the {what} id {bad!r} is no plain whole number. Use --ids str.")
    if ids == "str" or not whole.all():
        return pd.Series(texts.to_numpy(dtype=object)[column.cat.codes], dtype=object)
    return column.cat.rename_categories(texts.astype("int64"))


def _ratings(column: pd.Series, path: Path) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column
    else:
        texts = column.where(column.isna(), column.astype(str).str.strip())
        if texts.dropna().str.fullmatch(r"-?\d+(,\d+)?").all():  # a decimal comma
            texts = texts.str.replace(",", ".")
        numbers = pd.to_numeric(texts, errors="coerce")
    if numbers.isna().any():
        row = int(numbers.isna().to_numpy().argmax())
        value = "missing" if pd.isna(column.iloc[row]) else repr(str(column.iloc[row]))
        raise DataError(
            f"{path}: {int(numbers.isna().sum())} rating(s) are no numbers; in row {row + 1} it is {value}. "
            "Correct those rows, or do without ratings: --rating none"
        )
    return numbers


def _times(column: pd.Series, path: Path) -> pd.Series:
    if not (pd.api.types.is_string_dtype(column.dtype) or column.dtype == object):
        return column
    times = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    bad = times.isna()
    if bad.any():
        row = int(bad.to_numpy().argmax())
        value = "missing" if pd.isna(column.iloc[row]) else repr(str(column.iloc[row]))
        raise DataError(
            f"{path}: {int(bad.sum())} timestamp(s) are neither numbers nor dates such as 2024-05-31 or "
            f"2024-05-31T18:00; in row {row + 1} it is {value}. Correct them, or do without: --timestamp none"
        )
    return times
