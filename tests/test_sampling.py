from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.sampling import NegativeSampler, hardest, items_of, met_by, sample_unknown

# Gaps at both ends, none, in a row, next to a free item; user 5 has one free item left, user 6 another.
LISTS = [[0, 1, 2, 7], [], [5], [1, 3, 5], [6, 7], [0, 1, 2, 3, 4, 6, 7], [1, 2, 3, 4, 5, 6, 7], [0, 7]]
SEEN = Histories.from_lists(LISTS, n_items=8)
COUNTS = torch.bincount(SEEN.indices, minlength=8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def histories(draw: st.DrawFn) -> Histories:
    n_items = draw(st.integers(2, 12))
    one = st.sets(st.integers(0, n_items - 1), max_size=n_items - 1)
    return Histories.from_lists([sorted(items) for items in draw(st.lists(one, min_size=1))], n_items)


# ---------------------------------------------------------------------- what is drawn


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seen=histories(), alpha=st.sampled_from([0.0, 0.5, 1.0, 7.5]), seed=st.integers(0, 99))
def test_all_free_items_are_drawn_and_no_other(seen, alpha, seed):
    sampler = NegativeSampler(seen, alpha=alpha)
    users = torch.arange(len(seen)).flip(0)
    drawn = sampler.draw(users, 40, generator(seed))
    assert drawn.shape == (len(seen), 40)
    assert drawn.dtype == torch.int64
    assert ((drawn >= 0) & (drawn < seen.n_items)).all()
    assert not seen.contains(users.unsqueeze(1).expand_as(drawn), drawn).any()


def every_point(sampler: NegativeSampler, user: int) -> torch.Tensor:
    """What is drawn for a user when each point of the user's line comes up once."""
    n = int(sampler._free[user])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys_lib.sampling._below", lambda limits, generator: torch.arange(n).view(1, n))
        return sampler.draw(torch.tensor([user]), n, generator())[0]


@pytest.mark.parametrize("user", range(len(LISTS)))
def test_every_point_of_the_line_is_an_item_in_its_place(user):
    free = [item for item in range(8) if item not in LISTS[user]]
    assert every_point(NegativeSampler(SEEN), user).tolist() == free


@pytest.mark.parametrize("user", range(len(LISTS)))
def test_every_point_of_the_line_with_weights(user, monkeypatch):
    monkeypatch.setattr("recsys_lib.sampling._RESOLUTION", 26)
    sampler = NegativeSampler(SEEN, alpha=1)
    # 26 interactions, and as many units: an item has as many as it has users.
    assert sampler._weights.tolist() == COUNTS.tolist()
    expected = [item for item in range(8) if item not in LISTS[user] for _ in range(int(COUNTS[item]))]
    assert every_point(sampler, user).tolist() == expected


@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.0, 3.0])
def test_the_probabilities_are_exact(alpha):
    sampler, n = NegativeSampler(SEEN, alpha=alpha), 40_000
    drawn = sampler.draw(torch.arange(len(LISTS)), n, generator(3))
    statistic, freedom = 0.0, 0
    for user, items in enumerate(drawn):
        weights = COUNTS.double() ** alpha
        weights[LISTS[user]] = 0
        expected = n * weights / weights.sum()
        observed = torch.bincount(items, minlength=8)
        assert observed[expected == 0].sum() == 0
        here = expected > 0
        statistic += float(((observed - expected)[here] ** 2 / expected[here]).sum())
        freedom += int(here.sum()) - 1
    # Neither too far from what is expected nor too close to it.
    assert 0.001 < chi2.cdf(statistic, freedom) < 0.999


def test_draws_for_one_user_are_independent():
    """With replacement: two draws agree as often as chance has it; and rows of one user differ."""
    sampler = NegativeSampler(Histories.from_lists([[0], [1]], n_items=5))
    drawn = sampler.draw(torch.tensor([1, 0] * 10_000), 2, generator())
    same = (drawn[:, 0] == drawn[:, 1]).double().mean()
    assert float(same) == pytest.approx(1 / 4, abs=5 * math.sqrt(3 / 16 / 20_000))
    rows = (drawn[0::2] == drawn[1::2].roll(1, 0)).double().mean()
    assert float(rows) == pytest.approx(3 / 16, abs=0.02)


def test_an_item_that_nobody_has_keeps_a_chance():
    sampler = NegativeSampler(Histories.from_lists([[0], [0], [1]], n_items=3), alpha=1.0)
    assert sampler._weights[2] == 1
    assert sampler._weights[0] == pytest.approx(2 / 3 * 2**40, rel=1e-9)


@pytest.mark.parametrize("alpha", [200.0, 1e9])
def test_a_huge_exponent_leaves_the_most_popular(alpha):
    sampler = NegativeSampler(SEEN, alpha=alpha)
    best = COUNTS.eq(COUNTS.max())
    drawn = sampler.draw(torch.tensor([1]), 2000, generator())
    assert best[drawn].all()
    assert sampler.log_probability(best.nonzero()[:, 0]).exp().sum() == pytest.approx(1.0)


