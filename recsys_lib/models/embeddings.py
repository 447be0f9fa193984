"""Vectors of ids, with any number of categorical features on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from recsys_lib import _shards
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories


class IdEmbedding(nn.Module):
    r"""A vector for each id: its own, plus those of the categories that it belongs to.

    .. math:: v_i = e_i + \sum_{c \in C_i} f_c

    Parameters
    ----------
    n : int
        Number of ids.
    dim : int
        Length d of the vectors.
    categories : Histories, n lists, optional
        The categories :math:`C_i` of each id; without it an id has only its own vector.
    init_std : float
        Standard deviation of all vectors at the start.
    generator : torch.Generator, optional
        Draws them.

    Attributes
    ----------
    ids : Parameter, shape (n, d)
        :math:`e_i`.
    features : Parameter, shape (n_categories, d)
        :math:`f_c`. Only with categories, as are the buffers ``indptr`` and ``codes`` that hold them.
    cut : Cut or None
        Which rows of ``ids`` this process holds, if several divide them: ``recsys_lib._shards``.
    """

    indptr: Tensor
    codes: Tensor

    def __init__(
        self,
        n: int,
        dim: int,
        categories: Histories | None = None,
        *,
        init_std: float = 0.01,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.cut = _shards.cut(n)
        self.cuts = {"ids": self.cut}
        drawn = _shards.draw(n, lambda rows: torch.randn(rows, dim, generator=generator).mul_(init_std))
        self.ids = nn.Parameter(drawn)
        self.features: nn.Parameter | None = None
        if categories is not None:
            vectors = torch.randn(categories.n_items, dim, generator=generator) * init_std
            self.features = nn.Parameter(vectors)
            self.register_buffer("indptr", categories.indptr.clone())
            self.register_buffer("codes", categories.indices.clone())

    def forward(self, index: Tensor) -> Tensor:
        """Look up vectors, any shape (...) -> (..., d).

        Of a divided table, in training each process is given those of its part of the first dimension.
        """
        if self.cut is not None:
            return _shards.look_up(self.ids, self.cut, index, deal=self.training)
        # With features, all vectors at once: a batch with its negatives often needs most of them anyway.
        return rows_of(self.ids if self.features is None else self.all(), index)

    def all(self) -> Tensor:
        """Return the vectors of all ids, shape (n, d); of a divided table those of this process."""
        if self.features is None:
            return self.ids
        return self.ids + embedding_bag(self.codes, self.features, self.indptr[:-1], mode="sum")

    def numbers(self, table: Tensor, index: Tensor) -> Tensor:
        """Look up a number for each id in a table, (n,), that is divided as the vectors are, as they are."""
        if self.cut is None:
            return rows_of(table, index)
        return _shards.look_up(table, self.cut, index, deal=self.training)

    def squared_lengths(self, index: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the squared lengths of vectors, any shape (...) -> (...); factors may have weights, (d,)."""
        if self.cut is not None:
            # Lengths take less room on the way than vectors.
            def lengths_of(rows: Tensor) -> Tensor:
                return (rows * rows).sum(-1)

            if weights is None:
                return _shards.look_up(self.ids, self.cut, index, deal=self.training, of=lengths_of)
            vectors = self(index)
            return (vectors * vectors) @ weights
        # Of all vectors when that is less work. A product, because squares have a slower gradient.
        some = self.features is None and index.numel() < len(self.ids)
        vectors = self(index) if some else self.all()
        squares = vectors * vectors
        lengths = squares.sum(-1) if weights is None else squares @ weights
        return lengths if some else rows_of(lengths, index)


def rows_of(table: Tensor, index: Tensor) -> Tensor:
    """Look up rows of a table, (n, ...), by an index of any shape, (b, ...) -> (b, ..., ...).

    Like :func:`torch.nn.functional.embedding`, but its gradient takes a CPU a fraction of the time.

    Examples
    --------
    >>> rows_of(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[2, 0], [1, 1]]))
    tensor([[3., 1.],
            [2., 2.]])
    """
    if index.ndim == 1:
        return table.index_select(0, index)
    return table.index_select(0, index.flatten()).view(index.shape + table.shape[1:])


def categories_of(table: pd.DataFrame | None, columns: Sequence[str], whose: str) -> Histories | None:
    """Number the categories in some columns of a table of features.

    Every distinct value of a column is a category of its own. A text such as ``"Comedy|Drama"`` names two
    categories, as does a list of two texts. A missing value names none.

    Parameters
    ----------
    table : DataFrame or None
        Row ``i`` describes index ``i``.
    columns : sequence of str
    whose : str
        ``"user"`` or ``"item"``, for the error message.

    Returns
    -------
    Histories or None
        The categories of every row, as numbers counted over all columns; None without columns.

    Raises
    ------
    DataError
        If a column is not there.

    Examples
    --------
    >>> films = pd.DataFrame({"year": [1995, 1995, None], "genres": ["Crime", "Comedy|Crime", ""]})
    >>> categories_of(films, ["year", "genres"], "item").to_dense().int().tolist()
    [[1, 0, 1], [1, 1, 1], [0, 0, 0]]
    """
    return named_categories_of(table, columns, whose)[0] if columns else None


def named_categories_of(
    table: pd.DataFrame | None, columns: Sequence[str], whose: str
) -> tuple[Histories, list[tuple[str, str]]]:
    """Number the categories as :func:`categories_of` does, and return column and name of each as well."""
    here = [] if table is None else list(table.columns)
    missing = [column for column in columns if column not in here]
    if table is None or missing:
        has = f"{whose}_features with the columns {here}" if here else f"no {whose}_features"
        raise DataError(
            f"{whose}_features asks for {missing}, and the training data has {has}. "
            "Attach them with with_features()."
        )
    rows: list[np.ndarray] = []
    codes: list[np.ndarray] = []
    known: list[tuple[str, str]] = []
    for column in columns:
        values = table[column].reset_index(drop=True).dropna()
        if not pd.api.types.is_numeric_dtype(values):
            # Lists are taken apart first, then texts.
            values = values.explode().dropna().map(_name).str.split("|").explode()
            values = values[values != ""]
        numbers, names = pd.factorize(values, sort=True)
        rows.append(values.index.to_numpy())
        codes.append(numbers + len(known))
        known += [(column, _name(name)) for name in names]
    categories = Histories.from_pairs(
        torch.from_numpy(np.concatenate(rows).astype(np.int64)),
        torch.from_numpy(np.concatenate(codes).astype(np.int64)),
        len(table),
        len(known),
    )
    return categories, known


def _name(value: Any) -> str:
    # One missing value turns a column of whole numbers into floats, and 50.0 must go on to be called 50.
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return str(int(value)) if whole else str(value)
