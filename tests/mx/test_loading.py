"""Importing MXNet leaves no trace, and its outdated parts work."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from recsys_lib import mx as wing
from recsys_lib.mx.loading import _LATE, _REMOVED, load_mxnet

ROOT = Path(__file__).parents[2]
mx = load_mxnet()


def run(code: str, **environment: str) -> str:
    keep = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MXNET_OMP_MAX_THREADS")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=180,
        env=keep | environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


STATE = """
import ctypes, os, random, signal, sys, warnings
import numpy, numpy as np, pandas, scipy.sparse, torch
import recsys_lib.mx

def c_handlers():
    found = {}
    for number in signal.valid_signals():
        action = ctypes.create_string_buffer(256)
        if ctypes.CDLL(None).sigaction(int(number), None, action) == 0:
            found[int(number)] = action.raw[:8]
    return found

def state():
    return {
        "threads": torch.get_num_threads(),
        "environment": dict(os.environ),
        "filters": list(warnings.filters),
        "handlers": c_handlers(),
        "python handlers": [signal.getsignal(n) for n in signal.valid_signals()],
        "numpy generator": np.random.get_state()[1].tolist(),
        "python generator": random.getstate(),
        "torch generator": torch.get_rng_state().tolist(),
        "numpy names": set(vars(np)),
        "print options": np.get_printoptions(),
        "errors": np.geterr(),
        "path": list(sys.path),
        "finders": list(sys.meta_path),
        "distutils": "distutils" in sys.modules,
        "sklearn": "sklearn" in sys.modules,
        "default dtype": torch.get_default_dtype(),
        "hook": sys.excepthook,
    }

before = state()
"""

COMPARE = """
assert "mxnet" not in sys.modules
from recsys_lib.mx import NeuMF, SparseNegSampleIter, fit, HitRate, to_recommender
assert "mxnet" in sys.modules
after = state()
print([name for name in before if before[name] != after[name]])
"""


@pytest.mark.parametrize(
    "prepare", ["", "import faulthandler; faulthandler.enable(); torch.set_num_threads(3)"]
)
def test_nothing_else_changes(prepare: str) -> None:
    assert run(f"{STATE}\n{prepare}\nbefore = state()\n{COMPARE}") == "[]\n"


def test_the_check_can_fail() -> None:
    """A plain import of MXNet changes what the loader puts back."""
    plain = """
warnings.simplefilter("ignore")
np.bool = bool
import mxnet
after = state()
print([name for name in before if before[name] != after[name]])
"""
    changed = run(f"{STATE}\ntorch.set_num_threads(3)\nbefore = state()\n{plain}")
    assert all(name in changed for name in ("threads", "filters", "'handlers'", "numpy names", "path"))


def test_threads_stay_when_mxnet_works_and_so_does_a_shim_of_the_user() -> None:
    code = """
import numpy as np
import torch
np.bool = bool
torch.set_num_threads(3)
from recsys_lib.mx import load_mxnet
mx = load_mxnet()
x = mx.nd.random.uniform(shape=(300, 300))
mx.nd.dot(x, x).asnumpy()
print(torch.get_num_threads(), load_mxnet() is mx, np.bool is bool, "int" in vars(np))
"""
    assert run(code) == "3 True True False\n"


def test_an_mxnet_that_is_already_there_is_mended() -> None:
    code = """
import warnings
import numpy as np
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    np.bool = bool
    import mxnet
    del np.bool
from recsys_lib.mx import load_mxnet
assert load_mxnet() is mxnet
print(mxnet.np.full((2,), True).dtype)
"""
    assert run(code) == "bool\n"


def test_functions_that_use_removed_names_work() -> None:
    assert "bool" not in vars(np)
    array = mx.np.array([1.0, 2.0, -1.0])
    np.testing.assert_array_equal(array[array < 0].asnumpy(), [-1])
    np.testing.assert_array_equal(array[True].asnumpy(), [[1, 2, -1]])
    array[array < 0] = 0
    np.testing.assert_array_equal(array.asnumpy(), [1, 2, 0])
    assert mx.np.full((2,), True).dtype == np.bool_
    assert mx.sym.np.full((2,), True) is not None
    assert mx.test_utils.default_rtols()[np.dtype(bool)] == 0
    np.testing.assert_array_equal(mx.nd.array([[1, 2]], dtype="int32").asnumpy(), [[1, 2]])
    matrix = sp.csr_matrix(np.eye(3, dtype=np.float32))
    np.testing.assert_array_equal(mx.nd.sparse.array(matrix).asnumpy(), np.eye(3))
    assert mx.nd.sparse.csr_matrix(matrix).stype == "csr"


def late_uses(path: Path) -> set[str]:
    """Removed names of NumPy, and ``scipy.sparse.csr``, that a file asks for inside of functions."""
    found = set()
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.Lambda):
            for node in ast.walk(function):
                text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
                module, _, name = text.partition(".")
                if (module in ("np", "_np", "onp") and name in _REMOVED) or text == "spsp.csr":
                    found.add(text)
    return found


def test_no_other_module_needs_them() -> None:
    """Of all that ``import mxnet`` brings, and of the rest that can be imported."""
    folder = Path(mx.__file__).parent
    needy = {
        ".".join(path.relative_to(folder.parent).with_suffix("").parts): late_uses(path)
        for path in folder.rglob("*.py")
        if "tools" not in path.parts
    }
    assert {name for name, uses in needy.items() if uses} <= set(_LATE)
    assert needy["mxnet.numpy.multiarray"] == {"_np.bool"}
    assert all(name in sys.modules for name in _LATE)


def test_public_names() -> None:
    for name in wing.__all__:
        assert getattr(wing, name) is not None
        assert name in dir(wing)
    with pytest.raises(AttributeError, match="has no attribute 'train'"):
        wing.train  # noqa: B018
    for home, names in wing._HOMES.items():
        assert set(names) <= set(importlib.import_module(f"recsys_lib.mx.{home}").__all__)
