"""RecVAE, against a reading of Shenbin et al. (2020) with dense tensors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import normalize

from recsys_lib import Interactions, datasets
from recsys_lib.models import RecVAE
from recsys_lib.models.variational_nets import RecVAEEncoder, RecVAENet, log_normal

N_USERS, N_ITEMS = 41, 30


@pytest.fixture(scope="module")
def data() -> Interactions:
    return datasets.synthetic(N_USERS, N_ITEMS, 500, seed=3)


@pytest.fixture(scope="module")
def model(data) -> RecVAE:
    """A model whose encoder is no longer what the prior remembers, and without noise."""
    fitted = recvae(noise=0.0).fit(data)
    with torch.no_grad():
        for k, p in enumerate(fitted.net_.encoder.parameters()):
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(k)))
    return fitted


def recvae(**options: Any) -> RecVAE:
    small = {"width": 8, "factors": 3, "batch_size": 10, "epochs": 2, "learning_rate": 0.02}
    return RecVAE(**small | {"device": "cpu", "kl_weight": 0.05} | options)


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def plain_encoder(encoder: RecVAEEncoder, x: Tensor) -> tuple[Tensor, Tensor]:
    def norm(k: int, h: Tensor) -> Tensor:
        stock = nn.LayerNorm(h.shape[1], eps=0.1)
        stock.load_state_dict(encoder.norms[k].state_dict())
        stock.weight, stock.bias = encoder.norms[k].weight, encoder.norms[k].bias
        return stock(h)

    w, b = [layer.weight for layer in encoder.layers], [layer.bias for layer in encoder.layers]
    h1 = norm(0, swish(normalize(x) @ encoder.table.weight + encoder.bias))
    h2 = norm(1, swish(h1 @ w[0].T + b[0] + h1))
    h3 = norm(2, swish(h2 @ w[1].T + b[1] + h1 + h2))
    h4 = norm(3, swish(h3 @ w[2].T + b[2] + h1 + h2 + h3))
    h5 = norm(4, swish(h4 @ w[3].T + b[3] + h1 + h2 + h3 + h4))
    both = h5 @ encoder.output.weight.T + encoder.output.bias
    d = both.shape[1] // 2
    return both[:, :d], both[:, d:]


def plain_log_prior(net: RecVAENet, z: Tensor, x: Tensor) -> Tensor:
    """Densities in plain sight, in double precision."""
    mean, log_variance = (one.detach().double() for one in plain_encoder(net.last_encoder, x))
    z = z.double()
    density = 3 / 20 * Normal(0.0, 1.0).log_prob(z).exp()
    density = density + 3 / 4 * Normal(mean, (0.5 * log_variance).exp()).log_prob(z).exp()
    return (density + 1 / 10 * Normal(0.0, math.exp(5.0)).log_prob(z).exp()).log()


def loss_of(model: RecVAE, batch: Any, trains_encoder: bool) -> tuple[Tensor, Tensor]:
    """The loss, and the normal draws that it used."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        noise = torch.randn(len(batch[0]), 3)
        torch.manual_seed(0)
        return model._loss(model.net_.train(), (trains_encoder, batch)), noise


def slopes_of(loss: Tensor, parameters: Any) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(parameters), allow_unused=True))


def first_batch(model: RecVAE) -> Any:
    return next(iter(model._batches(torch.arange(N_USERS), torch.Generator().manual_seed(0))))[1]


def test_the_encoder_by_hand(model, data) -> None:
    encoder, histories = model.net_.encoder, data.histories()
    found = encoder(histories, None, 0.0)
    expected = plain_encoder(encoder, histories.to_dense())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn(2, N_USERS, 3, generator=torch.Generator().manual_seed(1))
    ours, theirs = (
        slopes_of((torch.stack(pair) * weights).sum(), encoder.parameters()) for pair in (found, expected)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_log_density_of_a_normal() -> None:
    z, mean = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    log_variance = torch.linspace(-4, 10, 15).view(5, 3)
    expected = Normal(mean, (0.5 * log_variance).exp()).log_prob(z)
    torch.testing.assert_close(log_normal(z, mean, log_variance), expected)


def test_the_prior_is_a_mixture_in_every_dimension(model, data) -> None:
    histories = data.histories()
    z = 3 * torch.randn(N_USERS, 3, generator=torch.Generator().manual_seed(0))
    found = model.net_.log_prior(z, histories)
    expected = plain_log_prior(model.net_, z, histories.to_dense())
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    # Far out, where all but the wide part is nothing in single precision.
    far = torch.full((N_USERS, 3), 60.0)
    wide = Normal(0.0, math.exp(5.0)).log_prob(far) + math.log(1 / 10)
    torch.testing.assert_close(model.net_.log_prior(far, histories), wide)


@pytest.mark.parametrize("decode", ["all", "batch"])
def test_the_loss_of_the_encoder(data, model, decode: str) -> None:
    net = model.net_
    again = recvae(noise=0.0, decode=decode).fit(data)
    again.net_.load_state_dict(net.state_dict())
    users, histories, items = first_batch(again)
    found, noise = loss_of(again, (users, histories, items), trains_encoder=True)
    x = data.histories().select(users).to_dense()
    mean, log_variance = plain_encoder(again.net_.encoder, x)
    sigma = (0.5 * log_variance).exp()
    z = mean + sigma * noise
    logits = z @ again.net_.decoder.weight.T + again.net_.output_bias.weight
    columns = slice(None) if items is None else items
    likelihood = (logits[:, columns].log_softmax(1) * x[:, columns]).sum(1)
    divergence = (Normal(mean, sigma).log_prob(z) - plain_log_prior(again.net_, z, x)).sum(1)
    expected = (0.05 * x.sum(1) * divergence - likelihood).mean().float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    wanted = slopes_of(expected, again.net_.encoder.parameters())
    again.net_.zero_grad()
    found.backward()
    ours = [p.grad.to_dense() for p in again.net_.encoder.parameters()]
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)
    for part in (again.net_.decoder, again.net_.output_bias, again.net_.last_encoder):
        assert all(p.grad is None for p in part.parameters())


