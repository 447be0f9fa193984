from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from recsys_lib import Interactions, datasets, splits
from recsys_lib.evaluation import evaluate_ratings
from recsys_lib.histories import Histories
from recsys_lib.models import AutoRec, BiasedMF
from recsys_lib.models._dropout import dropout
from recsys_lib.models.rating_nets import AutoRecNet
from tests.models.board import per_user
from tests.models.contract import RecommenderContract, bad_numbers


class _AutoRecContract(RecommenderContract):
    bad_parameters: ClassVar = {
        "kind": ["film", None],
        "factors": [0, -1, 2.5, None],
        "l2": bad_numbers(-1.0),
        "noise": bad_numbers(-0.1, 1.0),
        "normalise": [1, None, "False"],
        "batch_size": [0, 1.5],
    }

    def test_new_people(self, model, board):
        """They are known without ratings, so they are not quite like people of the training data."""
        frame = model.recommend_from_history([["i00", "i02", "i04"], ["i01", "i05"]], k=3)
        found = per_user(frame)
        assert {int(item[1:]) % 2 for item in found[0]} == {0}
        assert {int(item[1:]) % 2 for item in found[1]} == {1}


class TestItems(_AutoRecContract):
    @classmethod
    def make(cls, **parameters: Any) -> AutoRec:
        settings = {"factors": 8, "batch_size": 4, "epochs": 150, "learning_rate": 0.02}
        return AutoRec(**(settings | parameters))


class TestUsers(_AutoRecContract):
    @classmethod
    def make(cls, **parameters: Any) -> AutoRec:
        settings = {"kind": "user", "factors": 8, "batch_size": 4, "epochs": 150, "learning_rate": 0.02}
        return AutoRec(**(settings | parameters))


# ---------------------------------------------------------------------- a reading with dense matrices

kinds = pytest.mark.parametrize("kind", ["item", "user"])
TOY = [[5, 3, 0, 1], [4, 0, 0, 1], [0, 1, 5, 0], [0, 0, 0, 0], [1, 0, 4, 0]]  # 0: not rated


def interactions(table: Any) -> Interactions:
    """Interactions whose id space has all users and items of a table, rated or not."""
    ratings = np.asarray(table, dtype=np.float32)
    users, items = np.indices(ratings.shape).reshape(2, -1)
    everything = Interactions.from_arrays(users, items, ratings.ravel())
    return everything.select(ratings.ravel() > 0)


def plain_ratings(net: AutoRecNet, dense: Tensor, known: Tensor) -> Tensor:
    """What the net says of all entries of the rows of a dense matrix, by PyTorch's own layers."""
    encoder, decoder = nn.Linear(*net.encoder.shape), nn.Linear(*net.encoder.T.shape)
    encoder.weight, encoder.bias = nn.Parameter(net.encoder.detach().T), net.encoder_bias
    decoder.weight, decoder.bias = nn.Parameter(net.decoder.detach()), net.decoder_bias
    away_from_mean = torch.where(known, dense - net.mean, 0)
    return net.mean + decoder(torch.sigmoid(encoder(away_from_mean)))


def rows_of(x: Interactions, kind: str) -> Tensor:
    dense = torch.from_numpy(x.to_csr("ratings").toarray())
    return dense.T.contiguous() if kind == "item" else dense


def test_a_net_reads_known_ratings_only() -> None:
    net = AutoRecNet(4, 3, torch.Generator().manual_seed(0))
    net.mean.fill_(3.0)
    dense = torch.tensor(TOY, dtype=torch.float32)
    rows = Histories.from_pairs(*(dense > 0).nonzero().T, 5, 4)
    ratings = dense[dense > 0]
    expected = plain_ratings(net, dense, dense > 0)
    torch.testing.assert_close(net(rows, ratings), expected, rtol=1e-5, atol=1e-6)
    # What stands where nothing is known does not matter.
    torch.testing.assert_close(plain_ratings(net, torch.where(dense > 0, dense, 77), dense > 0), expected)
    # A row without ratings is that of the biases; a rating equal to the mean says as little.
    silent = net.mean + net.decoder_bias + torch.sigmoid(net.encoder_bias) @ net.decoder.T
    torch.testing.assert_close(net(rows, ratings)[3], silent)
    mean = net(Histories.from_lists([[2]], 4), torch.tensor([3.0]))
    torch.testing.assert_close(mean[0], silent)


