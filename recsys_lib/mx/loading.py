"""Bringing in MXNet, which is retired, without a trace in the rest of the process.

MXNet 1.9.1 is from 2022. It asks NumPy for names that were removed since, and loading it resets PyTorch's
thread count, takes over the handler of segmentation faults and warns of its own age.
:func:`load_mxnet` gives it what it asks for and puts everything back. Nobody else needs to call it: the
modules of :mod:`recsys_lib.mx` do.

>>> import sys, recsys_lib.mx
>>> from recsys_lib.mx.loading import is_available
>>> is_available()
True
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import functools
import importlib
import importlib.util
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse
import torch

from recsys_lib.errors import RecsysError

__all__ = ["MXNetUnavailableError", "is_available", "load_mxnet"]

# Names that NumPy 1.24 removed; each was another name of a builtin.
_REMOVED = ("bool", "int", "float", "complex", "object", "str")
# The modules of MXNet that ask for an old name of NumPy or SciPy when a function runs, not only at import.
_LATE = (
    "mxnet.ndarray.numpy._op",
    "mxnet.ndarray.sparse",
    "mxnet.ndarray.utils",
    "mxnet.numpy.multiarray",
    "mxnet.symbol.numpy._symbol",
    "mxnet.test_utils",
)
_LOCK = threading.Lock()


class MXNetUnavailableError(RecsysError, ImportError):
    """MXNet is not installed, or cannot work in this environment. The message says what to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"recsys_lib.mx needs MXNet, and {reason}. MXNet is retired: its last release runs on Linux "
            "x86-64 with NumPy 1.x, so with Python 3.12 or older (tested with 3.11). There, run\n"
            "    pip install 'mxnet==1.9.1' 'numpy<2'\n"
            "Everything else in recsys_lib works without MXNet; recsys_lib.models has the same networks.",
            name="mxnet",
        )


def is_available() -> bool:
    """Tell whether MXNet is installed beside what it can work with: NumPy 1.x and the system's libraries.

    Nothing is imported. Whether its own library can be loaded is tried in another process, once.
    """
    if _obstacle() is not None:
        return False
    return "mxnet" in sys.modules or _can_be_loaded()


@functools.cache
def _can_be_loaded() -> bool:
    found = importlib.util.find_spec("mxnet")
    for folder in (found.submodule_search_locations or ()) if found else ():
        library = Path(folder) / "libmxnet.so"
        if library.exists():
            code = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
            done = subprocess.run([sys.executable, "-S", "-c", code, str(library)], capture_output=True)
            return done.returncode == 0
    return True  # an MXNet of another make: only its import can tell


def _obstacle() -> str | None:
    if "mxnet" in sys.modules and sys.modules["mxnet"] is not None:
        return None
    try:
        found = importlib.util.find_spec("mxnet")
    except (ValueError, ImportError):  # there is a None in sys.modules, or somebody keeps MXNet out
        found = None
    if found is None:
        return "it is not installed"
    if int(np.__version__.split(".")[0]) >= 2:
        return f"it cannot work with NumPy {np.__version__}"
    return None


def load_mxnet() -> Any:
    """Return the module ``mxnet``.

    The first call imports it. Afterwards NumPy, the environment, the warning filters, the signal handlers,
    the search path of modules, the global random generators and PyTorch's thread count are as before.
    MXNet's functions that need an old name of NumPy or SciPy find it in MXNet's own modules, so that they
    work, and do so without warnings, while ``numpy`` and ``scipy`` stay as they are.

    Raises
    ------
    MXNetUnavailableError
        If MXNet is not installed, needs another NumPy, or lacks a library of the system.
    """
    with _LOCK:
        obstacle = _obstacle()
        if obstacle is not None:
            raise MXNetUnavailableError(obstacle)
        if "mxnet" not in sys.modules:
            try:
                _import_quietly()
            except (ImportError, OSError, AttributeError) as error:
                reason = f"its import failed ({type(error).__name__}: {error})"
                if isinstance(error, OSError):
                    reason += ". On Debian its library needs the packages libgomp1 and libquadmath0"
                raise MXNetUnavailableError(reason) from error
        for name in _LATE:
            _give_old_names(importlib.import_module(name))
        return sys.modules["mxnet"]


def _import_quietly() -> None:
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for put_back in (_old_names, _stand_ins, _own_signal_handlers, _own_thread_count):
            stack.enter_context(put_back())
        importlib.import_module("mxnet")


@contextlib.contextmanager
def _old_names() -> Iterator[None]:
    """Give NumPy its removed names for a while, but for those that it has."""
    names = vars(np)
    added = [name for name in _REMOVED if name not in names]
    names.update({name: getattr(builtins, name) for name in added})
    try:
        yield
    finally:
        for name in added:
            del names[name]


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Keep out what MXNet imports and we do not need: distutils and scikit-learn.

    Python 3.12 has no ``distutils``. Before, setuptools takes its place and changes ``sys.path``.
    scikit-learn, the base of one outdated class of MXNet that does without, sets environment variables.
    """
    distutils, version = ModuleType("distutils"), ModuleType("distutils.version")
    vars(version).update(LooseVersion=_Version, StrictVersion=_Version)
    instead: dict[str, Any] = {}
    if "distutils" not in sys.modules:
        instead |= {"distutils": distutils, "distutils.version": version}
    if "sklearn" not in sys.modules:
        instead |= {"sklearn": None}
    sys.modules.update(instead)
    try:
        yield
    finally:
        for name in instead:
            del sys.modules[name]


class _Version(tuple):
    """A version number that can be compared, which is all that MXNet wants of distutils."""

    __slots__ = ()

    def __new__(cls, text: str) -> _Version:
        return super().__new__(cls, (int(part) for part in text.split(".") if part.isdigit()))


@contextlib.contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Put back the C handlers of signals: MXNet takes over SIGSEGV, also from ``faulthandler``."""
    sigaction = getattr(ctypes.CDLL(None), "sigaction", None) if sys.platform != "win32" else None
    if sigaction is None:
        yield
        return

    def handlers() -> dict[int, Any]:
        found = {}
        for number in signal.valid_signals():
            action = ctypes.create_string_buffer(256)  # a struct sigaction has 152 bytes on Linux
            if sigaction(int(number), None, action) == 0:
                found[int(number)] = action
        return found

    before = handlers()
    try:
        yield
    finally:
        pointer = ctypes.sizeof(ctypes.c_void_p)
        for number, action in handlers().items():
            if action.raw[:pointer] != before[number].raw[:pointer]:
                sigaction(number, before[number], None)


@contextlib.contextmanager
def _own_thread_count() -> Iterator[None]:
    """Put back PyTorch's thread count: libmxnet halves that of the OpenMP library which both share."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


class _WithOldNames(ModuleType):
    """A module with names that it once had, for the eyes of a few modules of MXNet."""

    def __init__(self, module: ModuleType, old: dict[str, Any]) -> None:
        super().__init__(module.__name__)
        vars(self).update(old, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_module"], name)


# In place of ``scipy.sparse.csr``, which warns: its one class that MXNet asks for is a level higher too.
_OLD = {
    np: _WithOldNames(np, {name: getattr(builtins, name) for name in _REMOVED}),
    scipy.sparse: _WithOldNames(scipy.sparse, {"csr": scipy.sparse}),
}


def _give_old_names(module: ModuleType) -> None:
    for name, value in list(vars(module).items()):
        if isinstance(value, ModuleType) and value in _OLD:
            setattr(module, name, _OLD[value])
