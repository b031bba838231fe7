"""One SQLite connection per thread and process, and transactions that fail in words."""

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


class Connections:
    """The connections of this process to one file.

    A connection must not be used on both sides of a fork, nor closed on the other one; in a
    child the inherited ones are kept unused until it ends.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path, self.read_only = path, read_only
        self._closed = False
        self._inherited: list[object] = []
        self._start()

    def _start(self) -> None:
        """Begin with no connections, in this process."""
        self._process = os.getpid()
        self._local = threading.local()
        self._guard = threading.Lock()
        self._writer = threading.Lock()
        self._open: list[tuple[threading.Thread, sqlite3.Connection]] = []

    def get(self) -> sqlite3.Connection:
        """Return the connection of this thread, opening it if need be."""
        if self._closed:
            raise ArgumentInvalid(
                f"The catalogue {self.path} is closed. Open it again by its path."
            )
        if self._process != os.getpid():
            self._inherited.append((self._local, self._open))
            self._start()
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = connect(self.path, read_only=self.read_only)
            with self._guard:
                for thread, connection in self._open:
                    if not thread.is_alive():
                        connection.close()
                self._open = [pair for pair in self._open if pair[0].is_alive()]
                self._open.append((threading.current_thread(), found))
        return found

    def close(self) -> None:
        """Close the connections of all threads; closing twice does nothing."""
        self._closed = True
        if self._process == os.getpid():
            with self._guard:
                for _, connection in self._open:
                    connection.close()
                self._open.clear()

    def __del__(self) -> None:
        """Close what nobody closed: a catalogue that is dropped leaks no connection."""
        if hasattr(self, "_open"):
            self.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction: all of it or, on any error, nothing.

        Raises:
            ArgumentInvalid: the catalogue was opened for reading only.
            OutputFailed: the disk is full, or others have kept the file locked for too long.
        """
        connection = self.get()
        if self.read_only:
            raise ArgumentInvalid(
                f"The catalogue {self.path} was opened with read_only=True and cannot be changed. "
                "Open it without."
            )
        with self._writer:
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
