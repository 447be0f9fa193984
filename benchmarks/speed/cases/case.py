"""What a case is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.judges import NDCG, Arrays, Judge
from benchmarks.speed.peers import Peer
from benchmarks.speed.work import Work
from recsys_lib.splits import Split

SIDES = Path(__file__).parents[1] / "sides"
# How a title calls the data of a size.
SIZES = {
    "ml-100k": "MovieLens-100K",
    "1m": "data like MovieLens-1M",
    "20m": "data like MovieLens-20M",
}


def _nothing(split: Split) -> dict[str, np.ndarray]:
    return {}


@dataclass(frozen=True)
class Case:
    """The same work for this library and a peer.

    Parameters
    ----------
    name, title : str
    data : callable
        Makes the split; its train part is learned from, its test part judges the lists. A validation part
        may end the training of both sides.
    settings : dict
        For both sides.
    ours : str
        Name of a module in ``benchmarks.speed.sides``.
    peer : Peer
    peer_file : Path
        What runs in the environment of the peer.
    least : float
        How many times as fast this library should be.
    unit : str
        What the seconds are of. A side may report several of them in a run, and then the first, in which
        everything is cold, does not count.
    judge : Judge
        What the lists are judged by.
    arrays : callable
        Makes, from the split, what both sides find beside the data.
    needs : str
        A module without which there is nothing to compare. The case is then left out.
    work : callable, optional
        Says, of the split, what one unit takes at least, to be compared with what the machine can do.
    """

    name: str
    title: str
    data: Callable[[], Split]
    settings: dict[str, Any]
    ours: str
    peer: Peer
    peer_file: Path
    least: float
    unit: str = "an epoch"
    judge: Judge = NDCG
    arrays: Callable[[Split], Arrays] = _nothing
    needs: str = ""
    work: Callable[[Split], Work] | None = None
