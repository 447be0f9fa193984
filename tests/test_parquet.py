"""Parquet files: sorted on the disk, mapped, and the same as a data frame in memory."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recsys_lib import Interactions, _shuffling, datasets, evaluate, splits
from recsys_lib.datasets import _convert
from recsys_lib.errors import DataError, FileFormatError, UnknownIdError
from recsys_lib.models import BPR, EASE, AutoRec, BiasedMF, LogisticMF, MatrixFactorization, MultDAE
from recsys_lib.training import shuffled

duckdb = pytest.importorskip("duckdb")


def write(frame: pd.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        con.register("frame", frame)
        con.execute(f"COPY (FROM frame) TO '{path}' (FORMAT parquet)")
    return path


def table(n: int, seed: int, users: int = 300, items: int = 90) -> pd.DataFrame:
    """Rows in random order; about a third of the pairs come back."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user_id": random.integers(0, users, n) * 3 - 50,
            "item_id": random.integers(0, items, n),
            "rating": random.integers(1, 11, n) / 2,
            "timestamp": random.integers(0, 40, n),
        }
    )


IDS = {
    "whole": lambda column: column,
    "small": lambda column: column.astype(np.int16),
    "float": lambda column: column / 4,
    "text": lambda column: "ü☃ " + column.astype(str),
    "category": lambda column: ('"' + column.astype(str)).astype("category"),
}


def in_order(x: Interactions) -> Interactions:
    return x.select(np.lexsort((x.items, x.users)))


def assert_same(x: Interactions, y: Interactions) -> None:
    assert (x.user_ids, x.item_ids) == (y.user_ids, y.item_ids)
    for name in ("users", "items", "ratings", "timestamps"):
        one, other = getattr(x, name), getattr(y, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype, name
            assert (one == other).all(), name


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_convert, "_CHUNKS", 1)


@pytest.fixture
def mapped(tmp_path: Path) -> Interactions:
    return datasets.convert(
        write(table(9000, 1), tmp_path / "log.parquet"), tmp_path / "folder", duplicates="last"
    )


@pytest.fixture
def held(mapped: Interactions) -> Interactions:
    """The same in memory."""
    return in_order(Interactions.from_dataframe(table(9000, 1), duplicates="last"))


# ------------------------------------------------------------------ the same as in memory


@pytest.mark.parametrize(
    ("kind", "policy"),
    [*zip(IDS, ["first", "last", "sum", "mean", "max"], strict=True), ("text", "first")],
)
def test_a_converted_file_equals_the_data_frame(tmp_path, kind, policy):
    frame = table(9000, 7)
    frame = frame.assign(user_id=IDS[kind](frame["user_id"]), item_id=IDS[kind](frame["item_id"]))
    path = write(frame, tmp_path / "log.parquet")
    x = Interactions.from_dataframe(frame, duplicates=policy)
    assert len(x) < len(frame)
    assert_same(datasets.convert(path, tmp_path / "out", duplicates=policy, memory=64), in_order(x))
    assert_same(Interactions.open(tmp_path / "out", check=True), in_order(x))
    assert_same(Interactions.from_parquet(path, duplicates=policy), x)


@pytest.mark.parametrize("policy", ["first", "sum", "mean"])
def test_without_ratings_and_times(tmp_path, policy):
    frame = table(5000, 3)[["user_id", "item_id"]]
    path = write(frame, tmp_path / "log.parquet")
    x = Interactions.from_dataframe(frame, duplicates=policy)
    assert_same(datasets.convert(path, tmp_path / "out", duplicates=policy), in_order(x))
    frame = table(5000, 3).drop(columns="timestamp")
    path = write(frame, tmp_path / "rated.parquet")
    x = Interactions.from_dataframe(frame, duplicates=policy)
    assert_same(datasets.convert(path, tmp_path / "rated", duplicates=policy), in_order(x))


def test_a_pair_that_fills_several_parts(tmp_path):
    frame = pd.DataFrame({"user": [1] * 9000 + [2], "item": 5, "rating": [1.0, 3.0, 2.0] * 3000 + [4.0]})
    path = write(frame, tmp_path / "log.parquet")
    for policy, value in (("first", 1), ("last", 2), ("sum", 18_000), ("mean", 2), ("max", 3)):
        x = datasets.convert(path, tmp_path / policy, duplicates=policy)
        assert x.ratings.tolist() == [value, 4]


