"""Mult-VAE, against the formulas of Liang et al. (2018) with dense tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import normalize

from recsys_lib import Interactions, datasets
from recsys_lib.models import MultVAE
from recsys_lib.models.history_nets import ACTIVATIONS
from recsys_lib.models.variational_nets import VariationalNet, draw

N_USERS, N_ITEMS = 41, 30


@pytest.fixture(scope="module")
def data() -> Interactions:
    return datasets.synthetic(N_USERS, N_ITEMS, 500, seed=3)


def multvae(**options: Any) -> MultVAE:
    small = {"layers": (10, 7), "factors": 4, "batch_size": 10, "epochs": 2, "anneal_epochs": 3}
    return MultVAE(**small | {"device": "cpu", "learning_rate": 0.02} | options)


def plain_encoder(net: VariationalNet, x: Tensor, act: Any) -> tuple[Tensor, Tensor]:
    z = normalize(x) @ net.encoder.weight + net.encoder_bias
    for layer in net.encoding:
        z = act(z) @ layer.weight.T + layer.bias
    d = z.shape[1] // 2
    return z[:, :d], z[:, d:]


def plain_decoder(net: VariationalNet, z: Tensor, act: Any) -> Tensor:
    for layer in net.decoding:
        z = act(z @ layer.weight.T + layer.bias)
    return z @ net.decoder.weight.T + net.output_bias.weight


def test_sizes_mirror_each_other() -> None:
    net = multvae()._build(N_USERS, N_ITEMS, torch.Generator().manual_seed(0))
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters() if name.endswith("weight")}
    assert shapes == {
        "encoder.weight": (N_ITEMS, 10),
        "encoding.0.weight": (7, 10),
        "encoding.1.weight": (8, 7),
        "decoding.0.weight": (7, 4),
        "decoding.1.weight": (10, 7),
        "decoder.weight": (N_ITEMS, 10),
        "output_bias.weight": (N_ITEMS,),
    }


def test_a_draw_has_the_right_mean_and_variance() -> None:
    mean, log_variance = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.0, 3.0]])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = draw(mean.expand(100_000, 2), log_variance.expand(100_000, 2))
    torch.testing.assert_close(drawn.mean(0), mean[0], rtol=0, atol=0.06)
    torch.testing.assert_close(drawn.var(0), log_variance[0].exp(), rtol=0.03, atol=0)


@pytest.mark.parametrize("decode", ["all", "batch"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_loss_is_the_formula_of_the_paper(data, activation: str, decode: str) -> None:
    model = multvae(activation=activation, decode=decode, noise=0.0, kl_weight=0.3).fit(data)
    net, act = model.net_.train(), ACTIVATIONS[activation]
    batch = next(iter(model._batches(torch.arange(N_USERS), torch.Generator().manual_seed(0))))
    users, _, items = batch
    x = data.histories().select(users).to_dense()
    columns = slice(None) if items is None else items
    # 5 batches in an epoch and a rise over 3 epochs: the weight rises for 15 steps.
    for step, weight in ((0, 0.0), (1, 0.3 / 15), (7, 0.3 * 7 / 15), (15, 0.3), (16, 0.3), (10_000, 0.3)):
        net.steps.fill_(step)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(step)
            noise = torch.randn(len(users), 4)
            torch.manual_seed(step)
            found = model._loss(net, batch)
        assert net.steps == step + 1
        mean, log_variance = plain_encoder(net, x, act)
        sigma = (0.5 * log_variance).exp()
        logits = plain_decoder(net, mean + sigma * noise, act)[:, columns]
        likelihood = (logits.log_softmax(1) * x[:, columns]).sum(1)
        divergence = kl_divergence(Normal(mean, sigma), Normal(torch.zeros(4), torch.ones(4))).sum(1)
        expected = (weight * divergence - likelihood).mean()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        names, parameters = zip(*net.named_parameters(), strict=True)
        wanted = torch.autograd.grad(expected, parameters)
        net.zero_grad()
        found.backward()
        for name, p, slope in zip(names, parameters, wanted, strict=True):
            torch.testing.assert_close(p.grad.to_dense(), slope, rtol=1e-4, atol=1e-4, msg=name)


def test_the_noise_is_in_the_input_of_training(data) -> None:
    model = multvae(noise=0.5).fit(data)
    net, histories = model.net_, data.histories()
    quiet = net.eval().encode(histories)
    torch.testing.assert_close(quiet, plain_encoder(net, histories.to_dense(), torch.tanh))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        noisy = net.train().encode(histories)
    assert not torch.isclose(noisy[0], quiet[0]).any(1).all()


def test_without_a_rise_the_weight_is_at_its_height_at_once(data) -> None:
    model = multvae(anneal_epochs=0, noise=0.0, kl_weight=2.0).fit(data)
    batch = next(iter(model._batches(torch.arange(N_USERS), torch.Generator().manual_seed(0))))
    values = []
    for step in (0, 50):
        model.net_.steps.fill_(step)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            values.append(model._loss(model.net_, batch).item())
    assert values[0] == values[1]


@pytest.mark.parametrize("sampling_users", [None, 15, 30])
def test_the_rise_ends_with_its_epochs(data, sampling_users: int | None) -> None:
    model = multvae(epochs=3, anneal_epochs=3, decode="batch", sampling_users=sampling_users).fit(data)
    assert int(model.net_.steps) == model._rise


def test_the_steps_are_counted_across_a_checkpoint(data, tmp_path) -> None:
    path = tmp_path / "run.pt"
    multvae(epochs=2).fit(data, checkpoint=path)
    resumed = multvae(epochs=5).fit(data, checkpoint=path, resume=True)
    assert int(resumed.net_.steps) == 5 * 5
    whole = multvae(epochs=5).fit(data).net_.state_dict()
    assert all(torch.equal(value, whole[key]) for key, value in resumed.net_.state_dict().items())


def test_scores_come_from_the_mean(data) -> None:
    model = multvae().fit(data)
    mean, _ = plain_encoder(model.net_, data.histories().to_dense(), torch.tanh)
    expected = plain_decoder(model.net_, mean, torch.tanh).detach()
    scores = model.score()
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.score(), scores)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = model.net_.train()(data.histories())
    assert not np.allclose(drawn.detach(), scores, atol=1e-3)


def test_a_heavy_kl_term_pulls_everybody_to_the_standard_normal(data) -> None:
    def distance(kl_weight: float) -> Tensor:
        model = multvae(kl_weight=kl_weight, anneal_epochs=0, epochs=60).fit(data)
        mean, log_variance = model.net_.encode(data.histories())
        return mean.square().mean() + log_variance.square().mean()

    assert distance(100.0) < 0.02 < 1 < distance(0.01)
