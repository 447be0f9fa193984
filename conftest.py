"""What is left out where MXNet cannot be installed: the package that needs it, and its tests."""

from __future__ import annotations

from pathlib import Path

from recsys_lib.mx.loading import is_available

MXNET = is_available()
ROOT = Path(__file__).parent
# One file of tests runs everywhere: it looks at what users see where MXNet is missing.
NEED_MXNET = {*ROOT.glob("recsys_lib/mx/*.py"), *ROOT.glob("tests/mx/test_*.py")}
NEED_MXNET -= {ROOT / "tests/mx/test_without_mxnet.py"}
collect_ignore = [] if MXNET else sorted(map(str, NEED_MXNET))


def pytest_report_header() -> str:
    """Say so, because the tests that are left out cannot."""
    return "MXNet: tested" if MXNET else "MXNet: not here, so recsys_lib.mx is NOT TESTED"
