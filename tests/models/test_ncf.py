from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from recsys_lib import datasets
from recsys_lib.errors import FileFormatError
from recsys_lib.models import GMF, MLP, NeuMF
from recsys_lib.models.sampled import SampledRecommender
from tests.models.board import SIZE, checkerboard
from tests.models.contract import RecommenderContract, bad_numbers

BOARD = checkerboard()


class TestGMF(RecommenderContract):
    scores_new_people = False
    bad_parameters: ClassVar = {"factors": [0, -1, 2.5, "x", None]}

    @classmethod
    def make(cls, **parameters: Any) -> GMF:
        settings = {"factors": 8, "l2": 0.01, "init_std": 0.1, "epochs": 60, "learning_rate": 0.05}
        return GMF(**({"batch_size": 16} | settings | parameters))

    def test_every_parameter_is_counted(self, model):
        people_and_items = len(model.user_ids) + len(model.item_ids)
        assert model.n_parameters == 8 * people_and_items + 8 + 1  # vectors, their weights, the bias


class TestMLP(RecommenderContract):
    scores_new_people = False
    bad_parameters: ClassVar = {
        "factors": [0, -1, 2.5, "x", None],
        "layers": [-1, 1.5, 17, None],
        "embedding_dim": [0, -1, 2.5, "x"],
        "dropout": bad_numbers(-0.1, 1.0),
    }

    @classmethod
    def make(cls, **parameters: Any) -> MLP:
        settings = {"factors": 8, "layers": 2, "l2": 0.02, "epochs": 40, "learning_rate": 0.01}
        return MLP(**({"batch_size": 16} | settings | parameters))


class TestNeuMF(RecommenderContract):
    scores_new_people = False
    bad_parameters: ClassVar = {
        "factors": [0, -1, 2.5, "x", None],
        "layers": [-1, 1.5, 17, None],
        "embedding_dim": [0, True],
        "pretrain_epochs": [-1, 1.5, None],
        "pretrain_learning_rate": bad_numbers(0),
        "pretrain_alpha": bad_numbers(-0.1, 1.1),
    }

    @classmethod
    def make(cls, **parameters: Any) -> NeuMF:
        settings = {"factors": 4, "l2": 0.02, "epochs": 12, "learning_rate": 0.02}
        return NeuMF(**({"batch_size": 16} | settings | parameters))


def small(family: type[Any] = NeuMF, **parameters: Any) -> Any:
    return family(**({"factors": 4, "epochs": 2, "batch_size": 16, "device": "cpu"} | parameters))


# ---------------------------------------------------------------------- sizes


def shapes(model: SampledRecommender) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.fit(BOARD)._state().items()}


@pytest.mark.parametrize("family", [GMF, MLP, NeuMF])
def test_scores_start_at_the_odds_of_a_positive(family: type[GMF]) -> None:
    x = datasets.synthetic(20, 15, 120, seed=0)
    for loss, start in (("logistic", -math.log(3)), ("bpr", 0.0)):
        model = family(factors=4, negatives=3, loss=loss, init_std=1e-4, epochs=1, learning_rate=1e-12)
        scores = model.fit(x).score()
        np.testing.assert_allclose(scores, start, atol=1e-3)


def test_the_sizes_of_the_paper() -> None:
    """He et al. (2017), section 4.1: 8 predictive factors mean layers of 32, 16, 8 and embeddings of 16."""
    mlp = {
        "user.ids": (SIZE + 1, 16),
        "item.ids": (SIZE + 1, 16),
        "hidden.0.weight": (32, 32),
        "hidden.0.bias": (32,),
        "hidden.1.weight": (16, 32),
        "hidden.1.bias": (16,),
        "hidden.2.weight": (8, 16),
        "hidden.2.bias": (8,),
        "output.weight": (1, 8),
        "output.bias": (1,),
    }
    gmf = {"user.ids": (SIZE + 1, 8), "item.ids": (SIZE + 1, 8), "output.weight": (1, 8)}
    assert shapes(small(MLP, factors=8, epochs=1)) == mlp
    assert shapes(small(GMF, factors=8, epochs=1)) == gmf | {"output.bias": (1,)}
    both = {f"gmf.{name}": shape for name, shape in gmf.items()}
    both |= {f"mlp.{name}": shape for name, shape in mlp.items()}
    assert shapes(small(NeuMF, factors=8, epochs=1)) == both


