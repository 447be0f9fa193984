"""The MovieLens data sets: what each one is, and how its files are read straight out of the archive.

F. M. Harper and J. A. Konstan (2015), "The MovieLens Datasets: History and Context", ACM TiiS 5(4).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from recsys_lib.errors import FileFormatError

_USER_COLUMNS = ["user", "age", "gender", "occupation", "zip"]
_RATING_TYPES = {"user": np.int32, "item": np.int32, "rating": np.float32, "timestamp": np.int64}
_GENRES_100K = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip
# What the numbers in users.dat of ml-1m stand for, from 0 on (its README).
_OCCUPATIONS_1M = [
    "other or not specified", "academic/educator", "artist", "clerical/admin", "college/grad student",
    "customer service", "doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student",
    "lawyer", "programmer", "retired", "sales/marketing", "scientist", "self-employed", "technician/engineer",
    "tradesman/craftsman", "unemployed", "writer",
]  # fmt: skip
_YEAR = re.compile(r"(?P<title>.+?) ?\((?P<year>\d{4}) ?(?:[-–] ?(?:\d{4})? ?)?\)(?: ?\([A-Z]+\))?$")
# Only words that are an article and nothing else at the end of a title.
_ARTICLE = re.compile(
    r"(?:^|(?<=\())(?P<alias>a\.k\.a\. )?(?P<name>[^()]+), "
    r"(?P<article>The|An|A|Las|La|Les|Le|Los|Lo|L'|Il|Gli|El|Der|Die|Das|Den|Det|Het|Een|Une|Una|Un|Eine|Ein|En|Os|O)"
    r"(?= \(|\)|$)"
)


@dataclass(frozen=True)
class RawData:
    """Tables as they come out of an archive, in file order.

    ``ratings`` has the columns user, item, rating, timestamp; ``items`` (title, year, genres) and
    ``users`` (age, gender, occupation, zip), if any, are indexed by id.
    """

    ratings: pd.DataFrame
    items: pd.DataFrame
    users: pd.DataFrame | None = None


@dataclass(frozen=True)
class MovieLens:
    """One data set: its archive, its reader, and the published counts that the result must have."""

    name: str
    md5: str
    megabytes: float
    n_users: int
    n_items: int
    n_ratings: int
    read: Callable[[Path], RawData]


class _Archive:
    """Named members of a zip file, read in memory: nothing is unpacked, so no path can point elsewhere."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Archive:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except zipfile.BadZipFile as error:
            raise FileFormatError(f"{self.path} is not a zip archive: {error}.") from error
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()

    def open(self, member: str) -> IO[bytes]:
        try:
            return self._zip.open(member)
        except KeyError as error:
            raise FileFormatError(f"{self.path} has no member {member!r}.") from error

    def table(self, member: str, encoding: str, separator: str, columns: list[str]) -> pd.DataFrame:
        """Split a small text file into columns of text; blank lines are left out."""
        with self.open(member) as file:
            text = file.read().decode(encoding)
        # Not splitlines(), which also cuts at characters such as U+0085 that may stand in a title.
        rows = [line.rstrip("\r").split(separator) for line in text.split("\n") if line.strip()]
        for number, row in enumerate(rows, start=1):
            if len(row) != len(columns):
                raise FileFormatError(
                    f"{self.path}, {member}: record {number} has {len(row)} fields, not {len(columns)}."
                )
        return pd.DataFrame(rows, columns=columns)

    def ratings(self, member: str, separator: str, *, header: bool = False) -> pd.DataFrame:
        """Read user, item, rating, timestamp with the C parser, a piece at a time."""
        # To the C parser, which knows separators of one character only, "::" is two of them with an empty
        # column between. The Python parser would take minutes for ten million rows.
        positions = [0, 2, 4, 6] if separator == "::" else [0, 1, 2, 3]
        try:
            with self.open(member) as file:
                table = pd.read_csv(
                    file,
                    sep=separator[0],
                    header=None,
                    skiprows=1 if header else 0,
                    usecols=positions,
                    dtype=dict(zip(positions, _RATING_TYPES.values(), strict=True)),
                    engine="c",
                )
        except ValueError as error:  # includes pandas.errors.ParserError
            raise FileFormatError(f"{self.path}, {member}: {error}.") from error
        table.columns = pd.Index(list(_RATING_TYPES))
        return table


# ---------------------------------------------------------------------- titles and genres


def clean_title(raw: str) -> tuple[str, int | None]:
    """Split a raw title into a readable title and the year, the first one of a span.

    A note such as "(V)" after the year is dropped. An article at the end moves to the front, also in the
    other titles given in brackets.

    Examples
    --------
    >>> clean_title("Postman, The (Postino, Il) (1994)")
    ('The Postman (Il Postino)', 1994)
    >>> clean_title("Cops (1989- )")
    ('Cops', 1989)
    >>> clean_title("unknown")
    ('unknown', None)
    """
    title, year = " ".join(raw.split()), None
    if found := _YEAR.match(title):
        title, year = found["title"], int(found["year"])
    return _ARTICLE.sub(_article_first, title), year


def _article_first(found: re.Match[str]) -> str:
    space = "" if found["article"] == "L'" else " "
    return f"{found['alias'] or ''}{found['article']}{space}{found['name']}"


def _genres(raw: pd.Series, separator: str = "|") -> pd.Series:
    """Return genres joined by ``|``; a film with none, or with "unknown" ones, has the empty string."""
    joined = raw.str.replace(separator, "|", regex=False)
    return joined.where(~joined.isin(["unknown", "(no genres listed)"]), "")


