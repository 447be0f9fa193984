"""What is left out where MXNet or matplotlib is not installed: what needs it, and its tests."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from recsys_lib.mx.loading import is_available

MXNET, MATPLOTLIB = is_available(), find_spec("matplotlib") is not None
ROOT = Path(__file__).parent
# One file of tests runs everywhere: it looks at what users see where MXNet is missing.
NEED_MXNET = {*ROOT.glob("recsys_lib/mx/*.py"), *ROOT.glob("tests/mx/test_*.py")}
NEED_MXNET -= {ROOT / "tests/mx/test_without_mxnet.py"}
collect_ignore = [] if MXNET else sorted(map(str, NEED_MXNET))
if not MATPLOTLIB:
    collect_ignore += [str(ROOT / "recsys_lib/plots"), str(ROOT / "tests/plots")]


def pytest_report_header() -> list[str]:
    """Say so, because the tests that are left out cannot."""
    return [
        "MXNet: tested" if MXNET else "MXNet: not here, so recsys_lib.mx is NOT TESTED",
        "matplotlib: tested" if MATPLOTLIB else "matplotlib: not here, so recsys_lib.plots is NOT TESTED",
    ]
