from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose

import recsys_lib
from recsys_lib import Interactions, evaluate, splits
from recsys_lib.errors import DataError, FileFormatError
from recsys_lib.histories import Histories
from recsys_lib.models import IALS, _least_squares
from recsys_lib.models._least_squares import (
    Lists,
    block_descent,
    conjugate_gradient,
    principal_axes,
    solve_exactly,
)
from tests.models.contract import RecommenderContract, bad_numbers

SOLVERS = ("cg", "cholesky", "subspace")


class TestContract(RecommenderContract):
    bad_parameters: ClassVar = {
        "factors": [0, -1, 2.5, "x", None],
        "unobserved_weight": bad_numbers(0, -1.0),
        "l2": bad_numbers(0, -1.0),
        "l2_exponent": bad_numbers(-0.1, 1.1),
        "epochs": [0, 1.5],
        "patience": [0, 1.5],
        "init_std": bad_numbers(0, -1.0),
        "solver": ["lu", None],
        "cg_steps": [0, 1.5],
        "block_size": [0, 1.5],
    }

    @classmethod
    def make(cls, **parameters: Any) -> IALS:
        return IALS(**({"factors": 3, "epochs": 5} | parameters))


def random_data(n_users=60, n_items=25, share=0.2, seed=0) -> Interactions:
    filled = np.random.default_rng(seed).random((n_users, n_items)) < share
    return Interactions.from_csr(sp.csr_matrix(filled.astype(np.float32)))


def with_newcomers(data: Interactions) -> Interactions:
    """The same interactions, with a user and an item more who have none."""
    users, items = np.append(data.users, data.n_users), np.append(data.items, data.n_items)
    return Interactions.from_arrays(users, items).select(np.arange(len(data)))


# ---------------------------------------------------------------------- the same in NumPy, one by one


def penalties(x: np.ndarray, model: IALS) -> tuple[np.ndarray, np.ndarray]:
    """Lambda of each user and item, by the formula; only those with interactions count."""
    counts = x.sum(1), x.sum(0)
    others = (counts[1] > 0).sum(), (counts[0] > 0).sum()
    return tuple(
        model.l2 * (c + model.unobserved_weight * n) ** model.l2_exponent
        for c, n in zip(counts, others, strict=True)
    )


def half_step(x: np.ndarray, fixed: np.ndarray, l2: np.ndarray, alpha: float) -> np.ndarray:
    """The minimum for each row of x, from its dense normal equations."""
    identity = np.eye(fixed.shape[1])
    return np.stack(
        [
            np.linalg.solve((fixed * (row + alpha)[:, None]).T @ fixed + one * identity, fixed.T @ row)
            for row, one in zip(x, l2, strict=True)
        ]
    )


def objective(x: np.ndarray, p: np.ndarray, q: np.ndarray, model: IALS) -> float:
    scores, (user_l2, item_l2) = p @ q.T, penalties(x, model)
    return float(
        (x * (1 - scores) ** 2).sum()
        + model.unobserved_weight * (scores**2).sum()
        + (user_l2 * (p**2).sum(1)).sum()
        + (item_l2 * (q**2).sum(1)).sum()
    )


def learned(model: IALS) -> tuple[np.ndarray, np.ndarray]:
    return model.user_factors_.double().numpy(), model.item_factors_.double().numpy()


# ---------------------------------------------------------------------- the solvers

D = 6
LENGTHS = [0, 40, 1, 5, D, D + 1, 0, 23, 2, 40]  # empty, shorter than d, longer, all items, again empty


