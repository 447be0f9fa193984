from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import recsys_lib
from recsys_lib import Interactions, splits
from recsys_lib.errors import DataError, NotSupportedError
from recsys_lib.evaluation import evaluate_ratings
from recsys_lib.models import BiasedMF
from recsys_lib.models.factorization import BiasedMFNet
from tests.models.contract import RecommenderContract, bad_numbers


class TestContract(RecommenderContract):
    scores_new_people = False
    bad_parameters: ClassVar = {
        "factors": [-1, 2.5, "x", None],
        "l2": bad_numbers(-1.0),
        "bias_l2": bad_numbers(-1.0),
        "init_std": bad_numbers(0, -1.0),
        "epochs": [0, 1.5],
        "batch_size": [0, 1.5],
        "learning_rate": bad_numbers(0),
        "schedule": ["sideways"],
    }

    @classmethod
    def make(cls, **parameters: Any) -> BiasedMF:
        settings = {"factors": 2, "l2": 0.02, "batch_size": 16, "epochs": 20, "learning_rate": 0.05}
        return BiasedMF(**(settings | parameters))


def planted(n_users=60, n_items=40, share=0.5, seed=0):
    """Ratings that are a mean, biases and a product of rank 2, without noise; some of them hidden."""
    random = np.random.default_rng(seed)
    truth = 3 + 0.5 * random.normal(size=(n_users, 1)) + 0.5 * random.normal(size=n_items)
    truth += random.normal(size=(n_users, 2)) @ random.normal(size=(2, n_items))
    users, items = (index.ravel() for index in np.indices(truth.shape))
    everything = Interactions.from_arrays(users, items, truth[users, items])
    return splits.random_holdout(everything, test=1 - share, by="global", seed=seed)


def with_newcomers():
    """Ratings, and a user (2) and an item (3) who have none of them."""
    x = Interactions.from_arrays([0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 2, 3], [5.0, 1.0, 3.0, 4.0, 2.0, 5.0])
    return x.select(np.arange(5))


# ---------------------------------------------------------------------- the net


def test_the_formula():
    net = BiasedMFNet(2, 3, 2)
    with torch.no_grad():
        net.mean.fill_(3.0)
        net.user_factors.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        net.item_factors.copy_(torch.tensor([[1.0, 0.0], [0.5, -1.0], [2.0, 2.0]]))
        net.user_bias.copy_(torch.tensor([0.25, -0.5]))
        net.item_bias.copy_(torch.tensor([1.0, 0.0, -1.0]))
    expected = [[3 + 0.25 + 1 + 1, 3 + 0.25 - 1.5, 3 + 0.25 - 1 + 6], [3 - 0.5 + 1, 3 - 0.5 - 1, 1.5 + 2]]
    assert net.catalogue(torch.tensor([0, 1])).tolist() == expected
    assert net(torch.tensor([1, 0]), torch.tensor([2, 1])).tolist() == [expected[1][2], expected[0][1]]


