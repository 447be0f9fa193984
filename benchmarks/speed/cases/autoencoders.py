"""Networks that read a person's items: Recoder's, the one of prog-eval, Mult-DAE and Mult-VAE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.speed.cases import data
from benchmarks.speed.cases.case import SIDES, SIZES, Case
from benchmarks.speed.peers import PLAIN, RECBOLE, RECODER
from benchmarks.speed.work import Work, network_steps
from recsys_lib.splits import Split


def _recoder(size: str, split: Callable[[], Split], loss: str, epochs: int, least: float) -> Case:
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
        title=f"Recoder's autoencoder with mini-batch negatives, {loss}, on {SIZES[size]}",
        data=split,
        settings=settings,
        ours="autoencoder_ours",
        peer=RECODER,
        peer_file=SIDES / "autoencoder_recoder.py",
        least=least,
    )


def _prog_eval(decode: str, least: float) -> Case:
    return Case(
        name="prog-eval-20m" if decode == "all" else "prog-eval-20m-batch",
        title="the epoch of prog-eval, on 20,480 people and 26,744 items like MovieLens-20M's"
        + ("" if decode == "all" else "; ours decodes the items of the batch alone"),
        data=data.more_people_of_ml_20m,
        settings={"batch_size": 256, "learning_rate": 0.01, "epochs": 1, "decode": decode},
        ours="bottleneck_ours",
        peer=PLAIN,
        peer_file=SIDES / "bottleneck_plain.py",
        least=least,
        # How many items a batch has is not known before.
        work=_work_of_prog_eval if decode == "all" else None,
    )


def _work_of_prog_eval(split: Split) -> Work:
    people, n_items = int((split.train.user_counts() > 0).sum()), split.train.n_items
    products = 800 * 400 + 400 * n_items
    flops, size = network_steps(people / 256, 256, products, 800 * n_items + products)
    return Work(people, "people", flops, size)


def _multinomial(model: str, theirs: str, ours: dict[str, Any]) -> Case:
    """Compare whole fits, each ended by its own validation: see :mod:`benchmarks.speed.cases.sampled`.

    Both networks are RecBole's: 600 numbers, a bottleneck of 64, half of the input left out.
    """
    return Case(
        name=f"{model.lower()}-ml-100k",
        title=f"{model} on MovieLens-100K to the quality of RecBole's defaults, its validation included",
        data=data.ml_100k_in_three,
        settings={"model": model, "ours": ours, "theirs": {"model": theirs}, "timed": "fit"},
        ours="model_ours",
        peer=RECBOLE,
        peer_file=SIDES / "model_recbole.py",
        least=8.0,
        unit="a fit",
    )


CASES = (
    _recoder("ml-100k", data.ml_100k, "mse", 100, 2.0),
    _recoder("ml-100k", data.ml_100k, "multinomial", 50, 2.0),
    _recoder("1m", data.like_ml_1m, "mse", 10, 3.0),
    _recoder("1m", data.like_ml_1m, "multinomial", 10, 3.0),
    # An epoch of all people would take the peer minutes.
    _recoder("20m", data.people_of_ml_20m, "mse", 3, 2.5),
    _recoder("20m", data.people_of_ml_20m, "multinomial", 3, 2.5),
    _prog_eval("all", 2.5),
    _prog_eval("batch", 4.0),
    _multinomial(
        "MultDAE",
        "MultiDAE",
        {
            **{"layers": (600, 64), "batch_size": 128, "learning_rate": 2e-3, "schedule": "linear"},
            **{"epochs": 30, "patience": 8},
        },
    ),
    _multinomial(
        "MultVAE",
        "MultiVAE",
        {
            **{"layers": (600,), "factors": 64, "batch_size": 128, "learning_rate": 2e-3},
            **{"schedule": "linear", "epochs": 24, "patience": 8, "kl_weight": 0.2, "anneal_epochs": 24},
        },
    ),
)
