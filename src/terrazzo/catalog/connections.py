"""One SQLite connection per file and thread, and transactions that fail in words."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from terrazzo.catalog.schema import BUSY_SECONDS, connect
from terrazzo.errors import ArgumentInvalid, OutputFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.progress import Progress


class _Shared:
    """The connections of one process to one file, one per thread, for all who have it open."""

    def __init__(self, key: tuple[object, ...]) -> None:
        self.key = key
        self.local = threading.local()
        # The end of an object that nobody closed may come in the middle of anything.
        self.guard = threading.RLock()
        self.writer = threading.Lock()
        self.users = 0
        self.ended = False
        self._open: list[tuple[threading.Thread, sqlite3.Connection]] = []

    def add(self, connection: sqlite3.Connection) -> None:
        """Take in the connection of this thread, and close those of threads that have ended."""
        self.local.connection = connection
        with self.guard:
            for thread, other in self._open:
                if not thread.is_alive():
                    other.close()
            self._open = [pair for pair in self._open if pair[0].is_alive()]
            self._open.append((threading.current_thread(), connection))

    def leave(self) -> None:
        """Say that one of the users has gone; the last one closes all connections."""
        with self.guard:
            self.users -= 1
            if self.users == 0:
                self.ended = True
                _known.pop(self.key, None)
                for _, connection in self._open:
                    connection.close()
                self._open.clear()


_known: dict[tuple[object, ...], _Shared] = {}
"""What is open, by process, file and mode."""


def _join(path: Path, *, read_only: bool) -> _Shared:
    """Return what is open of a file that is there, with one user more."""
    status = path.stat()
    # Another file of that name is another catalogue, and another process opens its own.
    key = (os.getpid(), path.absolute(), status.st_dev, status.st_ino, read_only)
    while True:
        found = _known.setdefault(key, _Shared(key))
        with found.guard:
            found.users += 1
            if not found.ended:
                return found


class Connections:
    """A catalogue's access to its file.

    Who opens a file that is open in this process already gets the connections that are there:
    to make one takes longer than most searches. A connection must not be used on both sides of a
    fork, nor closed on the other one; in a child the inherited ones are kept unused until it ends.
    """

    def __init__(self, path: Path, *, read_only: bool, progress: Progress | None = None) -> None:
        self.path, self.read_only, self._progress = path, read_only, progress
        self._closed = False
        self._start()

    def _start(self) -> None:
        """Begin with no connections, in this process."""
        self._process = os.getpid()
        self._guard = threading.Lock()
        self._joined: _Shared | None = None

    def _shared(self) -> _Shared:
        """Return the connections of this process."""
        if self._closed:
            raise ArgumentInvalid(
                f"The catalogue {self.path} is closed. Open it again by its path."
            )
        if self._process != os.getpid():
            self._start()
        with self._guard:
            if self._joined is None:
                if not self.path.exists():
                    self._connect().close()
                self._joined = _join(self.path, read_only=self.read_only)
            return self._joined

    def get(self) -> sqlite3.Connection:
        """Return the connection of this thread, opening it if need be."""
        shared = self._shared()
        found: sqlite3.Connection | None = getattr(shared.local, "connection", None)
        if found is None:
            found = self._connect()
            shared.add(found)
        return found

    def _connect(self) -> sqlite3.Connection:
        return connect(self.path, read_only=self.read_only, progress=self._progress)

    def close(self) -> None:
        """Close the connections, unless others have the file open; twice does nothing."""
        self._closed = True
        if self._process == os.getpid() and self._joined is not None:
            joined, self._joined = self._joined, None
            joined.leave()

    def __del__(self) -> None:
        """Close what nobody closed: a catalogue that is dropped leaks no connection."""
        if hasattr(self, "_joined"):
            self.close()

    def _writable(self) -> sqlite3.Connection:
        """Return the connection of this thread, to write."""
        connection = self.get()
        if self.read_only:
            raise ArgumentInvalid(
                f"The catalogue {self.path} was opened with read_only=True and cannot be changed. "
                "Open it without."
            )
        return connection

    def vacuum(self) -> tuple[int, int]:
        """Write the file anew without the space of what was deleted.

        Returns:
            Its bytes before and after.

        Raises:
            ArgumentInvalid: the catalogue was opened for reading only.
            OutputFailed: the disk is full, or others have kept the file locked for too long.
        """
        connection = self._writable()
        before = self._bytes()
        with self._shared().writer:
            try:
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.OperationalError as problem:
                raise OutputFailed(
                    f"The catalogue {self.path} could not be written anew: {problem}. It is as it "
                    "was. The disk needs room for it twice, and nobody may write meanwhile."
                ) from problem
        return before, self._bytes()

    def _bytes(self) -> int:
        """Return how large the file and its log are."""
        log = self.path.with_name(self.path.name + "-wal")
        return sum(path.stat().st_size for path in (self.path, log) if path.exists())

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction: all of it or, on any error, nothing.

        Raises:
            ArgumentInvalid: the catalogue was opened for reading only.
            OutputFailed: the disk is full, or others have kept the file locked for too long.
        """
        connection = self._writable()
        with self._shared().writer:
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException as problem:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if isinstance(problem, sqlite3.OperationalError):
                    raise OutputFailed(
                        f"The catalogue {self.path} could not be written: {problem}. Nothing of "
                        "this batch was stored. Free disk space, or, if it is locked, stop the "
                        f"process that has been writing for over {BUSY_SECONDS:.0f} s; then put "
                        "the items again."
                    ) from problem
                raise