def test_gradient_of_the_loss_by_hand():
    model = BiasedMF(factors=2, l2=0.1, bias_l2=0.3)
    net = BiasedMFNet(2, 3, 2, init_std=1.0, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        net.mean.fill_(3.0)
        net.user_bias.copy_(torch.tensor([0.2, -0.1]))
        net.item_bias.copy_(torch.tensor([-0.3, 0.4, 0.7]))
    users, items = torch.tensor([0, 0]), torch.tensor([0, 2])
    ratings = torch.tensor([5.0, 2.0], dtype=torch.float64)
    model._loss(net, (users, items, ratings)).backward()
    p, q = net.user_factors[0].detach(), net.item_factors[[0, 2]].detach()
    b, c = net.user_bias[0].detach(), net.item_bias[[0, 2]].detach()
    error = ratings - 3.0 - b - c - q @ p
    # User 0 has both ratings, and so both penalties. The means are over two ratings.
    torch.testing.assert_close(net.user_factors.grad[0], -(error @ q) + 2 * 0.1 * p)
    torch.testing.assert_close(net.item_factors.grad[[0, 2]], -torch.outer(error, p) + 0.1 * q)
    torch.testing.assert_close(net.user_bias.grad[0], -error.sum() + 2 * 0.3 * b)
    torch.testing.assert_close(net.item_bias.grad[[0, 2]], -error + 0.3 * c)
    # Whoever is not in the batch is neither moved nor shrunk.
    assert net.user_factors.grad[1].tolist() == [0, 0]
    assert net.item_factors.grad[1].tolist() == [0, 0]
    assert net.user_bias.grad[1] == net.item_bias.grad[1] == 0


# ---------------------------------------------------------------------- learning


def test_a_planted_matrix_is_found_again():
    split = planted()
    model = BiasedMF(factors=2, l2=0.001, bias_l2=0.0, batch_size=64, epochs=60, learning_rate=0.03)
    found = evaluate_ratings(model.fit(split.train), split)["rmse"]
    biases = evaluate_ratings(BiasedMF(factors=0, batch_size=64, epochs=60).fit(split.train), split)["rmse"]
    spread = split.test.ratings.std()
    assert found < 0.1 * spread
    assert biases > 0.5 * spread


def test_biases_alone_are_a_ridge_regression():
    x = with_newcomers()
    # All rows in every batch and a long way down: the minimum itself.
    model = BiasedMF(factors=0, bias_l2=0.1, epochs=800, learning_rate=0.05).fit(x)
    design = np.zeros((len(x), x.n_users + x.n_items))
    design[np.arange(len(x)), x.users] = 1
    design[np.arange(len(x)), x.n_users + x.items] = 1
    penalty = 0.1 * np.diag(design.sum(0)) + 1e-9 * np.eye(design.shape[1])
    biases = np.linalg.solve(design.T @ design + penalty, design.T @ (x.ratings - x.ratings.mean()))
    learned = torch.cat([model.net_.user_bias, model.net_.item_bias]).detach()
    assert_allclose(learned, biases, atol=2e-3)
    with pytest.raises(NotSupportedError, match="factors=0"):
        model.similar_items([0])


def test_the_history_and_the_best_epoch():
    split = splits.random_holdout(planted().train, test=0.2, by="global", seed=1)
    model = BiasedMF(factors=8, l2=0.0, epochs=60, batch_size=64, learning_rate=0.05, patience=3)
    history = model.fit(split.train, split.test).history_
    assert list(history.columns) == ["epoch", "loss", "valid_rmse", "seconds"]
    assert 4 < len(history) < 60
    assert history["valid_rmse"].idxmin() == len(history) - 4
    assert evaluate_ratings(model, split)["rmse"] == pytest.approx(history["valid_rmse"].min(), rel=1e-5)


def test_resumed_is_as_if_never_stopped(tmp_path):
    train, file = planted().train, tmp_path / "checkpoint.pt"
    model = BiasedMF(factors=4, epochs=6, batch_size=128)
    expected = model.fit(train)._state()
    model.fit(train, checkpoint=file, callbacks=[lambda end: end.epoch == 3])
    assert len(model.history_) == 3
    resumed = model.fit(train, checkpoint=file, resume=True)._state()
    assert all(torch.equal(resumed[key], expected[key]) for key in expected)


def test_another_seed_is_another_model():
    train = planted().train
    one, other = (BiasedMF(factors=2, epochs=1, seed=seed).fit(train) for seed in (0, 1))
    assert not torch.equal(one.net_.user_factors, other.net_.user_factors)


def test_ratings_are_needed():
    x = with_newcomers()
    with pytest.raises(DataError, match="learns from ratings"):
        BiasedMF().fit(x.binarize())
    with pytest.raises(DataError, match="validated on ratings"):
        BiasedMF(epochs=1).fit(x, x.binarize())


# ---------------------------------------------------------------------- predicting


@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.01}, {"optimizer": "sgd", "learning_rate": 0.1}])
def test_what_is_unknown_is_left_out(settings):
    model = BiasedMF(factors=3, epochs=5, **settings).fit(with_newcomers())
    net = model.net_
    assert not net.user_factors[2].any()
    assert not net.item_factors[3].any()
    assert net.user_factors[:2].all()
    assert net.user_bias[2] == net.item_bias[3] == 0
    user_bias, item_bias = net.user_bias.detach().numpy(), net.item_bias.detach().numpy()
    assert float(net.mean) == 3.0
    assert_allclose(model.predict([2, 2, 2], [0, 1, 2]), 3 + item_bias[:3], rtol=1e-6)
    assert_allclose(model.predict([0, 1], [3, 3]), 3 + user_bias[:2], rtol=1e-6)
    assert model.predict([2], [3]).tolist() == [3.0]


