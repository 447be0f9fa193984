"""The user's own ids and the row and column numbers that stand for them inside."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from recsys_lib._validation import as_column
from recsys_lib.errors import DataError, UnknownIdError

IndexArray = npt.NDArray[np.int64]


class IdMap:
    """A one-to-one map between ids of any hashable type and the numbers 0 to n-1.

    Parameters
    ----------
    ids : array-like, shape (n,)
        Distinct ids, all of one kind (all numbers, all strings, all tuples, ...), none of them missing.
    what : str
        What an id stands for, used in error messages: ``"user"`` or ``"item"``.

    Raises
    ------
    DataError
        If ids repeat, are missing, cannot be hashed, or mix kinds such as ``1`` and ``"1"``.

    Examples
    --------
    >>> ids = IdMap(["ann", "bob", "eve"], what="user")
    >>> ids.indices(["eve", "ann"])
    array([2, 0])
    >>> ids.take([1]).tolist()
    ['bob']
    """

    __slots__ = ("_index", "what")

    def __init__(self, ids: Iterable[Hashable], what: str = "id") -> None:
        self.what = what
        # A copy, because older pandas shares memory with the array that it is given.
        self._index = clean_ids(ids, what).copy(deep=True)
        if not self._index.is_unique:
            repeated = self._index[self._index.duplicated()].tolist()[0]
            raise DataError(f"{what} ids must be distinct, but {repeated!r} appears more than once.")
        self._make_table()

    @classmethod
    def from_column(cls, column: Any, what: str = "id") -> tuple[IdMap, IndexArray]:
        """Map a column with repeated ids; return the map and the index of every row.

        Ids are numbered in sorted order where they can be sorted, so that the same data in another row
        order gives the same numbers; otherwise in order of appearance.
        """
        if isinstance(column, set | frozenset):
            column = as_column(f"{what} ids", column)
        index = clean_ids(column, what)
        if _kind(index) == "string" and _holds_zero_characters(index):
            # The hash table of pandas ends a text there, and two ids would become one.
            unique, codes = np.unique(index.to_numpy(), return_inverse=True)
        else:
            try:
                codes, unique = pd.factorize(index, sort=True)
            except TypeError:  # ids that have no order, such as tuples of mixed kinds
                codes, unique = pd.factorize(index)
        mapped = cls.__new__(cls)
        mapped.what = what
        mapped._index = _plain_index(unique)
        mapped._make_table()
        return mapped, codes.astype(np.int64, copy=False)

    def _make_table(self) -> None:
        """Look up one id: the first time, pandas makes the table in which it looks.

        Before version 3, it is not ready for several threads of which each would be the first.
        """
        self._index.get_indexer(self._index[:1])

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, value: object) -> bool:
        return value in self._index

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IdMap):
            return NotImplemented
        if self._index is other._index:
            return True
        same_kind = len(self) == len(other) and _kind(self._index) == _kind(other._index)
        return same_kind and bool(self._index.equals(other._index))

    def __hash__(self) -> int:
        return hash(len(self))

    def __repr__(self) -> str:
        shown = ", ".join(repr(value) for value in self._index[:3].tolist())
        return f"IdMap({len(self)} {self.what}s: {shown}{', ...' if len(self) > 3 else ''})"

    @property
    def ids(self) -> npt.NDArray[Any]:
        """The ids in index order, shape (n,); a read-only array."""
        values: npt.NDArray[Any] = self._index.to_numpy().view()
        values.flags.writeable = False
        return values

    def indices(self, ids: Any) -> IndexArray:
        """Look up ids, shape (m,) -> (m,).

        Raises
        ------
        UnknownIdError
            If any id is unknown; the message lists the first few.
        """
        ids = list(ids) if isinstance(ids, Iterator) else ids  # it may be read once only
        found = self.indices_or(ids)
        missing = found < 0
        if missing.any():
            values = _as_list(ids)
            unknown = list(dict.fromkeys(values[i] for i in np.flatnonzero(missing)))
            shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
            known = ", ".join(map(repr, self._index[:3].tolist()))
            raise UnknownIdError(
                f"{len(unknown)} unknown {self.what} id(s): {shown}. Known ids look like {known}, ..."
            )
        return found

    def indices_or(self, ids: Any, default: int = -1) -> IndexArray:
        """Look up ids, shape (m,) -> (m,), with ``default`` for those that are unknown."""
        wanted = clean_ids(ids, self.what, allow_empty=True)
        if len(wanted) and _kind(wanted) != _kind(self._index):
            return np.full(len(wanted), default, dtype=np.int64)
        found = self._index.get_indexer(wanted).astype(np.int64, copy=False)
        return np.where(found < 0, default, found) if default != -1 else found

    def take(self, indices: Any) -> npt.NDArray[Any]:
        """Give back the ids of indices, shape (m,) -> (m,).

        Raises
        ------
        IndexError
            If an index is not from 0 to n-1. A negative one does not count from the end: it usually stands
            for "no item", and must not silently become the last one.
        """
        positions = np.asarray(indices)
        if positions.size and positions.dtype.kind not in "iu":
            raise TypeError(f"{self.what} indices must be whole numbers, got {positions.dtype}.")
        positions = positions.astype(np.int64, copy=False)
        if positions.size and positions.min() < 0:
            raise IndexError(f"{self.what} indices must be at least 0, got {positions.min()}.")
        values: npt.NDArray[Any] = self._index.to_numpy()[positions]
        return values

    def to_json(self) -> str:
        """Write the ids as JSON. Ids must be whole numbers, floats, strings, or tuples of these."""
        values = self._index.tolist()
        kind = _kind(self._index)
        nested = kind == "tuple" and any(isinstance(part, tuple) for value in values for part in value)
        if nested or kind not in ("integer", "float", "string", "tuple"):
            example = values[0]
            raise DataError(
                f"{self.what} ids of type {type(example).__name__} (such as {example!r}) cannot be saved. "
                "Use whole numbers, strings, or tuples of these."
            )
        try:
            return json.dumps({"kind": kind, "ids": values}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"{self.what} ids cannot be saved as JSON: {error}.") from error

    @classmethod
    def from_json(cls, text: str, what: str = "id") -> IdMap:
        """Read what :meth:`to_json` wrote."""
        try:
            stored = json.loads(text)
            values = [tuple(v) for v in stored["ids"]] if stored["kind"] == "tuple" else stored["ids"]
        except (TypeError, ValueError, KeyError, RecursionError) as error:
            raise DataError(f"{what} ids cannot be read from this JSON: {error}.") from error
        return cls(values, what)


def clean_ids(values: Any, what: str, *, allow_empty: bool = False) -> pd.Index:
    """Turn ids in any column type into a plain index of int64, float64 or Python objects; refuse bad ones."""
    dimensions = getattr(values, "ndim", 1)
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or dimensions == 0:
        raise TypeError(f"pass {what} ids as a list, got the single value {values!r}: use [{values!r}].")
    if isinstance(values, Mapping):
        raise TypeError(
            f"pass {what} ids as a list, got a {type(values).__name__}: use list(...) of its keys."
        )
    if dimensions != 1:
        raise DataError(
            f"{what} ids must be one-dimensional, got shape {tuple(values.shape)}. "  # type: ignore[attr-defined]
            "Give one id per interaction, or build from a matrix with Interactions.from_csr."
        )
    column = as_column(f"{what} ids", values if hasattr(values, "dtype") else _object_array(list(values)))
    if len(column) == 0:
        if allow_empty:
            return pd.Index(np.empty(0, dtype=np.int64))
        raise DataError(f"there are no {what} ids: the data is empty.")
    missing = column.isna().to_numpy()
    if missing.any():
        rows = np.flatnonzero(missing)
        raise DataError(
            f"{len(rows)} {what} id(s) are missing (NaN or None), the first in row {rows[0]}. "
            "Drop those rows first, for example with df.dropna()."
        )
    index = _plain_index(column)
    if index.dtype == np.float64 and not np.isfinite(index.to_numpy()).all():
        row = int(np.flatnonzero(~np.isfinite(index.to_numpy()))[0])
        raise DataError(f"{what} ids must be finite, got {index[row]} in row {row}. Drop such rows first.")
    return index


def _plain_index(values: Any) -> pd.Index:
    """Reduce nullable, Arrow, categorical and string columns to int64, float64 or object."""
    series = pd.Series(values)
    if isinstance(series.dtype, pd.CategoricalDtype):
        series = series.astype(series.cat.categories.dtype)
    if pd.api.types.is_bool_dtype(series.dtype):
        return pd.Index(series.to_numpy(dtype=object), tupleize_cols=False)
    if pd.api.types.is_integer_dtype(series.dtype):
        if pd.api.types.is_unsigned_integer_dtype(series.dtype) and len(series) and series.max() > 2**63 - 1:
            return pd.Index(series.to_numpy(dtype=object), tupleize_cols=False)
        return pd.Index(series.to_numpy(dtype=np.int64))
    if pd.api.types.is_float_dtype(series.dtype):
        return pd.Index(series.to_numpy(dtype=np.float64))
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return pd.Index(series)
    objects = series.to_numpy(dtype=object)
    inferred = pd.api.types.infer_dtype(objects, skipna=False)
    if inferred == "integer" and all(-(2**63) <= int(v) < 2**63 for v in (min(objects), max(objects))):
        return pd.Index(objects.astype(np.int64))
    if inferred not in ("string", "integer"):
        _refuse_mixed(objects)
        if inferred == "floating":
            return pd.Index(objects.astype(np.float64))
    return pd.Index(objects, dtype=object, tupleize_cols=False)


def _refuse_mixed(objects: npt.NDArray[np.object_]) -> None:
    examples: dict[str, Any] = {}
    for value in objects:
        try:
            hash(value)
        except TypeError as error:
            raise DataError(
                f"ids must be hashable, but {value!r} is a {type(value).__name__}. "
                "Turn it into a string or a tuple first."
            ) from error
        kind = type(value)
        if issubclass(kind, int | np.integer) and kind is not bool:
            examples.setdefault("int", value)
        else:
            examples.setdefault("float" if issubclass(kind, float | np.floating) else kind.__name__, value)
    if len(examples) > 1:
        shown = " and ".join(f"{kind} ({value!r})" for kind, value in list(examples.items())[:3])
        raise DataError(f"ids mix types: {shown}. Make them one type first, for example with .astype(str).")


def _kind(index: pd.Index) -> str:
    if pd.api.types.is_integer_dtype(index.dtype):
        return "integer"
    if pd.api.types.is_float_dtype(index.dtype):
        return "float"
    first = index[0]
    if isinstance(first, str):
        return "string"
    if isinstance(first, int) and not isinstance(first, bool):
        return "integer"  # numbers beyond 64 bits are kept as objects
    return type(first).__name__ if index.dtype == object else str(index.dtype)


def _holds_zero_characters(texts: pd.Index) -> bool:
    step = 2**16  # joined texts are searched fast, and pieces take little memory
    return any("\0" in "".join(texts[start : start + step]) for start in range(0, len(texts), step))


def _object_array(values: list[Any]) -> npt.NDArray[np.object_]:
    """Make an object array of a list without letting NumPy unpack tuples or turn numbers into strings."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _as_list(values: Any) -> list[Any]:
    return values.tolist() if hasattr(values, "tolist") else list(values)
