"""Data with a known right answer.

It is a checkerboard: even users had even items, odd users odd items, and user k never had item k. For
a model that understands its users the one right recommendation for user k is thus item k. One more user
("nobody") and one more item ("unheard") are in the id space without a single interaction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from recsys_lib import Interactions

SIZE = 12
USERS = [f"u{k:02d}" for k in range(SIZE)]
ITEMS = [f"i{k:02d}" for k in range(SIZE)]
CATALOGUE = [*ITEMS, "unheard"]


def checkerboard(*, ratings: bool = False) -> Interactions:
    """Make the board; with ratings there are bad ones as well, for items of the other colour."""
    users, items = np.divmod(np.arange(SIZE**2), SIZE)
    same = (users + items) % 2 == 0
    kept = (users != items) & (same if not ratings else items != (users + 1) % SIZE)
    board = Interactions.from_arrays(
        np.append(np.array(USERS, dtype=object)[users[kept]], "nobody"),
        np.append(np.array(ITEMS, dtype=object)[items[kept]], "unheard"),
        np.append(np.where(same[kept], 5.0, 1.0), 3.0) if ratings else None,
    )
    return board.select(np.arange(len(board) - 1))


def per_user(frame: pd.DataFrame) -> dict[Any, list[Any]]:
    return {user: rows["item"].tolist() for user, rows in frame.groupby("user", sort=False)}
