"""Pictures of ideas: small matrices with their values, timelines of a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recsys_lib._validation import check_choice, check_integer
from recsys_lib.interactions import Interactions
from recsys_lib.plots._style import (
    FAINT,
    MUTED,
    PAPER,
    PARTS,
    need,
    new_axes,
    plain,
    shorten,
    styled,
    to_array,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from recsys_lib.splits import Split

Floats = npt.NDArray[np.float64]

# Single-hue ramps from near white; negative values, if any, take the other hue.
_BLUES = ("#f3f7fb", "#0b5a94")
_ORANGES = ("#a84300", "#fdf3ec")


@styled
def heatmap(
    matrix: Any,
    row_labels: Sequence[Any] | None = None,
    column_labels: Sequence[Any] | None = None,
    ax: Axes | None = None,
    *,
    missing: str = "?",
    decimals: int | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a small matrix with its values written in the cells.

    Parameters
    ----------
    matrix : array, tensor or DataFrame, shape (n, m)
        NaN cells are unknown. A DataFrame brings its own labels.
    row_labels, column_labels : sequence, optional
        ``n`` and ``m`` labels, such as users and items.
    ax : Axes, optional
        Where to draw; by default in a new figure that fits the matrix.
    missing : str
        Written in unknown cells, which are left white.
    decimals : int, optional
        Digits after the point; by default none for whole numbers, else two.
    title : str, optional

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the matrix is not two-dimensional and non-empty, or the labels do not fit.

    Examples
    --------
    >>> ax = heatmap([[5, float("nan")], [1, 4]], ["Ann", "Bob"], ["Alien", "Brazil"])
    >>> [text.get_text() for text in ax.texts]
    ['5', '?', '1', '4']
    """
    if row_labels is None and column_labels is None and hasattr(matrix, "columns"):
        row_labels, column_labels = list(matrix.index), list(matrix.columns)
    values = to_array(matrix).astype(np.float64)
    need(values.ndim == 2 and values.size > 0, f"matrix must be two-dimensional, got shape {values.shape}.")
    n, m = values.shape
    for what, labels, size in (("row_labels", row_labels, n), ("column_labels", column_labels, m)):
        need(
            labels is None or len(labels) == size,
            f"{what} must have {size} labels, got {0 if labels is None else len(labels)}.",
        )
    known = values[np.isfinite(values)]
    if decimals is None:
        decimals = 0 if np.array_equal(known, np.round(known)) else 2
    signed = bool((known < 0).any())
    ax = new_axes(ax, 1.4 + 0.62 * m, 0.9 + 0.46 * n)
    colors = _ramp(signed).with_extremes(bad=PAPER)
    high = float(np.abs(known).max()) if known.size else 1.0
    low = -high if signed else min(0.0, float(known.min()) if known.size else 0.0)
    drawn = ax.imshow(
        np.ma.masked_invalid(values),
        cmap=colors,
        vmin=low,
        vmax=high or 1.0,
        aspect="auto",
        interpolation="none",
    )
    for row, column in np.ndindex(n, m):
        value = values[row, column]
        if np.isfinite(value):
            text, ink = f"{value + 0.0:.{decimals}f}", _ink_on(drawn.to_rgba(value))
        else:
            text, ink = plain(missing), MUTED
        ax.text(column, row, text, ha="center", va="center", color=ink, fontsize=10)
    ax.set_xticks(range(m), [shorten(x, 16) for x in (range(m) if column_labels is None else column_labels)])
    ax.set_yticks(range(n), [shorten(x, 24) for x in (range(n) if row_labels is None else row_labels)])
    long = column_labels is not None and max(len(str(x)) for x in column_labels) > 8
    ax.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False, length=0)
    for label in ax.get_xticklabels():
        label.set(rotation=35 if long else 0, ha="left" if long else "center")
    # White lines between the cells: drawn as a grid on the minor ticks, at the borders.
    ax.set_xticks(np.arange(m + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    ax.tick_params(which="minor", length=0)
    ax.grid(which="minor", color=FAINT, linewidth=1)
    ax.spines[:].set_visible(False)
    if title:
        ax.set_title(plain(title))
    return ax


def _ramp(signed: bool) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    steps = [*_ORANGES, *_BLUES] if signed else list(_BLUES)
    return LinearSegmentedColormap.from_list("recsys_lib", steps)


def _ink_on(rgba: Any) -> str:
    """Return black or white, whichever has the higher contrast on this colour; it is at least 4.5:1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgba[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#ffffff" if luminance < 0.179 else "#000000"


@styled
def split_timeline(
    split: Split, users: int | Sequence[Any] = 6, ax: Axes | None = None, *, by: str = "order", last: int = 12
) -> Axes:
    """Draw for a few users which of their interactions are in which part of a split.

    Parameters
    ----------
    split : Split
        Any split.
    users : int or sequence of user ids
        How many users (those who come first among the users with the most parts), or which.
    ax : Axes, optional
    by : {"order", "time"}
        Space a user's interactions evenly in their order, or place them at their times.
    last : int
        With ``by="order"``: show only so many of a user's last interactions.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If ``by="time"`` and there are no timestamps.
    UnknownIdError
        If a user is unknown.
    """
    check_choice("by", by, ("order", "time"))
    check_integer("last", last, 1)
    parts = {"train": split.train, "valid": split.valid, "test": split.test}
    fold_ins = [p for p in (split.valid_fold_in, split.test_fold_in) if p is not None]
    shown = [(name, p) for name, p in parts.items() if p is not None] + [("fold-in", p) for p in fold_ins]
    timed = all(part.timestamps is not None for _, part in shown)
    need(timed or by == "order", 'by="time" needs timestamps, and the split has none. Use by="order".')
    rows = _users_to_show(users, [part for _, part in shown])
    ax = new_axes(ax, 6.4, 1.3 + 0.36 * len(rows))
    where: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in PARTS}
    for row, user in enumerate(rows):
        times, names = _line_of(user, shown, timed)
        if by == "order":
            cut = len(names) > last
            names = names[-last:]
            times = np.arange(len(names), dtype=np.float64) - len(names)
            if cut:
                ax.text(-last - 0.6, row, "…", ha="right", va="center", color=MUTED)
        if len(times):
            ax.plot([times.min(), times.max()], [row, row], color=FAINT, linewidth=2, zorder=1)
        for name, time in zip(names, times, strict=True):
            where[name][0].append(float(time))
            where[name][1].append(float(row))
    shapes = {"train": "o", "valid": "s", "test": "D", "fold-in": "^"}
    for name, (x, y) in where.items():
        if x:
            ax.scatter(x, y, s=52, color=PARTS[name], marker=shapes[name], label=name, zorder=2)
    ax.set_yticks(range(len(rows)), [shorten(user, 16) for user in split.train.user_ids.take(rows)])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_ylabel("user")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    # Times come in the unit of the data, which is not known here: only their order and distances are shown.
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.set_xlabel("earlier  →  later" if timed else "first  →  last")
    ax.set_title(plain(split.name))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)
    return ax


def _users_to_show(users: int | Sequence[Any], parts: list[Interactions]) -> npt.NDArray[np.int64]:
    if not isinstance(users, int | np.integer):
        return parts[0].user_ids.indices(users)
    check_integer("users", users, 1)
    # Users in most parts tell most about the split: with held-out users those are not in train at all.
    present = np.sum([part.user_counts() > 0 for part in parts], axis=0)
    return np.sort(np.argsort(-present, kind="stable")[: min(users, int((present > 0).sum()))])


def _line_of(user: int, shown: list[tuple[str, Interactions]], timed: bool) -> tuple[Floats, list[str]]:
    """Return the times and the parts of one user's interactions, in order."""
    times: list[float] = []
    names: list[str] = []
    for name, part in shown:
        mine = np.flatnonzero(part.users == user)
        names += [name] * len(mine)
        times += list(part.timestamps[mine]) if timed and part.timestamps is not None else [0.0] * len(mine)
    order = np.argsort(np.array(times), kind="stable")
    return np.array(times, dtype=np.float64)[order], [names[i] for i in order]
