"""Checks of arguments. Each one raises an error that names the argument, its value and what is allowed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return ``value`` as an int, or raise if it is not a whole number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, got {value!r} of type {type(value).__name__}.")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} must be {_range(low, high)}, got {value}.")
    return number


def check_number(
    name: str,
    value: Any,
    low: float,
    high: float | None = None,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Return ``value`` as a float, or raise if it is not a finite number in the range."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}.")
    number = float(value)
    too_low = number < low or (open_low and number == low)
    too_high = high is not None and (number > high or (open_high and number == high))
    if not math.isfinite(number) or too_low or too_high:
        raise ValueError(f"{name} must be {_range(low, high, open_low, open_high)}, got {value}.")
    return number


def check_flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool, or raise if it is not one: the text ``"False"`` would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r} of type {type(value).__name__}.")
    return bool(value)


def check_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return ``value``, or raise if it is not one of ``choices``."""
    allowed = list(choices)
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
    return str(value)


def _range(low: float, high: float | None, open_low: bool = False, open_high: bool = False) -> str:
    if high is None and low == -math.inf:
        return "a finite number"
    if high is None:
        return f"greater than {low}" if open_low else f"at least {low}"
    return f"between {low}{' (excluded)' if open_low else ''} and {high}{' (excluded)' if open_high else ''}"


def as_lists(history: Any) -> list[list[Any]]:
    """Make a list of histories of one or several; a tuple may be an id, so it does not count as a list."""
    if isinstance(history, Mapping | pd.DataFrame):
        raise TypeError(f"history must be a list of item ids, or of lists, got a {type(history).__name__}.")
    if isinstance(history, str | bytes) or not isinstance(history, Iterable):
        raise TypeError(f"history must be a list of item ids, got {history!r}: use [{history!r}].")
    entries = list(history)
    kinds = (list, set, frozenset, np.ndarray, pd.Series, pd.Index)
    if entries and isinstance(entries[0], kinds) and not isinstance(history, set | frozenset):
        for one in entries:
            if isinstance(one, str | bytes) or not isinstance(one, Iterable):
                raise TypeError(f"history mixes lists with {one!r}: give one list, or one for each person.")
        return [list(one) for one in entries]
    return [entries]
