from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from recsys_lib.histories import Histories
from recsys_lib.models import pair_nets
from recsys_lib.models.embeddings import IdEmbedding
from recsys_lib.models.pair_nets import DotProductNet, GMFNet, MLPNet, NeuMFNet, PairNet

N_USERS, N_ITEMS = 6, 9
CATEGORIES = Histories.from_lists([[0], [0, 1], [], [2], [1], [0, 2], [2], [], [1]], n_items=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(n: int, d: int, seed: int = 0, categories: Histories | None = None) -> IdEmbedding:
    return IdEmbedding(n, d, categories, init_std=1.0, generator=generator(seed))


def with_random_weights(net: Any) -> Any:
    """Draw also what starts at a constant: the biases, and the weights of GMF."""
    with torch.no_grad():
        for name, weights in net.named_parameters():
            if name.endswith("bias") or (isinstance(net, GMFNet) and name == "output.weight"):
                weights.copy_(torch.randn(weights.shape, generator=generator(9)))
    return net


def dot_product(**options: bool) -> DotProductNet:
    return with_random_weights(DotProductNet(vectors(N_USERS, 4), vectors(N_ITEMS, 4, 1), **options))


def gmf(*, bias: bool = True, categories: Histories | None = None) -> GMFNet:
    item = vectors(N_ITEMS, 4, 1, categories)
    return with_random_weights(GMFNet(vectors(N_USERS, 4), item, bias=bias))


def mlp(widths: tuple[int, ...] = (8, 5, 3), dropout: float = 0.0) -> MLPNet:
    user, item = vectors(N_USERS, 4, 3), vectors(N_ITEMS, 6, 4)
    return with_random_weights(MLPNet(user, item, widths, dropout=dropout, generator=generator(5)))


NETS = {
    "dot product": dot_product,
    "dot product without user bias": lambda: dot_product(user_bias=False),
    "GMF": gmf,
    "GMF without bias": lambda: gmf(bias=False),
    "GMF with categories": lambda: gmf(categories=CATEGORIES),
    "MLP": mlp,
    "MLP of one layer": lambda: mlp((7,)),
    "MLP without layers": lambda: mlp(()),
    "NeuMF": lambda: NeuMFNet(gmf(bias=False), mlp()),
    "NeuMF with categories": lambda: NeuMFNet(gmf(bias=False, categories=CATEGORIES), mlp()),
}
every_net = pytest.mark.parametrize("make", NETS.values(), ids=NETS)
Make = Callable[[], PairNet]


@pytest.fixture(params=["pair by pair", "the first layer once for each"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches are computed in another way than large ones."""
    monkeypatch.setattr(pair_nets, "_FEW", 2**23 if request.param == "pair by pair" else 0)


# ---------------------------------------------------------------------- what all nets promise


@pytest.mark.usefixtures("either_way")
@every_net
def test_all_ways_to_score_agree(make: Make) -> None:
    net = make()
    users, everything = torch.tensor([4, 0, 4, 2]), torch.arange(N_ITEMS)
    catalogue = net.catalogue(users)
    assert catalogue.shape == (4, N_ITEMS)
    one_by_one = [[net(users[[b]], everything[[i]]).item() for i in range(N_ITEMS)] for b in range(4)]
    torch.testing.assert_close(catalogue, torch.tensor(one_by_one))
    some = torch.tensor([8, 1, 1])
    torch.testing.assert_close(net.catalogue(users, some), catalogue[:, some])
    torch.testing.assert_close(net(users, everything.expand(4, -1)), catalogue)
    items = torch.tensor([[3, 3], [0, 8], [1, 2], [7, 7]])
    torch.testing.assert_close(net(users, items), catalogue.gather(1, items))
    torch.testing.assert_close(net(users, items[:, 1]), catalogue.gather(1, items)[:, 1])
    assert net(users[:1], items[:1, :1]).shape == (1, 1)
    assert net.catalogue(users[:0]).shape == (0, N_ITEMS)
    assert net.catalogue(users, some[:0]).shape == (4, 0)


@pytest.mark.usefixtures("either_way")
@every_net
def test_all_ways_to_score_have_one_gradient(make: Make) -> None:
    users, items = torch.tensor([4, 0, 4, 2]), torch.arange(N_ITEMS)
    weights = torch.randn(4, N_ITEMS, generator=generator())
    found = []
    for score in (
        lambda net: net(users, items.expand(4, -1)),
        lambda net: net.catalogue(users),
        lambda net: net.catalogue(users, items),
        lambda net: torch.stack([net(users, items[[i]].expand(4)) for i in range(N_ITEMS)], dim=1),
    ):
        net = make()
        (score(net) * weights).sum().backward()
        found.append([p.grad for p in net.parameters()])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-5)
    assert all(gradient.abs().sum() > 0 for gradient in found[0])


@every_net
def test_the_penalty_is_the_mean_squared_length(make: Make) -> None:
    users, items = torch.tensor([4, 0, 4]), torch.tensor([[3, 3, 0, 1], [0, 8, 2, 2], [1, 2, 3, 4]])
    for some in (items, items[:, :1]):
        net = make()
        lengths = []
        for user, row in zip(users, some, strict=True):
            for item in row:
                pieces = []
                for part in net.modules():
                    if isinstance(part, DotProductNet | MLPNet):
                        pieces += [part.user(user[None]), part.item(item[None])]
                    if isinstance(part, GMFNet):
                        root = part.output.weight.abs().sqrt()
                        pieces += [root * part.user(user[None]), root * part.item(item[None])]
                if isinstance(net, DotProductNet):
                    pieces.append(net.item_bias[item])
                    pieces += [] if net.user_bias is None else [net.user_bias[user]]
                lengths.append(sum(piece.square().sum() for piece in pieces))
        torch.testing.assert_close(net.penalty(users, some), torch.stack(lengths).mean())


def test_the_penalty_of_gmf_cannot_be_moved_into_its_weights() -> None:
    users, items = torch.tensor([4, 0]), torch.tensor([[3, 8], [1, 2]])
    net = GMFNet(IdEmbedding(N_USERS, 3, init_std=1.0), IdEmbedding(N_ITEMS, 3, init_std=1.0))
    before = net(users, items), net.penalty(users, items)
    with torch.no_grad():
        net.user.ids.mul_(0.5)
        net.item.ids.mul_(0.5)
        net.output.weight.mul_(4)
    torch.testing.assert_close((net(users, items), net.penalty(users, items)), before)


def test_gmf_starts_as_a_dot_product() -> None:
    net = GMFNet(vectors(N_USERS, 3), vectors(N_ITEMS, 3, 1))
    torch.testing.assert_close(net.catalogue(torch.arange(N_USERS)), net.user.all() @ net.item.all().T)


@every_net
def test_item_vectors(make: Make) -> None:
    net = make()
    parts = [net.gmf.item, net.mlp.item] if isinstance(net, NeuMFNet) else [net.item]
    expected = torch.cat([part(torch.arange(N_ITEMS)) for part in parts], dim=1)
    assert torch.equal(net.item_vectors(), expected)


@every_net
def test_nothing_comes_from_the_global_generator(make: Make) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = make().state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again = make().state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_what_is_missing_is_noticed() -> None:
    class Half(PairNet):
        def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
            return items

    with pytest.raises(TypeError, match="abstract"):
        Half()


# ---------------------------------------------------------------------- the formulas of each


def test_dot_product_by_hand() -> None:
    net = dot_product()
    p, q = net.user.ids[3], net.item.ids[7]
    expected = net.user_bias[3] + net.item_bias[7] + sum(p[f] * q[f] for f in range(4))
    torch.testing.assert_close(net(torch.tensor([3]), torch.tensor([7]))[0], expected)
    assert "user_bias" not in dot_product(user_bias=False).state_dict()


def test_gmf_by_hand() -> None:
    net = gmf()
    p, q, h = net.user.ids[3], net.item.ids[7], net.output.weight[0]
    expected = sum(h[f] * p[f] * q[f] for f in range(4)) + net.output.bias[0]
    torch.testing.assert_close(net(torch.tensor([3]), torch.tensor([7]))[0], expected)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("widths", [(8, 5, 3), (2,), ()])
def test_an_mlp_is_layers_on_two_vectors_laid_end_to_end(widths: tuple[int, ...]) -> None:
    net = mlp(widths)
    layers: list[nn.Module] = []
    for ours in [*net.hidden, net.output]:
        plain = nn.Linear(ours.in_features, ours.out_features)
        plain.load_state_dict(ours.state_dict())
        layers += [plain, nn.ReLU()]
    plain_net = nn.Sequential(*layers[:-1])
    users, items = torch.arange(N_USERS).repeat_interleave(N_ITEMS), torch.arange(N_ITEMS).repeat(N_USERS)
    together = torch.cat([net.user.ids[users], net.item.ids[items]], dim=1)
    expected = plain_net(together)[:, 0]
    # Twice: for fewer pairs than items the first layer is computed in another way.
    torch.testing.assert_close(net(users, items), expected)
    torch.testing.assert_close(net(users[:5], items[:5]), expected[:5])
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items() if "ids" not in key}
    sizes = [10, *widths, 1]
    names = [*(f"hidden.{layer}" for layer in range(len(widths))), "output"]
    for name, before, after in zip(names, sizes, sizes[1:], strict=False):
        assert shapes.pop(f"{name}.weight") == (after, before)
        assert shapes.pop(f"{name}.bias") == (after,)
    assert not shapes


def test_neumf_is_one_output_layer_over_both_parts() -> None:
    net = NeuMFNet(gmf(bias=False), mlp())
    last: list[torch.Tensor] = []
    net.mlp.output.register_forward_pre_hook(lambda layer, inputs: last.append(inputs[0]))
    users, items = torch.tensor([0, 5, 3]), torch.tensor([8, 8, 1])
    logits = net(users, items)
    joined = torch.cat([net.gmf.user.ids[users] * net.gmf.item.ids[items], last[0]], dim=1)
    weights = torch.cat([net.gmf.output.weight, net.mlp.output.weight], dim=1)
    torch.testing.assert_close(logits, (joined @ weights.T + net.mlp.output.bias)[:, 0])
    assert "gmf.output.bias" not in net.state_dict()


# ---------------------------------------------------------------------- special cases


def test_scoring_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    net, users = mlp(), torch.arange(N_USERS)
    whole = net.catalogue(users)
    for numbers in (1, N_ITEMS * 8 * 2, N_ITEMS * 8 * 4 + 1):
        monkeypatch.setattr("recsys_lib.models.pair_nets._NUMBERS", numbers)
        torch.testing.assert_close(net.catalogue(users), whole)


def test_dropout_is_for_training_only() -> None:
    net, users, items = mlp(dropout=0.5), torch.arange(N_USERS), torch.arange(N_USERS)
    plain = mlp().eval()(users, items)
    torch.testing.assert_close(net.eval()(users, items), plain)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert not torch.allclose(net.train()(users, items), plain)


@every_net
def test_scores_in_bfloat16_are_close(make: Make) -> None:
    net, users, items = make(), torch.arange(N_USERS), torch.arange(N_USERS * 3).view(N_USERS, 3) % N_ITEMS
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, rough_catalogue = net(users, items), net.catalogue(users)
        rough.float().sum().backward()
    torch.testing.assert_close(rough.float(), net(users, items), atol=0.3, rtol=0.05)
    torch.testing.assert_close(rough_catalogue.float(), net.catalogue(users), atol=0.3, rtol=0.05)
    assert all(p.grad.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_start_from_is_the_weighted_mean_of_the_logits(alpha: float) -> None:
    trained_gmf, trained_mlp = gmf(categories=CATEGORIES), mlp()
    own_gmf = GMFNet(vectors(N_USERS, 4, 6), vectors(N_ITEMS, 4, 7, CATEGORIES), bias=False)
    net = NeuMFNet(own_gmf, MLPNet(vectors(N_USERS, 4, 8), vectors(N_ITEMS, 6, 9), (8, 5, 3)))
    before = [p.clone() for p in (*trained_gmf.parameters(), *trained_mlp.parameters())]
    net.start_from(trained_gmf, trained_mlp, alpha)
    users = torch.arange(N_USERS)
    expected = alpha * trained_gmf.catalogue(users) + (1 - alpha) * trained_mlp.catalogue(users)
    torch.testing.assert_close(net.catalogue(users), expected)
    # The two are copied, not shared.
    net.gmf.user.ids.data.zero_()
    net.mlp.output.weight.data.zero_()
    assert all(map(torch.equal, (*trained_gmf.parameters(), *trained_mlp.parameters()), before))


def test_start_from_a_gmf_without_a_bias() -> None:
    net = NeuMFNet(gmf(bias=False), mlp())
    net.start_from(gmf(bias=False), mlp(), alpha=0.25)
    torch.testing.assert_close(net.mlp.output.bias, 0.75 * mlp().output.bias)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
@every_net
def test_a_gpu_gives_the_same(make: Make) -> None:
    users, items = torch.arange(N_USERS), torch.arange(N_USERS * 3).view(N_USERS, 3) % N_ITEMS
    results = []
    for device in ("cpu", "cuda"):
        net = make().to(device)
        scores = net(users.to(device), items.to(device))
        (scores.square().sum() + net.penalty(users.to(device), items.to(device))).backward()
        results.append([scores, net.catalogue(users.to(device)), *(p.grad for p in net.parameters())])
    for on_cpu, on_gpu in zip(*results, strict=True):
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-3, atol=1e-4)
