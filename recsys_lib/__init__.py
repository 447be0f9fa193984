"""Recommender models, splits and honest metrics in PyTorch.

>>> from recsys_lib import Interactions, compare, datasets, evaluate, load, metrics, models, splits
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys_lib import datasets, metrics, models, splits
    from recsys_lib.evaluation import compare, evaluate
    from recsys_lib.interactions import Interactions
    from recsys_lib.models.saving import load

__version__ = "0.1.0"
__all__ = [
    "Interactions",
    "__version__",
    "compare",
    "datasets",
    "evaluate",
    "load",
    "metrics",
    "models",
    "splits",
]

# Modules are imported when they are first used: PyTorch takes seconds, and `recsys-lib --help` needs none.
_MODULES = ("datasets", "metrics", "models", "splits")
_HOMES = {
    "Interactions": "interactions",
    "compare": "evaluation",
    "evaluate": "evaluation",
    "load": "models",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
