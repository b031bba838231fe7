"""Several server processes behind one listening socket, and the parent that watches over them.

They share the socket, the database and files, nothing else. One that ends is replaced, later
each time if it never came to answer; all end with the parent, however it ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Self

from prometheus_client.multiprocess import mark_process_dead

from terrazzo.errors import TerrazzoError
from terrazzo.server.app import create_app
from terrazzo.server.running.kernels import preparing
from terrazzo.server.running.process import LAST_SECONDS, Web, leave
from terrazzo.server.scratch import Scratch
from terrazzo.server.web.log import set_up_log
from terrazzo.server.web.metrics import FOLDER_VARIABLE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from multiprocessing.context import SpawnProcess
    from types import FrameType, TracebackType

    from terrazzo.drivers.job import Workspace
    from terrazzo.server.settings import ServerSettings

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a process that ended is replaced."""
MOST_FAILURES = 5
"""How often in a row one may end before it ever answered; then the server gives up."""


class ServerFailed(TerrazzoError):
    """The processes of a server end as soon as they start."""

    code, status = "ServerFailed", 500


@dataclass(eq=False)
class _Place:
    """A place for one server process."""

    process: SpawnProcess | None = None
    ready: Connection | None = None
    answered: bool = False
    failures: int = 0
    due: float = 0.0


class Members:
    """The server processes; to be used in a `with` block, in the main thread."""

    def __init__(
        self, workspace: Workspace, settings: ServerSettings, listener: socket.socket
    ) -> None:
        self._given = workspace, settings, listener
        self._grace = settings.grace_seconds
        self._places = [_Place() for _ in range(settings.workers)]
        self._context = multiprocessing.get_context("spawn")
        self._told = 0
        self._wake, self._waker = os.pipe()

    def __enter__(self) -> Self:
        self._scratch = Scratch(self._given[0].home)
        # Read by a library of the processes; what a sudden end leaves, the next start removes.
        os.environ[FOLDER_VARIABLE] = str(self._scratch.path)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        del os.environ[FOLDER_VARIABLE]
        self._scratch.drop()

    def run(self, ready: Callable[[], object]) -> None:
        """Keep all processes running until a signal tells to stop; a second one ends at once.

        Args:
            ready: called once, as soon as one process answers.

        Raises:
            ServerFailed: one ends again and again before it answers.
        """
        called = False
        while not self._told:
            now = time.monotonic()
            for place in self._places:
                if place.process is None and now >= place.due:
                    self._start(place)
            self._wait()
            for place in self._places:
                self._look_after(place)
            if not called and any(place.answered for place in self._places):
                called = True
                ready()

    def _start(self, place: _Place) -> None:
        place.ready, end = self._context.Pipe(duplex=False)
        place.answered = False
        place.process = self._context.Process(
            target=_serve, args=(*self._given, end), name="terrazzo-server"
        )
        # Ctrl-C reaches all processes of a terminal; here only the parent answers it.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        place.process.start()
        signal.signal(signal.SIGINT, handler)
        end.close()

    def _wait(self) -> None:
        """Wait for a process to answer or end, for a signal, or for the time to start one."""
        watched: list[Connection | int] = [self._wake]
        for place in self._places:
            watched += [place.process.sentinel] if place.process is not None else []
            watched += [place.ready] if place.ready is not None else []
        pauses = [place.due for place in self._places if place.process is None]
        timeout = max(0.0, min(pauses) - time.monotonic()) if pauses else None
        wait(watched, timeout)

    def _look_after(self, place: _Place) -> None:
        if place.ready is not None and place.ready.poll():
            try:
                place.ready.recv_bytes()
                place.answered, place.failures = True, 0
            except EOFError:
                pass
            place.ready.close()
            place.ready = None
        process = place.process
        if process is None or process.exitcode is None or self._told:
            return
        place.process = None
        if process.pid is not None:
            mark_process_dead(process.pid, str(self._scratch.path))  # type: ignore[no-untyped-call]
        place.failures += 1
        if not place.answered and place.failures >= MOST_FAILURES:
            raise ServerFailed(
                f"A process of the server ended {place.failures} times before it answered, the "
                f"last time with status {process.exitcode}. The lines above say why."
            )
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (place.failures - 1))
        place.due = time.monotonic() + pause
        log.error(
            "A server process ended with status %s; another one starts in %.1f s.",
            process.exitcode, pause,
        )  # fmt: skip

    def _tell(self, number: int, _: FrameType | None) -> None:
        """Take a signal: the first stops, the second ends everything now."""
        if self._told:
            for process in self._running():
                process.kill()
            leave(128 + number)
        self._told = number
        os.write(self._waker, b".")

    def _end(self) -> None:
        """Tell all processes to stop, and end those that do not."""
        self._told = self._told or signal.SIGTERM
        for process in self._running():
            process.terminate()
        last = time.monotonic() + self._grace + 2 * LAST_SECONDS
        for process in self._running():
            process.join(max(0.0, last - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
        os.close(self._wake)
        os.close(self._waker)

    def _running(self) -> list[SpawnProcess]:
        found = [place.process for place in self._places if place.process is not None]
        return [process for process in found if process.exitcode is None]


def _serve(
    workspace: Workspace, settings: ServerSettings, listener: socket.socket, ready: Connection
) -> None:
    """Be one of the processes."""
    set_up_log(settings.log)
    web = Web(create_app(workspace, settings), settings, lambda: ready.send_bytes(b"ready"))
    threading.Thread(target=_end_with_parent, args=(web,), daemon=True).start()
    with preparing(lambda _: None, workspace.home):
        web.until_told(listener, interrupt=False)
    leave()


def _end_with_parent(web: Web) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        web.stop()
