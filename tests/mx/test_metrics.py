"""The metrics agree with recsys_lib.metrics, however the rows come in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_lib import metrics
from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.mx import NDCG, EvaluationIter, HitRate, SparseNegSampleIter, load_mxnet
from recsys_lib.ranking import top_k
from recsys_lib.splits import Split

mx = load_mxnet()


def nd(values: object, dtype: str = "float32") -> object:
    return mx.nd.array(np.asarray(values), dtype=dtype)


def expected(
    scores: np.ndarray, relevant: list[list[int]], k: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hit rate, NDCG and untruncated NDCG of each row by the functions of the library."""
    lists = Histories.from_lists(relevant, n_items=scores.shape[1])
    _, ranked = top_k(torch.from_numpy(scores), k)
    hit, n = metrics.hits(ranked, lists), lists.lengths()
    return metrics.hit_rate(hit, k, n), metrics.ndcg(hit, n, k), metrics.ndcg(hit, n, k, truncated=False)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_numbers_are_those_of_the_library(data: st.DataObject) -> None:
    """Any number of relevant items, ties everywhere, rows in any order, cut into batches anywhere."""
    n_users, n_items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 8))
    k = data.draw(st.integers(1, 10))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    scores = rng.integers(0, 4, (n_users, n_items)).astype(np.float32)
    label = rng.random((n_users, n_items)) < 0.4
    users, items = (part.ravel() for part in np.mgrid[:n_users, :n_items])
    order = rng.permutation(len(users))
    cuts = np.sort(rng.integers(0, len(order) + 1, data.draw(st.integers(0, 3))))
    composite = mx.metric.CompositeEvalMetric([HitRate(k), NDCG(k), NDCG(k, "whole", truncated=False)])
    for part in np.split(order, cuts):
        if len(part):
            u, i = users[part], items[part]
            composite.update([nd(label[u, i]), nd(u * 7 + 3, "int32"), nd(i, "int32")], [nd(scores[u, i])])
    wanted = expected(scores, [np.flatnonzero(row).tolist() for row in label], k)
    names, values = composite.get()
    assert names == [f"hit_rate@{k}", f"ndcg@{k}", "whole"]
    for metric, value, right in zip(composite.metrics, values, wanted, strict=True):
        assert value == pytest.approx(float(right.nanmean()), nan_ok=True)
        found = metric.per_list()
        assert found.index.tolist() == [u * 7 + 3 for u in range(n_users)]
        np.testing.assert_allclose(found.to_numpy(), right.numpy(), rtol=1e-14)


def test_by_hand() -> None:
    hit, gain = HitRate(2), NDCG(2)
    for metric in (hit, gain):
        # User 1: relevant at places 2 and 4. User 2: at place 3. User 3: nothing to find.
        metric.update([nd([0, 1, 0]), nd([1, 1, 2])], [nd([0.9, 0.8, 0.7])])
        metric.update([nd([0, 1, 0, 1, 0]), nd([1, 1, 2, 2, 3])], [nd([0.3, 0.2, 0.6, 0.5, 0.9])])
    assert hit.get() == ("hit_rate@2", 0.5)
    one = (1 / np.log2(3)) / (1 + 1 / np.log2(3))
    assert gain.get() == ("ndcg@2", pytest.approx(one / 2))
    assert hit.per_list().to_dict() == pytest.approx({1.0: 1.0, 2.0: 0.0, 3.0: np.nan}, nan_ok=True)


def test_ties_go_to_the_lower_item_or_the_earlier_row() -> None:
    metric = HitRate(1)
    label, scores = nd([1, 0]), nd([0.5, 0.5])
    metric.update([label, nd([0, 0]), nd([4, 2])], [scores])
    assert metric.get()[1] == 0
    metric.reset()
    metric.update([label, nd([0, 0])], [scores])
    assert metric.get()[1] == 1


def test_without_lists_each_update_is_one() -> None:
    metric = HitRate(1)
    metric.update([nd([1, 0])], [nd([0.9, 0.1])])
    metric.update(nd([1, 0]), nd([[0.1], [0.9]]))  # single arrays, and a column of scores
    assert metric.get() == ("hit_rate@1", 0.5)
    assert len(metric.per_list()) == 2


