"""The rules of the house: which module may import which, sizes, docstrings, what a plain import costs."""

from __future__ import annotations

import ast
import fnmatch
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import recsys_lib
from recsys_lib import Interactions, datasets, evaluate, load, splits
from recsys_lib.models.base import Recommender
from recsys_lib.models.saving import FAMILIES

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "recsys_lib"
FILES = sorted(LIBRARY.rglob("*.py"))

# Each room may use itself and those above it. A new module needs a place here.
ROOMS = [
    ["errors", "_validation", "_files", "_tensors", "_random", "distributed", "device"],
    ["ids", "histories", "_products", "_columns", "_rows", "_blocks", "_folder", "_parquet", "interactions"],
    ["datasets", "datasets.*", "_cuts", "splits"],
    ["metrics", "_list_metrics", "losses", "losses.*", "sampling"],
    ["ranking"],
    [
        "_shards",
        "_optimizers",
        "sparse_rows",
        "deferred_adam",
        "_replica",
        "_checkpoint_parts",
        "_checkpoints",
        "_shuffling",
        "training",
    ],
    ["models", "models.*"],
    ["web"],
    ["evaluation", "evaluation.*"],
    ["mx", "mx.*"],
    ["plots", "plots.*"],
    ["cli", "cli.*", "__main__"],
]

MAY_PRINT = ("cli", "cli.commands", "datasets.download")


def module_name(path: Path) -> str:
    """``models.ease`` for recsys_lib/models/ease.py; the empty string for the package itself."""
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def room(module: str) -> int:
    for number, patterns in enumerate(ROOMS):
        if any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns):
            return number
    raise AssertionError(f"recsys_lib.{module} has no place in ROOMS of {Path(__file__).name}")


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from statements(node)


def imported(path: Path) -> set[str]:
    """The modules of the library that a file imports, in functions too."""
    found: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import in line {node.lineno}"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [
                name if name.removeprefix("recsys_lib.") in MODULES else str(node.module) for name in inside
            ]
        else:
            continue
        found |= {
            name.removeprefix("recsys_lib").removeprefix(".")
            for name in names
            if name.startswith("recsys_lib")
        }
    return found - {""}


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_imports_run_one_way(module: str) -> None:
    upwards = [other for other in imported(MODULES[module]) if room(other) > room(module)]
    assert not upwards, f"recsys_lib.{module} imports {upwards}, which come after it in the order"


def test_the_check_of_imports_can_fail(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from recsys_lib import models\n"
        "from recsys_lib import metrics, __version__\ndef f():\n    import recsys_lib.cli\n"
    )
    assert imported(path) == {"metrics", "cli"}
    assert room("cli") > room("metrics") > room("ids")


