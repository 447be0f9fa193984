"""What all row recommenders share: batches, the items of a batch, checkpoints, and how good they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from recsys_lib import Interactions, datasets, evaluate, splits
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.models import (
    IALS,
    BottleneckAutoencoder,
    DynamicAutoencoder,
    MatrixFactorization,
    MultDAE,
    MultVAE,
    Popularity,
    RecVAE,
)
from recsys_lib.models.rows import RowRecommender

SMALL: dict[str, Any] = {"device": "cpu", "batch_size": 16, "learning_rate": 0.01}
# Every family, and both ways to decode.
MAKE: dict[str, Any] = {
    "DynamicAutoencoder": lambda **o: DynamicAutoencoder(**SMALL | {"layers": (12, 8)} | o),
    "tied": lambda **o: DynamicAutoencoder(**SMALL | {"layers": (12, 8), "tied": True} | o),
    "MultDAE": lambda **o: MultDAE(**SMALL | {"layers": (12,)} | o),
    "BottleneckAutoencoder": lambda **o: BottleneckAutoencoder(**SMALL | {"layers": (12, 8)} | o),
    "MultVAE": lambda **o: MultVAE(**SMALL | {"layers": (12,), "factors": 6, "anneal_epochs": 4} | o),
    "RecVAE": lambda **o: RecVAE(**SMALL | {"width": 12, "factors": 6} | o),
    "MatrixFactorization": lambda **o: MatrixFactorization(**SMALL | {"factors": 12} | o),
}
every_family = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
both_ways = pytest.mark.parametrize("decode", ["all", "batch"])


@pytest.fixture(scope="module")
def small() -> Interactions:
    """61 users, so that the last batch of 16 is smaller; some items without anybody."""
    x = datasets.synthetic(61, 50, 900, seed=1)
    return x.select(x.items % 7 != 3)


def state_of(model: RowRecommender) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.net_.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def back_in_the_catalogue(histories: Histories, items: Tensor | None) -> Tensor:
    dense = histories.to_dense()
    if items is None:
        return dense
    whole = torch.zeros(len(histories), 50)
    whole[:, items] = dense
    return whole


# ---------------------------------------------------------------------- batches


@pytest.mark.parametrize(
    ("decode", "sampling_users", "sizes"),
    [
        ("all", None, [16, 16, 16, 13]),
        ("batch", None, [16, 16, 16, 13]),
        ("batch", 16, [16, 16, 16, 13]),
        ("batch", 40, [16, 16, 8, 16, 5]),
        ("batch", 500, [16, 16, 16, 13]),
    ],
)
def test_batches(small, decode: str, sampling_users: int | None, sizes: list[int]) -> None:
    options = {"decode": decode, "sampling_users": sampling_users, "epochs": 1}
    model = MAKE["DynamicAutoencoder"](**options).fit(small)
    batches = list(model._batches(torch.arange(61), torch.Generator().manual_seed(5)))
    assert [len(users) for users, _, _ in batches] == sizes
    assert model._n_batches(61) == len(sizes)
    assert sorted(torch.cat([users for users, _, _ in batches]).tolist()) == list(range(61))
    everything = small.histories().to_dense()
    for users, histories, items in batches:
        assert torch.equal(back_in_the_catalogue(histories, items), everything[users])
        assert histories.n_items == (50 if items is None else len(items))
    if decode == "all":
        assert all(items is None for _, _, items in batches)
        return
    # All parts of a group share the items that somebody in the group has, and no others.
    first = 0
    for group in torch.arange(61).split(sampling_users or 16):
        parts = batches[first : first + -(-len(group) // 16)]
        first += len(parts)
        users = torch.cat([part[0] for part in parts])
        assert len(users) == len(group)
        expected = everything[users].any(0).nonzero().flatten()
        assert all(torch.equal(items, expected) for _, _, items in parts)
    assert first == len(batches)


def test_people_without_items_are_in_no_batch(small) -> None:
    train = small.select(small.users % 5 != 2)
    model = MAKE["DynamicAutoencoder"](decode="batch", epochs=1).fit(train)
    data = model._prepare(train)
    users = torch.cat([users for users, _, _ in model._batches(data, torch.Generator().manual_seed(0))])
    assert sorted(users.tolist()) == [user for user in range(61) if user % 5 != 2]


@pytest.mark.parametrize("batch_size", [15, 20, 60, 64])
def test_batch_normalisation_is_given_no_batch_of_one(small, batch_size: int) -> None:
    model = BottleneckAutoencoder(layers=(4, 3), batch_size=batch_size, device="cpu").fit(small)
    generator = torch.Generator().manual_seed(0)
    sizes = [len(users) for users, _, _ in model._batches(torch.arange(61), generator)]
    expected = [len(part) for part in torch.arange(61).split(batch_size)]
    assert sizes == [size for size in expected if size > 1]
    assert (len(expected) > len(sizes)) == (batch_size != 64)
    assert int(model.net_.norm[0].num_batches_tracked) == len(sizes)


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad"])
@every_family
def test_decay_needs_an_optimizer_that_can_decay_some_rows(small, make: Any, optimizer: str) -> None:
    with pytest.raises(ValueError, match=r"weight_decay=0\.1 with decode='batch'"):
        make(decode="batch", optimizer=optimizer, weight_decay=0.1)
    model = make(decode="batch", optimizer=optimizer, clip_norm=1.0, epochs=1).fit(small)
    assert np.isfinite(model.score()).all()


# ---------------------------------------------------------------------- the items of a batch


@pytest.mark.parametrize("loss", ["multinomial", "logistic", "mse"])
@pytest.mark.parametrize("family", ["DynamicAutoencoder", "MatrixFactorization"])
def test_with_everybody_in_one_batch_both_ways_are_the_same(family: str, loss: str) -> None:
    """Everybody together have all items, and the lazy optimizer is Adam when every row has a gradient."""
    x = datasets.synthetic(61, 20, 600, seed=1)
    assert (x.item_counts() > 0).all()
    assert (x.user_counts() > 0).all()
    options = {"batch_size": 61, "epochs": 8, "loss": loss, "confidence": 2.0 * (loss == "mse")}
    options |= {"weight_decay": 0.01, "clip_norm": 0.5}
    if family == "DynamicAutoencoder":
        options["noise"] = 0.0
    one, other = (MAKE[family](decode=d, **options).fit(x) for d in ("all", "batch"))
    torch.testing.assert_close(state_of(other), state_of(one), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(other.history_["loss"], one.history_["loss"], rtol=1e-5)


@every_family
def test_items_that_nobody_has_never_rank_above_others(small, make: Any) -> None:
    options = {"decode": "batch", "epochs": 10, "learning_rate": 0.05}
    if make is MAKE["BottleneckAutoencoder"]:
        options |= {"output_bias": -40.0}
    model = make(**options).fit(small)
    unknown = small.item_counts() == 0
    assert unknown.sum() >= 7
    scores = model.score()
    assert np.isfinite(scores).all()
    assert (scores[:, unknown].max(1) < scores[:, ~unknown].min(1)).all()
    full = model.recommend(k=50, exclude_seen=False)
    absent = set(small.item_ids.take(np.flatnonzero(unknown)))
    last = full[full["rank"] > 50 - len(absent)]
    assert set(last["item"]) == absent


def test_long_training_does_not_push_known_items_below_unknown_ones(small) -> None:
    options = {"decode": "batch", "loss": "logistic", "noise": 0.0, "epochs": 100, "learning_rate": 0.05}
    model = DynamicAutoencoder(**SMALL | options | {"layers": (32,)}).fit(small)
    unknown, scores = small.item_counts() == 0, model.score()
    assert scores[:, ~unknown].min() < -20  # so that the test tests something
    assert (scores[:, unknown].max(1) < scores[:, ~unknown].min(1)).all()


@every_family
def test_half_precision_is_close(small, make: Any) -> None:
    for decode in ("all", "batch"):
        options = {"decode": decode, "epochs": 3, "noise": 0.0, "dropout": 0.0}
        options = {key: value for key, value in options.items() if key in make().__dict__}
        rough, exact = (make(precision=p, **options).fit(small) for p in ("bfloat16", "float32"))
        np.testing.assert_allclose(rough.history_["loss"], exact.history_["loss"], rtol=0.01)


# ---------------------------------------------------------------------- checkpoints


@every_family
@both_ways
def test_a_run_that_was_cut_off_ends_as_an_undisturbed_one(small, tmp_path, make: Any, decode: str) -> None:
    whole = make(decode=decode, epochs=6).fit(small)
    path = tmp_path / "run.pt"
    make(decode=decode, epochs=3).fit(small, checkpoint=path)
    resumed = make(decode=decode, epochs=6).fit(small, checkpoint=path, resume=True)
    assert same(state_of(resumed), state_of(whole))
    columns = ["epoch", "loss"]
    pd.testing.assert_frame_equal(resumed.history_[columns], whole.history_[columns])
    assert len(whole.history_) == 6


# ---------------------------------------------------------------------- how good they are

GOOD: dict[str, Any] = {
    "DynamicAutoencoder": {"layers": (32,), "epochs": 20},
    "tied": {"layers": (32,), "epochs": 20},
    "MultDAE": {"layers": (32, 16), "epochs": 20},
    "BottleneckAutoencoder": {"layers": (64, 32), "epochs": 6},
    "MultVAE": {"layers": (32,), "factors": 8, "epochs": 20, "anneal_epochs": 10},
    "RecVAE": {"width": 32, "factors": 8, "epochs": 5},
    "MatrixFactorization": {"factors": 16, "epochs": 30, "weight_decay": 0.01},
}


@pytest.fixture(scope="module")
def market() -> splits.Split:
    return splits.random_holdout(datasets.synthetic(300, 100, 6000, factors=4, taste=2.0, seed=4), seed=0)


@pytest.mark.parametrize("family", MAKE)
@both_ways
def test_they_are_better_than_popularity(market, family: str, decode: str) -> None:
    model = MAKE[family](batch_size=32, decode=decode, **GOOD[family]).fit(market.train)
    found = evaluate(model, market, 10, metrics=["ndcg"])["ndcg@10"]
    popular = evaluate(Popularity().fit(market.train), market, 10, metrics=["ndcg"])["ndcg@10"]
    assert found > 1.4 * popular
    if family == "MatrixFactorization":
        return  # it knows people by their number alone
    # People who are known by their items alone are given the same.
    known = model.recommend(k=5)
    seen = market.train.to_dataframe().groupby("user")["item"].agg(list)
    people = [seen[user] for user in model.user_ids.take(np.arange(300))]
    by_history = model.recommend_from_history(people, k=5)
    assert by_history["item"].tolist() == known["item"].tolist()
    np.testing.assert_allclose(by_history["score"], known["score"], rtol=1e-5)


@pytest.mark.parametrize("model", [MultDAE(layers=(4,), epochs=1), IALS(factors=2, epochs=1)])
def test_validation_on_people_without_a_history_is_refused(model: Any) -> None:
    x = datasets.synthetic(60, 20, 500, seed=0)
    parts = splits.held_out_users(x, 0.2, 0.2, seed=0)
    with pytest.raises(DataError, match="none of the 12 users in valid has a history in train"):
        model.fit(parts.train, parts.valid)
