from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import batch_negatives
from recsys_lib import evaluate
from recsys_lib.models import DynamicAutoencoder

SMALL = {"layers": (4,), "epochs": 2, "noise": 0.0}
CASES = (
    {"decode": "all", "batch_size": 8},
    {"decode": "batch", "batch_size": 2},
    {"decode": "batch", "batch_size": 2, "sampling_users": 20},
)


@pytest.fixture
def split(ncf_folder):
    return batch_negatives.cut(ncf_folder)


def test_the_parts_of_the_files_are_cut_anew(split, ratings):
    assert len(split.train) + len(split.valid) + len(split.test) == len(ratings)
    assert len(split.test) == pytest.approx(0.1 * len(ratings), rel=0.2)
    assert (split.train.n_users, split.train.n_items) == (40, 30)


def test_the_best_rate_on_validation_data_is_measured_on_test_data(split):
    rows = batch_negatives.measure(split, CASES, (1e-4, 0.05), SMALL, say=lambda line: None)
    assert [row["decode"] for row in rows] == ["all", "batch", "batch", "Popularity"]
    for case, row in zip(CASES, rows, strict=False):
        assert case.items() <= row.items()
        values = {}
        for rate, valid in row["valid_ndcg@10"].items():
            model = DynamicAutoencoder(**SMALL, **case, learning_rate=float(rate)).fit(split.train)
            assert valid == evaluate(model, split, on="valid", metrics=["ndcg"])["ndcg@10"]
            values[float(rate)] = evaluate(model, split, metrics=["ndcg"])["ndcg@10"]
        best = max(values, key=lambda rate, row=row: row["valid_ndcg@10"][str(rate)])
        assert row["learning_rate"] == best
        assert row["test"]["ndcg@10"] == values[best]
        assert row["test"]["low"] < values[best] < row["test"]["high"]
        assert row["seconds_an_epoch"] > 0


def test_the_share_that_is_decoded_grows_with_the_people(split):
    shares = [batch_negatives.share_decoded(case, split.train) for case in CASES]
    assert shares[0] == 1
    assert 0 < shares[1] < shares[2] <= 1


def test_the_file_says_how_it_was_measured(ncf_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(batch_negatives, "BASE", SMALL)
    rows = [{"decode": "all", "test": {"ndcg@10": 0.5}}]
    monkeypatch.setattr(batch_negatives, "measure", lambda split, say: rows)
    path = tmp_path / "results" / "found.json"
    batch_negatives.main(["--data", str(ncf_folder), "--json", str(path), "--machine", "a lamp"])
    found = json.loads(path.read_text())
    assert found["rows"] == rows
    assert found["machine"] == "a lamp"
    assert found["data"] == "MovieLens-1M: 40 people, 30 films"
    assert "80/10/10" in found["split"]
    assert '"a lamp"' in capsys.readouterr().out


def test_the_committed_file_says_what_the_book_says():
    folder = Path(batch_negatives.__file__).parent / "results"
    found = json.loads((folder / "batch_negatives_ml1m.json").read_text())
    rows = {(r["decode"], r.get("batch_size"), r.get("sampling_users")): r for r in found["rows"]}
    assert len(rows) == len(batch_negatives.CASES) + 1
    for people in (64, 256):  # no time is won
        full, batch = rows["all", people, None], rows["batch", people, None]
        assert batch["seconds_an_epoch"] > full["seconds_an_epoch"]
    intervals = [row["test"] for row in found["rows"] if row["decode"] != "Popularity"]
    assert max(one["low"] for one in intervals) < min(one["high"] for one in intervals)
    assert rows["batch", 32, None]["share_decoded"] < 0.5
