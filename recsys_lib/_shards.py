"""Tables of which each rank holds some of the rows, a contiguous part: lookups, sums, and how parts meet.

The engine is DTensor, :mod:`torch.distributed.tensor`. It says which rank holds what, and all that travels in
a step, forth and back, is a ``redistribute`` of it. The rows themselves are ordinary parameters, so that
every optimizer works on them, sparse gradients and LazyAdam included. Tried with PyTorch 2.13, Gloo and CPUs:

* ``parallelize_module`` with ``RowwiseParallel`` runs, but its gradient of an embedding is a whole table on
  each rank, and ``index_select`` of a DTensor gathers the whole table. Sparse gradients and the fused SGD
  are refused: "does not have a sharding strategy registered".
* FSDP2 (``fully_shard``) gathers the whole table in every step, and so needs the memory for it. Sparse
  gradients are refused.
* TorchRec 1.8 looks up row-wise with the fbgemm-gpu-cpu 1.8 that belongs to this PyTorch; its way back
  was not run. It says "Optimizer adam is not supported in CPU mode", and has no output layer over a
  catalogue. On GPUs it moves less: a vector goes only to the rank that asked for it, where here each rank
  fills in its rows of the batch's vectors, and these are added up and dealt out (reduce-scatter; all-gather
  on the way back).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recsys_lib import distributed
from recsys_lib.errors import NotSupportedError
from recsys_lib.histories import Histories

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor, Placement

# Rows that are drawn at once at the start, of all ranks. PyTorch draws normal numbers in groups of 16: with a
# multiple of it, blocks hold the same numbers as a table drawn in one go.
_BLOCK = 2**14


@dataclass(frozen=True)
class Cut:
    """Which rows of a table this rank holds, as DTensor and torch.chunk cut: the last part may be short.

    Attributes
    ----------
    n : int
        Rows of the whole table.
    ranks, rank : int
        How many hold parts, and which of them this is.
    """

    n: int
    ranks: int
    rank: int

    @property
    def rows(self) -> slice:
        """The rows of this rank."""
        size = -(-self.n // self.ranks)
        return slice(min(self.n, self.rank * size), min(self.n, (self.rank + 1) * size))

    def __len__(self) -> int:
        return self.rows.stop - self.rows.start

    def check(self) -> None:
        """Refuse to go on where the other parts of the table cannot be reached.

        Raises
        ------
        NotSupportedError
            If the ranks that hold it are not together any more.
        """
        if (distributed.world_size(), distributed.rank()) != (self.ranks, self.rank):
            raise NotSupportedError(
                f"the tables of this model are divided among {self.ranks} processes, so it can be used by "
                "all of them together, within distributed.process_group(shard_tables=True). "
                "Call save(path) there, and load(path) for a model that stands alone."
            )


def cut(n: int) -> Cut | None:
    """Return which rows of a new table of n rows this rank shall hold; None for all of them.

    Raises
    ------
    ValueError
        If there are so few rows that some rank would have none.
    """
    if not distributed.shards_tables():
        return None
    ranks = distributed.world_size()
    if n == 0 or not len(Cut(n, ranks, ranks - 1)):
        raise ValueError(
            f"shard_tables=True cannot divide a table of {n} rows among {ranks} processes: some would have "
            "none. Use fewer processes, or leave the tables whole."
        )
    return Cut(n, ranks, distributed.rank())


def draw(n: int, some: Callable[[int], Tensor]) -> Tensor:
    """Draw a table of n rows, and keep those of this rank: of a sharded table no rank ever holds the whole.

    Parameters
    ----------
    n : int
    some : callable
        Draws the next so many rows.

    Returns
    -------
    Tensor, shape (n, ...), or (rows of this rank, ...)
        The same numbers whoever holds them.
    """
    mine = cut(n)
    if mine is None:
        return some(n)
    kept = []
    for start in range(0, n, _BLOCK):
        rows = some(min(_BLOCK, n - start))
        # A copy: a view would keep the rest of the block alive.
        low, high = max(mine.rows.start - start, 0), max(mine.rows.stop - start, 0)
        kept.append(rows[low:high].clone())
    return torch.cat(kept)


def tables_of(net: nn.Module) -> dict[str, Cut]:
    """Return which parameters of a network are divided, by name: those in its modules' ``cuts``."""
    return {
        f"{prefix}.{name}".lstrip("."): one
        for prefix, module in net.named_modules()
        for name, one in getattr(module, "cuts", {}).items()
        if one is not None and getattr(module, name) is not None
    }


# ---------------------------------------------------------------------- what travels


def part(n: int) -> slice:
    """Return which of the n examples of a batch are this rank's, once their vectors have been dealt out."""
    return Cut(n, distributed.world_size(), distributed.rank()).rows


