"""The data at a glance: who met how much, which items, how they are rated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from recsys_lib._validation import check_integer, check_number
from recsys_lib.interactions import Interactions
from recsys_lib.plots._style import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    need,
    new_axes,
    plain_log,
    styled,
    thousands,
    to_array,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@styled
def long_tail(interactions: Interactions, ax: Axes | None = None, *, head: float = 0.2) -> Axes:
    """Draw how many interactions each item has, items in the order of popularity.

    Parameters
    ----------
    interactions : Interactions
    ax : Axes, optional
    head : float
        The share of the items, from the most popular on, whose share of the interactions is marked.

    Returns
    -------
    Axes
    """
    check_number("head", head, 0, 1, open_low=True)
    counts = np.sort(interactions.item_counts())[::-1]
    need(len(interactions) > 0, "interactions is empty: there is nothing to draw.")
    n_head = max(1, round(head * len(counts)))
    share = counts[:n_head].sum() / counts.sum()
    rank = np.arange(1, len(counts) + 1)
    ax = new_axes(ax)
    ax.fill_between(rank[:n_head], counts[:n_head], color=ACCENT, alpha=0.25, linewidth=0)
    ax.plot(rank, counts, color=ACCENT)
    ax.axvline(n_head, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    side, offset = ("left", 8) if n_head < 0.6 * len(counts) else ("right", -8)
    ax.annotate(
        f"the top {n_head / len(counts):.0%} of the items\nget {share:.0%} of the interactions",
        (n_head, 0.9),
        xycoords=("data", "axes fraction"),
        xytext=(offset, 0),
        textcoords="offset points",
        ha=side,
        va="top",
        color=INK,
    )
    ax.set_xlabel("items, most popular first")
    ax.set_ylabel("interactions")
    ax.set_xlim(0, len(counts) + 1)
    ax.set_ylim(bottom=0)
    thousands(ax.xaxis)
    thousands(ax.yaxis)
    return ax


@styled
def activity(interactions: Interactions, ax: Axes | None = None, *, bins: int = 30) -> Axes:
    """Draw a histogram of how many interactions users have, on a logarithmic axis, with the median marked.

    Users of the id space without any interactions are not counted.

    Parameters
    ----------
    interactions : Interactions
    ax : Axes, optional
    bins : int

    Returns
    -------
    Axes
    """
    check_integer("bins", bins, 1)
    counts = interactions.user_counts()
    counts = counts[counts > 0]
    need(len(counts) > 0, "interactions is empty: there is nothing to draw.")
    ax = new_axes(ax)
    edges = _logarithmic_edges(int(counts.min()), int(counts.max()), bins)
    ax.hist(counts, bins=edges, color=ACCENT, alpha=0.8, edgecolor="white", linewidth=0.5)
    median = float(np.median(counts))
    ax.axvline(median, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    ax.annotate(
        f"median {median:,.4g}",
        (median, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(6, -2),
        textcoords="offset points",
        va="top",
    )
    plain_log(ax, "x")
    ax.set_xlabel("interactions of a user")
    ax.set_ylabel("users")
    thousands(ax.yaxis)
    return ax


def _logarithmic_edges(low: int, high: int, bins: int) -> list[float]:
    """Return edges of at most ``bins`` bins of whole numbers, each one as wide as the one before or wider.

    Rounding a logarithmic grid instead would make bins of 1, 2, 1, 2 numbers, and teeth in the histogram.
    """
    ratio = ((high + 1) / low) ** (1 / bins)
    edges, width = [low], 1
    while edges[-1] <= high:
        width = max(width, math.ceil(edges[-1] * (ratio - 1) - 1e-9))
        edges.append(edges[-1] + width)
    return [edge - 0.5 for edge in edges]


@styled
def rating_histogram(interactions: Interactions, ax: Axes | None = None) -> Axes:
    """Draw how often each rating was given, with the mean marked.

    Parameters
    ----------
    interactions : Interactions
        With ratings, of at most 50 different values.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If there are no ratings, or too many different ones.
    """
    need(
        interactions.ratings is not None and len(interactions) > 0,
        "there are no ratings to draw: the interactions only tell who met what.",
    )
    ratings = np.asarray(interactions.ratings, dtype=np.float64)
    values, counts = np.unique(ratings, return_counts=True)
    need(len(values) <= 50, f"there are {len(values):,} different ratings, too many for one bar each.")
    ax = new_axes(ax)
    step = float(np.diff(values).min()) if len(values) > 1 else 1.0
    bars = ax.bar(values, counts, width=0.8 * step, color=ACCENT, alpha=0.85)
    ax.bar_label(bars, [f"{count / counts.sum():.0%}" for count in counts], padding=2, fontsize=9)
    ax.axvline(ratings.mean(), color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    ax.annotate(
        f"mean {ratings.mean():.2f}",
        (ratings.mean(), 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-6, 2),
        textcoords="offset points",
        ha="right",
        va="bottom",
    )
    if len(values) <= 12:
        ax.set_xticks(values, [f"{value:g}" for value in values])
    ax.margins(y=0.12)
    ax.set_xlabel("rating")
    ax.set_ylabel("interactions")
    thousands(ax.yaxis)
    return ax


@styled
def sparsity(
    interactions: Interactions, n_users: int = 100, n_items: int = 200, ax: Axes | None = None
) -> Axes:
    """Draw a corner of the matrix: a dark cell for each interaction of the first users with the first items.

    Parameters
    ----------
    interactions : Interactions
    n_users, n_items : int
        Size of the corner; cut to what there is.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    from matplotlib.colors import ListedColormap

    n_users = min(check_integer("n_users", n_users, 1), interactions.n_users)
    n_items = min(check_integer("n_items", n_items, 1), interactions.n_items)
    corner = np.zeros((n_users, n_items))
    inside = (interactions.users < n_users) & (interactions.items < n_items)
    corner[interactions.users[inside], interactions.items[inside]] = 1
    ax = new_axes(ax, 6.4, min(6.4, 1.0 + 5.4 * n_users / n_items))
    ax.imshow(corner, cmap=ListedColormap(["#f3f5f7", ACCENT]), vmin=0, vmax=1, interpolation="none")
    ax.spines[:].set(visible=True, color=FAINT)
    ax.set_xlabel(f"{n_items:,} of {interactions.n_items:,} items")
    ax.set_ylabel(f"{n_users:,} of {interactions.n_users:,} users")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(f"{interactions.density:.2%} of all cells are known, {corner.mean():.2%} of these")
    return ax


