"""What the commands do: data, train, evaluate, recommend. Their options are in :mod:`recsys_lib.cli`."""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import os
import shlex
import sys
import textwrap
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_lib import datasets, distributed, splits
from recsys_lib._files import atomic_write
from recsys_lib._validation import check_choice, check_integer, check_number
from recsys_lib.cli.formats import as_json, as_table
from recsys_lib.cli.models import find_model, long_list, parse_settings
from recsys_lib.cli.tables import SYNTHETIC, TableOptions, read_source, read_titles, typed_ids
from recsys_lib.device import resolve_device
from recsys_lib.evaluation import METRICS, Evaluation, SampledMetricsWarning, evaluate, evaluate_ratings
from recsys_lib.evaluation.comparison import compare
from recsys_lib.interactions import Interactions
from recsys_lib.models import load
from recsys_lib.models.base import Recommender
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.splits import Split

RATING_METRICS = ("rmse", "mae")


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """Say that the command line is to blame for an error."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentError(None, str(error)) from error


def data(args: argparse.Namespace) -> None:
    """List the data sets, or load one and print its statistics."""
    if args.data is None:
        print(as_table(datasets.available(folder=args.folder).rename_axis("name").reset_index(), "{:,.1f}"))
        print(f"\n`recsys-lib data NAME` fetches one. {SYNTHETIC!r} is made up on the spot: no download.")
        return
    output = None if args.csv is None else _writable(args.csv)
    x = _read(args)
    print(f"{args.data}: {x}\n")
    facts = x.describe()
    width = max(map(len, facts.index))
    for name, value in facts.items():
        print(
            f"{name:<{width}}  {value:>14,}"
            if isinstance(value, int)
            else f"{name:<{width}}  {value:>14,.4g}"
        )
    if output is not None:
        with atomic_write(output) as file:
            packing = "gzip" if output.suffix == ".gz" else None
            x.to_dataframe().to_csv(file, index=False, lineterminator="\n", compression=packing)
        print(f"\nwrote {output} ({_size(output)})")


def convert(args: argparse.Namespace) -> None:
    """Sort Parquet files into a folder that the other commands read."""
    options = _table_options(args)
    with _usage():
        check_integer("memory", args.memory, 64)
    names = ("user", "item", "rating", "timestamp", "duplicates")
    chosen = {name: getattr(options, name) for name in names}
    source, folder = Path(args.data).expanduser(), Path(args.output).expanduser()
    x = datasets.convert(source, folder, memory=args.memory, **chosen)
    print(f"{args.output}: {x}")


def train(args: argparse.Namespace) -> None:
    """Fit one model on all interactions and save it."""
    if args.list_models:
        print(long_list())
        return
    missing = [name for name, value in (("--output", args.output), ("--model", args.model)) if not value]
    if args.data is None or missing:
        raise argparse.ArgumentError(None, f"train needs {' and '.join(missing) or 'a file or a data set'}.")
    with _usage():
        (model,) = _models([args.model], args)
        check_number("valid", args.valid, 0, 1, open_high=True)
        options = _going_on(model, args)
    output = _writable(args.output)
    x = _read(args)
    print(f"data    {args.data}: {x}")
    print(f"model   {model!r}")
    fit_on, valid = x, None
    if args.valid:
        split = splits.random_holdout(x, test=args.valid, seed=args.seed)
        fit_on, valid = split.train, split.test
        print(f"valid   {len(valid):,} interactions held out at random, {args.valid:g} of each user's")
    seconds = _fit(model, fit_on, valid, **options)
    together = f", {distributed.world_size()} processes" if distributed.world_size() > 1 else ""
    print(f"fitted  in {seconds:.1f} s on {model.device_}{together}{_last_epoch(model)}")
    model.save(output)
    distributed.wait()  # the first process writes
    print(f"saved   {output} ({_size(output)})")
    words = ["recsys-lib", "recommend", str(output), "--user", str(x.user_ids.ids[0])]
    print(f"next    {shlex.join(words)}")


def evaluate_models(args: argparse.Namespace) -> None:
    """Fit models on one part of the data and measure them on the other."""
    with _usage():
        models, on_ratings = _contestants(args)
    output = None if args.json is None else _writable(args.json)
    x = _read(args)
    with _usage():
        split = _split(x, args)
    print(f"data      {args.data}: {x}")
    print(f"models    {', '.join(map(repr, models))} on {resolve_device(args.device)}")
    seconds, results = {}, {}
    for model in models:
        seconds[model.name] = _fit(model, split.train, split.valid)
        results[model.name] = _evaluate(model, split, on_ratings, args, warn=model is models[0])
    if on_ratings:
        results["MeanRating"] = evaluate_ratings(_MeanRating(split.train), split, seed=args.seed)
    _print_results(results)
    if output is not None:
        described = {model.name: model for model in models}
        document = {
            "data": str(args.data),
            "protocol": next(iter(results.values())).protocol,
            "models": [
                {
                    "model": name,
                    "parameters": asdict(described[name]) if name in described else {},
                    "fit_seconds": seconds.get(name),
                    "metrics": {row.pop("metric"): row for row in result.table.to_dict("records")},
                }
                for name, result in results.items()
            ],
        }
        with atomic_write(output, "w") as file:
            file.write(as_json(document))
        print(f"\nwrote {output}")


def recommend(args: argparse.Namespace) -> None:
    """Print the best items for some people."""
    model: Recommender = load(args.file, device=args.device)
    options = {"k": args.k, "exclude_seen": not args.include_seen}
    if args.history is not None:
        try:
            texts = next(csv.reader([args.history], skipinitialspace=True))
        except csv.Error as error:
            raise argparse.ArgumentError(None, f"--history {args.history!r}: {error}.") from error
        history = typed_ids(texts, model.item_ids)
        frame = model.recommend_from_history(history, **options).drop(columns="user")
    else:
        users = None if args.all_users else typed_ids(args.user, model.user_ids)
        frame = model.recommend(users, **options)
    if args.titles is not None:
        titles = read_titles(args.titles, model.item_ids, args.folder)
        frame.insert(
            frame.columns.get_loc("item") + 1, "title", [titles.get(str(i), "") for i in frame["item"]]
        )
    if args.format == "json":
        text = as_json(frame.to_dict("records"))
    elif args.format == "csv":
        text = frame.to_csv(index=False, lineterminator="\n")
    elif frame.empty:
        text = "nothing is left to recommend: every item was seen. Try --include-seen.\n"
    else:
        text = as_table(frame, "{:.4f}") + "\n"
    if args.output is None:
        sys.stdout.write(text)
        return
    output = _writable(args.output)
    with atomic_write(output, "w") as file:
        file.write(text)
    print(f"wrote {output} ({len(frame):,} rows)")


# ---------------------------------------------------------------------- models and data


def _models(names: Sequence[str], args: argparse.Namespace) -> list[Recommender]:
    families = list(dict.fromkeys(find_model(name) for name in names))
    settings = parse_settings(families, args.set)
    models = [family(device=args.device, seed=args.seed, **settings[family.__name__]) for family in families]
    for model in models:
        patience = getattr(model, "patience", None)
        if patience is not None and not args.valid:
            raise ValueError(f"{model.name}.patience={patience} needs validation data: add --valid 0.1")
    return models


def _going_on(model: Recommender, args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of fit that only models trained step by step have; refuse them for others."""
    in_steps = isinstance(model, GradientRecommender)
    if distributed.world_size() > 1 and not in_steps:
        raise ValueError(
            f"{model.name} is not trained in steps, which several processes could share: "
            "run it without torchrun."
        )
    if args.resume and args.checkpoint is None:
        raise ValueError("--resume needs the file to go on from: add --checkpoint FILE")
    if args.checkpoint is None:
        return {}
    if not in_steps:
        raise ValueError(f"{model.name} is not trained in epochs, so it has no use for --checkpoint.")
    return {"checkpoint": _writable(args.checkpoint), "resume": args.resume}


