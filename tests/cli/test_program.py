"""The command line as a program: help, interrupts, pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys_lib import __version__
from recsys_lib.cli.models import find_model
from tests.cli.common import Run, error_of


def test_help_teaches(run: Run) -> None:
    for command in ("data", "train", "evaluate", "recommend"):
        status, out, err = run(command, "--help")
        assert (status, err) == (0, "")
        assert f"Examples:\n  recsys-lib {command}" in out
    assert "neighbours=" in run("train", "--help")[1]
    assert run("--version")[1] == f"recsys-lib {__version__}\n"


def test_every_example_in_the_help_is_a_valid_command_line() -> None:
    import re
    import shlex

    from recsys_lib import cli

    text = "".join((cli._EXAMPLES, cli._DATA, cli._TRAIN, cli._EVALUATE, cli._RECOMMEND)).replace("\\\n", " ")
    examples = re.findall(r"^  recsys-lib (.*?)(?:  .*)?$", re.sub(r"(?<=\S) +(?=--)", " ", text), re.M)
    assert len(examples) > 15
    for example in examples:
        args = cli.make_parser().parse_args(shlex.split(example))
        for name in (getattr(args, "model", None) or "EASE").split(","):
            assert find_model(name)


def test_interrupts_and_closed_pipes_are_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys_lib.cli import commands

    def raising(error: BaseException) -> Callable[[object], None]:
        def command(args: object) -> None:
            raise error

        return command

    monkeypatch.setattr(commands, "data", raising(KeyboardInterrupt()))
    assert run("data") == (130, "", "")
    monkeypatch.setattr(commands, "data", raising(BrokenPipeError()))
    status, _, err = run("data")
    assert (status, err) == (141, "")
    monkeypatch.setattr(commands, "data", raising(PermissionError(13, "Permission denied", "x.csv")))
    assert error_of(run("data"), 1) == "error: x.csv: Permission denied\n"


def test_as_a_program() -> None:
    """``python -m recsys_lib`` starts without PyTorch, and leaves a closed pipe quietly."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUTF8": "1"}
    command = [sys.executable, "-X", "importtime", "-m", "recsys_lib", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    assert shown.stdout.startswith("usage: recsys-lib")
    assert not [line for line in shown.stderr.splitlines() if line.endswith((" torch", " pandas"))]
    with subprocess.Popen(
        [sys.executable, "-m", "recsys_lib", "recommend", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode in (0, 141)  # 0 where output is not buffered: argparse itself is quiet
