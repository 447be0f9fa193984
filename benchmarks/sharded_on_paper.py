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
    r"""Work out a step of a table that is divided by rows, with Adam and dense gradients.

    With N GPUs and V = examples * lookups vectors of D bytes in a batch, of a table of T bytes:

    * It holds 4 T / N: weights, gradient and two moments.
    * It sends V D (N - 1) / N when vectors are added up and dealt out, and as much on the way back. Sending a
      vector only to the GPU that asked for it (all-to-all, as TorchRec does) would be 1 / N of that.
    * Its memory moves 8 T / N: zeros into the gradient, which Adam reads with weights and moments, and writes
      the last three; and 6 V D for lookups and their gradients. With sparse gradients and LazyAdam,
      8 V D / N would stand in place of 8 T / N.

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
    memory = 8 * table / gpus + 6 * vectors
    lazy = 8 * vectors / gpus + 6 * vectors
    times = {"memory": memory / memory_gb_s * 1e3, "network": sent / network_gb_s * 1e3}
    lazy_times = {"memory": lazy / memory_gb_s * 1e3, "network": times["network"]}
    return {
        "GPUs": gpus,
        "held GB": 4 * table / gpus,
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
