"""Data iterators of MXNet that make their negatives while they run, and for sampled evaluation.

>>> import pandas as pd
>>> bought = pd.DataFrame({"user": list("aabbc"), "item": list("xyyzx"), "age": [30, 30, 50, 50, 30]})
>>> batches = SparseNegSampleIter(bought, user_features=["age"], batch_size=6, num_negatives=1)
>>> batches.user_vocab_sizes, batches.item_vocab_sizes
((3, 2), (3,))
>>> for batch in batches:
...     users, items = batch.data
...     print(users.shape, items.shape, batch.label[0].shape, batch.pad)
(6, 2) (6, 1) (6,) 0
(6, 2) (6, 1) (6,) 2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import torch

from recsys_lib._validation import check_choice, check_integer
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.interactions import Interactions
from recsys_lib.mx._free_items import FreeItems
from recsys_lib.mx._tables import check_columns, read
from recsys_lib.mx.loading import load_mxnet
from recsys_lib.sampling import sample_unknown

mx = load_mxnet()

__all__ = ["EvaluationIter", "SparseNegSampleIter"]

# Rows that are drawn and handed to MXNet together, which takes it 70 microseconds for one batch or for sixty.
_ROWS = 2**16
# Drawn pairs that are kept as a list before they are counted: bounds the memory and the work of a record.
_PENDING = 2**20


class SparseNegSampleIter(mx.io.DataIter):  # type: ignore[name-defined, misc]
    """Purchases and, for each, items that the user did not buy, drawn when a batch is asked for.

    The purchases are kept as a sparse matrix. Negatives are made for some batches at a time and are gone with
    them, so memory does not grow with their number. They are drawn uniformly, with replacement, among all
    items that the user did not buy (He et al. 2017, section 3.1), and without trial and error: a binary
    search finds the r-th item that a user has not got.

    It works wherever a :class:`mxnet.io.DataIter` does: in ``mx.mod.Module.fit``, in a loop over Gluon's
    blocks, and in :func:`recsys_lib.mx.fitting.fit`.

    Parameters
    ----------
    data : DataFrame or Interactions
        One purchase a row. A pair that is there twice counts once.
    user, item : str
        Columns of the data frame with the ids.
    user_features, item_features : sequence of str
        Columns with categories that describe the user or the item: of the data frame, where all rows of a
        user must agree, or of ``Interactions.user_features`` and ``Interactions.item_features``. Every
        distinct value is a category; a missing value is one of its own, the last.
    batch_size : int
        Rows of a batch, purchases and negatives together, as everywhere in MXNet. (``batch_size`` of the
        models in :mod:`recsys_lib.models` counts purchases.) Each purchase is followed by its negatives;
        if ``batch_size`` is a multiple of ``1 + num_negatives``, a batch holds whole groups of them.
    num_negatives : int
        Negatives for each purchase; 0 for none.
    shuffle : bool
        Put the purchases into another order in every epoch.
    seed : int
        Of a generator of its own. The same seed gives the same batches; every epoch has others.
    record : bool
        Count which negatives were drawn, for :attr:`drawn`.
    data_names, label_name : str
        Names in ``provide_data`` and ``provide_label``.

    Attributes
    ----------
    interactions : Interactions
        The purchases, with the maps between ids and indices.
    positives : scipy.sparse.csr_matrix, shape (n_users, n_items)
        The purchases as ones.
    user_table, item_table : array of int32, shapes (n_users, F_u) and (n_items, F_i)
        What stands for each user and item in a batch: first its index, then the number of its category in
        each column of features.
    user_vocab_sizes, item_vocab_sizes : tuple of int
        How many different numbers each of these columns can hold: the sizes of embeddings.
    epoch : int
        Counted from 0.

    Raises
    ------
    DataError
        If there is no purchase, a user or item is described in two ways, or a user bought everything.

    Notes
    -----
    A batch is a :class:`mxnet.io.DataBatch` with ``data`` [users (n, F_u), items (n, F_i)] of int32 and
    ``label`` [(n,)] of float32: 1 for a purchase, 0 for a negative. The last batch of an epoch is filled up
    with purchases from the beginning of the epoch and fresh negatives of them, and ``pad`` says how many of
    its rows are there for that alone. With ``record``, these negatives are noted too. ``reset`` starts the
    next epoch; before the first batch of an epoch it does nothing.

    References
    ----------
    X. He, L. Liao, H. Zhang, L. Nie, X. Hu and T.-S. Chua (2017), "Neural collaborative filtering", WWW.
    """

    def __init__(
        self,
        data: pd.DataFrame | Interactions,
        *,
        user: str = "user",
        item: str = "item",
        user_features: Sequence[str] = (),
        item_features: Sequence[str] = (),
        batch_size: int = 1024,
        num_negatives: int = 4,
        shuffle: bool = True,
        seed: int = 0,
        record: bool = False,
        data_names: tuple[str, str] = ("user", "item"),
        label_name: str = "label",
    ) -> None:
        super().__init__(check_integer("batch_size", batch_size, 1))
        self.num_negatives = check_integer("num_negatives", num_negatives, 0)
        self.seed = check_integer("seed", seed, 0)
        self.shuffle, self.record = bool(shuffle), bool(record)
        self.interactions, users, items = read(
            data,
            user,
            item,
            check_columns("user_features", user_features),
            check_columns("item_features", item_features),
        )
        self.user_table, self.user_vocab_sizes = users.codes, users.sizes
        self.item_table, self.item_vocab_sizes = items.codes, items.sizes
        self.positives: sp.csr_matrix = self.interactions.to_csr()
        self._free = FreeItems(self.positives)
        if self.num_negatives:
            self._free.check(1, self.interactions, "Leave such users out, or use num_negatives=0.")
        self.provide_data, self.provide_label = _describe(self, batch_size, data_names, label_name)
        self._drawn = sp.csr_matrix(self.positives.shape, dtype=np.int64)
        self._pending: list[npt.NDArray[np.int64]] = []
        self.epoch = 0
        self._start_epoch()

    def _start_epoch(self) -> None:
        # A generator for each epoch: what was read of one epoch does not change the next.
        self._generator = np.random.default_rng([self.seed, self.epoch])
        n = len(self.interactions)
        self._order = self._generator.permutation(n) if self.shuffle else np.arange(n)
        self._start = -self.batch_size
        self._made = range(0)  # the rows that are drawn
        self._batch: tuple[list[Any], list[Any], int] | None = None

    @property
    def num_samples(self) -> int:
        """Rows of an epoch without those that fill up the last batch: purchases and negatives."""
        return len(self.interactions) * (1 + self.num_negatives)

    def __len__(self) -> int:
        return -(-self.num_samples // self.batch_size)

    def reset(self) -> None:
        """Start the next epoch, unless this one is still untouched."""
        if self._start >= 0:
            self.epoch += 1
            self._start_epoch()

    def iter_next(self) -> bool:
        """Make the next batch; return False at the end of the epoch."""
        if self._start + self.batch_size >= self.num_samples:
            return False
        self._start += self.batch_size
        if self._start not in self._made:
            n = min(max(1, _ROWS // self.batch_size), len(self) - self._start // self.batch_size)
            self._made = range(self._start, self._start + n * self.batch_size)
            self._rows = users, items, labels = self._draw()
            self._arrays = [*map(_to_mxnet, (self.user_table[users], self.item_table[items], labels))]
        first = self._start - self._made.start
        part = slice(first, first + self.batch_size)
        if self.record:
            self._note(*(column[part] for column in self._rows))
        *data, labels = (array[part] for array in self._arrays)
        self._batch = data, [labels], max(0, self._start + self.batch_size - self.num_samples)
        return True

    def _draw(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.float32]]:
        """Return users, items and labels of rows. Row 0 of a group is a purchase, the rest negatives."""
        places = np.asarray(self._made) % self.num_samples
        groups, member = np.divmod(places, 1 + self.num_negatives)
        purchases = self._order[groups]
        users, items = self.interactions.users[purchases], self.interactions.items[purchases]
        negative = np.flatnonzero(member)
        items[negative] = self._free.draw(users[negative], self._generator)
        return users, items, (member == 0).astype(np.float32)

    def _current(self) -> tuple[list[Any], list[Any], int]:
        if self._batch is None:
            raise DataError("no batch has been made yet in this epoch: call next().")
        return self._batch

    def getdata(self) -> list[Any]:
        """Return the users, shape (n, F_u), and the items, shape (n, F_i), of the current batch."""
        return self._current()[0]

    def getlabel(self) -> list[Any]:
        """Return the labels of the current batch, shape (n,)."""
        return self._current()[1]

    def getpad(self) -> int:
        """Return how many rows at the end of the current batch only fill it up."""
        return self._current()[2]

    # ------------------------------------------------------------------ the record

    def _note(self, users: npt.NDArray[Any], items: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
        self._pending.append((users.astype(np.int64) * self.interactions.n_items + items)[labels == 0])
        if sum(map(len, self._pending)) > max(_PENDING, self._drawn.nnz):
            self._count()

    def _count(self) -> None:
        if self._pending:
            users, items = np.divmod(np.concatenate(self._pending), self.interactions.n_items)
            ones = np.ones(len(users), dtype=np.int64)
            self._drawn = self._drawn + sp.csr_matrix((ones, (users, items)), shape=self._drawn.shape)
            self._pending.clear()

    @property
    def drawn(self) -> sp.csr_matrix:
        """How often each item was drawn as a negative of each user so far, shape (n_users, n_items)."""
        if not self.record:
            raise DataError("no record was kept of the negatives: make the iterator with record=True.")
        self._count()
        return self._drawn.copy()


class EvaluationIter(mx.io.DataIter):  # type: ignore[name-defined, misc]
    """One batch for each held-out purchase: the purchase among items that the user has not met.

    The others are drawn once, without replacement, among the items that the user bought neither in training
    nor in the test data and, if the training iterator kept a record, that were no negative of the user in
    training. With 99 of them this is the protocol of He et al. (2017), section 4.1. What is measured so
    depends on the sample, and two models may change places over the full catalogue: see
    :func:`recsys_lib.evaluate`, which ranks all items.

    Parameters
    ----------
    test : DataFrame or Interactions
        The held-out purchases, with ids that the training iterator knows: items that nobody bought in
        training are known if both parts come from a function of :mod:`recsys_lib.splits`.
    train : SparseNegSampleIter
        Gives the id space, the features, and what was bought and drawn in training.
    num_negatives : int or "train"
        Others in each batch; ``"train"`` takes as many as training draws for a purchase.
    exclude : Interactions, optional
        More that the user has got, such as the validation part of a split: not drawn either.
    seed : int
        Of the drawing.
    user, item : str
        Columns of the data frame with the ids.

    Attributes
    ----------
    users, items : array of int, shapes (n,) and (n, 1 + num_negatives)
        Indices of the users and of the items in each batch, ascending in each row.
    is_purchase : array of bool, shape (n, 1 + num_negatives)
        Which of the items is the purchase.

    Raises
    ------
    DataError
        If a user has too few items left, or the training iterator is to keep a record and has drawn nothing
        yet.
    UnknownIdError
        If an id is new.

    Notes
    -----
    Negatives of the training are left out only if the training iterator was made with ``record=True``. That
    is not its default: after many epochs nearly every item was a negative of every user, and too few are
    left to draw from.

    All epochs are the same. ``data`` is as in training, and ``label`` is [labels (n,), list (n,)]. The second
    is the number of the purchase and tells :class:`recsys_lib.mx.metrics.HitRate` which rows belong to one
    list. Rows are in order of the item index, so that a tie, which goes to the earlier row, favours nobody.
    """

    def __init__(
        self,
        test: pd.DataFrame | Interactions,
        train: SparseNegSampleIter,
        *,
        num_negatives: int | Literal["train"] = 99,
        exclude: Interactions | None = None,
        seed: int = 0,
        user: str = "user",
        item: str = "item",
    ) -> None:
        if isinstance(num_negatives, str):
            check_choice("num_negatives", num_negatives, ["train"])
            num_negatives = train.num_negatives
        self.num_negatives = check_integer("num_negatives", num_negatives, 1)
        super().__init__(1 + num_negatives)
        self._train, space = train, train.interactions
        if isinstance(test, pd.DataFrame):
            test = Interactions.from_dataframe(
                test, user=user, item=item, rating=False, timestamp=False, duplicates="first", like=space
            )
        elif not isinstance(test, Interactions):
            raise TypeError(f"test must be a DataFrame or Interactions, got {type(test).__name__}.")
        for name, part in (("test", test), ("exclude", exclude)):
            if part is not None and (part.user_ids, part.item_ids) != (space.user_ids, space.item_ids):
                raise DataError(
                    f"{name} and train must share one id space: make them with a function of splits."
                )
        if not len(test):
            raise DataError("test holds no purchases.")
        known = train.positives + test.to_csr()
        if exclude is not None:
            known = known + exclude.to_csr()
        if train.record:
            drawn = train.drawn
            if not drawn.nnz:
                raise DataError(
                    "the training iterator keeps a record of its negatives and has drawn none yet. Make the "
                    "evaluation iterator after training, or the training iterator without record=True."
                )
            known = known + drawn
        known.sort_indices()
        self.users = test.users.astype(np.int64)
        way_out = f"Use a smaller num_negatives than {num_negatives}."
        if train.record:
            way_out += (
                " (What training drew is left out; a training iterator without record=True leaves more.)"
            )
        FreeItems(known[self.users]).check(num_negatives, test, way_out, self.users)
        lists = Histories(
            torch.from_numpy(known.indptr.astype(np.int64)),
            torch.from_numpy(known.indices.astype(np.int64)),
            test.n_items,
        )
        others = sample_unknown(lists.select(torch.from_numpy(self.users)), num_negatives, seed).numpy()
        bought = test.items[:, None].astype(np.int64)
        self.items = np.sort(np.concatenate([bought, others], axis=1), axis=1)
        self.is_purchase = self.items == bought
        names = [one.name for one in train.provide_data], train.provide_label[0].name
        self.provide_data, label = _describe(train, self.batch_size, *names)
        self.provide_label = [*label, mx.io.DataDesc("list", (self.batch_size,), np.int32)]
        self.reset()

    def __len__(self) -> int:
        return len(self.users)

    def reset(self) -> None:
        """Go back to the first purchase."""
        self._at = -1

    def iter_next(self) -> bool:
        """Go to the next purchase; return False after the last."""
        self._at += 1
        return self._at < len(self)

    def getdata(self) -> list[Any]:
        """Return the user, repeated, shape (n, F_u), and the items, shape (n, F_i)."""
        if not 0 <= self._at < len(self):
            raise DataError("there is no current batch: call next(), or reset() after the last one.")
        users = np.repeat(self.users[self._at], self.batch_size)
        tables = self._train.user_table[users], self._train.item_table[self.items[self._at]]
        return [_to_mxnet(table) for table in tables]

    def getlabel(self) -> list[Any]:
        """Return the labels and the number of the purchase, repeated, shape (n,) each."""
        number = np.full(self.batch_size, self._at, dtype=np.int32)
        return [_to_mxnet(self.is_purchase[self._at].astype(np.float32)), _to_mxnet(number)]

    def getpad(self) -> int:
        """Return 0: no batch is filled up."""
        return 0


def _to_mxnet(values: npt.NDArray[Any]) -> Any:
    # mx.nd.array does the same in three to four times the time, most of a small batch's (measured).
    array = mx.nd.empty(values.shape, dtype=values.dtype)
    array._sync_copyfrom(values)
    return array


def _describe(
    source: SparseNegSampleIter, batch_size: int, data_names: Sequence[str], label_name: str
) -> tuple[list[Any], list[Any]]:
    """Return the descriptions of data and label that MXNet binds a network with."""
    named = zip(data_names, (source.user_table.shape[1], source.item_table.shape[1]), strict=True)
    data = [mx.io.DataDesc(name, (batch_size, width), np.int32) for name, width in named]
    return data, [mx.io.DataDesc(label_name, (batch_size,), np.float32)]