@pytest.mark.parametrize(("layers", "factors", "length"), [(0, 3, 3), (1, 1, 1), (1, 6, 3), (4, 2, 8)])
def test_other_towers(layers: int, factors: int, length: int) -> None:
    model = small(MLP, layers=layers, factors=factors, epochs=1).fit(BOARD)
    assert model.net_.user.ids.shape == (SIZE + 1, length)
    assert len(model.net_.hidden) == layers
    assert np.isfinite(model.score()).all()


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_vectors_of_another_length(layers: int) -> None:
    model = small(MLP, layers=layers, factors=4, embedding_dim=5, epochs=1).fit(BOARD)
    assert model.net_.user.ids.shape == model.net_.item.ids.shape == (SIZE + 1, 5)
    first = model.net_.hidden[0] if layers else model.net_.output
    assert first.weight.shape == ((4 * 2 ** (layers - 1) if layers else 1), 10)
    both = small(NeuMF, factors=4, embedding_dim=5, layers=layers, pretrain_epochs=1, epochs=1).fit(BOARD)
    assert both.net_.mlp.user.ids.shape == (SIZE + 1, 5)
    assert both.net_.gmf.user.ids.shape == (SIZE + 1, 4)


def test_dropout_is_seeded_and_off_when_scoring() -> None:
    one, same, other = (small(MLP, dropout=0.5, seed=seed).fit(BOARD) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.score(), same.score())
    np.testing.assert_array_equal(one.score(), one.score())
    assert (one.score() != other.score()).any()
    assert (one.score() != small(MLP, dropout=0.0, seed=1).fit(BOARD).score()).any()


# ---------------------------------------------------------------------- pre-training

PRETRAINED: dict[str, Any] = {"pretrain_epochs": 3, "pretrain_learning_rate": 0.02, "l2": 0.01}


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8])
def test_the_start_is_the_weighted_mean_of_two_trained_models(alpha: float) -> None:
    settings = {"l2": 0.01, "negatives": 3, "epochs": 3, "learning_rate": 0.02}
    gmf = small(GMF, seed=6, **settings).fit(BOARD)
    mlp = small(MLP, seed=7, layers=2, **settings).fit(BOARD)
    model = small(layers=2, seed=5, negatives=3, pretrain_alpha=alpha, **PRETRAINED)
    # The fine-tuning does not get far.
    model.optimizer, model.learning_rate, model.epochs = "sgd", 1e-30, 1
    model.fit(BOARD)
    expected = alpha * gmf.score() + (1 - alpha) * mlp.score()
    nobody = model.user_ids.indices(["nobody"])[0]
    rows = np.arange(SIZE + 1) != nobody
    np.testing.assert_allclose(model.score()[rows], expected[rows], rtol=1e-4, atol=1e-6)
    assert "_pretrained" not in vars(model)  # two more networks
    # What the two did is told.
    told = model.pretraining_history_
    assert list(told.columns) == ["epoch", "loss", "seconds", "model"]
    assert told["model"].tolist() == ["GMF"] * 3 + ["MLP"] * 3
    assert told["epoch"].tolist() == [1, 2, 3] * 2
    losses = np.append(gmf.history_["loss"], mlp.history_["loss"])
    np.testing.assert_array_equal(told["loss"], losses)


