"""One server process: uvicorn with clients that may not be slow for ever, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import h11
import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator
    from types import FrameType
    from typing import NoReturn

    from fastapi import FastAPI
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from terrazzo.server.settings import ServerSettings

MOST_HEADERS = 32_000
"""Bytes of a request's first line and headers."""
LAST_SECONDS = 2.0
"""What an end may take beyond the time that requests are given."""


class Web(uvicorn.Server):
    """Serves an application; tells when it has started, and ends when it is told to."""

    def __init__(
        self, app: FastAPI, settings: ServerSettings, when_ready: Callable[[], object]
    ) -> None:
        slow = settings.slow_seconds

        class Protocol(Patient):
            patience = slow

        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=Protocol,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=MOST_HEADERS,
                timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
            )
        )
        self._when_ready = when_ready
        self._last: threading.Timer | None = None

    @property
    def patience(self) -> float:
        """Seconds in which an end is over, or will not be."""
        return (self.config.timeout_graceful_shutdown or 0) + LAST_SECONDS

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._when_ready()

    def until_told(self, listener: socket.socket, *, interrupt: bool = True) -> None:
        """Serve in the main thread until a signal tells to stop; a second one ends the process.

        What has not ended some time after the signal is left behind, so call `leave` soon.

        Args:
            listener: the socket.
            interrupt: whether Ctrl-C is such a signal; else it is ignored.
        """

        def told(number: int, _: FrameType | None) -> None:
            if self.should_exit:
                leave(128 + number)
            self.stop()

        signal.signal(signal.SIGTERM, told)
        signal.signal(signal.SIGINT, told if interrupt else signal.SIG_IGN)
        loop = asyncio.new_event_loop()
        loop.run_until_complete(self.serve([listener]))
        if self._last is not None:
            self._last.cancel()

    def stop(self) -> None:
        """Stop soon: finish what was begun, for a while, then answer that the server stops."""
        self.should_exit = True
        self._last = threading.Timer(self.patience, leave)
        self._last.daemon = True
        self._last.start()

    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def leave(status: int = 0) -> NoReturn:
    """End this process now, without waiting for threads that compute for nobody."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


class Patient(H11Protocol):
    """A connection that ends when its client neither sends nor takes anything for a while."""

    patience: float

    _due: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect()

    @override
    def data_received(self, data: bytes) -> None:
        if self._due is None and not self._is_answering():
            self._expect()
        super().data_received(data)
        if self._is_answering():
            self._relax()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        if self._stuck is not None:
            self._stuck.cancel()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    @override
    def resume_writing(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        super().resume_writing()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _expect(self) -> None:
        """Wait for a whole head of a request, however it drips."""
        self._due = self.loop.call_later(self.patience, self._too_slow)

    def _relax(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _too_slow(self) -> None:
        self._due = None
        if not self.transport.is_closing():
            with contextlib.suppress(h11.LocalProtocolError):
                self.conn.send(h11.ConnectionClosed())
            self.transport.abort()

    def _watch(self, left: int) -> None:
        """Wait for the client to take some of what it asked for."""
        self._stuck = self.loop.call_later(self.patience, self._taken, left)

    def _taken(self, left: int) -> None:
        now = self.transport.get_write_buffer_size()
        if now < left:
            self._watch(now)
        else:
            self._stuck = None
            self.transport.abort()
