from __future__ import annotations

import shutil

import numpy as np
import pytest

from benchmarks.ncf_files import find_folder, read
from recsys_lib.errors import DataError, FileFormatError, UnknownIdError

TRAIN = "0\t10\t5\t1\n0\t11\t3\t2\n1\t10\t4\t1\n1\t12\t1\t2\n"
TEST = "0\t12\t5\t9\n1\t13\t4\t9\n"
NEGATIVE = "(0,12)\t13\t12\n(1,13)\t11\t13\n"


@pytest.fixture
def folder(tmp_path):
    for name, text in (("train.rating", TRAIN), ("test.rating", TEST), ("test.negative", NEGATIVE)):
        (tmp_path / f"ml-1m.{name}").write_text(text)
    return tmp_path


def test_train_test_and_candidates(folder):
    data = read(folder)
    frame = data.split.train.to_dataframe()
    assert list(zip(frame["user"], frame["item"], strict=True)) == [(0, 10), (0, 11), (1, 10), (1, 12)]
    assert data.split.test.to_dataframe()["item"].tolist() == [12, 13]
    assert data.split.valid is None
    assert frame["rating"].tolist() == [5, 3, 4, 1]
    # The test item comes first, once; the others of the file follow; -1 fills the row up.
    items = data.split.train.item_ids.take([0, 1, 2, 3]).tolist()
    assert items == [10, 11, 12, 13]
    assert data.candidates.tolist() == [[2, 3], [3, 1]]
    assert data.n_dropped == 2


def test_rows_of_different_length_are_filled_up(folder):
    (folder / "ml-1m.test.negative").write_text("(0,12)\t13\t12\n(1,13)\t11\t12\n")
    data = read(folder)
    assert data.candidates.tolist() == [[2, 3, -1], [3, 1, 2]]
    assert data.n_dropped == 1


def test_the_order_of_users_in_the_file_plays_no_role(folder):
    (folder / "ml-1m.test.rating").write_text("".join(reversed(TEST.splitlines(keepends=True))))
    (folder / "ml-1m.test.negative").write_text("".join(reversed(NEGATIVE.splitlines(keepends=True))))
    assert read(folder).candidates.tolist() == [[2, 3], [3, 1]]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("train.rating", "", "train.rating"),
        ("train.rating", TRAIN + "1\tx\t4\t1\n", "damaged"),
        ("train.rating", TRAIN + "1\t1", "damaged"),
        ("train.rating", TRAIN + "1\t1\t4\t1\t7\n", "damaged"),
        ("train.rating", "0\t10\t5\n", "3 columns"),
        ("test.rating", TEST + "1\t12\t4\t9\n", "more than one line for user 1"),
        ("test.negative", NEGATIVE.splitlines()[0] + "\n", "1 lines, and 2 users"),
        ("test.negative", NEGATIVE.replace("(1,13)", "1,13"), r"line 2: expected \(user,item\)"),
        ("test.negative", NEGATIVE.replace("\t11", "\t1.5"), r"line 2: expected"),
        ("test.negative", "(0,12)\t13\n(1,13)\n", r"line 2: expected"),
        ("test.negative", NEGATIVE.replace("(1,13)", "(1,12)"), r"line 2 is about \(1,12\).*\(1,13\)"),
    ],
)
def test_damaged_files_are_refused(folder, name, text, words):
    (folder / f"ml-1m.{name}").write_text(text)
    with pytest.raises(FileFormatError, match=words):
        read(folder)


def test_a_test_item_that_is_in_train_is_refused(folder):
    (folder / "ml-1m.train.rating").write_text(TRAIN + "0\t12\t5\t3\n")
    with pytest.raises(DataError, match="repeat"):
        read(folder)


def test_an_unknown_item_to_rank_against_is_refused(folder):
    (folder / "ml-1m.test.negative").write_text(NEGATIVE.replace("\t11", "\t99"))
    with pytest.raises(UnknownIdError, match="99"):
        read(folder)


def test_the_folder_itself_or_its_parent(folder, tmp_path, monkeypatch):
    assert find_folder(folder) == folder
    inside = tmp_path / "data" / "ncf-ml-1m"
    inside.mkdir(parents=True)
    for file in folder.glob("ml-1m.*"):
        shutil.copy(file, inside)
    assert find_folder(tmp_path / "data") == inside
    monkeypatch.setenv("RECSYS_LIB_DATA", str(tmp_path / "data"))
    assert find_folder() == inside


def test_what_is_missing_is_named_with_a_way_out(folder):
    (folder / "ml-1m.test.negative").unlink()
    with pytest.raises(DataError) as error:
        find_folder(folder)
    text = str(error.value)
    assert f"{folder}: no ml-1m.test.negative\n" in text
    assert "neural_collaborative_filtering" in text
    assert "--data" in text


def test_the_small_files_of_these_tests(ncf_folder, ratings):
    data = read(ncf_folder)
    assert len(data.split.train) + len(data.split.test) == len(ratings)
    assert data.candidates.shape == (40, 6)
    assert np.all(data.candidates >= 0)
