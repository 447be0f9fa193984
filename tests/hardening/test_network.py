"""Servers that lie, stall or never end: a clear error, no file, and a good server is enough afterwards."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recsys_lib import datasets
from recsys_lib.datasets import DownloadError, download, movielens
from tests.hardening.scenes import address_of, archive_of, server_of, serving

CONTENT, ABOUT = archive_of(3_000)
HALF = len(CONTENT) // 2
LIMITS = download.CONNECT_SECONDS, download.SLOW_SECONDS, download.RETRY_PAUSES  # as they really are


class Server(ThreadingHTTPServer):
    """Answers every request as one of the functions below does."""

    daemon_threads = True
    answer: Callable[[Handler], object]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is part of these tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.answer(self)

    def reply(self, *headers: str, status: str = "200 OK", body: bytes = b"") -> None:
        self.wfile.write("\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet."""


def cut(it: Handler) -> None:
    it.reply(f"Content-Length: {len(CONTENT)}", body=CONTENT[:100])


def stall(it: Handler) -> None:
    it.reply(f"Content-Length: {len(CONTENT)}", body=CONTENT[:HALF])
    time.sleep(1.5)


def trickle(it: Handler) -> None:
    it.reply(f"Content-Length: {len(CONTENT)}")
    for byte in CONTENT[:60]:
        it.wfile.write(bytes([byte]))
        time.sleep(0.02)


def endless(it: Handler) -> None:
    it.reply("Content-Type: application/zip")
    while True:  # until the client hangs up
        it.wfile.write(b"PK" * 50_000)


def endless_chunks(it: Handler) -> None:
    it.reply("Transfer-Encoding: chunked")
    while True:
        it.wfile.write(b"fff0\r\n" + b"PK" * 0x7FF8 + b"\r\n")


def endless_headers(it: Handler) -> None:
    it.reply(*(f"X-{n}: 1" for n in range(1000)))


def endless_redirects(it: Handler) -> None:
    it.reply("Location: /again" + str(time.monotonic_ns()), "Content-Length: 0", status="302 Found")


def login(it: Handler) -> None:
    if it.path == "/login":
        it.reply("Content-Type: text/html", body=b"<html>Who are you?</html>")
    else:
        it.reply("Location: /login", "Content-Length: 0", status="302 Found")


def whole(*headers: str, body: bytes = CONTENT) -> Callable[[Handler], None]:
    return lambda it: it.reply(*headers, body=body)


def sized(length: object, body: bytes = CONTENT) -> Callable[[Handler], None]:
    return whole(f"Content-Length: {length}", body=body)


def redirect(to: str) -> Callable[[Handler], None]:
    return lambda it: it.reply(f"Location: {to}", "Content-Length: 0", status="302 Found")