def test_a_folder_of_files_in_the_order_of_their_names(tmp_path):
    frame = table(6000, 5).drop(columns="timestamp")
    for n in range(4):
        write(frame[n * 1500 : (n + 1) * 1500], tmp_path / "log" / f"day={n}" / f"part-{9 - n}.parquet")
    (tmp_path / "log" / "_SUCCESS").write_bytes(b"")
    write(frame.head(1).astype(str), tmp_path / "log" / "_temporary" / "x.parquet")
    for policy in ("first", "last"):  # without times these go by the place in the files
        x = Interactions.from_dataframe(frame, duplicates=policy)
        assert_same(datasets.convert(tmp_path / "log", tmp_path / policy, duplicates=policy), in_order(x))
        assert_same(Interactions.from_parquet(tmp_path / "log", duplicates=policy), x)


@pytest.mark.parametrize(
    "times",
    [
        pd.to_datetime(["2024-05-31", "1970-01-02", "1969-01-01"]),
        pd.to_datetime(["2024-05-31", "1970-01-02", "1969-01-01"]).as_unit("s"),
        pd.to_datetime(["2024-05-31", "1970-01-02", "1969-01-01"]).tz_localize("Europe/Paris"),
        [0.5, -1.25, 3.0],
        np.array([2**60 + 1, 5, 7]),
        np.array([1, 2, 3], dtype=np.uint16),
    ],
)
def test_times_of_all_kinds(tmp_path, times):
    frame = pd.DataFrame({"user": [1, 2, 3], "item": [1, 1, 1], "rating": [True, False, True], "when": times})
    path = write(frame, tmp_path / "log.parquet")
    x = Interactions.from_dataframe(frame, timestamp="when")
    assert_same(datasets.convert(path, tmp_path / "out", timestamp="when"), x)
    assert_same(Interactions.from_parquet(path, timestamp="when"), x)


def test_columns_can_be_named_and_left_out(tmp_path):
    frame = table(500, 2, items=10_000).rename(columns={"user_id": 'a "b"', "rating": "SELECT"})
    path = write(frame, tmp_path / "log.parquet")
    options = {"user": 'a "b"', "rating": "SELECT", "timestamp": False}
    x = Interactions.from_dataframe(frame, **options)
    assert_same(datasets.convert(path, tmp_path / "out", **options), in_order(x))
    assert x.timestamps is None


def test_a_cut_in_time_gives_train_and_test_over_the_same_ids(tmp_path):
    frame = table(6000, 4)
    path = write(frame, tmp_path / "log.parquet")
    early = frame["timestamp"] < 30
    train = datasets.convert(path, tmp_path / "train", duplicates="last", before=30)
    x = Interactions.from_dataframe(frame[early], duplicates="last")
    assert_same(train, in_order(x))
    late = pd.concat([frame[~early], frame.tail(1).assign(user_id=10_000, timestamp=35)])
    write(pd.concat([frame[early], late]), path)
    options = {"duplicates": "last", "like": train, "unknown": "drop"}
    test = datasets.convert(path, tmp_path / "test", since=30, **options)
    assert_same(test, in_order(Interactions.from_dataframe(late, duplicates="last", like=x, unknown="drop")))
    assert test.user_ids is not train.user_ids
    split = splits.Split("by time", train, None, test)
    model = BPR(epochs=1, device="cpu", factors=4).fit(train)
    assert 0 <= evaluate(model, split, metrics=["ndcg"], exclude_known=False)["ndcg@10"] <= 1
    with pytest.raises(UnknownIdError, match=r"unknown user id\(s\): 10000\. like has IdMap\("):
        datasets.convert(path, tmp_path / "strict", since=30, duplicates="last", like=train)
    with pytest.raises(DataError, match="since and before leave nothing"):
        datasets.convert(path, tmp_path / "none", since=99)
    with pytest.raises(DataError, match="since and before need timestamps"):
        datasets.convert(path, tmp_path / "none", since=99, timestamp=False)


# ------------------------------------------------------------------ what is mapped behaves as in memory


