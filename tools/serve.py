"""Show the rendered book on a free port of this machine until Ctrl-C."""

from __future__ import annotations

import argparse
import functools
import http.server
import sys
from http import HTTPStatus
from pathlib import Path

from tools.layout import Layout


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """A file server that keeps the terminal for messages that matter."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of single requests."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a wrong address with the book's own page, as public servers do."""
        page = Path(self.directory) / "404.html"
        if code != HTTPStatus.NOT_FOUND or not page.is_file():
            super().send_error(code, message, explain)
            return
        content = page.read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def server(folder: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server of `folder` for this machine only; port 0 takes a free one."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the port; by default a free one")
    args = parser.parse_args()
    html = Layout().html
    if not (html / "index.html").is_file():
        print("there is no rendered book yet: run `make book` first", file=sys.stderr)
        return 1
    with server(html, args.port) as http_server:
        print(f"http://127.0.0.1:{http_server.server_address[1]}/ (Ctrl-C ends it)", flush=True)
        try:
            http_server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
