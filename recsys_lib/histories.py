"""One list of items per user, kept as two tensors so that whole batches can be read at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from recsys_lib._tensors import check_tensor
from recsys_lib._validation import check_integer
from recsys_lib.errors import DataError


@dataclass(frozen=True, eq=False)
class Histories:
    """Ragged lists of item indices: list ``r`` is ``indices[indptr[r]:indptr[r + 1]]``.

    Every list is sorted and holds an item at most once. All work on it is vectorised and stays on the
    device of the tensors.

    Attributes
    ----------
    indptr : Tensor of int64, shape (n + 1,)
        Where each list starts and ends.
    indices : Tensor of int64, shape (n_entries,)
        Item indices, each from 0 to ``n_items - 1``. Of int32 if they are a view of a file; whatever is
        picked from them is of int64.
    n_items : int
        Size of the catalogue.

    Examples
    --------
    >>> seen = Histories.from_lists([[2, 0], [], [1]], n_items=3)
    >>> seen.lengths()
    tensor([2, 0, 1])
    >>> seen.to_dense().tolist()
    [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """

    indptr: Tensor
    indices: Tensor
    n_items: int

    @classmethod
    def from_pairs(cls, rows: Tensor, items: Tensor, n_rows: int, n_items: int) -> Histories:
        """Group (row, item) pairs into ``n_rows`` lists; repeated pairs count once."""
        check_tensor("rows", rows, "int", "n_entries")
        check_tensor("items", items, "int", len(rows))
        check_integer("n_rows", n_rows, 0)
        check_integer("n_items", n_items, 0)
        if len(items) and (int(items.min()) < 0 or int(items.max()) >= n_items):
            raise IndexError(
                f"item indices must be from 0 to {n_items - 1}, got {int(items.min())} to {int(items.max())}."
            )
        if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= n_rows):
            raise IndexError(
                f"row indices must be from 0 to {n_rows - 1}, got {int(rows.min())} to {int(rows.max())}."
            )
        keys = torch.unique(rows.long() * n_items + items.long())
        lengths = torch.bincount(keys // n_items, minlength=n_rows)
        indptr = torch.zeros(n_rows + 1, dtype=torch.int64, device=keys.device)
        torch.cumsum(lengths, 0, out=indptr[1:])
        return cls(indptr, keys % n_items, n_items)

    @classmethod
    def from_lists(
        cls, lists: Sequence[Sequence[int]], n_items: int, device: torch.device | str = "cpu"
    ) -> Histories:
        """Build from Python lists of item indices, one list per row."""
        lengths = torch.tensor([len(one) for one in lists], dtype=torch.int64)
        arrays = [np.asarray(one) for one in lists]
        for array in arrays:
            if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
                raise TypeError(f"lists must hold lists of whole numbers, got one of {array.dtype}.")
        flat = np.concatenate([np.empty(0, np.int64), *(array.astype(np.int64) for array in arrays)])
        rows = torch.repeat_interleave(torch.arange(len(lists)), lengths)
        return cls.from_pairs(rows, torch.from_numpy(flat), len(lists), n_items).to(device)

    @classmethod
    def from_tensors(cls, indptr: Tensor, indices: Tensor, n_items: int) -> Histories:
        """Take the tensors of lists that a file holds, or raise if they are no lists over the catalogue."""
        check_tensor("indptr", indptr, "int", "n + 1")
        check_tensor("indices", indices, "int", "n_entries")
        lists = cls(indptr.long(), indices.long(), check_integer("n_items", n_items, 0))
        whole = len(indptr) > 0 and not int(indptr[0]) and int(indptr[-1]) == len(indices)
        if not whole or bool((lists.lengths() < 0).any()):
            raise DataError("indptr does not say where the lists start and end.")
        rows, items = lists.pairs()
        outside = len(items) and (int(items.min()) < 0 or int(items.max()) >= n_items)
        if outside or bool(((rows * n_items + items).diff() <= 0).any()):
            raise DataError(f"indices must be from 0 to {n_items - 1}, and ascending in each list.")
        return lists

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.indices.device

    def to(self, device: torch.device | str) -> Histories:
        """Return the same lists on another device."""
        return Histories(self.indptr.to(device=device), self.indices.to(device=device), self.n_items)

    def lengths(self) -> Tensor:
        """Return how many items each list has, shape (n,) of int64."""
        return self.indptr.diff()

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Return all entries as (row, item) tensors of int64, shape (n_entries,) each."""
        rows = torch.arange(len(self), device=self.device)
        rows = torch.repeat_interleave(rows, self.lengths(), output_size=len(self.indices))
        return rows, self.indices.long()

    def select(self, rows: Tensor, n_entries: int | None = None) -> Histories:
        """Pick lists by row index, shape (m,), in that order; a row may be picked twice.

        A GPU makes the host wait for the number of their entries, unless it is known: see :meth:`entries_of`.
        """
        indptr, places = self.places(rows, n_entries)
        return Histories(indptr, self.indices[places].long(), self.n_items)

    def wide(self) -> Histories:
        """Return the same lists as int64, which makes a copy of those that are on the disk."""
        return Histories(self.indptr, self.indices.long(), self.n_items)

    def entries_of(self, batches: Sequence[Tensor]) -> list[int]:
        """Count the entries of the lists in each of several batches of rows: one wait for all of them.

        Examples
        --------
        >>> lists = Histories.from_lists([[0, 1], [1], []], n_items=3)
        >>> lists.entries_of([torch.tensor([0, 1]), torch.tensor([2])])
        [3, 0]
        """
        lengths = self.lengths()
        numbers: list[int] = (
            torch.stack([lengths[rows].sum() for rows in batches]).tolist() if batches else []
        )
        return numbers

    def places(self, rows: Tensor, n_entries: int | None = None) -> tuple[Tensor, Tensor]:
        """Tell where the entries of some lists are: the new ``indptr``, and places in ``indices``.

        Whatever is kept beside ``indices``, such as ratings, can be picked with the places.
        """
        starts, lengths = self.indptr[rows], self.indptr[rows + 1] - self.indptr[rows]
        indptr = torch.zeros(len(rows) + 1, dtype=torch.int64, device=self.device)
        torch.cumsum(lengths, 0, out=indptr[1:])
        # Entry j of the result lies at starts[row of j] + (j - indptr[row of j]).
        shift = torch.repeat_interleave(starts - indptr[:-1], lengths, output_size=n_entries)
        return indptr, shift + torch.arange(len(shift), device=self.device)

    def transposed(self, *, keep: bool = False) -> tuple[Histories, Tensor]:
        """Return the list of rows of each item, and the places in ``indices`` that its entries come from.

        ``keep`` remembers them for the next call: for the lists of a batch, which several gradients need.

        Examples
        --------
        >>> rows_of_items, places = Histories.from_lists([[0, 1], [1]], n_items=3).transposed()
        >>> rows_of_items.indptr, rows_of_items.indices, places
        (tensor([0, 1, 3, 3]), tensor([0, 0, 1]), tensor([0, 1, 2]))
        """
        if "_transposed" in self.__dict__:
            kept: tuple[Histories, Tensor] = self.__dict__["_transposed"]
            return kept
        narrow, order = self.narrow_transposed()
        result = narrow.wide(), order.long()
        if keep:
            self.__dict__["_transposed"] = result
        return result

    def narrow_transposed(self) -> tuple[Histories, Tensor]:
        """Return the same; on a CPU with indices and places of 32 bits where these suffice."""
        if self.device.type != "cpu":
            return self._transposed_by_sorting()
        # SciPy counts instead of sorting: a third of the time and less memory.
        n_entries = len(self.indices)
        places = np.arange(n_entries, dtype=np.int32 if n_entries < 2**31 else np.int64)
        arrays = places, self.indices.numpy(), self.indptr.numpy()
        matrix = csr_matrix(arrays, (len(self), self.n_items), copy=False).tocsc()
        indptr, rows, order = map(torch.from_numpy, (matrix.indptr, matrix.indices, matrix.data))
        return Histories(indptr.long(), rows, len(self)), order

    def _transposed_by_sorting(self) -> tuple[Histories, Tensor]:
        rows, items = self.pairs()
        # Stable, so that the rows of an item stay in ascending order; and narrow numbers are sorted faster.
        order = (items.int() if self.n_items < 2**31 else items).argsort(stable=True)
        indptr = torch.zeros(self.n_items + 1, dtype=torch.int64, device=items.device)
        # Not bincount, which looks at the numbers first, so that the host waits.
        counts = torch.zeros_like(indptr[1:]).scatter_add_(0, items, torch.ones_like(items))
        torch.cumsum(counts, 0, out=indptr[1:])
        return Histories(indptr, rows[order], len(self)), order

    def to_dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return a matrix of ones and zeros, shape (n, n_items)."""
        dense = torch.zeros(len(self), self.n_items, dtype=dtype, device=self.device)
        dense[self.pairs()] = 1
        return dense

    def contains(self, rows: Tensor, items: Tensor) -> Tensor:
        """Tell for each (row, item) pair whether the item is in that row's list; a bool tensor like ``rows``.

        A binary search in the sorted pairs: O(log n_entries) for each question, nothing dense is made.
        No list contains an item outside the catalogue, such as the -1 that fills up a short ranking.
        """
        if not len(self.indices):
            return torch.zeros_like(rows, dtype=torch.bool)
        if self.indices.dtype == torch.int32:  # the keys would be twice as large as the file
            rows, items = torch.broadcast_tensors(rows.long(), items.long())
            after = self.indptr[rows] + self.count_up_to(rows, items)
            return (after > self.indptr[rows]) & (self.indices[(after - 1).clamp(min=0)] == items)
        keys = self._keys()
        wanted = rows.long() * self.n_items + items.long()
        at = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
        return (keys[at] == wanted) & (items >= 0) & (items < self.n_items)

    def count_up_to(self, rows: Tensor, points: Tensor, *, free: bool = False) -> Tensor:
        """Count the items in a row's list that are at most ``points``, for tensors of the same shape.

        A binary search within each list: nothing is made of the others. With ``free`` an item counts as the
        number of items below it that are not in the list, so that the count says how many items of the list
        are passed on the way to the free item of rank ``points``.

        Examples
        --------
        >>> lists, rows = Histories.from_lists([[1, 2, 5]], n_items=7), torch.tensor([0, 0, 0])
        >>> lists.count_up_to(rows, torch.tensor([0, 2, 6])).tolist()
        [0, 2, 3]
        >>> ranks = torch.tensor([0, 1, 3])
        >>> (ranks + lists.count_up_to(rows, ranks, free=True)).tolist()
        [0, 3, 6]
        """
        starts = self.indptr[rows]
        low, high = torch.zeros_like(points), self.indptr[rows + 1] - starts
        longest = int(self.lengths().max()) if len(self) else 0
        for _ in range(longest.bit_length()):
            middle = (low + high) // 2
            # Where the search has ended already, the place may be one too far.
            values = self.indices[(starts + middle).clamp(max=len(self.indices) - 1)].long()
            unfinished = low < high
            passed = (values - middle if free else values) <= points
            low = torch.where(unfinished & passed, middle + 1, low)
            high = torch.where(unfinished & ~passed, middle, high)
        return low

    def _keys(self) -> Tensor:
        """Return row * n_items + item of every entry, ascending; made once and kept."""
        keys: Tensor | None = self.__dict__.get("_cached_keys")
        if keys is None:
            rows, items = self.pairs()
            keys = rows * self.n_items + items
            self.__dict__["_cached_keys"] = keys
        return keys
