"""The command `recommend`."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd

from recsys_lib import load
from tests.cli.common import GOODS, PEOPLE, Run, error_of


def test_recommend_to_a_text_id(run: Run, model_file: Path) -> None:
    expected = load(model_file).recommend(["001", "李雷"], k=2)
    status, out, err = run(
        "recommend", model_file, "--user", "001", "--user", "李雷", "--k", 2, "--format", "json"
    )
    assert (status, err) == (0, "")
    assert [(r["user"], r["item"], r["rank"]) for r in json.loads(out)] == list(
        expected[["user", "item", "rank"]].itertuples(index=False, name=None)
    )
    _, csv_text, _ = run(
        "recommend", model_file, "--user", "001", "--user", "李雷", "--k", 2, "--format", "csv"
    )
    again = pd.read_csv(io.StringIO(csv_text), dtype={"user": str})
    assert again["item"].tolist() == expected["item"].tolist()
    _, table, _ = run("recommend", model_file, "--user", "001", "--k", 2)
    assert table.split()[:4] == ["user", "item", "rank", "score"]
    assert table.splitlines()[1].split()[0] == "001"


def test_recommend_from_a_history(run: Run, model_file: Path) -> None:
    expected = load(model_file).recommend_from_history(["tea", "oil, olive"], k=3)
    status, out, _ = run(
        "recommend", model_file, "--history", 'tea,"oil, olive"', "--k", 3, "--format", "json"
    )
    assert status == 0
    assert [record["item"] for record in json.loads(out)] == expected["item"].tolist()
    assert "user" not in json.loads(out)[0]


def test_seen_items_come_back_only_when_asked_for(run: Run, model_file: Path, table: pd.DataFrame) -> None:
    seen = set(table.loc[table["user_id"] == "eve", "item_id"])
    _, out, _ = run("recommend", model_file, "--user", "eve", "--format", "json")
    assert {record["item"] for record in json.loads(out)} == set(GOODS) - seen
    _, out, _ = run("recommend", model_file, "--user", "eve", "--format", "json", "--include-seen")
    assert {record["item"] for record in json.loads(out)} == set(GOODS)


def test_recommend_to_all_into_a_file_with_titles(run: Run, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "goods.csv").write_text("item,name\ntea,Black tea\njam,Jam\n", encoding="utf-8")
    options = ["--all-users", "--include-seen", "--k", 6, "--format", "csv", "--output", "all.csv"]
    status, out, _ = run("recommend", model_file, *options, "--titles", "goods.csv")
    assert status == 0
    assert "wrote all.csv (30 rows)" in out
    written = pd.read_csv(tmp_path / "all.csv", dtype=str, keep_default_na=False)
    assert set(written["user"]) == set(PEOPLE)
    assert set(written.loc[written["item"] == "tea", "title"]) == {"Black tea"}
    assert set(written.loc[written["item"] == "rice", "title"]) == {""}
    (tmp_path / "other.csv").write_text("item,title\n1,One\n2,Two\n")
    options = ["--user", "eve", "--titles"]
    assert "no item of the model" in error_of(run("recommend", model_file, *options, "other.csv"), 1)
    assert "looks like a title" in error_of(run("recommend", model_file, *options, "shop.csv"), 1)


def test_nothing_left_to_recommend(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("user,item\na,x\na,y\nb,x\n")
    assert run("train", "t.csv", "--model", "popularity", "--output", "m.pt")[0] == 0
    assert "--include-seen" in run("recommend", "m.pt", "--user", "a")[1]
    assert run("recommend", "m.pt", "--user", "a", "--format", "json")[1] == "[]\n"


def test_unknown_people_and_files(run: Run, model_file: Path, films: Path) -> None:
    assert "unknown user id(s): '1'. Known ids look like '001'" in error_of(
        run("recommend", model_file, "--user", 1), 1
    )
    assert "unknown item id(s): 'gold'" in error_of(run("recommend", model_file, "--history", "gold"), 1)
    assert run("train", films, "--model", "popularity", "--output", "n.pt")[0] == 0
    assert "its ids are numbers, such as 1" in error_of(run("recommend", "n.pt", "--user", "ann"), 1)
    assert "unknown user id(s): 999" in error_of(run("recommend", "n.pt", "--user", "999"), 1)
    assert "was not written by this library" in error_of(run("recommend", films, "--user", "1"), 1)
    assert "there is no file 'none.pt'" in error_of(run("recommend", "none.pt", "--user", "1"), 1)
    assert "required" in error_of(run("recommend", model_file), 2)
    assert "not allowed with" in error_of(run("recommend", model_file, "--user", "1", "--all-users"), 2)