def test_no_circle_of_imports() -> None:
    graph = {name: imported(path) for name, path in MODULES.items() if name}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"imports in a circle: {' -> '.join((*above, name))}"
        if name not in done:
            for other in graph[name]:
                # A package is whole only when its modules are, which may use each other.
                if not name.startswith(f"{other}."):
                    visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    assert len(done) == len(graph) > 20


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_are_short_enough_to_read(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 400, f"{path.name} has {lines} lines: divide it"


def documented(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """The module, and its public functions, classes and methods."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield path.name, tree
    open_classes: list[tuple[str, ast.AST]] = [("", tree)]
    while open_classes:
        prefix, scope = open_classes.pop()
        for node in ast.iter_child_nodes(scope):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                yield f"{prefix}{node.name}", node
                if isinstance(node, ast.ClassDef):
                    open_classes.append((f"{prefix}{node.name}.", node))


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_everything_public_has_a_docstring(path: Path) -> None:
    missing = [name for name, node in documented(path) if not ast.get_docstring(node)]
    assert not missing


def test_no_careless_code() -> None:
    """No error is swallowed, nothing unpickled, no global random state touched, nothing half done."""
    words = re.compile(r"\bTODO\b|\bFIXME\b|NotImplementedError|allow_pickle=True|weights_only=False")
    calls = re.compile(
        r"pickle\.(load|dump)s?|.*\.cuda|(np|numpy)\.random\.(seed|rand|randn|randint|choice|shuffle|permutation)"
        r"|torch\.(cuda\.)?(manual_seed|seed|manual_seed_all)|random\.seed|print"
    )
    found = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        may_print = module_name(path) in MAY_PRINT
        found += [f"{path.name}: {match[0]}" for match in words.finditer(text)]
        for node in ast.walk(ast.parse(text)):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if calls.fullmatch(called) and not (called == "print" and may_print):
                found.append(f"{path.name}:{node.lineno}: {called}()")
            if isinstance(node, ast.ExceptHandler):
                kind = "" if node.type is None else ast.unparse(node.type)
                raises_again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
                if kind in ("", "Exception") or (kind == "BaseException" and not raises_again):
                    found.append(f"{path.name}:{node.lineno}: except {kind}")
    assert not found


# ---------------------------------------------------------------------- the package


def test_public_names() -> None:
    for name in recsys_lib.__all__:
        assert getattr(recsys_lib, name) is not None
        assert name in dir(recsys_lib)
    with pytest.raises(AttributeError, match="has no attribute 'recommend'"):
        recsys_lib.recommend  # noqa: B018
    for module in ("datasets", "models", "splits", "metrics", "evaluation"):
        loaded = importlib.import_module(f"recsys_lib.{module}")
        assert all(hasattr(loaded, name) for name in getattr(loaded, "__all__", []))


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert project["version"] == recsys_lib.__version__
    assert f'\nversion: "{recsys_lib.__version__}"\n' in citation


def test_imports_bring_in_nothing_optional() -> None:
    """Every module can be imported without matplotlib, MXNet and scikit-learn; the package alone is light.

    All but those that are there for MXNet: tests/mx says what they do without it.
    """
    need_mxnet = [name for name, path in MODULES.items() if "mx = load_mxnet()" in path.read_text("utf-8")]
    assert need_mxnet
    assert all(name.startswith("mx.") for name in need_mxnet)
    others = set(MODULES) - {"", "__main__", *need_mxnet}
    names = [f"recsys_lib.{name}" for name in sorted(others)]
    code = (
        "import sys, importlib, recsys_lib\n"
        "assert not {'torch', 'pandas', 'scipy'} & set(sys.modules), 'the package alone'\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "optional = {'matplotlib', 'mxnet', 'sklearn', 'IPython', 'pyarrow', 'duckdb'}\n"
        "print(*sorted(optional & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "\n"


def test_a_fit_loads_no_compiler() -> None:
    """PyTorch would import its compiler at the first step and SymPy at the first layer: a second and more."""
    code = (
        "import sys\n"
        "from recsys_lib import datasets, models\n"
        "data = datasets.synthetic(60, 90, 900, feedback='explicit', seed=0)\n"
        "for name in ('adam', 'adamw', 'sgd', 'adagrad'):\n"
        "    model = models.NeuMF(epochs=1, optimizer=name, device='cpu', seed=0)\n"
        "    model.fit(data).recommend([1, 2])\n"
        "for name in ('BottleneckAutoencoder', 'MultVAE', 'RecVAE', 'BPR', 'BiasedMF'):\n"
        "    getattr(models, name)(epochs=1, device='cpu', seed=0).fit(data)\n"
        "print(*sorted({'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "\n"


# ---------------------------------------------------------------------- what the documents say


def code_blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / name).read_text(encoding="utf-8"), re.S | re.M)


def test_the_code_in_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        datasets, "load", lambda name: datasets.synthetic(220, 80, 4_000, feedback="explicit", seed=1)
    )
    (block,) = code_blocks("README.md", "python")
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    out = capsys.readouterr().out
    assert re.search(r"^ +EASE 0\.\d{4}", out, re.M)
    assert out.count("196") == 5


def test_the_commands_in_the_readme_are_valid() -> None:
    import shlex

    from recsys_lib.cli import make_parser

    text = "".join(code_blocks("README.md", "sh"))
    commands = re.findall(r"^(?:\.venv/bin/)?recsys-lib (.*?)(?:  #.*)?$", text, re.M)
    assert len(commands) >= 3
    for command in commands:
        assert make_parser().parse_args(shlex.split(command)).command


def test_the_model_in_contributing_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys_lib.models.saving.FAMILIES", dict(FAMILIES))
    (block,) = code_blocks("CONTRIBUTING.md", "python")
    # dataclass looks its module up to read the annotations
    module = type(sys)("contributed")
    monkeypatch.setitem(sys.modules, "contributed", module)
    exec(compile(block, "CONTRIBUTING.md", "exec"), module.__dict__)
    (family,) = [
        one for one in vars(module).values() if isinstance(one, type) and one.__module__ == "contributed"
    ]
    assert issubclass(family, Recommender)
    split = splits.random_holdout(datasets.synthetic(120, 40, 2_000), seed=0)
    model = family(device="cpu").fit(split.train)
    assert 0 < evaluate(model, split, metrics=["ndcg"])["ndcg@10"] < 1
    model.save(tmp_path / "m.pt")
    pd.testing.assert_frame_equal(load(tmp_path / "m.pt").recommend(k=3), model.recommend(k=3))
    history = split.train.item_ids.take([0, 1]).tolist()
    assert len(model.recommend_from_history(history, k=3)) == 3
    with pytest.raises(ValueError, match="power"):
        family(power=-1.0)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_and_targets_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:recsys_lib|tests|tools|book|benchmarks)/[\w/.-]*)`", text)
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    assert {
        target for target in re.findall(r"\bmake ([a-z-]+)", text) if target not in ("sure", "it")
    } <= targets
    assert "http" not in text.replace("https://doi.org/", "")


def test_interactions_are_reachable_from_the_package() -> None:
    assert recsys_lib.Interactions is Interactions
