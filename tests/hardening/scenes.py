"""The work that :mod:`tests.hardening.kills` kills: training, saving, fetching and converting."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import signal
import threading
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recsys_lib import Interactions, datasets, load, splits
from recsys_lib._tensors import read_tensors
from recsys_lib.datasets import download, movielens
from recsys_lib.models import BPR, EASE, GMF, BiasedMF, BottleneckAutoencoder, MultVAE, Recommender, RecVAE
from recsys_lib.models.gradient import GradientRecommender
from tests.hardening.forks import end_of, fork

try:
    import duckdb  # loaded once, before the forks
except ImportError:
    duckdb = None

SPLIT = splits.random_holdout(
    datasets.synthetic(80, 60, 1000, feedback="explicit", seed=1), valid=0.1, test=0.1, seed=0
)
COMMON: dict[str, Any] = {"device": "cpu", "progress": False, "epochs": 4}
MAKE: dict[str, Callable[[], GradientRecommender]] = {
    "GMF": lambda: GMF(factors=8, batch_size=64, **COMMON),
    "BPR": lambda: BPR(factors=8, batch_size=64, **COMMON),
    "BiasedMF, Adagrad": lambda: BiasedMF(factors=8, batch_size=64, optimizer="adagrad", **COMMON),
    "MultVAE, dropout": lambda: MultVAE(layers=(16,), factors=8, batch_size=32, schedule="cosine", **COMMON),
    "RecVAE, in turns": lambda: RecVAE(width=16, factors=8, batch_size=32, **COMMON),
    "Bottleneck, sparse Adam": lambda: BottleneckAutoencoder(
        layers=(16, 8), batch_size=32, decode="batch", **COMMON
    ),
}


class Scene(ABC):
    """Some work in a folder, and what must be true of the folder at any time, and at the end."""

    name: str

    def __init__(self, base: Path) -> None:
        self.base = base

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *error: object) -> None:  # noqa: B027 - most have nothing to put away
        """Put away what ``__enter__`` set up."""

    @abstractmethod
    def work(self, folder: Path) -> None:
        """Begin, or go on with what is there."""

    @abstractmethod
    def check(self, folder: Path) -> None:
        """Assert that nothing is broken, wherever the work stopped."""

    @abstractmethod
    def check_end(self, folder: Path) -> None:
        """Assert that all is as if nobody had disturbed it, and nothing else lies there."""


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class Training(Scene):
    """Training with a checkpoint; the model is saved at its end."""

    def __init__(self, base: Path, name: str) -> None:
        super().__init__(base)
        self.name, self.make = name, MAKE[name]
        self.epochs = 0
        # Undisturbed, and without any checkpoint.
        model = self.make().fit(SPLIT.train, SPLIT.valid)
        self.weights, self.history = model._state(), model.history_.drop(columns="seconds")

    def work(self, folder: Path) -> None:
        model = self.make().fit(SPLIT.train, SPLIT.valid, checkpoint=folder / "run.pt", resume=True)
        history = model.history_.drop(columns="seconds")
        assert history.equals(self.history), f"another history:\n{history}"
        model.save(folder / "model.pt")

    def check(self, folder: Path) -> None:
        before, self.epochs = self.epochs, 0
        if (folder / "run.pt").exists():
            self.epochs = len(read_tensors(folder / "run.pt")["rows"])
            assert before <= self.epochs <= COMMON["epochs"]
        if (folder / "model.pt").exists():
            assert same(load(folder / "model.pt")._state(), self.weights)

    def check_end(self, folder: Path) -> None:
        self.epochs = 0
        assert same(load(folder / "model.pt")._state(), self.weights), "other weights"
        assert names(folder) == {"run.pt", "model.pt"}


class Saving(Scene):
    """One model is written over another, many times."""

    name = "save"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.models: list[Recommender] = [EASE(l2=l2, device="cpu").fit(SPLIT.train) for l2 in (1.0, 500.0)]

    def work(self, folder: Path) -> None:
        for number in range(10):
            self.models[number % 2].save(folder / "model.pt")

    def check(self, folder: Path) -> None:
        if (folder / "model.pt").exists():
            found = load(folder / "model.pt")._state()
            assert any(same(found, model._state()) for model in self.models)
        assert len(names(folder)) <= 2, "every kill leaves one more file"

    def check_end(self, folder: Path) -> None:
        assert same(load(folder / "model.pt")._state(), self.models[1]._state())
        assert names(folder) == {"model.pt"}


def archive_of(n_ratings: int) -> tuple[bytes, movielens.MovieLens]:
    """Make a small archive in the format of ml-1m, and what the library is to know of it."""
    cells = np.random.default_rng(0).permutation(200 * 150)[:n_ratings]
    lines = [f"{cell // 150 + 1}::{cell % 150 + 1}::{cell % 5 + 1}::{978300000 + cell}" for cell in cells]
    members = {
        "ml-1m/ratings.dat": "\n".join(lines) + "\n",
        "ml-1m/movies.dat": "".join(f"{n}::Film {n} (1999)::Drama\n" for n in range(1, 151)),
        "ml-1m/users.dat": "".join(f"{n}::F::25::10::48067\n" for n in range(1, 201)),
    }
    buffer = zipped(members)
    counts = {"n_users": len(set(cells // 150)), "n_items": len(set(cells % 150)), "n_ratings": n_ratings}
    digest = hashlib.md5(buffer).hexdigest()
    return buffer, dataclasses.replace(
        movielens.CATALOGUE["ml-1m"], md5=digest, megabytes=len(buffer) / 1e6, **counts
    )


def zipped(members: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


class Pieces(BaseHTTPRequestHandler):
    """Sends an archive in small pieces with pauses, from where it is asked to."""

    content = b""
    pause = 0.0

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if start >= len(self.content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        if wanted:
            whole = len(self.content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked may be dead by now
            for at in range(start, len(self.content), 1 << 14):
                self.wfile.write(self.content[at : at + (1 << 14)])
                time.sleep(self.pause)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep quiet."""