@pytest.fixture
def problem() -> tuple[Lists, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lists of many lengths, vectors, a diagonal and a place to start."""
    random = np.random.default_rng(1)
    lists = [random.choice(40, n, replace=False).tolist() for n in LENGTHS]
    vectors = torch.from_numpy(random.normal(size=(40, D))).float()
    diagonal = torch.from_numpy(random.uniform(0.5, 3, (len(lists), D))).float()
    start = torch.from_numpy(random.normal(size=(len(lists), D))).float()
    return Lists(Histories.from_lists(lists, 40)), vectors, diagonal, start


def dense_solution(lists: Lists, vectors: torch.Tensor, diagonal: torch.Tensor) -> np.ndarray:
    x, v = lists.histories.to_dense().double().numpy(), vectors.double().numpy()
    return np.stack(
        [
            np.linalg.solve((v * row[:, None]).T @ v + np.diag(d), v.T @ row)
            for row, d in zip(x, diagonal.double().numpy(), strict=True)
        ]
    )


def dense_value(lists: Lists, vectors: torch.Tensor, diagonal: torch.Tensor, x: torch.Tensor) -> float:
    seen, x = lists.histories.to_dense().double(), x.double()
    return float((seen * (1 - x @ vectors.double().T) ** 2).sum() + (diagonal.double() * x**2).sum())


def test_every_solver_finds_the_solution_of_the_normal_equations(problem):
    lists, vectors, diagonal, start = problem
    expected = dense_solution(lists, vectors, diagonal)
    assert_allclose(solve_exactly(lists, vectors, diagonal)[0], expected, atol=2e-6)
    assert_allclose(conjugate_gradient(lists, vectors, diagonal, start, 2 * D)[0], expected, atol=2e-5)
    assert_allclose(block_descent(lists, vectors, diagonal, start, D)[0], expected, atol=2e-5)
    for _ in range(60):
        start, _ = block_descent(lists, vectors, diagonal, start, 4)
    assert_allclose(start, expected, atol=2e-5)


def test_empty_lists_get_zeros(problem):
    lists, vectors, diagonal, start = problem
    empty = torch.tensor(LENGTHS) == 0
    assert solve_exactly(lists, vectors, diagonal)[0][empty].eq(0).all()
    for steps in (1, 3, 50):  # a row that is solved stays so
        solution, _ = conjugate_gradient(lists, vectors, diagonal, start * ~empty[:, None], steps)
        assert solution[empty].eq(0).all()
        assert solution.isfinite().all()
    nothing = Lists(Histories.from_lists([[], []], 40))
    for solve in (solve_exactly, lambda *p: conjugate_gradient(*p, start[:2] * 0, 3)):
        solution, value = solve(nothing, vectors, diagonal[:2])
        assert solution.eq(0).all()
        assert float(value) == 0


def test_every_solver_tells_the_value_where_it_stopped(problem):
    lists, vectors, diagonal, start = problem
    before = dense_value(lists, vectors, diagonal, start)
    found = {
        "exact": solve_exactly(lists, vectors, diagonal),
        **{f"cg {n}": conjugate_gradient(lists, vectors, diagonal, start, n) for n in (1, 2, 3, 30)},
        **{f"block {n}": block_descent(lists, vectors, diagonal, start, n) for n in (1, 4, D, 99)},
    }
    best = dense_value(lists, vectors, diagonal, found["exact"][0])
    for solution, value in found.values():
        assert float(value) == pytest.approx(dense_value(lists, vectors, diagonal, solution), rel=1e-5)
        assert best * (1 - 1e-5) <= float(value) < before
    assert found["cg 1"][1] > found["cg 2"][1] > found["cg 3"][1]


@pytest.mark.parametrize(("numbers", "n_parts"), [(9 * D, 5), (D, 40), (1, 40), (40 * D, 1)])
def test_parts_change_nothing(problem, monkeypatch, numbers, n_parts):
    lists, vectors, diagonal, start = problem
    whole, value = conjugate_gradient(lists, vectors, diagonal, start, 3)
    monkeypatch.setattr(_least_squares, "_CACHED_NUMBERS", numbers)
    ends = [(part.items.start, part.items.stop) for part in lists.parts(D)]
    assert len(ends) == n_parts
    assert [0, *(stop for _, stop in ends)] == [*(start for start, _ in ends), 40]  # each item once
    found, other = conjugate_gradient(lists, vectors, diagonal, start, 3)
    assert_allclose(found, whole, atol=1e-5)
    assert float(other) == pytest.approx(float(value), rel=1e-5)


def test_batches_change_nothing(problem, monkeypatch):
    lists, vectors, diagonal, start = problem
    whole = [solve_exactly(lists, vectors, diagonal)[0], block_descent(lists, vectors, diagonal, start, 4)[0]]
    monkeypatch.setattr(_least_squares, "_CPU_NUMBERS", 100)
    assert len(list(lists.padded(vectors))) > 5
    assert_allclose(solve_exactly(lists, vectors, diagonal)[0], whole[0], atol=1e-6)
    assert_allclose(block_descent(lists, vectors, diagonal, start, 4)[0], whole[1], atol=1e-6)


def test_a_gram_matrix_in_blocks_is_the_same(problem, monkeypatch):
    lists, vectors, diagonal, _ = problem
    whole, _ = solve_exactly(lists, vectors, diagonal)
    monkeypatch.setattr(_least_squares, "_GRAM_BLOCK", 4)
    assert_allclose(solve_exactly(lists, vectors, diagonal)[0], whole, atol=1e-6)


def test_one_long_history_does_not_blow_up_the_batches(monkeypatch):
    monkeypatch.setattr(_least_squares, "_CPU_NUMBERS", 2**14)
    lists = Lists(Histories.from_lists([[7]] * 3000 + [list(range(8000))] + [[1, 2]] * 3000, 8000))
    sizes = [v.numel() for _, v in lists.padded(torch.ones(8000, 8))]
    assert max(sizes) == 8000 * 8
    assert sum(sizes) < 3 * len(lists.histories.indices) * 8
    rows = torch.cat([rows for rows, _ in lists.padded(torch.ones(8000, 8))])
    assert torch.equal(rows.sort().values, torch.arange(6001))


def test_lists_are_transposed():
    lists = Lists(Histories.from_lists([[0, 2], [], [2, 3], [0]], 5)).transposed()
    assert lists.histories.n_items == 4
    assert lists.histories.indptr.tolist() == [0, 2, 2, 4, 5, 5]
    assert lists.histories.indices.tolist() == [0, 3, 0, 2, 2]


def test_principal_axes_make_the_gram_matrix_diagonal():
    vectors = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 8)
    axes = principal_axes(vectors)
    assert_allclose(axes.T @ axes, torch.eye(7), atol=1e-6)
    turned = vectors @ axes
    gram = turned.T @ turned
    assert_allclose(gram, torch.diag(gram.diagonal()), atol=1e-3)
    assert (gram.diagonal().diff() < 0).all()


# ---------------------------------------------------------------------- training


@pytest.mark.parametrize("l2_exponent", [0.0, 0.5, 1.0])
def test_against_alternating_least_squares_in_numpy(l2_exponent):
    data = with_newcomers(random_data())
    settings = {"factors": 8, "epochs": 4, "l2": 0.05, "seed": 3, "device": "cpu"}
    model = IALS(solver="cholesky", l2_exponent=l2_exponent, **settings)
    x = data.to_csr().toarray().astype(np.float64)
    user_l2, item_l2 = penalties(x, model)
    generator = torch.Generator().manual_seed(3)
    q = torch.randn(x.shape[1], 8, generator=generator).double().numpy() * 0.1 / 8**0.5
    q[x.sum(0) == 0] = 0
    for _ in range(model.epochs):
        p = half_step(x, q, user_l2, model.unobserved_weight)
        q = half_step(x.T, p, item_l2, model.unobserved_weight)
    p = half_step(x, q, user_l2, model.unobserved_weight)
    model.fit(data)
    found_p, found_q = learned(model)
    assert_allclose(found_p @ found_q.T, p @ q.T, atol=5e-5)
    assert model.history_["loss"].iloc[-1] == pytest.approx(objective(x, p, q, model), rel=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_loss_never_rises(solver):
    data = with_newcomers(random_data(seed=1))
    x = data.to_csr().toarray().astype(np.float64)
    settings = {"factors": 10, "solver": solver, "cg_steps": 1, "block_size": 3, "device": "cpu"}
    model = IALS(epochs=12, **settings).fit(data)
    losses = model.history_["loss"].to_numpy()
    assert list(model.history_["epoch"]) == list(range(1, 13))
    assert (np.diff(losses) <= 1e-6 * losses[:-1]).all()
    assert losses[-1] < losses[0]
    # The users are solved for exactly in the end, so the loss is at most that of the last epoch.
    assert objective(x, *learned(model), model) <= losses[-1] * (1 + 1e-6)


@pytest.mark.parametrize(("solver", "steps"), [("cg", 12), ("subspace", 8)])
def test_solvers_agree_when_they_take_enough_steps(solver, steps):
    data = random_data(seed=2)
    settings = {"factors": 8, "epochs": 3, "device": "cpu", "l2": 0.05}
    exact = IALS(solver="cholesky", **settings).fit(data)
    other = IALS(solver=solver, cg_steps=steps, block_size=steps, **settings).fit(data)
    assert_allclose(other.score(), exact.score(), atol=1e-4)
    assert_allclose(other.history_["loss"], exact.history_["loss"], rtol=1e-4)


def test_more_factors_than_items():
    data = random_data(n_users=30, n_items=12, share=0.4)
    x = data.to_csr().toarray().astype(np.float64)
    for solver in SOLVERS:
        model = IALS(factors=150, solver=solver, epochs=3, device="cpu").fit(data)
        p, q = learned(model)
        best = half_step(x, q, penalties(x, model)[0], model.unobserved_weight)
        assert_allclose(p @ q.T, best @ q.T, atol=2e-5)


def test_seeds_differ():
    one, two = (IALS(factors=4, epochs=2, seed=seed).fit(random_data()) for seed in (0, 1))
    assert not np.allclose(one.score(), two.score(), atol=1e-3)


@pytest.mark.parametrize("solver", ["cg", "cholesky"])
def test_equations_that_cannot_be_solved_are_explained(solver):
    data = Interactions.from_arrays(np.repeat(np.arange(40), 4), np.tile(np.arange(4), 40))
    with pytest.raises(DataError, match="Use a larger l2 or unobserved_weight"):
        IALS(factors=3, solver=solver, l2=1e-44, unobserved_weight=1e-44).fit(data)


# ---------------------------------------------------------------------- users


def test_users_are_the_solutions_of_their_regressions():
    data = with_newcomers(random_data())
    x = data.to_csr().toarray().astype(np.float64)
    model = IALS(factors=8, device="cpu").fit(data)
    p, q = learned(model)
    assert_allclose(p, half_step(x, q, penalties(x, model)[0], model.unobserved_weight), atol=2e-5)
    folded = model.score_histories(model.seen_)
    assert_allclose(folded, model.score_users(torch.arange(data.n_users)), atol=2e-6)


def test_a_new_person_is_the_solution_of_their_regression():
    data = with_newcomers(random_data())
    model = IALS(factors=8, l2=0.1, l2_exponent=0.7, device="cpu").fit(data)
    _, q = learned(model)
    lists = [[0, 3], [5], list(range(20)), [25]]  # nobody had the last item
    n_items = (data.item_counts() > 0).sum()
    l2 = np.array([0.1 * (len(one) + model.unobserved_weight * n_items) ** 0.7 for one in lists])
    x = Histories.from_lists(lists, data.n_items).to_dense().double().numpy()
    expected = half_step(x, q, l2, model.unobserved_weight) @ q.T
    assert_allclose(model.score_histories(Histories.from_lists(lists, data.n_items)), expected, atol=2e-5)


def test_ids_without_interactions_change_nothing():
    data = random_data(share=0.3)
    assert data.user_counts().min() > 0
    # Of 16 factors, because the first random numbers are then the same however many are drawn.
    plain, extended = (IALS(factors=16, device="cpu").fit(x) for x in (data, with_newcomers(data)))
    assert extended.user_factors_[-1].eq(0).all()
    assert extended.item_factors_[-1].eq(0).all()
    assert_allclose(extended.score()[:-1, :-1], plain.score(), atol=1e-4)


# ---------------------------------------------------------------------- validation


@pytest.fixture(scope="module")
def parts() -> splits.Split:
    return splits.random_holdout(random_data(80, 40, 0.3, seed=5), test=0.2, seed=0)


def test_the_best_epoch_is_kept(parts):
    settings = {"factors": 16, "l2": 1e-4, "init_std": 1.0, "solver": "cholesky", "device": "cpu"}
    model = IALS(epochs=8, **settings).fit(parts.train, parts.test)
    assert list(model.history_.columns) == ["epoch", "loss", "valid_ndcg@10", "seconds"]
    values = model.history_["valid_ndcg@10"]
    assert len(values) == 8
    best = int(values.idxmax()) + 1
    assert best < 8
    assert evaluate(model, parts, metrics=["ndcg"])["ndcg@10"] == pytest.approx(values.max())
    alone = IALS(epochs=best, **settings).fit(parts.train)
    assert_allclose(model.score(), alone.score(), atol=1e-6)
    assert list(alone.history_.columns) == ["epoch", "loss", "seconds"]


def test_patience(parts):
    settings = {"factors": 16, "l2": 1e-4, "init_std": 1.0, "device": "cpu"}
    values = IALS(epochs=12, **settings).fit(parts.train, parts.test).history_["valid_ndcg@10"]
    stopped = IALS(epochs=12, patience=2, **settings).fit(parts.train, parts.test).history_["valid_ndcg@10"]
    best = int(stopped.idxmax())
    assert len(stopped) == best + 3 < 12
    assert stopped.tolist() == values[: best + 3].tolist()


def test_patience_needs_validation_data(parts):
    model = IALS(factors=2, epochs=1).fit(parts.train)
    model.patience = 3
    with pytest.raises(ValueError, match="patience=3 needs validation data"):
        model.fit(parts.train)
    assert model.is_fitted  # nothing was lost


# ---------------------------------------------------------------------- keeping


def test_vectors_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    IALS(factors=4, epochs=1).fit(random_data()).save(path)
    contents = torch.load(path, weights_only=True)
    for name in ("user_factors", "item_factors"):
        key = f"state.{name}"
        torch.save(contents | {key: contents[key][:, :-1].clone()}, path)
        with pytest.raises(FileFormatError, match=rf"{name} must be .* got shape \(\d+, 3\)"):
            recsys_lib.load(path)
