"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]

PEOPLE = ["001", "002", "Zoë", "李雷", "eve"]
GOODS = ["tea", "jam", "bröd", "茶", "rice", "oil, olive"]


def error_of(result: tuple[int, str, str], status: int) -> str:
    """The message of a command that failed as it should: one line, and no traceback."""
    assert result[0] == status, result
    assert result[2].startswith("error: ")
    assert result[2].count("\n") == 1
    return result[2]