def test_predictions_keep_to_the_scale_and_scores_do_not(tmp_path):
    model = BiasedMF(factors=2, epochs=2).fit(with_newcomers())
    with torch.no_grad():
        model.net_.item_bias.copy_(torch.tensor([9.0, -9.0, 0.1, 8.0]))
    everyone = [0, 0, 1, 1]
    assert model.predict(everyone, [0, 1, 3, 1]).tolist() == [5.0, 1.0, 5.0, 1.0]
    assert model.score().max() > 10
    # The order of two items beyond the end of the scale is not lost.
    assert model.recommend([2], k=2)["item"].tolist() == [0, 3]
    model.save(tmp_path / "model.pt")
    loaded = recsys_lib.load(tmp_path / "model.pt")
    assert loaded.predict(everyone, [0, 1, 3, 1]).tolist() == [5.0, 1.0, 5.0, 1.0]


def test_many_pairs_are_predicted_in_parts(monkeypatch):
    split = planted()
    model = BiasedMF(factors=2, epochs=2).fit(split.train)
    pairs = split.test.user_ids.take(split.test.users), split.test.item_ids.take(split.test.items)
    whole = model.predict(*pairs)
    monkeypatch.setattr("recsys_lib.models.factorization._PAIRS", 7)
    assert_allclose(model.predict(*pairs), whole, rtol=1e-6)
    assert model.predict([], []).shape == (0,)


def test_numbers_of_numpy_are_parameters_too(tmp_path):
    model = BiasedMF(factors=np.int64(2), l2=np.float32(0.5), epochs=1).fit(with_newcomers())
    model.save(tmp_path / "model.pt")
    assert recsys_lib.load(tmp_path / "model.pt").factors == 2


@pytest.mark.parametrize(("changed", "name"), [({"l2": 5.0}, "l2"), ({"batch_size": 7}, "batch_size")])
def test_a_checkpoint_of_other_hyper_parameters_is_refused(tmp_path, changed, name):
    train, file = planted().train, tmp_path / "checkpoint.pt"
    BiasedMF(epochs=1, factors=2).fit(train, checkpoint=file)
    with pytest.raises(ValueError, match=f"{name}="):
        BiasedMF(epochs=2, factors=2, **changed).fit(train, checkpoint=file, resume=True)


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    """The folds of a cross-validation have one shape: the net of one has seen the test part of the next."""
    split, file = planted(), tmp_path / "checkpoint.pt"
    first, second = splits.k_fold(split.train, k=2)
    BiasedMF(epochs=2, factors=2).fit(first.train, checkpoint=file, resume=True)
    model = BiasedMF(epochs=2, factors=2)
    with pytest.raises(ValueError, match="train="):
        model.fit(second.train, checkpoint=file, resume=True)
    with pytest.raises(ValueError, match="validated=False"):
        model.fit(first.train, first.test, checkpoint=file, resume=True)


def test_hyper_parameters_of_numpy_can_be_resumed(tmp_path):
    train, file = planted().train, tmp_path / "checkpoint.pt"
    options = {"learning_rate": np.float64(0.01), "l2": np.float32(0.25), "factors": np.int64(2)}
    BiasedMF(epochs=1, **options).fit(train, checkpoint=file)
    model = BiasedMF(epochs=np.int64(2), **options).fit(train, checkpoint=file, resume=True)
    assert model.history_["epoch"].tolist() == [1, 2]


def test_a_last_step_that_diverges_is_an_error():
    model = BiasedMF(epochs=1, batch_size=10**6, learning_rate=1e300, optimizer="sgd")
    with pytest.raises(ArithmeticError, match="some weights are NaN or infinite"):
        model.fit(planted().train)
    assert not model.is_fitted


def test_a_folder_is_no_checkpoint(tmp_path):
    epochs = []
    with pytest.raises(IsADirectoryError, match="checkpoint="):
        BiasedMF(epochs=1).fit(planted().train, checkpoint=tmp_path, callbacks=[epochs.append])
    assert not epochs
