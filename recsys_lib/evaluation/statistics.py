"""Uncertainty of means over users: bootstrap intervals and paired tests."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Random numbers held at once: they stay in the cache, and the memory is bounded whatever the number of users.
_BLOCK = 2**18
# Above this many users who differ, the sign-flip distribution is a normal one to more digits than are shown.
_EXACT_LIMIT = 10_000


def bootstrap_ratios(numerators: Floats, denominators: Floats, n_resamples: int, seed: int) -> Floats:
    """Resample users with replacement and return the ratio of sums for each resample.

    With ones as denominators the ratios are means. All columns share their resamples.

    Parameters
    ----------
    numerators, denominators : array, shape (n_users, m)
    n_resamples : int
    seed : int

    Returns
    -------
    array, shape (n_resamples, m)
        ``nan`` where a resample has a denominator of zero.
    """
    rng = np.random.default_rng(seed)
    n, m = numerators.shape
    both = np.hstack([numerators, denominators])
    ratios = np.empty((n_resamples, m))
    step = max(1, _BLOCK // n)
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        drawn = rng.integers(0, n, size=(size, n))
        drawn += np.arange(size)[:, None] * n
        # How often each user was drawn: one row per resample.
        counts = np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n)
        sums = counts.astype(np.float64) @ both
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios[start : start + size] = sums[:, :m] / sums[:, m:]
    return ratios


def sign_flip_p_value(differences: Floats, n_resamples: int, seed: int) -> float:
    """Return the two-sided p-value of a paired randomisation test that the mean difference is zero.

    If two models were interchangeable, the sign of each user's difference would be a coin toss. The p-value
    is the share of coin tosses that give a sum at least as far from zero (Fisher 1935; Smucker, Allan and
    Carterette 2007 recommend it for retrieval), counting the observed one. Users without a difference do
    not matter. With more than 10,000 users who differ, the normal limit of the same distribution is used.

    Parameters
    ----------
    differences : array, shape (n_users,)
    n_resamples : int
    seed : int

    Examples
    --------
    >>> sign_flip_p_value(np.array([1.0, 1.0, 1.0, -1.0, 0.0]), n_resamples=999, seed=0) > 0.5
    True
    """
    differing = differences[differences != 0]
    if not len(differing):
        return 1.0
    observed = abs(float(differing.sum()))
    if len(differing) > _EXACT_LIMIT:
        return math.erfc(observed / math.sqrt(2 * float(np.square(differing).sum())))
    rng = np.random.default_rng(seed)
    extreme = 0
    step = max(1, _BLOCK // len(differing))
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        signs = rng.integers(0, 2, size=(size, len(differing)), dtype=np.int8)
        sums = (2.0 * signs - 1.0) @ differing
        extreme += int((np.abs(sums) >= observed * (1 - 1e-12)).sum())
    return (1 + extreme) / (1 + n_resamples)


def holm(p_values: Floats) -> Floats:
    """Correct p-values for being several (Holm 1979); the order is kept.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected
