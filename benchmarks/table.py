"""What a published table is, how it is measured again, and how both are shown side by side."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from recsys_lib._files import atomic_write
from recsys_lib.errors import DataError

# Given a seed: fit, measure, and return the value of every metric; and, under the name FIT_SECONDS, how long
# the fit alone took, if that is known.
Measure = Callable[[int], Mapping[str, float]]
FIT_SECONDS = "fit_seconds"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of a table.

    Attributes
    ----------
    model : str
        Its name and settings, as shown.
    published : mapping from metric to value
        As printed in the source; empty if the source does not have this model.
    measure : callable, optional
        Measures our model. Without it the row is only there to compare with.
    seeded : bool
        Whether the result depends on the seed. If not, one run is enough.
    remark : str
        Where the published values are from, if not from the source of the table.
    """

    model: str
    published: Mapping[str, float] = field(default_factory=dict)
    measure: Measure | None = None
    seeded: bool = True
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A published table.

    Attributes
    ----------
    name : str
        What it is called on the command line.
    title, source, protocol : str
        What is measured, who published it and how it is measured, in words.
    metrics : tuple of str
        The columns.
    rows : callable
        Given the folder of the data sets (None: the usual one), loads the data and returns the rows.
    split, candidates, cutoff : str
        Of the protocol, each in a few words: what is tested on, which items are ranked, where lists end.
    """

    name: str
    title: str
    source: str
    protocol: str
    metrics: tuple[str, ...]
    rows: Callable[[Path | None], list[Row]]
    split: str = ""
    candidates: str = ""
    cutoff: str = ""


@dataclass(frozen=True)
class Result:
    """One number of a table. What we did not measure, or the source does not have, is None.

    Attributes
    ----------
    ours : float or None
        Mean over the seeds.
    spread : float or None
        Standard deviation over the seeds: 0 for a model without randomness, None for a single seed.
    seconds : float or None
        Wall-clock seconds of one seed: choosing settings, fitting and measuring.
    fit_seconds : float or None
        Of these, what fitting the chosen model took.
    seeds : int or None
        Runs behind the mean.
    date : str or None
        Day of the measurement, as in 2030-12-31.
    machine, command : str or None
        What it was measured on, and the command that did it.
    remark : str
        Where the published value is from, if not from the source of the table.
    """

    table: str
    model: str
    metric: str
    published: float | None
    ours: float | None
    spread: float | None
    seconds: float | None
    fit_seconds: float | None = None
    seeds: int | None = None
    date: str | None = None
    machine: str | None = None
    command: str | None = None
    remark: str = ""


def this_machine() -> str:
    """Say in words what is measured on: processor, cores, versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [named[0] if named else platform.machine(), f"{cores} core{'' if cores == 1 else 's'}"]
    parts += [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ", ".join([*parts, f"Python {platform.python_version()}", f"PyTorch {torch.__version__}"])


def choose_rows(rows: Sequence[Row], texts: Sequence[str]) -> list[Row]:
    """Keep the rows whose model has one of the texts in its name; capitals do not matter.

    Raises
    ------
    DataError
        If a text is in no name.
    """
    kept = []
    for text in texts:
        found = [row for row in rows if text.lower() in row.model.lower()]
        if not found:
            names = "\n".join(f"  {row.model}" for row in rows)
            raise DataError(f"no row has {text!r} in its name. The rows are:\n{names}")
        kept += found
    return [row for row in rows if row in kept]


def measure(
    table: Table,
    rows: Sequence[Row],
    seeds: int,
    say: Callable[[str], None] = lambda text: None,
    command: str | None = None,
) -> list[Result]:
    """Measure all rows of a table, with the seeds 0 to ``seeds - 1``.

    Parameters
    ----------
    say : callable
        Told about every finished run, in words.
    command : str, optional
        What to note as the command that measured.
    """
    results = []
    for row in rows:
        runs: list[Mapping[str, float]] = []
        seconds = None
        if row.measure is not None:
            n_runs = seeds if row.seeded else 1
            started = time.perf_counter()
            for seed in range(n_runs):
                runs.append(row.measure(seed))
                shown = ", ".join(f"{metric} {runs[-1][metric]:.4f}" for metric in table.metrics)
                say(f"{row.model}, seed {seed}: {shown}")
            seconds = (time.perf_counter() - started) / n_runs
        fits = [run[FIT_SECONDS] for run in runs if FIT_SECONDS in run]
        for metric in table.metrics:
            values = [run[metric] for run in runs]
            results.append(
                Result(
                    table.name,
                    row.model,
                    metric,
                    row.published.get(metric),
                    statistics.fmean(values) if values else None,
                    _spread(values, row.seeded) if values else None,
                    seconds,
                    statistics.fmean(fits) if fits else None,
                    len(runs) or None,
                    datetime.date.today().isoformat() if runs else None,
                    this_machine() if runs else None,
                    command if runs else None,
                    row.remark,
                )
            )
    return results


def _spread(values: list[float], seeded: bool) -> float | None:
    if not seeded:
        return 0.0
    return statistics.stdev(values) if len(values) > 1 else None


def write_json(path: str | os.PathLike[str], results: Sequence[Result]) -> None:
    """Write results as a JSON list of objects, atomically. Other rows that the file has stay in it.

    Raises
    ------
    DataError
        If there is a file, and it holds something else.
    """
    measured = {(result.table, result.model) for result in results}
    kept = [entry for entry in read_json(path) if (entry["table"], entry["model"]) not in measured]
    with atomic_write(path, "w") as file:
        json.dump(kept + [asdict(result) for result in results], file, indent=1)
        file.write("\n")


def write_remarks(path: str | os.PathLike[str], table: Table, rows: Sequence[Row]) -> None:
    """Bring the remarks of a table's rows in a file up to date; what was measured stays as it is.

    Raises
    ------
    DataError
        If there is a file, and it holds something else.
    """
    remarks = {row.model: row.remark for row in rows}
    entries = read_json(path)
    for entry in entries:
        if entry["table"] == table.name and entry["model"] in remarks:
            entry["remark"] = remarks[entry["model"]]
    with atomic_write(path, "w") as file:
        json.dump(entries, file, indent=1)
        file.write("\n")


def read_json(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return what :func:`write_json` wrote; nothing if there is no file.

    Raises
    ------
    DataError
        If the file holds something else.
    """
    if not Path(path).exists():
        return []
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if all({"table", "model", "metric"} <= entry.keys() for entry in found):
            return list(found)
    except (ValueError, TypeError, AttributeError):
        pass
    raise DataError(f"{os.fspath(path)!r} is there and holds no results of tables: name another file.")


def render(table: Table, rows: Sequence[Row], results: Sequence[Result], seeds: int) -> str:
    """Lay a table out as text: a line of published values and one of ours for each model."""
    by_model: dict[str, list[Result]] = {}
    for result in results:
        by_model.setdefault(result.model, []).append(result)
    remarks = list(dict.fromkeys(row.remark for row in rows if row.remark))
    fits_known = any(result.fit_seconds is not None for result in results)
    lines = [["", "", *table.metrics, *(["fit", "total"] if fits_known else ["seconds"])]]
    for row in rows:
        found = by_model[row.model]
        name = row.model
        if row.published:
            mark = f" [{remarks.index(row.remark) + 1}]" if row.remark else ""
            values = [_number(r.published) for r in found]
            lines.append([name, f"published{mark}", *values, *([""] if fits_known else []), ""])
            name = ""
        if row.measure is not None:
            values = [_number(r.ours, r.spread if row.seeded else None) for r in found]
            times = [found[0].fit_seconds, found[0].seconds] if fits_known else [found[0].seconds]
            lines.append([name, "ours", *values, *(_seconds(t) for t in times)])
    ours = (
        f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "a single seed, no deviation known"
    )
    notes = [
        *(f"[{number}] {remark}" for number, remark in enumerate(remarks, start=1)),
        f"ours: {ours}.",
        "fit, total: wall-clock seconds of one seed: the fit alone, and all from choosing to measuring."
        if fits_known
        else "seconds: wall clock for one seed, from choosing settings to the metrics.",
    ]
    deterministic = [row.model for row in rows if row.measure is not None and not row.seeded]
    if deterministic:
        words = f"Without randomness, deviation 0: {'; '.join(deterministic)}."
        notes.append(textwrap.fill(words, 110))
    head = [table.title, "=" * len(table.title), f"Source: {table.source}", f"Protocol: {table.protocol}"]
    return "\n".join([*head, "", *_aligned(lines), "", *notes])


def _number(value: float | None, spread: float | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if spread is None else f"{value:.4f} ±{spread:.4f}".replace("±0.", "±.")


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _aligned(lines: list[list[str]]) -> list[str]:
    """Pad the cells: the first two columns to the left, numbers so that their first digits are aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return [text[0].rstrip(), "-" * len(text[0]), *(line.rstrip() for line in text[1:])]
