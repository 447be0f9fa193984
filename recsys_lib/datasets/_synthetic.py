"""Made-up interactions of any size that have what real ones have: skew, taste, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_lib._validation import check_choice, check_flag, check_integer, check_number
from recsys_lib.ids import IdMap
from recsys_lib.interactions import Interactions

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

_ACTIVITY_SPREAD = 1.1  # of log counts, as in MovieLens-1M
# With taste=1, EASE finds about twice as many held-out items as popularity does, as on MovieLens-100K.
_ITEM_SHARPNESS = 4.0
_USER_SHARPNESS = 2.6
_FLOOR = 0.01  # share of an item or user that belongs to all factors alike, so that nothing is impossible

_ROWS_AT_ONCE = 500_000
_ROUNDS = 12
_RATING_MEAN, _RATING_NOISE, _TASTE_STARS = 3.6, 0.7, 0.5
_START, _SPAN = 1_577_836_800, 3 * 365 * 86_400  # users arrive within three years from 1 January 2020


def synthetic(
    n_users: int = 1_000,
    n_items: int = 500,
    n_interactions: int = 30_000,
    *,
    feedback: Literal["implicit", "explicit"] = "implicit",
    factors: int = 16,
    popularity_skew: float = 1.0,
    activity_skew: float = 1.0,
    taste: float = 1.0,
    timestamps: bool = True,
    seed: int = 0,
) -> Interactions:
    r"""Draw interactions with skewed popularity, skewed activity and low-rank taste.

    Parameters
    ----------
    n_users, n_items, n_interactions : int
        Exactly as many come out, and no (user, item) pair twice. Every user has at least a third of the
        mean number of interactions or 20, whichever is less. An item may have none.
    feedback : {"implicit", "explicit"}
        Explicit adds ratings of 1 to 5 whole stars. The pairs are the same for both.
    factors : int
        Number of factors behind taste, the rank of the data.
    popularity_skew, activity_skew, taste : float
        Strengths from 0 (none) to 3; 1 resembles MovieLens-1M. The popularity of items is a power of a
        normal draw, :math:`|z|^{2 s}`; the activity of users is log-normal.
    timestamps : bool
        Whether to make up times, in seconds since 1970. No user has two interactions at one time. Time
        and item are independent: nothing goes in or out of fashion.
    seed : int
        The same seed gives the same data.

    Returns
    -------
    Interactions
        Ids count from 1. ``item_features`` has ``title`` ("Item 17") and ``genres``, the factor that the
        item belongs to most; ``user_features`` has ``favourite``, the factor that the user likes most.

    Raises
    ------
    ValueError
        If a size or a strength is out of range.

    Notes
    -----
    User :math:`u` has tastes :math:`\theta_u` and factor :math:`k` a distribution :math:`\phi_k` over items;
    both are soft-maxed normal draws, and :math:`\phi_k` is proportional to the popularity of the item too.
    Items are drawn one after another from :math:`\sum_k \theta_{uk} \phi_{ki}`, and an item that the user
    has already is drawn again: a Plackett-Luce model without replacement of rank ``factors``. Ratings are

    .. math:: r_{ui} = 3.6 + b_u + b_i + t_{ui} + e_{ui}

    rounded and clipped, with biases :math:`b`, a product :math:`t` of tastes of user and item with
    a standard deviation of half a star (times ``taste``), and noise :math:`e` of 0.7 stars, which bounds
    the error of any model from below.

    Examples
    --------
    >>> synthetic(100, 50, 1_000, feedback="explicit", seed=1)
    Interactions(100 users x 50 items, 1000 interactions, ratings 1 to 5, timestamps)
    """
    check_integer("n_users", n_users, 1)
    check_integer("n_items", n_items, 1)
    check_integer("n_interactions", n_interactions, n_users, n_users * n_items)
    check_choice("feedback", feedback, ("implicit", "explicit"))
    check_integer("factors", factors, 1)
    for name, strength in (
        ("popularity_skew", popularity_skew),
        ("activity_skew", activity_skew),
        ("taste", taste),
    ):
        check_number(name, strength, 0.0, 3.0)
    check_flag("timestamps", timestamps)
    check_integer("seed", seed, 0)
    # One generator for each purpose, so that asking for ratings or times does not change who met what.
    shape_rng, draw_rng, time_rng, rating_rng = map(
        np.random.default_rng, np.random.SeedSequence(seed).spawn(4)
    )

    # A squared normal draw has the median, mean and head of the item counts of MovieLens-1M; its square, with
    # popularity_skew=2, those of MovieLens-20M.
    log_popularity = 2 * popularity_skew * np.log(np.abs(shape_rng.standard_normal(n_items)).clip(0.1))
    kinds = _memberships(shape_rng, n_items, factors, _ITEM_SHARPNESS * taste)
    tastes = _memberships(shape_rng, n_users, factors, _USER_SHARPNESS * taste)
    counts = _activity(shape_rng, n_users, n_items, n_interactions, _ACTIVITY_SPREAD * activity_skew)
    chooser = _Chooser(log_popularity, kinds)

    users = np.repeat(np.arange(n_users, dtype=np.int32), counts)
    items = np.empty(n_interactions, dtype=np.int32)
    times = np.empty(n_interactions, dtype=np.int64) if timestamps else None
    affinity = np.empty(n_interactions, dtype=np.float32)
    ends = np.cumsum(counts)
    for low, high in _chunks(ends):
        rows = slice(ends[low] - counts[low], ends[high - 1])
        items[rows] = chooser.choose(draw_rng, tastes[low:high], counts[low:high])
        if times is not None:
            times[rows] = _times(time_rng, counts[low:high])
        if feedback == "explicit":
            affinity[rows] = np.einsum("nk,nk->n", tastes[users[rows]], kinds[items[rows]])
    ratings = None
    if feedback == "explicit":
        quality = 0.35 * rating_rng.standard_normal(n_items) + 0.1 * log_popularity
        ratings = _ratings(rating_rng, users, items, affinity, tastes, kinds, taste, quality)
    return Interactions(
        users,
        items,
        ratings,
        times,
        IdMap(range(1, n_users + 1), "user"),
        IdMap(range(1, n_items + 1), "item"),
        pd.DataFrame({"favourite": _genre_names(tastes)}),
        pd.DataFrame({"title": [f"Item {i}" for i in range(1, n_items + 1)], "genres": _genre_names(kinds)}),
    )


class _Chooser:
    """Draws distinct items for many users at once from mixtures of the factors' distributions.

    Parameters
    ----------
    log_popularity : array, shape (n_items,)
    kinds : array, shape (n_items, factors)
        How far each item belongs to each factor; rows sum to one.
    """

    def __init__(self, log_popularity: Floats, kinds: Floats) -> None:
        weights = (kinds * np.exp(log_popularity - log_popularity.max())[:, None]).T
        weights /= weights.sum(axis=1, keepdims=True)
        self.weights = weights.astype(np.float32)
        self.n_factors, self.n_items = weights.shape
        # One ascending table for all factors: factor k owns the interval from k to k + 1.
        table = np.cumsum(weights, axis=1, dtype=np.float64)
        self.table = (table / table[:, -1:] + np.arange(self.n_factors)[:, None]).ravel()

    def choose(self, rng: np.random.Generator, tastes: Floats, counts: Ints) -> Ints:
        """Return ``counts[u]`` distinct items for each user, in random order, user after user."""
        keys = self._draw(rng, tastes, counts)
        owners = keys // self.n_items
        # Sorted by user, shuffled within each: the order must not tell popular items from rare ones.
        return (keys % self.n_items)[np.argsort(owners + rng.random(len(keys)))]

    def _draw(self, rng: np.random.Generator, tastes: Floats, counts: Ints) -> Ints:
        """Return the chosen pairs as ``user * n_items + item``, in no particular order."""
        # Each round draws, with replacement, as many items as a user still lacks and keeps the new ones.
        # That never draws too many, so it is the same as drawing one by one and skipping repeats. Those
        # who want much of the catalogue would meet mostly repeats: they are left to the race.
        lack = np.where(counts * 10 > self.n_items, 0, counts)
        finished: list[Ints] = []
        keys: Ints = np.empty(0, dtype=np.int64)
        for _ in range(_ROUNDS):
            who = np.repeat(np.arange(len(counts)), lack)
            if not len(who):
                break
            keys = np.concatenate([keys, who * self.n_items + self._draw_any(rng, tastes, who)])
            keys.sort()
            keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
            owners = keys // self.n_items
            lack = np.where(lack > 0, counts - np.bincount(owners, minlength=len(counts)), 0)
            open_ = lack[owners] > 0
            finished.append(keys[~open_])
            keys = keys[open_]
        lack = np.where(counts * 10 > self.n_items, counts, lack)
        return np.concatenate([*finished, keys, *self._race(rng, tastes, lack, keys)])

    def _draw_any(self, rng: np.random.Generator, tastes: Floats, who: Ints) -> Ints:
        """Draw one item for each entry of ``who``, which is sorted, repeats allowed."""
        present, position = np.unique(who, return_inverse=True)
        # The same trick as for items: user number p owns the interval from p to p + 1.
        steps = np.cumsum(tastes[present], axis=1, dtype=np.float64)
        steps = (steps / steps[:, -1:] + np.arange(len(present))[:, None]).ravel()
        factor = np.searchsorted(steps, position + rng.random(len(who)), side="right")
        factor = np.minimum(factor - position * self.n_factors, self.n_factors - 1)
        item = np.searchsorted(self.table, factor + rng.random(len(who)), side="right")
        return np.minimum(item - factor * self.n_items, self.n_items - 1)

    def _race(self, rng: np.random.Generator, tastes: Floats, lack: Ints, taken: Ints) -> Iterator[Ints]:
        """Go on to ``lack[u]`` more items than ``taken``, exactly, by looking at the whole catalogue.

        Exponential arrival times with rates as weights: the first ones to arrive are a draw without
        replacement (the Gumbel-top-k trick in another guise).
        """
        order = np.argsort(lack, kind="stable")
        order = order[lack[order] > 0]
        size = max(1, 4_000_000 // self.n_items)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            arrival = rng.standard_exponential((len(rows), self.n_items), dtype=np.float32)
            arrival /= tastes[rows].astype(np.float32) @ self.weights
            mine = np.isin(taken // self.n_items, rows)
            place = np.empty(len(lack), dtype=np.int64)
            place[rows] = np.arange(len(rows))
            arrival[place[taken[mine] // self.n_items], taken[mine] % self.n_items] = np.inf
            most = int(lack[rows[-1]])
            first = np.argpartition(arrival, most - 1, axis=1)[:, :most]
            first = np.take_along_axis(first, np.argsort(np.take_along_axis(arrival, first, 1), axis=1), 1)
            wanted = np.arange(most) < lack[rows][:, None]
            yield (rows[:, None] * self.n_items + first)[wanted]


def _memberships(rng: np.random.Generator, n: int, factors: int, sharpness: float) -> Floats:
    """Return n rows of non-negative shares that sum to one, shape (n, factors), float32."""
    logits = sharpness * rng.standard_normal((n, factors), dtype=np.float32)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return ((1 - _FLOOR) * shares + _FLOOR / factors).astype(np.float32)


def _activity(rng: np.random.Generator, n_users: int, n_items: int, total: int, spread: float) -> Ints:
    """Return log-normal interaction counts, shape (n_users,), that sum to ``total`` exactly."""
    least = max(1, min(20, total // n_users // 3))
    # Nobody takes more than half of the catalogue unless the data is too dense for that.
    most = (n_items if 4 * total > n_users * n_items else max(least, n_items // 2)) - least
    weights = np.exp(spread * rng.standard_normal(n_users))
    extra = total - least * n_users
    low, high = 0.0, max(1.0, most / weights.min())
    for _ in range(100):  # find the scale at which the capped weights add up
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(weights * middle, most).sum() < extra else (low, middle)
    share = np.minimum(weights * low, most)
    counts = np.floor(share).astype(np.int64)
    while missing := extra - int(counts.sum()):
        room = np.flatnonzero(counts < most)
        chosen = room[np.argsort(counts[room] - share[room], kind="stable")[:missing]]
        counts[chosen] += 1
    return counts + least


def _chunks(ends: Ints) -> Iterator[tuple[int, int]]:
    """Cut the users into ranges of about ``_ROWS_AT_ONCE`` interactions, at least one user each."""
    low = 0
    while low < len(ends):
        before = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + _ROWS_AT_ONCE, side="right")))
        yield low, high
        low = high


def _times(rng: np.random.Generator, counts: Ints) -> Ints:
    """Return ascending times for each user: a start, then gaps of at least a second, shape (sum,)."""
    start = _START + rng.integers(0, _SPAN, len(counts))
    pace = np.exp(rng.normal(np.log(3_600), 1.0, len(counts)))  # typical gap: an hour, more or less
    gaps = 1 + (rng.standard_exponential(counts.sum()) * np.repeat(pace, counts)).astype(np.int64)
    elapsed = np.cumsum(gaps)
    first = np.cumsum(counts) - counts
    return elapsed - np.repeat(elapsed[first] - start, counts)


def _ratings(
    rng: np.random.Generator,
    users: npt.NDArray[np.int32],
    items: npt.NDArray[np.int32],
    affinity: npt.NDArray[np.float32],
    tastes: Floats,
    kinds: Floats,
    taste: float,
    quality: Floats,
) -> npt.NDArray[np.float32]:
    """Turn ``affinity`` into whole stars, in place."""
    # The products of tastes and kinds, over all pairs, have this variance.
    variance = float(np.sum(_covariance(tastes) * _covariance(kinds)))
    generosity = (0.4 * rng.standard_normal(len(tastes))).astype(np.float32)
    affinity *= _TASTE_STARS * taste / np.sqrt(variance) if variance > 1e-9 else 0.0
    affinity += generosity[users]
    affinity += quality.astype(np.float32)[items]
    noise = rng.standard_normal(len(users), dtype=np.float32)
    noise *= _RATING_NOISE
    affinity += noise
    affinity += np.float32(_RATING_MEAN - affinity.mean(dtype=np.float64))
    np.rint(affinity, out=affinity)
    return np.clip(affinity, 1.0, 5.0, out=affinity)


def _covariance(shares: Floats) -> Floats:
    centred = shares.astype(np.float64) - shares.mean(axis=0, dtype=np.float64)
    return centred.T @ centred / len(shares)


def _genre_names(shares: Floats) -> list[str]:
    return [f"Genre {k + 1}" for k in shares.argmax(axis=1).tolist()]
