"""Reads the file format in which the authors of neural collaborative filtering published their splits.

Three files of tab-separated text, without a header:

=======================  ==================================================================================
``ml-1m.train.rating``   user, item, rating, time; one line for each training interaction
``ml-1m.test.rating``    the same; one line for each user, the interaction that was held out
``ml-1m.test.negative``  line by line with the file before: ``(user,item)`` and items to rank it against
=======================  ==================================================================================

Users and items are numbered from 0. Every line is an interaction. The times are not looked at: those of the
training file are places in a history.

X. He, L. Liao, H. Zhang, L. Nie, X. Hu and T.-S. Chua (2017), "Neural collaborative filtering", WWW.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_lib import Interactions
from recsys_lib.datasets.download import cache_folder
from recsys_lib.errors import DataError, FileFormatError
from recsys_lib.splits import Split

STEM = "ml-1m"
FOLDER = "ncf-ml-1m"
SOURCE = "https://github.com/hexiangnan/neural_collaborative_filtering, folder Data"
_PAIR = re.compile(r"\((\d+),(\d+)\)")


@dataclass(frozen=True, eq=False)
class NCFData:
    """A split with its candidates.

    Attributes
    ----------
    split : Split
        Train, and one test interaction for each user.
    candidates : array of int64, shape (n_users, c)
        Row ``u`` holds the test item of user index ``u`` and the items to rank it against, as item indices;
        ``-1`` is no item.
    n_dropped : int
        How many of the items to rank against were the test item itself. They are left out.
    """

    split: Split
    candidates: npt.NDArray[np.int64]
    n_dropped: int


def find_folder(folder: Path | None = None) -> Path:
    """Return the folder that holds the files: the one given, or ``ncf-ml-1m`` inside it.

    Without one, the cache folder of :mod:`recsys_lib.datasets` is looked at.

    Raises
    ------
    DataError
        If the files are in neither.
    """
    names = [f"{STEM}.{part}" for part in ("train.rating", "test.rating", "test.negative")]
    base = cache_folder(folder)
    missing = {}
    for place in (base, base / FOLDER):
        absent = [name for name in names if not (place / name).is_file()]
        if not absent:
            return place
        missing[place] = absent
    looked = "".join(f"\n  {place}: no {', '.join(absent)}" for place, absent in missing.items())
    raise DataError(
        f"the split of the NCF authors is three files: {', '.join(names)}. Looked in:{looked}\n"
        f"They are at {SOURCE}. Save them in a folder and name it with --data FOLDER."
    )


def read(folder: Path) -> NCFData:
    """Read the three files in a folder.

    Raises
    ------
    FileFormatError
        If a line is not what it should be.
    DataError
        If an interaction is there twice.
    """
    train = _ratings(folder / f"{STEM}.train.rating")
    test = _ratings(folder / f"{STEM}.test.rating")
    if test["user"].duplicated().any():
        user = test["user"][test["user"].duplicated()].iloc[0]
        raise FileFormatError(f"{folder / f'{STEM}.test.rating'} has more than one line for user {user}.")
    both = pd.concat([train, test], ignore_index=True)
    x = Interactions.from_arrays(both["user"], both["item"], both["rating"])
    in_train = np.arange(len(x)) < len(train)
    split = Split("leave one out, as the NCF authors cut it", x.select(in_train), None, x.select(~in_train))
    table, n_dropped = _candidates(folder / f"{STEM}.test.negative", test)
    candidates = np.full((x.n_users, table.shape[1]), -1, dtype=np.int64)
    listed = table >= 0
    indices = np.full(table.shape, -1, dtype=np.int64)
    indices[listed] = x.item_ids.indices(table[listed])
    candidates[x.user_ids.indices(test["user"])] = indices
    return NCFData(split, candidates, n_dropped)


def _ratings(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t", header=None, dtype=np.int64)
    except ValueError as error:  # includes pandas.errors.ParserError and EmptyDataError
        raise FileFormatError(f"{path}: {error}. It is damaged: fetch it again.") from error
    if table.shape[1] != 4:
        raise FileFormatError(f"{path} has {table.shape[1]} columns, not user, item, rating and time.")
    table.columns = pd.Index(["user", "item", "rating", "time"])
    return table


def _candidates(path: Path, test: pd.DataFrame) -> tuple[npt.NDArray[np.int64], int]:
    """Return a table of item ids, a row for each line of test, the test item first; and how many were cut."""
    pairs: list[tuple[int, int]] = list(zip(test["user"], test["item"], strict=True))
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    if len(lines) != len(pairs):
        raise FileFormatError(f"{path} has {len(lines):,} lines, and {len(pairs):,} users have a test item.")
    rows: list[list[int]] = []
    dropped = 0
    for number, (line, (user, item)) in enumerate(zip(lines, pairs, strict=True), start=1):
        key, *others = line.split("\t")
        found = _PAIR.fullmatch(key)
        if found is None or not others or not all(map(str.isdecimal, others)):
            raise FileFormatError(
                f"{path}, line {number}: expected (user,item) and then items, with tabs between, "
                f"got {line[:40]!r}."
            )
        if (int(found[1]), int(found[2])) != (user, item):
            raise FileFormatError(
                f"{path}, line {number} is about {key}, and that line of the test file about ({user},{item})."
            )
        kept = [other for other in map(int, others) if other != item]
        dropped += len(others) - len(kept)
        rows.append([item, *kept])
    table: npt.NDArray[Any] = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for row, items in zip(table, rows, strict=True):
        row[: len(items)] = items
    return table, dropped
