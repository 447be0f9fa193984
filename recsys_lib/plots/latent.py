"""A map of learned vectors: their two main directions, with titles that do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from recsys_lib._validation import check_integer
from recsys_lib.plots._style import (
    GROUPS,
    INK,
    PAPER,
    need,
    new_axes,
    plain,
    shorten,
    styled,
    to_array,
    whole_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

Floats = npt.NDArray[np.float64]


@styled
def latent_map(
    vectors: Any,
    labels: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    annotate: int | Sequence[int] = 20,
    ax: Axes | None = None,
    *,
    max_groups: int = 6,
) -> Axes:
    """Draw vectors as points of a plane, those of the two directions in which they vary most.

    The plane is that of a principal component analysis. Titles are written only where they cover neither
    each other nor leave the picture; the others are left out.

    Parameters
    ----------
    vectors : array or tensor, shape (n, d)
        One vector per item; d is at least 2.
    labels : sequence of n, optional
        Titles.
    groups : sequence of n, optional
        Colour by group, such as genres. Of ``"Comedy|Drama"`` the first counts. The ``max_groups`` most
        frequent ones get a colour.
    annotate : int or sequence of int
        Write the titles of so many points, spread over the plane, or of these rows.
    ax : Axes, optional
    max_groups : int
        At most 8.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If the vectors are not a finite matrix of at least two rows and columns, or lengths differ.
    """
    points, shares = _plane(vectors)
    for what, values in (("labels", labels), ("groups", groups)):
        if values is not None:
            need(len(values) == len(points), f"{what} must have {len(points)} entries, got {len(values)}.")
    check_integer("max_groups", max_groups, 1, len(GROUPS))
    ax = new_axes(ax, 6.4, 5.2)
    if groups is None:
        ax.scatter(points[:, 0], points[:, 1], s=16, color=GROUPS[0], alpha=0.7, linewidths=0)
    else:
        _draw_groups(ax, points, groups, max_groups)
    ax.margins(0.12)
    ax.set_xlabel(f"first component ({shares[0]:.0%} of the variance)")
    ax.set_ylabel(f"second component ({shares[1]:.0%})")
    ax.set_xticks([])
    ax.set_yticks([])
    if labels is not None:
        if isinstance(annotate, int | np.integer):
            check_integer("annotate", annotate, 0)
            rows = _spread(points, int(annotate))
        else:
            rows = [check_integer("annotate", row, 0, len(points) - 1) for row in annotate]
        _write_titles(ax, points, rows, [shorten(labels[row]) for row in rows])
    return ax


def _plane(vectors: Any) -> tuple[Floats, Floats]:
    """Return the coordinates on the first two principal axes, (n, 2), and their shares of the variance."""
    matrix = to_array(vectors).astype(np.float64)
    need(
        matrix.ndim == 2 and min(matrix.shape) >= 2,
        f"vectors must have shape (n, d), both at least 2, got {matrix.shape}.",
    )
    need(bool(np.isfinite(matrix).all()), "vectors hold NaN or infinity.")
    centred = matrix - matrix.mean(0)
    left, singular, axes = np.linalg.svd(centred, full_matrices=False)
    # An axis has no natural direction; this choice makes the picture the same everywhere.
    signs = np.sign(axes[range(2), np.abs(axes[:2]).argmax(1)])
    total = float((singular**2).sum()) or 1.0
    return left[:, :2] * singular[:2] * np.where(signs == 0, 1, signs), singular[:2] ** 2 / total


def _draw_groups(ax: Axes, points: Floats, groups: Sequence[Any], max_groups: int) -> None:
    first = np.array([str(group).split("|")[0] for group in groups])
    names, counts = np.unique(first[first != ""], return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")][:max_groups]
    rest = ~np.isin(first, frequent)
    if rest.any():
        ax.scatter(points[rest, 0], points[rest, 1], s=12, color="#b5bec8", linewidths=0, label="other")
    for number, name in enumerate(frequent):
        x, y = points[first == name].T
        color, marker = GROUPS[number], "os^Dv<>P"[number]
        ax.scatter(x, y, s=20, marker=marker, color=color, linewidths=0, label=plain(name))
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _spread(points: Floats, n: int) -> list[int]:
    """Choose ``n`` points far from each other: each time the one farthest from those already chosen."""
    scaled = points / np.where(np.ptp(points, axis=0) == 0, 1, np.ptp(points, axis=0))
    distance = np.full(len(points), np.inf)
    chosen = [int(np.square(scaled).sum(1).argmax())] if n else []
    while 0 < len(chosen) < min(n, len(points)):
        distance = np.minimum(distance, np.square(scaled - scaled[chosen[-1]]).sum(1))
        chosen.append(int(distance.argmax()))
    return chosen


def _write_titles(ax: Axes, points: Floats, rows: list[int], titles: list[str]) -> None:
    """Write each title beside its point, where it covers no other title and as few points as possible."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground=PAPER)]
    renderer = whole_figure(ax).canvas.get_renderer()  # type: ignore[attr-defined, unused-ignore]
    # Limits and aspect are otherwise settled when the figure is shown, too late to measure on.
    ax.autoscale_view()
    ax.apply_aspect()
    frame = ax.get_window_extent(renderer)
    on_screen = ax.transData.transform(points)
    placed: list[Bbox] = []
    sides = [(6, 0, "left", "center"), (-6, 0, "right", "center"), (0, 6, "center", "bottom")]
    sides += [(0, -6, "center", "top"), (5, 5, "left", "bottom"), (-5, 5, "right", "bottom")]
    sides += [(5, -5, "left", "top"), (-5, -5, "right", "top")]
    for row, title in zip(rows, titles, strict=True):
        best: tuple[int, tuple[int, int, str, str], Bbox] | None = None
        text = ax.annotate(title, points[row], (0, 0), textcoords="offset points", fontsize=8, color=INK)
        for side in sides:
            text.set(position=side[:2], ha=side[2], va=side[3])
            box = text.get_window_extent(renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if not inside or any(box.overlaps(other) for other in placed):
                continue
            covered = box.count_contains(on_screen)
            if best is None or covered < best[0]:
                best = (covered, side, box)
        if best is None:
            text.remove()
        else:
            text.set(position=best[1][:2], ha=best[1][2], va=best[1][3], path_effects=halo)
            placed.append(best[2])
