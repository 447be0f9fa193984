"""A table too large for one GPU, on paper: bytes per GPU and step, and what a step has to wait for.

python -m benchmarks.sharded_on_paper

Nothing here was measured. The constants are arguments of :func:`step_on_paper`.
"""

from __future__ import annotations

import pandas as pd


def step_on_paper(
    gpus: int,
    *,
    table_gb: float = 500.0,
    dim: int = 128,
    examples: int = 65_536,
    lookups: int = 6,
    memory_gb_s: float = 3_000.0,
    network_gb_s: float = 50.0,
) -> dict[str, float | str]:
    """Work out a step of this library on a table that is divided by rows, with Adam and dense gradients.

    With N GPUs and V = examples * lookups vectors of D bytes in a batch, of a table of T bytes:

    * It holds 4 T / N, which are weights, gradient and two moments, and 2 V D: vectors on their way, and
      their gradients.
    * It sends V D (N - 1) / N when vectors are added up and dealt out (reduce-scatter), and as much on the
      way back (all-gather). Sending a vector only to the GPU that asked for it (all-to-all, as TorchRec
      does) would be 1 / N of that. Gloo, between CPUs, has no reduce-scatter: it does an all-reduce, and so
      sends V D (N - 1) / N more.
    * Its memory moves 10 T / N: zeros into the gradient (1), which is divided by N (2), and Adam, which reads
      it with weights and moments, and writes the last three (7).
    * And it moves 11 V D: to look vectors up (2), to blot out what others have (2), to hand them over (1); to
      receive gradients (1), to blot out again (2), and to add them to those of the table (3).
    * With sparse gradients and LazyAdam, at most V D / N would stand in place of T / N, but for the three
      other tables that are held.

    The layers, the start of a message and waiting are left out.

    Parameters
    ----------
    gpus : int
    table_gb : float
        Weights in single precision, in 10^9 bytes.
    dim : int
        Numbers in a vector.
    examples, lookups : int
        Examples in the batch of all GPUs, and vectors for each.
    memory_gb_s, network_gb_s : float
        What a GPU moves in its memory, and sends to others.

    Returns
    -------
    dict
        Sizes per GPU in GB, times in ms, and which of the two takes longer.
    """
    table, vectors = table_gb, examples * lookups * dim * 4 / 1e9
    sent = 2 * vectors * (gpus - 1) / gpus
    memory = 10 * table / gpus + 11 * vectors
    lazy = 10 * min(vectors, table) / gpus + 11 * vectors
    times = {"memory": memory / memory_gb_s * 1e3, "network": sent / network_gb_s * 1e3}
    lazy_times = {"memory": lazy / memory_gb_s * 1e3, "network": times["network"]}
    return {
        "GPUs": gpus,
        "held GB": 4 * table / gpus + 2 * vectors,
        "lazy held GB": (3 * table + min(vectors, table)) / gpus + 2 * vectors,
        "sent GB": sent,
        "all-to-all GB": sent / gpus,
        "memory GB": memory,
        "network ms": times["network"],
        "memory ms": times["memory"],
        "bound": max(times, key=lambda name: times[name]),
        "lazy memory ms": lazy_times["memory"],
        "lazy bound": max(lazy_times, key=lambda name: lazy_times[name]),
    }


if __name__ == "__main__":
    rows = [step_on_paper(gpus) for gpus in (8, 64)]
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:,.3g}".format))