def _item_table(ids: pd.Series, titles: pd.Series, genres: pd.Series) -> pd.DataFrame:
    cleaned = [clean_title(title) for title in titles]
    return pd.DataFrame(
        {
            "title": [title for title, _ in cleaned],
            "year": pd.array([year for _, year in cleaned], dtype="Int64"),
            "genres": genres.to_numpy(),
        },
        index=pd.Index(ids.astype(np.int64).to_numpy(), name="item"),
    )


def _user_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns of text -> a table indexed by the user's id."""
    table = rows[_USER_COLUMNS[1:]].copy()
    table["age"] = table["age"].astype(np.int64)
    table.index = pd.Index(rows["user"].astype(np.int64).to_numpy(), name="user")
    return table


# ---------------------------------------------------------------------- one reader for each format


def read_100k(path: Path) -> RawData:
    """Read ``ml-100k.zip``: tab-separated u.data, and ``|``-separated u.item and u.user in Latin-1."""
    columns = ["item", "title", "released", "video", "address", *_GENRES_100K]
    with _Archive(path) as archive:
        movies = archive.table("ml-100k/u.item", "latin-1", "|", columns)
        users = archive.table("ml-100k/u.user", "latin-1", "|", _USER_COLUMNS)
        ratings = archive.ratings("ml-100k/u.data", "\t")
    flags = movies[_GENRES_100K].to_numpy() == "1"
    genres = pd.Series(["|".join(np.array(_GENRES_100K)[row]) for row in flags])
    return RawData(ratings, _item_table(movies["item"], movies["title"], _genres(genres)), _user_table(users))


def read_100k_wheel(path: Path) -> RawData:
    """Read MovieLens-100K from the wheel of recbole 1.2.1, whose ratings are u.data with a header."""
    stem = "recbole/dataset_example/ml-100k/ml-100k"
    with _Archive(path) as archive:
        movies = archive.table(f"{stem}.item", "utf-8", "\t", ["item", "title", "year", "genres"])[1:]
        users = archive.table(f"{stem}.user", "utf-8", "\t", _USER_COLUMNS)[1:]
        ratings = archive.ratings(f"{stem}.inter", "\t", header=True)
    # In this copy the year has been cut off the title, "V" is the year of the one title that ends in
    # "(1995) (V)", and the film without a name is misspelt.
    whole = movies["title"] + " (" + movies["year"] + ")"
    titles = whole.where(movies["title"] != "unkonwn", "unknown")
    return RawData(
        ratings, _item_table(movies["item"], titles, _genres(movies["genres"], " ")), _user_table(users)
    )


def read_1m(path: Path) -> RawData:
    """Read ``ml-1m.zip``: ``::``-separated files in Latin-1, with users.

    An age is the lowest one of its band (1 stands for "under 18"); occupations are written out.
    """
    with _Archive(path) as archive:
        users = archive.table(
            "ml-1m/users.dat", "latin-1", "::", ["user", "gender", "age", "occupation", "zip"]
        )
        ratings, items = _read_dat(archive, "ml-1m", "latin-1")
    users["occupation"] = [_OCCUPATIONS_1M[int(code)] for code in users["occupation"]]
    return RawData(ratings, items, _user_table(users))


def read_10m(path: Path) -> RawData:
    """Read ``ml-10m.zip``: ``::``-separated files in UTF-8, without users."""
    with _Archive(path) as archive:
        return RawData(*_read_dat(archive, "ml-10M100K", "utf-8"))


def _read_dat(archive: _Archive, folder: str, encoding: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    movies = archive.table(f"{folder}/movies.dat", encoding, "::", ["item", "title", "genres"])
    items = _item_table(movies["item"], movies["title"], _genres(movies["genres"]))
    return archive.ratings(f"{folder}/ratings.dat", "::"), items


def read_csv(path: Path) -> RawData:
    """Read ml-20m and later: ratings.csv and movies.csv in UTF-8, in a folder named like the archive."""
    with _Archive(path) as archive:
        with archive.open(f"{path.stem}/movies.csv") as file:
            movies = pd.read_csv(file, encoding="utf-8", keep_default_na=False)
        ratings = archive.ratings(f"{path.stem}/ratings.csv", ",", header=True)
    return RawData(ratings, _item_table(movies["movieId"], movies["title"], _genres(movies["genres"])))


# The md5 of each archive is what the official file <name>.zip.md5 beside it says.
# The counts are those published with each set; items are the films that someone rated.
CATALOGUE: dict[str, MovieLens] = {
    data.name: data
    for data in (
        MovieLens("ml-100k", "0e33842e24a9c977be4e0107933c0723", 4.9, 943, 1_682, 100_000, read_100k),
        MovieLens("ml-1m", "c4d9eecfca2ab87c1945afe126590906", 5.9, 6_040, 3_706, 1_000_209, read_1m),
        MovieLens("ml-10m", "ce571fd55effeba0271552578f2648bd", 65.6, 69_878, 10_677, 10_000_054, read_10m),
        MovieLens("ml-20m", "cd245b17a1ae2cc31bb14903e1204af3", 198.7, 138_493, 26_744, 20_000_263, read_csv),
        MovieLens("ml-25m", "6b51fb2759a8657d3bfcbfc42b592ada", 262.0, 162_541, 59_047, 25_000_095, read_csv),
        MovieLens("ml-32m", "d472be332d4daa821edc399621853b57", 239.0, 200_948, 84_432, 32_000_204, read_csv),
    )
}