def test_nothing_is_copied_and_nothing_is_written(mapped, tmp_path):
    before = (tmp_path / "folder" / "items.npy").read_bytes()
    assert isinstance(mapped.items, np.memmap)
    histories = mapped.histories()
    assert histories.indices.dtype == torch.int32
    assert histories.indices.data_ptr() == mapped.items.ctypes.data
    with pytest.raises(ValueError, match="read-only"):
        mapped.items[0] = 1
    columns = mapped.to_torch()
    columns["ratings"][:] = 0
    columns["timestamps"][:] = 0
    assert mapped.ratings.min() > 0
    assert mapped.timestamps.max() > 0
    assert (tmp_path / "folder" / "items.npy").read_bytes() == before


def test_looking_counting_and_choosing(mapped, held):
    assert repr(mapped) == repr(held)
    assert mapped.describe().equals(held.describe())
    assert (mapped.to_csr("ratings") != held.to_csr("ratings")).nnz == 0
    assert mapped.to_dataframe().equals(held.to_dataframe())
    for split, other in (
        (splits.random_holdout(mapped), splits.random_holdout(held)),
        (splits.held_out_users(mapped), splits.held_out_users(held)),
        (splits.leave_last_out(mapped), splits.leave_last_out(held)),
    ):
        assert_same(split.train, other.train)
        assert_same(split.test, other.test)
    assert_same(mapped.filter(min_rating=3), held.filter(min_rating=3))
    assert_same(mapped.k_core(2, 2), held.k_core(2, 2))