def look_up(
    table: Tensor, mine: Cut, index: Tensor, *, deal: bool, of: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Look up rows of a table that is divided, by an index that is the same on all ranks.

    Parameters
    ----------
    table : Tensor, shape (rows of this rank, ...)
    mine : Cut
    index : Tensor of int64, shape (b, ...)
        Rows of the whole table.
    deal : bool
        Give each rank the vectors of its :func:`part` of the batch; otherwise give all of them to all.
    of : callable, optional
        Applied to rows (m, ...) before they travel.

    Returns
    -------
    Tensor, shape (b, ..., ...) or (length of the part, ..., ...)
    """
    mine.check()
    place = index.flatten() - mine.rows.start
    here = (place >= 0) & (place < len(mine))
    # What others have is looked up somewhere and blotted out. Spread over all rows: if it were always the
    # same one, a GPU would add up its gradients one after the other.
    rows = table.index_select(0, place.remainder(len(mine)))
    if of is not None:
        rows = of(rows)
    rows = torch.where(here.view(-1, *[1] * (rows.ndim - 1)), rows, 0)
    return add_up(rows.view(index.shape + rows.shape[1:]), mine, deal=deal)


def add_up(parts: Tensor, mine: Cut, *, deal: bool) -> Tensor:
    """Add up what each rank has of a batch, (b, ...): the whole for all, or for each rank its part of b."""
    mine.check()
    engine = _engine()
    placement: Placement = engine.Shard(0) if deal else engine.Replicate()
    return _local(_wrap(parts, engine.Partial()).redistribute(placements=[placement]))


def collect(x: Tensor, n: int) -> Tensor:
    """Return a batch of n examples of which each rank has its :func:`part`; gradients are added up."""
    engine = _engine()
    whole = _wrap(x, engine.Shard(0), n).redistribute(placements=[engine.Replicate()])
    return _local(whole, engine.Partial())


def join_columns(scores: Tensor, mine: Cut) -> Tensor:
    """Lay the scores of all ranks' items side by side, (b, rows of this rank) -> (b, n), for each rank."""
    mine.check()
    engine = _engine()
    return _local(_wrap(scores, engine.Shard(1), mine.n).redistribute(placements=[engine.Replicate()]))


def as_whole(table: Tensor, mine: Cut) -> DTensor:
    """Return the part of a table as what it is a part of; nothing is copied or sent."""
    mine.check()
    return _wrap(table, _engine().Shard(0), mine.n)


def at_first(table: Tensor, mine: Cut) -> Tensor | None:
    """Gather a whole table, (n, ...), in the main memory of the first rank; None for the others.

    All ranks must call it. The first one needs twice the room for the table while it does.
    """
    mine.check()
    size = Cut(mine.n, mine.ranks, 0).rows.stop
    padded = torch.zeros(size, *table.shape[1:], dtype=table.dtype)
    padded[: len(mine)] = table.detach().cpu()
    home = distributed.home()
    parts = [torch.empty_like(padded, device=home) for _ in range(mine.ranks)] if mine.rank == 0 else None
    dist.gather(padded.to(home), parts)
    return None if parts is None else torch.cat(parts)[: mine.n].cpu()


@lru_cache(maxsize=1)
def _engine() -> Any:
    """Import DTensor, which takes two seconds, where tables are divided and nowhere else."""
    import torch.distributed.tensor

    return torch.distributed.tensor


def _wrap(x: Tensor, placement: Placement, n: int | None = None) -> DTensor:
    """Say what a tensor of this rank is of all ranks together; n is the whole length of what is cut."""
    mesh = _mesh(x.device.type, dist.group.WORLD)
    whole: dict[str, Any] = {}
    if n is not None:
        shape = list(x.shape)
        shape[placement.dim] = n  # type: ignore[attr-defined]  # of Shard alone
        whole = {"shape": torch.Size(shape), "stride": torch.empty(shape, device="meta").stride()}
    wrapped: DTensor = _engine().DTensor.from_local(x, mesh, [placement], run_check=False, **whole)
    return wrapped


def _local(x: DTensor, gradient: Placement | None = None) -> Tensor:
    local: Tensor = x.to_local(grad_placements=None if gradient is None else [gradient])
    return local


@lru_cache(maxsize=2)
def _mesh(device_type: str, group: object) -> DeviceMesh:
    """Return all ranks in a row. ``group`` is who they are: another group needs another mesh."""
    from torch.distributed.device_mesh import init_device_mesh

    mesh = init_device_mesh(device_type, (distributed.world_size(),))
    # DTensor keeps plans for good, they keep the mesh, and the mesh keeps the group.
    distributed.when_leaving(getattr(mesh, "_pg_registry", {}).clear)
    distributed.when_leaving(_mesh.cache_clear)
    return mesh


# ---------------------------------------------------------------------- parts of a catalogue


def columns_of(mine: Cut, items: Tensor | None) -> slice:
    """Tell which of some items, ascending, or of all, belong to the rows of this rank."""
    if items is None:
        return mine.rows
    ends = torch.tensor([mine.rows.start, mine.rows.stop], device=items.device)
    low, high = torch.searchsorted(items, ends).tolist()
    return slice(low, high)


def narrowed(histories: Histories, columns: slice) -> Histories:
    """Keep the items of some columns, which are then counted from the first of them.

    Examples
    --------
    >>> some = narrowed(Histories.from_lists([[0, 2, 3], [1], [2]], n_items=4), slice(2, 4))
    >>> some.indptr, some.indices, some.n_items
    (tensor([0, 2, 2, 3]), tensor([0, 1, 0]), 2)
    """
    kept = (histories.indices >= columns.start) & (histories.indices < columns.stop)
    before = torch.zeros(len(kept) + 1, dtype=torch.int64, device=kept.device)
    torch.cumsum(kept, 0, out=before[1:])
    indices = histories.indices[kept] - columns.start
    return Histories(before[histories.indptr], indices, columns.stop - columns.start)
