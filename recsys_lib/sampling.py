"""Drawing items that a user has not met. Everything stays on the device of the histories.

>>> import torch
>>> from recsys_lib.histories import Histories
>>> seen = Histories.from_lists([[0, 1, 2], [3]], n_items=5)
>>> sampler = NegativeSampler(seen)
>>> negatives = sampler.draw(torch.tensor([0, 1, 1]), 4, torch.Generator().manual_seed(0))
>>> negatives.shape
torch.Size([3, 4])
>>> bool(seen.contains(torch.tensor([[0], [1], [1]]).expand(3, 4), negatives).any())
False
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsys_lib import distributed
from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_integer, check_kind, check_number
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories

__all__ = ["NegativeSampler", "hardest", "items_of", "met_by", "sample_unknown"]

# Users that are drawn for at once. Part of the meaning of a seed: another number gives other candidates.
_USERS_AT_ONCE = 4096
# The weights of all items add up to about this many units, so that the rarest one still has some.
_RESOLUTION = 2**40


class NegativeSampler:
    r"""Draws items for users, never one from the user's own history.

    An item's chance is in proportion to :math:`c_i^\alpha`, where :math:`c_i` is the number of users who
    have it: the smoothed popularity of Mikolov et al. (2013). With :math:`\alpha = 0` all items that the
    user has not met have the same chance, as in He et al. (2017).

    Nothing is drawn and thrown away. Lay the weights of all items end to end; the items of a user's history
    are gaps in that line. A point is drawn on what is left of the line, and a binary search says how much
    gap lies before it. So the cost does not depend on how much of the catalogue a user has met, and no
    number travels from the device to the host. The users are gone through in ascending order, in which the
    search finds most of what it reads in the cache: several thousand users at once are drawn for two to
    three times as fast as a few.

    Parameters
    ----------
    seen : Histories
        The items of each user, on the device where the drawing shall happen.
    alpha : float
        Exponent of the popularity, at least 0: 0 is uniform, 1 in proportion to the popularity. Above 0, an
        item that nobody has keeps a tiny chance.
    record : bool
        Remember everything that is drawn, for :attr:`drawn`. Costs one byte for each pair of user and item.

    Raises
    ------
    DataError
        If some user has met the whole catalogue, so that there is nothing to draw.

    References
    ----------
    T. Mikolov et al. (2013), "Distributed representations of words and phrases and their compositionality".
    X. He et al. (2017), "Neural collaborative filtering", section 3.1.
    """

    def __init__(self, seen: Histories, *, alpha: float = 0.0, record: bool = False) -> None:
        check_kind("seen", seen, Histories)
        self.alpha = check_number("alpha", alpha, 0)
        self.n_items = seen.n_items
        counts = torch.bincount(seen.indices, minlength=seen.n_items)
        self._weights = _integer_weights(counts, self.alpha, len(seen))
        # In whole numbers there is no rounding, and a point next to a gap never falls into it.
        self._ends = torch.cumsum(self._weights, 0)
        self._total = int(self._ends[-1]) if len(self._ends) else 0
        self._drawn = (
            torch.zeros(len(seen), seen.n_items, dtype=torch.bool, device=seen.device) if record else None
        )
        self._seen = seen if self.alpha == 0 and seen.indices.dtype == torch.int32 else None
        if self._seen is not None:  # what is made below would be many times as large as the file
            self._free = self._total - seen.lengths()
            self._refuse_full(seen)
            return
        rows, items = seen.pairs()
        gaps = torch.zeros(len(items) + 1, dtype=torch.int64, device=seen.device)
        torch.cumsum(self._weights[items], 0, out=gaps[1:])
        self._gaps, self._first_gap = gaps, gaps[seen.indptr[:-1]]
        self._free = self._total - (gaps[seen.indptr[1:]] - self._first_gap)
        self._refuse_full(seen)
        # Where each gap lies on the user's line without gaps. Adding row * total keeps the users apart and
        # the whole ascending, so that one search serves all of them.
        inside = gaps[:-1] - self._first_gap[rows]
        self._keys = rows * self._total + (self._ends - self._weights)[items] - inside

    def _refuse_full(self, seen: Histories) -> None:
        if len(seen) and int(self._free.min()) < 1:
            full = (self._free < 1).nonzero().flatten().tolist()
            raise DataError(
                f"cannot draw negatives: user index {full[0]}{_and_more(full)} met all {seen.n_items:,} "
                "items of the catalogue. Leave such users out of the training data."
            )

    def draw(self, users: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """Draw ``n`` items for every entry of ``users``, independently, so an item may come twice.

        Parameters
        ----------
        users : Tensor of int64, shape (b,)
            User indices; a user may be there several times.
        n : int
        generator : torch.Generator
            On the device of the histories.

        Returns
        -------
        Tensor of int64, shape (b, n)
            Item indices.
        """
        n = check_integer("n", n, 1)
        check_tensor("users", users, "int", "b")
        ascending, places = users.sort(stable=True)
        rows = ascending.unsqueeze(1)
        points = _below(self._free[rows].expand(-1, n), generator)
        if self._seen is not None:
            points += self._seen.count_up_to(rows.expand(-1, n), points, free=True)
        else:
            gap = torch.searchsorted(self._keys, points + rows * self._total, right=True)
            points += self._gaps[gap] - self._first_gap[rows]
        # With equal weights of one unit a point is an item.
        items = points if self.alpha == 0 else torch.searchsorted(self._ends, points, right=True)
        if self._drawn is not None:
            self._drawn[rows, items] = True
        return torch.empty_like(items).index_copy_(0, places, items)

    def log_probability(self, items: Tensor) -> Tensor:
        """Return the log of each item's share of all weights; the shape of ``items``.

        It is the chance of the item to be drawn for a user without history: the usual approximation of
        :math:`Q` in the correction of a sampled softmax.
        """
        return torch.log(self._weights[items].float() / self._total)

    def merge_ranks(self) -> None:
        """Add to the record what other processes have drawn. All of them must call it."""
        if self._drawn is not None:
            self._drawn = distributed.anywhere(self._drawn)

    @property
    def drawn(self) -> Histories:
        """Everything drawn so far, one list per user."""
        if self._drawn is None:
            raise DataError("the sampler kept no record: make it with record=True.")
        users, items = self._drawn.nonzero(as_tuple=True)
        return Histories.from_pairs(users, items, len(self._drawn), self.n_items)


def _integer_weights(counts: Tensor, alpha: float, n_users: int) -> Tensor:
    if alpha == 0:
        return torch.ones_like(counts)
    # On the CPU, because not every device has double precision. The most popular item weighs 1 for any alpha.
    shares = counts.cpu().double()
    weights = (shares / shares.max().clamp(min=1)).pow(alpha) if len(shares) else shares
    # user * total must fit into 63 bits.
    total = min(_RESOLUTION, 2**62 // max(1, n_users))
    units = (weights * (total / weights.sum().clamp(min=1))).round().long().clamp(min=1)
    return units.to(counts.device)


def _and_more(indices: list[int]) -> str:
    more = len(indices) - 1
    return f" and {more:,} more have" if more else " has"


def met_by(seen: Histories, users: Tensor, items: Tensor) -> Tensor:
    """Tell which of some items each of some users has met: a question for every pair.

    Parameters
    ----------
    seen : Histories
        The items of each user.
    users : Tensor of int64, shape (b,)
    items : Tensor of int64, shape (c,)
        An item may be there several times.

    Returns
    -------
    Tensor of bool, shape (b, c)

    Examples
    --------
    >>> seen = Histories.from_lists([[0, 2], [1]], n_items=3)
    >>> met_by(seen, torch.tensor([1, 0]), torch.tensor([2, 1, 2]))
    tensor([[False,  True, False],
            [ True, False,  True]])
    """
    if seen.device.type != "cpu":
        # A search for each pair is much work, but the host has to wait for none of it.
        shape = len(users), len(items)
        return seen.contains(users.unsqueeze(1).expand(shape), items.expand(shape))
    # Each item is given one of its columns; what is not among the items goes to a column at the end.
    column = torch.full((seen.n_items,), len(items))
    column[items] = torch.arange(len(items))
    rows, met = seen.select(users).pairs()
    table = torch.zeros(len(users), len(items) + 1, dtype=torch.bool)
    table[rows, column[met]] = True
    return table[:, column[items]]


def items_of(histories: Histories) -> tuple[Tensor, Histories]:
    """Find the items that occur in a batch of histories, and write the histories in terms of them.

    In mini-batch based negative sampling (Moussawi 2018) these are the only items that the batch is trained
    on: what one person has serves the others as a negative.

    Parameters
    ----------
    histories : Histories, b lists over n_items items

    Returns
    -------
    items : Tensor of int64, shape (m,)
        Ascending.
    histories : Histories, b lists over m items
        Number 0 is the first of ``items``.

    Examples
    --------
    >>> items, local = items_of(Histories.from_lists([[3, 7], [7]], n_items=1_000_000))
    >>> items
    tensor([3, 7])
    >>> local.indices, local.n_items
    (tensor([0, 1, 1]), 2)
    """
    # Marking and counting takes no sort, and as little time for a large catalogue as for a small one.
    marks = torch.zeros(histories.n_items, dtype=torch.bool, device=histories.device)
    marks[histories.indices] = True
    items = marks.nonzero().flatten()
    number = torch.empty(histories.n_items, dtype=torch.int64, device=histories.device)
    number[items] = torch.arange(len(items), device=histories.device)
    return items, Histories(histories.indptr, number[histories.indices], len(items))


def hardest(candidates: Tensor, scores: Tensor, n: int) -> Tensor:
    """Keep the candidates with the highest scores: dynamic negative sampling (Zhang et al. 2013).

    Parameters
    ----------
    candidates : Tensor of int64, shape (b, pool)
        Items drawn at random.
    scores : Tensor of float, shape (b, pool)
        What the model thinks of them now.
    n : int
        How many to keep, at most ``pool``.

    Returns
    -------
    Tensor of int64, shape (b, n)
        Highest score first.

    Examples
    --------
    >>> hardest(torch.tensor([[7, 8, 9]]), torch.tensor([[0.1, 0.9, 0.5]]), n=2)
    tensor([[8, 9]])
    """
    check_integer("n", n, 1, candidates.shape[1])
    return candidates.gather(1, scores.topk(n, dim=1).indices)


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
    check_kind("known", known, Histories)
    check_integer("n", n, 0)
    check_integer("seed", seed, 0)
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
    return torch.cat(drawn)  # without rows there is one empty part


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
    # 62 random bits modulo a limit below 2**41: no number is favoured by more than one part in a million.
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
