import math

import pytest
import torch

from recsys_lib.histories import Histories
from recsys_lib.sampling import sample_unknown


@pytest.mark.parametrize("n", [1, 5, 20])
def test_sampled_items_are_unknown_distinct_and_uniform(n):
    known = Histories.from_lists([[0, 1, 2, 29], [], [5] * 3, list(range(10))] * 3000, n_items=30)
    drawn = sample_unknown(known, n, seed=0)
    assert drawn.shape == (12_000, n)
    assert ((drawn >= 0) & (drawn < 30)).all()
    assert (drawn.diff(dim=1) > 0).all()
    rows = torch.arange(12_000).repeat_interleave(n)
    assert not known.contains(rows, drawn.flatten()).any()
    for kind, n_free in enumerate((26, 30, 29, 20)):
        share = torch.bincount(drawn[kind::4].flatten(), minlength=30) / 3000
        expected = n / n_free
        free = torch.ones(30, dtype=torch.bool)
        free[known.select(torch.tensor([kind])).indices] = False
        spread = 5 * math.sqrt(max(expected * (1 - expected), 1e-9) / 3000)
        assert (share[free] - expected).abs().max() <= spread
        assert share[~free].sum() == 0


def test_sampling_depends_on_the_seed_only():
    known = Histories.from_lists([[1], [2, 3]], n_items=1000)
    assert torch.equal(sample_unknown(known, 50, 1), sample_unknown(known, 50, 1))
    assert not torch.equal(sample_unknown(known, 50, 1), sample_unknown(known, 50, 2))
