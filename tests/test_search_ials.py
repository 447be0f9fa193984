from __future__ import annotations

import numpy as np
import pytest

from benchmarks import search_ials, settings
from benchmarks.choose import Validation
from benchmarks.search_ials import CASES, NOISE, mean_ndcg, search
from recsys_lib import datasets, splits
from recsys_lib.models import IALS

CHOSEN = {
    "ms-ml100k": settings.IALS_MS_ML100K,
    "recbole-ml100k": settings.IALS_RECBOLE_ML100K,
    "ncf-ml1m-64": settings.IALS_NCF_ML1M_64,
    "ncf-ml1m-192": settings.IALS_NCF_ML1M_192,
}


def test_the_grid_is_searched_in_all_combinations_and_then_axis_by_axis():
    said: list[str] = []

    def worth(setting):  # the best y depends on x; z helps at 5, and hardly at 6; w does harm
        x, y = setting["x"], setting["y"]
        return x - (y - 10 * x) ** 2 + {0: 0, 5: 0.5, 6: 0.5 + NOISE / 2}[setting["z"]] - setting.get("w", 0)

    grid, axes = {"x": (1, 2), "y": (10, 20)}, {"z": (0, 5, 6), "w": (0.1, 0.2)}
    best = search(worth, {"z": 0, "q": "kept"}, grid, axes, said.append)
    assert best == {"z": 5, "q": "kept", "x": 2, "y": 20}
    assert len(said) == 4 + 2 + 2 + 1  # the start of an axis is not tried again
    assert said[-1].startswith("best: 2.5000")


def test_a_setting_is_worth_the_mean_over_parts_and_seeds():
    cuts = [splits.random_holdout(datasets.synthetic(60, 40, 900, seed=seed), seed=0) for seed in (0, 1)]
    validations = [Validation(cut) for cut in cuts]
    setting = {"factors": 4, "epochs": 2}
    values = [v.value(IALS(seed=seed, **setting).fit(v.split.train)) for v in validations for seed in (0, 1)]
    assert mean_ndcg(validations, setting) == pytest.approx(np.mean(values))


@pytest.mark.parametrize("name", CASES)
def test_the_settings_in_use_are_among_those_searched(name):
    case, chosen = CASES[name], CHOSEN[name]
    assert repr(IALS(**chosen)) != repr(IALS())
    for key, value in chosen.items():
        tried = [*case.grid.get(key, ()), *case.axes.get(key, ())]
        assert value in (tried if key in case.grid else [*tried, case.start.get(key)])


def test_missing_data_is_said_without_a_traceback(tmp_path, capsys):
    assert search_ials.main(["ncf-ml1m-64", "--data", str(tmp_path)]) == 1
    assert "ml-1m.train.rating" in capsys.readouterr().err
