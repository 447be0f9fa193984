"""Figures are drawn without a screen, and closed after every test."""

import matplotlib
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from recsys_lib.interactions import Interactions


@pytest.fixture(autouse=True)
def _no_figure_is_left_open():
    yield
    plt.close("all")


@pytest.fixture
def ratings():
    users = ["ann"] * 4 + ["bob"] * 3 + ["cem"] * 3
    items = ["a", "b", "c", "$d", "a", "b", "c", "a", "b", "e"]
    return Interactions.from_arrays(users, items, [5, 4, 3, 1, 5, 5, 2, 4, 3, 3], list(range(10)))
