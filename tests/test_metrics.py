import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from recsys_lib import metrics as m
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories

# Five users, six items. What each user gets, and what each would have liked.
RANKED = torch.tensor([[0, 1, 2], [3, 4, 5], [5, 0, 1], [2, 3, -1], [1, 2, 3]])
RELEVANT = Histories.from_lists([[0, 2], [0, 1, 2, 4], [1], [2, 3], []], n_items=6)
N_RELEVANT = RELEVANT.lengths()
HITS = m.hits(RANKED, RELEVANT)
LOG3 = math.log2(3)
nan = math.nan


def same(values, expected):
    assert values.tolist() == pytest.approx(expected, nan_ok=True, abs=1e-12)


# ------------------------------------------------------------------ by hand


def test_hits_by_hand():
    assert HITS.int().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 0]]


def test_padding_is_never_a_hit_even_if_the_last_item_is_relevant():
    relevant = Histories.from_lists([[5], [0]], n_items=6)
    assert not m.hits(torch.tensor([[-1, -1], [-1, -1]]), relevant).any()


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, [1, 0, 0, 1, nan]), (2, [1, 1, 0, 1, nan]), (3, [1, 1, 1, 1, nan]), (9, [1, 1, 1, 1, nan])],
)
def test_hit_rate_by_hand(k, expected):
    same(m.hit_rate(HITS, k, N_RELEVANT), expected)


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, [1, 0, 0, 1, nan]),
        (2, [1 / 2, 1 / 2, 0, 1, nan]),
        (3, [2 / 3, 1 / 3, 1 / 3, 2 / 3, nan]),
        (5, [2 / 5, 1 / 5, 1 / 5, 2 / 5, nan]),
    ],
)
def test_precision_by_hand(k, expected):
    same(m.precision(HITS, k, N_RELEVANT), expected)


@pytest.mark.parametrize(
    ("k", "truncated", "expected"),
    [
        (1, False, [1 / 2, 0, 0, 1 / 2, nan]),
        (1, True, [1, 0, 0, 1, nan]),
        (3, False, [1, 1 / 4, 1, 1, nan]),
        (3, True, [1, 1 / 3, 1, 1, nan]),
    ],
)
def test_recall_by_hand(k, truncated, expected):
    same(m.recall(HITS, N_RELEVANT, k, truncated), expected)


def test_ndcg_by_hand():
    ideal = [1, 1 + 1 / LOG3, 1 + 1 / LOG3 + 1 / 2, 1 + 1 / LOG3 + 1 / 2 + 1 / math.log2(5)]
    expected = [1.5 / ideal[1], (1 / LOG3) / ideal[2], 0.5 / ideal[0], 1, nan]
    same(m.ndcg(HITS, N_RELEVANT, 3), expected)
    expected[1] = (1 / LOG3) / ideal[3]  # only this user has more relevant items than places
    same(m.ndcg(HITS, N_RELEVANT, 3, truncated=False), expected)


def test_average_precision_by_hand():
    same(m.average_precision(HITS, N_RELEVANT, 3), [(1 + 2 / 3) / 2, (1 / 2) / 4, 1 / 3, 1, nan])
    same(
        m.average_precision(HITS, N_RELEVANT, 3, truncated=True),
        [(1 + 2 / 3) / 2, (1 / 2) / 3, 1 / 3, 1, nan],
    )
    same(m.average_precision(HITS, N_RELEVANT, 1), [1 / 2, 0, 0, 1 / 2, nan])


def test_reciprocal_rank_by_hand():
    same(m.reciprocal_rank(HITS, 3, N_RELEVANT), [1, 1 / 2, 1 / 3, 1, nan])
    same(m.reciprocal_rank(HITS, 2, N_RELEVANT), [1, 1 / 2, 0, 1, nan])


def test_users_without_relevant_items_are_zero_where_the_count_is_not_given():
    for metric in (m.hit_rate, m.precision, m.reciprocal_rank):
        assert float(metric(HITS, 3)[4]) == 0.0


def test_coverage_and_gini_by_hand():
    assert float(m.coverage(RANKED, 6, 3)) == 1.0
    assert float(m.coverage(RANKED, 6, 1)) == pytest.approx(5 / 6)
    # Counts at k=3, ascending: 1 (item 4), 2 (items 0 and 5), 3 (items 1, 2 and 3); weights -5, -3, ..., 5.
    assert float(m.gini(RANKED, 6, 3)) == pytest.approx(
        (-5 * 1 - 3 * 2 - 1 * 2 + 1 * 3 + 3 * 3 + 5 * 3) / (6 * 14)
    )
    assert float(m.gini(torch.tensor([[0, 1], [2, 3]]), 4, 2)) == 0.0
    assert math.isnan(float(m.gini(torch.tensor([[-1]]), 4, 1)))


