import math
from typing import ClassVar

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_allclose

from recsys_lib import Interactions
from recsys_lib.histories import Histories
from recsys_lib.models import ItemKNN, _cooccurrence, neighbours
from recsys_lib.models._cooccurrence import co_counts
from tests.models.contract import RecommenderContract, bad_numbers

KINDS = ("cosine", "jaccard", "tfidf", "bm25", "counts")


class TestCosine(RecommenderContract):
    bad_parameters: ClassVar = {
        "neighbours": [0, -1, 2.5, "all", True],
        "similarity": ["pearson", None],
        "shrinkage": bad_numbers(-0.1),
        "bm25_k1": bad_numbers(-0.1),
        "bm25_b": bad_numbers(-0.1, 1.1),
    }

    @classmethod
    def make(cls, **parameters):
        return ItemKNN(**parameters)


class TestBM25WithFewNeighbours(RecommenderContract):
    @classmethod
    def make(cls, **parameters):
        return ItemKNN(**({"similarity": "bm25", "neighbours": 6} | parameters))


def random_data(n_users=40, n_items=30, seed=0):
    rng = np.random.default_rng(seed)
    popularity = rng.random(n_items) ** 2 * 0.6
    filled = rng.random((n_users, n_items)) < popularity
    return Interactions.from_csr(sp.csr_matrix(filled.astype(np.float32)))


def by_hand(data, kind, h=0.0, k1=1.2, b=0.75):
    """Similarities of all pairs, one pair after the other, straight from the definitions."""
    x = data.to_csr().toarray().astype(np.float64)
    n_items = x.shape[1]
    active = x.sum(1)
    idf = np.log(1 + (n_items - active + 0.5) / (active + 0.5))
    sizes = x.sum(0)
    damp = (k1 + 1) / (k1 * (1 - b + b * sizes / sizes.mean()) + 1)
    result = np.zeros((n_items, n_items))
    for i in range(n_items):
        for j in range(n_items):
            both = (x[:, i] * x[:, j]) > 0
            if i == j or not both.any():
                continue
            c = both.sum()
            weighted = [np.linalg.norm(x[:, item] * idf) for item in (i, j)]
            result[i, j] = {
                "cosine": c / (math.sqrt(sizes[i] * sizes[j]) + h),
                "jaccard": c / (sizes[i] + sizes[j] - c + h),
                "tfidf": (idf[both] ** 2).sum() / (weighted[0] * weighted[1] + h),
                "bm25": damp[i] * damp[j] * (idf[both] ** 2).sum(),
                "counts": c,
            }[kind]
    return result


def nearest(similarity, k):
    """Keep the k largest of every row; the lower index first among equals."""
    kept = np.zeros_like(similarity)
    for i, row in enumerate(similarity):
        for j in sorted(np.flatnonzero(row), key=lambda j: (-row[j], j))[:k]:
            kept[i, j] = row[j]
    return kept


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 5, None])
def test_against_the_definitions(kind, k, monkeypatch):
    monkeypatch.setattr(_cooccurrence, "_BLOCK_BYTES", 4 * 30 * 7)  # several blocks, the last one smaller
    data = random_data()
    h = 2.5 if kind in ("cosine", "jaccard", "tfidf") else 0.0
    model = ItemKNN(similarity=kind, neighbours=k, shrinkage=h, device="cpu").fit(data)
    similarity = by_hand(data, kind, h)
    # Rounded first, so that what is equal on paper is equal in floating point too.
    kept = nearest(similarity.astype(np.float32), k)
    assert_allclose(model.score(), data.to_csr().toarray() @ kept.T, rtol=1e-4, atol=1e-5)
    pairs = {
        (i, j): s for i, j, s in model.similar_items(np.arange(30), k=30)[["item", "similar", "score"]].values
    }
    assert pairs.keys() == {(i, j) for i, j in zip(*np.nonzero(kept), strict=True)}
    for (i, j), score in pairs.items():
        assert score == pytest.approx(similarity[int(i), int(j)], rel=1e-5)


def test_bm25_parameters():
    data = random_data()
    model = ItemKNN(similarity="bm25", neighbours=None, bm25_k1=3.0, bm25_b=0.2, device="cpu").fit(data)
    expected = data.to_csr().toarray() @ by_hand(data, "bm25", k1=3.0, b=0.2).T
    assert_allclose(model.score(), expected, rtol=1e-4)


