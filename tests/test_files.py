import os
import stat
import threading

import pytest
import torch

from recsys_lib._files import atomic_write
from recsys_lib._tensors import read_tensors
from recsys_lib.errors import FileFormatError


def test_bytes_and_text_are_written(tmp_path):
    with atomic_write(tmp_path / "a.bin") as file:
        file.write(b"\x00\xff")
    with atomic_write(tmp_path / "a.txt", "w") as file:
        file.write("naïve ☃")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "a.txt").read_bytes() == "naïve ☃".encode()
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "a.txt"]


def test_missing_folders_are_made(tmp_path):
    with atomic_write(tmp_path / "x" / "y" / "a.bin") as file:
        file.write(b"1")
    assert (tmp_path / "x" / "y" / "a.bin").read_bytes() == b"1"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_content(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write_half():
        with atomic_write(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_reader_sees_the_old_or_the_new_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_writers_at_the_same_time_do_not_mix(tmp_path):
    path, contents = tmp_path / "a.bin", [bytes([k]) * 100_000 for k in range(8)]

    def write(content):
        with atomic_write(path) as file:
            file.write(content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "atomic") as file:
        file.write(b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")]
    assert modes[0] == modes[1]


def test_tensors_come_back(tmp_path):
    torch.save({"a": torch.arange(3), "b": [1, "x"]}, tmp_path / "t.pt")
    contents = read_tensors(tmp_path / "t.pt")
    assert contents["a"].tolist() == [0, 1, 2]
    assert contents["b"] == [1, "x"]


def test_what_is_no_dictionary_of_tensors_is_refused(tmp_path):
    torch.save(torch.arange(3), tmp_path / "t.pt")
    with pytest.raises(FileFormatError, match=r"t\.pt .*it holds a Tensor"):
        read_tensors(tmp_path / "t.pt")
    with pytest.raises(FileNotFoundError, match=r"u\.pt"):
        read_tensors(tmp_path / "u.pt")


def test_a_folder_is_not_written_over(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"), atomic_write(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
