"""The sheet of paper against numbers that are worked out by hand."""

from __future__ import annotations

import pytest

from benchmarks.sharded_on_paper import step_on_paper


def test_a_step_worked_out_by_hand() -> None:
    """10 GB in 2 GPUs; a million vectors of 1,000 bytes are 1 GB."""
    found = step_on_paper(
        2, table_gb=10, dim=250, examples=500_000, lookups=2, memory_gb_s=1_000, network_gb_s=100
    )
    assert found["held GB"] == pytest.approx(4 * 5 + 2)
    assert found["lazy held GB"] == pytest.approx(3 * 5 + 0.5 + 2)
    assert found["sent GB"] == pytest.approx(1.0)  # half of a GB, there and back
    assert found["all-to-all GB"] == pytest.approx(0.5)
    assert found["memory GB"] == pytest.approx(10 * 5 + 11)
    assert found["memory ms"] == pytest.approx(61)
    assert found["lazy memory ms"] == pytest.approx(10 * 0.5 + 11)
    assert found["network ms"] == pytest.approx(10)
    assert (found["bound"], found["lazy bound"]) == ("memory", "memory")


def test_the_limit_moves_from_memory_to_network() -> None:
    for gpus in (8, 64):
        found = step_on_paper(gpus)
        assert (found["bound"], found["lazy bound"]) == ("memory", "network")
    assert step_on_paper(1)["sent GB"] == 0
