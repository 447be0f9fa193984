"""What an evaluation hands back. Public as part of :mod:`recsys_lib.evaluation`."""

from __future__ import annotations

import hashlib
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsys_lib import metrics as metric_functions
from recsys_lib.evaluation.statistics import bootstrap_ratios
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions

N_RESAMPLES = 1000


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The metrics of one model. Made by :func:`.evaluate` and :func:`.evaluate_ratings`.

    ``result["ndcg@10"]`` is the mean of that metric.

    Attributes
    ----------
    name : str
        The model.
    per_user : DataFrame
        One row per evaluated user, with the user's own id as index and a column per metric.
    table : DataFrame
        One row per metric: ``metric``, ``mean``, ``stderr`` (standard error of the mean), ``low`` and
        ``high`` (95% bootstrap interval over users) and ``n_users``. Metrics of the whole set of lists
        have no interval.
    protocol : str
        How it was measured: split, candidates, cut-offs, seed. Numbers of different protocols must not be
        compared.
    """

    name: str
    per_user: pd.DataFrame
    table: pd.DataFrame
    protocol: str
    # Identifies the held-out data and the candidates, so that compare() can tell what words cannot.
    fingerprint: str = field(default="", repr=False)

    def __getitem__(self, metric: str) -> float:
        found = self.table.loc[self.table["metric"] == metric, "mean"]
        if found.empty:
            raise KeyError(f"no metric {metric!r} here; there are {', '.join(self.table['metric'])}.")
        return float(found.iloc[0])

    def __repr__(self) -> str:
        return f"{self.name}: {self.protocol}\n{table_text(self.table)}"

    def _repr_html_(self) -> str:
        heading = f"<strong>{html.escape(self.name)}</strong>: {html.escape(self.protocol)}"
        return f"<p>{heading}</p>\n{table_html(self.table)}"


def table_text(table: pd.DataFrame) -> str:
    """Write a table of results for a terminal."""
    with pd.option_context("display.width", 110):
        return str(table.to_string(index=False, float_format="{:.4f}".format))


def table_html(table: pd.DataFrame) -> str:
    """Write a table of results for a notebook."""
    return str(table.to_html(index=False, float_format="{:.4f}".format, border=0))


def metrics_of(
    names: Sequence[str], cuts: Sequence[int], ranked: Tensor, relevant: Histories, train: Interactions
) -> dict[str, Tensor]:
    """Return the metrics in the order asked for: one value per user, or a scalar for all lists together."""
    hits, n_relevant, n_items = metric_functions.hits(ranked, relevant), relevant.lengths(), train.n_items
    m = metric_functions
    columns: dict[str, Tensor] = {}
    for name in names:
        for k in cuts:
            match name:
                case "hit_rate":
                    values = m.hit_rate(hits, k)
                case "precision":
                    values = m.precision(hits, k)
                case "mrr":
                    values = m.reciprocal_rank(hits, k)
                case "ndcg":
                    values = m.ndcg(hits, n_relevant, k)
                case "recall" | "truncated_recall":
                    values = m.recall(hits, n_relevant, k, truncated=name != "recall")
                case "map" | "truncated_map":
                    values = m.average_precision(hits, n_relevant, k, truncated=name != "map")
                case "novelty":
                    values = m.novelty(ranked, _popularity(train), k)
                case "coverage":
                    values = m.coverage(ranked, n_items, k)
                case "gini":
                    values = m.gini(ranked, n_items, k)
                case _:
                    columns["auc"] = torch.empty(0)  # has no cut-off; filled in later
                    continue
            columns[f"{name}@{k}"] = values
    return columns


def _popularity(train: Interactions) -> Tensor:
    n_users = max(1, int((train.user_counts() > 0).sum()))
    return torch.from_numpy(np.maximum(train.item_counts(), 1) / n_users).float()


def summarise(
    per_user: pd.DataFrame, order: Sequence[str], overall: Mapping[str, float], seed: int
) -> pd.DataFrame:
    """Make the table of an evaluation: means over users with intervals, and values of all lists without."""
    values = per_user.to_numpy(dtype=np.float64)
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    counts = defined.sum(0)
    resampled = bootstrap_ratios(filled, defined.astype(np.float64), N_RESAMPLES, seed)
    rows = []
    for metric in order:
        row = {"metric": metric, "mean": math.nan, "stderr": math.nan, "low": math.nan, "high": math.nan}
        if metric in overall:
            rows.append({**row, "mean": overall[metric], "n_users": len(per_user)})
            continue
        column = per_user.columns.get_loc(metric)
        n = int(counts[column])
        if n:
            row["mean"] = filled[:, column].sum() / n
            row["low"], row["high"] = np.nanquantile(resampled[:, column], [0.025, 0.975])
        if n > 1:
            row["stderr"] = values[defined[:, column], column].std(ddof=1) / math.sqrt(n)
        rows.append({**row, "n_users": n})
    return pd.DataFrame(rows)


def fingerprint(*tensors: Tensor) -> str:
    """Return a short hash of the contents."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
