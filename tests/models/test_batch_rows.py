"""Large tables of which a step reads and moves the rows of its batch: the same training, but for rounding."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib import Interactions, datasets, splits
from recsys_lib.deferred_adam import DeferredAdam
from recsys_lib.models import BPR, GMF, MLP, BiasedMF, LogisticMF, NeuMF, _batch_rows
from recsys_lib.models.gradient import GradientRecommender
from recsys_lib.training import TrainingOptions

DATA = datasets.synthetic(300, 120, 4000, feedback="explicit", seed=3)
FAMILIES = [BPR, LogisticMF, GMF, MLP, NeuMF, BiasedMF]
TABLES = {
    BPR: ["user.ids"],
    LogisticMF: ["user_bias", "user.ids"],
    GMF: ["user.ids"],
    MLP: ["user.ids"],
    NeuMF: ["gmf.user.ids", "mlp.user.ids"],
    BiasedMF: ["user_factors", "user_bias"],
}

# Other optimizers make large steps of gradients that are nothing but rounding.
SGD: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.05, "init_std": 0.1}


def defer_from(monkeypatch: pytest.MonkeyPatch, numbers: float, times: float) -> None:
    monkeypatch.setattr(_batch_rows, "_NUMBERS", numbers)
    monkeypatch.setattr(_batch_rows, "_TIMES", times)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    defer_from(monkeypatch, 0, 0)


def make(family: type[GradientRecommender], **changed: Any) -> Any:
    return family(**({"factors": 4, "epochs": 3, "batch_size": 50, "device": "cpu"} | changed))


def both(
    monkeypatch: pytest.MonkeyPatch,
    family: type[GradientRecommender],
    data: Interactions = DATA,
    **changed: Any,
) -> tuple[Any, Any]:
    """A model that steps whole tables, and one that does not."""
    whole = make(family, **changed).fit(data)
    assert whole.net_.deferred_tables == {}
    defer_from(monkeypatch, 0, 0)
    return whole, make(family, **changed).fit(data)


def assert_same(whole: Any, rows: Any, tolerance: float) -> None:
    assert set(rows.net_.deferred_tables) == {"user", "item"}
    np.testing.assert_allclose(rows.history_["loss"], whole.history_["loss"], rtol=tolerance)
    np.testing.assert_allclose(rows.score(), whole.score(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adagrad"])
def test_training_is_the_same(
    family: type[GradientRecommender], optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = 0.5 if optimizer == "sgd" else 0.005
    whole, rows = both(monkeypatch, family, optimizer=optimizer, learning_rate=rate)
    # Adam makes large steps of gradients that are nothing but rounding.
    assert_same(whole, rows, 2e-3 if "adam" in optimizer else 1e-4)


@pytest.mark.parametrize(
    ("sampler", "loss"), [("in-batch", "softmax"), ("popularity", "softmax"), ("uniform", "warp")]
)
@pytest.mark.parametrize("family", [LogisticMF, NeuMF])
def test_whatever_is_drawn_and_compared(
    family: Any, sampler: str, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"sampler": sampler, "loss": loss, "l2": 0.01, "clip_norm": 0.5} | SGD
    assert_same(*both(monkeypatch, family, **options), 1e-4)


@pytest.mark.parametrize("family", [BPR, MLP, NeuMF])
def test_categories_go_with_their_rows(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(0).integers(5, size=(420, 2))
    kinds = pd.DataFrame(numbers, columns=["kind", "other"]).astype(str)
    data = DATA.with_features(
        users=kinds[:300].set_axis(DATA.user_ids.take(np.arange(300))),
        items=kinds[300:].set_axis(DATA.item_ids.take(np.arange(120))),
    )
    features = {"user_features": ("kind",), "item_features": ("kind", "other")} | SGD
    assert_same(*both(monkeypatch, family, data, l2=0.01, **features), 1e-4)


def test_the_best_epoch_is_that_of_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation sees every row up to date."""
    split = splits.random_holdout(DATA, test=0.2, valid=0.2, seed=0)
    found = []
    for numbers in (10**9, 0):
        defer_from(monkeypatch, numbers, 0)
        model = make(BPR, epochs=6, patience=6).fit(split.train, valid=split.valid)
        found.append(model.history_["valid_ndcg@10"].to_numpy())
    np.testing.assert_allclose(found[1], found[0], atol=2e-3)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_a_checkpoint_goes_on_exactly(optimizer: str, tmp_path: Path) -> None:
    options = {"optimizer": optimizer, "l2": 0.01}
    undisturbed = make(NeuMF, **options).fit(DATA)
    make(NeuMF, epochs=1, **options).fit(DATA, checkpoint=tmp_path / "c.pt")
    resumed = make(NeuMF, **options).fit(DATA, checkpoint=tmp_path / "c.pt", resume=True)
    for one, other in zip(undisturbed.net_.parameters(), resumed.net_.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_whole_tables_goes_on_by_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"learning_rate": 0.005}
    undisturbed = make(BPR, **options).fit(DATA)
    make(BPR, epochs=1, **options).fit(DATA, checkpoint=tmp_path / "c.pt")
    defer_from(monkeypatch, 0, 0)
    resumed = make(BPR, **options).fit(DATA, checkpoint=tmp_path / "c.pt", resume=True)
    assert_same(undisturbed, resumed, 2e-3)


