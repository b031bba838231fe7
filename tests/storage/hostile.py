"""A server of one file that misbehaves as it is told to, and counts what it is asked."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Hostile:
    """What is served, how, and what was asked."""

    content: bytes = b""
    behave: Callable[[Handler], bool] = lambda _: False
    """Answers a request itself and returns true, or leaves it to the server."""
    heeds_match: bool = True
    asked: list[dict[str, str]] = field(default_factory=list)
    host: str = ""

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'

    def url(self, name: str = "a.tif") -> str:
        return f"http://{self.host}/{name}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hostile: Hostile

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hostile.asked.append({"path": self.path, **headers})
        if not self.hostile.behave(self):
            self.give()

    def give(self, *, shift: int = 0, ranges: bool = True, extra: str = "") -> None:
        """Answer as a good server does, but for what is said."""
        content, wanted = self.hostile.content, self.headers.get("Range")
        match, unless = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        if unless == self.hostile.etag:
            self.say(304, b"")
        elif match and match != self.hostile.etag and self.hostile.heeds_match:
            self.say(412, b"")
        elif wanted and ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last), len(content) - 1)
            place = f"bytes {start + shift}-{end + shift}/{len(content)}"
            self.say(206, content[start : end + 1], **{"Content-Range": place}, coding=extra)
        else:
            self.say(200, content, coding=extra)

    def say(self, status: int, body: bytes, *, coding: str = "", **headers: str) -> None:
        self.send_response(status)
        sent = {"ETag": self.hostile.etag, "Content-Length": str(len(body)), **headers}
        if coding:
            sent["Content-Encoding"] = coding
        for name, value in sent.items():
            if not (status == 304 and name == "Content-Length"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """Break the connection off as a crash does."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def cut(self) -> None:
        """Promise more than is sent."""
        self.send_response(206)
        self.send_header("Content-Length", "5000")
        self.send_header("Content-Range", f"bytes 0-4999/{len(self.hostile.content)}")
        self.end_headers()
        self.wfile.write(self.hostile.content[:100])
        self.close_connection = True

    def dribble(self, stop: threading.Event) -> None:
        """Send a byte now and then."""
        self.send_response(206)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        while not stop.is_set():
            try:
                self.wfile.write(b"x")
            except OSError:
                break
            time.sleep(0.05)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: clients leave such servers as they like."""


@contextmanager
def hostile(content: bytes = b"") -> Iterator[Hostile]:
    """Serve a file for the `with` block."""
    told = Hostile(content)
    server = _Server(("127.0.0.1", 0), type("Told", (Handler,), {"hostile": told}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    told.host = f"127.0.0.1:{server.server_address[1]}"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
