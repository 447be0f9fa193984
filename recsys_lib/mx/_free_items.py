"""Drawing items that a user has not got, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys_lib.errors import DataError
from recsys_lib.interactions import Interactions


class FreeItems:
    """The items that are in no entry of a row, without listing them.

    Of an ascending list s_0, s_1, ... there are s_j - j free items below s_j. So the r-th free item is r plus
    the number of entries with s_j - j <= r, which a binary search finds.
    """

    def __init__(self, taken: sp.csr_matrix) -> None:
        n_rows, self._n_items = taken.shape
        self._indptr = taken.indptr.astype(np.int64)
        lengths = np.diff(self._indptr)
        self._left = self._n_items - lengths
        rows = np.repeat(np.arange(n_rows), lengths)
        place = np.arange(taken.nnz) - self._indptr[rows]
        # Adding row * n_items keeps the rows apart, so that one search serves all of them.
        self._keys = rows * self._n_items + taken.indices - place

    def check(self, n: int, x: Interactions, way_out: str, users: npt.NDArray[Any] | None = None) -> None:
        """Raise if a row has fewer than ``n`` free items; row r is about the user ``users[r]``."""
        short = np.flatnonzero(self._left < n)
        if len(short):
            row = short[0]
            who = short if users is None else users[short]
            user = x.user_ids.take(who[:1]).tolist()[0]
            raise DataError(
                f"{len(np.unique(who)):,} user(s) have fewer than {n} of the {self._n_items:,} items left to "
                f"draw, the first is user {user!r} with {self._left[row]}. {way_out}"
            )

    def draw(self, rows: npt.NDArray[Any], generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw a free item for every entry of ``rows``, uniformly, shape (m,) -> (m,)."""
        place = generator.integers(self._left[rows])
        # Before NumPy 2, 32-bit rows times any one number would stay 32 bits wide.
        wanted = rows.astype(np.int64) * self._n_items + place
        return place + np.searchsorted(self._keys, wanted, side="right") - self._indptr[rows]
