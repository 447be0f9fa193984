"""The command line: ``recsys-lib`` or ``python -m recsys_lib``, for a file and no Python to write."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from recsys_lib import __version__
from recsys_lib.errors import RecsysError

_ABOUT = """Recommendations from a table of who met what. Five commands:

  data        list the data sets, fetch one, or look at a file of your own
  convert     sort Parquet files that are larger than the memory into a folder
  train       learn a model from a file and save it
  evaluate    compare models on held-out data, next to a popularity baseline
  recommend   ask a saved model for the best items of a person"""

_EXAMPLES = """From a file to recommendations:
  recsys-lib data ratings.csv
  recsys-lib evaluate ratings.csv --model EASE,ItemKNN
  recsys-lib train ratings.csv --model EASE --output model.pt
  recsys-lib recommend model.pt --user ann

`recsys-lib COMMAND --help` explains one command, with examples.
Exit status: 0 done, 1 the data or a file is not as it should be, 2 the command line is not."""

_FILES = """Files: CSV in UTF-8, separated by commas, tabs, semicolons or bars; the same gzipped; or Parquet,
which needs duckdb: a file, a folder of them, or the folder that `recsys-lib convert` makes of more than fits
into memory. Columns are found by their usual names (user_id, movieId, stars, ...) or named with --user,
--item, ... Ids are whole numbers if all of a column are, and otherwise text: "00123" keeps its zeros.
--ids str makes them text always. Times are numbers, or dates such as 2024-05-31T18:00.
Data sets: `recsys-lib data` lists them. A file of the same name as one is ./NAME.
"""

_DATA = """Examples:
  recsys-lib data                               list the data sets
  recsys-lib data ml-100k                       fetch one, and print its statistics
  recsys-lib data ml-100k --csv ratings.csv     and write it as CSV (user,item,rating,timestamp)
  recsys-lib data mine.csv --user kunde         see how a file of your own is read

"""

_CONVERT = """Examples:
  recsys-lib convert log.parquet log/           12 to 20 bytes a row, sorted by user and item
  recsys-lib convert plays/ listened/ --user listener --item song --duplicates sum --memory 512
  recsys-lib train log/ --model BPR --output model.pt

The result is read from the disk as it is needed: by BPR, LogisticMF, the autoencoders and others without a
copy in memory. Needs duckdb (pip install duckdb), and as much room again on the disk while it works.

"""

_TRAIN = """Examples:
  recsys-lib train ratings.csv --model EASE --output model.pt
  recsys-lib train ratings.csv --model EASE --set l2=250 --min-rating 4 --output model.pt
  recsys-lib train plays.tsv.gz --user listener --item song --rating none --duplicates first \\
      --model ItemKNN --output model.pt
  recsys-lib train --list-models                what every parameter means
  torchrun --nproc-per-node 2 -m recsys_lib train ratings.csv --model NeuMF --output model.pt \\
      --checkpoint run.pt --resume              in two processes, and on from where it was cut off
  torchrun --nproc-per-node 2 -m recsys_lib train ratings.csv --model NeuMF --output model.pt \\
      --shard-tables                            each has half of the vectors of users and items

"""

_EVALUATE = """Examples:
  recsys-lib evaluate ratings.csv --model EASE,ItemKNN
  recsys-lib evaluate ratings.csv --model EASE --split leave-last-out --k 5,10 --metrics ndcg,recall,coverage
  recsys-lib evaluate ratings.csv --model EASE,ItemKNN --set EASE.l2=250 --json results.json
  recsys-lib evaluate ratings.csv --model BiasedMF --metrics rmse,mae

Splits:
  random            a random share (--test) of the interactions of each user
  leave-last-out    the last interaction of each user; needs timestamps
  chronological     everything after one moment in time; needs timestamps. The most like real use
  held-out-users    whole users (a share --test); the model sees part of their items and finds the rest

Popularity is always among the models: a model that cannot beat it has learned nothing about taste. With
--metrics rmse,mae the baseline is the mean rating. Every item competes, unless --candidates says otherwise.

"""

_RECOMMEND = """Examples:
  recsys-lib recommend model.pt --user ann
  recsys-lib recommend model.pt --user 196 --user 22 --k 5 --titles ml-100k
  recsys-lib recommend model.pt --history tea,jam,bread     somebody new, known by these items
  recsys-lib recommend model.pt --all-users --format csv --output recommendations.csv

