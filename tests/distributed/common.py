"""What the processes and the tests that start them share: data, models, and how to start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from recsys_lib import datasets, splits
from recsys_lib.models import (
    BPR,
    GMF,
    MLP,
    AutoRec,
    BiasedMF,
    BottleneckAutoencoder,
    DynamicAutoencoder,
    LogisticMF,
    MatrixFactorization,
    MultDAE,
    MultVAE,
    NeuMF,
    RecVAE,
    _batch_rows,
)
from recsys_lib.models.gradient import GradientRecommender

ROOT = Path(__file__).parents[2]
# 97 people in batches of 32 leave a last batch of one, which is fewer than there are processes.
SPLIT = splits.random_holdout(datasets.synthetic(97, 60, 2000, feedback="explicit", seed=1), test=0.2, seed=0)

Make = Callable[..., GradientRecommender]


def _maker(family: type[GradientRecommender], **parameters: Any) -> Make:
    common = {"device": "cpu", "epochs": 3, "progress": False}
    return lambda **changed: family(**(common | parameters | changed))


def _deferred(family: type[GradientRecommender]) -> type[GradientRecommender]:
    """Let a model take its small tables for large: a step moves the rows of a batch, and no others."""

    def prepare(self: Any, train: Any) -> Any:
        with mock.patch.multiple(_batch_rows, _NUMBERS=0, _TIMES=0):
            return family._prepare(self, train)

    return type(f"Deferred{family.__name__}", (family,), {"_prepare": prepare})


# Nothing is drawn in a step, so several processes must learn what one learns. Adam makes large steps of
# gradients that are nothing but rounding, such as those before batch normalisation; SGD does not. Nor may its
# batches be of two or three people, whose tiny variances it divides by.
_SGD = {"optimizer": "sgd", "learning_rate": 0.3, "output_bias": -2.0, "dropout": 0.0, "layers": (8, 6)}
EXACT: dict[str, Make] = {
    "BiasedMF": _maker(BiasedMF, factors=4, batch_size=301, schedule="constant"),
    "I-AutoRec": _maker(AutoRec, factors=5, batch_size=29),
    "U-AutoRec": _maker(AutoRec, kind="user", factors=5, batch_size=32, learning_rate=0.01),
    "Bottleneck": _maker(BottleneckAutoencoder, batch_size=31, **_SGD),
    "Bottleneck-batch": _maker(BottleneckAutoencoder, batch_size=40, decode="batch", **_SGD),
    "MF-rows": _maker(MatrixFactorization, factors=4, batch_size=32),
    "MF-rows-batch": _maker(
        MatrixFactorization, factors=4, batch_size=32, decode="batch", sampling_users=50, weight_decay=1e-3
    ),
    "DAE-batch": _maker(
        DynamicAutoencoder, layers=[8], noise=0.0, batch_size=32, tied=True, decode="batch", clip_norm=1.0
    ),
    "in-batch": _maker(BPR, factors=4, sampler="in-batch", loss="softmax", batch_size=150),
    "deferred": _maker(_deferred(BiasedMF), factors=4, batch_size=31, schedule="constant", clip_norm=1.0),
    "in-batch-deferred": _maker(
        _deferred(BPR), factors=4, sampler="in-batch", loss="softmax", batch_size=40, optimizer="adagrad"
    ),
}
# Each process draws its own negatives or noise, so the results are as good and not the same.
DRAWN: dict[str, Make] = {
    "MultDAE": _maker(MultDAE, layers=[8], batch_size=32),
    "MultVAE": _maker(MultVAE, layers=[8], factors=4, batch_size=32),
    "RecVAE": _maker(RecVAE, width=8, factors=4, batch_size=32),
    "RecVAE-batch": _maker(RecVAE, width=8, factors=4, batch_size=32, decode="batch"),
    "BPR": _maker(BPR, factors=4, batch_size=300, epochs=6),
    "LogisticMF-hard": _maker(
        LogisticMF, factors=4, sampler="hard", negatives=2, pool=4, record_negatives=True
    ),
    "NeuMF": _maker(NeuMF, factors=4, batch_size=300, pretrain_epochs=1),
    "MLP-bfloat16": _maker(MLP, factors=4, batch_size=300, dropout=0.2, precision="bfloat16"),
}

# With divided tables negatives are those of one process, so these too must learn what one learns.
DIVIDED: dict[str, Make] = {
    "NeuMF": _maker(NeuMF, factors=4, batch_size=300, l2=0.01, pretrain_epochs=1, epochs=2),
    "GMF": _maker(GMF, factors=4, batch_size=301, weight_decay=1e-3, epochs=2),
    "BPR": _maker(BPR, factors=4, batch_size=300, epochs=2),
    "LogisticMF": _maker(LogisticMF, factors=4, sampler="popularity", loss="softmax", epochs=2),
    "Bottleneck": _maker(BottleneckAutoencoder, batch_size=31, **_SGD),
    # The sparse gradients of the items of a batch, and LazyAdam.
    "Bottleneck-batch": _maker(
        BottleneckAutoencoder, batch_size=40, decode="batch", dropout=0.0, layers=(8, 6), loss="mse", seed=1
    ),
}


def chosen(n: int) -> list[str]:
    """Return which models so many processes are tested with: 4 of them on 2 cores take their time."""
    few = (
        "BiasedMF",
        "U-AutoRec",
        "Bottleneck-batch",
        "MF-rows-batch",
        "in-batch",
        "deferred",
        "MultVAE",
        "BPR",
    )
    return [*EXACT, *DRAWN] if n == 2 else list(few)


def results(model: GradientRecommender) -> dict[str, Any]:
    """Return what is compared: the history without its times, the scores, the recommendations."""
    history = model.history_.drop(columns="seconds")
    return {
        "history": torch.from_numpy(history.to_numpy(dtype="float64")),
        "scores": torch.from_numpy(model.score()),
        "items": [str(item) for item in model.recommend(k=5)["item"]],
    }


class Ranks:
    """Some processes that run ``tests.distributed.worker`` together, without torchrun.

    Parameters
    ----------
    n : int
        How many.
    arguments : texts
        What to do, and where to write.
    """

    def __init__(self, n: int, *arguments: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.distributed.worker", *map(str, arguments)],
                env=clean_environment()
                | {"RANK": str(k), "LOCAL_RANK": str(k), "WORLD_SIZE": str(n)}
                | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for k in range(n)
        ]

    def end(self, rank: int) -> tuple[int, str, str]:
        """Wait for one of them; return its exit status, output and errors."""
        process = self.processes[rank]
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


def clean_environment() -> dict[str, str]:
    """One thread for each process, and warnings are errors, as in the tests."""
    return dict(os.environ) | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error", "CI": "1"}
