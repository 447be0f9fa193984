"""A training step never makes the host wait for the device, and moves nothing between the two.

Without a GPU it is run on PyTorch's meta device, whose tensors have a shape but no numbers: whatever would
have to look at a number, or to copy it to the host, is an error there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recsys_lib import datasets
from recsys_lib.histories import Histories
from recsys_lib.models import (
    BPR,
    GMF,
    MLP,
    AutoRec,
    BiasedMF,
    BottleneckAutoencoder,
    DynamicAutoencoder,
    LogisticMF,
    MatrixFactorization,
    MultDAE,
    MultVAE,
    NeuMF,
    RecVAE,
)
from recsys_lib.models import factorization as ratings_module
from recsys_lib.models import sampled as sampled_module
from recsys_lib.models.gradient import GradientRecommender

META = torch.device("meta")
TRAIN = datasets.synthetic(50, 60, 700, seed=1, feedback="explicit")

# Batches that are made of numbers of the device alone.
PAIRS: dict[str, Callable[..., GradientRecommender]] = {
    "NeuMF": lambda **kw: NeuMF(factors=4, l2=0.1, dropout=0.2, **kw),
    "MLP, bpr": lambda **kw: MLP(factors=4, loss="bpr", **kw),
    "GMF, popularity": lambda **kw: GMF(factors=4, sampler="popularity", loss="softmax", l2=0.1, **kw),
    "BPR": lambda **kw: BPR(factors=4, **kw),
    "BPR, warp": lambda **kw: BPR(factors=4, negatives=3, loss="warp", **kw),
    "BPR, in-batch": lambda **kw: BPR(factors=4, sampler="in-batch", loss="softmax", **kw),
    "LogisticMF, hard": lambda **kw: LogisticMF(factors=4, sampler="hard", record_negatives=True, **kw),
    "BiasedMF": lambda **kw: BiasedMF(factors=4, **kw),
}
# Lists of people: how many entries a batch has is known at the start of an epoch. With decode="batch" the
# number of its items is not, so there the host waits once a batch, before the step.
ROWS: dict[str, Callable[..., GradientRecommender]] = {
    "Mult-DAE": lambda **kw: MultDAE(layers=(8,), **kw),
    "Mult-VAE": lambda **kw: MultVAE(layers=(8,), factors=4, **kw),
    "RecVAE": lambda **kw: RecVAE(width=8, factors=4, **kw),
    "Bottleneck": lambda **kw: BottleneckAutoencoder(layers=(8, 6), **kw),
    "Bottleneck, batch": lambda **kw: BottleneckAutoencoder(layers=(8, 6), decode="batch", **kw),
    "Dynamic, mse": lambda **kw: DynamicAutoencoder(layers=(8,), loss="mse", **kw),
    "Dynamic, batch": lambda **kw: DynamicAutoencoder(layers=(8,), decode="batch", tied=True, **kw),
    "MF of rows": lambda **kw: MatrixFactorization(factors=4, **kw),
    "I-AutoRec": lambda **kw: AutoRec(factors=4, **kw),
    "U-AutoRec": lambda **kw: AutoRec(kind="user", factors=4, **kw),
}


def on_meta(x: Any) -> Any:
    """Copy the tensors, and whatever of this library holds tensors, to the meta device."""
    if isinstance(x, nn.Parameter):
        return nn.Parameter(torch.empty_like(x, device=META))
    if isinstance(x, Tensor):
        return torch.empty_like(x, device=META)
    if isinstance(x, dict):
        return {key: on_meta(value) for key, value in x.items()}
    if isinstance(x, tuple | list):
        return type(x)(on_meta(value) for value in x)
    if isinstance(x, nn.Module):
        return x.to(META)
    if type(x).__module__.startswith("recsys_lib") and hasattr(x, "__dict__"):
        result = copy.copy(x)
        for name, value in vars(x).items():
            result.__dict__[name] = on_meta(value)
        return result
    return x


def prepared(make: Callable[..., GradientRecommender]) -> tuple[GradientRecommender, Any]:
    """Return a model in the middle of its fit, and what its batches are made of."""
    caught: dict[str, Any] = {}
    model = make(device="cpu", epochs=1, batch_size=16, progress=False)
    family = type(model)

    class Spied(family):  # type: ignore[misc, valid-type]
        def _batches(self, data: Any, generator: torch.Generator) -> Iterator[Any]:
            if not caught:
                caught.update(model=copy.copy(self), data=data)
            return super()._batches(data, generator)

    model.__class__ = Spied
    model.fit(TRAIN)
    found = caught["model"]
    found.__class__ = family
    return found, caught["data"]


def step(model: GradientRecommender, batch: Any) -> None:
    model.net_.train()
    model._loss(model.net_, batch).backward()
    used = [p.grad for p in model.net_.parameters() if p.grad is not None]
    assert used
    assert all(gradient.device == META for gradient in used)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def shuffled(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        yield from torch.arange(n, device=META).split(size)

    model, data = prepared(PAIRS[name])
    # The meta device has no random generators of its own.
    for module in (sampled_module, ratings_module):
        monkeypatch.setattr(module, "shuffled", shuffled)
    model, data = on_meta(model), on_meta(data)
    model.device_ = META
    batches = list(model._batches(data, torch.Generator()))
    assert len(batches) > 2
    for batch in (batches[0], batches[-1]):
        step(model, batch)


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    model, data = prepared(ROWS[name])
    batches = on_meta(list(model._batches(data, torch.Generator().manual_seed(0))))
    model = on_meta(model)
    model.device_ = META
    assert len(batches) > 2
    for batch in (batches[0], batches[-1]):
        step(model, batch)


def test_rows_of_known_length_are_picked_on_the_device() -> None:
    lists = Histories.from_lists([[0, 2], [1], [0, 1, 2]], n_items=3)
    rows = torch.tensor([2, 0])
    (n_entries,) = lists.entries_of([rows])
    assert n_entries == 5
    picked = on_meta(lists).select(on_meta(rows), n_entries)
    assert picked.indices.shape == (5,)
    assert picked.indices.device == META
    assert lists.select(rows, n_entries).indices.tolist() == [0, 1, 2, 0, 2]


@pytest.mark.parametrize("wait", [Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.nonzero, bool])
def test_a_wait_is_an_error_there(wait: Callable[[Tensor], Any]) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        wait(torch.zeros(1, device=META))