def test_lists_may_be_an_output_of_the_network() -> None:
    metric = HitRate(1)
    metric.update_dict({"label": nd([1, 0, 0])}, {"score": nd([0.1, 0.2, 0.9]), "user": nd([5, 5, 6])})
    assert metric.per_list().index.tolist() == [5, 6]
    chosen = NDCG(1, output_names=["score"], label_names=["label", "user"])
    chosen.update_dict(
        {"user": nd([5, 5]), "x": nd([1, 1]), "label": nd([0, 1])}, {"score": nd([1, 2]), "y": nd([1])}
    )
    assert chosen.get()[1] == 1


def test_nothing_is_waited_for_and_memory_may_be_reused() -> None:
    metric, scores = HitRate(1), nd([0.9, 0.1])
    metric.update([nd([1, 0])], [scores])
    scores[:] = nd([0.1, 0.9])
    assert metric.get()[1] == 1


def test_reset() -> None:
    metric = HitRate(1)
    assert np.isnan(metric.get()[1])
    assert np.isnan(metric.get_global()[1])
    metric.update([nd([1, 0])], [nd([0.9, 0.1])])
    metric.reset_local()
    assert np.isnan(metric.get()[1])
    metric.update([nd([0, 1])], [nd([0.9, 0.1])])
    assert metric.get()[1] == 0
    assert metric.get_global() == ("hit_rate@1", 0.5)
    assert metric.get_global_name_value() == [("hit_rate@1", 0.5)]
    metric.reset()
    assert np.isnan(metric.get()[1])
    assert metric.per_list().empty
    assert "hit_rate@1" in str(metric)


def test_made_by_name_and_from_settings() -> None:
    assert isinstance(mx.metric.create("hitrate", k=3), HitRate)
    ndcg = mx.metric.create("ndcg", k=3, truncated=False)
    copy = mx.metric.create(**ndcg.get_config())
    assert (type(copy), copy.k, copy.truncated, copy.name) == (NDCG, 3, False, "ndcg@3")
    both = mx.metric.create([HitRate(5), "ndcg"])
    both.update([nd([1, 0])], [nd([0.9, 0.1])])
    assert both.get() == (["hit_rate@5", "ndcg@10"], [1.0, 1.0])
    both.reset()
    assert np.isnan(both.get()[1]).all()


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="k must be at least 1"):
        HitRate(0)
    metric = HitRate(1)
    with pytest.raises(DataError, match=r"equally long, got shapes \[\(2,\), \(3,\)\]"):
        metric.update([nd([1, 0])], [nd([1, 2, 3])])
    with pytest.raises(DataError, match="got 3 labels and 2 predictions"):
        metric.update([nd([1])] * 3, [nd([1])] * 2)
    with pytest.raises(DataError, match="got 0 labels"):
        metric.update([], [nd([1])])
    metric.update([nd([1, 0])], [nd([np.nan, 1])])
    with pytest.raises(DataError, match="1 scores are NaN"):
        metric.get()
    metric.reset()
    metric.update([nd([1, 0])], [nd([2, 1])])
    metric.update([nd([1, 0]), nd([0, 0])], [nd([2, 1])])
    with pytest.raises(DataError, match="some updates named their lists"):
        metric.get()


def test_infinite_scores_are_ranked() -> None:
    metric = HitRate(1)
    metric.update([nd([0, 1, 0])], [nd([-np.inf, np.inf, 3e38])])
    assert metric.get()[1] == 1


def test_with_the_evaluation_iterator(split: Split) -> None:
    """Popularity as the score: the same by hand."""
    batches = EvaluationIter(split.test, SparseNegSampleIter(split.train), num_negatives=30)
    popularity = split.train.item_counts().astype(np.float32)
    composite = mx.metric.create([HitRate(5), NDCG(5)])
    for batch in batches:
        composite.update(batch.label, [nd(popularity[batch.data[1].asnumpy()[:, 0]])])
    wanted = []
    for items, purchase in zip(batches.items, batches.is_purchase, strict=True):
        order = sorted(range(31), key=lambda row: (-popularity[items[row]], items[row]))
        place = order.index(int(np.flatnonzero(purchase)[0])) + 1
        wanted.append((place <= 5, (place <= 5) / np.log2(place + 1)))
    np.testing.assert_allclose(composite.get()[1], np.mean(wanted, axis=0))
    assert composite.metrics[0].per_list().index.tolist() == list(range(len(batches)))
