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
from recsys_lib.ranking import Scorer, rank_candidates
from recsys_lib.splits import Split

# Users that are drawn for at once. Part of the meaning of a seed: another number gives other candidates.
_USERS_AT_ONCE = 4096
# Users whose lists are laid out as one table: bounds the memory when some lists are long.
_LISTS_AT_ONCE = 2048


def candidate_lists(
    candidates: Any, split: Split, part: Interactions, users: Tensor, relevant: Histories, seed: int
) -> tuple[Histories | None, str]:
    """Return the candidates of each evaluated user, None for the whole catalogue; and both in words."""
    if candidates is None:
        return None, f"all {part.n_items:,} items"
    if isinstance(candidates, int | np.integer):
        n = check_integer("candidates", candidates, 1)
        unknown = sample_unknown(_all_histories(split).select(users), n, seed)
        rows, items = relevant.pairs()
        rows = torch.cat([rows, torch.arange(len(users)).repeat_interleave(n)])
        lists = Histories.from_pairs(rows, torch.cat([items, unknown.flatten()]), len(users), part.n_items)
        return lists, f"the held-out items and {n:,} others per user, drawn uniformly with seed {seed}"
    lists = _read_candidates(candidates, part).select(users)
    empty = int((lists.lengths() == 0).sum())
    if empty:
        raise DataError(f"candidates: {empty:,} of the {len(users):,} users with held-out items have none.")
    present = int(lists.contains(*relevant.pairs()).sum())
    if not present:
        raise DataError("candidates: no held-out item is among them, so nothing can be hit. List those too.")
    share = "all" if present == len(relevant.indices) else f"{present:,} of the {len(relevant.indices):,}"
    return lists, f"{len(lists.indices):,} given pairs, {share} held-out items among them"


def _all_histories(split: Split) -> Histories:
    """Return the items of each user in any part of the split, on the CPU."""
    parts = (split.train, split.valid, split.test, split.valid_fold_in, split.test_fold_in)
    present = [part for part in parts if part is not None]
    users = torch.from_numpy(np.concatenate([part.users for part in present]))
    items = torch.from_numpy(np.concatenate([part.items for part in present]))
    return Histories.from_pairs(users, items, split.train.n_users, split.train.n_items)


def rank_lists(score: Scorer, lists: Histories, k: int, batch_size: int | None) -> Tensor:
    """Return the best ``k`` of each list of candidates, shape (n, k); ``score`` takes positions of lists."""
    ranked = [
        rank_candidates(score, rows, _padded(lists.select(rows)), k, batch_size=batch_size)[0]
        for rows in torch.split(torch.arange(len(lists)), _LISTS_AT_ONCE)
    ]
    return torch.cat(ranked)


def sample_unknown(known: Histories, n: int, seed: int) -> Tensor:
    """Draw ``n`` different items per row, uniformly among those that are not in the row's list.

    Drawn on the device of ``known``. Keep it on the CPU, and the same seed gives the same candidates
    whatever device the model is on.

    Parameters
    ----------
    known : Histories, m lists
    n : int
        Items per row.
    seed : int

    Returns
    -------
    Tensor of int64, shape (m, n)
        Ascending in each row.

    Raises
    ------
    DataError
        If fewer than ``n`` items are left for some row.

    Examples
    --------
    >>> sample_unknown(Histories.from_lists([[0, 2, 3]], n_items=6), n=3, seed=0)
    tensor([[1, 4, 5]])
    """
    n_free = known.n_items - known.lengths()
    if len(n_free) and int(n_free.min()) < n:
        raise DataError(
            f"candidates={n}: cannot draw {n} unknown items for every user, because one user has only "
            f"{int(n_free.min())} of the {known.n_items} items left. Use a smaller number."
        )
    generator = torch.Generator(device=known.device).manual_seed(seed)
    drawn = [
        _free_items(known.select(rows), _distinct_ranks(n_free[rows], n, generator))
        for rows in torch.split(torch.arange(len(known), device=known.device), _USERS_AT_ONCE)
    ]
    return torch.cat(drawn) if drawn else torch.empty(0, n, dtype=torch.int64, device=known.device)


def _distinct_ranks(sizes: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw ``n`` different whole numbers below ``sizes[i]`` for each row i, uniformly; ascending in each row.

    Repeated numbers are drawn again until none is left, which is the same as drawing one by one and
    rejecting what is already there. Where ``n`` is most of the range that would take long, so there the
    numbers to leave out come from a random order of the whole range.
    """
    device = sizes.device
    ranks = torch.empty(len(sizes), n, dtype=torch.int64, device=device)
    dense = sizes < 2 * n
    if bool(dense.any()):
        small = sizes[dense]
        keys = torch.rand(len(small), int(small.max()), generator=generator, device=device)
        keys[torch.arange(keys.shape[1], device=device) >= small[:, None]] = 2.0
        ranks[dense] = keys.argsort(1)[:, :n]
    open_rows = (~dense).nonzero().flatten()
    limit = sizes[open_rows].unsqueeze(1)
    table = _below(limit.expand(-1, n), generator)
    while len(open_rows):
        table = table.sort(1).values
        repeated = torch.zeros_like(table, dtype=torch.bool)
        repeated[:, 1:] = table[:, 1:] == table[:, :-1]
        unfinished = repeated.any(1)
        ranks[open_rows[~unfinished]] = table[~unfinished]
        open_rows, table, limit = open_rows[unfinished], table[unfinished], limit[unfinished]
        again = repeated[unfinished]
        table[again] = _below(limit.expand(-1, n)[again], generator)
    return ranks.sort(1).values


def _below(limits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a whole number from 0 to limit - 1 for each limit, uniformly."""
    # 62 random bits modulo a limit below 2**31: the bias is below 1e-9.
    bits = torch.randint(2**62, limits.shape, generator=generator, device=limits.device)
    return bits % limits


def _free_items(known: Histories, ranks: Tensor) -> Tensor:
    """Return the items that come at these ranks when the items of the row's list are left out.

    If the list is h[0] < h[1] < ..., then h[j] - j free items lie below h[j]. So the free item of rank r is
    r plus the number of j with h[j] - j <= r, which a binary search finds.
    """
    rows, items = known.pairs()
    place = torch.arange(len(rows), device=known.device) - known.indptr[rows]
    # One search for all rows: adding row * n_items keeps the rows apart and the whole ascending.
    keys = rows * known.n_items + items - place
    starts = torch.arange(len(ranks), device=known.device).unsqueeze(1) * known.n_items
    return ranks + torch.searchsorted(keys, starts + ranks, right=True) - known.indptr[:-1, None]


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
