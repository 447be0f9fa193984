import contextlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lib import ranking
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.ranking import rank_candidates, rank_catalogue, score_candidates, top_k

INF = math.inf


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def reference(row, k):
    """Columns of the k best scores: by falling score, then by rising column."""
    return sorted(range(len(row)), key=lambda column: (-row[column], column))[:k]


def assert_exact(scores, k):
    values, columns = top_k(scores, k)
    assert columns.tolist() == [reference(row, k) for row in scores.tolist()]
    assert torch.equal(values, scores.gather(1, columns))


# ------------------------------------------------------------------ top_k


@given(
    rows=st.integers(1, 12).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([-INF, -1.0, -0.0, 0.0, 0.5, 2.0, INF]), min_size=n, max_size=n),
            min_size=1,
            max_size=6,
        )
    ),
    k=st.integers(1, 14),
)
@settings(max_examples=200, deadline=None)
def test_ties_are_exact(rows, k):
    assert_exact(torch.tensor(rows), k)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 128, 700, 1000])
@pytest.mark.parametrize("k", [1, 2, 10])
@pytest.mark.parametrize("levels", [1, 3, 50, 10**6])
def test_the_two_level_search_is_exact(monkeypatch, n, k, levels):
    monkeypatch.setattr(ranking, "_TWO_LEVEL_RATIO", 64)  # the smallest that leaves k tiles to choose
    scores = torch.randint(levels, (20, n), generator=generator(n + k + levels)).float()
    scores[3] = -INF
    assert_exact(scores, k)


def test_the_two_level_search_is_used_for_large_catalogues():
    scores = torch.randint(20_000, (8, 26_744), generator=generator()).float()
    scores[0] = 1.0
    assert_exact(scores, 10)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_other_types_of_scores(dtype):
    scores = torch.randint(9, (5, 40), generator=generator()).to(dtype)
    assert_exact(scores, 7)


@pytest.mark.parametrize("n", [6, 30_000])
@pytest.mark.parametrize("column", [0, 5])
def test_nan_is_refused_by_row(n, column):
    scores = torch.zeros(3, n)
    scores[2, column] = math.nan
    with pytest.raises(DataError, match="NaN in 1 of 3 rows, the first is row 2"):
        top_k(scores, 2)