def test_many_users_do_not_overflow(monkeypatch):
    monkeypatch.setattr("recsys_lib.sampling._RESOLUTION", 2**52)
    n_users = 20_000
    seen = Histories.from_pairs(torch.tensor([0]), torch.tensor([1]), n_users, n_items=3)
    sampler = NegativeSampler(seen, alpha=0.5)
    first, last = sampler.draw(torch.tensor([0, n_users - 1]), 1000, generator())
    assert last.eq(1).all()  # all the weight is on the one item that somebody has
    assert not first.eq(1).any()


# ---------------------------------------------------------------------- its surroundings


def test_the_same_generator_gives_the_same():
    users = torch.tensor([3, 0, 4, 0, 2])
    sampler = NegativeSampler(SEEN, alpha=0.5)
    one = sampler.draw(users, 50, generator(1))
    assert torch.equal(one, NegativeSampler(SEEN, alpha=0.5).draw(users, 50, generator(1)))
    assert not torch.equal(one, sampler.draw(users, 50, generator(2)))
    running = generator(1)
    assert not torch.equal(sampler.draw(users, 50, running), sampler.draw(users, 50, running))


def test_nobody_asks():
    assert NegativeSampler(SEEN).draw(torch.tensor([], dtype=torch.int64), 3, generator()).shape == (0, 3)


def test_the_record_is_what_was_drawn():
    sampler = NegativeSampler(SEEN, alpha=0.5, record=True)
    assert sampler.drawn.lengths().sum() == 0
    expected: set[tuple[int, int]] = set()
    for seed in range(3):
        users = torch.tensor([4, 1, 4, 0])
        drawn = sampler.draw(users, 2, generator(seed))
        expected |= set(zip(users.repeat_interleave(2).tolist(), drawn.flatten().tolist(), strict=True))
    rows, items = sampler.drawn.pairs()
    assert set(zip(rows.tolist(), items.tolist(), strict=True)) == expected
    assert (len(sampler.drawn), sampler.drawn.n_items) == (len(SEEN), 8)


def test_no_record_was_asked_for():
    with pytest.raises(DataError, match="record=True"):
        NegativeSampler(SEEN).drawn  # noqa: B018


@pytest.mark.parametrize("alpha", [0.0, 0.75, 1.0])
def test_log_probability(alpha):
    items = torch.tensor([[7, 0], [3, 7]])
    weights = COUNTS.double() ** alpha
    expected = (weights / weights.sum()).log()[items].float()
    torch.testing.assert_close(NegativeSampler(SEEN, alpha=alpha).log_probability(items), expected)


def test_a_user_with_the_whole_catalogue_is_named():
    with pytest.raises(DataError, match="user index 1 has met all 2 items"):
        NegativeSampler(Histories.from_lists([[0], [0, 1]], n_items=2))
    with pytest.raises(
        DataError, match=r"user index 0 and 1 more have met all 2 items.*Leave such users out"
    ):
        NegativeSampler(Histories.from_lists([[0, 1], [1, 0], []], n_items=2), alpha=1.0)


@pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf, "x", None])
def test_bad_exponents_are_named(alpha):
    with pytest.raises((ValueError, TypeError), match="alpha"):
        NegativeSampler(SEEN, alpha=alpha)


@pytest.mark.parametrize("n", [0, -1, 1.5, None])
def test_bad_numbers_of_draws_are_named(n):
    with pytest.raises((ValueError, TypeError), match="n must be"):
        NegativeSampler(SEEN).draw(torch.tensor([0]), n, generator())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
@pytest.mark.parametrize("alpha", [0.0, 0.75])
def test_a_gpu_draws_without_waiting(alpha):
    sampler = NegativeSampler(SEEN.to("cuda"), alpha=alpha, record=True)
    users = torch.arange(len(LISTS), device="cuda").repeat(100)
    on_gpu = torch.Generator("cuda").manual_seed(0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        drawn = sampler.draw(users, 50, on_gpu)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not SEEN.to("cuda").contains(users.unsqueeze(1).expand_as(drawn), drawn).any()
    assert torch.equal(
        sampler.drawn.to_dense() + SEEN.to("cuda").to_dense(), torch.ones_like(sampler._drawn.float())
    )


# ---------------------------------------------------------------------- choosing


def test_the_hardest_are_those_with_the_highest_scores():
    candidates = torch.tensor([[4, 2, 9], [1, 1, 0]])
    scores = torch.tensor([[0.1, -1.0, 3.0], [5.0, 5.0, 7.0]])
    assert hardest(candidates, scores, 2).tolist() == [[9, 4], [0, 1]]
    assert hardest(candidates, scores, 3).tolist() == [[9, 4, 2], [0, 1, 1]]
    for n in (0, 4):
        with pytest.raises(ValueError, match="n must be between 1 and 3"):
            hardest(candidates, scores, n)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seen=histories(), data=st.data())
def test_met_by_is_a_question_for_every_pair(seen, data):
    users = data.draw(st.lists(st.integers(0, len(seen) - 1), max_size=6))
    items = data.draw(st.lists(st.integers(0, seen.n_items - 1), max_size=6))
    expected = seen.to_dense(torch.bool)[users][:, items]
    users, items = torch.tensor(users, dtype=torch.int64), torch.tensor(items, dtype=torch.int64)
    assert torch.equal(met_by(seen, users, items), expected.view(len(users), len(items)))


