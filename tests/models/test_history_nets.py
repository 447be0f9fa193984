"""The networks of autoencoders, against readings with dense tensors and PyTorch's own modules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from recsys_lib.histories import Histories
from recsys_lib.losses import multinomial
from recsys_lib.models._bags import sum_rows
from recsys_lib.models.history_nets import (
    ACTIVATIONS,
    AutoencoderNet,
    BottleneckNet,
    HistoryNet,
    ItemTable,
    input_weights,
    silence,
    xavier_table,
)
from recsys_lib.models.variational_nets import RecVAENet, VariationalNet
from recsys_lib.sampling import items_of
from recsys_lib.sparse_rows import LazyAdam
from tests.models.shapes import Shapes

N_ITEMS = 9
# Items 1 and 6 are in no list.
HISTORIES = Histories.from_lists([[0, 3, 4], [5], [0, 2, 3, 7, 8], [], [4, 5]], N_ITEMS)
STOCK: dict[str, nn.Module] = {
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "sigmoid": nn.Sigmoid(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "swish": nn.SiLU(),
    "none": nn.Identity(),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stirred(net: Any) -> Any:
    """Replace the zeros that biases start with, so that a wrong one is noticed."""
    with torch.no_grad():
        for name, weights in net.named_parameters():
            if "bias" in name:
                weights.copy_(0.5 * torch.randn(weights.shape, generator=generator(9)))
    return net


def autoencoder(widths: tuple[int, ...] = (6, 4), **options: Any) -> AutoencoderNet:
    return stirred(AutoencoderNet(N_ITEMS, widths, generator=generator(), **options))


def plain_autoencoder(net: AutoencoderNet, x: Tensor, activation: str) -> Tensor:
    """The scores of all items from a dense matrix of ones and zeros, layer by layer."""
    act, z = STOCK[activation], normalize(x) if net.normalise else x
    weights = [net.encoder.weight.T, *(layer.weight for layer in net.encoding)]
    for weight, bias in zip(
        weights, [net.encoder_bias, *(layer.bias for layer in net.encoding)], strict=True
    ):
        z = act(z @ weight.T + bias)
    if net.tied:
        assert net.decoder is None
        back = [*(weight.T for weight in weights[:0:-1]), net.encoder.weight]
        biases = [*net.decoding_bias, net.output_bias.weight]
    else:
        back = [*(layer.weight for layer in net.decoding), net.decoder.weight]
        biases = [*(layer.bias for layer in net.decoding), net.output_bias.weight]
    for k, (weight, bias) in enumerate(zip(back, biases, strict=True)):
        z = z @ weight.T + bias
        z = act(z) if k < len(back) - 1 else z
    return z


def slopes_of(loss: Tensor, net: nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*net.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def dense_slopes(net: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.to_dense() for name, p in net.named_parameters()}


# ---------------------------------------------------------------------- the autoencoder


def test_every_activation_has_a_reading() -> None:
    assert STOCK.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("activation", STOCK)
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("widths", [(6,), (6, 4), (6, 4, 3)])
def test_an_autoencoder_is_a_chain_of_dense_layers(
    widths: tuple[int, ...], tied: bool, activation: str
) -> None:
    for normalise in (True, False):
        net = autoencoder(widths, tied=tied, activation=activation, normalise=normalise)
        found, expected = net(HISTORIES), plain_autoencoder(net, HISTORIES.to_dense(), activation)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        weights = torch.randn(found.shape, generator=generator(1))
        wanted = slopes_of((expected * weights).sum(), net)
        (found * weights).sum().backward()
        torch.testing.assert_close(dense_slopes(net), wanted, rtol=1e-4, atol=1e-5)
        numbers = sum(a * b for a, b in zip((N_ITEMS, *widths), widths, strict=False))
        biases = sum(widths) + sum(widths[:-1]) + N_ITEMS
        assert sum(p.numel() for p in net.parameters()) == numbers * (1 if tied else 2) + biases


def test_the_vectors_that_items_are_decoded_with() -> None:
    net, tied = autoencoder(), autoencoder(tied=True)
    assert net.item_vectors() is net.decoder.weight
    assert tied.item_vectors() is tied.encoder.weight
    z = torch.randn(2, 6, generator=generator())
    one_layer = autoencoder((6,))
    expected = z @ one_layer.item_vectors().T + one_layer.output_bias.weight
    torch.testing.assert_close(one_layer.decode(z), expected)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_on_the_items_of_a_batch_the_others_are_left_out(tied: bool, sparse: bool) -> None:
    items, local = items_of(HISTORIES)
    assert items.tolist() == [0, 2, 3, 4, 5, 7, 8]
    net = autoencoder(tied=tied, sparse=sparse)
    logits = plain_autoencoder(net, HISTORIES.to_dense(), "tanh")[:, items]
    targets = HISTORIES.to_dense()[:, items]
    expected = -(logits.log_softmax(1) * targets).sum(1).mean()
    found = multinomial(net(local, items), local)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    wanted = slopes_of(expected, net)
    found.backward()
    torch.testing.assert_close(dense_slopes(net), wanted, rtol=1e-4, atol=1e-5)
    kinds = {name: p.grad.is_sparse for name, p in net.named_parameters()}
    tables = {name for name in kinds if name.split(".")[0] in ("encoder", "decoder", "output_bias")}
    assert {name for name, is_sparse in kinds.items() if is_sparse} == (tables if sparse else set())


@pytest.mark.parametrize("tied", [False, True])
def test_a_batch_with_every_item_is_the_whole_catalogue(tied: bool) -> None:
    everyone = Histories.from_lists([[0, 3, 4], [1, 5, 6], [0, 2, 3, 7, 8], [4, 5]], N_ITEMS)
    items, local = items_of(everyone)
    whole, part = autoencoder(tied=tied), autoencoder(tied=tied, sparse=True)
    losses = multinomial(whole(everyone), everyone), multinomial(part(local, items), local)
    torch.testing.assert_close(losses[1], losses[0])
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(dense_slopes(part), dense_slopes(whole))


@pytest.mark.parametrize("tied", [False, True])
def test_a_step_moves_the_items_of_the_batch_alone(tied: bool) -> None:
    items, local = items_of(HISTORIES)
    away = torch.ones(N_ITEMS, dtype=torch.bool)
    away[items] = False
    ours, theirs = autoencoder(tied=tied, sparse=True), autoencoder(tied=tied)
    before = {name: p.detach().clone() for name, p in ours.named_parameters()}
    optimizer = LazyAdam(ours.parameters(), lr=0.1, fused=True)
    multinomial(ours(local, items), local).backward()
    optimizer.step()
    reference = torch.optim.Adam(theirs.parameters(), lr=0.1)
    logits = plain_autoencoder(theirs, HISTORIES.to_dense(), "tanh")[:, items]
    (-(logits.log_softmax(1) * HISTORIES.to_dense()[:, items]).sum(1).mean()).backward()
    reference.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-4, atol=1e-5)
    for name, p in ours.named_parameters():
        if name.endswith(".weight") and name.split(".")[0] in ("encoder", "decoder", "output_bias"):
            assert torch.equal(p[away], before[name][away])
            assert not torch.isclose(p[items], before[name][items]).all()


# ---------------------------------------------------------------------- noise


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("noise", [0.2, 0.5])
def test_noise_leaves_out_a_share_and_keeps_the_mean(noise: float, normalise: bool) -> None:
    histories = Histories.from_lists([list(range(4))] * 5000 + [list(range(9))] * 5000, N_ITEMS)
    base = input_weights(histories, normalise, 0.0)
    assert (base is None) != normalise
    if normalise:
        lengths = torch.tensor([4] * 20_000 + [9] * 45_000)
        torch.testing.assert_close(base, lengths.float().rsqrt())
    base = torch.ones(65_000) if base is None else base
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = input_weights(histories, normalise, noise)
    kept = found != 0
    torch.testing.assert_close(found[kept], (base / (1 - noise))[kept])
    # Five standard deviations.
    spread = (noise * (1 - noise) / len(found)) ** 0.5
    assert kept.float().mean().item() == pytest.approx(1 - noise, abs=5 * spread)
    assert (found / base).mean().item() == pytest.approx(1, abs=5 * spread / (1 - noise))


def test_noise_is_for_training_and_for_the_items_of_a_history_only() -> None:
    net = autoencoder((6,), noise=0.5, sparse=False)
    quiet = plain_autoencoder(net, HISTORIES.to_dense(), "tanh")
    torch.testing.assert_close(net.eval()(HISTORIES), quiet)
    net.train()
    x, losses = HISTORIES.to_dense(), set()
    for seed in range(5):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            # With an identity as the table, the sum of its rows is the input that the network reads.
            read = sum_rows(torch.eye(N_ITEMS), HISTORIES, input_weights(HISTORIES, True, net.noise))
            torch.manual_seed(seed)
            scores = net(HISTORIES)
        assert not read[x == 0].any()
        torch.testing.assert_close(read[read != 0], (2 * normalize(x))[read != 0])
        z = torch.tanh(read @ net.encoder.weight + net.encoder_bias)
        torch.testing.assert_close(scores, net.decode(z))
        torch.testing.assert_close(scores[3], quiet[3])  # nothing to leave out
        losses.add(scores.sum().item())
    assert len(losses) == 5


def test_dropout_drops_a_share_of_the_bottleneck() -> None:
    net = autoencoder((400,), dropout=0.25)
    whole = net.eval().encode(HISTORIES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        z = net.train().encode(HISTORIES)
    kept = z != 0
    torch.testing.assert_close(z[kept], whole[kept] / 0.75)
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.05)


# ---------------------------------------------------------------------- tables and their start


@pytest.mark.parametrize(("rows", "columns"), [(3000, 50), (50, 3000)])
def test_tables_start_as_glorot_and_bengio_say(rows: int, columns: int) -> None:
    values, bound = xavier_table(rows, columns, generator()), (6 / (rows + columns)) ** 0.5
    assert values.abs().max() <= bound
    assert values.abs().max() > 0.999 * bound
    assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert values.mean().item() == pytest.approx(0, abs=0.02 * bound)


def test_a_table_gives_all_rows_or_some() -> None:
    values = torch.randn(5, 2, generator=generator())
    for sparse in (False, True):
        table = ItemTable(values.clone(), sparse=sparse)
        assert table() is table.weight
        assert torch.equal(table(torch.tensor([1, 3])), values[[1, 3]])
        table(torch.tensor([1, 3])).sum().backward()
        assert table.weight.grad.is_sparse == sparse
        assert table.weight.grad.to_dense().tolist() == [[0, 0], [1, 1], [0, 0], [1, 1], [0, 0]]


def variational(sparse: bool, n_items: int = N_ITEMS) -> VariationalNet:
    return VariationalNet(n_items, (6,), 3, sparse=sparse, generator=generator())


def recvae(sparse: bool, n_items: int = N_ITEMS) -> RecVAENet:
    return RecVAENet(n_items, 6, 3, sparse=sparse, generator=generator())


def bottleneck(sparse: bool, n_items: int = N_ITEMS) -> BottleneckNet:
    return BottleneckNet(n_items, (6, 4), sparse=sparse, generator=generator())


def plain(sparse: bool, n_items: int = N_ITEMS) -> AutoencoderNet:
    return AutoencoderNet(n_items, (6, 4), sparse=sparse, generator=generator())


def tied(sparse: bool, n_items: int = N_ITEMS) -> AutoencoderNet:
    return AutoencoderNet(n_items, (6, 4), tied=True, sparse=sparse, generator=generator())


NETS = {make.__name__: make for make in (plain, tied, bottleneck, variational, recvae)}
every_net = pytest.mark.parametrize("make", NETS.values(), ids=NETS)


@every_net
def test_silent_items_come_last_and_say_nothing(make: Any) -> None:
    net, silent = make(True).eval(), torch.arange(N_ITEMS) % 3 == 1
    net.output_bias.weight.data.fill_(-900)
    silence(net, silent)
    scores = net(HISTORIES)
    assert (scores[:, silent].amax(1) < scores[:, ~silent].amin(1)).all()
    assert scores.isfinite().all()
    assert not net.item_vectors()[silent].any()
    table = net.encoder.table.weight if isinstance(net, RecVAENet) else net.encoder.weight
    with_and_without = sum_rows(table, Histories.from_lists([[0, 3], [0, 1, 3, 4, 7]], N_ITEMS))
    assert torch.equal(*with_and_without)


@every_net
def test_the_items_of_a_batch_are_scored_as_in_the_catalogue(make: Any) -> None:
    net: HistoryNet = stirred(make(True)).eval()
    items, local = items_of(HISTORIES)
    torch.testing.assert_close(net(local, items), net(HISTORIES)[:, items])


@every_net
def test_nothing_comes_from_the_global_generator(make: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first = make(True).state_dict()
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(6)
        again = make(False).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


@every_net
def test_no_dense_input_is_made(make: Any) -> None:
    n_items, b = 5003, 7
    net, histories = make(True, n_items), Histories.from_lists([[k, k + 1, 5000] for k in range(b)], n_items)
    with torch.random.fork_rng(devices=[]), Shapes() as shapes:
        logits = net(histories)
        forward = len(shapes.made)
        logits.square().sum().backward()
    # The logits are the only tensor with an entry for each pair; a dense input would be another.
    assert [made for made, shape in shapes.made[:forward] if shape == (b, n_items)] == ["aten.addmm.default"]
    # On the way back there are the square, its slope, and what that takes; but no slope of an input.
    assert not [made for made, shape in shapes.made[forward:] if shape == (b, n_items) and "mm" in made]
    items, local = items_of(histories)
    net.zero_grad()
    with torch.random.fork_rng(devices=[]), Shapes() as shapes:
        net(local, items).square().sum().backward()
    # On the items of the batch, nothing at all is as long as the catalogue.
    assert len(shapes.made) > 10
    assert not [shape for _, shape in shapes.made if n_items in shape]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
@every_net
def test_a_gpu_gives_the_same(make: Any) -> None:
    results = []
    for device in ("cpu", "cuda"):
        net = make(True).to(device).eval()
        histories = HISTORIES.to(device)
        items, local = items_of(histories)
        multinomial(net(local, items), local).backward()
        slopes = [p.grad.to_dense().cpu() for p in net.parameters() if p.grad is not None]
        results.append([net(histories).detach().cpu(), *slopes])
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-4)
