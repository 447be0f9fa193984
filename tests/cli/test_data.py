"""Reading files of interactions, and the command `data`."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pandas as pd
import pytest

from recsys_lib import load
from tests.cli.common import Run, error_of


def test_data_lists_the_data_sets(run: Run) -> None:
    status, out, err = run("data")
    assert (status, err) == (0, "")
    assert all(name in out for name in ("ml-100k", "ml-32m", "100,000", "synthetic"))


def test_csv_round_trip(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("data", "synthetic", "--csv", "out.csv")
    assert status == 0
    assert "30,000" in out
    run("data", "out.csv", "--csv", "again.csv")
    run("data", "again.csv", "--csv", "again.csv.gz")
    text = (tmp_path / "out.csv").read_text()
    assert text.startswith("user,item,rating,timestamp\n")
    assert (tmp_path / "again.csv").read_text() == text
    assert gzip.decompress((tmp_path / "again.csv.gz").read_bytes()).decode() == text
    assert not list(tmp_path.glob(".*.part"))


def test_text_ids_survive_a_round_trip(run: Run, shop: Path, tmp_path: Path, table: pd.DataFrame) -> None:
    assert run("data", shop, "--csv", "copy.csv")[0] == 0
    copy = pd.read_csv(tmp_path / "copy.csv", dtype={"user": str, "item": str})
    assert copy["user"].tolist() == table["user_id"].tolist()
    assert copy["item"].tolist() == table["item_id"].tolist()
    assert copy["rating"].tolist() == table["rating"].tolist()


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
@pytest.mark.parametrize("packed", [False, True])
def test_separators_and_gzip(
    run: Run, tmp_path: Path, table: pd.DataFrame, separator: str, packed: bool
) -> None:
    path = tmp_path / ("t.txt.gz" if packed else "t.txt")
    table.to_csv(path, index=False, sep=separator)
    status, out, err = run("data", path)
    assert (status, err) == (0, "")
    assert f"{table['user_id'].nunique()} users x {table['item_id'].nunique()} items" in out
    assert "ratings 1 to 5, timestamps" in out


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\ufeffuser,item\na,x\nb,y\n", "2 users x 2 items, 2 interactions, no ratings, no timestamps"),
        ("user; item; rating\r\na; x; 4,5\r\nb; y; 3\r\n", "ratings 3 to 4.5"),
        ('user,item,rating\n"a, b",x,1\n"c\nd",y,2\n', "2 users x 2 items, 2 interactions, ratings 1 to 2"),
        ("user_id:token\titem_id:token\trating:float\n1\t2\t3\n2\t2\t4\n", "2 users x 1 items"),
        ("user,item,date\n1,2,2024-05-31\n2,2,2024-06-01T18:00:00+02:00\n", "timestamps"),
    ],
)
def test_dialects(run: Run, tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(text.encode())
    status, out, err = run("data", path)
    assert (status, err) == (0, "")
    assert found in out


def test_a_file_without_names_of_columns(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "u.data"
    path.write_text("196\t242\t3\t881250949\n186\t302\t3\t891717742\n")
    assert "--columns user,item,rating,timestamp" in error_of(run("data", path), 1)
    assert "names 3 columns, and" in error_of(run("data", path, "--columns", "user,item,rating"), 1)
    status, out, _ = run("data", path, "--columns", "user,item,rating,timestamp")
    assert status == 0
    assert "2 users x 2 items, 2 interactions, ratings 3 to 3, timestamps" in out


@pytest.mark.parametrize(
    ("users", "option", "expected"),
    [
        (["1", "12"], "auto", [1, 12]),
        (["1", "12"], "str", ["1", "12"]),
        (["001", "12"], "auto", ["001", "12"]),
        (["-3", "0"], "int", [-3, 0]),
        (["1", "9" * 19], "auto", ["1", "9" * 19]),
        (["NA", "null"], "auto", ["NA", "null"]),
    ],
)
def test_types_of_ids(
    run: Run, tmp_path: Path, users: list[str], option: str, expected: list[object]
) -> None:
    path = tmp_path / "i.csv"
    path.write_text("user,item\n" + "".join(f"{user},x{user}\n" for user in users))
    assert run("train", path, "--model", "popularity", "--ids", option, "--output", "i.pt")[0] == (
        0 if option != "int" else 1  # the items are text
    )
    if option == "int":
        path.write_text("user,item\n" + "".join(f"{user},7\n" for user in users))
        assert run("train", path, "--model", "popularity", "--ids", "int", "--output", "i.pt")[0] == 0
    assert sorted(load(tmp_path / "i.pt").user_ids.ids.tolist()) == sorted(expected)  # type: ignore[type-var]


def test_named_columns_and_left_out_ones(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("kunde,ware,rating,user\na,x,bad,1\nb,y,bad,2\n")
    status, out, _ = run("data", path, "--user", "kunde", "--item", "ware", "--rating", "none")
    assert status == 0
    assert "2 users x 2 items, 2 interactions, no ratings" in out


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", [], "is empty"),
        ("user,item\n", [], "no rows"),
        ("only\n1\n", [], "one column only"),
        ("a,b\n1,2\n", [], "no column looks like the user"),
        ("user,item\n1,2\n", ["--item", "ware"], "--item 'ware' is not a column"),
        ("user,item\n,2\n", [], "1 rows have no user, the first is row 1"),
        ("user,item\n1,2,3\n1,3,3\n", [], "more fields than the first line has names"),
        ("user,item,rating\n1,2,good\n", [], "in row 1 it is 'good'"),
        ("user,item,rating\n1,2,3\n1,3,\n", [], "in row 2 it is missing"),
        ("user,item,date\n1,2,31/05/2024\n", [], "'31/05/2024'"),
        ("user,item\n1,2\n1,2\n", [], "--duplicates 'first'"),
        ("user,item\n1,x\n", ["--ids", "int"], "'x' is no plain whole number"),
        ("user,item\n1,2\n", ["--min-rating", "4"], "no ratings"),
        (
            "user,item,title\n1,2,x\n1,3,Crime, and more, and more\n",
            [],
            "Expected 3 fields in line 3, saw 5. Text with a comma in it needs quotes",
        ),
    ],
)
def test_unusable_files(run: Run, tmp_path: Path, text: str, options: list[str], words: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    assert words in error_of(run("data", path, *options), 1)


def test_files_that_are_no_text(run: Run, tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("user,item\nZoë,x\n".encode("latin-1"))
    assert "is not UTF-8" in error_of(run("data", "latin.csv"), 1)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"user,item\n1,2\n" * 1000)[:-20])
    assert "is damaged" in error_of(run("data", "cut.csv.gz"), 1)
    assert "is a folder" in error_of(run("data", tmp_path), 1)
    assert "there is no file 'none.csv'" in error_of(run("data", "none.csv"), 1)
    assert "nor a data set: these are ml-100k" in error_of(run("data", "ml-100"), 1)


def test_parquet(run: Run, tmp_path: Path, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as con:
        con.register("frame", table)
        con.execute("COPY (FROM frame) TO 't.parquet' (FORMAT parquet)")
    status, out, _ = run("data", "t.parquet")
    assert status == 0
    assert "5 users x 6 items" in out
    (tmp_path / "parts").mkdir()
    (tmp_path / "t.parquet").rename(tmp_path / "parts" / "a.parquet")
    assert "5 users x 6 items" in run("data", "parts")[1]
    status, out, err = run("convert", "parts", "log", "--rating", "none", "--memory", 64)
    assert (status, err) == (0, "")
    assert out.startswith("log: Interactions(5 users x 6 items")
    assert "no ratings" in run("data", "log")[1]
    assert "is converted already" in error_of(run("data", "log", "--rating", "none"), 1)
    assert "is there already" in error_of(run("convert", "parts", "log"), 1)
    assert "memory must be at least 64, got 3" in error_of(run("convert", "parts", "x", "--memory", 3), 2)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert "pip install duckdb" in error_of(run("data", "parts"), 1)
