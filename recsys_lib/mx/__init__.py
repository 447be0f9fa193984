"""The same recommenders in MXNet: data iterators, blocks of Gluon, metrics, and weights to and fro.

MXNet is retired. Its last release, 1.9.1, runs on Linux x86-64 with NumPy 1.x. Nothing else in the library
imports this package, and importing it imports MXNet only when one of its names is used:

>>> from recsys_lib.mx import NeuMF, SparseNegSampleIter, fit

Where MXNet is missing, that raises :class:`MXNetUnavailableError`, an ``ImportError`` that says what to do.
:func:`is_available` tells beforehand. Bring MXNet in this way, or by
:func:`recsys_lib.mx.loading.load_mxnet`, before any ``import mxnet`` of your own, which fails with today's
NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from recsys_lib.mx.loading import MXNetUnavailableError, is_available, load_mxnet

if TYPE_CHECKING:
    from recsys_lib.mx.blocks import GMF, MLP, NeuMF, start
    from recsys_lib.mx.exchange import load_torch_state, to_recommender, to_torch_state
    from recsys_lib.mx.fitting import fit, score_catalogue
    from recsys_lib.mx.iterators import EvaluationIter, SparseNegSampleIter
    from recsys_lib.mx.metrics import NDCG, HitRate

_HOMES = {
    "blocks": ("GMF", "MLP", "NeuMF", "start"),
    "exchange": ("load_torch_state", "to_recommender", "to_torch_state"),
    "fitting": ("fit", "score_catalogue"),
    "iterators": ("EvaluationIter", "SparseNegSampleIter"),
    "metrics": ("HitRate", "NDCG"),
}

__all__ = [
    "GMF",
    "MLP",
    "NDCG",
    "EvaluationIter",
    "HitRate",
    "MXNetUnavailableError",
    "NeuMF",
    "SparseNegSampleIter",
    "fit",
    "is_available",
    "load_mxnet",
    "load_torch_state",
    "score_catalogue",
    "start",
    "to_recommender",
    "to_torch_state",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