def test_a_normalised_sum() -> None:
    net = AutoRecNet(4, 3, torch.Generator().manual_seed(0), normalise=True)
    net.mean.fill_(3.0)
    with torch.no_grad():
        # The root of 4 ratings is 2: so it is the net of half the deviations.
        found = net(Histories.from_lists([[0, 1, 2, 3]], 4), torch.tensor([1.0, 5, 4, 3]))
        net.normalise = False
        half = net(Histories.from_lists([[0, 1, 2, 3]], 4), torch.tensor([2.0, 4, 3.5, 3]))
    torch.testing.assert_close(found, half)


def test_noise_leaves_ratings_out_of_the_input_but_asks_for_all() -> None:
    x = datasets.synthetic(30, 24, 300, feedback="explicit", seed=2)
    model = AutoRec(factors=5, noise=0.6, l2=0.0, epochs=1, device="cpu").fit(x)
    net = model.net_
    rows, ratings = next(iter(model._batches(model._prepare(x), torch.Generator().manual_seed(0))))
    net.eval()
    known = rows.to_dense() > 0
    dense = torch.zeros(known.shape)
    dense[rows.pairs()] = ratings
    plain = plain_ratings(net, dense, known)
    torch.testing.assert_close(net(rows, ratings), plain, rtol=1e-4, atol=1e-5)
    net.train()
    torch.manual_seed(3)
    error = model._loss(net, (rows, ratings))
    torch.manual_seed(3)
    kept = dropout(torch.ones(len(ratings)), 0.6, training=True) > 0
    assert 0.3 < kept.float().mean() < 0.5
    # The kept ones count 1 / (1 - 0.6) times as much.
    louder = torch.where(kept, net.mean + (ratings - net.mean) / 0.4, net.mean)
    net.eval()
    expected = (net(rows, louder)[rows.pairs()] - ratings).square().mean()
    torch.testing.assert_close(error, expected, rtol=1e-4, atol=1e-5)


@kinds
def test_the_loss_by_hand(kind: str) -> None:
    x = interactions(TOY)
    model = AutoRec(kind=kind, factors=3, l2=0.3, epochs=2, batch_size=100, device="cpu").fit(x)
    net, dense = model.net_, rows_of(x, kind)
    batches = list(model._batches(model._prepare(x), torch.Generator().manual_seed(0)))
    assert len(batches) == 1
    assert len(batches[0][0]) == 4  # one item, or user, has no ratings at all, and is in no batch
    error, n = 0.0, 0
    predicted = plain_ratings(net, dense, dense > 0)
    for row, column in (dense > 0).nonzero().tolist():
        error += (dense[row, column] - predicted[row, column]) ** 2
        n += 1
    lengths = sum(weight**2 for table in (net.encoder, net.decoder) for weight in table.flatten())
    expected = error / n + 0.3 / 2 * lengths
    torch.testing.assert_close(model._loss(net, batches[0]), expected, rtol=1e-5, atol=1e-6)


@kinds
def test_no_gradient_comes_from_what_is_not_known(kind: str) -> None:
    x = interactions(TOY)
    model = AutoRec(kind=kind, factors=3, l2=0.0, epochs=1, batch_size=1, device="cpu").fit(x)
    for rows, ratings in model._batches(model._prepare(x), torch.Generator().manual_seed(0)):
        model.net_.zero_grad()
        model._loss(model.net_, (rows, ratings)).backward()
        known = rows.to_dense()[0] > 0
        for p in (model.net_.encoder, model.net_.decoder, model.net_.decoder_bias):
            moved = p.grad.view(len(known), -1).abs().sum(1) > 0
            assert not moved[~known].any()
        assert model.net_.decoder_bias.grad[known].all()