def test_novelty_by_hand():
    p = torch.tensor([1.0, 0.5, 0.25, 0.125, 0.0625, 1.0])
    same(m.novelty(RANKED, p, 3), [1, 7 / 3, 1 / 3, 5 / 2, 2])
    same(m.novelty(torch.tensor([[-1, -1]]), p, 2), [nan])


def test_rmse_is_over_ratings_not_a_mean_of_batches():
    predicted, true = torch.tensor([3.0, 3.0, 5.0, 1.0]), torch.tensor([3.0, 4.0, 3.0, 1.0])
    assert float(m.rmse(predicted, true)) == pytest.approx(math.sqrt(5 / 4))
    assert float(m.mae(predicted, true)) == pytest.approx(3 / 4)


def test_auc_by_hand():
    scores = torch.tensor([[0.9, 0.5, 0.5, 0.1]])
    positives = torch.tensor([[True, False, True, False]])
    same(m.auc(scores, positives), [(1 + 1 + 1 / 2 + 1) / 4])
    same(m.auc(scores, positives, torch.tensor([[False, True, False, False]])), [1])
    same(m.auc(torch.zeros(1, 4), positives), [1 / 2])
    infinite = torch.tensor([[math.inf, -math.inf, math.inf, math.inf]])
    same(m.auc(infinite, positives), [(1 + 1 + 1 / 2 + 1 / 2) / 4])


def test_auc_is_undefined_without_a_positive_or_a_negative():
    scores = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    same(m.auc(scores, torch.tensor([[True] * 3, [False] * 3])), [nan, nan])
    everything = torch.ones(2, 3, dtype=torch.bool)
    same(m.auc(scores, torch.tensor([[True, False, True]] * 2), everything), [nan, nan])


# ------------------------------------------------------------------ against other implementations


def random_case(seed, n_users=30, n_items=40, max_relevant=12):
    rng = np.random.default_rng(seed)
    scores = rng.permuted(np.tile(np.arange(n_items, dtype=float), (n_users, 1)), axis=1)  # no ties
    lists = [
        rng.choice(n_items, rng.integers(1, max_relevant + 1), replace=False).tolist() for _ in range(n_users)
    ]
    ranked = torch.from_numpy(np.argsort(-scores, axis=1))
    return scores, lists, ranked, Histories.from_lists(lists, n_items)


@pytest.mark.parametrize("k", [1, 5, 10, 40])
def test_ndcg_agrees_with_scikit_learn(k):
    scores, _, ranked, relevant = random_case(k)
    truth = relevant.to_dense().numpy()
    expected = [ndcg_score(truth[u : u + 1], scores[u : u + 1], k=k) for u in range(len(truth))]
    same(m.ndcg(m.hits(ranked, relevant), relevant.lengths(), k), expected)


def test_average_precision_of_the_whole_ranking_agrees_with_scikit_learn():
    scores, _, ranked, relevant = random_case(1)
    truth = relevant.to_dense().numpy()
    expected = [average_precision_score(truth[u], scores[u]) for u in range(len(truth))]
    for truncated in (False, True):
        same(m.average_precision(m.hits(ranked, relevant), relevant.lengths(), 40, truncated), expected)


def test_auc_agrees_with_scikit_learn_ties_and_exclusions_included():
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 8, (50, 30)).astype(np.float32)
    positives = rng.random((50, 30)) < 0.2
    positives[:, 0], positives[:, 1] = True, False
    excluded = rng.random((50, 30)) < 0.3
    excluded[:, :2] = False
    expected = [roc_auc_score(p[~e], s[~e]) for s, p, e in zip(scores, positives, excluded, strict=True)]
    same(m.auc(*map(torch.from_numpy, (scores, positives, excluded))), expected)


