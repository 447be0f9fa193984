"""Models that learn from sampled negatives: NeuMF and BPR.

Against RecBole, a second is one of the whole fit, in which both sides measure themselves on the same
validation part after every epoch, and keep their best epoch:

* RecBole trains with its defaults until ten epochs in a row gave no better MRR@10.
* This library trains a model of the same size, with settings of its own that were chosen on the validation
  part, until ``patience`` epochs in a row gave no better nDCG@10.

So the time is that from the data in memory to a model whose lists are good, in a process that has loaded all
of PyTorch (see :mod:`benchmarks.speed.sides.warm`). It counts only together with the quality: ours, on the
test part that neither side has met, must not be lower. What is known of a user, in train and validation, is
in no list.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from benchmarks.speed.cases import data
from benchmarks.speed.cases.case import SIDES, Case
from benchmarks.speed.peers import IMPLICIT, PLAIN, RECBOLE, Peer
from benchmarks.speed.work import Work, network_steps
from recsys_lib.splits import Split


def _fit(
    name: str,
    split: Callable[[], Split],
    peer: Peer,
    *,
    title: str,
    ours: dict[str, Any],
    theirs: dict[str, Any],
    least: float,
) -> Case:
    return Case(
        name=name,
        title=title,
        data=split,
        settings={"model": theirs["model"], "ours": ours, "theirs": theirs, "timed": "fit"},
        ours="model_ours",
        peer=peer,
        peer_file=SIDES / ("model_recbole.py" if peer is RECBOLE else "model_implicit.py"),
        least=least,
        unit="a fit",
    )


_NEUMF = _fit(
    "neumf-ml-100k",
    data.ml_100k_in_three,
    RECBOLE,
    title="NeuMF on MovieLens-100K to the quality of RecBole's defaults, its validation included",
    # RecBole's network: vectors of 64 numbers, layers of 128 and 64, a tenth dropped.
    ours={
        **{"factors": 64, "layers": 2, "dropout": 0.1, "negatives": 3, "batch_size": 1024, "l2": 0.01},
        **{"learning_rate": 1e-2, "schedule": "linear", "init_std": 0.05, "epochs": 5, "patience": 3},
    },
    theirs={"model": "NeuMF"},
    least=8.0,
)

_BPR = _fit(
    "bpr-ml-100k",
    data.ml_100k_in_three,
    RECBOLE,
    title="BPR on MovieLens-100K to the quality of RecBole's defaults, its validation included",
    ours={
        **{"factors": 64, "negatives": 4, "batch_size": 4096, "learning_rate": 2e-2, "l2": 0.015},
        **{"schedule": "linear", "epochs": 12, "patience": 3},
    },
    theirs={"model": "BPR"},
    least=5.0,
)

_BPR_1M = _fit(
    "bpr-1m",
    data.like_ml_1m,
    IMPLICIT,
    title="BPR on a million interactions to the quality of implicit's",
    ours={"factors": 64, "batch_size": 8192, "learning_rate": 5e-3, "l2": 0.01, "epochs": 4},
    # Its defaults, but for the number of factors.
    theirs={
        "model": "BPR",
        "settings": {"factors": 64, "learning_rate": 0.01, "regularization": 0.01, "iterations": 100},
    },
    least=1.0,
)

# Both see the same 5 x 80,000 samples in an epoch, so the ratio of the times is that of samples per second.
_SAME: dict[str, Any] = {"factors": 8, "layers": 4, "negatives": 4, "learning_rate": 1e-3, "epochs": 5}


def _work_of_samples(split: Split) -> Work:
    d, n = _SAME["factors"], len(split.train)
    widths = [d * 2**step for step in reversed(range(_SAME["layers"]))]
    products = widths[0] ** 2 + sum(a * b for a, b in pairwise(widths)) + 2 * d
    rows = split.train.n_users + split.train.n_items
    samples = n * (1 + _SAME["negatives"])
    return Work(
        samples,
        "samples",
        *network_steps(samples / 255, 255, products, rows * (d + widths[0] // 2) + products),
    )


_SAMPLES = Case(
    name="neumf-samples",
    title="samples of NeuMF per second, in batches of 256 with 4 negatives for each positive",
    data=data.ml_100k,
    settings={
        "model": "NeuMF",
        # Our batches count positives: 51 of them are 255 samples.
        "ours": _SAME | {"batch_size": 51},
        "theirs": _SAME | {"batch_size": 256},
        "timed": "epoch",
    },
    ours="model_ours",
    peer=PLAIN,
    peer_file=SIDES / "neumf_plain.py",
    least=3.5,
    work=_work_of_samples,
)

_GLUON = Case(
    name="neumf-mxnet",
    title="an epoch of NeuMF in MXNet, in batches of 1,024 with 4 negatives for each positive",
    data=data.ml_100k,
    settings={
        "factors": 8,
        "layers": 3,
        "negatives": 4,
        "batch_size": 1020,
        "learning_rate": 2e-3,
        "epochs": 3,
    },
    ours="neumf_mx",
    peer=Peer("plain Gluon", ()),
    peer_file=SIDES / "neumf_gluon.py",
    least=3.0,
    needs="mxnet",
)

CASES = (_NEUMF, _BPR, _BPR_1M, _SAMPLES, _GLUON)