def _contestants(args: argparse.Namespace) -> tuple[list[Recommender], bool]:
    """Return the models to compare, and whether it is about ratings; refuse what cannot end well."""
    asked = set(args.metrics or ())
    on_ratings = bool(asked & set(RATING_METRICS))
    if on_ratings and (asked - set(RATING_METRICS) or args.candidates or args.k != [10]):
        raise ValueError(
            "rmse and mae are about ratings; other metrics, --k and --candidates about rankings."
        )
    for name in asked - set(RATING_METRICS):
        check_choice("--metrics", name, (*METRICS, *RATING_METRICS))
    names = [name.strip() for name in args.model.split(",") if name.strip()]
    models = _models(names if on_ratings else [*names, "Popularity"], args)
    for model in models:
        if on_ratings and not model.predicts_ratings:
            raise ValueError(f"{model.name} does not predict ratings, so it has no rmse and mae.")
        if args.split == "held-out-users" and type(model)._scores_from is Recommender._scores_from:
            raise ValueError(
                f"{model.name} cannot score a user that it was not trained on: use another split."
            )
    return models, on_ratings


def _table_options(args: argparse.Namespace, **more: Any) -> TableOptions:
    return TableOptions(
        user=args.user_column,
        item=args.item_column,
        rating=False if args.rating_column == "none" else args.rating_column,
        timestamp=False if args.timestamp_column == "none" else args.timestamp_column,
        duplicates=args.duplicates,
        **more,
    )


