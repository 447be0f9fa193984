"""A folder to run commands in, and little files to run them on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys_lib.cli import main
from tests.cli.common import GOODS, PEOPLE, Run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty folder; return the exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(one) for one in argv])
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Ids that must stay text, in any script; ratings and times."""
    rng = np.random.default_rng(0)
    rows = [
        {"user_id": user, "item_id": item, "rating": int(rng.integers(1, 6)), "timestamp": 1_600_000_000 + n}
        for n, (user, item) in enumerate((u, i) for u in PEOPLE for i in GOODS)
        if n % 4
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def shop(tmp_path: Path, table: pd.DataFrame) -> Path:
    path = tmp_path / "shop.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Whole numbers as ids, enough rows to compare models on."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "userId": np.repeat(np.arange(1, 41), 12),
            "movieId": np.concatenate(
                [rng.choice(np.arange(100, 130), 12, replace=False) for _ in range(40)]
            ),
            "stars": rng.integers(1, 11, 480) / 2,
            "ts": np.arange(480) + 10**9,
        }
    )
    path = tmp_path / "films.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def model_file(shop: Path, run: Run) -> Path:
    status, _, err = run("train", shop, "--model", "EASE", "--set", "l2=2", "--output", "model.pt")
    assert (status, err) == (0, "")
    return shop.with_name("model.pt")
