from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from benchmarks import published
from benchmarks.choose import best_of
from benchmarks.search_biased_mf import AXES
from benchmarks.table import Result, Row, Table, measure, render, write_json
from benchmarks.tables import TABLES, ms_ml100k, rmse_ml100k
from recsys_lib import Interactions, splits
from recsys_lib.errors import DataError
from recsys_lib.models import EASE, BiasedMF

KEYS = ["table", "model", "metric", "published", "ours", "spread", "seconds"]


def fake(folder: Path | None) -> list[Row]:
    return [
        Row(
            model="Dice",
            published={"hits": 0.5, "misses": 0.25},
            remark="From a book.",
            measure=lambda seed: {"hits": 0.1 * seed, "misses": 1.0},
        ),
        Row(model="Clock", measure=lambda seed: {"hits": 0.125, "misses": 0.0}, seeded=False),
        Row(model="Legend", published={"hits": 0.75}),
    ]


def table(rows=fake, metrics=("hits", "misses")) -> Table:
    return Table(
        name="fake",
        title="A game",
        source="nowhere",
        protocol="two lines\nof words",
        metrics=metrics,
        rows=rows,
    )


@pytest.fixture
def results() -> list[Result]:
    return measure(table(), fake(None), seeds=3)


def find(results: list[Result], model: str, metric: str = "hits") -> Result:
    return next(r for r in results if (r.model, r.metric) == (model, metric))


def test_mean_and_spread_over_seeds(results):
    assert len(results) == 6
    dice = find(results, "Dice")
    assert dice.ours == pytest.approx(0.1)
    assert dice.spread == pytest.approx(statistics.stdev([0.0, 0.1, 0.2]))
    assert dice.published == 0.5
    assert dice.seconds >= 0


def test_without_randomness_one_run_is_enough():
    seeds = []
    row = Row(model="Clock", measure=lambda seed: seeds.append(seed) or {"hits": 1.0}, seeded=False)
    [result] = measure(table(metrics=("hits",)), [row], seeds=5)
    assert seeds == [0]
    assert (result.ours, result.spread, result.published) == (1.0, 0.0, None)


def test_one_seed_shows_no_spread():
    dice = find(measure(table(), fake(None), seeds=1), "Dice")
    assert dice.ours == 0.0
    assert dice.spread is None


def test_rows_that_are_only_published(results):
    legend = find(results, "Legend")
    assert (legend.published, legend.ours, legend.spread, legend.seconds) == (0.75, None, None, None)
    assert find(results, "Legend", "misses").published is None


def test_every_run_is_reported():
    said: list[str] = []
    measure(table(), fake(None), seeds=2, say=said.append)
    assert said == [
        "Dice, seed 0: hits 0.0000, misses 1.0000",
        "Dice, seed 1: hits 0.1000, misses 1.0000",
        "Clock, seed 0: hits 0.1250, misses 0.0000",
    ]


def test_the_table_is_aligned(results):
    lines = render(table(), fake(None), results, 3).splitlines()
    assert lines[:5] == ["A game", "======", "Source: nowhere", "Protocol: two lines", "of words"]
    head = next(line for line in lines if line.endswith("seconds"))
    body = lines[lines.index(head) + 2 : lines.index("", lines.index(head))]
    assert [line.split()[0] for line in body] == ["Dice", "ours", "Clock", "Legend"]
    start = head.index("hits")
    assert [line[start:].split("  ")[0] for line in body] == ["0.5000", "0.1000 ±0.1000", "0.1250", "0.7500"]
    assert body[3].split() == ["Legend", "published", "0.7500", "-"]
    assert "published*" in body[0]
    notes = "\n".join(lines[lines.index(body[-1]) :])
    assert "* From a book." in notes
    assert "over 3 seeds" in notes
    assert "deviation 0: Clock." in notes
    assert "a single seed" in render(table(), fake(None), measure(table(), fake(None), 1), 1)


def test_json_is_a_list_of_flat_objects(results, tmp_path):
    file = tmp_path / "new" / "results.json"
    write_json(file, results)
    read = json.loads(file.read_text(encoding="utf-8"))
    assert [list(entry) for entry in read] == [KEYS] * 6
    assert [Result(**entry) for entry in read] == results
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "results.json"
    file.write_text("old")
    with pytest.raises(TypeError, match="JSON"):
        write_json(file, [Result("fake", "Dice", "hits", object(), 0.0, 0.0, 0.0)])
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


# ---------------------------------------------------------------------- the command line


