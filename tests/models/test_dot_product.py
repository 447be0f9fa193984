from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from recsys_lib import datasets, splits
from recsys_lib.models import BPR, LogisticMF
from tests.models.contract import RecommenderContract, bad_numbers

BAD: dict[str, list[Any]] = {
    "factors": [0, -1, 2.5, "x", None],
    "negatives": [0, 1.5, None],
    "sampler": ["nobody", None],
    "alpha": bad_numbers(-0.1),
    "pool": [0, 1.5],
    "loss": ["squared", None],
    "margin": bad_numbers(0),
    "l2": bad_numbers(-1.0),
    "init_std": bad_numbers(0, -1.0),
    "record_negatives": [2, None],
    "batch_size": [0, 1.5],
    "epochs": [0, 1.5],
    "learning_rate": bad_numbers(0),
}


class TestBPR(RecommenderContract):
    scores_new_people = False
    bad_parameters: ClassVar = BAD

    @classmethod
    def make(cls, **parameters: Any) -> BPR:
        settings = {"factors": 4, "l2": 0.1, "batch_size": 16, "epochs": 25, "learning_rate": 0.05}
        return BPR(**(settings | parameters))


class TestLogisticMF(RecommenderContract):
    scores_new_people = False
    bad_parameters: ClassVar = BAD

    @classmethod
    def make(cls, **parameters: Any) -> LogisticMF:
        settings = {"factors": 4, "l2": 0.1, "batch_size": 16, "epochs": 25, "learning_rate": 0.05}
        return LogisticMF(**(settings | parameters))


def data() -> splits.Split:
    return splits.random_holdout(datasets.synthetic(200, 120, 4000, seed=4), seed=0)


def test_a_step_of_bpr_by_hand() -> None:
    """Rendle et al. (2009), section 4.3: the gradient for one triple, with their regularization."""
    model = BPR(factors=3, l2=0.2, init_std=1.0)
    net: Any = model._make_net(2, 4, None, None, torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.item_bias.copy_(torch.tensor([0.1, 0.2, -0.3, 0.4]))
    model._log_q = None
    model._loss(net, (torch.tensor([1]), torch.tensor([[2, 0]]), None)).backward()
    p, q, bias = net.user.ids.detach(), net.item.ids.detach(), net.item_bias.detach()
    difference = bias[2] - bias[0] + p[1] @ (q[2] - q[0])
    slope = 1 / (1 + difference.exp())
    # The penalty is a mean over the two pairs, (u, i) and (u, j).
    torch.testing.assert_close(net.user.ids.grad[1], -slope * (q[2] - q[0]) + 2 * 0.2 * p[1])
    torch.testing.assert_close(net.item.ids.grad[2], -slope * p[1] + 0.2 * q[2])
    torch.testing.assert_close(net.item.ids.grad[0], slope * p[1] + 0.2 * q[0])
    torch.testing.assert_close(net.item_bias.grad[[2, 0]], torch.stack([-slope, slope]) + 0.2 * bias[[2, 0]])
    # Nobody else is moved or shrunk.
    assert not net.user.ids.grad[0].any()
    assert not net.item.ids.grad[[1, 3]].any()


@pytest.mark.parametrize("family", [BPR, LogisticMF])
@pytest.mark.parametrize("loss", ["logistic", "bpr", "softmax"])
def test_only_the_logistic_loss_has_biases_of_users(family: type[BPR] | type[LogisticMF], loss: str) -> None:
    model = family(factors=2, loss=loss, epochs=1, device="cpu").fit(data().train)
    assert ("user_bias" in model._state()) == (loss == "logistic")


def test_probabilities_are_calibrated() -> None:
    """Where the log loss is least, a user's positives and negatives pull at their bias equally hard."""
    train = data().train
    settings: dict[str, Any] = {
        "l2": 0.0,
        "epochs": 15,
        "batch_size": 128,
        "learning_rate": 0.05,
        "schedule": "linear",
    }
    model = LogisticMF(factors=2, negatives=4, device="cpu", **settings).fit(train)
    probability = 1 / (1 + np.exp(-model.score()))
    seen = train.histories().to_dense(torch.bool).numpy()
    mean_of_negatives = np.where(seen, 0, probability).sum(1) / (~seen).sum(1)
    pull_up = np.where(seen, 1 - probability, 0).sum(1)
    assert pull_up.sum() == pytest.approx(4 * (seen.sum(1) * mean_of_negatives).sum(), rel=0.05)


@pytest.mark.parametrize("factors", [1, 16, 256])
def test_vectors_start_equally_long_for_any_number_of_factors(factors: int) -> None:
    model = LogisticMF(factors=factors, init_std=0.5)
    net: Any = model._make_net(4000, 3000, None, None, torch.Generator().manual_seed(0))
    for vectors in (net.user.ids, net.item.ids):
        assert vectors.square().sum(1).mean().item() == pytest.approx(0.25, rel=0.15)
