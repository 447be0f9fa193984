import numpy as np
import pytest

from recsys_lib.datasets import _synthetic, synthetic


def dense(x, rows):
    matrix = np.zeros((x.n_users, x.n_items))
    matrix[x.users[rows], x.items[rows]] = 1
    return matrix


@pytest.mark.parametrize("feedback", ["implicit", "explicit"])
@pytest.mark.parametrize(
    ("n_users", "n_items", "n"),
    [(1, 1, 1), (1, 7, 7), (40, 9, 40), (30, 20, 600), (30, 20, 590), (300, 200, 5_000)],
)
def test_sizes_are_exact_and_pairs_are_distinct(n_users, n_items, n, feedback):
    x = synthetic(n_users, n_items, n, feedback=feedback, seed=3)
    assert (x.n_users, x.n_items, len(x)) == (n_users, n_items, n)
    assert len(set(zip(x.users.tolist(), x.items.tolist(), strict=True))) == n
    assert x.user_counts().min() >= max(1, min(20, n // n_users // 3))
    assert x.item_ids.ids.tolist() == list(range(1, n_items + 1))


def test_the_greatest_strengths_still_work():
    x = synthetic(50, 2_000, 5_000, popularity_skew=3, activity_skew=3, taste=3)
    assert len(set(zip(x.users.tolist(), x.items.tolist(), strict=True))) == 5_000
    assert x.user_counts().max() <= 1_000


def test_the_seed_decides_everything_and_leaves_global_generators_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b, c = (synthetic(60, 40, 500, feedback="explicit", seed=s) for s in (5, 5, 6))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    for name in ("users", "items", "ratings", "timestamps"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.item_features.equals(b.item_features)
    assert (a.items != c.items).any()


def test_ratings_and_times_do_not_change_the_pairs():
    plain = synthetic(60, 40, 500, timestamps=False)
    rich = synthetic(60, 40, 500, feedback="explicit")
    np.testing.assert_array_equal(plain.items, rich.items)
    assert plain.timestamps is None
    assert plain.ratings is None


def test_small_chunks_give_the_same_kind_of_data(monkeypatch):
    monkeypatch.setattr(_synthetic, "_ROWS_AT_ONCE", 100)
    x = synthetic(60, 40, 500, feedback="explicit")
    assert len(set(zip(x.users.tolist(), x.items.tolist(), strict=True))) == 500
    assert (np.diff(x.users) >= 0).all()
    assert x.ratings.min() >= 1


def test_times_ascend_strictly_within_each_user():
    x = synthetic(50, 60, 1_000)
    assert x.timestamps.dtype == np.int64
    same_user = np.diff(x.users) == 0
    assert (np.diff(x.timestamps)[same_user] > 0).all()
    assert x.timestamps.min() >= 1_577_836_800


def test_row_order_does_not_tell_popular_items_from_rare_ones():
    x = synthetic(500, 300, 15_000)
    popularity = x.item_counts()[x.items]
    first = np.concatenate([[True], np.diff(x.users) != 0])
    assert abs(popularity[first].mean() / popularity.mean() - 1) < 0.15


def test_strengths_do_what_they_say():
    even = synthetic(2_000, 300, 40_000, popularity_skew=0, activity_skew=0, taste=0)
    # With no skew at all every user takes 20 of 300 items at random: the variance of item counts is known.
    assert (even.user_counts() == 20).all()
    expected = 2_000 * (20 / 300) * (1 - 20 / 300)
    assert 0.75 < even.item_counts().var() / expected < 1.3
    skewed = synthetic(2_000, 300, 40_000)
    assert skewed.user_counts().std() > 10
    heads = [
        np.sort(synthetic(2_000, 300, 40_000, popularity_skew=s).item_counts())[-30:].sum() for s in (0, 1, 2)
    ]
    assert heads[0] * 1.5 < heads[1] * 1.2 < heads[2]


def test_a_model_of_taste_beats_popularity_only_when_there_is_taste():
    def recall_at_10(taste):
        x = synthetic(taste=taste, seed=1)
        held_out = np.random.default_rng(0).random(len(x)) < 0.2
        train, test = dense(x, ~held_out), dense(x, held_out)
        gram = train.T @ train + 100 * np.eye(x.n_items)
        inverse = np.linalg.inv(gram)
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0)
        found = []
        for scores in (np.tile(train.sum(0), (x.n_users, 1)), train @ weights):
            top = np.argsort(-np.where(train > 0, -np.inf, scores), axis=1)[:, :10]
            hits = np.take_along_axis(test, top, axis=1).sum(1)
            found.append((hits / np.clip(test.sum(1), 1, 10)).mean())
        return found

    popular, ease = recall_at_10(taste=1.0)
    assert ease > 1.6 * popular
    popular, ease = recall_at_10(taste=0.0)
    assert ease < popular


def test_ratings_look_like_stars_and_hold_the_bilinear_taste():
    x = synthetic(2_000, 500, 60_000, feedback="explicit", seed=2)
    assert set(np.unique(x.ratings)) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert 3.3 < x.ratings.mean() < 3.7
    assert 0.9 < x.ratings.std() < 1.3
    # Whoever loves a genre rates its items higher.
    match = x.user_features["favourite"].to_numpy()[x.users] == x.item_features["genres"].to_numpy()[x.items]
    assert x.ratings[match].mean() > x.ratings[~match].mean() + 0.3
    # Biases explain part of the variance, and the noise of 0.7 stars stays.
    by_item = np.bincount(x.items, x.ratings, x.n_items) / np.maximum(x.item_counts(), 1)
    by_user = np.bincount(x.users, x.ratings - by_item[x.items], x.n_users) / x.user_counts()
    left = x.ratings - by_item[x.items] - by_user[x.users]
    assert 0.7 < left.std() < 0.95 * x.ratings.std()


def test_favourites_are_over_represented():
    x = synthetic(seed=4)
    match = x.user_features["favourite"].to_numpy()[x.users] == x.item_features["genres"].to_numpy()[x.items]
    by_chance = (
        x.user_features["favourite"].to_numpy()[:, None] == x.item_features["genres"].to_numpy()[None, :]
    ).mean()
    assert match.mean() > 3 * by_chance
    assert x.item_features["title"][16] == "Item 17"


@pytest.mark.parametrize("by_race", [False, True])
def test_items_are_drawn_one_after_another_without_replacement(monkeypatch, by_race):
    # Both ways to draw must give the inclusion probabilities of a plain one-by-one simulation.
    if by_race:
        monkeypatch.setattr(_synthetic, "_ROUNDS", 0)
    rng = np.random.default_rng(7)
    n_users, n_items, n = 40_000, 40, 4
    kinds = _synthetic._memberships(rng, n_items, 3, 2.0)
    chooser = _synthetic._Chooser(2 * np.log(np.abs(rng.standard_normal(n_items)).clip(0.1)), kinds)
    taste = _synthetic._memberships(rng, 1, 3, 1.0)
    drawn = chooser.choose(rng, np.repeat(taste, n_users, axis=0), np.full(n_users, n))
    assert (
        np.sort(drawn.reshape(n_users, n), axis=1)[:, 1:] > np.sort(drawn.reshape(n_users, n), axis=1)[:, :-1]
    ).all()
    observed = np.bincount(drawn, minlength=n_items) / n_users

    weights = np.repeat((taste @ chooser.weights).astype(np.float64), n_users, axis=0)
    for _ in range(n):
        steps = np.cumsum(weights, axis=1)
        item = (steps < rng.random((n_users, 1)) * steps[:, -1:]).sum(axis=1)
        weights[np.arange(n_users), item] = 0
    expected = (weights == 0).mean(axis=0)
    error = np.sqrt(2 * expected * (1 - expected) / n_users) + 1e-4
    assert (np.abs(observed - expected) < 5 * error).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_users": 0}, "n_users must be at least 1, got 0"),
        ({"n_items": 2.5}, "n_items must be a whole number"),
        ({"n_interactions": 999}, "n_interactions must be between 1000 and 500000"),
        ({"n_interactions": 500_001}, "n_interactions must be between 1000 and 500000"),
        ({"feedback": "clicks"}, "feedback must be one of 'implicit', 'explicit', got 'clicks'"),
        ({"taste": -1}, "taste must be between 0.0 and 3.0, got -1"),
        ({"popularity_skew": float("nan")}, "popularity_skew must be between"),
        ({"activity_skew": 4}, "activity_skew must be between"),
        ({"factors": 0}, "factors must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        synthetic(**arguments)