@pytest.mark.parametrize("decode", ["all", "batch"])
def test_the_loss_of_the_decoder(data, model, decode: str) -> None:
    again = recvae(noise=0.5, decode=decode).fit(data)
    again.net_.load_state_dict(model.net_.state_dict())
    net = again.net_
    users, histories, items = first_batch(again)
    found, noise = loss_of(again, (users, histories, items), trains_encoder=False)
    x = data.histories().select(users).to_dense()
    with torch.no_grad():
        # Without noise in the input, whatever the setting.
        mean, log_variance = plain_encoder(net.encoder, x)
    logits = (mean + (0.5 * log_variance).exp() * noise) @ net.decoder.weight.T + net.output_bias.weight
    columns = slice(None) if items is None else items
    expected = -(logits[:, columns].log_softmax(1) * x[:, columns]).sum(1).mean()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    wanted = slopes_of(expected, [net.decoder.weight, net.output_bias.weight])
    net.zero_grad()
    found.backward()
    ours = [net.decoder.weight.grad.to_dense(), net.output_bias.weight.grad.to_dense()]
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)
    for part in (net.encoder, net.last_encoder):
        assert all(p.grad is None for p in part.parameters())


def test_an_epoch_is_encoder_then_memory_then_decoder(data, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[Any] = []
    remember, loss = RecVAENet.remember, RecVAE._loss

    def same(net: RecVAENet) -> bool:
        return all(
            map(torch.equal, net.encoder.state_dict().values(), net.last_encoder.state_dict().values())
        )

    def note_memory(net: RecVAENet) -> None:
        remember(net)
        assert same(net)
        log.append("remember")

    def note_loss(self: Any, net: Any, batch: Any) -> Tensor:
        log.append((batch[0], same(net), net.decoder.weight.detach().clone()))
        return loss(self, net, batch)

    monkeypatch.setattr(RecVAENet, "remember", note_memory)
    monkeypatch.setattr(RecVAE, "_loss", note_loss)
    model = recvae(encoder_passes=2, epochs=2).fit(data)
    assert len(log) == 2 * (2 * 5 + 1 + 5)  # 5 batches of at most 10 people
    for epoch in (log[:16], log[16:]):
        assert [part[0] for part in epoch[:10]] == [True] * 10
        assert epoch[10] == "remember"
        assert [part[0] for part in epoch[11:]] == [False] * 5
        # The encoder moves away from what is remembered, and stands still while the decoder moves.
        assert [part[1] for part in epoch[:10]] == [True] + [False] * 9
        assert all(part[1] for part in epoch[11:])
        decoders = [part[2] for part in epoch if part != "remember"]
        assert all(torch.equal(one, decoders[0]) for one in decoders[:11])
        assert not torch.equal(decoders[11], decoders[10])
    assert same(model.net_)
    assert not any(p.requires_grad for p in model.net_.last_encoder.parameters())


def test_noise_is_in_the_input_of_the_encoder_only(data, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[int, set[float]] = {}
    forward = RecVAEEncoder.forward

    def note(self: Any, histories: Any, items: Any, noise: float) -> Any:
        given.setdefault(id(self), set()).add(noise)
        return forward(self, histories, items, noise)

    monkeypatch.setattr(RecVAEEncoder, "forward", note)
    model = recvae(noise=0.3).fit(data)
    assert given == {id(model.net_.encoder): {0.3, 0.0}, id(model.net_.last_encoder): {0.0}}


def test_scores_come_from_the_mean(model, data) -> None:
    mean, _ = plain_encoder(model.net_.encoder, data.histories().to_dense())
    expected = mean @ model.net_.decoder.weight.T + model.net_.output_bias.weight
    np.testing.assert_allclose(model.score(), expected.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.score(), model.score())