@kinds
def test_trained_as_a_dense_autoencoder_is(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a mask, dense matrices and PyTorch's Adam: the same weights after several epochs."""
    x = datasets.synthetic(30, 24, 300, feedback="explicit", seed=2)
    batches, chosen = AutoRec._batches, []

    def note(self: Any, *arguments: Any) -> Any:
        for batch in batches(self, *arguments):
            chosen.append(batch)
            yield batch

    monkeypatch.setattr(AutoRec, "_batches", note)
    options: dict[str, Any] = {"factors": 5, "batch_size": 8, "l2": 0.01, "learning_rate": 0.01, "epochs": 3}
    model = AutoRec(kind=kind, device="cpu", **options).fit(x)
    dense = rows_of(x, kind)
    net = model._build(30, 24, torch.Generator().manual_seed(0))
    net.mean.copy_(dense[dense > 0].mean())
    whole = dense > 0
    rated = whole.any(0)
    net.encoder.data[~rated] = 0
    net.decoder.data[~rated] = 0
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for rows, ratings in chosen:
        part = torch.zeros(len(rows), rows.n_items)
        part[rows.pairs()] = ratings
        assert all((dense == row).all(1).any() for row in part)
        known = part > 0
        optimizer.zero_grad()
        codes = torch.sigmoid(torch.where(known, part - net.mean, 0) @ net.encoder + net.encoder_bias)
        errors = (part - net.mean - net.decoder_bias - codes @ net.decoder.T)[known]
        penalty = net.encoder.square().sum() + net.decoder.square().sum()
        (errors.square().mean() + 0.01 / 2 * penalty).backward()
        optimizer.step()
    for key, expected in net.named_parameters():
        torch.testing.assert_close(model.net_.state_dict()[key], expected, rtol=1e-4, atol=1e-5, msg=key)
    predicted = plain_ratings(net, dense, whole).detach()
    predicted = (predicted.T if kind == "item" else predicted).numpy()
    np.testing.assert_allclose(model.score(), predicted, rtol=1e-4, atol=1e-4)
    users, items = np.indices(predicted.shape).reshape(2, -1)
    found = model.predict(x.user_ids.take(users), x.item_ids.take(items))
    np.testing.assert_allclose(found, predicted.ravel().clip(1, 5), rtol=1e-4, atol=1e-4)


@kinds
def test_predictions_keep_to_the_scale(kind: str) -> None:
    x = interactions([[4, 2, 0, 2], [4, 0, 4, 2], [0, 2, 4, 0], [4, 2, 0, 0]])
    model = AutoRec(kind=kind, factors=6, epochs=80, learning_rate=0.1, l2=0.0, device="cpu").fit(x)
    users, items = np.indices((4, 4)).reshape(2, -1)
    scores, predicted = model.score().ravel(), model.predict(users, items)
    assert scores.max() > 4
    assert scores.min() < 2
    np.testing.assert_allclose(predicted, scores.clip(2, 4), rtol=1e-5)


@kinds
def test_a_user_and_an_item_without_ratings(kind: str) -> None:
    x = interactions(np.hstack([TOY, np.zeros((5, 1))]))
    model = AutoRec(kind=kind, factors=3, epochs=20, learning_rate=0.05, device="cpu").fit(x)
    net, scores, others = model.net_, model.score(), [0, 1, 2, 4]
    assert np.isfinite(scores).all()
    silent = (net.decode(torch.sigmoid(net.encoder_bias)[None])[0]).detach().numpy()
    if kind == "item":
        # A user without ratings is the average of the others, also for the ranking of a new person.
        np.testing.assert_allclose(scores[others, 4], silent[others], rtol=1e-5)
        np.testing.assert_allclose(scores[3], scores[others].mean(0), rtol=1e-5)
        new = model.score_histories(Histories.from_lists([[], [0]], 5))
        np.testing.assert_allclose(new[0], scores[3], rtol=1e-5)
        assert not torch.equal(new[1], new[0])
    else:
        np.testing.assert_allclose(scores[3], silent, rtol=1e-5)
        np.testing.assert_allclose(scores[:, 4], net.mean.item(), rtol=1e-6)
    if kind == "user":  # an item that nobody has rated says nothing about a new person
        people = model.score_histories(Histories.from_lists([[0, 2], [0, 2, 4]], 5))
        assert torch.equal(people[0], people[1])


def test_a_rating_of_zero_is_a_rating() -> None:
    x = Interactions.from_arrays(list("aabb"), list("xyxy"), [0.0, 4.0, 4.0, 0.0])
    for kind in ("item", "user"):
        model = AutoRec(kind=kind, factors=4, epochs=200, learning_rate=0.05, l2=0.0, device="cpu").fit(x)
        assert model.net_.mean == 2
        found = model.predict(list("aabb"), list("xyxy"))
        np.testing.assert_allclose(found, [0, 4, 4, 0], atol=0.2)


@kinds
def test_better_than_the_mean_and_close_to_a_factorization(kind: str) -> None:
    x = datasets.synthetic(400, 150, 12_000, feedback="explicit", factors=4, seed=3)
    parts = splits.random_holdout(x, test=0.1, valid=0.1, seed=0)
    options: dict[str, Any] = {"factors": 40, "epochs": 40, "patience": 5, "learning_rate": 0.005}
    model = AutoRec(kind=kind, batch_size=16, l2=0.002, **options).fit(parts.train, parts.valid)
    found = evaluate_ratings(model, parts)["rmse"]
    test, mean = parts.test.ratings, parts.train.ratings.mean()
    factorization = BiasedMF(epochs=30, learning_rate=0.01, device="cpu").fit(parts.train)
    assert found < 0.85 * float(np.sqrt(((test - mean) ** 2).mean()))
    assert found < 1.05 * evaluate_ratings(factorization, parts)["rmse"]
    assert model.history_["valid_rmse"].min() == pytest.approx(
        float(np.sqrt(((model.predict(*_pairs(parts.valid)) - parts.valid.ratings) ** 2).mean())), rel=1e-5
    )


def _pairs(x: Interactions) -> tuple[Any, Any]:
    frame: pd.DataFrame = x.to_dataframe()
    return frame["user"].tolist(), frame["item"].tolist()


def test_new_people_of_i_autorec_by_a_ridge_regression() -> None:
    x = datasets.synthetic(60, 30, 700, feedback="explicit", seed=1)
    model = AutoRec(factors=6, epochs=10, learning_rate=0.02, device="cpu").fit(x)
    codes, net, liked = model.codes_.double(), model.net_, [2, 5, 11]
    some = codes[liked]
    weights = torch.linalg.solve(some.T @ some + torch.eye(6), some.sum(0))
    expected = net.mean + (net.highest - net.mean) * (codes @ weights)
    found = model.score_histories(Histories.from_lists([liked], 30))[0]
    torch.testing.assert_close(found.double(), expected.detach().double(), rtol=1e-4, atol=1e-4)


def test_new_people_of_u_autorec_are_read_as_rows() -> None:
    x = datasets.synthetic(60, 30, 700, feedback="explicit", seed=1)
    model = AutoRec(kind="user", factors=6, epochs=10, learning_rate=0.02, device="cpu").fit(x)
    dense = torch.zeros(1, 30)
    dense[0, [2, 5, 11]] = 5.0
    found = model.score_histories(Histories.from_lists([[2, 5, 11]], 30))
    torch.testing.assert_close(found, plain_ratings(model.net_, dense, dense > 0), rtol=1e-4, atol=1e-4)


@kinds
def test_a_run_that_was_cut_off_ends_as_an_undisturbed_one(kind: str, tmp_path) -> None:
    x = datasets.synthetic(60, 30, 700, feedback="explicit", seed=1)
    options: dict[str, Any] = {"kind": kind, "factors": 6, "batch_size": 8, "device": "cpu"}
    whole = AutoRec(epochs=6, **options).fit(x)
    AutoRec(epochs=3, **options).fit(x, checkpoint=tmp_path / "run.pt")
    resumed = AutoRec(epochs=6, **options).fit(x, checkpoint=tmp_path / "run.pt", resume=True)
    assert whole._state().keys() == resumed._state().keys()
    assert all(torch.equal(value, resumed._state()[key]) for key, value in whole._state().items())
