"""The training iterator: labels, negatives, epochs, seeds, features, MXNet's own tools."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from recsys_lib import Interactions
from recsys_lib.errors import DataError
from recsys_lib.mx import SparseNegSampleIter, load_mxnet
from recsys_lib.mx._free_items import FreeItems

mx = load_mxnet()


def rows(batches: SparseNegSampleIter, *, pad: bool = False) -> pd.DataFrame:
    """One epoch as a table, without the rows that fill up the last batch."""
    parts = []
    for batch in batches:
        users, items = (array.asnumpy() for array in batch.data)
        n = len(users) if pad else len(users) - batch.pad
        labels = batch.label[0].asnumpy()
        parts.append(pd.DataFrame({"user": users[:n, 0], "item": items[:n, 0], "label": labels[:n]}))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("batch_size", "num_negatives"), [(1, 3), (7, 4), (64, 1), (50, 4), (10_000, 2), (13, 0)]
)
def test_an_epoch(shop: Interactions, batch_size: int, num_negatives: int) -> None:
    batches = SparseNegSampleIter(shop, batch_size=batch_size, num_negatives=num_negatives)
    n = len(shop) * (1 + num_negatives)
    assert batches.num_samples == n
    sizes = [(len(b.data[0]), len(b.data[1]), len(b.label[0]), b.pad) for b in batches]
    assert len(sizes) == len(batches) == -(-n // batch_size)
    assert {size[:3] for size in sizes} == {(batch_size,) * 3}
    assert [size[3] for size in sizes] == [0] * (len(sizes) - 1) + [len(sizes) * batch_size - n]
    batches.reset()
    epoch = rows(batches)
    assert len(epoch) == n
    bought = set(zip(shop.users.tolist(), shop.items.tolist(), strict=True))
    positive = epoch[epoch["label"] == 1]
    assert sorted(zip(positive["user"], positive["item"], strict=True)) == sorted(bought)
    negative = epoch[epoch["label"] == 0]
    assert not bought & set(zip(negative["user"], negative["item"], strict=True))
    # Each purchase is followed by its negatives.
    groups = epoch.to_numpy().reshape(len(shop), 1 + num_negatives, 3)
    assert (groups[:, :, 0] == groups[:, :1, 0]).all()
    assert (groups[:, 0, 2] == 1).all()
    assert (groups[:, 1:, 2] == 0).all()


def test_types_and_descriptions(shop: Interactions) -> None:
    batches = SparseNegSampleIter(
        shop,
        user_features=["age", "city"],
        item_features=["shelf"],
        batch_size=32,
        label_name="softmax_label",
    )
    batch = next(batches)
    given = [
        (one.name, one.shape, np.dtype(one.dtype)) for one in batches.provide_data + batches.provide_label
    ]
    assert given == [
        ("user", (32, 3), np.dtype("int32")),
        ("item", (32, 2), np.dtype("int32")),
        ("softmax_label", (32,), np.dtype("float32")),
    ]
    arrays = [*batch.data, *batch.label]
    assert [(array.shape, np.dtype(array.dtype)) for array in arrays] == [one[1:] for one in given]
    assert (batch.label[0].asnumpy() == batches.getlabel()[0].asnumpy()).all()
    assert batches.batch_size == 32


def test_padding_repeats_the_start_of_the_epoch(shop: Interactions) -> None:
    batches = SparseNegSampleIter(shop, batch_size=100, num_negatives=0)
    epoch = rows(batches, pad=True)
    extra = len(epoch) - len(shop)
    assert extra > 0
    pd.testing.assert_frame_equal(epoch[-extra:].reset_index(drop=True), epoch[:extra])


@pytest.mark.parametrize(("at_once", "draws"), [(0, [8, 8, 8, 8]), (25, [16, 16]), (32, [24, 24])])
def test_negatives_are_made_for_some_batches_at_a_time(
    shop: Interactions, monkeypatch: pytest.MonkeyPatch, at_once: int, draws: list[int]
) -> None:
    """When one of them is asked for; how many it is changes neither the batches nor what a record holds."""

    def four(iterator: SparseNegSampleIter) -> list[tuple[list[np.ndarray], sp.csr_matrix, int]]:
        """Each batch, what was recorded after it, and how often something had been drawn by then."""
        found = []
        for _ in range(4):
            batch = next(iterator)
            found.append(([a.asnumpy() for a in [*batch.data, *batch.label]], iterator.drawn, len(drawn)))
        return found

    drawn: list[int] = []
    draw = FreeItems.draw
    monkeypatch.setattr(
        FreeItems, "draw", lambda self, users, rng: drawn.append(len(users)) or draw(self, users, rng)
    )
    expected = four(SparseNegSampleIter(shop, batch_size=10, record=True))
    drawn.clear()
    monkeypatch.setattr("recsys_lib.mx.iterators._ROWS", at_once)
    batches = SparseNegSampleIter(shop, batch_size=10, record=True)
    assert drawn == []
    found = four(batches)
    assert drawn == draws
    assert [times for _, _, times in found] == [-(-8 * batch // draws[0]) for batch in (1, 2, 3, 4)]
    for (arrays, record, _), (wanted, wanted_record, _) in zip(found, expected, strict=True):
        assert all((one == other).all() for one, other in zip(arrays, wanted, strict=True))
        assert (record != wanted_record).nnz == 0
    assert [record.sum() for _, record, _ in found] == [8, 16, 24, 32]


def test_seeds_and_epochs(shop: Interactions) -> None:
    def epochs(seed: int, n: int = 2, **options: bool) -> list[pd.DataFrame]:
        batches = SparseNegSampleIter(shop, batch_size=16, seed=seed, **options)
        found = []
        for number in range(n):
            assert batches.epoch == number
            found.append(rows(batches))
            batches.reset()
        return found

    first, second = epochs(0)
    again = epochs(0)
    pd.testing.assert_frame_equal(first, again[0])
    pd.testing.assert_frame_equal(second, again[1])
    assert (first != second).to_numpy().mean() > 0.3
    assert (first != epochs(1)[0]).to_numpy().mean() > 0.3
    # Another order and other negatives, whatever happened to be read of the epoch before.
    batches = SparseNegSampleIter(shop, batch_size=16, seed=0)
    next(batches)
    batches.reset()
    pd.testing.assert_frame_equal(rows(batches), second)
    # Without a shuffle the purchases come as they are, and the negatives still change.
    plain, next_plain = epochs(0, shuffle=False)
    purchases = plain[plain["label"] == 1]
    assert purchases["item"].tolist() == shop.items.tolist()
    assert (plain["user"] == next_plain["user"]).all()
    assert (plain["item"] != next_plain["item"]).mean() > 0.3


def test_reset_before_the_first_batch_does_nothing(shop: Interactions) -> None:
    batches, other = (SparseNegSampleIter(shop, batch_size=16) for _ in range(2))
    other.reset()
    other.reset()
    pd.testing.assert_frame_equal(rows(batches), rows(other))
    assert other.epoch == 0
    with pytest.raises(StopIteration):
        next(other)
    other.reset()
    assert other.epoch == 1
    with pytest.raises(DataError, match=r"call next\(\)"):
        other.getdata()


def test_global_generators_are_not_touched(shop: Interactions) -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    mx.random.seed(5)
    expected = mx.nd.random.uniform(shape=(3,)).asnumpy()
    mx.random.seed(5)
    rows(SparseNegSampleIter(shop))
    np.testing.assert_array_equal(mx.nd.random.uniform(shape=(3,)).asnumpy(), expected)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


# ---------------------------------------------------------------------- the record


def test_record(shop: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_lib.mx.iterators._PENDING", 100)
    batches = SparseNegSampleIter(shop, batch_size=37, num_negatives=3, record=True)
    assert batches.drawn.nnz == 0
    expected = np.zeros((shop.n_users, shop.n_items), dtype=np.int64)
    for _ in range(4):
        epoch = rows(batches, pad=True)
        negative = epoch[epoch["label"] == 0]
        np.add.at(expected, (negative["user"].astype(int), negative["item"].astype(int)), 1)
        np.testing.assert_array_equal(batches.drawn.toarray(), expected)
        batches.reset()
    assert batches.drawn.multiply(batches.positives).nnz == 0
    batches.drawn.data[:] = 0
    assert batches.drawn.sum() == expected.sum()


def test_no_record_unless_asked_for(shop: Interactions) -> None:
    batches = SparseNegSampleIter(shop)
    next(batches)
    with pytest.raises(DataError, match="record=True"):
        batches.drawn  # noqa: B018


# ---------------------------------------------------------------------- ids and features


def test_a_data_frame_and_interactions_give_the_same(purchases: pd.DataFrame, shop: Interactions) -> None:
    features = {"user_features": ["age", "city"], "item_features": ["shelf"]}
    one = SparseNegSampleIter(purchases, **features, batch_size=50)
    other = SparseNegSampleIter(shop, **features, batch_size=50)
    assert one.user_vocab_sizes == other.user_vocab_sizes == (30, 4, 3)
    assert one.item_vocab_sizes == other.item_vocab_sizes == (shop.n_items, 5)
    np.testing.assert_array_equal(one.user_table, other.user_table)
    np.testing.assert_array_equal(one.item_table, other.item_table)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a.data + a.label, b.data + b.label, strict=True):
            np.testing.assert_array_equal(x.asnumpy(), y.asnumpy())


def test_codes_are_those_of_the_categories(purchases: pd.DataFrame) -> None:
    batches = SparseNegSampleIter(
        purchases, user_features=["city", "age"], item_features=["shelf"], batch_size=99
    )
    people = purchases.drop_duplicates("user").set_index("user")
    cities = ["Oslo", "Rome", None]  # sorted; a missing one is the last
    ids = batches.interactions.user_ids
    for index, city, age in batches.user_table.tolist():
        described = people.loc[ids.take([index])[0]]
        assert cities[city] == (described["city"] if isinstance(described["city"], str) else None)
        assert described["age"] == 20 + 10 * age
    batch = next(batches)
    for table, array in zip((batches.user_table, batches.item_table), batch.data, strict=True):
        codes = array.asnumpy()
        np.testing.assert_array_equal(codes, table[codes[:, 0]])
        assert (
            codes.max(0)
            < np.array(batches.user_vocab_sizes if array is batch.data[0] else batches.item_vocab_sizes)
        ).all()


def test_other_names_of_columns(purchases: pd.DataFrame) -> None:
    renamed = purchases.rename(columns={"user": "who", "item": "what"})
    batches = SparseNegSampleIter(renamed, user="who", item="what", user_features=["age"])
    assert batches.user_vocab_sizes == (30, 4)
    twice = pd.concat([purchases, purchases])
    assert SparseNegSampleIter(twice).positives.max() == 1


def test_bad_input_is_named(purchases: pd.DataFrame, shop: Interactions) -> None:
    for options, error, words in (
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"num_negatives": -1}, ValueError, "num_negatives must be at least 0"),
        ({"seed": 1.5}, TypeError, "seed must be a whole number"),
        ({"user_features": "age"}, TypeError, "user_features must be a list"),
        ({"user_features": ["height"]}, DataError, "user_features asks for \\['height'\\]"),
        ({"item_features": ["shelf", "no"]}, DataError, "item_features asks for \\['no'\\]"),
        ({"user": "who"}, DataError, "user='who' is not a column"),
    ):
        with pytest.raises(error, match=words):
            SparseNegSampleIter(purchases, **options)
    with pytest.raises(DataError, match="the data has \\['age', 'city'\\]"):
        SparseNegSampleIter(shop, user_features=["height"])
    with pytest.raises(DataError, match="no features"):
        SparseNegSampleIter(Interactions.from_arrays([1], [2]), item_features=["x"], num_negatives=0)
    with pytest.raises(TypeError, match="must be a DataFrame"):
        SparseNegSampleIter([("a", "x")])
    with pytest.raises(DataError, match="no purchases"):
        SparseNegSampleIter(shop.select(shop.users < 0))


def test_two_descriptions_of_one_user(purchases: pd.DataFrame) -> None:
    changed = purchases.copy()
    changed.loc[changed["user"] == "u00", "age"] = range(50, 70)
    with pytest.raises(
        DataError, match=r"1 user\(s\) are described in two ways, such as 'u00' by 'age': \[50, 51\]"
    ):
        SparseNegSampleIter(changed, user_features=["city", "age"])
    SparseNegSampleIter(changed, user_features=["city"])


def test_a_user_who_bought_everything() -> None:
    x = Interactions.from_arrays(list("aaab"), [1, 2, 3, 1])
    with pytest.raises(DataError, match=r"user 'a' with 0.*num_negatives=0"):
        SparseNegSampleIter(x)
    assert len(list(SparseNegSampleIter(x, num_negatives=0, batch_size=2))) == 2


# ---------------------------------------------------------------------- MXNet's own tools


@pytest.mark.filterwarnings("ignore:setDaemon:DeprecationWarning")  # MXNet's thread asks for it
def test_prefetching_and_resizing(shop: Interactions) -> None:
    plain = [batch.data[1].asnumpy() for batch in SparseNegSampleIter(shop, batch_size=40)]
    prefetched = mx.io.PrefetchingIter(SparseNegSampleIter(shop, batch_size=40))
    for array, batch in zip(plain, prefetched, strict=True):
        np.testing.assert_array_equal(batch.data[1].asnumpy(), array)
    resized = mx.io.ResizeIter(SparseNegSampleIter(shop, batch_size=40), 3)
    for array, batch in zip(plain, resized, strict=False):
        np.testing.assert_array_equal(batch.data[1].asnumpy(), array)