@pytest.mark.usefixtures("always")
def test_two_fits_are_the_same() -> None:
    one, other = make(NeuMF).fit(DATA), make(NeuMF).fit(DATA)
    assert all(map(torch.equal, one.net_.parameters(), other.net_.parameters()))


@pytest.mark.usefixtures("always")
def test_a_saved_model_is_as_ever(tmp_path: Path) -> None:
    model = make(NeuMF).fit(DATA)
    model.save(tmp_path / "m.rec")
    assert np.array_equal(NeuMF.load(tmp_path / "m.rec", device="cpu").score(), model.score())
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert np.array_equal(copied.score(), model.score())


# ---------------------------------------------------------------------- when


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_large_is_what_has_many_numbers_and_many_more_rows_than_a_batch(
    family: type[GradientRecommender], monkeypatch: pytest.MonkeyPatch
) -> None:
    def tables(**changed: Any) -> dict[str, list[str]]:
        model = make(family, epochs=1, batch_size=10, **changed).fit(DATA)
        found: dict[str, list[str]] = model.net_.deferred_tables
        return found

    defer_from(monkeypatch, 300 * 4, 30)
    # By default an MLP has vectors of 8 numbers here.
    narrow = {"embedding_dim": 4} if family in (MLP, NeuMF) else {}
    assert tables(**narrow) == {"user": TABLES[family]}
    defer_from(monkeypatch, 300 * 8 + 1, 30)
    assert tables() == {}
    defer_from(monkeypatch, 300 * 4, 31)
    assert tables() == {}


@pytest.mark.usefixtures("always")
def test_what_cannot_be_left_for_later() -> None:
    assert make(BPR, epochs=1, sampler="hard", pool=4).fit(DATA).net_.__dict__.get("deferred_tables") is None
    net = make(BPR, epochs=1).fit(DATA).net_
    for options, device in ((TrainingOptions(weight_decay=0.1), "cpu"), (TrainingOptions(), "mps")):
        del net.deferred_tables
        _batch_rows.defer_large_tables(net, {"user": 1, "item": 1}, options, torch.device(device))
        assert not getattr(net, "deferred_tables", None)
        net.deferred_tables = {}


@pytest.mark.usefixtures("always")
def test_a_step_makes_no_gradient_of_a_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = DeferredAdam.step

    def step(self: DeferredAdam, closure: Any = None) -> Any:
        tables = [p for p in self.param_groups[0]["params"] if len(p) in (300, 120)]
        assert all(p.grad.is_sparse for p in tables)
        seen.extend(p.grad._nnz() for p in tables)
        return real(self, closure)

    monkeypatch.setattr(DeferredAdam, "step", step)
    make(NeuMF, epochs=1, batch_size=7, negatives=1).fit(DATA)
    assert 0 < max(seen) <= 14