DIGEST = r"the file has md5 [0-9a-f]{32}, not " + ABOUT.md5
# What the server does, what the error must say, and whether what came is kept for next time.
BAD: dict[str, tuple[Callable[[Handler], object], str, bool]] = {
    "cut half-way": (cut, r"the connection was cut after 100 of [\d,]+ bytes; 100 bytes are kept", True),
    "stalls half-way": (stall, r"nothing came for 1 s; [\d,]+ bytes are kept", True),
    "trickles": (trickle, r"only \d+ bytes came in 0\.1 s", True),
    "length too large": (sized(len(CONTENT) + 9), r"cut after [\d,]+ of [\d,]+ bytes", True),
    "length too small": (sized(HALF), DIGEST, False),
    "length far too large": (
        sized(10**15),
        r"sends 1,000,000,000,000,000 bytes, and the file has at most",
        False,
    ),
    "wrong bytes": (sized(len(CONTENT), CONTENT[:-1] + b"x"), DIGEST, False),
    "nothing": (sized(0, b""), DIGEST, False),
    "compressed once more": (whole("Content-Encoding: gzip", body=gzip.compress(CONTENT)), DIGEST, False),
    "never ends": (endless, r"sends [\d,]+ bytes and goes on, and the file has at most", False),
    "never ends, in chunks": (endless_chunks, r"sends [\d,]+ bytes and goes on", False),
    "headers never end": (endless_headers, "HTTPException: got more than 100 headers", False),
    "redirects never end": (endless_redirects, "the server answered 302", False),
    "redirect to a login page": (login, r"answered with a web page \(a login or a proxy\?\)", False),
    "redirect to a file": (redirect("file:///etc/passwd"), "the server answered 302", False),
    "redirect to nowhere": (redirect("http://127.0.0.1:9/x"), "Connection refused", False),
    "speaks something else": (lambda it: it.wfile.write(b"220 ready\r\n"), "BadStatusLine", False),
    "hangs up": (lambda it: None, "RemoteDisconnected", False),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(movielens.CATALOGUE, "ml-1m", ABOUT)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "RETRY_PAUSES", (0.0,))
    monkeypatch.setattr(download, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(download, "SLOW_SECONDS", 0.1)


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Handler], object]], None]]:
    """Start the server; give it its ways."""
    with serving(Server(("127.0.0.1", 0), Handler)) as server:
        monkeypatch.setattr(datasets, "_ADDRESS", address_of(server))

        def start(answer: Callable[[Handler], object]) -> None:
            server.answer = answer  # type: ignore[attr-defined]

        yield start


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("case", BAD)
def test_a_bad_server_is_refused_and_harms_nothing(
    case: str, go: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, words, kept = BAD[case]
    go(answer)
    with pytest.raises(DownloadError, match=words) as caught:
        datasets.load("ml-1m", folder=tmp_path, progress=False)
    message = str(caught.value)
    assert "ml-1m is not in the cache and could not be fetched" in message
    assert f"save it as {tmp_path / 'ml-1m.zip'}" in message
    assert names(tmp_path) == ["ml-1m.zip.lock"] + ["ml-1m.zip.part"] * kept
    with serving(server_of(CONTENT, pause=0.0)) as good:
        monkeypatch.setattr(datasets, "_ADDRESS", address_of(good))
        assert len(datasets.load("ml-1m", folder=tmp_path, progress=False)) == 3_000
    assert (tmp_path / "ml-1m.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer",
    [sized("many"), sized(-7), sized(""), whole(), whole("Content-Type: nonsense;;")],
    ids=["no number", "negative", "empty", "no length", "odd type"],
)
def test_what_a_server_says_wrongly_does_no_harm_when_the_bytes_are_right(
    answer: Callable[[Handler], object], go: Callable[..., None], tmp_path: Path
) -> None:
    go(answer)
    assert len(datasets.load("ml-1m", folder=tmp_path)) == 3_000
    assert names(tmp_path) == ["ml-1m.zip", "ml-1m.zip.lock"]


def test_an_old_archive_is_kept_until_there_is_a_new_one(go: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "ml-1m.zip").write_bytes(b"an older edition")
    go(cut)
    with pytest.raises(DownloadError):
        datasets.load("ml-1m", folder=tmp_path, progress=False)
    assert (tmp_path / "ml-1m.zip").read_bytes() == b"an older edition"


def test_a_bomb_of_the_right_size_is_stopped_by_its_checksum(go: Callable[..., None], tmp_path: Path) -> None:
    """Nothing is unpacked before the checksum is right."""
    bomb = gzip.compress(b"\0" * 10_000_000)
    go(sized(len(bomb), bomb))
    with pytest.raises(DownloadError, match=DIGEST):
        datasets.load("ml-1m", folder=tmp_path, progress=False)
    assert names(tmp_path) == ["ml-1m.zip.lock"]


def test_the_longest_wait_is_minutes() -> None:
    connect, slow, pauses = LIMITS
    assert sum(pauses) + (len(pauses) + 1) * max(connect, slow) < 600
    assert min(connect, slow) > 5  # and a slow line is not given up at once
