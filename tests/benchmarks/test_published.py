from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import published
from benchmarks.table import FIT_SECONDS, Result, Row, Table, choose_rows, measure, render, write_json
from benchmarks.tables import TABLES
from recsys_lib.errors import DataError

KEYS = ["table", "model", "metric", "published", "ours", "spread", "seconds", "fit_seconds", "seeds", "date"]
KEYS += ["machine", "command", "remark"]


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
    assert [line[start:].split("  ")[0] for line in body] == ["0.5000", "0.1000 ±.1000", "0.1250", "0.7500"]
    assert body[3].split() == ["Legend", "published", "0.7500", "-"]
    assert "published [1]" in body[0]
    assert "fit" not in head
    notes = "\n".join(lines[lines.index(body[-1]) :])
    assert "[1] From a book." in notes
    assert "over 3 seeds" in notes
    assert "deviation 0: Clock." in notes
    assert "a single seed" in render(table(), fake(None), measure(table(), fake(None), 1), 1)


def test_the_time_of_the_fit_is_shown_where_it_is_known():
    row = Row(
        model="Dice", measure=lambda seed: {"hits": 1.0, "misses": 0.0, FIT_SECONDS: 2.0 + seed}, published={}
    )
    rows = [row, *fake(None)[1:]]
    results = measure(table(), rows, seeds=2)
    assert find(results, "Dice").fit_seconds == 2.5
    assert find(results, "Clock").fit_seconds is None
    text = render(table(), rows, results, 2)
    head, _, dice, clock, legend = text.splitlines()[6:11]
    assert head.split() == ["hits", "misses", "fit", "total"]
    assert dice.split()[-2] == "2.5"
    assert clock.split()[-2] == "-"
    assert legend.split() == ["Legend", "published", "0.7500", "-"]
    assert "fit, total: wall-clock seconds" in text


def test_rows_are_chosen_by_a_part_of_their_name():
    rows = fake(None)
    assert [row.model for row in choose_rows(rows, ["LEG", "ice"])] == ["Dice", "Legend"]
    assert [row.model for row in choose_rows(rows, ["c"])] == ["Dice", "Clock"]
    with pytest.raises(DataError, match=r"'chess'(.|\n)*Dice(.|\n)*Legend"):
        choose_rows(rows, ["Dice", "chess"])


def test_json_is_a_list_of_flat_objects(results, tmp_path):
    file = tmp_path / "new" / "results.json"
    write_json(file, results)
    read = json.loads(file.read_text(encoding="utf-8"))
    assert [list(entry) for entry in read] == [KEYS] * 6
    assert [Result(**entry) for entry in read] == results
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]


def test_rows_that_were_measured_before_are_kept(results, tmp_path):
    file = tmp_path / "results.json"
    write_json(file, results)
    again = [replace(result, ours=0.5) for result in results if result.model == "Dice"]
    write_json(file, again)
    read = [Result(**entry) for entry in json.loads(file.read_text())]
    assert read == [result for result in results if result.model != "Dice"] + again


@pytest.mark.parametrize("text", ["old", "[1]", '[{"table": "fake"}]', "3"])
def test_a_file_with_something_else_is_left_alone(text, results, tmp_path, capsys):
    file = tmp_path / "results.json"
    file.write_text(text)
    with pytest.raises(DataError, match="holds no results of tables"):
        write_json(file, results)
    assert published.main(["fake", "--json", str(file)], {"fake": table()}) == 1
    shown = capsys.readouterr()
    assert "results.json" in shown.err
    assert "seed 0" not in shown.err  # refused before any work
    assert file.read_text() == text


def test_a_failed_write_leaves_the_old_file(results, tmp_path):
    file = tmp_path / "results.json"
    write_json(file, results)
    before = file.read_text()
    with pytest.raises(TypeError, match="JSON"):
        write_json(file, [Result("fake", "Dice", "hits", object(), 0.0, 0.0, 0.0)])
    assert file.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


# ---------------------------------------------------------------------- the command line


def test_command_line(tmp_path, capsys):
    file = tmp_path / "results.json"
    assert published.main(["fake", "--seeds", "2", "--json", str(file)], {"fake": table()}) == 0
    shown = capsys.readouterr()
    assert "Dice, seed 1" in shown.err
    assert "A game" in shown.out
    assert len(json.loads(file.read_text())) == 6


def test_only_some_rows_are_run(capsys):
    assert published.main(["fake", "--seeds", "1", "--rows", "clock", "Leg"], {"fake": table()}) == 0
    shown = capsys.readouterr()
    assert "Clock" in shown.out
    assert "Legend" in shown.out
    assert "Dice" not in shown.out + shown.err
    assert published.main(["fake", "--rows", "chess"], {"fake": table()}) == 1
    assert "no row has 'chess' in its name" in capsys.readouterr().err


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


def test_what_measured_is_kept_and_remarks_can_be_mended(tmp_path):
    file = tmp_path / "r.json"
    arguments = ["fake", "--rows", "Dice", "--seeds", "2", "--data", "a folder", "--json", str(file)]
    assert published.main(arguments, {"fake": table()}) == 0
    [first, _] = json.loads(file.read_text())
    assert first["command"] == "python -m benchmarks.published fake --seeds 2 --rows Dice"
    assert "core" in first["machine"]
    assert "PyTorch" in first["machine"]
    file.write_text(json.dumps([{key: first[key] for key in first if key != "remark"}]))
    assert published.main(["fake", "--json", str(file), "--remarks"], {"fake": table()}) == 0
    assert json.loads(file.read_text()) == [first]
    assert first["remark"] == "From a book."
    with pytest.raises(SystemExit):
        published.main(["fake", "--remarks"], {"fake": table()})


def test_every_table_names_split_candidates_and_cut_off():
    assert [name for name, one in TABLES.items() if not (one.split and one.candidates and one.cutoff)] == []
