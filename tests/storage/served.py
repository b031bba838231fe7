"""A server of files that counts requests, in a process of its own.

GDAL holds Python's lock while it opens a file, so that a server in the same process would wait for
its own client.
"""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection


@dataclass(frozen=True)
class Log:
    """What was asked for since the last look."""

    ranges: list[tuple[str, int, int]]
    """Path, first and last byte."""
    most_busy: int
    """Requests that were answered at a time."""


@dataclass(frozen=True)
class Server:
    """Serves the files of a folder."""

    folder: Path
    host: str

    def log(self, delay_s: float = 0.0) -> Log:
        """Return what happened since the last call; from now on answers take so long."""
        with urllib.request.urlopen(f"http://{self.host}/log?{delay_s}") as answer:
            found: dict[str, Any] = json.load(answer)
        return Log([tuple(one) for one in found["ranges"]], found["most_busy"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder = Path()
    delay_s = 0.0
    busy = 0
    most_busy = 0
    ranges: list[tuple[str, int, int]] = []  # noqa: RUF012 - of the process
    lock = threading.Lock()

    def do_HEAD(self) -> None:
        self.answer(send=False)

    def do_GET(self) -> None:
        kind = _Handler
        if self.path.startswith("/log"):
            with kind.lock:
                body = json.dumps({"ranges": kind.ranges, "most_busy": kind.most_busy}).encode()
                kind.ranges, kind.most_busy = [], 0
                kind.delay_s = float(self.path.partition("?")[2])
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        with kind.lock:
            kind.busy += 1
            kind.most_busy = max(kind.busy, kind.most_busy)
        time.sleep(kind.delay_s)
        self.answer(send=True)
        with kind.lock:
            kind.busy -= 1

    def answer(self, *, send: bool) -> None:
        path = self.folder / self.path.strip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        first, last = 0, len(content) - 1
        asked = self.headers.get("Range")
        if asked:
            start, _, stop = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(stop or last), last)
        if send:
            with _Handler.lock:
                _Handler.ranges.append((self.path, first, last))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if send:
            self.wfile.write(content[first : last + 1])

    def log_message(self, *_: object) -> None:
        pass


def _serve(folder: Path, told: Connection) -> None:
    _Handler.folder = folder
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    told.send(server.server_address[1])
    server.serve_forever()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve a folder for the `with` block."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(folder, there), daemon=True)
    process.start()
    try:
        yield Server(folder, f"127.0.0.1:{here.recv()}")
    finally:
        process.terminate()
        process.join()