def brute_force(ranked, relevant, k):
    """The definitions of the Microsoft Recommenders benchmark, user by user: natural logarithm and all."""
    first = [item for item in ranked[:k] if item >= 0]
    hit = [item in relevant for item in first]
    precisions = [sum(hit[: i + 1]) / (i + 1) for i in range(len(hit))]
    gain = sum(h / math.log(i + 2) for i, h in enumerate(hit))
    best = sum(1 / math.log(i + 2) for i in range(min(k, len(relevant))))
    return {
        "map": sum(p for p, h in zip(precisions, hit, strict=True) if h) / len(relevant),
        "ndcg": gain / best,
        "precision": sum(hit) / k,
        "recall": sum(hit) / len(relevant),
        "mrr": next((1 / (i + 1) for i, h in enumerate(hit) if h), 0.0),
        "hit_rate": float(any(hit)),
    }


@pytest.mark.parametrize("k", [1, 3, 10])
def test_the_defaults_are_the_conventions_of_the_microsoft_benchmark(k):
    _, lists, ranked, relevant = random_case(3)
    ranked = ranked[:, :8]  # shorter than the longest cut-off
    ranked[::3, 5:] = -1
    expected = [brute_force(row, set(liked), k) for row, liked in zip(ranked.tolist(), lists, strict=True)]
    hit, n_relevant = m.hits(ranked, relevant), relevant.lengths()
    found = {
        "map": m.average_precision(hit, n_relevant, k),
        "ndcg": m.ndcg(hit, n_relevant, k),
        "precision": m.precision(hit, k),
        "recall": m.recall(hit, n_relevant, k),
        "mrr": m.reciprocal_rank(hit, k),
        "hit_rate": m.hit_rate(hit, k),
    }
    for name, values in found.items():
        same(values, [one[name] for one in expected])


def test_ndcg_of_one_held_out_item_is_that_of_the_ncf_paper():
    relevant = Histories.from_lists([[7]] * 3, n_items=10)
    ranked = torch.tensor([[7, 1, 2], [1, 2, 7], [0, 1, 2]])
    same(m.ndcg(m.hits(ranked, relevant), relevant.lengths(), 3), [1, math.log(2) / math.log(4), 0])


# ------------------------------------------------------------------ properties

PER_USER = {
    "hit_rate": lambda h, n, k: m.hit_rate(h, k, n),
    "precision": lambda h, n, k: m.precision(h, k, n),
    "recall": m.recall,
    "truncated recall": lambda h, n, k: m.recall(h, n, k, truncated=True),
    "ndcg": m.ndcg,
    "untruncated ndcg": lambda h, n, k: m.ndcg(h, n, k, truncated=False),
    "map": m.average_precision,
    "truncated map": lambda h, n, k: m.average_precision(h, n, k, truncated=True),
    "mrr": lambda h, n, k: m.reciprocal_rank(h, k, n),
}


@st.composite
def hit_tables(draw):
    n, width = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=n, max_size=n))
    extra = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    hit = torch.tensor(rows)
    return hit, (hit.sum(1) + torch.tensor(extra)).clamp(min=1), draw(st.integers(1, 15))


