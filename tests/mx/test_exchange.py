"""Weights to PyTorch and back: the same scores on both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recsys_lib import Interactions, evaluate, load, models
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.models.embeddings import IdEmbedding
from recsys_lib.models.pair_nets import GMFNet, MLPNet, NeuMFNet, PairNet
from recsys_lib.mx import (
    GMF,
    MLP,
    NeuMF,
    SparseNegSampleIter,
    fit,
    load_mxnet,
    load_torch_state,
    score_catalogue,
    start,
    to_recommender,
    to_torch_state,
)
from recsys_lib.splits import Split

mx = load_mxnet()

FEATURES = {"user_features": ["age", "city"], "item_features": ["shelf"]}


def twin(batches: SparseNegSampleIter, family: type, factors: int, seed: int = 0) -> PairNet:
    """The PyTorch network of the same name, with weights of its own."""
    generator = torch.Generator().manual_seed(seed)

    def categories(table: np.ndarray, sizes: tuple[int, ...]) -> Histories | None:
        if len(sizes) == 1:
            return None
        before = np.cumsum([0, *sizes[1:-1]])
        return Histories.from_lists((table[:, 1:] + before).tolist(), sum(sizes[1:]))

    def sides(dim: int) -> list[IdEmbedding]:
        both = (batches.user_table, batches.user_vocab_sizes), (batches.item_table, batches.item_vocab_sizes)
        return [
            IdEmbedding(len(table), dim, categories(table, sizes), init_std=0.5, generator=generator)
            for table, sizes in both
        ]

    def gmf(bias: bool) -> GMFNet:
        net = GMFNet(*sides(factors), bias=bias)
        torch.nn.init.normal_(net.output.weight, generator=generator)
        return net

    widths = [4 * factors, 2 * factors, factors]
    if family is GMF:
        return gmf(bias=True)
    if family is MLP:
        return MLPNet(*sides(2 * factors), widths, generator=generator)
    return NeuMFNet(gmf(bias=False), MLPNet(*sides(2 * factors), widths, generator=generator))


@pytest.mark.parametrize("features", [{}, FEATURES], ids=["ids", "features"])
@pytest.mark.parametrize("family", [GMF, MLP, NeuMF])
def test_both_sides_score_alike(shop: Interactions, family: type, features: dict[str, list[str]]) -> None:
    batches = SparseNegSampleIter(shop, **features)
    block = family(batches.user_vocab_sizes, batches.item_vocab_sizes, 4, init_std=0.5)
    start(block, seed=3)
    net = twin(batches, family, 4)
    users = torch.arange(shop.n_users)
    # From MXNet to PyTorch.
    state = to_torch_state(block, batches)
    assert net.load_state_dict(state).missing_keys == []
    ours = score_catalogue(block, batches, users)
    with torch.no_grad():
        torch.testing.assert_close(net.catalogue(users), ours, rtol=1e-5, atol=1e-5)
    # And back, from other weights, to a block with weights and to one without.
    net = twin(batches, family, 4, seed=9)
    fresh = family(batches.user_vocab_sizes, batches.item_vocab_sizes, 4)
    for target in (block, fresh):
        load_torch_state(target, net.state_dict(), batches)
        with torch.no_grad():
            theirs = net.catalogue(users)
        torch.testing.assert_close(score_catalogue(target, batches, users), theirs, rtol=1e-5, atol=1e-5)
    assert (theirs - ours).abs().max() > 0.1
    for name, value in to_torch_state(fresh, batches).items():
        torch.testing.assert_close(value, net.state_dict()[name], rtol=0, atol=0)


def test_the_state_is_a_copy(shop: Interactions) -> None:
    batches = SparseNegSampleIter(shop)
    block = GMF(batches.user_vocab_sizes, batches.item_vocab_sizes)
    start(block)
    before = score_catalogue(block, batches, [0])
    for value in to_torch_state(block).values():
        value.fill_(7)
    torch.testing.assert_close(score_catalogue(block, batches, [0]), before)


@pytest.mark.parametrize("features", [{}, FEATURES], ids=["ids", "features"])
@pytest.mark.parametrize("family", [GMF, MLP, NeuMF])
def test_a_recommender_of_a_block(
    shop: Interactions, family: type, features: dict[str, list[str]], tmp_path: Path
) -> None:
    batches = SparseNegSampleIter(shop, **features)
    block = family(batches.user_vocab_sizes, batches.item_vocab_sizes, 4, init_std=0.5)
    start(block, seed=3)
    model = to_recommender(block, batches, device="cpu")
    assert type(model) is getattr(models, family.__name__)
    assert model.is_fitted
    ours = score_catalogue(block, batches, torch.arange(shop.n_users)).numpy()
    np.testing.assert_allclose(model.score(), ours, rtol=1e-5, atol=1e-5)
    shown = model.recommend(["u03"], k=4)
    bought = set(shop.to_dataframe().query("user == 'u03'")["item"])
    assert len(shown) == 4
    assert not bought & set(shown["item"])
    model.save(tmp_path / "model.pt")
    np.testing.assert_array_equal(load(tmp_path / "model.pt", device="cpu").score(), model.score())


@pytest.mark.parametrize(("layers", "length"), [(0, None), (1, None), (2, 5)])
def test_other_towers(shop: Interactions, layers: int, length: int | None) -> None:
    batches = SparseNegSampleIter(shop)
    for family in (MLP, NeuMF):
        tower = {"layers": layers, "embedding_dim": length, "init_std": 0.5}
        block = family(batches.user_vocab_sizes, batches.item_vocab_sizes, 3, **tower)
        start(block)
        model = to_recommender(block, batches, "cpu")
        assert model.layers == layers
        ours = score_catalogue(block, batches, [5]).numpy()
        np.testing.assert_allclose(model.score(["u05"]), ours, rtol=1e-5, atol=1e-5)


def test_a_fitted_model_goes_to_mxnet(split: Split) -> None:
    model = models.NeuMF(factors=4, epochs=2, device="cpu").fit(split.train)
    batches = SparseNegSampleIter(split.train)
    block = NeuMF(batches.user_vocab_sizes, batches.item_vocab_sizes, 4)
    load_torch_state(block, model.net_.state_dict())
    ours = score_catalogue(block, batches, torch.arange(split.train.n_users)).numpy()
    np.testing.assert_allclose(
        model.net_.catalogue(torch.arange(split.train.n_users)).detach(), ours, atol=1e-5
    )


def test_evaluated_like_any_model(split: Split) -> None:
    batches = SparseNegSampleIter(split.train, batch_size=256)
    block = NeuMF(batches.user_vocab_sizes, batches.item_vocab_sizes, 8, init_std=0.1)
    fit(block, batches, epochs=10, learning_rate=0.02)
    ours = evaluate(to_recommender(block, batches, "cpu"), split, metrics=["ndcg"])["ndcg@10"]
    # The chance of 10 random items out of about 130, were all hits in the first place.
    assert ours > 10 / 130


def test_a_state_that_does_not_fit_is_named(shop: Interactions) -> None:
    batches = SparseNegSampleIter(shop, **FEATURES)
    sizes = batches.user_vocab_sizes, batches.item_vocab_sizes
    block, mlp, longer = GMF(*sizes), MLP(*sizes), GMF(*sizes, 9)
    for one in (block, mlp, longer):
        start(one)
    state = to_torch_state(block, batches)
    with pytest.raises(DataError, match=r"does not fit MLP: it has .*'output.bias'"):
        load_torch_state(mlp, state, batches)
    before = score_catalogue(longer, batches, [0])
    with pytest.raises(DataError, match=r"item.features has shape \(5, 8\), and in the block \(5, 9\)"):
        load_torch_state(longer, state, batches)
    torch.testing.assert_close(score_catalogue(longer, batches, [0]), before)
    with pytest.raises(DataError, match="needs train="):
        load_torch_state(block, state)
    with pytest.raises(DataError, match="needs train="):
        to_torch_state(block)
    with pytest.raises(DataError, match=r"user\.codes: the network has other categories"):
        load_torch_state(block, state | {"user.codes": state["user.codes"].flip(0)}, batches)
    with pytest.raises(DataError, match=r"item\.ids has 24 rows, and the iterator knows 20 ids"):
        to_torch_state(
            block, SparseNegSampleIter(shop.select(shop.users < 3).compact(), **FEATURES, num_negatives=0)
        )
    dense = mx.gluon.nn.Dense(1)
    for call in (to_torch_state, lambda b: load_torch_state(b, {}), lambda b: to_recommender(b, batches)):
        with pytest.raises(TypeError, match=r"must be a GMF, MLP or NeuMF .* got a Dense"):
            call(dense)
