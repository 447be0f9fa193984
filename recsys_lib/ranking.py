"""The best k items of every user, exactly, in bounded memory.

One implementation serves recommendation, validation and evaluation, so that they cannot disagree:

* Ties are broken by the lower item index, everywhere, also where a tie crosses the cut. The order is thus a
  function of the scores alone: not of the device, the batch size or the version of a library.
* A score of NaN is an error, because NaN has no place in an order.
* Scores are computed for a batch of users at a time; the full matrix of users and items never exists.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_integer, check_kind
from recsys_lib.device import kept_memory
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories

__all__ = ["rank_candidates", "rank_catalogue", "score_batches", "score_candidates", "top_k"]

Scorer = Callable[[Tensor], Tensor]
# Scores a few items for each of a batch of users, shapes (b,) and (b, c) -> (b, c).
PairScorer = Callable[[Tensor, Tensor], Tensor]
# Pairs scored at once: bounds what a network computes on the way.
_PAIRS = 2**16

# A block of scores of this size stays in the cache of a CPU, and has rows enough for a fast product.
_CPU_BLOCK_BYTES = 16 * 2**20
_DEVICE_BLOCK_BYTES = 128 * 2**20
# From so many scores on, their memory is kept from block to block: 138,000 users and 26,744 items take two
# thirds of the time. To give it back in the end costs more than that saves for fewer.
_MANY_BYTES = 2**29
# The two-level search pays when the catalogue has this many items per place of the list (measured on a CPU).
_TWO_LEVEL_RATIO = 500
_TILE = 64


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` highest scores of every row and where they are, best first.

    Among equal scores the lower column comes first. ``torch.topk`` leaves that order open, and which of the
    tied columns it returns at the cut as well. Here both are put right: a row whose ``k``-th and
    ``k + 1``-th score are equal is the only kind that needs a second look, and only those rows get one.

    Parameters
    ----------
    scores : Tensor, shape (b, n)
        Higher is better; ``-inf`` is allowed and comes last.
    k : int
        At least 1. Above ``n``, all columns are returned.

    Returns
    -------
    values : Tensor, shape (b, min(k, n))
        Descending.
    columns : Tensor of int64, shape (b, min(k, n))

    Raises
    ------
    DataError
        If a score is NaN.

    Examples
    --------
    >>> values, columns = top_k(torch.tensor([[1.0, 3.0, 2.0, 3.0, 2.0]]), k=3)
    >>> columns
    tensor([[1, 3, 2]])
    """
    check_tensor("scores", scores, "number", "b", "n")
    values, columns = _largest(scores, check_integer("k", k, 1))
    invalid = values[:, 0].isnan() if values.shape[1] else values.new_zeros(len(values), dtype=torch.bool)
    if bool(invalid.any()):
        rows = invalid.nonzero().flatten()
        raise DataError(
            f"scores hold NaN in {len(rows)} of {len(scores)} rows, the first is row {int(rows[0])}."
        )
    return values, columns


