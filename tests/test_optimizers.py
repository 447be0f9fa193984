"""PyTorch's optimizers without what is around them: the same numbers, bit for bit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from recsys_lib import _optimizers
from recsys_lib.sparse_rows import LazyAdam, LazyAdamW

PAIRS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "Adam": (_optimizers.Adam, torch.optim.Adam, {"fused": True}),
    "Adam for loop": (_optimizers.Adam, torch.optim.Adam, {"foreach": False}),
    "Adam, AMSGrad": (_optimizers.Adam, torch.optim.Adam, {"fused": True, "amsgrad": True}),
    "Adam upwards": (_optimizers.Adam, torch.optim.Adam, {"fused": True, "maximize": True}),
    "LazyAdam": (LazyAdam, torch.optim.Adam, {"fused": True}),
    "AdamW": (_optimizers.AdamW, torch.optim.AdamW, {"fused": True}),
    "LazyAdamW": (LazyAdamW, torch.optim.AdamW, {"fused": True}),
    "SGD": (_optimizers.SGD, torch.optim.SGD, {"fused": True}),
    "Adagrad": (_optimizers.Adagrad, torch.optim.Adagrad, {}),
}
QUICK = {name: pair for name, pair in PAIRS.items() if "Adam" in name and pair[2] == {"fused": True}}
every_pair = pytest.mark.parametrize(("ours", "theirs", "options"), PAIRS.values(), ids=PAIRS)
quick_pairs = pytest.mark.parametrize(("ours", "theirs", "options"), QUICK.values(), ids=QUICK)


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2, bias=False))


def take(optimizer: Any, net: nn.Module, steps: range, skip: int | None = None) -> None:
    """Some steps; in one of them the last layer has no gradient."""
    for step in steps:
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        values = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        net(values).square().sum().backward()
        if step == skip:
            net[2].weight.grad = None
        optimizer.step()


def steps_that_pytorch_does(theirs: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets an entry with each of them."""
    whole: list[int] = []
    real = _optimizers._STEPS[theirs]
    monkeypatch.setitem(_optimizers._STEPS, theirs, lambda *a: (whole.append(1), real(*a))[1])
    return whole


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.fixture
def keep_generator():
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


pytestmark = pytest.mark.usefixtures("keep_generator")


@every_pair
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_they_are_pytorchs(ours: Any, theirs: Any, options: dict[str, Any], weight_decay: float) -> None:
    nets = make_net(), make_net()
    for net, make in zip(nets, (ours, theirs), strict=True):
        take(make(net.parameters(), weight_decay=weight_decay, **options), net, range(8), skip=5)
    assert same(*nets)
    assert not same(nets[0], make_net())


@every_pair
def test_their_states_are_pytorchs(ours: Any, theirs: Any, options: dict[str, Any]) -> None:
    """Each goes on from a state of the other."""
    nets = make_net(), make_net()
    first, second = ours(nets[0].parameters(), **options), theirs(nets[1].parameters(), **options)
    take(first, nets[0], range(3))
    take(second, nets[1], range(3))
    states = copy.deepcopy(first.state_dict()), copy.deepcopy(second.state_dict())
    assert str(states[0]["state"]) == str(states[1]["state"])
    first.load_state_dict(states[1])
    second.load_state_dict(states[0])
    take(first, nets[0], range(3, 6))
    take(second, nets[1], range(3, 6))
    assert same(*nets)


@quick_pairs
def test_later_steps_go_to_the_kernel(
    ours: Any, theirs: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = steps_that_pytorch_does(theirs, monkeypatch)
    net = make_net()
    optimizer = ours(net.parameters(), **options)
    take(optimizer, net, range(4))
    assert len(whole) == 1
    # One without one of the gradients is like none before, and so is the next one, which has it again.
    take(optimizer, net, range(4, 6), skip=4)
    assert len(whole) == 3
    optimizer.load_state_dict(optimizer.state_dict())
    take(optimizer, net, range(6, 8))
    assert len(whole) == 4
    other = nn.Parameter(torch.ones(2))
    optimizer.add_param_group({"params": [other]})
    other.grad = torch.ones(2)
    for _ in range(2):
        optimizer.step()
    assert len(whole) == 6
    assert (other < 1).all()


@quick_pairs
def test_steps_that_all_lack_the_same_gradient_go_to_the_kernel(
    ours: Any, theirs: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = steps_that_pytorch_does(theirs, monkeypatch)
    nets = make_net(), make_net()
    for net, make in zip(nets, (ours, theirs), strict=True):
        optimizer = make(net.parameters(), **options)
        unused = list(net.parameters())[1].requires_grad_(False)
        take(optimizer, net, range(4))
        assert unused.grad is None
    assert len(whole) == 1
    assert same(*nets)


@quick_pairs
def test_a_closure_is_called(ours: Any, theirs: Any, options: dict[str, Any]) -> None:
    net = make_net()
    optimizer = ours(net.parameters(), **options)
    take(optimizer, net, range(2))

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = net(torch.ones(1, 4)).square().sum()
        value.backward()
        return value

    before = copy.deepcopy(net)
    assert optimizer.step(closure) == before(torch.ones(1, 4)).square().sum()
    assert not same(net, before)


def test_double_precision_takes_the_long_way() -> None:
    nets = make_net().double(), make_net().double()
    for net, make in zip(nets, (_optimizers.Adam, torch.optim.Adam), strict=True):
        optimizer = make(net.parameters(), fused=True)
        for _ in range(3):
            net(torch.ones(1, 4).double()).sum().backward()
            optimizer.step()
    assert same(*nets)
    assert getattr(optimizer, "_same", None) is None
