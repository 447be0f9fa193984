"""Which items are ranked for each user, when it is not the whole catalogue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsys_lib._validation import check_integer
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.ranking import PairScorer, Scorer, rank_candidates
from recsys_lib.sampling import sample_unknown
from recsys_lib.splits import Split

# Users whose lists are laid out as one table: bounds the memory when some lists are long.
_LISTS_AT_ONCE = 2048


def candidate_lists(
    candidates: Any,
    split: Split,
    part: Interactions,
    users: Tensor,
    relevant: Histories,
    seed: int,
    exclude: Histories | None = None,
) -> tuple[Histories | None, str]:
    """Return the candidates of each evaluated user, None for the whole catalogue; and both in words."""
    if candidates is None and exclude is None:
        return None, f"all {part.n_items:,} items"
    if isinstance(candidates, int | np.integer):
        n = check_integer("candidates", candidates, 1)
        unknown = sample_unknown(_all_histories(split, exclude).select(users), n, seed)
        rows, items = relevant.pairs()
        rows = torch.cat([rows, torch.arange(len(users)).repeat_interleave(n)])
        lists = Histories.from_pairs(rows, torch.cat([items, unknown.flatten()]), len(users), part.n_items)
        words = f"the held-out items and {n:,} others per user, drawn uniformly with seed {seed}"
        return lists, words + (", none of them among the excluded pairs" if exclude is not None else "")
    if exclude is not None:
        raise DataError("exclude is for drawn candidates: with candidates=99 or another number.")
    lists = _read_candidates(candidates, part).select(users)
    empty = int((lists.lengths() == 0).sum())
    if empty:
        raise DataError(f"candidates: {empty:,} of the {len(users):,} users with held-out items have none.")
    present = int(lists.contains(*relevant.pairs()).sum())
    if not present:
        raise DataError("candidates: no held-out item is among them, so nothing can be hit. List those too.")
    share = "all" if present == len(relevant.indices) else f"{present:,} of the {len(relevant.indices):,}"
    return lists, f"{len(lists.indices):,} given pairs, {share} held-out items among them"


def _all_histories(split: Split, more: Histories | None) -> Histories:
    """Return the items of each user in any part of the split and in ``more``, on the CPU."""
    parts = (split.train, split.valid, split.test, split.valid_fold_in, split.test_fold_in)
    present = [part for part in parts if part is not None]
    users = torch.from_numpy(np.concatenate([part.users for part in present]))
    items = torch.from_numpy(np.concatenate([part.items for part in present]))
    if more is not None:
        if not isinstance(more, Histories):
            raise TypeError(
                f"exclude must be Histories, such as negatives_drawn_, got {type(more).__name__}."
            )
        if (len(more), more.n_items) != (split.train.n_users, split.train.n_items):
            raise DataError(
                f"exclude has {len(more):,} lists of {more.n_items:,} items, and the split has "
                f"{split.train.n_users:,} users and {split.train.n_items:,} items."
            )
        rows, others = more.to("cpu").pairs()
        users, items = torch.cat([users, rows]), torch.cat([items, others])
    return Histories.from_pairs(users, items, split.train.n_users, split.train.n_items)


def rank_lists(
    score: Scorer, pairs: PairScorer | None, lists: Histories, k: int, batch_size: int | None
) -> Tensor:
    """Return the best ``k`` of each list of candidates, shape (n, k); ``score`` takes positions of lists."""
    ranked = [
        rank_candidates(score, rows, _padded(lists.select(rows)), k, pairs=pairs, batch_size=batch_size)[0]
        for rows in torch.split(torch.arange(len(lists)), _LISTS_AT_ONCE)
    ]
    return torch.cat(ranked)


def _padded(lists: Histories) -> Tensor:
    """Return the lists as a table, shape (n, length of the longest), filled up with -1."""
    table = torch.full(
        (len(lists), max(1, int(lists.lengths().max()))), -1, dtype=torch.int64, device=lists.device
    )
    rows, items = lists.pairs()
    table[rows, torch.arange(len(rows), device=lists.device) - lists.indptr[rows]] = items
    return table


def _read_candidates(candidates: Any, part: Interactions) -> Histories:
    """Read explicit candidates, in one of the forms that :func:`recsys_lib.evaluate` takes, on the CPU."""
    if isinstance(candidates, pd.DataFrame):
        missing = {"user", "item"} - set(candidates.columns)
        if missing:
            raise DataError(
                f"candidates must have the columns user and item, got {list(candidates.columns)}."
            )
        candidates = (candidates["user"], candidates["item"])
    if isinstance(candidates, tuple):
        if len(candidates) != 2 or len(candidates[0]) != len(candidates[1]):
            raise DataError("candidates must be a pair (users, items) of equally long columns of ids.")
        users, items = (
            torch.from_numpy(ids.indices(column))
            for ids, column in zip((part.user_ids, part.item_ids), candidates, strict=True)
        )
    else:
        try:
            table = torch.as_tensor(candidates).cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                "candidates must be a number, a data frame with the columns user and item, a pair (users, "
                f"items), or an array of item indices, got a {type(candidates).__name__}: {error}."
            ) from error
        if table.ndim != 2 or len(table) != part.n_users or table.is_floating_point():
            raise DataError(
                f"candidates as an array must hold item indices, shape ({part.n_users}, c), with one row per "
                f"user index and -1 for none; got shape {tuple(table.shape)} of {table.dtype}. "
                "With your own ids, give a data frame with the columns user and item."
            )
        users, places = (table >= 0).nonzero(as_tuple=True)
        items = table[users, places].long()
        if len(items) and int(items.max()) >= part.n_items:
            raise DataError(f"candidates name item {int(items.max())}, but there are {part.n_items} items.")
    return Histories.from_pairs(users, items, part.n_users, part.n_items)
