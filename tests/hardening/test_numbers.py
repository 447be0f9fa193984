"""Extreme numbers: losses and metrics stay finite, what diverges says so, and gradients are right."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from recsys_lib import Interactions, evaluate, losses, metrics, splits
from recsys_lib.histories import Histories
from recsys_lib.models import EASE, GMF, IALS, BiasedMF, MultDAE, Popularity, Recommender
from recsys_lib.models._bags import sum_rows
from recsys_lib.models.rows import RowRecommender
from recsys_lib.models.sampled import SampledRecommender
from recsys_lib.ranking import top_k
from recsys_lib.sparse_rows import take_rows
from recsys_lib.training import TrainingError
from tests.hardening.common import FAMILIES, error_of, ratings, small, split

LISTS = Histories.from_lists([[0, 2], [], [0, 1, 2, 3]], n_items=4)
PAIRS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "logistic": losses.logistic,
    "bpr": losses.bpr,
    "hinge": losses.hinge,
    "warp": lambda p, n: losses.warp(p, n, n_items=50),
    "softmax": losses.sampled_softmax,
    "in-batch": lambda p, n: losses.in_batch_softmax(
        torch.cat([p[:, None], n], 1)[:2, :2], torch.tensor([3, 5])
    ),
}
ROWS: dict[str, Callable[[Tensor], Tensor]] = {
    "multinomial": lambda s: losses.multinomial(s, LISTS),
    "logistic": lambda s: losses.row_logistic(s, LISTS),
    "squared": lambda s: losses.row_squared_error(s, LISTS, 2.0),
}
EXTREMES = [1e4, -1e4, 0.0, 88.8, -103.98]
TYPES = [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("loss", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_losses_of_pairs_stay_finite(loss: Callable[..., Tensor], dtype: torch.dtype) -> None:
    for up in EXTREMES:
        for down in EXTREMES:
            positive = torch.full((2,), up, dtype=dtype, requires_grad=True)
            negative = torch.full((2, 3), down, dtype=dtype, requires_grad=True)
            value = loss(positive, negative)
            value.backward()
            assert value.isfinite()
            assert value >= 0
            assert positive.grad.isfinite().all()
            assert negative.grad.isfinite().all()


@pytest.mark.parametrize("loss", ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_losses_of_rows_stay_finite(loss: Callable[[Tensor], Tensor], dtype: torch.dtype) -> None:
    """Also for people with no item and with all of them, and for scores that are all alike."""
    for first in EXTREMES:
        for others in EXTREMES:
            scores = torch.full((3, 4), others, dtype=dtype)
            scores[:, 0] = first
            scores.requires_grad_()
            value = loss(scores)
            value.backward()
            assert value.isfinite()
            assert value >= 0
            assert scores.grad.isfinite().all()


@pytest.mark.parametrize("loss", [*ROWS.values()], ids=ROWS)
@pytest.mark.parametrize("bad", [float("inf"), float("nan")], ids=str)
def test_a_score_that_is_no_number_never_gives_a_number(loss: Callable[[Tensor], Tensor], bad: float) -> None:
    scores = torch.zeros(3, 4)
    scores[2, 1] = bad
    assert not loss(scores).isfinite()


def double(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("loss", PAIRS.values(), ids=PAIRS)
def test_gradients_of_pairs(loss: Callable[..., Tensor]) -> None:
    assert gradcheck(loss, (double(4), double(4, 3, seed=1)))


@pytest.mark.parametrize("loss", ROWS.values(), ids=ROWS)
def test_gradients_of_rows(loss: Callable[[Tensor], Tensor]) -> None:
    assert gradcheck(loss, (double(3, 4),))


def test_gradients_of_all_else_that_is_worked_out_by_hand() -> None:
    assert gradcheck(
        lambda z, v, b: losses.product_squared_error(z, v, b, LISTS, 1.5),
        (double(3, 2), double(4, 2, seed=1), double(4, seed=2)),
    )
    weights = torch.rand(len(LISTS.indices), dtype=torch.float64)
    assert gradcheck(lambda t: sum_rows(t, LISTS), (double(4, 3),))
    assert gradcheck(lambda t: sum_rows(t, LISTS, weights), (double(4, 3),))
    # A sparse gradient, which gradcheck does not take for a dense table.
    slopes = []
    for take in (take_rows, lambda t, rows: t[rows]):
        table = double(4, 3)
        take(table, torch.tensor([0, 2])).pow(3).sum().backward()
        slopes.append(table.grad.to_dense())
    torch.testing.assert_close(*slopes)
    assert gradcheck(losses.gaussian_kl, (double(3, 2), double(3, 2, seed=1)))
    assert gradcheck(lambda a, b: losses.l2_penalty(a, b), (double(3, 2), double(3, seed=1)))
    mask = torch.tensor([[True, False], [True, True]])
    assert gradcheck(lambda a, b: losses.squared_error(a, b, mask), (double(2, 2), double(2, 2, seed=1)))


# ---------------------------------------------------------------------- metrics


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_equal_scores_are_ranked_by_item(dtype: torch.dtype) -> None:
    for value in (0.0, 1e4, -1e4, float("inf")):
        _, columns = top_k(torch.full((2, 700), value, dtype=dtype), k=3)
        assert columns.tolist() == [[0, 1, 2]] * 2
        area = metrics.auc(torch.full((1, 4), value, dtype=dtype), torch.tensor([[True, False, False, True]]))
        assert area.tolist() == [0.5]


def test_metrics_of_users_with_no_and_with_all_items() -> None:
    relevant = Histories.from_lists([[], [0, 1, 2, 3]], n_items=4)
    hits = metrics.hits(torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]]), relevant)
    n = relevant.lengths()
    for values in (
        metrics.recall(hits, n, 4),
        metrics.ndcg(hits, n, 4),
        metrics.average_precision(hits, n, 4),
        metrics.hit_rate(hits, 4, n),
    ):
        assert values[0].isnan()
        assert values[1] == pytest.approx(1.0)
    assert metrics.auc(torch.zeros(2, 4), relevant.to_dense(torch.bool)).isnan().all()


def crowded() -> Interactions:
    """Ann has every item, Bob one, and one item belongs to Ann alone; Zoe is known by name only."""
    users = ["ann"] * 6 + ["bob"] + ["cat"] * 3 + ["dan"] * 3 + ["zoe"]
    items = [*range(6), 0, 1, 2, 3, 2, 3, 4, 0]
    x = Interactions.from_arrays(users, items, [3.0] * len(users))
    people = pd.DataFrame({"job": ["a", "b", "a", "b", "a"]}, index=["ann", "bob", "cat", "dan", "zoe"])
    return x.with_features(users=people).select(np.arange(len(users) - 1))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda one: one.__name__)
def test_people_with_all_items_one_and_none(family: type[Recommender]) -> None:
    x, model = crowded(), small(family)
    if isinstance(model, SampledRecommender):
        with pytest.raises(ValueError, match=r"have all 6 items.*'ann'.*Leave these users out"):
            model.fit(x)
        x = x.select(x.users != 0)
    model.fit(x)
    assert np.isfinite(model.score()).all()
    assert model.recommend(["zoe", "bob"], k=3).groupby("user").size().tolist() == [3, 3]
    left = model.recommend(["ann"], k=3)
    assert left.empty or isinstance(model, SampledRecommender)
    cut = splits.Split("by hand", x, None, Interactions.from_arrays(["zoe"], [5], [2.0], like=x))
    result = evaluate(model, cut, k=[1, 6], metrics=["ndcg", "recall", "auc", "novelty", "coverage", "gini"])
    assert np.isfinite(result.table["mean"]).all()


# ---------------------------------------------------------------------- divergence


@pytest.mark.parametrize("family", [GMF, BiasedMF, MultDAE], ids=lambda one: one.__name__)
def test_a_fit_that_diverges_says_so_and_leaves_no_model(family: type[Recommender]) -> None:
    model = small(family, learning_rate=1e38, optimizer="sgd", epochs=5)
    with pytest.raises(
        TrainingError,
        match=r"(in|after) epoch \d\. The usual cause .* is 1e\+38\. Lower it, or set clip_norm",
    ):
        model.fit(split().train)
    assert not model.is_fitted


def test_the_checkpoint_before_a_divergence_can_be_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third epoch is led astray. What is on disk are the first two, and they can be had."""
    path, data, epochs = tmp_path / "run.pt", split().train, []
    expected = small(GMF, epochs=2).fit(data, split().test)
    loss, model = GMF._loss, small(GMF, epochs=5)
    with monkeypatch.context() as patch:
        patch.setattr(GMF, "_loss", lambda *given: loss(*given) * (float("nan") if len(epochs) == 2 else 1))
        with pytest.raises(TrainingError, match="became nan in epoch 3") as caught:
            model.fit(data, split().test, checkpoint=path, callbacks=[epochs.append])
    assert not model.is_fitted
    (n,) = re.findall(r"epochs=(\d) and resume=True give it", str(caught.value))
    again = small(GMF, epochs=int(n)).fit(data, split().test, checkpoint=path, resume=True)
    assert len(again.history_) == 2
    pd.testing.assert_frame_equal(again.recommend(k=3), expected.recommend(k=3))