def test_command_line(tmp_path, capsys):
    file = tmp_path / "results.json"
    assert published.main(["fake", "--seeds", "2", "--json", str(file)], {"fake": table()}) == 0
    shown = capsys.readouterr()
    assert "Dice, seed 1" in shown.err
    assert "A game" in shown.out
    assert len(json.loads(file.read_text())) == 6


def test_tables_are_listed(capsys):
    assert published.main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed and entry.title in listed for name, entry in TABLES.items())
    assert published.main(["nonsense"]) == 2
    shown = capsys.readouterr().err
    assert "'nonsense'" in shown
    assert "ms-ml100k" in shown


def test_bad_options_are_refused_before_any_work(tmp_path, capsys):
    def rows(folder: Path | None) -> list[Row]:
        raise AssertionError("the work has begun")

    for option, words in (
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--json", str(tmp_path)], "is a folder"),
    ):
        with pytest.raises(SystemExit) as stop:
            published.main(["fake", *option], {"fake": table(rows)})
        assert stop.value.code == 2
        assert words in capsys.readouterr().err


def test_missing_data_is_said_without_a_traceback(capsys):
    def rows(folder: Path | None) -> list[Row]:
        raise DataError(f"nothing in {folder}")

    assert published.main(["fake", "--data", "some folder"], {"fake": table(rows)}) == 1
    assert capsys.readouterr().err == "nothing in some folder\n"


# ---------------------------------------------------------------------- the tables


@pytest.fixture
def ratings() -> Interactions:
    random = np.random.default_rng(0)
    filled = random.random((40, 30)) < 0.4
    users, items = filled.nonzero()
    stars = np.clip(np.rint(3 + random.normal(size=40)[users] + random.normal(size=len(users))), 1, 5)
    return Interactions.from_arrays(users, items, stars)


@pytest.mark.parametrize("name", TABLES)
def test_tables_run(name, ratings, monkeypatch):
    monkeypatch.setattr("recsys_lib.datasets.load", lambda name, folder: ratings)
    entry = TABLES[name]
    assert entry.name == name
    rows = entry.rows(None)
    assert len({row.model for row in rows}) == len(rows)
    results = measure(entry, rows, seeds=1)
    for row in rows:
        assert row.published or row.measure
        assert set(row.published) <= set(entry.metrics)
        values = [r.ours for r in results if r.model == row.model]
        assert all(np.isfinite(values)) if row.measure else values == [None] * len(entry.metrics)
    assert max(map(len, render(entry, rows, results, 1).splitlines())) <= 120


def test_deterministic_rows_do_not_depend_on_the_seed(ratings, monkeypatch):
    monkeypatch.setattr("recsys_lib.datasets.load", lambda name, folder: ratings)
    for entry in TABLES.values():
        for row in entry.rows(None):
            if row.measure is not None:
                assert (row.measure(0) == row.measure(1)) == (not row.seeded), row.model


def test_the_split_of_ms_ml100k():
    # As published: rows sorted by item and random number; within an item the first 75 % are train.
    random = np.random.default_rng(0)
    items = np.sort(random.integers(0, 20, 300))
    x = Interactions.from_arrays(np.arange(300), random.permutation(items))
    numbers = np.random.RandomState(42).rand(300)
    train = []
    for item in range(20):
        rows = np.flatnonzero(x.items == item)
        train += rows[np.argsort(numbers[rows])][: round(0.75 * len(rows))].tolist()
    assert ms_ml100k.split(x).train.users.tolist() == x.users[np.sort(train)].tolist()


def test_the_mean_rating_by_hand():
    x = Interactions.from_arrays([0, 1, 2, 3], [0, 0, 0, 0], [1.0, 3.0, 4.0, 1.0])
    fold = splits.Split("by hand", x.select(np.array([0, 1])), None, x.select(np.array([2, 3])))
    found = rmse_ml100k.global_mean(fold, 0)
    assert found["rmse"] == pytest.approx(((2**2 + 1**2) / 2) ** 0.5)
    assert found["mae"] == pytest.approx(1.5)


def test_the_best_setting_is_chosen_without_the_test_part(ratings):
    candidates = [EASE(l2=l2) for l2 in (1e6, 10.0)]
    chosen = best_of(candidates, ratings, by="item", n_cuts=2)
    assert chosen in candidates
    assert not any(model.is_fitted for model in candidates)
    # The winner does not depend on the order, and fitting the one hides nothing from the other.
    assert best_of(candidates[::-1], ratings, by="item", n_cuts=2) is chosen


def test_the_search_leaves_the_defaults_alone():
    for axis, values in AXES.items():
        assert getattr(BiasedMF(), axis) not in values
        for value in values:
            assert BiasedMF(**{axis: value}).name == "BiasedMF"
