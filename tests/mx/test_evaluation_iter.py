"""One batch for each held-out purchase."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from recsys_lib import Interactions
from recsys_lib.errors import DataError, UnknownIdError
from recsys_lib.mx import EvaluationIter, SparseNegSampleIter
from recsys_lib.splits import Split


def test_each_batch_is_a_purchase_among_unknown_items(split: Split) -> None:
    train = SparseNegSampleIter(split.train)
    batches = EvaluationIter(split.test, train, num_negatives=20, exclude=split.valid)
    known = sum(part.to_csr() for part in (split.train, split.valid, split.test)).toarray()
    assert len(batches) == len(split.test)
    for number, batch in enumerate(batches):
        users, items = (array.asnumpy()[:, 0] for array in batch.data)
        label, name = (array.asnumpy() for array in batch.label)
        assert (users == split.test.users[number]).all()
        assert items[label == 1].tolist() == [split.test.items[number]]
        assert label.sum() == 1
        assert (name == number).all()
        assert len(set(items)) == len(items) == 21
        assert (known[users, items] == label).all()
        assert (np.diff(items) > 0).all()
        assert batch.pad == 0
    assert number == len(split.test) - 1
    shapes = [tuple(one.shape) for one in batches.provide_data + batches.provide_label]
    assert shapes == [tuple(array.shape) for array in [*batch.data, *batch.label]]


def test_all_epochs_are_the_same_and_seeds_are_not(split: Split) -> None:
    train = SparseNegSampleIter(split.train)
    batches = EvaluationIter(split.test, train, num_negatives=10, seed=1)
    first = [batch.data[1].asnumpy() for batch in batches]
    with pytest.raises(StopIteration):
        next(batches)
    batches.reset()
    np.testing.assert_array_equal(first, [batch.data[1].asnumpy() for batch in batches])
    np.testing.assert_array_equal(batches.items, np.stack(first)[:, :, 0])
    same = EvaluationIter(split.test, train, num_negatives=10, seed=1)
    np.testing.assert_array_equal(batches.items, same.items)
    other = EvaluationIter(split.test, train, num_negatives=10, seed=2)
    assert (batches.items != other.items).any()


def test_negatives_of_training_are_left_out(split: Split) -> None:
    train = SparseNegSampleIter(split.train, num_negatives=1, record=True)
    with pytest.raises(DataError, match="has drawn none yet"):
        EvaluationIter(split.test, train, num_negatives=10)
    for _ in train:
        pass
    drawn = train.drawn.toarray() > 0
    batches = EvaluationIter(split.test, train, num_negatives=10)
    others = ~batches.is_purchase
    assert not (drawn[batches.users[:, None], batches.items] & others).any()
    # Without the record some of them come up.
    plain = EvaluationIter(split.test, SparseNegSampleIter(split.train), num_negatives=10)
    assert (drawn[plain.users[:, None], plain.items] & ~plain.is_purchase).any()
    # A purchase that was drawn as a negative, as training could not know, is evaluated all the same.
    assert batches.is_purchase.sum() == len(split.test)


def test_the_rate_of_training(split: Split) -> None:
    train = SparseNegSampleIter(split.train, num_negatives=4)
    assert EvaluationIter(split.test, train, num_negatives="train").batch_size == 5
    with pytest.raises(ValueError, match="num_negatives must be one of 'train'"):
        EvaluationIter(split.test, train, num_negatives="test")
    with pytest.raises(ValueError, match="num_negatives must be at least 1"):
        EvaluationIter(split.test, SparseNegSampleIter(split.train, num_negatives=0), num_negatives="train")


def test_several_purchases_of_a_user_and_features(purchases: pd.DataFrame) -> None:
    held_out = purchases.groupby("user").head(2)
    rest = purchases.drop(held_out.index)
    rest = pd.concat([rest, purchases.drop_duplicates("user"), purchases.drop_duplicates("item")])
    train = SparseNegSampleIter(rest, user_features=["age"], item_features=["shelf"])
    batches = EvaluationIter(held_out, train, num_negatives=3)
    assert len(batches) == len(held_out)
    for batch in batches:
        for table, array in zip((train.user_table, train.item_table), batch.data, strict=True):
            codes = array.asnumpy()
            np.testing.assert_array_equal(codes, table[codes[:, 0]])
    ids = train.interactions
    wanted = list(zip(held_out["user"], held_out["item"], strict=True))
    users = ids.user_ids.take(batches.users)
    items = ids.item_ids.take(batches.items[batches.is_purchase])
    assert list(zip(users, items, strict=True)) == wanted


def test_too_few_items_are_left(purchases: pd.DataFrame) -> None:
    train = SparseNegSampleIter(purchases, record=True)
    held_out = purchases[purchases["user"] == "u00"].head(1)  # who bought 20 of the 24 items
    plain = SparseNegSampleIter(purchases)
    assert EvaluationIter(held_out, plain, num_negatives=4).batch_size == 5
    with pytest.raises(
        DataError, match="fewer than 5 of the 24 items left to draw, the first is user 'u00' with 4"
    ):
        EvaluationIter(held_out, plain, num_negatives=5)
    for _ in range(20):
        for _ in train:
            pass
        train.reset()
    with pytest.raises(
        DataError, match=r"'u00' with 0\. Use a smaller num_negatives than 1\. \(What training"
    ):
        EvaluationIter(held_out, train, num_negatives=1)


def test_ids_must_be_known(purchases: pd.DataFrame, shop: Interactions) -> None:
    train = SparseNegSampleIter(purchases)
    new = pd.DataFrame({"user": ["u00", "eve"], "item": ["i01", "i02"]})
    with pytest.raises(UnknownIdError, match="'eve'"):
        EvaluationIter(new, train, num_negatives=1)
    with pytest.raises(DataError, match="test and train must share one id space"):
        EvaluationIter(Interactions.from_arrays([1], [2]), train, num_negatives=1)
    with pytest.raises(DataError, match="exclude and train must share one id space"):
        EvaluationIter(shop, train, num_negatives=1, exclude=Interactions.from_arrays([1], [2]))
    with pytest.raises(TypeError, match="must be a DataFrame or Interactions, got list"):
        EvaluationIter([("u00", "i01")], train, num_negatives=1)
    with pytest.raises(DataError, match=r"call next\(\)"):
        EvaluationIter(shop, train, num_negatives=1).getdata()
    with pytest.raises(DataError, match="test holds no purchases"):
        EvaluationIter(shop.select(shop.users < 0), train, num_negatives=1)
