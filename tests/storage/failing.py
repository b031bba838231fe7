"""A proxy in front of a server of HTTP that fails now and then, and can be gone for a while."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

BUSY, BROKEN, CUT, LOST, HALF, SLOW = "503", "500", "cut", "lost", "half", "slow"
"""Refused; failed; not handed on and closed; done, but the answer is lost; half of it; late."""
FAULTS: Final = (BUSY, CUT, BROKEN, LOST, SLOW, HALF)
_HEAD_BYTES: Final = 65_536
_LATE_S: Final = 0.3
_OVER_S: Final = 60.0


@dataclass
class Proxy:
    """Hands requests on; each one that is `every`th fails in one way after the other."""

    target: str
    """`host:port` of the server."""
    every: int = 0
    """0 = none fails."""
    watch: Callable[[str, str], None] | None = None
    """Told method and path of each request before it is handed on."""
    port: int = field(default_factory=free_port)
    failed: Counter[str] = field(default_factory=Counter)
    """How often requests failed, by how."""
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by method."""
    _gone: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: set[socket.socket] = field(default_factory=set)
    _listener: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.come()
        return self

    def __exit__(self, *_: object) -> None:
        self.go()

    def come(self) -> None:
        """Listen."""
        self._gone.clear()
        self._faults = itertools.cycle(FAULTS)
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def go(self) -> None:
        """Refuse connections from now on, and break off those that are open."""
        self._gone.set()
        if self._listener is not None:
            with contextlib.suppress(OSError):  # wakes the thread that accepts
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            sockets = list(self._open)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while not self._gone.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        try:
            client.settimeout(_OVER_S)
            with client, client.makefile("rb") as incoming:
                while not self._gone.is_set() and self._answer(client, incoming):
                    pass
        except (OSError, http.client.HTTPException):
            pass  # whoever asked is gone, or the server
        finally:
            with self._lock:
                self._open.discard(client)

    def _fault(self, method: str) -> str:
        with self._lock:
            self.asked[method] += 1
            if not self.every or sum(self.asked.values()) % self.every:
                return ""
            fault = next(self._faults)
            self.failed[fault] += 1
            return fault

    def _answer(self, client: socket.socket, incoming: BinaryIO) -> bool:
        """Answer one request; tell whether the connection stays."""
        request = _Request.read(incoming)
        if request is None:
            return False
        fault = self._fault(request.method)
        if fault == CUT:
            return False
        if fault in {BUSY, BROKEN}:
            client.sendall(_refusal(fault, empty=request.method == "HEAD"))
            return request.method != "HEAD"
        if self.watch is not None:
            self.watch(request.method, request.path)
        if fault == SLOW:
            self._gone.wait(_LATE_S)
        answer = request.ask(self.target)
        if self._gone.is_set() or fault == LOST:
            return False
        if fault == HALF:
            client.sendall(answer[: len(answer) // 2])
            return False
        client.sendall(answer)
        return True


def _refusal(status: str, *, empty: bool) -> bytes:
    code = "SlowDown" if status == BUSY else "InternalError"
    body = "" if empty else f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>"
    return f"HTTP/1.1 {status} {code}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    head: list[tuple[str, str]]
    body: bytes

    @classmethod
    def read(cls, incoming: BinaryIO) -> _Request | None:
        line = incoming.readline(_HEAD_BYTES)
        if not line.strip():
            return None
        method, path, _ = line.decode("latin-1").split(" ", 2)
        told = http.client.parse_headers(incoming)
        body = incoming.read(int(told.get("Content-Length", "0")))
        return cls(method, path, list(told.items()), body)

    def ask(self, target: str) -> bytes:
        """Return the whole answer of the server, as it is sent on."""
        asked = http.client.HTTPConnection(target, timeout=_OVER_S)
        try:
            asked.putrequest(self.method, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.head:
                asked.putheader(name, value)
            asked.endheaders(self.body or None)
            answer = asked.getresponse()
            body = answer.read()
            kept = [
                f"{name}: {value}"
                for name, value in answer.getheaders()
                if name.lower() not in {"transfer-encoding", "content-length", "connection"}
            ]
        finally:
            asked.close()
        # Of a HEAD, it is the length that the object has.
        size = answer.getheader("Content-Length") if self.method == "HEAD" else str(len(body))
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *kept]
        if size is not None and answer.status not in {204, 304}:
            lines.append(f"Content-Length: {size}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
