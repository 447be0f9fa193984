import json
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

import recsys_lib
from recsys_lib import Interactions
from recsys_lib.errors import DataError, FileFormatError
from recsys_lib.models import EASE, ItemKNN, Popularity
from recsys_lib.models.saving import VERSION


def fitted(users=("ann", "ann", "bob"), items=("tea", "jam", "tea"), model=None):
    return (model or ItemKNN()).fit(Interactions.from_arrays(list(users), list(items)))


class RunsOnLoad:
    """What a hostile pickle looks like: loading it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_code_in_a_file_is_run(tmp_path):
    hostile, witness = tmp_path / "model.pt", tmp_path / "was_here"
    as_tensor_file = RunsOnLoad(witness)
    torch.save({"header": as_tensor_file}, hostile)
    with pytest.raises(FileFormatError, match="damaged, or was not written by this library"):
        recsys_lib.load(hostile)
    hostile.write_bytes(pickle.dumps(as_tensor_file))
    with pytest.raises(FileFormatError):
        recsys_lib.load(hostile)
    assert not witness.exists()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("user,item\n1,2\n"),
        lambda path: zipfile.ZipFile(path, "w").close(),
        lambda path: zipfile.ZipFile(path, "w").writestr("data.pkl", b"nonsense"),
        lambda path: np.savez(path.open("wb"), a=np.arange(3)),
        lambda path: torch.save(torch.arange(3), path),
        lambda path: torch.save({"a": 1}, path),
        lambda path: torch.save({"header": "[1, 2]"}, path),
        lambda path: torch.save({"header": "{}"}, path),
        lambda path: path.mkdir(),
    ],
    ids=["empty", "text", "empty zip", "foreign zip", "npz", "tensor", "dict", "list", "no format", "folder"],
)
@pytest.mark.filterwarnings("ignore:unclosed file")
def test_foreign_files_are_refused(write, tmp_path):
    path = tmp_path / "model.pt"
    write(path)
    with pytest.raises(FileFormatError, match=r"model\.pt"):
        recsys_lib.load(path)


def test_compressed_archives_are_not_unpacked(tmp_path):
    fitted().save(tmp_path / "model.pt")
    with (
        zipfile.ZipFile(tmp_path / "model.pt") as archive,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    with pytest.raises(FileFormatError, match="compressed"):
        recsys_lib.load(tmp_path / "packed.pt")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt"):
        recsys_lib.load(tmp_path / "nowhere.pt")


def test_a_later_format_is_refused_by_its_number(tmp_path):
    path = tmp_path / "model.pt"
    fitted().save(path)
    contents = torch.load(path, weights_only=True)
    header = json.loads(contents["header"])
    contents["header"] = json.dumps(header | {"version": VERSION + 1})
    torch.save(contents, path)
    with pytest.raises(FileFormatError, match=rf"version {VERSION + 1}, .* up to {VERSION}: update it"):
        recsys_lib.load(path)


def test_a_wrong_device_is_refused_before_reading(tmp_path):
    with pytest.raises(ValueError, match="device='nonsense'"):
        recsys_lib.load(tmp_path / "nowhere.pt", device="nonsense")


@pytest.mark.parametrize(
    "ids",
    [
        [3, 1, 2**62, -5],
        [0.5, -1.25, 3.0, 1e300],
        ["ann", "Ünï", "", "a\nb"],
        [("a", 1), ("a", 2), ("b", 1), ("c", 0)],
    ],
    ids=["int", "float", "str", "tuple"],
)
def test_ids_come_back_as_they_were(ids, tmp_path):
    if isinstance(ids[0], tuple):
        column = pd.Series(ids)
        model = ItemKNN().fit(Interactions.from_arrays(column, column[::-1].reset_index(drop=True)))
    else:
        model = fitted(ids, ids[::-1])
    model.save(tmp_path / "model.pt")
    loaded = recsys_lib.load(tmp_path / "model.pt")
    assert loaded.user_ids == model.user_ids
    assert loaded.item_ids == model.item_ids
    assert loaded.user_ids.ids.dtype == model.user_ids.ids.dtype
    assert [type(value) for value in loaded.user_ids.ids[:2]] == [type(v) for v in model.user_ids.ids[:2]]


def test_ids_that_json_cannot_hold_are_refused_and_no_file_is_left(tmp_path):
    model = fitted([True, False, True], ["tea", "tea", "jam"])
    with pytest.raises(DataError, match=r"user ids of type bool .* cannot be saved"):
        model.save(tmp_path / "model.pt")
    assert not any(tmp_path.iterdir())


def test_numbers_of_numpy_can_be_parameters(tmp_path):
    model = fitted(model=ItemKNN(neighbours=np.int64(7), shrinkage=np.float32(0.5), seed=np.int32(3)))
    model.save(tmp_path / "model.pt")
    loaded = recsys_lib.load(tmp_path / "model.pt")
    assert (loaded.neighbours, loaded.shrinkage, loaded.seed) == (7, 0.5, 3)


def test_a_failing_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.pt"
    fitted().save(path)
    before = path.read_bytes()

    def fail(contents, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        fitted(model=EASE()).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


def test_weights_of_another_catalogue_are_refused(tmp_path):
    for model in (EASE(), ItemKNN()):
        path = tmp_path / "model.pt"
        fitted(model=model).save(path)
        contents = torch.load(path, weights_only=True)
        for key in [key for key in contents if key in ("state.weights", "state.indptr")]:
            contents[key] = contents[key][:-1].clone()
        torch.save(contents, path)
        with pytest.raises(FileFormatError, match=f"complete {model.name}"):
            recsys_lib.load(path)


def test_the_device_is_not_part_of_the_model(tmp_path):
    fitted(model=Popularity(device="cpu")).save(tmp_path / "model.pt")
    assert recsys_lib.load(tmp_path / "model.pt").device == "auto"
    assert recsys_lib.load(tmp_path / "model.pt", device="cpu").device == "cpu"