def test_lists_on_the_disk_answer_as_those_in_memory(mapped, held):
    on_disk, in_memory = mapped.histories(), held.histories()
    assert in_memory.indices.dtype == torch.int64
    rows = torch.arange(len(in_memory)).unsqueeze(1)
    items = torch.arange(-1, in_memory.n_items + 1).unsqueeze(0)
    shape = (len(rows), items.shape[1])
    expected = in_memory.contains(rows.expand(shape), items.expand(shape))
    assert expected.sum() == len(held)
    assert torch.equal(on_disk.contains(rows, items), expected)
    chosen = torch.tensor([5, 0, 5])
    assert torch.equal(on_disk.select(chosen).indices, in_memory.select(chosen).indices)
    assert on_disk.select(chosen).indices.dtype == torch.int64
    for one, other in zip(on_disk.pairs(), in_memory.pairs(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(on_disk.transposed()[1], in_memory.transposed()[1])


@pytest.mark.parametrize(
    "make",
    [
        lambda: LogisticMF(factors=4, batch_size=700),
        lambda: BPR(factors=4, batch_size=700, sampler="hard"),
        lambda: BPR(factors=4, batch_size=700, sampler="popularity", record_negatives=True),
        lambda: BPR(factors=4, batch_size=700, sampler="in-batch", loss="softmax"),
        lambda: BiasedMF(factors=4),
        lambda: MultDAE(layers=[8], batch_size=64),
        lambda: MatrixFactorization(factors=4, decode="batch", batch_size=64),
        lambda: AutoRec(factors=4),
        lambda: AutoRec(factors=4, kind="user"),
        lambda: EASE(),
    ],
)
def test_a_fit_on_the_folder_is_the_fit_in_memory(mapped, held, make, tmp_path):
    valid = held.select(np.arange(0, len(held), 50))
    models = []
    for data in (mapped, held):
        model = make()
        model.device = "cpu"
        if hasattr(model, "epochs"):
            model.epochs = 2
        models.append(model.fit(data, valid))
    one, other = models
    assert all(torch.equal(value, other._state()[name]) for name, value in one._state().items())
    pd.testing.assert_frame_equal(one.recommend(k=3), other.recommend(k=3))
    one.save(tmp_path / "one.pt")
    assert type(one).load(tmp_path / "one.pt").recommend(k=3).equals(one.recommend(k=3))


def test_a_checkpoint_goes_on_from_memory_to_the_folder(mapped, held, tmp_path):
    path = tmp_path / "c.pt"
    BPR(factors=4, epochs=1, device="cpu").fit(held, checkpoint=path)
    one = BPR(factors=4, epochs=2, device="cpu").fit(mapped, checkpoint=path, resume=True)
    other = BPR(factors=4, epochs=2, device="cpu").fit(held)
    assert torch.equal(one.net_.catalogue(torch.arange(5)), other.net_.catalogue(torch.arange(5)))


def test_an_epoch_that_is_too_long_to_shuffle_at_once(monkeypatch):
    monkeypatch.setattr(_shuffling, "_TOGETHER", 64)
    monkeypatch.setattr(_shuffling, "_NEIGHBOURS", 8)

    def batches(seed: int) -> list[torch.Tensor]:
        return list(shuffled(501, 30, torch.Generator().manual_seed(seed)))

    order = batches(0)
    assert [len(batch) for batch in order] == [30] * 16 + [21]
    numbers = torch.cat(order)
    assert numbers.sort().values.tolist() == list(range(501))
    assert torch.equal(numbers, torch.cat(batches(0)))
    assert not torch.equal(numbers, torch.cat(batches(1)))
    assert len(set((numbers[:60] // 8).tolist())) == 8  # eight blocks, mixed with each other
    assert (numbers[:60].diff() == 1).sum() < 10


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"user_id": [1.0, None, 3.0]},
            r"1 user id\(s\) are missing or infinite, the first in row 1 of .*log",
        ),
        ({"user_id": [1.0, np.inf, 3.0]}, r"1 user id\(s\) are missing or infinite, the first in row 1"),
        ({"item_id": ["a", "b", None]}, r"1 item id\(s\) are missing.* row 2"),
        ({"rating": [None, np.nan, 2.0]}, r"2 rating\(s\) are missing, infinite or too large, .* row 0"),
        ({"rating": [1.0, 1e39, 2.0]}, r"1 rating\(s\) .* row 1 of .*: 1e\+39"),
        ({"timestamp": pd.to_datetime(["2024", None, "2024"])}, r"1 timestamp\(s\) are missing.* row 1"),
        ({"timestamp": ["2024", "2025", "2026"]}, "timestamp column 'timestamp' is of the type VARCHAR"),
        ({"rating": ["good", "bad", "good"]}, "ratings must be numbers"),
        ({"rating": pd.to_datetime(["2024"] * 3)}, "ratings must be numbers"),
        ({"user_id": [True, False, True]}, "user column 'user_id' is of the type BOOLEAN: ids must be"),
        ({"user_id": pd.to_datetime(["2024"] * 3)}, "ids must be numbers or text"),
        ({"user_id": np.array([2**64 - 1, 1, 2], dtype=np.uint64)}, "cannot be used: Conversion Error"),
        ({"user_id": [1, 1, 2], "item_id": [5, 5, 5]}, r"user 1 and item 5 are in rows 0 and 1 of .* Choose"),
    ],
)
def test_bad_values_are_refused_and_leave_nothing_behind(tmp_path, change, message):
    frame = pd.DataFrame(
        {"user_id": [1, 2, 3], "item_id": [1, 1, 1], "rating": [1.0, 2.0, 3.0], "timestamp": 1}
    )
    path = write(frame.assign(**change), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=message):
        datasets.convert(path, tmp_path / "out")
    assert [one.name for one in tmp_path.iterdir()] == ["log.parquet"]


def test_files_that_are_no_data_are_refused(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(FileFormatError, match=r"bad\.parquet"):
        datasets.convert(tmp_path / "bad.parquet", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.parquet"):
        datasets.convert(tmp_path / "none.parquet", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no files"):
        datasets.convert(tmp_path / "empty", tmp_path / "out")
    path = write(table(0, 1), tmp_path / "log.parquet")
    with pytest.raises(DataError, match="holds no rows"):
        datasets.convert(path, tmp_path / "out")
    path = write(table(10, 1), tmp_path / "log.parquet")
    with pytest.raises(FileExistsError, match="is there already"):
        datasets.convert(path, tmp_path / "empty")
    with pytest.raises(DataError, match="no column looks like the user"):
        datasets.convert(write(table(9, 1)[["rating"]], tmp_path / "r.parquet"), tmp_path / "out")
    with pytest.raises(ValueError, match="memory must be at least 64, got 1"):
        datasets.convert(path, tmp_path / "out", memory=1)
    assert not (tmp_path / "out").exists()


def test_pairs_that_repeat_in_two_files_name_both(tmp_path):
    for name in ("a", "b"):
        write(pd.DataFrame({"user": ["x", name], "item": [1, 2]}), tmp_path / "log" / f"{name}.parquet")
    with pytest.raises(
        DataError, match=r"user 'x' and item 1 are in row 0 of .*a.parquet and row 0 of .*b\."
    ):
        datasets.convert(tmp_path / "log", tmp_path / "out")


def test_without_duckdb_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = write(table(10, 1), tmp_path / "log.parquet")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ImportError, match="pip install duckdb"):
        datasets.convert(path, tmp_path / "out")
    with pytest.raises(ImportError, match="pip install duckdb"):
        Interactions.from_parquet(path)


# ------------------------------------------------------------------ damage


def _cut(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])


def _flip(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)


def _header(folder: Path, **changes: object) -> None:
    header = json.loads((folder / "header.json").read_text())
    (folder / "header.json").write_text(json.dumps(header | changes))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: _cut(folder, "items.npy"), r"items\.npy has [\d,]+ bytes, not"),
        (lambda folder: (folder / "ratings.npy").unlink(), r"ratings\.npy is missing"),
        (lambda folder: _flip(folder, "user_ids.npy"), r"the checksum of user_ids\.npy is wrong"),
        (lambda folder: _cut(folder, "header.json"), r"header\.json is damaged"),
        (lambda folder: (folder / "header.json").unlink(), r"has no header\.json"),
        (lambda folder: _header(folder, version=2), "format version 2"),
        (lambda folder: _header(folder, format="another"), "was not written by this library"),
        (lambda folder: _header(folder, rows=3), r"users\.npy is damaged: it holds int32 of shape"),
        (lambda folder: _header(folder, files={}), r"does not name users\.npy"),
        (lambda folder: _header(folder, files=[1]), "header.json is damaged"),
        (lambda folder: _header(folder, files={"../x": {"bytes": 0, "sha256": ""}}), "was not written by"),
    ],
)
def test_a_damaged_folder_is_refused(mapped, tmp_path, damage, message):
    damage(tmp_path / "folder")
    with pytest.raises(FileFormatError, match=message):
        Interactions.open(tmp_path / "folder")


