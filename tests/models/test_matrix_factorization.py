from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from recsys_lib import Interactions, datasets
from recsys_lib.models import DynamicAutoencoder, MatrixFactorization
from recsys_lib.models.row_nets import FactorizationNet
from recsys_lib.sparse_rows import LazyAdam
from tests.models.contract import RecommenderContract, bad_numbers


class TestMatrixFactorization(RecommenderContract):
    scores_new_people = False
    bad_parameters: ClassVar[dict[str, list[Any]]] = {
        "factors": [0, -1, 2.5, None],
        "activation": ["step", None],
        "dropout": bad_numbers(-0.1, 1.0),
        "loss": ["bpr", None],
        "confidence": bad_numbers(-1.0, 1.0),
        "decode": ["some", None],
        "sampling_users": [8],
        "batch_size": [0, 2.5, None],
        "epochs": [0, 1.5],
        "learning_rate": bad_numbers(0),
    }

    @classmethod
    def make(cls, **parameters: Any) -> MatrixFactorization:
        settings = {"factors": 4, "batch_size": 4, "epochs": 60, "learning_rate": 0.05, "weight_decay": 0.03}
        return MatrixFactorization(**(settings | parameters))


class TestOnTheItemsOfTheBatch(TestMatrixFactorization):
    bad_parameters: ClassVar[dict[str, list[Any]]] = {"sampling_users": [3, 8.5, "x"]}

    @classmethod
    def make(cls, **parameters: Any) -> MatrixFactorization:
        return super().make(**({"decode": "batch"} | parameters))


def net(**options: Any) -> FactorizationNet:
    made = FactorizationNet(5, 4, 3, generator=torch.Generator().manual_seed(0), **options)
    with torch.no_grad():
        made.output_bias.weight.copy_(torch.tensor([0.1, -0.2, 0.3, 0.4]))
    return made


@pytest.mark.parametrize("sparse", [False, True])
def test_scores_by_hand(sparse: bool) -> None:
    made = net(activation="tanh", sparse=sparse)
    users, items = torch.tensor([4, 0, 2]), torch.tensor([1, 3])
    p, q = made.users.detach(), made.items.weight.detach()
    expected = torch.tanh(p[users]) @ q[items].T + torch.tensor([-0.2, 0.4])
    torch.testing.assert_close(made(users, items), expected)
    torch.testing.assert_close(made(users)[:, items], expected)
    with torch.no_grad():
        torch.testing.assert_close(made(users, items), expected)
    assert made.item_vectors() is made.items.weight


def test_sparse_and_dense_slopes_agree() -> None:
    users, items = torch.tensor([4, 0, 2]), torch.tensor([1, 3])
    weights = torch.randn(3, 2, generator=torch.Generator().manual_seed(1))
    found = {}
    for sparse in (False, True):
        made = net(sparse=sparse)
        (made(users, items) * weights).sum().backward()
        found[sparse] = {name: p.grad for name, p in made.named_parameters()}
    assert all(slopes.is_sparse for slopes in found[True].values())
    for name, slopes in found[False].items():
        torch.testing.assert_close(found[True][name].to_dense(), slopes)


def test_a_step_moves_the_people_and_items_of_the_batch_alone() -> None:
    made = net(sparse=True)
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    users, items = torch.tensor([4, 0]), torch.tensor([1, 3])
    made(users, items).square().sum().backward()
    LazyAdam(made.parameters(), lr=0.1).step()
    moved = {name: (p.detach() != before[name]) for name, p in made.named_parameters()}
    assert moved["users"].any(1).tolist() == [True, False, False, False, True]
    for name in ("items.weight", "output_bias.weight"):
        assert moved[name].view(4, -1).any(1).tolist() == [False, True, False, True]


def test_dropout_is_for_training_only() -> None:
    made, users = net(dropout=0.5), torch.arange(5)
    torch.manual_seed(0)
    assert not torch.equal(made(users), made(users))
    made.eval()
    assert torch.equal(made(users), made(users))


def test_it_has_the_losses_of_the_autoencoders() -> None:
    """With the same scores, the loss of a batch is the same."""
    x = datasets.synthetic(12, 9, 50, seed=0)
    for loss in ("multinomial", "logistic", "mse"):
        options: dict[str, Any] = {"loss": loss, "epochs": 1, "device": "cpu"}
        ours, other = MatrixFactorization(**options), DynamicAutoencoder(layers=(3,), **options)
        scores = torch.randn(12, 9, generator=torch.Generator().manual_seed(2))
        histories = x.histories()
        assert ours._compare(scores, histories) == other._compare(scores, histories)


def test_without_items_people_are_not_trained() -> None:
    x = Interactions.from_arrays(list("aabbcc"), list("tjtjno")).select(np.arange(6) < 4)
    model = MatrixFactorization(factors=3, epochs=5, device="cpu").fit(x)
    start = MatrixFactorization(factors=3, epochs=5, device="cpu")
    first = start._build(3, 4, torch.Generator().manual_seed(0)).users
    moved = (model.net_.users != first).any(1)
    assert moved.tolist() == [True, True, False]
