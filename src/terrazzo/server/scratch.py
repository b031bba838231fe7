"""Folders for results that are sent and forgotten; none outlives the server that made it.

A folder is locked while it is used. Whatever is not locked was left by a process that has
ended, however that happened, and is removed when the next one starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from terrazzo.progress import Cancelled
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "scratch"
_NEW = "."
"""How names begin of folders that are not locked yet."""


class Scratch:
    """One temporary folder, shared by who asked for it and the thread that fills it.

    It is removed when it is dropped, or when the thread leaves it after that.
    """

    def __init__(self, home: Path) -> None:
        """Make a folder in a home folder.

        Raises:
            OutputFailed: it cannot be made.
        """
        try:
            (home / FOLDER).mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=_NEW, dir=home / FOLDER))
            self._descriptor = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            # Only now does it look like a folder that may be removed if nobody has locked it.
            self.path = made.rename(made.with_name(made.name.lstrip(_NEW)))
        except OSError as error:
            raise output_failed(home / FOLDER, error) from error
        self._lock = threading.Lock()
        self._used = False
        self._dropped = threading.Event()

    @contextlib.contextmanager
    def used(self) -> Iterator[Path]:
        """Work in the folder; it stays until the block is left, whoever drops it meanwhile.

        Raises:
            Cancelled: it was dropped before.
        """
        with self._lock:
            if self._dropped.is_set():
                raise Cancelled
            self._used = True
        try:
            yield self.path
        finally:
            with self._lock:
                self._used = False
                if self._dropped.is_set():
                    self._remove()

    def drop(self) -> None:
        """Remove the folder, as soon as nobody works in it."""
        with self._lock:
            if not self._used and not self._dropped.is_set():
                self._remove()
            self._dropped.set()

    def _remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def sweep(home: Path) -> int:
    """Remove the folders whose process has ended without doing so; return how many.

    Called when a server starts; others may be running on the same home folder.
    """
    removed = 0
    for path in (home / FOLDER).glob("[!.]*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
                removed += 1
            finally:
                os.close(descriptor)
    return removed