@pytest.mark.parametrize("name", ["users", "items", "ratings", "timestamps"])
def test_the_check_finds_a_flipped_bit(mapped, tmp_path, name):
    Interactions.open(tmp_path / "folder", check=True)
    _flip(tmp_path / "folder", f"{name}.npy")
    with pytest.raises(FileFormatError, match=f"the checksum of {name}.npy is wrong"):
        Interactions.open(tmp_path / "folder", check=True)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Interactions.open(tmp_path / "other")


# ------------------------------------------------------------------ memory

MEASURED = """
import re, sys
from pathlib import Path
from recsys_lib import Interactions, datasets
def peak():  # getrusage would begin with the peak of the process that started this one
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
x = datasets.convert(sys.argv[1], sys.argv[2], memory=64)
converted = peak() - before
Interactions.from_parquet(sys.argv[1])
print(len(x), converted, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count in other units")
def test_the_memory_does_not_grow_with_the_rows(tmp_path):
    path, n = tmp_path / "log.parquet", 3_000_000
    with duckdb.connect() as con:
        con.execute(
            "COPY (SELECT k % 20011 AS user, k // 20011 AS item, 1.0 AS rating, hash(k) // 2 AS timestamp "
            f"FROM (SELECT k * 1000003 % {n} AS k FROM range({n}) t(k))) TO '{path}' (FORMAT parquet)"
        )
    command = [sys.executable, "-c", MEASURED, path, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    rows, converted, in_memory = map(int, done.stdout.split())
    assert rows == n
    assert converted < 64 + 80
    assert converted < in_memory / 2


def test_jupyter_without_widgets_reads_too(tmp_path, monkeypatch):
    """There, DuckDB refuses to have its progress bar changed."""
    connect = duckdb.connect

    class Jupyter:
        def __init__(self, *args, **kwargs):
            self.real = connect(*args, **kwargs)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.real.close()

        def execute(self, statement, *args):
            if "progress_bar" in statement:
                raise duckdb.InvalidInputException("required package 'ipywidgets' is missing")
            return self.real.execute(statement, *args)

        def __getattr__(self, name):
            return getattr(self.real, name)

    frame = table(50, 0).drop_duplicates(["user_id", "item_id"])
    path = write(frame, tmp_path / "x.parquet")
    monkeypatch.setattr(duckdb, "connect", Jupyter)
    assert len(Interactions.from_parquet(path)) == len(frame)
