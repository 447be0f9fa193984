"""Which device to compute on: one rule for every model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from recsys_lib._validation import shown
from recsys_lib.distributed import world_size


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn a device name into a :class:`torch.device` that exists here.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` takes CUDA when there is one, then Apple's MPS, then the CPU. Anything else is taken
        at its word: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``. Of several processes
        (:mod:`recsys_lib.distributed`) each takes its own CUDA device, and none takes MPS.

    Raises
    ------
    ValueError
        If the name means nothing to PyTorch, or this machine has no such device.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if isinstance(device, str) and device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")  # the current one, which a process group has set
        alone = world_size() == 1
        return torch.device("mps" if alone and torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"device={shown(device)} is not a device. Use 'auto', 'cpu', 'cuda', 'cuda:1', ..."
        ) from error
    if resolved.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={str(device)!r} is not supported. Use 'auto', 'cpu', 'cuda' or 'mps'.")
    if resolved.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (resolved.index or 0) >= count:
            found = f"{count} CUDA device(s) found" if count else "PyTorch finds no CUDA device"
            raise ValueError(
                f"device={str(device)!r} is not available: {found}. Use device='auto' or device='cpu'."
            )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps' is not available on this machine. Use device='auto' or device='cpu'.")
    return resolved


@contextlib.contextmanager
def cpu_threads(n: int | None) -> Iterator[None]:
    """Compute with at most ``n`` threads inside the block; None changes nothing.

    Threads that share out a small operation spend most of it waiting for each other, and all of it when
    another program has one of their cores.

    Examples
    --------
    >>> with cpu_threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    if n is None or n >= before:
        yield
        return
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