def test_weights_that_are_no_numbers_are_not_written(tmp_path: Path) -> None:
    """One step an epoch: the loss is that of before, and only the weights tell."""
    path = tmp_path / "run.pt"
    x = ratings().binarize()
    model = small(MultDAE, learning_rate=1e38, optimizer="sgd", batch_size=64, epochs=3)
    with pytest.raises(TrainingError, match="epoch"):
        model.fit(x, checkpoint=path)
    if path.exists():
        weights = torch.load(path, weights_only=True)["net"].values()
        assert all(bool(one.isfinite().all()) for one in weights)
    assert isinstance(model, RowRecommender)


TINY = [
    EASE(l2=1e-30, device="cpu"),
    IALS(l2=1e-300, factors=3, device="cpu"),
    IALS(unobserved_weight=1e-300, factors=3, device="cpu"),
]


@pytest.mark.parametrize("model", TINY, ids=repr)
def test_closed_forms_say_when_they_cannot_be_solved(model: Recommender) -> None:
    """Or they are solved: then all scores are numbers."""
    error = error_of(lambda: model.fit(ratings()))
    assert model.is_fitted == (error is None)
    assert "small" in str(error) if error else np.isfinite(model.score()).all()


def test_ratings_at_the_ends_of_single_precision() -> None:
    top = float(np.finfo(np.float32).max)
    x = Interactions.from_arrays([1, 1, 2, 2], [1, 2, 1, 2], [top, -top, 0.0, 1e-45])
    assert x.describe()["mean rating"] == pytest.approx(0.0, abs=1e30)
    model = small(BiasedMF)
    error = error_of(lambda: model.fit(x))
    assert model.is_fitted == (error is None)
    assert "epoch 1" in str(error) if error else np.isfinite(model.score()).all()
    assert Popularity(device="cpu").fit(x).is_fitted
