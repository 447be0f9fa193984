from __future__ import annotations

from typing import Any, ClassVar

from recsys_lib.models import (
    BottleneckAutoencoder,
    DynamicAutoencoder,
    MultDAE,
    MultVAE,
    RecVAE,
)
from tests.models.contract import RecommenderContract, bad_numbers

ROWS: dict[str, list[Any]] = {
    "loss": ["squared", None],
    "confidence": bad_numbers(-1.0, 1.0),  # 1 goes with "mse" only
    "decode": ["some", None],
    "sampling_users": [0, 1.5, "x", 500],  # goes with decode="batch" only
    "batch_size": [0, 1.5],
    "epochs": [0, 1.5],
    "learning_rate": bad_numbers(0),
}
LAYERS: list[Any] = [(), [0], [2.5], "200", 200, None]
DYNAMIC = ROWS | {
    "layers": LAYERS,
    "activation": ["softmax", None],
    "tied": [2, None, "False"],
    "normalise": [2, None, "False"],
    "noise": bad_numbers(-0.1, 1.0),
    "dropout": bad_numbers(-0.1, 1.0),
}
SMALL: dict[str, Any] = {"batch_size": 8, "epochs": 60, "learning_rate": 0.03}


class TestDynamicAutoencoder(RecommenderContract):
    bad_parameters: ClassVar = DYNAMIC

    @classmethod
    def make(cls, **parameters: Any) -> DynamicAutoencoder:
        return DynamicAutoencoder(**(SMALL | {"layers": (8,)} | parameters))


class TestOnTheItemsOfTheBatch(RecommenderContract):
    bad_parameters: ClassVar = {"sampling_users": [0, 7, 1.5, "x"]}

    @classmethod
    def make(cls, **parameters: Any) -> DynamicAutoencoder:
        settings = {"layers": (8, 4), "decode": "batch", "loss": "mse", "confidence": 1.0, "noise": 0.2}
        settings |= {"weight_decay": 0.01, "epochs": 100}
        return DynamicAutoencoder(**(SMALL | settings | parameters))


class TestMultDAE(RecommenderContract):
    bad_parameters: ClassVar = DYNAMIC

    @classmethod
    def make(cls, **parameters: Any) -> MultDAE:
        return MultDAE(**(SMALL | {"layers": (16, 8)} | parameters))


class TestBottleneckAutoencoder(RecommenderContract):
    bad_parameters: ClassVar = ROWS | {
        "layers": [*LAYERS, (8,), (8, 8, 8)],
        "dropout": bad_numbers(-0.1, 1.0),
        "output_bias": bad_numbers(),
        "batch_size": [1, 1.5],
    }

    @classmethod
    def make(cls, **parameters: Any) -> BottleneckAutoencoder:
        settings = {"layers": (16, 8), "dropout": 0.2}
        return BottleneckAutoencoder(**(SMALL | settings | parameters))


class TestMultVAE(RecommenderContract):
    bad_parameters: ClassVar = ROWS | {
        "layers": LAYERS,
        "factors": [0, 2.5, None],
        "activation": ["softmax", None],
        "noise": bad_numbers(-0.1, 1.0),
        "kl_weight": bad_numbers(-0.1),
        "anneal_epochs": [-1, 2.5, None],
    }

    @classmethod
    def make(cls, **parameters: Any) -> MultVAE:
        settings = {"layers": (16,), "factors": 4, "anneal_epochs": 20}
        return MultVAE(**(SMALL | settings | parameters))


class TestRecVAE(RecommenderContract):
    bad_parameters: ClassVar = ROWS | {
        "width": [0, 2.5, None],
        "factors": [0, 2.5, None],
        "noise": bad_numbers(-0.1, 1.0),
        "kl_weight": bad_numbers(-0.1),
        "encoder_passes": [0, 2.5, None],
    }

    @classmethod
    def make(cls, **parameters: Any) -> RecVAE:
        return RecVAE(**(SMALL | {"width": 16, "factors": 4, "epochs": 80, "kl_weight": 0.05} | parameters))
