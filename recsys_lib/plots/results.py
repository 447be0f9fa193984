"""How training went and how models compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_lib._validation import check_integer
from recsys_lib.plots._style import (
    ACCENT,
    INK,
    MUTED,
    model_color,
    model_marker,
    need,
    new_axes,
    plain,
    pyplot,
    shorten,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from recsys_lib.evaluation import Evaluation
    from recsys_lib.evaluation.comparison import Leaderboard

# Metrics where less is better; the rest are the other way round.
_LOWER_IS_BETTER = ("rmse", "mae")


@styled
def learning_curve(
    history: pd.DataFrame | Mapping[str, pd.DataFrame],
    ax: Axes | None = None,
    *,
    column: str | None = None,
    name: str = "",
) -> Axes:
    """Draw how the loss falls and the validation metric rises over the epochs.

    Parameters
    ----------
    history : DataFrame, or mapping of model names to DataFrames
        ``model.history_``: columns ``epoch``, ``loss`` and, with validation, ``valid_<metric>``. For one
        history the loss is drawn on the left scale and the metric on the right one, its best epoch marked.
        Several histories are compared by one column.
    ax : Axes, optional
    column : str, optional
        Draw only this column. By default, several histories show their validation metric if they have it.
    name : str
        The model's name, for its colour.

    Returns
    -------
    Axes
        With the loss; for several histories, with the compared column.

    Raises
    ------
    DataError
        If a history is empty or lacks the column.
    """
    several = isinstance(history, Mapping)
    curves = dict(history) if isinstance(history, Mapping) else {name: history}
    need(bool(curves) and all(len(curve) > 0 for curve in curves.values()), "a history is empty.")
    metrics = [c for c in next(iter(curves.values())).columns if str(c).startswith("valid_")]
    if column is None and several:
        column = metrics[0] if metrics else "loss"
    for label, curve in curves.items():
        whose = f"the history of {label}" if label else "the history"
        for needed in ("epoch", column or "loss"):
            need(needed in curve, f"{whose} has no column {needed!r}; it has {_listed(curve)}.")
    ax = new_axes(ax)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(pyplot().MaxNLocator(integer=True))
    if column is not None:
        ax.set_ylabel(_words(column))
        for label, curve in curves.items():
            _draw_curve(ax, curve, column, model_color(label) if label else ACCENT, label)
        if several:
            ax.legend()
        return ax
    curve = curves[name]
    _draw_curve(ax, curve, "loss", MUTED, "loss")
    ax.set_ylabel("training loss", color=MUTED)
    if name:
        ax.set_title(plain(name))
    if metrics:
        color = model_color(name) if name else ACCENT
        right = ax.twinx()
        right.spines["right"].set_visible(True)
        _draw_curve(right, curve, metrics[0], color, metrics[0])
        right.set_ylabel(_words(metrics[0]), color=color)
        falling = metrics[0].removeprefix("valid_").startswith(_LOWER_IS_BETTER)
        best = int((curve[metrics[0]] * (-1 if falling else 1)).to_numpy().argmax())
        point = (curve["epoch"].iloc[best], curve[metrics[0]].iloc[best])
        right.plot(*point, marker="o", markersize=8, color=color, markeredgecolor="white")
        right.margins(y=0.15)
        right.annotate(
            f"best: {point[1]:.4g}, epoch {point[0]}",
            point,
            xytext=(0, -10 if falling else 9),
            textcoords="offset points",
            ha="right" if best > len(curve) / 2 else "left",
            va="top" if falling else "bottom",
        )
    return ax


def _draw_curve(ax: Axes, curve: pd.DataFrame, column: str, color: str, label: str) -> None:
    # A single epoch has no line: it gets a dot.
    marker = "o" if len(curve) == 1 else None
    ax.plot(curve["epoch"], curve[column], color=color, label=plain(label), marker=marker)


@styled
def leaderboard(
    results: Leaderboard | pd.DataFrame | Sequence[Evaluation] | Mapping[str, Evaluation],
    metric: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean of a metric for each model, best on top, with its 95% interval.

    Parameters
    ----------
    results : Leaderboard, DataFrame, or several Evaluations
        A data frame has the columns ``model``, ``mean`` and, where known, ``low`` and ``high``. A mapping
        gives the evaluations names of your own.
    metric : str, optional
        Such as ``"ndcg@10"``. Evaluations need it; for a table it is only the axis label.
    ax : Axes, optional

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If there are no models, a column is missing, or an evaluation lacks the metric.
    """
    table = _rows_of(results, metric).reset_index(drop=True)
    metric = metric or getattr(results, "metric", None) or "mean"
    missing = [column for column in ("model", "mean") if column not in table]
    need(not missing, f"the table has no column {missing[0] if missing else ''!r}: it needs model and mean.")
    need(len(table) > 0, "there are no results to draw.")
    # Rows are counted from the bottom: the best comes last.
    rising = not metric.lower().startswith(_LOWER_IS_BETTER)
    table = table.sort_values("mean", ascending=rising, kind="stable")
    ax = new_axes(ax, 6.4, 1.0 + 0.36 * len(table))
    lows, highs = (table.get(column, table["mean"]) for column in ("low", "high"))
    for row, (name, mean, low, high) in enumerate(
        zip(table["model"], table["mean"], lows, highs, strict=True)
    ):
        color = model_color(str(name))
        ax.plot([low, high], [row, row], color=color, linewidth=2.4, alpha=0.55)
        ax.plot([mean], [row], marker=model_marker(str(name)), color=color, markersize=8, linestyle="none")
        ax.annotate(
            f"{mean:.4f}",
            (1.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    ax.set_yticks(range(len(table)), [shorten(name) for name in table["model"]])
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)
    interval = {"low", "high"} <= set(table.columns)
    ax.set_xlabel(plain(metric) + (" with 95% interval" if interval else ""))
    return ax


def _rows_of(results: Any, metric: str | None) -> pd.DataFrame:
    """Return a table with a row per model: model, mean, low, high."""
    if isinstance(results, pd.DataFrame):
        return results
    if hasattr(results, "table") and "model" in results.table:
        return results.table
    need(metric is not None, 'metric must be given for evaluations, such as metric="ndcg@10".')
    named = results.items() if isinstance(results, Mapping) else [(r.name, r) for r in _as_list(results)]
    rows = []
    for name, result in named:
        found = result.table[result.table["metric"] == metric]
        need(
            len(found) == 1,
            f"{name} has no metric {metric!r}; it has {', '.join(map(str, result.table['metric']))}.",
        )
        rows.append(found.assign(model=name))
    return pd.concat(rows) if rows else pd.DataFrame({"model": [], "mean": []})


def _as_list(results: Any) -> list[Any]:
    return [results] if hasattr(results, "table") else list(results)


@styled
def per_user_histogram(
    evaluation: Evaluation, metric: str, ax: Axes | None = None, *, bins: int = 20
) -> Axes:
    """Draw how a metric is spread over the users, with the mean marked.

    Parameters
    ----------
    evaluation : Evaluation
    metric : str
        A column of ``evaluation.per_user``, such as ``"ndcg@10"``.
    ax : Axes, optional
    bins : int

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If there is no such column.
    """
    check_integer("bins", bins, 1)
    per_user = evaluation.per_user
    need(metric in per_user, f"no values per user of {metric!r}; there are {_listed(per_user)}.")
    values = per_user[metric].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    need(len(values) > 0, f"{metric} has no values to draw.")
    name = str(getattr(evaluation, "name", ""))
    ax = new_axes(ax)
    weights = np.full(len(values), 1 / len(values))
    color = model_color(name) if name else ACCENT
    ax.hist(values, bins=bins, weights=weights, color=color, edgecolor="white", linewidth=0.5)
    ax.axvline(values.mean(), color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    ax.annotate(
        f"mean {values.mean():.4g}\n{np.mean(values == 0):.0%} of the users at 0",
        (values.mean(), 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(6, -2),
        textcoords="offset points",
        va="top",
    )
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.set_xlabel(plain(metric))
    ax.set_ylabel(f"share of {len(values):,} users")
    if name:
        ax.set_title(plain(name))
    return ax


@styled
def sampled_vs_full(
    table: pd.DataFrame, ax: Axes | None = None, *, sampled: str = "sampled", full: str = "full"
) -> Axes:
    """Draw how the order of the models changes between sampled candidates and the full ranking.

    Left the order under sampling, right the order over the whole catalogue; the values are written beside
    the names, because their scales differ. Lines that cross are pairs which sampling puts in the wrong order.

    Parameters
    ----------
    table : DataFrame, one row per model
        The index, or a column ``model``, holds the names; two columns hold values where more is better.
    ax : Axes, optional
    sampled, full : str
        The two columns.

    Returns
    -------
    Axes

    Raises
    ------
    DataError
        If a column is missing, or there are no models or NaN values.
    """
    if "model" in table:
        table = table.set_index("model")
    for column in (sampled, full):
        need(column in table, f"the table has no column {column!r}; it has {_listed(table)}.")
    need(len(table) > 0, "the table has no models.")
    values = table[[sampled, full]].astype(float)
    need(not values.isna().to_numpy().any(), "the table has missing values.")
    places = values.rank(ascending=False, method="first")
    ax = new_axes(ax, 6.4, 1.1 + 0.4 * len(table))
    for name in values.index:
        left, right = places.loc[name, sampled], places.loc[name, full]
        color, marker = model_color(str(name)), model_marker(str(name))
        ax.plot([0, 1], [left, right], color=color, marker=marker, markersize=7)
        words = shorten(name, 22)
        ax.text(-0.05, left, f"{words}  {values.loc[name, sampled]:.4f}", ha="right", va="center")
        ax.text(1.05, right, f"{values.loc[name, full]:.4f}  {words}", ha="left", va="center")
    ax.set_xlim(-0.85, 1.85)
    ax.set_ylim(len(table) + 0.6, 0.4)
    ax.set_xticks([0, 1], [shorten(sampled), shorten(full)])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    crossings = _crossings(places[sampled].to_numpy(), places[full].to_numpy())
    pairs = len(table) * (len(table) - 1) // 2
    ax.set_xlabel(f"{crossings} of {pairs} pairs of models change places")
    return ax


def _crossings(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> int:
    turned = np.sign(left[:, None] - left) * np.sign(right[:, None] - right) < 0
    return int(turned.sum()) // 2


def _words(column: str) -> str:
    return plain(f"validation {column.removeprefix('valid_')}" if column.startswith("valid_") else column)


def _listed(table: pd.DataFrame) -> str:
    return ", ".join(map(str, table.columns))
