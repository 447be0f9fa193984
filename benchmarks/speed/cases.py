"""What is measured: data, settings, and who does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.peers import PLAIN, RECODER, Peer
from recsys_lib import Interactions, datasets, splits
from recsys_lib.splits import Split

_SIDES = Path(__file__).parent / "sides"


@dataclass(frozen=True)
class Case:
    """The same work for this library and a peer.

    Parameters
    ----------
    name, title : str
    data : callable
        Makes the split; its train part is learned from, its test part judges the lists.
    settings : dict
        For both sides.
    ours : str
        Name of a module in ``benchmarks.speed.sides``.
    peer : Peer
    peer_file : Path
        What runs in the environment of the peer.
    least : float
        How many times as fast this library should be.
    """

    name: str
    title: str
    data: Callable[[], Split]
    settings: dict[str, Any]
    ours: str
    peer: Peer
    peer_file: Path
    least: float


def _ml_100k() -> Split:
    return splits.random_holdout(datasets.load("ml-100k"), 0.2, by="user", seed=0)


def _like_ml_1m() -> Split:
    return splits.random_holdout(datasets.synthetic(6_040, 3_706, 1_000_000, seed=0), 0.2, by="user", seed=0)


def _like_ml_20m() -> Split:
    # 20 steps of 500 people: an epoch of all 138,493 would take the peer minutes.
    whole = datasets.synthetic(138_493, 26_744, 20_000_000, seed=0)
    people = np.random.RandomState(0).permutation(whole.n_users)[:10_000]
    some = whole.to_csr()[np.sort(people)]
    return splits.random_holdout(Interactions.from_csr(some), 0.2, by="user", seed=0)


def _recoder(size: str, data: Callable[[], Split], loss: str, epochs: int, least: float) -> Case:
    settings = {
        "width": 200,
        "noise": 0.5,
        "loss": loss,
        "confidence": 3.0 if loss == "mse" else 0.0,
        "sampling": True,
        "batch_size": 500,
        "learning_rate": 1e-3,
        "weight_decay": 2e-5,
        "epochs": epochs,
    }
    return Case(
        name=f"recoder-{size}-{loss}",
        title=f"Recoder's autoencoder with mini-batch negatives, {loss}, {size}",
        data=data,
        settings=settings,
        ours="autoencoder_ours",
        peer=RECODER,
        peer_file=_SIDES / "autoencoder_recoder.py",
        least=least,
    )


def _like_ml_10m() -> Split:
    whole = datasets.synthetic(69_878, 10_677, 10_000_000, seed=0)
    return splits.random_holdout(whole, 0.2, by="user", seed=789)


def _prog_eval(decode: str, least: float) -> Case:
    return Case(
        name="prog-eval-10m" if decode == "all" else "prog-eval-10m-batch",
        title="the epoch of prog-eval on data like MovieLens-10M"
        + ("" if decode == "all" else ", ours decoding the items of the batch alone"),
        data=_like_ml_10m,
        settings={"batch_size": 256, "learning_rate": 0.01, "epochs": 1, "decode": decode},
        ours="bottleneck_ours",
        peer=PLAIN,
        peer_file=_SIDES / "bottleneck_plain.py",
        least=least,
    )


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        _recoder("ml-100k", _ml_100k, "mse", 100, 2.0),
        _recoder("ml-100k", _ml_100k, "multinomial", 50, 2.0),
        _recoder("1m", _like_ml_1m, "mse", 10, 3.0),
        _recoder("1m", _like_ml_1m, "multinomial", 10, 3.0),
        _recoder("20m", _like_ml_20m, "mse", 3, 2.5),
        _recoder("20m", _like_ml_20m, "multinomial", 3, 2.5),
        _prog_eval("all", 2.5),
        _prog_eval("batch", 4.0),
    )
}
