"""The network of prog-eval, against one of PyTorch's own modules, with its training."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recsys_lib import Interactions, datasets
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.models import BottleneckAutoencoder
from recsys_lib.models.history_nets import BottleneckNet


class Stock(nn.Module):
    """The same, from modules off the shelf and with the weights of ours."""

    def __init__(self, ours: BottleneckNet, dropout: float) -> None:
        super().__init__()
        (n_items, first), second = ours.encoder.weight.shape, ours.decoder.weight.shape[1]
        self.bag = nn.EmbeddingBag(n_items, first, mode="sum")
        self.bag_bias = nn.Parameter(ours.encoder_bias.detach().clone())
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.BatchNorm1d(first),
            nn.Dropout(dropout),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.BatchNorm1d(second),
            nn.Dropout(dropout),
            nn.Linear(second, n_items),
        )
        self.bag.weight.data.copy_(ours.encoder.weight)
        self.layers[3].load_state_dict(ours.middle.state_dict())
        self.layers[7].weight.data.copy_(ours.decoder.weight)
        self.layers[7].bias.data.copy_(ours.output_bias.weight)

    def forward(self, lists: list[list[int]]) -> Tensor:
        offsets = torch.tensor([0, *(len(one) for one in lists)]).cumsum(0)[:-1]
        return self.layers(self.bag(torch.tensor(list(chain.from_iterable(lists))), offsets) + self.bag_bias)

    def named(self) -> dict[str, Tensor]:
        """The state by the names that ours has."""
        state = {"encoder.weight": self.bag.weight, "encoder_bias": self.bag_bias}
        for k, norm in enumerate([self.layers[1], self.layers[5]]):
            state |= {f"norm.{k}.{key}": value for key, value in norm.state_dict().items()}
        state |= {f"middle.{key}": value for key, value in self.layers[3].named_parameters()}
        return state | {"decoder.weight": self.layers[7].weight, "output_bias.weight": self.layers[7].bias}


@pytest.fixture(scope="module")
def data() -> Interactions:
    return datasets.synthetic(320, 90, 4000, seed=2)


def lists_of(histories: Histories) -> list[list[int]]:
    return [histories.indices[a:b].tolist() for a, b in pairwise(histories.indptr.tolist())]


def test_it_is_trained_as_the_stock_modules_are(data, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    batches = BottleneckAutoencoder._batches

    def note(self: Any, *arguments: Any) -> Any:
        for batch in batches(self, *arguments):
            seen.append(batch[0])
            yield batch

    monkeypatch.setattr(BottleneckAutoencoder, "_batches", note)
    model = BottleneckAutoencoder(dropout=0.0, batch_size=64, device="cpu", layers=(80, 40)).fit(data)
    start = model._build(320, 90, torch.Generator().manual_seed(0))
    stock = Stock(start, dropout=0.0).train()
    optimizer, loss = torch.optim.Adam(stock.parameters(), lr=0.01), nn.BCEWithLogitsLoss()
    histories, losses = data.histories(), []
    assert [len(users) for users in seen] == [64] * 5
    for users in seen:
        part = histories.select(users)
        optimizer.zero_grad()
        value = loss(stock(lists_of(part)), part.to_dense())
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert model.history_["loss"].tolist() == pytest.approx([np.mean(losses)], rel=1e-5)
    found = model.net_.state_dict()
    assert found.keys() == stock.named().keys()
    for key, expected in stock.named().items():
        torch.testing.assert_close(found[key], expected, rtol=1e-4, atol=1e-5, msg=key)
        assert key.startswith("norm") or not torch.allclose(found[key], start.state_dict()[key], atol=1e-3)
    # The running means of batch normalisation serve for scoring.
    scores = stock.eval()(lists_of(histories))
    np.testing.assert_allclose(model.score(), scores.detach(), rtol=1e-4, atol=1e-4)


def test_the_settings_of_prog_eval() -> None:
    model = BottleneckAutoencoder()
    assert (model.layers, model.dropout, model.output_bias) == ((800, 400), 0.5, -10.0)
    assert (model.epochs, model.learning_rate, model.batch_size, model.optimizer) == (1, 0.01, 256, "adam")
    assert (model.loss, model.decode, model.weight_decay, model.schedule) == (
        "logistic",
        "all",
        0.0,
        "constant",
    )


def test_where_the_weights_start() -> None:
    net = BottleneckAutoencoder()._build(10, 3000, torch.Generator().manual_seed(0))
    assert net.encoder.weight.shape == (3000, 800)
    assert net.encoder.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert net.encoder.weight.mean().item() == pytest.approx(0, abs=1e-4)
    # A normal distribution, not another of that width.
    assert (net.encoder.weight.abs() < 0.01).float().mean().item() == pytest.approx(0.6827, abs=0.005)
    assert not net.encoder_bias.any()
    for weights, fan_in in ((net.middle.weight, 800), (net.middle.bias, 800), (net.decoder.weight, 400)):
        bound = fan_in**-0.5
        assert weights.abs().max() <= bound
        assert weights.abs().max() > 0.99 * bound
        assert weights.std().item() == pytest.approx(bound / 3**0.5, rel=0.08)
        assert weights.mean().item() == pytest.approx(0, abs=0.1 * bound)
    assert net.middle.weight.shape == (400, 800)
    assert net.decoder.weight.shape == (3000, 400)
    assert (net.output_bias.weight == -10).all()
    for norm, stock in zip(net.norm, (nn.BatchNorm1d(800), nn.BatchNorm1d(400)), strict=True):
        assert (norm.eps, norm.momentum) == (stock.eps, stock.momentum)
        assert (norm.weight == 1).all()
        assert not norm.bias.any()


def test_dropout_follows_the_norms_and_drops_half() -> None:
    net = BottleneckNet(50, (300, 200), generator=torch.Generator().manual_seed(0))
    given: list[Tensor] = []
    net.middle.register_forward_pre_hook(lambda layer, inputs: given.append(inputs[0]))
    histories = Histories.from_lists([[k, k + 1, 2 * k] for k in range(20)], 50)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net(histories)
    assert (given[0] == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    net.eval()(histories)
    assert (given[1] == 0).float().mean().item() < 0.01


def test_the_loss_of_a_batch_is_a_mean_over_the_items_that_are_decoded() -> None:
    x = Interactions.from_arrays(list("aabbccd"), list("xyyzxzx"))
    for decode in ("all", "batch"):
        model = BottleneckAutoencoder(layers=(4, 3), decode=decode, device="cpu").fit(x)
        logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
        expected = nn.BCEWithLogitsLoss()(logits, x.histories().to_dense())
        model._logits = lambda net, batch, logits=logits: logits
        batch = torch.arange(4), x.histories(), None
        torch.testing.assert_close(model._loss(model.net_, batch), expected)


def test_one_person_is_not_enough() -> None:
    x = Interactions.from_arrays(list("aaa"), list("xyz"))
    with pytest.raises(DataError, match=r"BottleneckAutoencoder needs at least 2 users with items.* has 1"):
        BottleneckAutoencoder(layers=(4, 3)).fit(x)
    two = Interactions.from_arrays(list("aab"), list("xyz"))
    with pytest.raises(DataError, match="at least 2 users"):
        BottleneckAutoencoder(layers=(4, 3)).fit(two.select(np.array([True, True, False])))
    assert BottleneckAutoencoder(layers=(4, 3)).fit(two).is_fitted