def test_met_by_where_the_host_must_not_wait():
    class OnAnotherDevice:
        device = torch.device("meta")
        contains = staticmethod(SEEN.contains)

    users, items = torch.tensor([1, 0, 1]), torch.tensor([0, 2, 2, 1])
    assert torch.equal(met_by(OnAnotherDevice(), users, items), met_by(SEEN, users, items))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
def test_met_by_on_a_gpu():
    users, items = torch.arange(8), torch.tensor([3, 0, 3, 7])
    on_gpu = met_by(SEEN.to("cuda"), users.cuda(), items.cuda())
    assert torch.equal(on_gpu.cpu(), met_by(SEEN, users, items))


# ---------------------------------------------------------------------- different items


@pytest.mark.parametrize("n", [1, 5, 20])
def test_sampled_items_are_unknown_distinct_and_uniform(n):
    known = Histories.from_lists([[0, 1, 2, 29], [], [5] * 3, list(range(10))] * 3000, n_items=30)
    drawn = sample_unknown(known, n, seed=0)
    assert drawn.shape == (12_000, n)
    assert ((drawn >= 0) & (drawn < 30)).all()
    assert (drawn.diff(dim=1) > 0).all()
    rows = torch.arange(12_000).repeat_interleave(n)
    assert not known.contains(rows, drawn.flatten()).any()
    for kind, n_free in enumerate((26, 30, 29, 20)):
        share = torch.bincount(drawn[kind::4].flatten(), minlength=30) / 3000
        expected = n / n_free
        free = torch.ones(30, dtype=torch.bool)
        free[known.select(torch.tensor([kind])).indices] = False
        spread = 5 * math.sqrt(max(expected * (1 - expected), 1e-9) / 3000)
        assert (share[free] - expected).abs().max() <= spread
        assert share[~free].sum() == 0


def test_sampling_depends_on_the_seed_only():
    known = Histories.from_lists([[1], [2, 3]], n_items=1000)
    assert torch.equal(sample_unknown(known, 50, 1), sample_unknown(known, 50, 1))
    assert not torch.equal(sample_unknown(known, 50, 1), sample_unknown(known, 50, 2))


def test_too_few_items_are_left():
    with pytest.raises(DataError, match=r"cannot draw 3 unknown items .* only 2 of the 4"):
        sample_unknown(Histories.from_lists([[], [0, 1]], n_items=4), 3, seed=0)
    assert sample_unknown(Histories.from_lists([], n_items=4), 3, seed=0).shape == (0, 3)


# ---------------------------------------------------------------------- the items of a batch


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seen=histories(), data=st.data())
def test_items_of_a_batch(seen, data):
    rows = data.draw(st.lists(st.integers(0, len(seen) - 1), max_size=6))
    batch = seen.select(torch.tensor(rows, dtype=torch.int64))
    items, local = items_of(batch)
    assert items.tolist() == sorted(set(batch.indices.tolist()))
    assert items.dtype == local.indices.dtype == torch.int64
    assert (len(local), local.n_items) == (len(rows), len(items))
    assert torch.equal(local.indptr, batch.indptr)
    assert torch.equal(items[local.indices], batch.indices)
    assert torch.equal(local.to_dense(), batch.to_dense()[:, items])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
def test_items_of_a_batch_on_a_gpu():
    items, local = items_of(SEEN.to("cuda"))
    expected, plain = items_of(SEEN)
    assert torch.equal(items.cpu(), expected)
    assert torch.equal(local.indices.cpu(), plain.indices)


# ---------------------------------------------------------------------- histories that are mapped


def test_histories_of_small_whole_numbers_are_drawn_for_alike():
    """Those of a mapped file are searched as they are; nothing is made that is as large as the file."""
    narrow = Histories(SEEN.indptr, SEEN.indices.int(), SEEN.n_items)
    users = torch.arange(len(SEEN)).repeat(3)
    draws = [NegativeSampler(x).draw(users, 50, torch.Generator().manual_seed(1)) for x in (SEEN, narrow)]
    assert torch.equal(*draws)
    full = Histories(torch.tensor([0, 2]), torch.tensor([0, 1], dtype=torch.int32), 2)
    with pytest.raises(DataError, match="user index 0 has met all 2"):
        NegativeSampler(full)


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_nobody_and_nothing_to_draw_from(alpha):
    sampler = NegativeSampler(Histories.from_lists([], n_items=0), alpha=alpha)
    assert sampler.draw(torch.zeros(0, dtype=torch.int64), 2, generator()).shape == (0, 2)


def test_no_candidates_and_no_rows():
    assert sample_unknown(SEEN, 0, 0).shape == (len(SEEN), 0)
    nobody = SEEN.select(torch.zeros(0, dtype=torch.int64))
    found = sample_unknown(nobody, 3, 0)
    assert (found.shape, found.dtype) == ((0, 3), torch.int64)
