"""What is measured: data, settings, and who does it."""

from __future__ import annotations

from benchmarks.speed.cases import autoencoders, factors, lists, sampled
from benchmarks.speed.cases.case import Case

__all__ = ["CASES", "Case"]

CASES: dict[str, Case] = {
    case.name: case for family in (autoencoders, sampled, factors, lists) for case in family.CASES
}
