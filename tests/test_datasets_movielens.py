import dataclasses
import hashlib
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_lib import datasets
from recsys_lib.datasets import download, movielens
from recsys_lib.errors import DataError, FileFormatError

MEMBERS_100K = {
    "ml-100k/u.data": (
        "196\t242\t3\t881250949\n186\t302\t3\t891717742\n196\t267\t5\t881250950\n7\t1412\t1\t878887116\n"
    ),
    "ml-100k/u.item": (
        "242|Cérémonie, La (1995)|24-Jan-1997||http://x/(1995)|0|0|0|0|0|1|0|0|1|0|0|0|0|0|0|0|0|0|0\n"
        "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "302|L.A. Confidential (1997)|01-Jan-1997||http://x|0|0|0|0|0|0|1|0|0|0|1|0|0|1|0|0|1|0|0\n"
        "999|Never Rated (1990)|01-Jan-1990||http://x|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "1412|Land Before Time III: The Time (1995) (V)|01-Jan-1995||http://x|0|0|0|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    ),
    "ml-100k/u.user": "7|57|M|administrator|91344\n186|39|F|executive|00000\n196|49|M|writer|T8H1N\n",
    "ml-100k/u.genre": "unknown|0\nAction|1\n\n",
}
STEM = "recbole/dataset_example/ml-100k/ml-100k"
MEMBERS_WHEEL = {
    f"{STEM}.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    + MEMBERS_100K["ml-100k/u.data"],
    f"{STEM}.item": (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "242\tCérémonie, La\t1995\tComedy Drama\n"
        "267\tunkonwn\tunkonwn\tunknown\n"
        "302\tL.A. Confidential\t1997\tCrime Film-Noir Mystery Thriller\n"
        "999\tNever Rated\t1990\tAction\n"
        "1412\tLand Before Time III: The Time (1995)\tV\tAnimation Children's"
    ),
    f"{STEM}.user": (
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        "7\t57\tM\tadministrator\t91344\n186\t39\tF\texecutive\t00000\n196\t49\tM\twriter\tT8H1N\n"
    ),
    "recbole/__init__.py": "raise RuntimeError('a wheel that is only read must never be run')\n",
}


def write_zip(path: Path, members: dict[str, str], encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text.encode(encoding))
    return path


def test_both_sources_of_100k_give_the_same_tables(tmp_path):
    official = movielens.read_100k(write_zip(tmp_path / "a.zip", MEMBERS_100K, "latin-1"))
    wheel = movielens.read_100k_wheel(write_zip(tmp_path / "b.whl", MEMBERS_WHEEL))
    pd.testing.assert_frame_equal(official.ratings, wheel.ratings)
    pd.testing.assert_frame_equal(official.items, wheel.items)
    pd.testing.assert_frame_equal(official.users, wheel.users)

    assert official.ratings.to_numpy().tolist()[0] == [196, 242, 3, 881250949]
    assert official.ratings["user"].tolist() == [196, 186, 196, 7]  # file order
    assert official.items.loc[242].tolist() == ["La Cérémonie", 1995, "Comedy|Drama"]
    assert official.items.loc[1412].tolist() == [
        "Land Before Time III: The Time",
        1995,
        "Animation|Children's",
    ]
    assert official.items.loc[267, ["title", "genres"]].tolist() == ["unknown", ""]
    assert official.items["year"].isna().tolist() == [False, True, False, False, False]
    assert official.users.loc[196].tolist() == [49, "M", "writer", "T8H1N"]
    assert official.users.loc[186, "zip"] == "00000"


def test_1m_is_latin_1_with_occupations_written_out(tmp_path):
    members = {
        "ml-1m/ratings.dat": "1::1193::5::978300760\n2::73::3::978302109\n",
        "ml-1m/movies.dat": "73::Misérables, Les (1995)::Drama|Musical\n1193::One Flew (1975)::Drama\n",
        "ml-1m/users.dat": "1::F::1::10::48067\n2::M::56::16::70072-1234\n",
    }
    data = movielens.read_1m(write_zip(tmp_path / "ml-1m.zip", members, "latin-1"))
    assert data.ratings.to_numpy().tolist() == [[1, 1193, 5, 978300760], [2, 73, 3, 978302109]]
    assert data.ratings.dtypes.tolist() == [np.int32, np.int32, np.float32, np.int64]
    assert data.items.loc[73].tolist() == ["Les Misérables", 1995, "Drama|Musical"]
    assert data.users.loc[1].tolist() == [1, "F", "K-12 student", "48067"]
    assert data.users.loc[2].tolist() == [56, "M", "self-employed", "70072-1234"]


def test_10m_is_utf_8_with_half_stars(tmp_path):
    members = {
        "ml-10M100K/ratings.dat": "1::122::5::838985046\n1::185::4.5::838983525\n",
        "ml-10M100K/movies.dat": (
            "122::Boomerang: Part II (1992)::Comedy|Romance\n"
            "185::Amélie (Fabuleux destin, Le) (2001)::(no genres listed)\n"
        ),
    }
    data = movielens.read_10m(write_zip(tmp_path / "ml-10m.zip", members))
    assert data.ratings["rating"].tolist() == [5.0, 4.5]
    assert data.items.loc[122, "title"] == "Boomerang: Part II"
    assert data.items.loc[185].tolist() == ["Amélie (Le Fabuleux destin)", 2001, ""]
    assert data.users is None


@pytest.mark.parametrize("name", ["ml-20m", "ml-25m", "ml-32m"])
def test_csv_with_quoted_titles(tmp_path, name):
    members = {
        f"{name}/ratings.csv": "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,0.5,1112484676\n",
        f"{name}/movies.csv": (
            'movieId,title,genres\r\n2,"American President, The (1995)",Comedy|Drama\r\n'
            '29,"City of ""Lost"", Children, The (Cité, La) (1995)",Adventure\r\n3,NA,(no genres listed)\r\n'
        ),
    }
    data = movielens.CATALOGUE[name].read(write_zip(tmp_path / f"{name}.zip", members))
    assert data.ratings.to_numpy().tolist() == [[1, 2, 3.5, 1112486027], [1, 29, 0.5, 1112484676]]
    assert data.items["title"].tolist() == [
        "The American President",
        'The City of "Lost", Children (La Cité)',
        "NA",
    ]
    assert data.items["genres"].tolist() == ["Comedy|Drama", "Adventure", ""]


@pytest.mark.parametrize(
    ("raw", "title", "year"),
    [
        ("Matrix, The (1999)", "The Matrix", 1999),
        ("Star Maker, The (Uomo delle stelle, L') (1995)", "The Star Maker (L'Uomo delle stelle)", 1995),
        ("Seven (a.k.a. Se7en) (1995)", "Seven (a.k.a. Se7en)", 1995),
        ("Fall (a.k.a. Long Fall, The) (1997)", "Fall (a.k.a. The Long Fall)", 1997),
        ("Crow: City of Angels, The (1996)", "The Crow: City of Angels", 1996),
        ("Good, The Bad and The Ugly, The (1966)", "The Good, The Bad and The Ugly", 1966),
        ("Corrina, Corrina (1994)", "Corrina, Corrina", 1994),
        ("Paris, Texas (1984)", "Paris, Texas", 1984),
        ("2001: A Space Odyssey (1968) ", "2001: A Space Odyssey", 1968),
        ("Cops (1989–)", "Cops", 1989),
        ("Fawlty Towers (1975-1979)", "Fawlty Towers", 1975),
        ("Doctor (2009– )", "Doctor", 2009),
        ("Babylon 5", "Babylon 5", None),
        ("1984", "1984", None),
        ("(2019)", "(2019)", None),
        ("Blade  Runner 2049 (Director's Cut)", "Blade Runner 2049 (Director's Cut)", None),
        ("", "", None),
    ],
)
def test_titles(raw, title, year):
    assert movielens.clean_title(raw) == (title, year)


def test_large_dat_files_do_not_go_through_the_slow_parser(tmp_path, monkeypatch):
    engines = []
    original = pd.read_csv
    monkeypatch.setattr(pd, "read_csv", lambda *a, **k: engines.append(k["engine"]) or original(*a, **k))
    lines = "".join(f"{i}::{i % 7 + 1}::3.5::{i}\n" for i in range(1, 50_001))
    members = {"ml-10M100K/ratings.dat": lines, "ml-10M100K/movies.dat": "1::A (2000)::Drama\n"}
    data = movielens.read_10m(write_zip(tmp_path / "ml-10m.zip", members))
    assert engines == ["c"]
    assert len(data.ratings) == 50_000
    assert data.ratings.iloc[-1].tolist() == [50_000, 50_000 % 7 + 1, 3.5, 50_000]


def test_damaged_files_are_named(tmp_path):
    path = tmp_path / "ml-100k.zip"
    path.write_bytes(b"PK but not really")
    with pytest.raises(FileFormatError, match=r"ml-100k.zip is not a zip archive"):
        movielens.read_100k(path)
    write_zip(path, {"ml-100k/u.data": "1\t1\t1\t1\n"})
    with pytest.raises(FileFormatError, match=r"no member 'ml-100k/u.item'"):
        movielens.read_100k(path)
    write_zip(path, MEMBERS_100K | {"ml-100k/u.user": "7|57|M\n"}, "latin-1")
    with pytest.raises(FileFormatError, match=r"u.user: record 1 has 3 fields, not 5"):
        movielens.read_100k(path)
    write_zip(path, MEMBERS_100K | {"ml-100k/u.data": "7\tseven\t3\t1\n"}, "latin-1")
    with pytest.raises(FileFormatError, match=r"ml-100k/u.data: .*seven"):
        movielens.read_100k(path)


# ---------------------------------------------------------------------- load


@pytest.fixture
def small_100k(tmp_path, monkeypatch):
    """ml-100k stands for the four ratings above; no server, no pip."""
    archive = write_zip(tmp_path / "made" / "ml-100k.zip", MEMBERS_100K, "latin-1")
    wheel = write_zip(tmp_path / "made" / datasets._WHEEL_FILE, MEMBERS_WHEEL)
    small = dataclasses.replace(
        movielens.CATALOGUE["ml-100k"],
        md5=hashlib.md5(archive.read_bytes()).hexdigest(),
        n_users=3,
        n_items=4,
        n_ratings=4,
    )
    monkeypatch.setitem(movielens.CATALOGUE, "ml-100k", small)
    monkeypatch.setattr(
        datasets, "_WHEEL_CHECKSUM", "sha256:" + hashlib.sha256(wheel.read_bytes()).hexdigest()
    )

    def offline(url, *args, **kwargs):
        raise download.DownloadError(f"{url}: no network")

    monkeypatch.setattr(download, "fetch", offline)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("pip must not be called"))
    return archive, wheel


