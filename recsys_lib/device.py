"""Which device to compute on, one rule for every model; and how a step uses a CPU."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from recsys_lib._validation import shown
from recsys_lib.distributed import world_size

# Of PyTorch since 2.9.
_SETTING: Any = getattr(torch.backends.mkldnn, "matmul", None)
_lock = threading.Lock()
# glibc's names for three settings (malloc.h), and where it puts them by itself, at most, in a process that
# has freed large blocks.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26}


class _Shared:
    """A setting of the whole process: made by the first block that is opened, undone by the last one.

    Blocks of several threads may overlap in any way.
    """

    def __init__(self) -> None:
        self.open = 0
        self._undo: Callable[[], object] = lambda: None

    @contextlib.contextmanager
    def block(self, make: Callable[[], Callable[[], object]]) -> Iterator[None]:
        """Call ``make`` unless a block is open. It returns what undoes it."""
        with _lock:
            if not self.open:
                self._undo = make()
            self.open += 1
        try:
            yield
        finally:
            with _lock:
                self.open -= 1
                if not self.open:
                    self._undo()


_products, _memory = _Shared(), _Shared()


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


@contextlib.contextmanager
def onednn_products() -> Iterator[None]:
    """Multiply matrices with oneDNN inside the block, on a CPU where that is as exact as with MKL.

    MKL takes less than all of what a processor of another maker can do. PyTorch takes oneDNN for numbers of
    single precision when it is allowed to calculate with fewer bits. Only processors with instructions for
    that do so, and there nothing is changed. An epoch of Mult-VAE with MovieLens-1M's shape takes 0.86 of the
    time on an EPYC of 2022 (Zen 4). Small products, such as those of NeuMF, would take longer.
    """
    if not hasattr(_SETTING, "fp32_precision") or not _onednn_is_exact():
        yield
        return

    def make() -> Callable[[], object]:
        before = _SETTING.fp32_precision
        _SETTING.fp32_precision = "bf16"
        return lambda: setattr(_SETTING, "fp32_precision", before)

    with _products.block(make):
        yield


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Keep what is freed inside the block for the next step, where the C library is glibc.

    It gives large tensors back to the system at once, and the next step has to map and clear every page of
    them anew. For tables of 26,744 rows of 800 and 400 numbers that is a seventh of an autoencoder's step.
    After the block all is given back that is free.
    """
    libc = _glibc()
    if libc is None:
        yield
        return

    def make() -> Callable[[], object]:
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        return undo

    def undo() -> None:
        for setting, value in _USUAL.items():
            libc.mallopt(setting, value)
        libc.malloc_trim(0)

    with _memory.block(make):
        yield


@functools.cache
def _glibc() -> Any:
    """Return the C library of this process if it is that of GNU, or None."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "gnu_get_libc_version") else None


@functools.cache
def _onednn_is_exact() -> bool:
    """Try it: with fewer bits the error would be a hundred times as large."""
    if not torch.backends.mkldnn.is_available():
        return False
    numbers = torch.linspace(-1, 1, 2**16).sin().view(256, 256)
    with _lock:
        before = _SETTING.fp32_precision
        _SETTING.fp32_precision = "bf16"
        try:
            product = numbers @ numbers.T
        finally:
            _SETTING.fp32_precision = before
    return _error(product, numbers) < 1e-5


def _error(product: Tensor, numbers: Tensor) -> float:
    exact = numbers.double() @ numbers.double().T
    return float((product - exact).abs().max() / exact.abs().max())