@pytest.mark.parametrize(
    ("k", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_a_bad_k_is_refused(k, error):
    with pytest.raises(error, match="k must be"):
        top_k(torch.zeros(1, 3), k)


def test_no_rows_and_no_columns():
    assert top_k(torch.zeros(0, 5), 2)[1].shape == (0, 2)
    assert top_k(torch.zeros(0, 30_000), 2)[1].shape == (0, 2)
    assert top_k(torch.zeros(4, 0), 2)[1].shape == (4, 0)


# ------------------------------------------------------------------ rank_catalogue

N_USERS, N_ITEMS = 50, 30
TABLE = torch.randint(12, (N_USERS, N_ITEMS), generator=generator(1)).float()  # many ties
LISTS = [
    torch.randperm(N_ITEMS, generator=generator(user))[: int(length)].tolist()
    for user, length in enumerate(torch.randint(0, N_ITEMS + 1, (N_USERS,), generator=generator(2)))
]
SEEN = Histories.from_lists(LISTS, N_ITEMS)
USERS = torch.arange(N_USERS)


def expected_lists(users, k, seen=True, items=None):
    allowed = set(range(N_ITEMS) if items is None else items)
    result = []
    for user in users:
        left = [item for item in reference(TABLE[user].tolist(), N_ITEMS) if item in allowed]
        left = [item for item in left if not (seen and item in LISTS[user])][:k]
        result.append(left + [-1] * (k - len(left)))
    return result


@pytest.mark.parametrize("batch_size", [None, 1, 7, 1000])
@pytest.mark.parametrize("k", [1, 10, N_ITEMS, N_ITEMS + 5])
def test_the_catalogue_without_seen_items(k, batch_size):
    ranked, scores = rank_catalogue(TABLE.__getitem__, USERS, k, exclude=SEEN, batch_size=batch_size)
    assert ranked.tolist() == expected_lists(range(N_USERS), k)
    there = ranked >= 0
    assert torch.equal(scores[there], TABLE.gather(1, ranked.clamp(min=0))[there])
    assert (scores[~there] == -INF).all()


def test_nothing_is_excluded_unless_asked():
    ranked, _ = rank_catalogue(TABLE.__getitem__, USERS, 5)
    assert ranked.tolist() == expected_lists(range(N_USERS), 5, seen=False)


def test_users_in_any_order_and_repeated():
    users = torch.tensor([7, 3, 3, 49, 0])
    ranked, _ = rank_catalogue(TABLE.__getitem__, users, 5, exclude=SEEN, batch_size=2)
    assert ranked.tolist() == expected_lists(users.tolist(), 5)


@pytest.mark.parametrize("exclude", [None, SEEN])
@pytest.mark.parametrize("items", [[4], [9, 2, 2, 27, 14], list(range(N_ITEMS)), []])
def test_only_some_items_may_appear(items, exclude):
    chosen = torch.tensor(items, dtype=torch.int64)
    ranked, _ = rank_catalogue(TABLE.__getitem__, USERS, 4, exclude=exclude, items=chosen)
    assert ranked.tolist() == expected_lists(range(N_USERS), 4, seen=exclude is not None, items=items)


def test_the_scores_of_the_model_are_left_as_they_were():
    table = TABLE.clone()
    rank_catalogue(lambda users: table[int(users[0]) : int(users[-1]) + 1], USERS, 5, exclude=SEEN)
    assert torch.equal(table, TABLE)


def test_one_row_expanded_to_all_users_is_not_masked_for_all_of_them():
    row = TABLE[0]
    ranked, _ = rank_catalogue(lambda users: row.expand(len(users), -1), USERS, 5, exclude=SEEN)
    table = TABLE[:1].repeat(N_USERS, 1)
    again, _ = rank_catalogue(table.__getitem__, USERS, 5, exclude=SEEN)
    assert torch.equal(ranked, again)
    assert torch.equal(row, TABLE[0])


def test_scores_of_a_model_in_inference_mode_or_with_gradients():
    weights = torch.nn.Parameter(TABLE.clone())

    @torch.inference_mode()
    def inferring(users):
        return weights[users]

    expected = expected_lists(range(N_USERS), 5)
    for score in (inferring, lambda users: weights[users] * 1.0, lambda users: weights):
        ranked, values = rank_catalogue(score, USERS, 5, exclude=SEEN, batch_size=N_USERS)
        assert ranked.tolist() == expected
        assert not values.requires_grad
        assert not ranked.is_inference()


def test_whole_number_scores_become_floats():
    ranked, values = rank_catalogue(TABLE.long().__getitem__, USERS, 5, exclude=SEEN)
    assert ranked.tolist() == expected_lists(range(N_USERS), 5)
    assert values.dtype == torch.float32


def test_no_users():
    ranked, values = rank_catalogue(TABLE.__getitem__, USERS[:0], 5, exclude=SEEN)
    assert ranked.shape == values.shape == (0, 5)


def test_score_blocks_are_bounded():
    sizes = []

    def score(users):
        sizes.append(len(users))
        return torch.zeros(len(users), 100_000)

    rank_catalogue(score, torch.zeros(200, dtype=torch.int64), 1)
    assert sum(sizes) == 200
    assert max(sizes[1:]) * 100_000 * 4 <= 16 * 2**20
    assert sizes[0] * 100_000 * 4 <= 16 * 2**20


def test_nan_names_the_user_but_a_nan_that_is_excluded_does_not_matter():
    table = TABLE.clone()
    user = next(u for u in range(N_USERS) if LISTS[u])
    table[user, LISTS[user][0]] = math.nan
    ranked, _ = rank_catalogue(table.__getitem__, USERS, 5, exclude=SEEN)
    assert ranked.tolist() == expected_lists(range(N_USERS), 5)
    with pytest.raises(
        DataError, match=f"NaN for 1 of the 50 users in this batch, first for user index {user}"
    ):
        rank_catalogue(table.__getitem__, USERS, 5, batch_size=50)


def test_wrong_shapes_and_items_are_named():
    with pytest.raises(DataError, match=r"shape \(16, 30\); got \(16, 29\)"):
        rank_catalogue(lambda users: TABLE[users, :29], USERS, 5, exclude=SEEN)
    with pytest.raises(DataError, match=r"shape \(16, n_items\); got \(16,\)"):
        rank_catalogue(lambda users: TABLE[users, 0], USERS, 5)
    with pytest.raises(DataError, match="items must be item indices from 0 to 29; got 3 to 30"):
        rank_catalogue(TABLE.__getitem__, USERS, 5, items=torch.tensor([3, 30]))
    with pytest.raises(DataError, match="exclude has 10 lists, but users names user index 49"):
        rank_catalogue(TABLE.__getitem__, USERS, 5, exclude=SEEN.select(USERS[:10]))
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        rank_catalogue(TABLE.__getitem__, USERS, 5, batch_size=0)


# ------------------------------------------------------------------ candidates


@pytest.mark.parametrize("k", [1, 4, 20])
def test_candidates_are_a_set_in_any_order(k):
    candidates = torch.randint(-1, N_ITEMS, (N_USERS, 9), generator=generator(5))
    candidates[0] = -1
    before = candidates.clone()
    ranked, scores = rank_candidates(TABLE.__getitem__, USERS, candidates, k, batch_size=8)
    for user, row in enumerate(candidates.tolist()):
        allowed = set(row) - {-1}
        left = [item for item in reference(TABLE[user].tolist(), N_ITEMS) if item in allowed][:k]
        assert ranked[user].tolist() == left + [-1] * (k - len(left))
    there = ranked >= 0
    assert torch.equal(scores[there], TABLE.gather(1, ranked.clamp(min=0))[there])
    assert (scores[~there] == -INF).all()
    assert torch.equal(candidates, before)


def test_score_candidates_keeps_the_order():
    candidates = torch.tensor([[3, -1, 0], [29, 29, 1]])
    scores = score_candidates(TABLE.__getitem__, torch.tensor([4, 2]), candidates)
    assert scores.tolist() == [
        [float(TABLE[4, 3]), -INF, float(TABLE[4, 0])],
        [float(TABLE[2, 29]), float(TABLE[2, 29]), float(TABLE[2, 1])],
    ]


def test_bad_candidates_are_named():
    with pytest.raises(DataError, match=r"shape \(50, c\), got shape \(3, 2\)"):
        rank_candidates(TABLE.__getitem__, USERS, torch.zeros(3, 2, dtype=torch.int64), 5)
    with pytest.raises(DataError, match=r"0 to 29, or -1 for none; got -2 to 4"):
        rank_candidates(TABLE.__getitem__, USERS[:1], torch.tensor([[4, -2]]), 5)
    table = TABLE.clone()
    table[3, 3] = math.nan
    with pytest.raises(DataError, match="first for user index 3"):
        rank_candidates(table.__getitem__, USERS, torch.full((N_USERS, 2), 3), 5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_same_lists_on_a_gpu():
    scores = torch.randint(400, (500, 26_744), generator=generator()).float()
    scores[0, 5] = -0.0
    for k in (1, 10, 100):
        assert torch.equal(top_k(scores.cuda(), k)[1].cpu(), top_k(scores, k)[1])
    table = TABLE.cuda()
    ranked, _ = rank_catalogue(lambda users: table[users.cuda()], USERS, 10, exclude=SEEN)
    assert ranked.cpu().tolist() == expected_lists(range(N_USERS), 10)


def test_candidates_are_scored_in_pairs_where_a_model_can():
    table = torch.arange(20.0).reshape(4, 5)
    users, candidates = torch.tensor([3, 0, 2]), torch.tensor([[4, 0, -1], [1, 2, 3], [-1, -1, 0]])

    def pairs(rows, items):
        assert int(items.min()) >= 0
        assert len(rows) <= 2
        return table[rows[:, None], items]

    def catalogue(rows):
        raise AssertionError("the catalogue is not needed")

    found = score_candidates(catalogue, users, candidates, pairs=pairs, batch_size=2)
    assert torch.equal(found, score_candidates(lambda rows: table[rows], users, candidates))
    with pytest.raises(DataError, match="NaN"):
        score_candidates(
            catalogue, users, candidates, pairs=lambda r, i: pairs(r, i) * torch.nan, batch_size=2
        )


@pytest.mark.parametrize(("least", "kept"), [(12 * 50 * 4 - 1, True), (12 * 50 * 4, False)])
def test_memory_is_kept_from_block_to_block_of_many_scores(least, kept, monkeypatch):
    open_blocks, seen = [], []

    @contextlib.contextmanager
    def noted():
        open_blocks.append(1)
        yield
        open_blocks.pop()

    monkeypatch.setattr(ranking, "kept_memory", noted)
    monkeypatch.setattr(ranking, "_MANY_BYTES", least)
    table = torch.randn(12, 50, generator=torch.Generator().manual_seed(0))

    def score(users):
        seen.append(len(open_blocks))
        return table[users]

    found, _ = rank_catalogue(score, torch.arange(12), 5, batch_size=4)
    assert seen == [0, kept, kept]  # the first block tells how many there are
    assert not open_blocks
    assert torch.equal(found, table.topk(5).indices)