def test_pre_training_is_done_with_adam_and_validated() -> None:
    model = small(optimizer="sgd", schedule="linear", **PRETRAINED)
    parts = [model._part(family) for family in (GMF, MLP)]
    for part in parts:
        assert (part.optimizer, part.schedule) == ("adam", "linear")
        assert (part.epochs, part.learning_rate, part.l2, part.factors) == (3, 0.02, 0.01, 4)
    valid = BOARD.select(np.arange(len(BOARD)) % 4 == 0)
    train = BOARD.select(np.arange(len(BOARD)) % 4 > 0)
    model.fit(train, valid)
    assert model.pretraining_history_["valid_ndcg@10"].notna().all()
    assert len(model.history_) == 2


def test_without_pre_training_there_is_no_history_of_it() -> None:
    model = small(**PRETRAINED).fit(BOARD)
    assert hasattr(model, "pretraining_history_")
    model.pretrain_epochs = 0
    assert not hasattr(model.fit(BOARD), "pretraining_history_")


def test_a_resumed_fit_is_not_pre_trained_again(tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "checkpoint.pt"
    model = small(epochs=4, optimizer="adagrad", learning_rate=0.05, **PRETRAINED)
    expected = model.fit(BOARD)._state()
    model.fit(BOARD, checkpoint=file, resume=True, callbacks=[lambda end: end.epoch == 2])
    assert len(model.history_) == 2
    assert hasattr(model, "pretraining_history_")  # there was nothing to go on from

    def refuse(self: Any, family: Any) -> None:
        raise AssertionError("pre-trained again")

    monkeypatch.setattr(NeuMF, "_part", refuse)
    resumed = model.fit(BOARD, checkpoint=file, resume=True)
    assert all(torch.equal(resumed._state()[name], expected[name]) for name in expected)
    assert len(resumed.history_) == 4
    assert not hasattr(resumed, "pretraining_history_")
    # Without resume the checkpoint is no reason to leave it out.
    with pytest.raises(AssertionError, match="pre-trained again"):
        model.fit(BOARD, checkpoint=file)


@pytest.mark.parametrize("change", [{"pretrain_epochs": 2}, {"pretrain_alpha": 0.25}, {"pretrain_epochs": 0}])
def test_a_checkpoint_of_another_pre_training_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    file = tmp_path / "checkpoint.pt"
    small(**PRETRAINED).fit(BOARD, checkpoint=file)
    with pytest.raises(ValueError, match=f"{next(iter(change))}="):
        small(**(PRETRAINED | change)).fit(BOARD, checkpoint=file, resume=True)


def test_the_negatives_of_the_pre_training_are_kept_too() -> None:
    settings = {"record_negatives": True, "negatives": 1, "epochs": 1}
    model = small(**settings, **PRETRAINED).fit(BOARD)
    others = [model._part(family) for family in (GMF, MLP)] + [small(**settings)]
    lists = [other.fit(BOARD).negatives_drawn_ for other in others]
    for drawn in lists:
        assert model.negatives_drawn_.contains(*drawn.pairs()).all()
    together = torch.cat([torch.stack(drawn.pairs()) for drawn in lists], dim=1)
    assert len(model.negatives_drawn_.indices) == together.unique(dim=1).shape[1] > len(lists[2].indices)


def test_a_failed_pre_training_leaves_nothing() -> None:
    model = small(pretrain_epochs=1, pretrain_learning_rate=1e30)
    with pytest.raises(ArithmeticError):
        model.fit(BOARD)
    assert not model.is_fitted
    assert model._pretrained is None


def test_a_saved_model_knows_its_pre_training(tmp_path: Path) -> None:
    model = small(**PRETRAINED).fit(BOARD)
    model.save(tmp_path / "model.pt")
    loaded = NeuMF.load(tmp_path / "model.pt", device="cpu")
    np.testing.assert_array_equal(loaded.score(), model.score())
    assert loaded.pretrain_epochs == 3
    with pytest.raises(FileFormatError, match="holds a NeuMF, not a GMF"):
        GMF.load(tmp_path / "model.pt")
