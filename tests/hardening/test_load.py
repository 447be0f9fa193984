"""Many threads, many fits, many items: the same answers, and memory that has a bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib import Interactions, datasets
from recsys_lib.errors import NotSupportedError
from recsys_lib.ids import IdMap
from recsys_lib.models import Recommender
from tests.hardening.common import FAMILIES, small

ROOT = Path(__file__).parents[2]
THREADS = 8
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells its memory so")


@cache
def data() -> Interactions:
    x = datasets.synthetic(60, 150, 1_500, feedback="explicit", seed=3)
    jobs = pd.DataFrame({"job": np.array(["cook", "pilot", "nurse"])[np.arange(60) % 3]})
    return x.with_features(users=jobs.set_index(x.user_ids.ids[:60]))


@pytest.fixture
def restless() -> Iterator[None]:
    """Let Python change from thread to thread as often as it can, and PyTorch have one for each."""
    interval, threads = sys.getswitchinterval(), torch.get_num_threads()
    sys.setswitchinterval(1e-6)
    torch.set_num_threads(1)
    yield
    sys.setswitchinterval(interval)
    torch.set_num_threads(threads)


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make all calls at the same time, each in a thread, and return what they return or raise."""
    start, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(number: int) -> None:
        start.wait()
        try:
            results[number] = calls[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def questions(model: Recommender) -> list[Callable[[], pd.DataFrame]]:
    """Return what eight threads ask: of everybody, of some, of one, of people who are new."""
    users, items = model.user_ids.ids.tolist(), model.item_ids.ids.tolist()
    ask: list[Callable[[], pd.DataFrame]] = [
        lambda: model.recommend(k=20),
        lambda: model.recommend(users[:1], k=5),
        lambda: model.recommend(users[5:30], k=7, items=items[10:90]),
        lambda: model.recommend(users[:1], k=5, exclude_seen=False),
    ]
    try:
        model.recommend_from_history(items[:3])
        ask += [
            lambda: model.recommend_from_history([items[:5], items[3:40], items[7:8]], k=9),
            lambda: model.recommend_from_history(items[20:25], k=5),
            lambda: model.recommend_from_history([items[n : n + 4] for n in range(50)], k=3),
        ]
    except NotSupportedError:
        ask += [lambda: model.recommend(users[::-1], k=9)] * 3
    return [*ask, lambda: pd.DataFrame(model.score(users[:3]))]


@pytest.mark.parametrize("family", FAMILIES)
def test_eight_threads_get_the_answers_of_one(family: type[Recommender], restless: None) -> None:
    model = small(family).fit(data())
    ask = questions(model)
    assert len(ask) == THREADS
    together = [at_once(ask) for _ in range(3)]  # the first answers ever, before anything is warm
    alone = [one() for one in ask]
    for results in together:
        for found, expected in zip(results, alone, strict=True):
            assert isinstance(found, pd.DataFrame), repr(found)
            pd.testing.assert_frame_equal(found, expected)


def test_the_comparison_of_threads_can_fail(restless: None) -> None:
    def plus_one(number: int) -> int:
        return number + 1

    class Shared:
        number = 0

        def wrong(self) -> None:
            for _ in range(20_000):
                self.number = plus_one(self.number)  # another thread may come between

    def meet() -> bool:
        shared = Shared()
        at_once([shared.wrong] * THREADS)
        return shared.number < THREADS * 20_000

    # Beside other programs each thread may be through before the next one has a turn.
    assert any(meet() for _ in range(50)), "threads that do not meet prove nothing"


def test_the_first_look_up_of_many_ids_may_come_from_eight_threads(restless: None) -> None:
    ids = np.arange(400_000)[::-1] * 3
    for made in (lambda: IdMap.from_column(ids, "item")[0], lambda: IdMap(ids, "item")):
        known = made()
        found = at_once([lambda known=known: known.indices([ids[7], ids[-1]])] * THREADS)
        expected = known.indices([ids[7], ids[-1]]).tolist()
        assert [one.tolist() for one in found] == [expected] * THREADS


# ---------------------------------------------------------------------- memory


def measured(*arguments: str) -> dict[str, float]:
    """Run a task in a process of its own, with the usual ways of the system to give out memory."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.hardening.load", *arguments],
        cwd=ROOT,
        env={**own, "OMP_NUM_THREADS": "1", "CI": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@ON_LINUX
def test_fifty_fits_take_no_more_memory_than_five() -> None:
    grown = measured("leaks", "--models", "MultVAE", "EASE", "--fits", "50")
    # Twenty models, of a megabyte each, that nobody frees: the measurement must see them.
    assert grown.pop("kept on purpose") > 12
    assert set(grown) == {"MultVAE", "EASE"}
    assert {name: growth for name, growth in grown.items() if growth > 8} == {}


@ON_LINUX
def test_a_million_items_are_ranked_in_little_memory() -> None:
    found = measured("catalogue", "--users", "4000", "--items", "1000000", "--asked", "150")
    assert found["items"] == 1_000_000
    # The scores of these 150 people for every item would be 600 MB.
    assert found["peak"] - found["peak before"] < 200
    assert found["peak"] < 1_200
