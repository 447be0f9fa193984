"""Data to learn from: the MovieLens sets, fetched once, and synthetic data of any size."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from recsys_lib._validation import check_choice
from recsys_lib.datasets import download
from recsys_lib.datasets._convert import convert
from recsys_lib.datasets._synthetic import synthetic
from recsys_lib.datasets.download import DownloadError
from recsys_lib.datasets.movielens import CATALOGUE, MovieLens, RawData, read_100k_wheel
from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions

__all__ = ["DownloadError", "available", "convert", "load", "synthetic"]

_ADDRESS = "https://files.grouplens.org/datasets/movielens"
# A second source of ml-100k, for places that reach a package index but not the address above.
_WHEEL = "recbole==1.2.1"
_WHEEL_FILE = "recbole-1.2.1-py3-none-any.whl"
_WHEEL_CHECKSUM = "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"


def available(*, folder: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """List the data sets that :func:`load` knows.

    Parameters
    ----------
    folder : path-like, optional
        Where to look for archives, as in :func:`load`.

    Returns
    -------
    DataFrame
        One row a data set: its users, items and ratings, the size of the download in megabytes, and
        whether the archive is in the cache already.

    Examples
    --------
    >>> available().index.tolist()
    ['ml-100k', 'ml-1m', 'ml-10m', 'ml-20m', 'ml-25m', 'ml-32m']
    """
    cache = download.cache_folder(folder)
    rows = {
        name: {
            "users": data.n_users,
            "items": data.n_items,
            "ratings": data.n_ratings,
            "megabytes": data.megabytes,
            "cached": (cache / f"{name}.zip").exists()
            or (name == "ml-100k" and (cache / _WHEEL_FILE).exists()),
        }
        for name, data in CATALOGUE.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def load(
    name: str, *, folder: str | os.PathLike[str] | None = None, progress: bool | None = None
) -> Interactions:
    """Load a MovieLens data set, downloading it the first time.

    Ids are MovieLens's own whole numbers, ratings are stars, timestamps are seconds since 1970 (UTC), and
    rows are in the order of the official file. Only films that someone rated are in the id space.

    Parameters
    ----------
    name : {"ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m"}
        Which data set.
    folder : path-like, optional
        Where the archive is kept. Without it the environment variable ``RECSYS_LIB_DATA`` decides, and
        without that the user's cache folder. Archives put there by hand are used as well.
    progress : bool, optional
        None shows a bar on a terminal and one line where something is out of the ordinary; False shows
        nothing; True always shows the bar.

    Returns
    -------
    Interactions
        ``item_features`` has the columns ``title`` ("Matrix, The" reads "The Matrix"), ``year`` (nullable
        integer) and ``genres`` (joined by ``|``: ``.str.get_dummies()`` makes columns of them; empty when
        unknown). For ml-100k and ml-1m ``user_features`` has ``age``, ``gender``, ``occupation`` and
        ``zip``; an age of ml-1m is the lowest of its band, 1 for under 18.

    Raises
    ------
    ValueError
        If there is no data set of that name.
    DownloadError
        If the archive is not in the cache and cannot be fetched.
    DataError
        If users, items or ratings are not as many as published.

    Notes
    -----
    MovieLens is free for research under the terms in each archive; it may not be sold or passed on
    without permission. Source: F. M. Harper and J. A. Konstan (2015), "The MovieLens Datasets: History and
    Context", ACM Transactions on Interactive Intelligent Systems 5(4). If the official server cannot be
    reached, ml-100k is taken out of the wheel of recbole 1.2.1, which pip fetches but does not install.
    """
    data = CATALOGUE[check_choice("name", name, CATALOGUE)]
    cache = download.cache_folder(folder)
    try:
        raw = _read(data, cache, progress)
    except DownloadError:
        raise
    except OSError as error:  # no permission, no space, not a folder, ...
        raise DownloadError(
            f"cannot use the folder {cache}: {error}. Choose another with folder=... or RECSYS_LIB_DATA."
        ) from error
    return _interactions(data, raw)


def _read(data: MovieLens, cache: Path, progress: bool | None) -> RawData:
    """Read from the cache, or fetch the archive and then read it."""
    archive, wheel = cache / f"{data.name}.zip", cache / _WHEEL_FILE
    expected = f"md5:{data.md5}"
    has_wheel = data.name == "ml-100k"
    if download.is_intact(archive, expected):
        return data.read(archive)
    if has_wheel and download.is_intact(wheel, _WHEEL_CHECKSUM):
        return read_100k_wheel(wheel)
    with download.locked(archive, progress):
        # Another process may have fetched it while this one waited.
        if download.is_intact(archive, expected):
            return data.read(archive)
        if has_wheel and download.is_intact(wheel, _WHEEL_CHECKSUM):
            return read_100k_wheel(wheel)
        damaged = [str(path) for path in (archive, *([wheel] if has_wheel else [])) if path.exists()]
        if damaged:
            download.notice(f"{' and '.join(damaged)}: wrong checksum, fetching again.", progress)
        tried = []
        try:
            url = f"{_ADDRESS}/{data.name}.zip"
            download.fetch(url, archive, expected, megabytes=data.megabytes, progress=progress)
            return data.read(archive)
        except DownloadError as error:
            tried.append(str(error))
        if has_wheel:
            download.notice(f"{tried[0]}. Trying the copy in the package {_WHEEL} instead.", progress)
            try:
                download.fetch_wheel(_WHEEL, wheel, _WHEEL_CHECKSUM)
                return read_100k_wheel(wheel)
            except DownloadError as error:
                tried.append(str(error))
    raise DownloadError(_how_to_get(data, archive, tried))


def _how_to_get(data: MovieLens, archive: Path, tried: list[str]) -> str:
    attempts = "".join(f"\n  tried {text}" for text in tried)
    return (
        f"{data.name} is not in the cache and could not be fetched:{attempts}\n"
        f"Without a network: get {_ADDRESS}/{data.name}.zip ({data.megabytes:g} MB) on another machine and "
        f"save it as {archive}, or name the folder that holds {data.name}.zip with folder=... or the "
        "environment variable RECSYS_LIB_DATA. datasets.synthetic() needs no files at all."
    )


def _interactions(data: MovieLens, raw: RawData) -> Interactions:
    """Join the tables and check the counts against the published ones."""
    ratings = raw.ratings
    x = Interactions.from_arrays(ratings["user"], ratings["item"], ratings["rating"], ratings["timestamp"])
    found = {"users": x.n_users, "items": x.n_items, "ratings": len(x)}
    published = {"users": data.n_users, "items": data.n_items, "ratings": data.n_ratings}
    if found != published:
        raise DataError(
            f"{data.name} has {found}, but {published} were published. Remove the archive from the cache and "
            "load it again; if it stays so, the file is not the official one."
        )
    return x.with_features(users=raw.users, items=raw.items)
