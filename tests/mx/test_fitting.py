"""Training: it learns, repeats itself, reports, and puts up with MXNet's other loop too."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib import Interactions, evaluate
from recsys_lib.errors import DataError
from recsys_lib.mx import (
    GMF,
    MLP,
    NDCG,
    EvaluationIter,
    HitRate,
    NeuMF,
    SparseNegSampleIter,
    fit,
    load_mxnet,
    score_catalogue,
    start,
    to_recommender,
)
from recsys_lib.mx.fitting import _Objective
from recsys_lib.splits import Split
from recsys_lib.training import TrainingError

mx = load_mxnet()


def made(family: type, batches: SparseNegSampleIter, **how: float) -> object:
    return family(batches.user_vocab_sizes, batches.item_vocab_sizes, factors=4, **how)


def weights(block: object) -> list[np.ndarray]:
    return [p.data().asnumpy() for p in block._collect_params_with_prefix().values()]


@pytest.mark.parametrize("family", [GMF, MLP, NeuMF])
def test_every_block_learns(split: Split, family: type) -> None:
    batches = SparseNegSampleIter(split.train, batch_size=256)
    block = made(family, batches, init_std=0.1)
    start(block)
    untrained = evaluate(to_recommender(block, batches, "cpu"), split, on="valid", metrics=["ndcg"])
    history = fit(block, batches, epochs=8, learning_rate=0.02, valid=split.valid)
    assert history.columns.tolist() == ["epoch", "loss", "valid_ndcg@10", "seconds"]
    assert history["epoch"].tolist() == list(range(1, 9))
    assert history["loss"].iloc[-1] < 0.85 * history["loss"].iloc[0]
    assert history["valid_ndcg@10"].max() > 2 * untrained["ndcg@10"]
    assert (history["seconds"] > 0).all()
    # The best epoch is kept, and the metric is that of evaluate.
    result = evaluate(to_recommender(block, batches, "cpu"), split, on="valid", metrics=["ndcg"])
    assert result["ndcg@10"] == pytest.approx(history["valid_ndcg@10"].max(), abs=1e-6)


def test_the_loss_is_the_mean_over_all_rows(split: Split) -> None:
    """With a step of nearly nothing it is that of the first weights, padding left out."""
    batches = SparseNegSampleIter(split.train, batch_size=700, seed=4)
    block = made(NeuMF, batches, init_std=0.5)
    start(block, seed=2)
    losses = []
    for batch in SparseNegSampleIter(split.train, batch_size=700, seed=4):
        n = 700 - batch.pad
        logits = torch.from_numpy(block(*batch.data).asnumpy()[:n])
        labels = torch.from_numpy(batch.label[0].asnumpy()[:n])
        losses.append(torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none"))
    expected = float(torch.cat(losses).mean())
    history = fit(block, batches, epochs=1, learning_rate=1e-12, optimizer="sgd")
    assert history["loss"].tolist() == pytest.approx([expected], rel=1e-5)
    assert batches.num_samples % 700


def test_a_step_is_that_of_gradient_descent(split: Split) -> None:
    """One batch, plain SGD: the weights move by the gradient of the mean loss, as in PyTorch."""
    batches = SparseNegSampleIter(split.train, batch_size=100_000)
    block = made(GMF, batches, init_std=0.5)
    start(block)
    p, q, h, b = (torch.from_numpy(w).requires_grad_() for w in weights(block))
    batch = next(SparseNegSampleIter(split.train, batch_size=100_000))
    n = 100_000 - batch.pad
    users, items = (torch.from_numpy(array.asnumpy()[:n, 0]).long() for array in batch.data)
    logits = (p[users] * q[items] * h).sum(1) + b
    labels = torch.from_numpy(batch.label[0].asnumpy()[:n])
    torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
    before = [w.detach().clone() for w in (p, q, h, b)]
    fit(block, batches, epochs=1, learning_rate=50.0, optimizer="sgd")
    for name, old, source, new in zip("pqhb", before, (p, q, h, b), weights(block), strict=True):
        np.testing.assert_allclose(new, (old - 50 * source.grad).numpy(), rtol=1e-3, atol=1e-5, err_msg=name)


def test_the_same_seed_gives_the_same_block(split: Split) -> None:
    def run(seed: int, **options: object) -> list[np.ndarray]:
        batches = SparseNegSampleIter(split.train, batch_size=300)
        block = made(NeuMF, batches)
        fit(block, batches, epochs=2, seed=seed, **options)
        return weights(block)

    mx.random.seed(5)
    expected = mx.nd.random.uniform(shape=(3,)).asnumpy()
    mx.random.seed(5)
    first, again, other = run(0), run(0), run(1)
    np.testing.assert_array_equal(mx.nd.random.uniform(shape=(3,)).asnumpy(), expected)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != other[0]).mean() > 0.9
    for a, b in zip(first, run(0, hybridize=False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_weights_that_are_there_are_gone_on_with(split: Split) -> None:
    batches = SparseNegSampleIter(split.train, batch_size=300)
    block = made(GMF, batches)
    first = fit(block, batches, epochs=3, learning_rate=0.02)
    second = fit(block, batches, epochs=1, learning_rate=0.02)
    assert second["loss"].iloc[0] < first["loss"].iloc[0]
    assert batches.epoch == 3


def test_sparse_gradients(split: Split) -> None:
    """They change only the vectors of a batch; with SGD that is all there is to change."""
    results = []
    for sparse_grad in (False, True):
        batches = SparseNegSampleIter(split.train, batch_size=300)
        block = NeuMF(batches.user_vocab_sizes, batches.item_vocab_sizes, 4, sparse_grad=sparse_grad)
        fit(block, batches, epochs=1, learning_rate=0.5, optimizer="sgd")
        results.append(weights(block))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_features_are_learned() -> None:
    """Users buy what is of their own colour, and nothing else tells it."""
    rng = np.random.default_rng(0)
    rows = [(u, i) for u in range(80) for i in rng.choice(np.arange(u % 2, 60, 2), 8, replace=False)]
    frame = pd.DataFrame(rows, columns=["user", "item"])
    frame["likes"], frame["colour"] = frame["user"] % 2, frame["item"] % 2
    batches = SparseNegSampleIter(frame, user_features=["likes"], item_features=["colour"], batch_size=256)
    block = made(GMF, batches, init_std=0.1)
    fit(block, batches, epochs=15, learning_rate=0.05)
    scores = score_catalogue(block, batches, np.arange(80))
    items = batches.interactions.item_ids.ids
    same = torch.from_numpy(np.arange(80)[:, None] % 2 == items % 2)
    assert scores[same].mean() > scores[~same].mean() + 1


def test_score_catalogue(shop: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = SparseNegSampleIter(shop, user_features=["age"], item_features=["shelf"])
    block = made(NeuMF, batches, init_std=0.5)
    start(block)
    users = np.array([3, 0, 29])
    scores = score_catalogue(block, batches, users)
    assert scores.shape == (3, shop.n_items)
    for row, user in enumerate(users):
        for item in (0, 7):
            one = block(
                mx.nd.array(batches.user_table[[user]], dtype="int32"),
                mx.nd.array(batches.item_table[[item]], dtype="int32"),
            )
            assert float(scores[row, item]) == pytest.approx(float(one.asscalar()), abs=1e-5)
    monkeypatch.setattr("recsys_lib.mx.fitting._PAIRS", shop.n_items)
    torch.testing.assert_close(score_catalogue(block, batches, torch.from_numpy(users)), scores)
    assert score_catalogue(block, batches, []).shape == (0, shop.n_items)
    for users in ([-1], [30]):
        with pytest.raises(DataError, match="user indices from 0 to 29"):
            score_catalogue(block, batches, users)


def test_divergence_is_named(split: Split) -> None:
    batches = SparseNegSampleIter(split.train)
    with pytest.raises(TrainingError, match=r"training diverged: .* it is 1e\+30\. Lower it"):
        fit(made(GMF, batches), batches, epochs=3, learning_rate=1e30, optimizer="sgd")


def test_bad_input_is_named(split: Split, shop: Interactions) -> None:
    batches = SparseNegSampleIter(split.train)
    block = made(GMF, batches)
    for options, error, words in (
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate must be greater than 0"),
        ({"valid": shop}, DataError, "share one id space"),
        ({"valid": split.valid.select(split.valid.users < 0)}, DataError, "valid holds no purchases"),
    ):
        with pytest.raises(error, match=words):
            fit(block, batches, **options)
    with pytest.raises(DataError, match="valid needs a SparseNegSampleIter"):
        fit(block, mx.io.ResizeIter(batches, 2), valid=split.valid)


def test_other_optimizers_and_a_progress_bar(split: Split, capsys: pytest.CaptureFixture[str]) -> None:
    batches = SparseNegSampleIter(split.train)
    for optimizer in ("adagrad", mx.optimizer.Adam(learning_rate=0.01, wd=1e-4)):
        history = fit(made(GMF, batches), batches, epochs=2, optimizer=optimizer, progress=True)
        assert history["loss"].iloc[1] < history["loss"].iloc[0]
    assert "GMF: 100%" in capsys.readouterr().err
    fit(made(GMF, batches), batches, epochs=1)
    assert capsys.readouterr() == ("", "")


def test_the_modules_of_mxnet(split: Split, caplog: pytest.LogCaptureFixture) -> None:
    """``Module.fit`` on the training iterator, ``Module.score`` on the other, with our metrics."""
    batches = SparseNegSampleIter(split.train, batch_size=256)
    block = made(GMF, batches, init_std=0.1)
    logits = block(mx.sym.var("user"), mx.sym.var("item"))
    output = mx.sym.LogisticRegressionOutput(logits, mx.sym.var("label"), name="bought")
    module = mx.mod.Module(output, data_names=("user", "item"), label_names=("label",))
    held_out = EvaluationIter(split.test, batches, num_negatives=20)
    with caplog.at_level(logging.INFO):
        module.fit(
            batches,
            eval_data=held_out,
            eval_metric=mx.metric.MSE(),
            validation_metric=mx.metric.create([HitRate(5), NDCG(5)]),
            optimizer="adam",
            optimizer_params={"learning_rate": 0.02},
            num_epoch=8,
            initializer=mx.init.Normal(0.1),
        )
    reports = [record.getMessage() for record in caplog.records]
    losses = [float(text.split("=")[1]) for text in reports if "Train-mse" in text]
    rates = [float(text.split("=")[1]) for text in reports if "Validation-hit_rate@5" in text]
    assert len(losses) == len(rates) == 8
    assert losses[-1] < losses[0]
    assert max(rates) > 1.3 * 5 / 21
    held_out.reset()
    scores = dict(module.score(held_out, [HitRate(5)]))
    assert scores["hit_rate@5"] == pytest.approx(rates[-1])


def test_a_loop_of_ones_own(split: Split) -> None:
    """Whole groups in a batch: the pairwise loss of BPR in five lines."""
    batches = SparseNegSampleIter(split.train, batch_size=250, num_negatives=4)
    block = made(GMF, batches, init_std=0.1)
    start(block)
    trainer = mx.gluon.Trainer(block.collect_params(), "adam", {"learning_rate": 0.02})
    means = []
    for _ in range(5):
        total = 0.0
        for batch in batches:
            with mx.autograd.record():
                logits = block(*batch.data).reshape((-1, 5))
                loss = mx.nd.Activation(logits[:, 1:] - logits[:, :1], act_type="softrelu").mean()
            loss.backward()
            trainer.step(1)
            total += loss.asscalar()
        means.append(total)
        batches.reset()
    assert means[-1] < 0.9 * means[0]


def test_the_loss_has_a_slope_at_a_logit_of_zero_and_does_not_overflow() -> None:
    logits = mx.nd.array([0.0, 0.0, 200.0, -200.0])
    labels = mx.nd.array([1.0, 0.0, 0.0, 1.0])

    class Given(mx.gluon.HybridBlock):
        def hybrid_forward(self, F: object, users: object, items: object) -> object:
            return users

    logits.attach_grad()
    with mx.autograd.record():
        loss = _Objective(Given())(logits, logits, labels)
    loss.backward()
    assert float(loss.asscalar()) == pytest.approx(2 * np.log(2) + 400, rel=1e-6)
    np.testing.assert_allclose(logits.grad.asnumpy(), [-0.5, 0.5, 1.0, -1.0], atol=1e-6)


def test_the_first_gpu_is_taken_when_mxnet_has_one(split: Split, monkeypatch) -> None:
    batches = SparseNegSampleIter(split.train, batch_size=1024)
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 1)
    monkeypatch.setattr(mx, "gpu", lambda: mx.cpu(2))  # a device that is there and is not the default
    block = made(GMF, batches)
    fit(block, batches, epochs=1)
    assert {p.data().context for p in block.collect_params().values()} == {mx.cpu(2)}
    # Scores and the exchange find it there.
    assert np.isfinite(score_catalogue(block, batches, np.arange(3))).all()
    assert np.isfinite(to_recommender(block, batches, "cpu").score()).all()