def copy_to(folder: Path, file: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.name
    target.write_bytes(file.read_bytes())
    return target


@pytest.mark.parametrize("source", [0, 1])
def test_load_from_the_cache_needs_no_network(small_100k, tmp_path, source, capsys):
    copy_to(tmp_path / "cache", small_100k[source])
    x = datasets.load("ml-100k", folder=tmp_path / "cache")
    assert x.to_dataframe().to_numpy().tolist()[0] == [196, 242, 3, 881250949]
    assert x.user_ids.ids.tolist() == [7, 186, 196]
    assert x.item_ids.ids.tolist() == [242, 267, 302, 1412]  # the film that nobody rated is not there
    assert x.item_features["title"].tolist() == [
        "La Cérémonie",
        "unknown",
        "L.A. Confidential",
        "Land Before Time III: The Time",
    ]
    assert x.item_features.index.tolist() == [0, 1, 2, 3]
    assert str(x.item_features["year"].dtype) == "Int64"
    assert x.user_features["occupation"].tolist() == ["administrator", "executive", "writer"]
    assert x.ratings.dtype == np.float32
    assert x.timestamps.dtype == np.int64
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_without_network_the_wheel_is_used_once(small_100k, tmp_path, monkeypatch, capsys):
    calls = []

    def pip(command, **kwargs):
        calls.append(command)
        copy_to(Path(command[command.index("--dest") + 1]), small_100k[1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    cache = tmp_path / "cache"
    first = datasets.load("ml-100k", folder=cache)
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "no network" in message
    assert "recbole==1.2.1" in message
    assert "--no-deps" in calls[0]
    assert "recbole==1.2.1" in calls[0]
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("the wheel is in the cache"))
    second = datasets.load("ml-100k", folder=cache)
    np.testing.assert_array_equal(first.items, second.items)
    assert sorted(path.name for path in cache.iterdir()) == ["ml-100k.zip.lock", datasets._WHEEL_FILE]


def test_offline_error_says_what_was_tried_and_what_to_do(small_100k, tmp_path, monkeypatch, capsys):
    failure = subprocess.CompletedProcess([], 1, "", "noise\nERROR: No matching distribution\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: failure)
    with pytest.raises(datasets.DownloadError) as caught:
        datasets.load("ml-100k", folder=tmp_path / "cache", progress=False)
    message = str(caught.value)
    assert "ml-100k.zip: no network" in message
    assert "pip download recbole==1.2.1: ERROR: No matching distribution" in message
    assert str(tmp_path / "cache" / "ml-100k.zip") in message
    assert "RECSYS_LIB_DATA" in message
    assert capsys.readouterr().err == ""
    with pytest.raises(datasets.DownloadError, match="ml-1m is not in the cache") as caught:
        datasets.load("ml-1m", folder=tmp_path / "cache")
    assert "recbole" not in str(caught.value)  # that package has no ml-1m


def test_a_wheel_with_other_content_is_refused(small_100k, tmp_path, monkeypatch):
    def pip(command, **kwargs):
        write_zip(Path(command[command.index("--dest") + 1]) / datasets._WHEEL_FILE, {"other": "content"})
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(datasets.DownloadError, match="the wheel is not the one known here"):
        datasets.load("ml-100k", folder=tmp_path / "cache", progress=False)
    assert not (tmp_path / "cache" / datasets._WHEEL_FILE).exists()


def test_counts_that_differ_from_the_published_ones_are_an_error(small_100k, tmp_path, monkeypatch):
    copy_to(tmp_path / "cache", small_100k[0])
    wrong = dataclasses.replace(movielens.CATALOGUE["ml-100k"], n_ratings=100_000)
    monkeypatch.setitem(movielens.CATALOGUE, "ml-100k", wrong)
    with pytest.raises(DataError, match=r"'ratings': 4}, but .*'ratings': 100000} were published"):
        datasets.load("ml-100k", folder=tmp_path / "cache")


def test_unknown_names_are_answered_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"name must be one of 'ml-100k', .*got 'ml-200k'"):
        datasets.load("ml-200k", folder=tmp_path)


def test_available_says_what_is_cached(small_100k, tmp_path):
    copy_to(tmp_path / "cache", small_100k[1])
    table = datasets.available(folder=tmp_path / "cache")
    assert table["cached"].tolist() == [True, False, False, False, False, False]
    assert table.loc["ml-20m", ["users", "items", "ratings"]].tolist() == [138_493, 26_744, 20_000_263]


def test_a_folder_that_cannot_be_made_is_explained(small_100k, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(datasets.DownloadError, match=r"cannot use the folder .*cache: .*Choose another"):
        datasets.load("ml-100k", folder=tmp_path / "file" / "cache")
