import contextlib
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from recsys_lib.datasets import download
from recsys_lib.datasets.download import DownloadError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT on the loopback device and misbehaves as told."""

    daemon_threads = True
    cuts: list[int] = []  # noqa: RUF012 - each request takes one: send only so many bytes, then hang up
    bodies: list[bytes] = []  # noqa: RUF012 - each request takes one to send in place of CONTENT
    statuses: list[int] = []  # noqa: RUF012 - each request takes one
    ranges = True
    shifted = False
    content_type = "application/zip"
    hang: threading.Event | None = None

    def handle_error(self, request, client_address):
        """A client that goes away is part of these tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server = self.server
        server.seen.append(self.headers.get("Range"))
        if server.hang is not None:
            server.hang.wait(5)
            return
        if server.statuses and (status := server.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        body, status, start = server.bodies.pop(0) if server.bodies else CONTENT, 200, 0
        if server.ranges and (wanted := self.headers.get("Range")):
            start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(body):
                self.send_error(416)
                return
        self.send_response(status)
        self.send_header("Content-Type", server.content_type)
        self.send_header("Content-Length", str(len(body) - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start + server.shifted}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        stop = start + server.cuts.pop(0) if server.cuts else len(body)
        self.wfile.write(body[start:stop])

    def log_message(self, format, *args):
        """Keep quiet."""


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "RETRY_PAUSES", (0.0, 0.0, 0.0))
    with Server(("127.0.0.1", 0), Handler) as server:
        server.seen = []
        server.url = f"http://127.0.0.1:{server.server_address[1]}/ml-1m.zip"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        if server.hang is not None:
            server.hang.set()
        server.shutdown()
        thread.join(5)


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "cache" / "ml-1m.zip"


def part_of(target: Path) -> Path:
    return target.with_name("ml-1m.zip.part")


def test_a_file_arrives_whole_and_quietly(server, target, capsys):
    download.fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["ml-1m.zip"]
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""  # no terminal, no bar


def test_the_bar_can_be_asked_for(server, target, capsys):
    download.fetch(server.url, target, MD5, progress=True)
    assert "ml-1m.zip: 100%" in capsys.readouterr().err


def test_a_cut_is_resumed_where_it_happened(server, target):
    server.cuts = [1_000_000, 500_000]
    download.fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.seen == [None, "bytes=1000000-", "bytes=1500000-"]


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server, target):
    server.cuts = [1_000_000, 0, 0]
    with pytest.raises(
        DownloadError, match=r"cut after 1,000,000 of 3,000,000 bytes; 1,000,000 bytes are kept"
    ):
        download.fetch(server.url, target, MD5)
    assert not target.exists()
    server.seen.clear()
    download.fetch(server.url, target, MD5)
    assert server.seen == ["bytes=1000000-"]
    assert target.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_all_again(server, target):
    server.ranges = False
    server.cuts = [1_000_000]
    download.fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert len(server.seen) == 2


def test_a_server_that_sends_another_range_is_not_believed(server, target):
    server.shifted = True
    server.cuts = [1_000_000]
    download.fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.seen == [None, "bytes=1000000-", None]


def test_a_complete_part_needs_only_its_checksum(server, target):
    part_of(target).parent.mkdir()
    part_of(target).write_bytes(CONTENT)
    download.fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.seen == ["bytes=3000000-"]


def test_a_part_of_another_file_is_thrown_away(server, target):
    part_of(target).parent.mkdir()
    part_of(target).write_bytes(b"x" * 2_000_000)
    download.fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.seen == ["bytes=2000000-", None]


def test_a_corrupt_file_is_fetched_again(server, target):
    server.bodies = [b"PK" + CONTENT[2:]]
    download.fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT


def test_a_file_that_stays_corrupt_is_not_kept(server, target):
    server.bodies = [b"PK" + CONTENT[2:]] * 2
    with pytest.raises(DownloadError, match=r"the file has md5 [0-9a-f]{32}, not " + MD5[4:]):
        download.fetch(server.url, target, MD5)
    assert list(target.parent.iterdir()) == []


def test_an_old_file_stays_until_the_new_one_is_right(server, target):
    target.parent.mkdir()
    target.write_bytes(b"old")
    server.statuses = [404]
    with pytest.raises(DownloadError):
        download.fetch(server.url, target, MD5)
    assert target.read_bytes() == b"old"


def test_a_web_page_is_not_an_archive(server, target):
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="answered with a web page"):
        download.fetch(server.url, target, MD5)
    assert len(server.seen) == 1
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (500, 2), (503, 2)])
def test_a_refusal_is_final_and_a_failure_is_tried_again(server, target, status, requests):
    server.statuses = [status] * 4
    with pytest.raises(DownloadError, match=f"the server answered {status}"):
        download.fetch(server.url, target, MD5)
    assert len(server.seen) == requests


def test_a_server_that_recovers_is_good_enough(server, target):
    server.statuses = [503]
    download.fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT


def test_a_silent_server_is_given_up(server, target, monkeypatch):
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.2)
    server.hang = threading.Event()
    with pytest.raises(DownloadError, match=r"no answer within 0.2 s"):
        download.fetch(server.url, target, MD5)
    assert len(server.seen) == 1


def test_no_server_at_all(server, target):
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1"):
        download.fetch(url, target, MD5)


def test_only_one_of_several_fetches(server, target):
    def load():
        with download.locked(target, progress=False):
            if not download.is_intact(target, MD5):
                download.fetch(server.url, target, MD5)
            results.append(target.read_bytes() == CONTENT)

    results: list[bool] = []
    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == [True] * 4
    assert len(server.seen) == 1


def test_who_waits_for_the_lock_is_told(target, capsys):
    entered = []

    def wait():
        with download.locked(target, progress=None):
            entered.append(True)

    with download.locked(target, progress=None):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.1)
        assert entered == []
    thread.join(5)
    assert entered == [True]
    assert capsys.readouterr().err == "Another process is fetching ml-1m.zip: waiting for it.\n"


def test_the_lock_is_free_again_after_an_error(target):
    with contextlib.suppress(ZeroDivisionError), download.locked(target, progress=None):
        raise ZeroDivisionError
    with target.with_name("ml-1m.zip.lock").open("a+b") as file:
        assert download._try_lock(file)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/recsys_lib"),
        ("linux", {"XDG_CACHE_HOME": "xdg"}, "xdg/recsys_lib"),
        ("darwin", {"XDG_CACHE_HOME": "xdg"}, "home/Library/Caches/recsys_lib"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/recsys_lib"),
        ("win32", {}, "home/AppData/Local/recsys_lib"),
        ("linux", {"RECSYS_LIB_DATA": "mine", "XDG_CACHE_HOME": "xdg"}, "mine"),
    ],
)
def test_the_cache_folder_follows_the_platform(monkeypatch, platform, variables, expected):
    for name in ("RECSYS_LIB_DATA", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(download.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", classmethod(lambda cls: Path("home")))
    assert download.cache_folder() == Path(expected)
    assert download.cache_folder("given") == Path("given")
