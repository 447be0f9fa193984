from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib.errors import DataError
from recsys_lib.histories import Histories
from recsys_lib.models.embeddings import IdEmbedding, categories_of, rows_of

FILMS = pd.DataFrame(
    {
        "title": ["Heat", "Up", "Alien", "Her"],
        "year": [1995.0, np.nan, 1979.0, 1995.0],
        "genres": ["Crime|Drama", "", None, "Drama"],
    }
)


def lists_of(categories: Histories) -> list[list[int]]:
    return [row.nonzero()[:, 0].tolist() for row in categories.to_dense()]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------- vectors


def test_without_categories_it_is_a_table():
    vectors = IdEmbedding(4, 3, generator=generator())
    assert dict(vectors.state_dict()).keys() == {"ids"}
    index = torch.tensor([[3, 0], [0, 1]])
    assert torch.equal(vectors(index), vectors.ids[index])
    assert torch.equal(vectors(index[0]), vectors.ids[index[0]])
    assert vectors.all() is vectors.ids


def test_categories_are_added_up():
    categories = Histories.from_lists([[0, 2], [], [1], [0, 1, 2]], n_items=4)
    vectors = IdEmbedding(4, 3, categories, init_std=1.0, generator=generator())
    assert vectors.state_dict().keys() == {"ids", "features", "indptr", "codes"}
    expected = vectors.ids + categories.to_dense() @ vectors.features
    torch.testing.assert_close(vectors.all(), expected)
    index = torch.tensor([[3, 1], [0, 0]])
    torch.testing.assert_close(vectors(index), expected[index])
    weights = torch.randn(2, 2, 3, generator=generator(1))
    (vectors(index) * weights).sum().backward()
    by_hand = torch.zeros(4, 3).index_add(0, index.flatten(), weights.view(-1, 3))
    torch.testing.assert_close(vectors.ids.grad, by_hand)
    torch.testing.assert_close(vectors.features.grad, categories.to_dense().T @ by_hand)


@pytest.mark.parametrize("n_categories", [0, 2])
def test_nobody_has_a_category(n_categories):
    vectors = IdEmbedding(3, 2, Histories.from_lists([[], [], []], n_categories), generator=generator())
    assert torch.equal(vectors.all(), vectors.ids)
    vectors(torch.tensor([0, 2])).sum().backward()
    assert vectors.ids.grad.tolist() == [[1, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize("categories", [None, Histories.from_lists([[0], [1], [0, 1]], 2)])
@pytest.mark.parametrize("index", [[1], [2, 0], [0, 1, 1, 2], [[0, 1, 2], [2, 2, 2]]])
def test_squared_lengths(categories, index):
    vectors = IdEmbedding(3, 5, categories, init_std=1.0, generator=generator())
    index = torch.tensor(index)
    lengths = vectors.squared_lengths(index)
    torch.testing.assert_close(lengths, vectors(index).square().sum(-1))
    (lengths.sum()).backward()
    found = vectors.ids.grad.clone()
    vectors.ids.grad = None
    vectors(index).square().sum().backward()
    torch.testing.assert_close(found, vectors.ids.grad)


def test_the_start_is_drawn_with_the_spread_asked_for():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    categories = Histories.from_lists([[0]] * 300, n_items=300)
    vectors = IdEmbedding(300, 50, categories, init_std=0.2, generator=generator(1))
    assert torch.equal(torch.get_rng_state(), before)
    for table in (vectors.ids, vectors.features):
        assert table.std().item() == pytest.approx(0.2, rel=0.05)
        assert abs(table.mean().item()) < 0.01
    again = IdEmbedding(300, 50, categories, init_std=0.2, generator=generator(1))
    assert torch.equal(vectors.all(), again.all())
    assert not torch.equal(vectors.ids, IdEmbedding(300, 50, generator=generator(2)).ids)


def test_the_lists_of_others_are_not_shared():
    categories = Histories.from_lists([[0], [1]], n_items=2)
    vectors = IdEmbedding(2, 3, categories, generator=generator())
    vectors.codes.zero_()
    assert categories.indices.tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 3, 2)])
def test_rows_of_any_table(shape):
    table = torch.randn(shape, generator=generator(), requires_grad=True)
    for index in (torch.tensor([2, 2, 0]), torch.tensor([[1], [3]]), torch.zeros(0, 2, dtype=torch.int64)):
        assert torch.equal(rows_of(table, index), table[index])
    rows_of(table, torch.tensor([[2, 2, 0]])).sum().backward()
    assert table.grad.view(4, -1)[:, -1].tolist() == [1, 0, 2, 0]


# ---------------------------------------------------------------------- categories of a table


def test_values_become_categories():
    categories = categories_of(FILMS, ["genres", "year"], "item")
    # Crime, Drama, then 1979, 1995.
    assert lists_of(categories) == [[0, 1, 3], [], [2], [1, 3]]
    assert categories.n_items == 4
    assert lists_of(categories_of(FILMS, ("year",), "item")) == [[1], [], [0], [1]]


def test_no_columns_no_categories():
    assert categories_of(FILMS, [], "item") is None
    assert categories_of(None, (), "user") is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None, None, None], [[], [], []]),
        ([np.nan] * 3, [[], [], []]),
        (["", "", ""], [[], [], []]),
        (["b", "a|b", "b|"], [[1], [0, 1], [1]]),
        (["a|a", "a", "a"], [[0], [0], [0]]),
        ([True, False, True], [[1], [0], [1]]),
        ([["x", "y"], [], ["y"]], [[0, 1], [], [1]]),
        ([("x",), None, ("y", None)], [[0], [], [1]]),
        (pd.array([3, None, 1], dtype="Int64"), [[1], [], [0]]),
        (pd.array(["q", None, "p|q"], dtype="string"), [[1], [], [0, 1]]),
        (pd.Categorical(["z", "y", None], categories=["z", "y", "unused"]), [[1], [0], []]),
        (pd.to_datetime(["2020-01-02", None, "2019-01-01"]), [[1], [], [0]]),
    ],
)
def test_columns_of_all_kinds(values, expected):
    table = pd.DataFrame({"f": values}, index=[7, 7, 9])  # the index of the table means nothing
    categories = categories_of(table, ["f"], "item")
    assert lists_of(categories) == expected
    assert categories.n_items == len({code for one in expected for code in one})
    vectors = IdEmbedding(3, 2, categories, generator=generator())
    assert vectors.all().isfinite().all()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            FILMS,
            r"asks for \['lenght'\], .* has item_features with the columns \['title', 'year', 'genres'\]",
        ),
        (None, r"item_features asks for \['year', 'lenght'\], and the training data has no item_features\."),
    ],
)
def test_missing_columns_are_named(table, words):
    with pytest.raises(DataError, match=words + r".*with_features\(\)"):
        categories_of(table, ["year", "lenght"], "item")
