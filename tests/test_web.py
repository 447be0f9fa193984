"""Models for a page: what is written is what was rounded, and rounding changes little."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from recsys_lib import datasets, web
from recsys_lib.errors import DataError, FileFormatError, NotFittedError
from recsys_lib.models import EASE, BottleneckAutoencoder, Popularity

TITLES = [f'"{i}" </script>\\ é' for i in range(120)]


@pytest.fixture(scope="module")
def data():
    return datasets.synthetic(300, 120, 9_000, seed=1)


@pytest.fixture(scope="module")
def fitted(data):
    net = BottleneckAutoencoder(layers=(24, 12), epochs=30, batch_size=64, device="cpu").fit(data)
    return {"net": net, "ease": EASE(l2=20, device="cpu").fit(data)}


@pytest.fixture(scope="module")
def path(fitted, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("web") / "films.js"
    web.write_models(path, **fitted, titles=TITLES[: data.n_items], at_least=20)
    return path


def test_the_scores_are_those_of_the_models_but_for_rounding(fitted, data, path):
    page = web.read_models(path, device="cpu")
    kept = page["ease"].item_ids.ids
    counts = fitted["ease"].popularity_.numpy()
    assert list(kept) == [item for item, n in zip(data.item_ids.ids, counts, strict=True) if n >= 20]
    assert 20 < len(kept) < data.n_items
    asked = [list(kept[:3]), list(kept[5:25])]
    for name, original in {**fitted, "popularity": Popularity(device="cpu").fit(data)}.items():
        lists = original.recommend_from_history(asked, k=30, items=kept).set_index(["user", "item"])["score"]
        rounded = page[name].recommend_from_history(asked, k=len(kept)).set_index(["user", "item"])["score"]
        error = np.abs(rounded[lists.index] - lists)
        assert error.max() < 0.05 * np.ptp(lists), name
        assert name == "popularity" or error.max() > 0


def test_weights_are_one_printable_character_each(path):
    values = np.linspace(-1, 1, 4001)
    characters = web._pack(values)
    assert json.dumps(characters) == f'"{characters}"'  # nothing to escape
    assert len(set(characters)) == 91
    assert np.allclose(web._unpack(characters), values, atol=1 / 45)
    assert web._pack(web._unpack(characters)) == characters
    assert web._unpack(web._pack(np.array([1e-3]))) > 0  # small weights do not vanish


def test_titles_are_data(path):
    text = path.read_text(encoding="utf-8")
    content = json.loads(text.removeprefix("window.filmModels = ").removesuffix(";\n"))
    assert set(content["titles"]) < set(TITLES)
    assert text.isascii()


def test_a_book_of_1300_films_stays_below_three_megabytes():
    net = {name: torch.rand(shape) for name, shape in {"a": (1300, 800), "b": (400, 800)}.items()}
    size = sum(len(json.dumps(web._table_to_json(w.numpy(), w[:, 0].numpy()))) for w in net.values())
    size += len(json.dumps(web._table_to_json(net["a"].numpy()[:, :400], net["a"][:, 0].numpy())))
    assert size + 1300 * 1299 // 2 + 1300 * 80 < 3_000_000


def test_what_cannot_be_written_or_read_is_refused(fitted, data, path, tmp_path):
    target, titles = tmp_path / "x.js", TITLES[: data.n_items]
    with pytest.raises(DataError, match="titles must have one entry"):
        web.write_models(target, **fitted, titles=["a"])
    with pytest.raises(DataError, match="at_least=1000 leaves 0 items"):
        web.write_models(target, **fitted, titles=titles, at_least=1000)
    with pytest.raises(NotFittedError):
        web.write_models(target, fitted["net"], EASE(), titles)
    other = EASE(device="cpu").fit(datasets.synthetic(50, 30, 400, seed=2))
    with pytest.raises(DataError, match="different items"):
        web.write_models(target, fitted["net"], other, titles)
    assert not target.exists()
    for text in ("", "window.filmModels = {};\n", path.read_text()[:-40]):
        target.write_text(text)
        with pytest.raises(FileFormatError, match=r"x\.js was not written by write_models"):
            web.read_models(target)


def test_a_file_keeps_to_its_limit(data, fitted, tmp_path):
    titles = TITLES[: data.n_items]
    target = tmp_path / "films.js"
    with pytest.raises(DataError, match=r"at_least=1 .* 120 items in 0\.0\d MB.*Raise at_least.* max_bytes"):
        web.write_models(target, **fitted, titles=titles, at_least=1, max_bytes=10_000)
    assert not target.exists()
    web.write_models(target, **fitted, titles=titles, max_bytes=10_000)
    assert 5_000 < target.stat().st_size <= 10_000
    kept = web.read_models(target, device="cpu")["ease"].item_ids.ids
    counts = dict(zip(data.item_ids.ids, fitted["ease"].popularity_.numpy(), strict=True))
    assert min(counts[item] for item in kept) >= max(n for item, n in counts.items() if item not in kept)
    with pytest.raises(DataError, match="raise max_bytes"):
        web.write_models(target, **fitted, titles=titles, max_bytes=100)
    assert web.MAX_BYTES == 3_000_000
