"""What people see where MXNet is missing or cannot work. These tests need no MXNet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys_lib.errors import RecsysError
from recsys_lib.mx import loading
from recsys_lib.mx.loading import MXNetUnavailableError

ROOT = Path(__file__).parents[2]
MODULES = ("blocks", "exchange", "fitting", "iterators", "metrics")

# Makes MXNet look as if it were not installed.
BLOCK = """
import sys
class _NoMXNet:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "mxnet":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None
sys.meta_path.insert(0, _NoMXNet())
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_rest_of_the_library_never_imports_it() -> None:
    code = """
import sys
import recsys_lib, recsys_lib.mx
from recsys_lib import Interactions, datasets, evaluate, models, plots, splits
split = splits.leave_last_out(datasets.synthetic(60, 30, 900, seed=0))
model = models.NeuMF(epochs=1, device="cpu").fit(split.train)
print(evaluate(model, split, metrics=["ndcg"])["ndcg@10"] > 0, "mxnet" in sys.modules)
"""
    assert run(code) == "True False\n"
    assert run(BLOCK + code) == "True False\n"


def test_every_module_says_what_to_do() -> None:
    out = run(
        BLOCK
        + f"""
import importlib, recsys_lib.mx
from recsys_lib.mx import MXNetUnavailableError, is_available
assert not is_available()
for name in {MODULES!r}:
    try:
        importlib.import_module(f"recsys_lib.mx.{{name}}")
    except MXNetUnavailableError as error:
        print(name, isinstance(error, ImportError), error.name)
for name in set(recsys_lib.mx.__all__) - {{"MXNetUnavailableError", "is_available", "load_mxnet"}}:
    try:
        exec(f"from recsys_lib.mx import {{name}}")
    except ImportError as error:
        assert type(error) is MXNetUnavailableError, name
        message = str(error)
print(message)
"""
    )
    *lines, message = out.split("\n", len(MODULES))
    assert lines == [f"{name} True mxnet" for name in MODULES]
    for words in ("not installed", "pip install 'mxnet==1.9.1' 'numpy<2'", "Python 3.12 or older", "retired"):
        assert words in message
    assert "Everything else in recsys_lib works without MXNet" in message


def test_pytest_leaves_it_out(tmp_path: Path) -> None:
    (tmp_path / "block_mxnet.py").write_text(BLOCK)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "block_mxnet",
        "--collect-only",
        "-p",
        "no:cacheprovider",
    ]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [*command, "recsys_lib/mx", "tests/mx", "-v"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT TESTED" in done.stdout
    assert "test_every_module_says_what_to_do" in done.stdout
    files = set(re.findall(r"<Module (\S+)>|<DoctestModule (\S+)>", done.stdout))
    assert files == {("test_without_mxnet.py", "")}


@pytest.fixture
def not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder on the path; no MXNet is loaded or found but what is put there."""
    for name in [name for name in sys.modules if name.split(".")[0] == "mxnet"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_numpy_2_is_named(not_loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (not_loaded / "mxnet.py").write_text("raise AssertionError('must not be imported')")
    monkeypatch.setattr(np, "__version__", "2.4.6")
    assert not loading.is_available()
    with pytest.raises(MXNetUnavailableError, match=r"it cannot work with NumPy 2\.4\.6"):
        loading.load_mxnet()


def test_a_module_of_none_is_not_there(not_loaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mxnet", None)
    assert not loading.is_available()
    with pytest.raises(MXNetUnavailableError, match="not installed"):
        loading.load_mxnet()


@pytest.mark.parametrize(
    "fault",
    [
        "raise OSError('libquadmath.so.0: cannot open shared object file')",
        "import no_such_module",
        "import numpy; numpy.no_such_name",
    ],
)
def test_an_import_that_fails_is_explained(
    not_loaded: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(np, "__version__", "1.26.4")
    (not_loaded / "mxnet.py").write_text(
        "import os, warnings, numpy\nassert numpy.bool is bool\nwarnings.simplefilter('ignore')\n" + fault
    )
    names = dict(vars(np))
    with pytest.raises(
        MXNetUnavailableError, match=r"its import failed \((OSError|ModuleN|AttributeE)"
    ) as caught:
        loading.load_mxnet()
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value, RecsysError)
    assert isinstance(caught.value, ImportError)
    assert dict(vars(np)) == names
    assert "mxnet" not in sys.modules


def test_a_library_that_cannot_be_loaded_is_noticed_before_the_import(tmp_path) -> None:
    """Installed, but a library of the system is missing: the wheel of MXNet does not bring all it needs."""
    package = tmp_path / "mxnet"
    package.mkdir()
    (package / "__init__.py").write_text("import ctypes\nctypes.CDLL(__path__[0] + '/libmxnet.so')\n")
    (package / "libmxnet.so").write_bytes(b"not a library")
    out = run(
        f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from recsys_lib.mx import MXNetUnavailableError, is_available, load_mxnet
assert not is_available()
assert "mxnet" not in sys.modules
try:
    load_mxnet()
except MXNetUnavailableError as error:
    print(error)
"""
    )
    assert "its import failed (OSError" in out
    assert "libquadmath0" in out
