"""The command line: files that are no data, options out of range. One line on stderr, and nothing written."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys_lib.cli import main
from recsys_lib.models import Popularity
from tests.hardening.common import fitted, ratings

NUMBERS = "user,item,rating,timestamp\n1,2,3,4\n1,3,4,5\n2,2,5,6\n2,4,1,7\n3,3,2,8\n3,4,4,9\n"


def run(*arguments: Any) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(one) for one in arguments])
    return status, out.getvalue(), err.getvalue()


def refused(status: int, *arguments: Any) -> str:
    found, out, err = run(*arguments)
    assert (found, out) == (status, ""), (out, err)
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


FILES: dict[str, bytes] = {
    "nothing": b"",
    "blank lines": b"\n\n\r\n",
    "only names": b"user,item\n",
    "one column": b"user\n1\n2\n",
    "no names": b"1,2,3\n4,5,6\n",
    "other names": b"a,b\n1,2\n",
    "UTF-16": "user,item\n1,2\n".encode("utf-16"),
    "UTF-16 without a mark": "user,item\n1,2\n".encode("utf-16-le"),
    "Latin-1": "user,item\nZoë,1\n".encode("latin-1"),
    "a zero byte far in": b"user,item\n" + b"1,2\n" * 70_000 + b"a\0b,3\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "a zip archive": b"PK\x03\x04" + bytes(30),
    "half a gzip": gzip.compress(NUMBERS.encode())[:30],
    "gzip of nonsense": gzip.compress(bytes(range(256))),
    "only the mark of gzip": b"\x1f\x8b",
    "only the mark of Parquet": b"PAR1",
    "a broken Parquet": b"PAR1" + bytes(40) + b"PAR1",
    "too many fields": b"user,item\n1,2,3\n",
    "an open quote": b'user,item\n"1,2\n3,4\n',
    "a missing user": b"user,item\n,2\n1,3\n",
    "words for ratings": b"user,item,rating\n1,2,good\n",
    "missing rating": b"user,item,rating\n1,2,\n1,3,4\n",
    "infinite rating": b"user,item,rating\n1,2,inf\n",
    "overflowing rating": b"user,item,rating\n1,2,1e60\n",
    "words for times": b"user,item,timestamp\n1,2,noon\n",
    "a date that is none": b"user,item,timestamp\n1,2,2024-02-31\n",
    "repeated pairs": b"user,item\n1,2\n1,2\n",
    "JSON": b'{"user": [1], "item": [2]}',
    "a lone carriage return": b"user,item\n\r\x01",
    "HTML": b"<html><body>404</body></html>",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_files_that_are_no_data(content: bytes, tmp_path: Path) -> None:
    path, model = tmp_path / "data.csv", tmp_path / "model.pt"
    path.write_bytes(content)
    for command in (
        ("data", path),
        ("train", path, "--model", "popularity", "--output", model),
        ("evaluate", path, "--model", "popularity"),
    ):
        refused(1, *command)
    assert os.listdir(tmp_path) == ["data.csv"]
    assert path.read_bytes() == content
    refused(1, "recommend", path, "--all-users")


OPTIONS: list[tuple[int, str]] = [
    (2, "train DATA"),
    (2, "train DATA --model EASE"),
    (2, "train DATA --model Nonsense --output m.pt"),
    (2, "train DATA --model EASE --set l2=-1 --output m.pt"),
    (2, "train DATA --model EASE --set l2=nan --output m.pt"),
    (2, "train DATA --model EASE --set l2=x --output m.pt"),
    (2, "train DATA --model EASE --set l2 --output m.pt"),
    (2, "train DATA --model EASE --set nonsense=1 --output m.pt"),
    (2, "train DATA --model EASE --set seed=1 --output m.pt"),
    (2, "train DATA --model GMF --set epochs=99999999999999999999 --output m.pt"),
    (2, "train DATA --model GMF --set optimizer=newton --output m.pt"),
    (2, "train DATA --model EASE --seed -1 --output m.pt"),
    (2, "train DATA --model EASE --seed x --output m.pt"),
    (2, "train DATA --model EASE --device cuda:99 --output m.pt"),
    (2, "train DATA --model EASE --device meta --output m.pt"),
    (2, "train DATA --model EASE --valid 1 --output m.pt"),
    (2, "train DATA --model EASE --valid nan --output m.pt"),
    (2, "train DATA --model EASE --resume --output m.pt"),
    (2, "train DATA --model EASE --checkpoint c.pt --output m.pt"),
    (2, "train DATA --model GMF --resume --output m.pt"),
    (1, "train DATA --model EASE --output ."),
    (1, "train DATA --model EASE --output DATA/m.pt"),
    (1, "train . --model EASE --output m.pt"),
    (1, "train nowhere.csv --model EASE --output m.pt"),
    (1, "train DATA --model EASE --min-rating 99 --output m.pt"),
    (1, "train DATA --model EASE --min-rating nan --output m.pt"),
    (1, "train DATA --model EASE --user nobody --output m.pt"),
    (1, "train DATA --model EASE --user item --output m.pt"),
    (1, "train DATA --model EASE --columns a,b --output m.pt"),
    (2, "train DATA --model EASE --columns , --output m.pt"),
    (2, "train DATA --model EASE --ids hex --output m.pt"),
    (2, "train DATA --model EASE --duplicates drop --output m.pt"),
    (2, "evaluate DATA --model EASE --k 0"),
    (2, "evaluate DATA --model EASE --k -3"),
    (2, "evaluate DATA --model EASE --k 2.5"),
    (2, "evaluate DATA --model EASE --k 10000000000"),
    (2, "evaluate DATA --model EASE --test 1"),
    (2, "evaluate DATA --model EASE --test nan"),
    (2, "evaluate DATA --model EASE --metrics nonsense"),
    (2, "evaluate DATA --model EASE --metrics ndcg,rmse"),
    (2, "evaluate DATA --model EASE --metrics rmse"),
    (2, "evaluate DATA --model EASE --candidates 0"),
    (2, "evaluate DATA --model BPR --split held-out-users"),
    (2, "evaluate DATA --model EASE --split monthly"),
    (1, "data nonsense"),
    (1, "data DATA --csv ."),
    (1, "recommend DATA --user 1"),
    (1, "recommend nowhere.pt --user 1"),
    (1, "recommend MODEL --user 99"),
    (1, "recommend MODEL --user x"),
    (1, "recommend MODEL --user 99999999999999999999999"),
    (1, "recommend MODEL --history 99"),
    (1, "recommend MODEL --history 1,x"),
    (2, "recommend MODEL --history 1\\r2"),
    (2, "recommend MODEL"),
    (2, "recommend MODEL --user 1 --k 0"),
    (2, "recommend MODEL --user 1 --format xml"),
    (1, "recommend MODEL --user 1 --titles nowhere.csv"),
    (1, "recommend MODEL --user 1 --titles DATA"),
    (1, "recommend MODEL --user 1 --output ."),
    (1, "recommend MODEL --user 1 --device cuda:99"),
    (2, "nonsense"),
    (2, "train DATA --nonsense"),
]


@pytest.mark.parametrize(("status", "line"), OPTIONS, ids=[line for _, line in OPTIONS])
def test_bad_options(status: int, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("DATA").write_text(NUMBERS)
    fitted(Popularity).save("MODEL")
    before = {path: Path(path).read_bytes() for path in sorted(os.listdir())}
    refused(status, *(word.replace("\\r", "\r") for word in line.split()))
    assert {path: Path(path).read_bytes() for path in sorted(os.listdir())} == before


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=40) | st.text("0123456789,;\t\n\"'u\r", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.csv"
    for start in (b"", b"user,item\n"):
        path.write_bytes(start + content)
        status, out, err = run("data", path)
        assert (status, err) == (0, "") or (status == 1 and err.startswith("error: ")), (out, err)


def test_a_table_for_people_holds_no_control_characters(tmp_path: Path) -> None:
    """What a title says to a terminal must not be done by it."""
    titles = ["plain", "\x1b[2Jgone", "a\u202ereversed", "ring\x07"]
    lines = "".join(f"{item},{title}\n" for item, title in enumerate(titles, start=1))
    (tmp_path / "titles.csv").write_text("item,title\n" + lines, encoding="utf-8")
    fitted(Popularity).save(tmp_path / "m.pt")
    command = ("recommend", tmp_path / "m.pt", "--history", "8", "--titles", tmp_path / "titles.csv")
    status, out, err = run(*command)
    assert (status, err) == (0, "")
    assert "\\x1b[2Jgone" in out
    assert all(one.isprintable() or one == "\n" for one in out)
    assert run(*command, "--format", "csv")[1].count("\x1b[2Jgone") == 1  # files keep what is there
    assert len(ratings().item_ids) == 8
