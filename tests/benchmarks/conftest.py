"""Small data in place of MovieLens, and in the file format of the authors of NCF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import settings
from benchmarks.tables import ncf_ml1m
from recsys_lib import Interactions, splits


@pytest.fixture
def ratings() -> Interactions:
    random = np.random.default_rng(0)
    filled = random.random((40, 30)) < 0.4
    users, items = filled.nonzero()
    stars = np.clip(np.rint(3 + random.normal(size=40)[users] + random.normal(size=len(users))), 1, 5)
    return Interactions.from_arrays(users, items, stars, np.arange(len(users)))


@pytest.fixture
def ncf_folder(ratings: Interactions, tmp_path: Path) -> Path:
    """The last rating of each user is test, and competes with five items that the user has not rated."""
    parts = splits.leave_last_out(ratings, valid=False)
    folder = tmp_path / "ncf-ml-1m"
    folder.mkdir()
    for name, part in (("train", parts.train), ("test", parts.test)):
        rows = zip(part.users, part.items, part.ratings, part.timestamps, strict=True)
        text = "".join(f"{u}\t{i}\t{r:.0f}\t{t}\n" for u, i, r, t in rows)
        (folder / f"ml-1m.{name}.rating").write_text(text)
    known = ratings.to_csr().toarray() > 0
    lines = []
    for user, item in zip(parts.test.users, parts.test.items, strict=True):
        others = np.flatnonzero(~known[user])[:5]
        lines.append("\t".join([f"({user},{item})", *map(str, others)]) + "\n")
    (folder / "ml-1m.test.negative").write_text("".join(lines))
    return folder


@pytest.fixture
def small(ratings: Interactions, ncf_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make all tables run on the small data; return what to give them as folder."""
    monkeypatch.setattr("recsys_lib.datasets.load", lambda name, folder: ratings)
    monkeypatch.setattr(ncf_ml1m, "SIZES", (len(ratings) - 40, 40, 30))
    monkeypatch.setattr(ncf_ml1m, "CANDIDATES", 6)
    for name, chosen in vars(settings).items():
        if name.isupper():
            smaller = {"epochs": 2, "pretrain_epochs": 2, "factors": 4, "width": 8, "layers": (8,)}
            known = {key: value for key, value in smaller.items() if key in chosen}
            monkeypatch.setattr(settings, name, chosen | known)
    return ncf_folder