@styled
def popularity_vs_recommended(interactions: Interactions, ranked: Any, ax: Axes | None = None) -> Axes:
    """Draw for each item how often it is recommended against how popular it was in training.

    A model that only repeats what is popular has all its points far to the upper right.

    Parameters
    ----------
    interactions : Interactions
        The training data.
    ranked : DataFrame or integer array, shape (n_users, k)
        What ``model.recommend`` returned, or item indices with -1 for no item.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If nothing is recommended, or an index is not in the catalogue.
    """
    if isinstance(ranked, pd.DataFrame):
        items = interactions.item_ids.indices(ranked["item"])
    else:
        items = to_array(ranked).ravel()
        items = items[items >= 0]
    n_items = interactions.n_items
    need(len(items) > 0, "ranked holds no recommendations.")
    need(int(items.max()) < n_items, f"ranked holds item {int(items.max())}, the last one is {n_items - 1}.")
    recommended = np.bincount(items, minlength=n_items)
    popularity = interactions.item_counts()
    never = recommended == 0
    ax = new_axes(ax)
    # log(1 + x) on both axes leaves a place for the items at zero.
    ax.set_xscale("symlog", linthresh=1)
    ax.set_yscale("symlog", linthresh=1)
    ax.scatter(popularity[never], recommended[never], s=12, color="#9aa5b1", alpha=0.5, linewidths=0)
    ax.scatter(popularity[~never], recommended[~never], s=16, color=ACCENT, alpha=0.6, linewidths=0)
    for axis in (ax.xaxis, ax.yaxis):
        thousands(axis)
    ax.set_xlim(-0.3, popularity.max() * 1.5 + 1)
    ax.set_ylim(-0.3, recommended.max() * 1.5 + 1)
    ax.grid()
    ax.set_xlabel("users who have the item in training")
    ax.set_ylabel("lists with the item")
    ax.set_title(f"{never.mean():.0%} of the {n_items:,} items are never recommended")
    return ax