def server_of(content: bytes, pause: float) -> ThreadingHTTPServer:
    """Make a server on the loopback device that has one file, whatever it is asked for."""
    handler = type("Handler", (Pieces,), {"content": content, "pause": pause})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.handle_error = lambda *who: None  # type: ignore[method-assign]
    return server


def address_of(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    """Let a server answer in a thread."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)


class Fetching(Scene):
    """A data set is fetched into a cache, and read."""

    name = "data set"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.content, self.about = archive_of(12_000)
        (base / "ml-1m.zip").write_bytes(self.content)
        self.ratings = movielens.read_1m(base / "ml-1m.zip").ratings

    def __enter__(self) -> Scene:
        self.stack = contextlib.ExitStack()
        # In a process of its own: who forks should have no threads.
        with server_of(self.content, pause=0.003) as server:
            self.server, address = fork(server.serve_forever), address_of(server)
        self.stack.enter_context(mock.patch.dict(movielens.CATALOGUE, {"ml-1m": self.about}))
        self.stack.enter_context(mock.patch.object(datasets, "_ADDRESS", address))
        clean = {"no_proxy": "127.0.0.1"}
        self.stack.enter_context(mock.patch.dict(os.environ, clean))
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()
        os.kill(self.server, signal.SIGKILL)
        os.waitpid(self.server, 0)

    def work(self, folder: Path) -> None:
        frame = datasets.load("ml-1m", folder=folder, progress=False).to_dataframe()
        assert np.array_equal(frame.to_numpy(float), self.ratings.to_numpy(float))

    def check(self, folder: Path) -> None:
        if (folder / "ml-1m.zip").exists():
            assert (folder / "ml-1m.zip").read_bytes() == self.content
        if (folder / "ml-1m.zip.part").exists():
            part = (folder / "ml-1m.zip.part").read_bytes()
            assert self.content.startswith(part)
        if (folder / "ml-1m.zip.lock").exists():
            with (folder / "ml-1m.zip.lock").open("a+b") as file:
                assert download._try_lock(file), "the lock of a process that is dead"

    def check_end(self, folder: Path) -> None:
        self.check(folder)
        assert names(folder) == {"ml-1m.zip", "ml-1m.zip.lock"}


class Converting(Scene):
    """Parquet files become a folder that can be mapped."""

    name = "convert"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.data = datasets.synthetic(300, 200, 8_000, seed=2)
        self.frame = self.data.to_dataframe()[["user", "item", "timestamp"]]
        self.source = base / "log.parquet"
        write_parquet(self.frame, self.source)

    def work(self, folder: Path) -> None:
        if not (folder / "log").exists():
            datasets.convert(self.source, folder / "log", memory=64)

    def check(self, folder: Path) -> None:
        if (folder / "log").exists():
            found = Interactions.open(folder / "log", check=True).to_dataframe()[
                ["user", "item", "timestamp"]
            ]
            expected = self.frame.sort_values(["user", "item"], ignore_index=True)
            pd.testing.assert_frame_equal(found, expected, check_dtype=False)
        assert len(names(folder)) <= 1, "every kill leaves one more folder"

    def check_end(self, folder: Path) -> None:
        self.check(folder)
        assert names(folder) == {"log"}


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame; DuckDB's threads are those of a child, since a fork of this process has none."""

    def work() -> None:
        with duckdb.connect() as con:
            con.register("frame", frame)
            con.execute(f"COPY (FROM frame) TO '{path}' (FORMAT parquet)")

    assert not end_of(fork(work))


class Careless(Scene):
    """The control: a file that is written in place, so that a kill must be seen."""

    name = "careless (control)"

    def work(self, folder: Path) -> None:
        (folder / "x").unlink(missing_ok=True)
        for _ in range(50):
            with (folder / "x").open("ab") as file:
                file.write(b"x")

    def check(self, folder: Path) -> None:
        if (folder / "x").exists():
            assert (folder / "x").stat().st_size == 50, "half a file"

    def check_end(self, folder: Path) -> None:
        self.check(folder)


def training(name: str) -> Callable[[Path], Scene]:
    return lambda base: Training(base, name)


SCENES: list[Callable[[Path], Scene]] = [
    *(training(name) for name in MAKE),
    Saving,
    Fetching,
    *([Converting] if duckdb else []),
    Careless,  # the last one
]
DATA_SET = SCENES.index(Fetching)
