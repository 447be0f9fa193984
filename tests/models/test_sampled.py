"""What all models share that learn from sampled negatives. What one of them adds is in its own file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import recsys_lib
from recsys_lib import Interactions, datasets, losses, splits, training
from recsys_lib.errors import DataError
from recsys_lib.evaluation import SampledMetricsWarning, evaluate
from recsys_lib.evaluation.candidates import candidate_lists
from recsys_lib.models import BPR, GMF, MLP, LogisticMF, NeuMF
from recsys_lib.models.sampled import LOSSES, SAMPLERS, SampledRecommender
from tests.models.board import CATALOGUE, ITEMS, SIZE, USERS, checkerboard, per_user

BOARD = checkerboard()
SAME_COLOUR = np.add.outer(np.arange(SIZE), np.arange(SIZE)) % 2 == 0


def small(**parameters: Any) -> LogisticMF:
    settings = {
        "factors": 4,
        "l2": 0.1,
        "negatives": 4,
        "batch_size": 16,
        "epochs": 20,
        "learning_rate": 0.05,
    }
    return LogisticMF(**({"device": "cpu"} | settings | parameters))


def share_right(model: SampledRecommender) -> float:
    """How often an item of the user's colour, had or withheld, is scored above one of the other colour."""
    scores = model.score(USERS, ITEMS)
    pairs = [row[same][:, None] > row[~same] for row, same in zip(scores, SAME_COLOUR, strict=True)]
    return float(np.mean(pairs))


def prepared(model: SampledRecommender, data: Interactions = BOARD) -> tuple[SampledRecommender, Any]:
    """A model in the middle of fit, and the data of its batches."""
    model._wear(data.user_ids, data.item_ids, data.histories("cpu"))
    model._categories = (None, None)
    model.net_ = model._new_net()
    return model, model._prepare(data)


def skewed() -> Interactions:
    """Four users and five items, the first of which everybody has."""
    return Interactions.from_arrays(list("aaabbccdd"), [0, 1, 2, 0, 1, 0, 3, 0, 4])


