"""A small shop, with and without features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys_lib import Interactions, datasets, splits


@pytest.fixture(scope="session")
def purchases() -> pd.DataFrame:
    """Text ids, features of both sides; user "u00" bought 20 of the 24 items."""
    rng = np.random.default_rng(0)
    bought = {u: rng.choice(24, 20 if u == 0 else rng.integers(1, 9), replace=False) for u in range(30)}
    rows = [(f"u{u:02}", f"i{i:02}") for u, items in bought.items() for i in items]
    frame = pd.DataFrame(rows, columns=["user", "item"]).sample(frac=1, random_state=1, ignore_index=True)
    number = frame["user"].str[1:].astype(int)
    frame["age"] = number % 4 * 10 + 20
    frame["city"] = np.array(["Rome", "Oslo", None], dtype=object)[number % 3]
    frame["shelf"] = frame["item"].str[1:].astype(int) % 5
    return frame


@pytest.fixture(scope="session")
def shop(purchases: pd.DataFrame) -> Interactions:
    """The same, as interactions with features."""
    x = Interactions.from_dataframe(purchases)
    people = purchases.drop_duplicates("user").set_index("user")[["age", "city"]]
    goods = purchases.drop_duplicates("item").set_index("item")[["shelf"]]
    return x.with_features(users=people, items=goods)


@pytest.fixture(scope="session")
def split() -> splits.Split:
    """Something to learn: 120 people, 150 items."""
    return splits.leave_last_out(datasets.synthetic(120, 150, 2_400, seed=3))