def test_shrinkage_needs_a_denominator():
    for kind in ("bm25", "counts"):
        with pytest.raises(ValueError, match=r"shrinkage=3\.0 has no effect"):
            ItemKNN(similarity=kind, shrinkage=3.0)


def test_lists_and_table_score_alike(monkeypatch):
    data = random_data(n_users=100)
    table = ItemKNN(neighbours=4, device="cpu").fit(data)
    assert table._table is not None
    monkeypatch.setattr(neighbours, "_TABLE_BYTES", 0)
    lists = ItemKNN(neighbours=4, device="cpu").fit(data)
    assert lists._table is None
    assert_allclose(lists.score(), table.score(), rtol=1e-6)
    # When nearly all pairs are neighbours the table is the smaller of the two.
    assert ItemKNN(neighbours=None, similarity="counts").fit(random_data(n_users=2000))._table is not None


@pytest.mark.parametrize("table_bytes", [0, 2**20])
def test_scores_do_not_depend_on_the_batch(monkeypatch, table_bytes):
    monkeypatch.setattr(neighbours, "_TABLE_BYTES", table_bytes)
    model = ItemKNN(neighbours=4, device="cpu").fit(random_data(n_users=100))
    users = torch.arange(len(model.user_ids))
    together = model.score_users(users)
    for size in (1, 7, 64):
        assert torch.equal(torch.cat([model.score_users(batch) for batch in users.split(size)]), together)


def test_ties_go_to_the_lower_index():
    # Five items that everybody had: all similarities are equal.
    data = Interactions.from_arrays(np.repeat(np.arange(4), 5), np.tile(np.arange(5), 4))
    model = ItemKNN(neighbours=2, device="cpu").fit(data)
    found = model.similar_items([0, 1, 4], k=5)
    assert found.groupby("item")["similar"].agg(list).to_dict() == {0: [1, 2], 1: [0, 2], 4: [0, 1]}


def test_items_without_common_users_are_no_neighbours():
    data = Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "jam", "nut"])
    model = ItemKNN().fit(data)
    assert model.similar_items(["nut"]).empty
    assert model.similar_items(["tea"])["similar"].tolist() == ["jam"]


@pytest.mark.parametrize("additions", [0, math.inf], ids=["sparse product", "strips"])
def test_co_counts_are_exact_and_weighted(additions: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_cooccurrence, "_ADDITIONS", additions)
    seen = Histories.from_lists([[0, 2], [0, 1, 2], [2], []], n_items=4)
    ((start, counts),) = co_counts(seen)
    assert start == 0
    assert counts.tolist() == [[2, 1, 2, 0], [1, 1, 1, 0], [2, 1, 3, 0], [0, 0, 0, 0]]
    ((_, counts),) = co_counts(seen, torch.tensor([1.0, 10.0, 100.0, 5.0]))
    assert counts.tolist() == [[11, 10, 11, 0], [10, 10, 10, 0], [11, 10, 111, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("weighted", [False, True])
def test_both_ways_of_counting_agree_to_the_last_bit(weighted: bool, monkeypatch: pytest.MonkeyPatch):
    seen = random_data().histories()
    weights = torch.rand(len(seen), generator=torch.Generator().manual_seed(0)) if weighted else None
    found = []
    for additions, strip in ((0, 256), (math.inf, 7)):
        monkeypatch.setattr(_cooccurrence, "_ADDITIONS", additions)
        monkeypatch.setattr(_cooccurrence, "_STRIP", strip)
        blocks = list(co_counts(seen, weights))
        starts, sizes = [start for start, _ in blocks], [len(block) for _, block in blocks]
        assert starts == [sum(sizes[:i]) for i in range(len(sizes))]
        found.append(torch.cat([block for _, block in blocks]))
    assert len(found[1]) == seen.n_items > 7
    assert found[0].equal(found[1])


def test_the_lists_are_in_index_order():
    model = ItemKNN(neighbours=4, device="cpu").fit(random_data())
    lists = [part.tolist() for part in model.neighbours_.tensor_split(model.indptr_[1:-1])]
    assert [len(one) for one in lists] == model.indptr_.diff().tolist()
    assert all(one == sorted(set(one)) and len(one) <= 4 for one in lists)
    assert sum(map(len, lists)) > 4 * 20