def films(board: Interactions = BOARD) -> Interactions:
    """The board, with the colour and another property of each item, and the colour of each user."""
    colour = ["even", "odd"] * (SIZE // 2)
    items = pd.DataFrame(
        {"colour": [*colour, "odd"], "decade": [1990, None, 2000] * 4 + [2000]}, index=CATALOGUE
    )
    return board.with_features(items=items, users=pd.DataFrame({"team": colour}, index=USERS))


# ---------------------------------------------------------------------- learning


def test_small_steps_have_one_thread_and_large_ones_all(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int | None] = []
    real = training.train
    monkeypatch.setattr(training, "train", lambda *a, **k: (seen.append(k["threads"]), real(*a, **k))[1])
    for model in (
        NeuMF(factors=8, batch_size=256),
        NeuMF(factors=8, batch_size=4096),
        BPR(factors=64, batch_size=256, sampler="hard", pool=8),
        BPR(factors=64, batch_size=256, sampler="hard", pool=80),
        MLP(factors=64, layers=3, batch_size=64),
    ):
        model.epochs, model.device = 1, "cpu"
        model.fit(BOARD)
    assert seen == [1, None, 1, None, None]


@pytest.mark.parametrize(
    ("sampler", "loss"),
    [
        (s, loss)
        for s in SAMPLERS
        for loss in LOSSES
        if loss == "softmax" or (s != "in-batch" and (s, loss) != ("hard", "warp"))
    ],
)
def test_every_sampler_learns_with_every_loss(sampler: str, loss: str) -> None:
    model = small(sampler=sampler, loss=loss, pool=6)
    assert share_right(model.fit(BOARD)) > 0.97
    first, last = model.history_["loss"].iloc[[0, -1]]
    assert last < first


@pytest.mark.parametrize("family", [LogisticMF, GMF, MLP, NeuMF])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_net_learns_with_every_loss_in_bfloat16(family: type[SampledRecommender], loss: str) -> None:
    settings: dict[str, Any] = {"loss": loss, "precision": "bfloat16", "l2": 0.02, "init_std": 0.1}
    model = family(factors=8, batch_size=32, epochs=8, learning_rate=0.03, device="cpu", **settings)
    assert share_right(model.fit(BOARD)) > 0.85
    assert all(weights.dtype == torch.float32 for weights in model.net_.parameters())


@pytest.mark.parametrize(
    ("sampler", "loss"), [("in-batch", "softmax"), *(("uniform", loss) for loss in LOSSES)]
)
def test_losses_are_computed_in_single_precision(sampler: str, loss: str) -> None:
    model, data = prepared(small(sampler=sampler, loss=loss, l2=0.0))
    model.net_ = MLP(factors=4)._make_net(SIZE + 1, SIZE + 1, None, None, torch.Generator().manual_seed(0))
    batch = next(iter(model._batches(data, torch.Generator().manual_seed(0))))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.net_(*batch[:2]).dtype == torch.bfloat16
        assert model._loss(model.net_, batch).dtype == torch.float32


def test_a_sorted_pool_and_the_rank_of_warp_do_not_go_together() -> None:
    with pytest.raises(ValueError, match=r"loss='warp' reads a rank .*sampler='hard'"):
        small(sampler="hard", loss="warp", pool=6)


def test_four_negatives_and_the_log_loss_are_the_default() -> None:
    for family in (GMF, MLP, NeuMF):
        model = family()
        assert (model.negatives, model.loss, model.sampler) == (4, "logistic", "uniform")
    assert (BPR().loss, LogisticMF().loss) == ("bpr", "logistic")


def test_one_interaction_is_enough() -> None:
    data = Interactions.from_arrays(["ann", "bob"], ["tea", "jam"]).select([0])
    for sampler in ("uniform", "popularity", "hard"):
        model = small(sampler=sampler, epochs=5, pool=4).fit(data)
        assert model.recommend(["ann"], k=1, exclude_seen=False)["item"].tolist() == ["tea"]
    # A batch of one row has no negatives, and nothing is learned from it.
    alone = small(sampler="in-batch", loss="softmax", epochs=1, l2=0.0).fit(data)
    assert alone.history_["loss"].tolist() == [0.0]


def test_a_user_with_the_whole_catalogue() -> None:
    everything = Interactions.from_arrays([0, 0, 1], [0, 1, 0])
    model = small(epochs=1).fit(everything.select([1, 2]))
    with pytest.raises(DataError, match=r"1 user\(s\) have all 2 items.*: 0\. Leave these users out"):
        model.fit(everything)
    assert model.is_fitted  # refused before anything was lost
    small(sampler="in-batch", loss="softmax").fit(everything)  # draws nothing


# ---------------------------------------------------------------------- batches


@pytest.mark.parametrize("drawn_at_once", [1, 100, 2**18])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_epoch_is_every_interaction_once(
    sampler: str, drawn_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys_lib.models.sampled._DRAWN_AT_ONCE", drawn_at_once)
    model, data = prepared(small(sampler=sampler, loss="softmax", negatives=3, pool=5, batch_size=7))
    drawn: list[int] = []
    if model._sampler is not None:
        draw = model._sampler.draw
        model._sampler.draw = lambda users, n, generator: (
            drawn.append(len(users) * n) or draw(users, n, generator)
        )
    batches = list(model._batches(data, torch.Generator().manual_seed(1)))
    assert max(drawn, default=0) <= max(drawn_at_once, 7 * 5)
    assert [len(users) for users, _, _ in batches[:-1]] == [7] * (len(BOARD) // 7)
    assert all((known is None) == (sampler != "in-batch") for _, _, known in batches)
    users = torch.cat([users for users, _, _ in batches])
    items = torch.cat([items if items.ndim == 1 else items[:, 0] for _, items, _ in batches])
    assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == sorted(
        zip(BOARD.users.tolist(), BOARD.items.tolist(), strict=True)
    )
    for users, items, known in batches:
        if known is not None:
            rows = users.unsqueeze(1).expand_as(known)
            assert torch.equal(known, model.seen_.contains(rows, items.expand(len(users), -1)))
        else:
            others = items[:, 1:]
            rows = users.unsqueeze(1).expand_as(others)
            assert others.shape == (len(users), 3)
            assert not model.seen_.contains(rows, others).any()
    # Every epoch has an order and negatives of its own.
    running = torch.Generator().manual_seed(1)
    one, other = (next(iter(model._batches(data, running))) for _ in range(2))
    assert not torch.equal(one[1], other[1])


def test_hard_negatives_are_the_best_of_the_pool() -> None:
    model, data = prepared(MLP(factors=2, dropout=0.5, sampler="hard", negatives=2, pool=500, init_std=1.0))
    model.net_.train()
    before = torch.get_rng_state()
    users, items, _ = next(iter(model._batches(data, torch.Generator().manual_seed(1))))
    # Dropout has no say in it, and goes on afterwards.
    assert torch.equal(torch.get_rng_state(), before)
    assert model.net_.training
    # In a pool this large are all free items, the best one many times.
    scores = (
        model.net_.eval().catalogue(users).masked_fill(model.seen_.select(users).to_dense(torch.bool), -1e9)
    )
    assert torch.equal(items[:, 1:], scores.argmax(1, keepdim=True).expand(-1, 2))


# ---------------------------------------------------------------------- the loss


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_the_loss_of_a_batch(loss: str, l2: float) -> None:
    model, _ = prepared(small(loss=loss, l2=l2, margin=0.7, init_std=1.0, negatives=3))
    users, items = torch.tensor([0, 3, 3]), torch.tensor([2, 1, 5])
    others = torch.tensor([[1, 3, 1], [0, 2, 4], [6, 8, 12]])
    positive, negative = model.net_(users, items), model.net_(users, others)
    expected = {
        "logistic": lambda: losses.logistic(positive, negative),
        "bpr": lambda: losses.bpr(positive, negative),
        "hinge": lambda: losses.hinge(positive, negative, margin=0.7),
        "warp": lambda: losses.warp(positive, negative, n_items=SIZE + 1, margin=0.7),
        "softmax": lambda: losses.sampled_softmax(positive, negative),
    }[loss]()
    pairs = torch.cat([items[:, None], others], dim=1)
    expected = expected + l2 * model.net_.penalty(users, pairs)
    torch.testing.assert_close(model._loss(model.net_, (users, pairs, None)), expected)


def test_the_softmax_is_corrected_for_popular_negatives() -> None:
    model, _ = prepared(small(sampler="popularity", alpha=0.5, loss="softmax", l2=0.0), skewed())
    users, items, others = torch.tensor([0, 3]), torch.tensor([0, 4]), torch.tensor([[3, 4], [1, 2]])
    counts = torch.from_numpy(skewed().item_counts()).double()
    log_q = torch.log(counts.sqrt() / counts.sqrt().sum()).float()
    expected = losses.sampled_softmax(
        model.net_(users, items), model.net_(users, others), log_q[items], log_q[others]
    )
    pairs = torch.cat([items[:, None], others], dim=1)
    torch.testing.assert_close(model._loss(model.net_, (users, pairs, None)), expected)


def test_the_in_batch_loss() -> None:
    model, _ = prepared(small(sampler="in-batch", loss="softmax", l2=0.2, init_std=1.0), skewed())
    users, items = torch.tensor([0, 3, 1]), torch.tensor([0, 1, 4])
    known = torch.tensor([[True, False, False], [False, True, False], [False, True, True]])
    log_q = torch.log(torch.from_numpy(skewed().item_counts() / 9)).float()
    scores = model.net_.catalogue(users)[:, items]
    expected = losses.in_batch_softmax(scores, items, log_q[items], known)
    expected = expected + 0.2 * model.net_.penalty(users, items[:, None])
    torch.testing.assert_close(model._loss(model.net_, (users, items, known)), expected)


# ---------------------------------------------------------------------- the record


@pytest.mark.parametrize("sampler", ["uniform", "popularity", "hard"])
def test_the_negatives_can_be_kept(sampler: str) -> None:
    model = small(epochs=2, negatives=1, pool=2, sampler=sampler, record_negatives=True).fit(BOARD)
    drawn = model.negatives_drawn_
    rows, items = drawn.pairs()
    assert not model.seen_.contains(rows, items).any()
    n = 2 if sampler == "hard" else 1
    assert len(USERS) <= len(rows) <= 2 * n * len(BOARD)
    # Without positives there is nothing to compare with.
    assert drawn.lengths()[int(BOARD.user_ids.indices(["nobody"])[0])] == 0
    # To keep them changes nothing else.
    without = small(epochs=2, negatives=1, pool=2, sampler=sampler).fit(BOARD)
    assert torch.equal(without.net_.user.ids, model.net_.user.ids)
    assert not hasattr(without, "negatives_drawn_")


def test_candidates_without_the_negatives_of_training() -> None:
    split = splits.leave_last_out(datasets.synthetic(30, 900, 600, seed=1))
    model = small(epochs=3, negatives=2, record_negatives=True).fit(split.train)
    with pytest.warns(SampledMetricsWarning):
        result = evaluate(model, split, candidates=99, exclude=model.negatives_drawn_)
    assert "excluded" in result.protocol
    relevant = split.test.histories()
    users = relevant.lengths().nonzero()[:, 0]
    lists, _ = candidate_lists(
        99, split, split.test, users, relevant.select(users), 0, model.negatives_drawn_
    )
    rows, items = lists.pairs()
    held_out = relevant.select(users).contains(rows, items)
    assert (~held_out).sum() == 99 * len(users)
    assert not model.negatives_drawn_.select(users).contains(rows[~held_out], items[~held_out]).any()


def test_a_record_cannot_be_resumed(tmp_path: Any) -> None:
    file = tmp_path / "checkpoint.pt"
    model = small(epochs=2, record_negatives=True).fit(BOARD, checkpoint=file, resume=True)
    assert len(model.negatives_drawn_.indices)
    with pytest.raises(ValueError, match="record_negatives=True: a checkpoint does not hold"):
        model.fit(BOARD, checkpoint=file, resume=True)


# ---------------------------------------------------------------------- features


def test_a_new_item_is_recommended_for_its_features() -> None:
    data = films()
    model = small(item_features=["colour"], sampler="popularity", l2=0.02, epochs=30).fit(data)
    ranked = per_user(model.recommend(USERS, k=100, exclude_seen=False))
    own = {user: ranked[user].index("unheard") for user in USERS}
    odd, even = set(USERS[1::2]), set(USERS[::2])
    # Its colour is odd: among the first half for odd users, behind it for even ones.
    assert max(own[user] for user in odd) <= SIZE // 2
    assert min(own[user] for user in even) >= SIZE // 2 - 1
    plain = small(sampler="popularity", l2=0.02, epochs=30).fit(data)
    assert abs(plain.net_.item.ids[-1].norm()) < 0.5 * model.net_.item.all()[-1].norm()


@pytest.mark.parametrize("family", [BPR, GMF, MLP, NeuMF])
def test_features_are_kept_with_the_model(family: type[SampledRecommender], tmp_path: Any) -> None:
    parameters = {"user_features": ["team"], "item_features": ["decade", "colour"], "epochs": 2}
    model = family(factors=4, device="cpu", **parameters).fit(films())
    model.save(tmp_path / "model.pt")
    loaded = recsys_lib.load(tmp_path / "model.pt", device="cpu")
    assert loaded.item_features == model.item_features == ("decade", "colour")
    np.testing.assert_array_equal(loaded.score(), model.score())
    pd.testing.assert_frame_equal(loaded.similar_items(["i00"]), model.similar_items(["i00"]))
    # It learns from other features when it is fitted again.
    assert loaded.fit(films(BOARD).compact()).score().shape == (SIZE, SIZE)


def test_missing_features_are_named() -> None:
    with pytest.raises(DataError, match=r"item_features asks for \['year'\].*'colour', 'decade'"):
        small(item_features=["colour", "year"]).fit(films())
    with pytest.raises(DataError, match="training data has no user_features"):
        small(user_features=["team"]).fit(BOARD)


def test_a_checkpoint_of_other_features_is_refused(tmp_path: Any) -> None:
    file, data = tmp_path / "checkpoint.pt", films()
    model = small(item_features=["colour"], epochs=1)
    model.fit(data, checkpoint=file)
    other = data.with_features(items=pd.DataFrame({"colour": ["odd", "even"] * 6 + ["odd"]}, index=CATALOGUE))
    with pytest.raises(ValueError, match="categories="):
        model.fit(other, checkpoint=file, resume=True)
    model.epochs = 2
    assert len(model.fit(data, checkpoint=file, resume=True).history_) == 2


# ---------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"sampler": "in-batch"}, "sampler='in-batch' needs loss='softmax', got loss='logistic'"),
        ({"sampler": "in-batch", "loss": "softmax", "record_negatives": True}, "draws nothing to record"),
        ({"sampler": "hard", "negatives": 4, "pool": 3}, "pool must be at least 4"),
        ({"item_features": "genres"}, "item_features must be a list of names of columns, got 'genres'"),
        ({"user_features": [1]}, r"user_features must be a list of names of columns, got \[1\]"),
        ({"user_features": None}, "user_features must be a list of names of columns, got None"),
        ({"record_negatives": "yes"}, "record_negatives"),
    ],
)
def test_bad_combinations_are_named(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        small(**parameters)


def test_numbers_of_numpy_are_parameters_too(tmp_path: Any) -> None:
    numbers = {
        "negatives": np.int64(2),
        "pool": np.int32(3),
        "l2": np.float32(0.1),
        "batch_size": np.int64(9),
    }
    model = small(epochs=1, sampler="hard", factors=np.int64(2), **numbers).fit(
        BOARD, checkpoint=tmp_path / "checkpoint.pt"
    )
    model.epochs = 2
    assert len(model.fit(BOARD, checkpoint=tmp_path / "checkpoint.pt", resume=True).history_) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("family", [LogisticMF, NeuMF])
def test_no_step_on_a_gpu_makes_the_host_wait(family: type[SampledRecommender], sampler: str) -> None:
    def step(batch: Any) -> None:
        model._loss(model.net_, batch).backward()

    model = family(factors=4, sampler=sampler, loss="softmax", l2=0.1, device="cuda")
    model._wear(BOARD.user_ids, BOARD.item_ids, BOARD.histories("cuda"))
    model._categories = (None, None)
    model.net_ = model._new_net().to("cuda")
    data, generator = model._prepare(BOARD), torch.Generator("cuda").manual_seed(0)
    step(next(iter(model._batches(data, generator))))  # what is made once is made
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in model._batches(data, generator):
            step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(weights.grad.isfinite().all() for weights in model.net_.parameters())