def rank_catalogue(
    score: Scorer,
    users: Tensor,
    k: int,
    *,
    exclude: Histories | None = None,
    items: Tensor | None = None,
    batch_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the best ``k`` items of the catalogue for each user, best first.

    Parameters
    ----------
    score : callable
        Takes user indices of shape (b,) and returns scores of shape (b, n_items), where higher is better.
        The work is done on the device of these scores, without gradients.
    users : Tensor of int64, shape (n,)
        User indices. They are handed to ``score`` as they are.
    k : int
        Length of the lists, at least 1; it may exceed the number of items.
    exclude : Histories, optional
        Items that must not appear: list ``u`` belongs to user index ``u``.
    items : Tensor of int64, shape (m,), optional
        Only these items may appear.
    batch_size : int, optional
        Users per batch. By default a block of scores takes 8 MB on a CPU and 128 MB on another device.

    Returns
    -------
    items : Tensor of int64, shape (n, k)
        Item indices; ``-1`` where no item is left.
    scores : Tensor, shape (n, k)
        Their scores; ``-inf`` where no item is left. An item that is itself scored ``-inf`` is not shown.

    Raises
    ------
    DataError
        If a score is NaN, the scores have the wrong shape, or ``items`` names an item outside the catalogue.

    Examples
    --------
    >>> popularity = torch.tensor([[5.0, 9.0, 1.0, 9.0]])
    >>> users = torch.tensor([0, 1])
    >>> seen = Histories.from_lists([[1], [0, 1, 3]], n_items=4)
    >>> ranked, _ = rank_catalogue(lambda batch: popularity[batch * 0], users, k=2, exclude=seen)
    >>> ranked
    tensor([[ 3,  0],
            [ 2, -1]])
    """
    check_integer("k", k, 1)
    check_tensor("users", users, "int", "n")
    if exclude is not None:
        check_kind("exclude", exclude, Histories)
    if items is not None:
        check_tensor("items", items, "int", "m")
    found: Tensor | None = None
    best: Tensor | None = None
    n_items = None if exclude is None else exclude.n_items
    if exclude is not None and len(users) and int(users.max()) >= len(exclude):
        raise DataError(f"exclude has {len(exclude)} lists, but users names user index {int(users.max())}.")
    done = 0
    with contextlib.ExitStack() as settings:
        for batch, scores in score_batches(score, users, n_items, batch_size):
            if exclude is not None and exclude.device != scores.device:
                exclude = exclude.to(scores.device)
            if found is None or best is None:
                if scores.device.type == "cpu" and len(users) * scores[0].nbytes > _MANY_BYTES:
                    settings.enter_context(kept_memory())
                if items is not None:
                    items = torch.unique(items.to(scores.device, torch.int64))
                    _check_range("items", items, 0, scores.shape[1])
                # Made outside of inference mode, so that the caller may use them freely.
                found = torch.full((len(users), k), -1, dtype=torch.int64, device=scores.device)
                best = torch.full((len(users), k), -torch.inf, dtype=scores.dtype, device=scores.device)
            with torch.inference_mode():
                values, columns = _rank_block(scores, batch, k, exclude, items)
                width = values.shape[1]
                found[done : done + len(batch), :width] = columns
                best[done : done + len(batch), :width] = values
            done += len(batch)
    if found is None or best is None:
        return torch.empty(0, k, dtype=torch.int64), torch.empty(0, k)
    return found, best


def score_candidates(
    score: Scorer,
    users: Tensor,
    candidates: Tensor,
    *,
    pairs: PairScorer | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Score a few given items for each user.

    Parameters
    ----------
    score, users, batch_size
        As in :func:`rank_catalogue`.
    candidates : Tensor of int64, shape (n, c)
        Item indices, ``-1`` where there is none.
    pairs : callable, optional
        ``pairs(users, items)``, shapes (b,) and (b, c) -> (b, c), for models that can score a few items
        faster than the catalogue. It is given only items of the catalogue.

    Returns
    -------
    Tensor, shape (n, c)
        ``-inf`` where there is no candidate.

    Raises
    ------
    DataError
        If the shapes do not fit, a candidate is outside the catalogue, or a candidate's score is NaN.
    """
    check_tensor("users", users, "int", "n")
    check_tensor("candidates", candidates, "int", len(users), "c")
    result: Tensor | None = None
    done = 0
    if pairs is not None and len(users):
        size = batch_size or max(1, _PAIRS // max(1, candidates.shape[1]))
        parts = []
        for batch, rows in zip(users.split(size), candidates.split(size), strict=True):
            with torch.inference_mode():
                block = pairs(batch, rows.clamp(min=0))
                block = block.masked_fill(rows.to(block.device) < 0, -torch.inf)
                _refuse_nan(block.isnan().any(1), batch)
            parts.append(block)
        return torch.cat(parts)
    for batch, scores in score_batches(score, users, None, batch_size):
        if result is None:
            candidates = candidates.to(scores.device)
            _check_range("candidates", candidates, -1, scores.shape[1], ", or -1 for none")
            result = torch.empty(candidates.shape, dtype=scores.dtype, device=scores.device)
        with torch.inference_mode():
            rows = candidates[done : done + len(batch)]
            block = scores.gather(1, rows.clamp(min=0)).masked_fill_(rows < 0, -torch.inf)
            _refuse_nan(block.isnan().any(1), batch)
            result[done : done + len(batch)] = block
        done += len(batch)
    return candidates.new_empty(candidates.shape, dtype=torch.float32) if result is None else result


def rank_candidates(
    score: Scorer,
    users: Tensor,
    candidates: Tensor,
    k: int,
    *,
    pairs: PairScorer | None = None,
    batch_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the best ``k`` of a few given items for each user, best first.

    A row of candidates is a set: an item named twice counts once, and the order does not matter.

    Parameters and errors as in :func:`score_candidates`; ``k`` and the result as in :func:`rank_catalogue`.

    Examples
    --------
    >>> popularity = torch.tensor([[5.0, 9.0, 1.0, 9.0]])
    >>> users, candidates = torch.tensor([0, 1]), torch.tensor([[0, 2, 2], [3, 1, -1]])
    >>> ranked, _ = rank_candidates(lambda batch: popularity[batch * 0], users, candidates, k=3)
    >>> ranked
    tensor([[ 0,  2, -1],
            [ 1,  3, -1]])
    """
    check_integer("k", k, 1)
    if check_tensor("candidates", candidates, "int", len(users), "c").numel():
        # Ascending items make the lower column the lower item, which is how top_k breaks ties.
        candidates = candidates.sort(1).values
        candidates[:, 1:].masked_fill_(candidates[:, 1:] == candidates[:, :-1], -1)
    scores = score_candidates(score, users, candidates, pairs=pairs, batch_size=batch_size)
    candidates = candidates.to(scores.device)
    found = torch.full((len(users), k), -1, dtype=torch.int64, device=scores.device)
    best = torch.full((len(users), k), -torch.inf, dtype=scores.dtype, device=scores.device)
    values, columns = _largest(scores, k)
    found[:, : values.shape[1]] = candidates.gather(1, columns).masked_fill_(values == -torch.inf, -1)
    best[:, : values.shape[1]] = values
    return found, best


def score_batches(
    score: Scorer, users: Tensor, n_items: int | None = None, batch_size: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the users of each batch and their scores, shape (b, n_items), in order, without gradients.

    Parameters as in :func:`rank_catalogue`. With ``n_items`` the number of columns is checked. Scores that
    are whole numbers become floats.
    """
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1)
    size = batch_size or 16  # the size of the first batch, which shows the device and the number of items
    start = 0
    while start < len(users):
        batch = users[start : start + size]
        with torch.no_grad():  # not inference mode: what a model caches here, it may train with later
            scores = score(batch)
            if scores.ndim != 2 or scores.shape != (len(batch), n_items or scores.shape[1]):
                wanted = "n_items" if n_items is None else n_items
                raise DataError(
                    f"score must return one row per user, shape ({len(batch)}, {wanted}); "
                    f"got {tuple(scores.shape)}."
                )
            if not scores.is_floating_point():
                scores = scores.to(torch.get_default_dtype())
        yield batch, scores
        start += len(batch)
        if batch_size is None:
            block = _CPU_BLOCK_BYTES if scores.device.type == "cpu" else _DEVICE_BLOCK_BYTES
            size = max(1, block // max(1, scores.shape[1] * scores.element_size()))


def _rank_block(
    scores: Tensor, users: Tensor, k: int, exclude: Histories | None, items: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Rank one block of scores, shape (b, n_items); items are -1 where the value is -inf."""
    rows = columns = None
    if exclude is not None:
        rows, columns = exclude.select(users.to(scores.device)).pairs()
    if items is not None:
        if rows is not None and columns is not None:
            place = torch.full((scores.shape[1],), -1, device=scores.device)
            place[items] = torch.arange(len(items), device=scores.device)
            kept = place[columns] >= 0
            rows, columns = rows[kept], place[columns[kept]]
        scores = scores[:, items]
    if rows is not None and columns is not None:
        scores = scores.contiguous()  # an expanded row shares its memory between users
        hidden = scores[rows, columns]
        scores.index_put_((rows, columns), scores.new_tensor(-torch.inf))
        values, found = _largest(scores, k)
        # The scores may be a model's own table. Putting them back is far cheaper than copying the block.
        scores.index_put_((rows, columns), hidden)
    else:
        values, found = _largest(scores, k)
    if values.shape[1]:
        _refuse_nan(values[:, 0].isnan(), users)
    if items is not None:
        found = items[found]
    return values, found.masked_fill_(values == -torch.inf, -1)


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Do the work of :func:`top_k`. In a row that holds NaN the first value is NaN, the rest is undefined."""
    n = scores.shape[1]
    k = min(k, n)
    # One place more than asked: if it equals the last place, a tie crosses the cut.
    values, columns = _candidates(scores, min(k + 1, n))
    if k < n:
        cut = values[:, k - 1]
        crossing = (values[:, k] == cut).nonzero().flatten()
        values, columns = values[:, :k], columns[:, :k]
        if len(crossing):
            columns = columns.index_copy(0, crossing, _settle(scores, values, columns, crossing))
    # Ascending columns first; the stable sort by value then keeps them ascending among equals. Adding zero
    # turns -0.0 into 0.0, which a sort by bit patterns would put apart.
    columns, order = columns.sort(1)
    values, order = (values.gather(1, order) + 0.0).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


def _candidates(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest values of each row in descending order, with any of the tied columns.

    In a large catalogue the maximum of each tile of columns is found first. The k largest values lie in the
    k tiles with the largest maxima (and in the few columns after the last full tile), so only these are
    searched. ``amax`` and ``topk`` both let NaN win, so NaN comes out first here as well.
    """
    b, n = scores.shape
    if n < _TWO_LEVEL_RATIO * k:
        return scores.topk(k, dim=1)
    n_tiles = n // _TILE
    tiles = scores[:, : n_tiles * _TILE].reshape(b, n_tiles, _TILE)
    chosen = tiles.amax(2).topk(k, dim=1, sorted=False).indices.unsqueeze(2)
    inside = torch.arange(_TILE, device=scores.device)
    rest = torch.arange(n_tiles * _TILE, n, device=scores.device).expand(b, -1)
    values = torch.cat(
        [tiles.gather(1, chosen.expand(-1, -1, _TILE)).flatten(1), scores[:, n_tiles * _TILE :]], 1
    )
    columns = torch.cat([(chosen * _TILE + inside).flatten(1), rest], 1)
    values, order = values.topk(k, dim=1)
    return values, columns.gather(1, order)


def _settle(scores: Tensor, values: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Choose the columns of rows whose tie crosses the cut: all above the cut, then the lowest of them."""
    values, columns = values[rows], columns[rows]
    k, n = values.shape[1], scores.shape[1]
    cut = values[:, -1:]
    # Keys count down from left to right, so the largest keys are the lowest of the tied columns.
    keys = torch.arange(n, 0, -1, dtype=torch.int32, device=scores.device) * (scores[rows] == cut)
    tied = n - keys.topk(k, dim=1).values.long()
    n_above = (values > cut).sum(1, keepdim=True)
    place = torch.arange(k, device=scores.device)
    return torch.where(place < n_above, columns, tied.gather(1, (place - n_above).clamp(min=0)))


def _check_range(name: str, items: Tensor, low: int, n_items: int, also: str = "") -> None:
    if items.numel() and not low <= int(items.min()) <= int(items.max()) < n_items:
        raise DataError(
            f"{name} must be item indices from 0 to {n_items - 1}{also}; "
            f"got {int(items.min())} to {int(items.max())}."
        )


def _refuse_nan(invalid: Tensor, users: Tensor) -> None:
    """Raise if any user of the batch has a NaN score."""
    if bool(invalid.any()):
        rows = invalid.nonzero().flatten().cpu()
        raise DataError(
            f"the model scored items as NaN for {len(rows)} of the {len(users)} users in this "
            f"batch, first for user index {int(users[rows[0]])}. Training may have diverged: "
            "lower the learning rate."
        )