Titles come from a data set or from a file with an item and a title column."""

# How library errors name arguments, to be turned into options: user='...' is --user '...' here.
_ARGUMENT = re.compile(
    r"(?<![\w.(])(user|item|rating|timestamp|duplicates|device|memory|candidates|metrics|min_rating|seed|test|valid|k)=(?=\S)"
)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and whose help may have an end that takes time to make."""

    late_epilog: Callable[[], str] | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        # All processes have the same command line: one of them says so.
        self.exit(2, None if _process() else f"error: {message} (see {self.prog} --help)\n")

    def format_help(self) -> str:
        end = "" if self.late_epilog is None else self.late_epilog()
        return super().format_help() + end


def _models_with_parameters() -> str:
    from recsys_lib.cli.models import short_list

    return f"\nModels, with the parameters that --set takes:\n{short_list()}\n"


def _split_list(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise argparse.ArgumentTypeError("is empty")
    return parts


def _cut_offs(text: str) -> list[int]:
    return [_positive(part) for part in _split_list(text)]


def _positive(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


def _add_table_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how to read the data")
    _add_columns(group)
    group.add_argument(
        "--columns",
        type=_split_list,
        metavar="A,B,...",
        help="names of all columns, for a file that has none",
    )
    group.add_argument(
        "--ids", choices=("auto", "str", "int"), default="auto", help="type of the ids (default: auto)"
    )
    _add_duplicates(group)
    group.add_argument(
        "--min-rating", type=float, metavar="R", help="drop interactions that are rated below R"
    )
    _add_folder(group)


def _add_columns(group: argparse._ActionsContainer) -> None:
    for role in ("user", "item", "rating", "timestamp"):
        optional = "; `none` leaves it out" if role in ("rating", "timestamp") else ""
        group.add_argument(
            f"--{role}", dest=f"{role}_column", metavar="COL", help=f"name of the {role} column{optional}"
        )


def _add_duplicates(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--duplicates",
        choices=("error", "first", "last", "sum", "mean", "max"),
        default="error",
        help="what to do if a user meets an item twice (default: error)",
    )


def _add_folder(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--folder", metavar="DIR", help="where downloaded data sets are kept")


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the model; may be repeated",
    )
    parser.add_argument("--seed", type=int, default=0, help="all randomness comes from it (default: 0)")
    _add_device(parser)


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(prog="recsys-lib", description=_ABOUT, epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"recsys-lib {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, summary: str, epilog: str) -> _Parser:
        added: _Parser = commands.add_parser(name, help=summary, description=summary, epilog=epilog)
        return added

    data = command("data", "List the data sets, or load one and print its statistics.", _DATA + _FILES)
    data.add_argument(
        "data", nargs="?", metavar="FILE|DATASET", help="a data set or a file; nothing lists the data sets"
    )
    data.add_argument("--csv", metavar="FILE", help="write it as CSV (gzipped if the name ends in .gz)")
    _add_table_options(data)

    convert = command("convert", "Sort Parquet files of any size into a folder to learn from.", _CONVERT)
    convert.add_argument("data", metavar="PARQUET", help="a Parquet file, or a folder of them")
    convert.add_argument("output", metavar="FOLDER", help="what to make; it must not be there yet")
    convert.add_argument(
        "--memory", type=_positive, default=1024, metavar="MB", help="megabytes to sort in (default: 1024)"
    )
    _add_columns(convert)
    _add_duplicates(convert)

    train = command("train", "Learn a model from a file or a data set, and save it.", _TRAIN + _FILES)
    train.late_epilog = _models_with_parameters
    train.add_argument(
        "data", nargs="?", metavar="FILE|DATASET", help="a file of interactions, or a data set"
    )
    train.add_argument("--model", help="which model; the list is below")
    train.add_argument("--output", metavar="FILE", help="where to save the model")
    train.add_argument(
        "--valid",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="hold out this share of each user's interactions, for models that stop by a validation metric",
    )
    train.add_argument(
        "--checkpoint", metavar="FILE", help="write the state of training here after every epoch"
    )
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint, if it is there")
    train.add_argument(
        "--shard-tables",
        action="store_true",
        help="divide tables too large for one device among the processes; the checkpoint is then a folder",
    )
    train.add_argument("--list-models", action="store_true", help="explain all models and parameters")
    _add_model_options(train)
    _add_table_options(train)

    evaluate = command(
        "evaluate", "Fit models on one part of the data, measure them on the other.", _EVALUATE + _FILES
    )
    evaluate.late_epilog = _models_with_parameters
    evaluate.add_argument("data", metavar="FILE|DATASET", help="a file of interactions, or a data set")
    evaluate.add_argument(
        "--model", required=True, metavar="MODEL,...", help="which models; the list is below"
    )
    evaluate.add_argument(
        "--split",
        choices=("random", "leave-last-out", "chronological", "held-out-users"),
        default="random",
        help="what to hold out (default: random)",
    )
    evaluate.add_argument(
        "--test", type=float, metavar="SHARE", help="share to test on (default: that of the split)"
    )
    evaluate.add_argument(
        "--valid",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share for validation while fitting (default: 0)",
    )
    evaluate.add_argument(
        "--k", type=_cut_offs, default=[10], metavar="K,...", help="length of the lists (default: 10)"
    )
    evaluate.add_argument(
        "--metrics",
        type=_split_list,
        metavar="NAME,...",
        help="hit_rate, precision, recall, ndcg, map, mrr (these are the default), truncated_recall, "
        "truncated_map, auc, novelty, coverage, gini; or rmse, mae",
    )
    evaluate.add_argument(
        "--candidates",
        type=_positive,
        metavar="N",
        help="rank the held-out items among N random others, to match a paper; default: all items",
    )
    evaluate.add_argument("--json", metavar="FILE", help="write the results with their protocol as JSON too")
    _add_model_options(evaluate)
    _add_table_options(evaluate)

    recommend = command("recommend", "Print the best items for some people.", _RECOMMEND)
    recommend.add_argument("file", metavar="MODEL", help="a file that `recsys-lib train` wrote")
    who = recommend.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", action="append", metavar="ID", help="whom to recommend to; may be repeated")
    who.add_argument("--history", metavar="ID,...", help="items that somebody new has met")
    who.add_argument("--all-users", action="store_true", help="everybody that the model knows")
    recommend.add_argument("--k", type=_positive, default=10, help="items per person (default: 10)")
    recommend.add_argument(
        "--include-seen", action="store_true", help="also items that the person had already"
    )
    recommend.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="default: table"
    )
    recommend.add_argument("--titles", metavar="FILE|DATASET", help="show titles from this file or data set")
    recommend.add_argument("--output", metavar="FILE", help="write to a file instead")
    _add_folder(recommend)
    _add_device(recommend)
    return parser


def _run(args: argparse.Namespace) -> None:
    # Only now: PyTorch takes seconds to import, and --help and a mistyped option need none of it.
    from recsys_lib import distributed
    from recsys_lib.cli import commands as run

    commands = {
        "data": run.data,
        "convert": run.convert,
        "train": run.train,
        "evaluate": run.evaluate_models,
        "recommend": run.recommend,
    }
    if not distributed.launched():
        if getattr(args, "shard_tables", False):
            raise argparse.ArgumentError(
                None, "--shard-tables divides tables among processes: start them with torchrun."
            )
        commands[args.command](args)
        return
    if args.command != "train":
        raise argparse.ArgumentError(
            None, f"only `train` can be shared by several processes: run `{args.command}` without torchrun."
        )
    with contextlib.ExitStack() as stack:
        if _process():
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
        stack.enter_context(distributed.process_group(shard_tables=args.shard_tables))
        run.train(args)


def _process() -> int:
    """Return the number that torchrun gave to this process; 0 without torchrun."""
    number = os.environ.get("RANK", "0")
    return int(number) if number.isdecimal() and "WORLD_SIZE" in os.environ else 0


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    words = str(error).replace("timestamp=False", "--timestamp none").replace("rating=False", "--rating none")
    words = words.replace("resume=True", "--resume")
    return _ARGUMENT.sub(lambda found: f"--{found[1].replace('_', '-')} ", words or type(error).__name__)


def _main(argv: Sequence[str] | None) -> int:
    status = 0
    try:
        _run(make_parser().parse_args(argv))
    except SystemExit as stop:  # argparse, after --help or a mistyped option
        status = int(stop.code or 0)
    sys.stdout.flush()  # here, where a closed pipe is looked after
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, 1 (bad data or file), 2 (bad command line).

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.
    """
    try:
        return _main(argv)
    except argparse.ArgumentError as error:
        if not _process():  # all have the same command line
            print(f"error: {_in_words(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader, such as `head`, has gone. Python would complain again when it flushes at exit.
        with contextlib.suppress(OSError, ValueError):  # a stream without a file, as in tests
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except KeyboardInterrupt:
        return 128 + 2
    except (RecsysError, ValueError, OSError) as error:
        who = f"rank {_process()}: " if _process() else ""
        print(f"error: {who}{_in_words(error)}", file=sys.stderr)
        return 1
