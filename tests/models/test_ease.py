from typing import ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose

from recsys_lib import Interactions
from recsys_lib.errors import DataError
from recsys_lib.models import EASE, _cooccurrence
from tests.models.contract import RecommenderContract, bad_numbers


class TestContract(RecommenderContract):
    bad_parameters: ClassVar = {"l2": bad_numbers(0, -1.0)}

    @classmethod
    def make(cls, **parameters):
        return EASE(**({"l2": 1.0} | parameters))


def random_data(n_users=60, n_items=25, share=0.2, seed=0):
    filled = np.random.default_rng(seed).random((n_users, n_items)) < share
    return Interactions.from_csr(sp.csr_matrix(filled.astype(np.float32)))


@pytest.mark.parametrize("l2", [0.5, 20.0])
def test_against_the_formula_in_double_precision(l2):
    data = random_data()
    x = data.to_csr().toarray().astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + l2 * np.eye(x.shape[1]))
    expected = inverse / -np.diag(inverse)
    np.fill_diagonal(expected, 0)
    model = EASE(l2=l2, device="cpu").fit(data)
    assert_allclose(model.weights_, expected, atol=2e-6)
    active = x.any(1)  # the others are given the popular items
    assert_allclose(model.score()[active], (x @ expected)[active], atol=1e-5)
    assert model.weights_.diagonal().eq(0).all()


def test_every_column_is_a_ridge_regression_on_the_other_items():
    data, l2 = random_data(seed=1), 3.0
    x = data.to_csr().toarray().astype(np.float64)
    weights = EASE(l2=l2, device="cpu").fit(data).weights_.numpy()
    for target in (0, 7, 24):
        others = np.arange(x.shape[1]) != target
        a = x[:, others]
        best = np.linalg.solve(a.T @ a + l2 * np.eye(a.shape[1]), a.T @ x[:, target])
        assert_allclose(weights[others, target], best, atol=2e-6)


def test_scores_do_not_depend_on_the_batch():
    model = EASE(device="cpu").fit(random_data(n_users=200, n_items=70))
    together = model.score_users(torch.arange(200))
    for size in (1, 7, 64):
        apart = torch.cat([model.score_users(batch) for batch in torch.arange(200).split(size)])
        assert torch.equal(apart, together)


def test_blocks_change_nothing(monkeypatch):
    data = random_data()
    whole = EASE(device="cpu").fit(data).weights_
    monkeypatch.setattr(_cooccurrence, "_BLOCK_BYTES", 4 * data.n_items * 4)
    assert torch.equal(EASE(device="cpu").fit(data).weights_, whole)


def test_a_matrix_that_cannot_be_inverted_is_explained():
    # Two items that everybody had, always together: without l2 their rows are the same.
    data = Interactions.from_arrays(np.repeat(np.arange(100), 2), np.tile([1, 2], 100))
    with pytest.raises(DataError, match=r"l2=1e-09 is too small .* Use l2=1"):
        EASE(l2=1e-9).fit(data)
    model = EASE(l2=1.0).fit(data)
    assert np.isfinite(model.score()).all()


def test_similar_items_are_the_rows_of_the_weights():
    model = EASE(device="cpu").fit(random_data())
    found = model.similar_items([3], k=24)
    assert_allclose(found["score"], model.weights_[3, found["similar"].tolist()], rtol=1e-6)
    assert 3 not in set(found["similar"])