@pytest.mark.parametrize("name", PER_USER)
@given(case=hit_tables(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_bounds_order_of_users_and_moving_a_hit_up(name, case, data):
    metric, (hit, n_relevant, k) = PER_USER[name], case
    values = metric(hit, n_relevant, k)
    assert values.shape == (len(hit),)
    assert ((values >= 0) & (values <= 1 + 1e-12)).all()

    order = torch.tensor(data.draw(st.permutations(range(len(hit)))))
    torch.testing.assert_close(metric(hit[order], n_relevant[order], k), values[order], rtol=0, atol=1e-12)

    if hit.shape[1] > 1:  # swap two neighbours so that no hit moves down
        place = data.draw(st.integers(0, hit.shape[1] - 2))
        better = hit.clone()
        better[:, place] = hit[:, place] | hit[:, place + 1]
        better[:, place + 1] = hit[:, place] & hit[:, place + 1]
        assert (metric(better, n_relevant, k) >= values - 1e-12).all()


@given(case=hit_tables())
@settings(max_examples=60, deadline=None)
def test_recall_and_hit_rate_do_not_fall_with_the_cut_off(case):
    hit, n_relevant, k = case
    assert (m.recall(hit, n_relevant, k + 1) >= m.recall(hit, n_relevant, k)).all()
    assert (m.hit_rate(hit, k + 1) >= m.hit_rate(hit, k)).all()
    assert (m.reciprocal_rank(hit, k + 1) >= m.reciprocal_rank(hit, k)).all()


@given(case=hit_tables())
@settings(max_examples=60, deadline=None)
def test_a_perfect_list_gets_one(case):
    _, n_relevant, k = case
    perfect = torch.arange(k) < n_relevant[:, None]
    for name in ("truncated recall", "ndcg", "truncated map", "hit_rate", "mrr"):
        assert PER_USER[name](perfect, n_relevant, k).tolist() == pytest.approx([1.0] * len(n_relevant))


@given(st.lists(st.lists(st.integers(-1, 7), min_size=3, max_size=3), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_bounds_of_coverage_and_gini(rows):
    ranked = torch.tensor(rows)
    assert 0 <= float(m.coverage(ranked, 8, 3)) <= 1
    inequality = float(m.gini(ranked, 8, 3))
    assert math.isnan(inequality) if (ranked < 0).all() else -1e-12 <= inequality < 1


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize("name", PER_USER)
def test_a_cut_off_below_one_is_refused(name):
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        PER_USER[name](HITS, N_RELEVANT, 0)


def test_an_empty_list_misses_everything():
    hit = torch.zeros(2, 0, dtype=torch.bool)
    for metric in PER_USER.values():
        same(metric(hit, torch.tensor([2, 0]), 5), [0, nan])


def test_nobody_has_no_values():
    hit, none = torch.zeros(0, 4, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
    for metric in PER_USER.values():
        assert metric(hit, none, 2).shape == (0,)
    assert m.auc(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)).shape == (0,)


def test_results_are_double_precision():
    assert {metric(HITS, N_RELEVANT, 2).dtype for metric in PER_USER.values()} == {torch.float64}


def test_wrong_input_is_named():
    with pytest.raises(DataError, match=r"shape \(5, K\), got shape \(2, 3\)"):
        m.hits(RANKED[:2], RELEVANT)
    with pytest.raises(DataError, match="names item 6, but the catalogue has 6"):
        m.hits(torch.full((5, 1), 6), RELEVANT)
    with pytest.raises(DataError, match="n_items is 4"):
        m.coverage(RANKED, 4, 3)
    with pytest.raises(DataError, match="above 0 and at most 1"):
        m.novelty(RANKED, torch.zeros(6), 3)
    with pytest.raises(DataError, match="same number of ratings"):
        m.rmse(torch.ones(2), torch.ones(3))
    with pytest.raises(DataError, match="at least one"):
        m.mae(torch.ones(0), torch.ones(0))
    with pytest.raises(DataError, match=r"positives must be .* shape .1, 2., got shape .1, 3."):
        m.auc(torch.ones(1, 2), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(DataError, match="NaN"):
        m.auc(torch.tensor([[nan, 1.0]]), torch.tensor([[True, False]]))


def test_a_nan_score_of_an_excluded_item_does_not_matter_to_auc():
    scores, positives = torch.tensor([[nan, 1.0, 0.0]]), torch.tensor([[False, True, False]])
    same(m.auc(scores, positives, torch.tensor([[True, False, False]])), [1])


# ---------------------------------------------------------------------- at the edges


def test_a_catalogue_of_one_item():
    ranked = torch.tensor([[0], [0]])
    assert m.coverage(ranked, 1, 1).item() == 1
    assert m.gini(ranked, 1, 1).item() == 0


def test_sets_of_lists_are_measured_in_double_precision():
    ranked = torch.tensor([[0, 1], [2, 0]], dtype=torch.int32)
    assert m.coverage(ranked, 7, 2).item() == 3 / 7
    assert {m.coverage(ranked, 7, 2).dtype, m.gini(ranked, 7, 2).dtype} == {torch.float64}
    novelty = m.novelty(ranked, torch.full((3,), 0.3, dtype=torch.float64), 2)
    assert novelty.tolist() == [-math.log2(0.3)] * 2


def test_the_item_outside_of_the_catalogue_is_named():
    with pytest.raises(DataError, match="names item 7, but n_items is 7"):
        m.coverage(torch.tensor([[7, 0]]), 7, 2)
    with pytest.raises(DataError, match="item 3"):
        m.novelty(torch.tensor([[0, 3]]), torch.full((3,), 0.3), 2)


@pytest.mark.parametrize("bad", [1.5, 0.0, -0.1, math.nan])
def test_probabilities_of_items_are_probabilities(bad):
    with pytest.raises(DataError, match="item_probabilities"):
        m.novelty(torch.tensor([[0, 1]]), torch.tensor([0.5, bad]), 2)
