r"""Ridge regressions for many lists of items at once: the half-steps of alternating least squares.

For the list :math:`H_r` of every row :math:`r`, with a vector :math:`v_i` of every item, all solvers look for

.. math::
    x_r = \arg\min_x \sum_{i \in H_r} (1 - v_i^\top x)^2 + \sum_k D_{rk} x_k^2
    \quad\Longleftrightarrow\quad
    (V_r^\top V_r + \mathrm{diag}(D_r)) \, x_r = V_r^\top 1

where the rows of :math:`V_r` are the vectors of the list. That the second term is diagonal costs nothing: in
the coordinates of :func:`principal_axes` the sum of :math:`(v_i^\top x)^2` over *all* items is diagonal too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import embedding, embedding_bag

from recsys_lib._products import pattern_of
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories

# Numbers in the tensors of a batch. On a CPU they shall stay in its cache.
_CPU_NUMBERS = 2**20
_DEVICE_NUMBERS = 2**26
# Numbers in the vectors that the conjugate gradients read in no order: 8 MB.
_CACHED_NUMBERS = 2**21
# Coordinates of a block of a Gram matrix. Blocks above the diagonal are not needed and not computed.
_GRAM_BLOCK = 64


UNSOLVABLE = (
    "the equations of a half-step cannot be solved in single precision. "
    "Use a larger l2 or unobserved_weight, or a smaller init_std."
)


def algebra_device(device: torch.device) -> torch.device:
    """Return where to solve for a model on ``device``: not all kinds of devices have all of the algebra."""
    return device if device.type in ("cpu", "cuda") else torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Part:
    """Lists of items, as far as these are among some that follow each other.

    Attributes
    ----------
    items : slice
        Those items.
    pattern : Tensor
        The sparse matrix of lists and items, shape (n, len(items)), with the last values of ``dots``.
    """

    items: slice
    pattern: Tensor

    def dots(self, x: Tensor, vectors: Tensor) -> Tensor:
        """Multiply the vector of each list with those of its items, (n, d), (n_items, d) -> (n_entries,).

        The next call overwrites the result, which saves a copy of the pattern each time.
        """
        columns = vectors[self.items].T
        return torch.sparse.sampled_addmm(self.pattern, x, columns, beta=0.0, out=self.pattern).values()

    def sums(self, vectors: Tensor, weights: Tensor) -> Tensor:
        """Sum the vectors of the items of each list, with a weight for each entry -> (n, d)."""
        places, starts = self.pattern.col_indices(), self.pattern.crow_indices()[:-1]
        return embedding_bag(places, vectors[self.items], starts, mode="sum", per_sample_weights=weights)


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists of items, with what the solvers need of them again and again.

    Attributes
    ----------
    histories : Histories
        The lists, on a device that :func:`algebra_device` returns.
    """

    histories: Histories
    _parts: dict[int, list[Part]] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        return len(self.histories)

    def transposed(self) -> Lists:
        """Return the lists of rows of each item."""
        return Lists(self.histories.narrow_transposed()[0])

    def parts(self, d: int) -> list[Part]:
        """Cut the lists into parts over so few items that their vectors stay in a CPU's cache, (n_items, d).

        The lists read them in no order. With the 64 factors of 138,000 people, the lists of 26,744 items take
        two fifths of the time in five parts.
        """
        n_items = size = self.histories.n_items
        if self.histories.device.type == "cpu":
            size = max(1, min(n_items, _CACHED_NUMBERS // d))
        if size not in self._parts:
            starts = range(0, n_items, size)
            self._parts[size] = [self._part(slice(k, min(k + size, n_items))) for k in starts]
        return self._parts[size]

    def _part(self, items: slice) -> Part:
        indptr, indices, size = self.histories.indptr, self.histories.indices, items.stop - items.start
        kind = torch.int32 if len(indices) < 2**31 else torch.int64  # 32 bits where they suffice
        if size < self.histories.n_items:
            inside = (indices >= items.start) & (indices < items.stop)
            before = torch.zeros(len(indices) + 1, dtype=kind)
            torch.cumsum(inside, 0, out=before[1:])
            indptr, indices = before[indptr], indices[inside] - items.start
        return Part(items, pattern_of(indptr.to(kind), indices.to(kind), size))

    def padded(self, vectors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield rows (b,), and the vectors of their items (b, longest, d) filled up with zeros.

        Rows of about the same length go together. What is made from a batch has a bounded size, unless a
        single list is longer than that. Empty lists may be left out.
        """
        d = vectors.shape[1]
        numbers = _CPU_NUMBERS if vectors.device.type == "cpu" else _DEVICE_NUMBERS
        with_zero = torch.cat([vectors, vectors.new_zeros(1, d)])
        indptr, items = self.histories.indptr, self.histories.indices
        lengths, order = indptr.diff().sort(descending=True, stable=True)
        sizes = lengths.tolist()
        start = 0
        while start < len(sizes) and sizes[start]:
            longest = sizes[start]
            end = start + max(1, numbers // (longest * d + min(longest, d) ** 2))
            rows, column = order[start:end], torch.arange(longest, device=items.device)
            table = items[(indptr[rows, None] + column).clamp_(max=len(items) - 1)]
            table.masked_fill_(column >= lengths[start:end, None], len(vectors))
            yield rows, embedding(table, with_zero)
            start = end


def principal_axes(vectors: Tensor) -> Tensor:
    r"""Turn the coordinates so that the Gram matrix of the vectors becomes diagonal.

    Parameters
    ----------
    vectors : Tensor, shape (n, d)

    Returns
    -------
    axes : Tensor, shape (d, d)
        Orthonormal columns, the one along which the vectors are longest first. A model of dot products is
        the same in the new coordinates ``vectors @ axes``.
    """
    # In double precision, because the small values are differences of large ones.
    gram = (vectors.T @ vectors).double()
    try:
        axes = torch.linalg.eigh(gram).eigenvectors
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise DataError(UNSOLVABLE) from error
    return axes.flip(1).to(vectors.dtype)


def solve_exactly(lists: Lists, vectors: Tensor, diagonal: Tensor) -> tuple[Tensor, Tensor]:
    r"""Solve the normal equations of every list by Cholesky's method.

    A list of :math:`h < d` items needs only a system of :math:`h` equations, because

    .. math::
        (V^\top V + D)^{-1} V^\top 1 = D^{-1} V^\top (V D^{-1} V^\top + I)^{-1} 1 .

    Parameters
    ----------
    lists : Lists
        Of n rows.
    vectors : Tensor, shape (n_items, d)
        :math:`v_i`.
    diagonal : Tensor, shape (n, d)
        :math:`D_{rk}`, all above 0.

    Returns
    -------
    solution : Tensor, shape (n, d)
        :math:`x_r`; zeros for an empty list, NaN where single precision is not enough.
    value : Tensor, scalar
        The sum that is minimised, added up over all rows.
    """
    solution, value = torch.zeros_like(diagonal), vectors.new_tensor(float(len(lists.histories.indices)))
    for rows, v in lists.padded(vectors):
        sums = v.sum(1)
        solve = _solve_dual if v.shape[1] < v.shape[2] else _solve_primal
        solution[rows] = x = solve(v, diagonal[rows], sums)
        value -= (sums * x).sum()
    return solution, value


def _solve_dual(v: Tensor, diagonal: Tensor, sums: Tensor) -> Tensor:
    scaled = v / diagonal[:, None]
    system = torch.bmm(scaled, v.mT)
    system.diagonal(dim1=1, dim2=2).add_(1.0)
    weights = _solve_positive(system, v.new_ones(1, 1).expand(v.shape[:2]))
    return torch.bmm(scaled.mT, weights[:, :, None])[:, :, 0]


def _solve_primal(v: Tensor, diagonal: Tensor, sums: Tensor) -> Tensor:
    system = torch.diag_embed(diagonal)
    for start in range(0, v.shape[2], _GRAM_BLOCK):
        end = start + _GRAM_BLOCK
        system[:, start:end, :end] += torch.bmm(v[:, :, start:end].mT, v[:, :, :end])
    return _solve_positive(system, sums)


def _solve_positive(systems: Tensor, right: Tensor) -> Tensor:
    """Solve positive definite systems, (b, n, n), (b, n) -> (b, n). Their upper halves are not looked at.

    What cannot be solved is NaN: asking for an error here would make the host wait for a GPU.
    """
    factor, failed = torch.linalg.cholesky_ex(systems)
    solution = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
    return solution.masked_fill_(failed[:, None] > 0, torch.nan)


def conjugate_gradient(
    lists: Lists, vectors: Tensor, diagonal: Tensor, start: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    r"""Come close to the solution by steps of the conjugate gradient method, all rows at once.

    No matrix is made: a step takes two products with the sparse matrix of lists and items. The systems are
    preconditioned by :math:`D`, which is all of the matrix but a part whose rank is the length of the list.

    Parameters and results as in :func:`solve_exactly`, and

    start : Tensor, shape (n, d)
        Where to begin.
    steps : int
        At least 1. After d steps, and often after many fewer, the solution is exact up to rounding.
    """
    x, parts = start.clone(), lists.parts(vectors.shape[1])
    residual, value = -diagonal * x, (diagonal * x).mul_(x).sum()
    for part in parts:
        errors = part.dots(x, vectors).neg_().add_(1)  # in its place: there is one for each interaction
        residual += part.sums(vectors, errors)
        value += errors.square().sum()
    direction = residual / diagonal
    length = (residual * direction).sum(1, keepdim=True)
    tiny = torch.finfo(x.dtype).tiny  # a row that is solved already stays where it is
    for step in range(steps):
        change = diagonal * direction
        for part in parts:
            change += part.sums(vectors, part.dots(direction, vectors))
        size = length / (direction * change).sum(1, keepdim=True).clamp_(min=tiny)
        x.addcmul_(size, direction)
        value -= (size * length).sum()
        if step + 1 < steps:
            residual.addcmul_(size, change, value=-1)
            preconditioned = residual / diagonal
            before, length = length, (residual * preconditioned).sum(1, keepdim=True)
            direction = preconditioned.addcmul_(length / before.clamp_(min=tiny), direction)
    return x, value


def block_descent(
    lists: Lists, vectors: Tensor, diagonal: Tensor, start: Tensor, block_size: int
) -> tuple[Tensor, Tensor]:
    """Minimise over one block of coordinates after the other, exactly and once for each block.

    Parameters and results as in :func:`conjugate_gradient`; ``block_size`` is how many coordinates are solved
    for together. If it is d or more, the solution is exact.
    """
    x, value = start.clone(), vectors.new_zeros(())
    for rows, v in lists.padded(vectors):
        d, y = diagonal[rows], x[rows]
        present = torch.arange(v.shape[1], device=v.device) < lists.histories.lengths()[rows, None]
        errors = present.to(v.dtype) - (v * y[:, None]).sum(2)
        for first in range(0, v.shape[2], block_size):
            block = slice(first, first + block_size)
            some = v[:, :, block]
            system = torch.baddbmm(torch.diag_embed(d[:, block]), some.mT, some)
            downhill = (some * errors[:, :, None]).sum(1) - d[:, block] * y[:, block]
            change = _solve_positive(system, downhill)
            y[:, block] += change
            errors -= (some * change[:, None]).sum(2)
        x[rows] = y
        value += errors.square().sum() + (d * y * y).sum()
    return x, value
