"""Work that is killed (SIGKILL) at random points: ``python -m tests.hardening.kills --times 100``.

Every kill is of a fork of this process, which has loaded everything already, so that one costs what the work
costs. It comes either at a random time or just before a random operation on a file: opening, renaming or
removing one, or a lock. After each kill what lies there is checked; then the work goes on, and in the end the
result must be that of work that nobody disturbed. The last row is a control: work that is careless with its
file, in which the same checks must find faults.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tests.hardening.forks import end_of, fork
from tests.hardening.scenes import DATA_SET, SCENES, Scene

# What happens before an operation on a file, see the table of audit events of Python.
_OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "fcntl.flock"}


@dataclass
class Row:
    """What came of one kind of work."""

    scene: str
    kills: int = 0
    while_writing: int = 0  # kills that left a half-written file behind, under a name of its own
    ends: int = 0  # times that the work was brought to its end, with the right result
    faults: int = 0
    first_fault: str = ""

    def fault(self, error: BaseException) -> None:
        self.faults += 1
        where = traceback.extract_tb(error.__traceback__)[-1]
        self.first_fault = self.first_fault or f"{where.name}: {type(error).__name__}: {error}"[:500]


def operations_in(folder: Path, then: Callable[[int], None]) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that counts the operations on files in a folder."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in _OPERATIONS and (event == "fcntl.flock" or str(folder) in str(arguments[0])):
            count += 1
            then(count)

    return watch


def kill_at(number: int) -> Callable[[int], None]:
    """Return what ends this very process, as hard as possible, at an operation."""

    def then(count: int) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return then


def measured(scene: Scene, folder: Path) -> tuple[float, int]:
    """Do the work undisturbed; return its seconds and its operations on files."""
    counted = folder.parent / "counted"
    then = lambda count: os.write(handle, b".") and None  # noqa: E731
    handle = os.open(counted, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    begin = time.perf_counter()
    assert not end_of(fork(lambda: scene.work(folder), watch=operations_in(folder, then)))
    seconds = time.perf_counter() - begin
    os.close(handle)
    scene.check_end(folder)
    return seconds, counted.stat().st_size


def campaign(scene: Scene, kills: int, drawn: random.Random, base: Path) -> Row:
    """Kill some work so often, in as many rounds as that takes, and check what it leaves every time."""
    row = Row(scene.name)
    with new_folder(base) as folder:
        seconds, operations = measured(scene, folder)
    rounds = 0
    while row.kills < kills and rounds < 5 * kills + 5:
        rounds += 1
        with new_folder(base) as folder:
            one_round(scene, folder, kills, drawn, row, seconds, operations)
    assert row.kills == kills, f"{scene.name} was killed {row.kills} times in {rounds} rounds, not {kills}"
    return row


def one_round(
    scene: Scene, folder: Path, kills: int, drawn: random.Random, row: Row, seconds: float, operations: int
) -> None:
    """Kill the work again and again until it ends well in between, or was killed often enough."""
    try:
        killed = True
        while killed:
            enough = row.kills == kills
            if enough:
                child = fork(lambda: scene.work(folder))
            elif operations and drawn.random() < 0.5:
                then = kill_at(drawn.randint(1, operations))
                child = fork(lambda: scene.work(folder), watch=operations_in(folder, then))
            else:
                child = fork(lambda: scene.work(folder))
                time.sleep(drawn.uniform(0, seconds))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            killed = end_of(child)
            row.kills += killed
            row.while_writing += killed and any(folder.rglob("*.part"))
            scene.check(folder)
        scene.check_end(folder)
        row.ends += 1
    except Exception as error:  # a fault: counted, and the next round begins anew
        row.fault(error)


def together(scene: Scene, kills: int, drawn: random.Random, base: Path) -> Row:
    """Let three processes do the same work in the same folder at once, and kill one of them."""
    row = Row(f"{scene.name}, 3 at once")
    with new_folder(base) as folder:
        seconds, _ = measured(scene, folder)
    while row.kills < kills:
        with new_folder(base) as folder:
            children = [fork(lambda folder=folder: scene.work(folder)) for _ in range(3)]
            time.sleep(drawn.uniform(0, seconds))
            os.kill(drawn.choice(children), signal.SIGKILL)
            try:
                row.kills += sum([end_of(child) for child in children])
                scene.check_end(folder)
                row.ends += 1
            except Exception as error:
                row.fault(error)
                row.kills += 1
    return row


@contextlib.contextmanager
def new_folder(base: Path) -> Iterator[Path]:
    folder = base / "work"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.hardening.kills", description=__doc__)
    parser.add_argument("--times", type=int, default=100, help="kills, of all work together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)  # a fork has no other threads
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kills-") as name, contextlib.ExitStack() as stack:
        base = Path(name).resolve()
        scenes = [stack.enter_context(scene(base)) for scene in SCENES]
        works = [*((campaign, scene) for scene in scenes[:-1]), (together, scenes[DATA_SET])]
        share, rest = divmod(args.times, len(works))
        rows = [
            kill(scene, share + (n < rest), random.Random(f"{args.seed} {kill.__name__} {scene.name}"), base)
            for n, (kill, scene) in enumerate(works)
        ]
        control = campaign(scenes[-1], 4, random.Random(args.seed), base)
    if args.json:
        print(json.dumps([asdict(row) for row in (*rows, control)]))
    else:
        print(f"{'':24}{'kills':>7}{'in a write':>12}{'ends':>7}{'faults':>8}")
        for row in (*rows, control):
            print(f"{row.scene:24}{row.kills:7}{row.while_writing:12}{row.ends:7}{row.faults:8}")
            if row.first_fault and row is not control:
                print(f"    {row.first_fault}")
        total = sum(row.kills for row in rows)
        print(f"{total} kills in {time.perf_counter() - begin:.0f} s, seed {args.seed}.")
        print("The last row is the control: there must be faults in it, and only there.")
    return 0 if control.faults and not any(row.faults for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