def _read(args: argparse.Namespace) -> Interactions:
    options = _table_options(args, columns=args.columns, ids=args.ids)
    x = read_source(args.data, options, args.folder)
    return x if args.min_rating is None else x.filter(min_rating=args.min_rating)


def _fit(model: Recommender, fit_on: Interactions, valid: Interactions | None, **options: Any) -> float:
    start = time.perf_counter()
    model.fit(fit_on, valid, **options)
    return time.perf_counter() - start


def _last_epoch(model: Recommender) -> str:
    history: pd.DataFrame | None = getattr(model, "history_", None)
    if history is None or history.empty:
        return ""
    last = history.iloc[-1]
    shown = ", ".join(
        f"{name} {value:.4g}" for name, value in last.items() if name in ("loss", *_valid_columns(history))
    )
    return f", {len(history)} epochs, the last with {shown}"


def _valid_columns(history: pd.DataFrame) -> list[str]:
    return [name for name in history.columns if str(name).startswith("valid")]


# ---------------------------------------------------------------------- evaluation


class _MeanRating:
    """Predicts the mean of the training ratings for everybody: what any model of ratings must beat."""

    name = "MeanRating"
    predicts_ratings = True

    def __init__(self, train: Interactions) -> None:
        self._mean = math.nan if train.ratings is None else float(train.ratings.mean(dtype=np.float64))

    def predict(self, users: Any, items: Any) -> npt.NDArray[np.float64]:
        """Return the mean rating for every pair."""
        return np.full(len(users), self._mean)


def _split(x: Interactions, args: argparse.Namespace) -> Split:
    shares = {} if args.test is None else {"test": args.test}
    if args.split in ("leave-last-out", "chronological") and x.timestamps is None:
        raise ValueError(
            f"--split {args.split} needs timestamps, and there are none. Name the column with --timestamp, "
            "or use --split random."
        )
    match args.split:
        case "leave-last-out":
            if shares:
                raise ValueError("--test: leave-last-out hides one interaction per user, not a share.")
            return splits.leave_last_out(x, valid=bool(args.valid))
        case "chronological":
            return splits.chronological(x, valid=args.valid, **shares)
        case "held-out-users":
            test_users = 0.1 if args.test is None else args.test
            return splits.held_out_users(x, test_users, args.valid, seed=args.seed)
        case _:
            return splits.random_holdout(x, valid=args.valid, seed=args.seed, **shares)


def _evaluate(
    model: Recommender, split: Split, on_ratings: bool, args: argparse.Namespace, *, warn: bool
) -> Evaluation:
    if on_ratings:
        return evaluate_ratings(model, split, seed=args.seed)
    options = {} if args.metrics is None else {"metrics": args.metrics}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SampledMetricsWarning)
        result = evaluate(model, split, args.k, candidates=args.candidates, seed=args.seed, **options)
    for warning in caught:
        if issubclass(warning.category, SampledMetricsWarning):
            if warn:  # once is enough
                words = str(warning.message).replace("candidates=None", "no --candidates")
                print(f"warning: {words}", file=sys.stderr)
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return result


def _print_results(results: dict[str, Evaluation]) -> None:
    first = next(iter(results.values()))
    print(textwrap.fill(f"protocol  {first.protocol}", 100, subsequent_indent=" " * 10) + "\n")
    means = pd.DataFrame(
        {name: result.table.set_index("metric")["mean"] for name, result in results.items()}
    ).T
    testable = [column for column in first.per_user if column != "n_ratings"]
    if len(results) > 1 and testable:
        board = compare(results)
        means = board.means
        print(f"{board.metric}, best first. low, high: 95% interval. p_value: paired test against the best.")
        print(as_table(board.table, "{:.4f}") + "\n")
    print(as_table(means.rename_axis("model").reset_index(), "{:.4f}"))


# ---------------------------------------------------------------------- writing


def _writable(path: str) -> Path:
    """Refuse a place that cannot be written before any work is done."""
    target = Path(path).expanduser()
    if target.is_dir():
        raise IsADirectoryError(f"{path!r} is a folder. Name a file in it.")
    folder = next(parent for parent in target.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PermissionError(
            f"cannot write {path!r}: {str(folder)!r} is not a folder that can be written to."
        )
    return target


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
