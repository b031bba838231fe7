"""How jobs are at this moment: what the ledger says of them, and what their folders tell."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.watching.status import State
from terrazzo.drivers.watching.status import Status as RunStatus
from terrazzo.drivers.watching.watch import BlockMap, Look, Watcher
from terrazzo.ledger.jobs import Status

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.ledger.folders import JobFolders
    from terrazzo.ledger.jobs import StoredJob

_STATES = {
    Status.CREATED: State.STOPPED,
    Status.QUEUED: State.SUBMITTED,
    Status.RUNNING: State.RUNNING,
    Status.FINISHED: State.FINISHED,
    Status.ERROR: State.FAILED,
}
MOST = 100
"""Runs of which is remembered what is done."""


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    """A watcher that threads share: one at a time looks, and none waits for another run."""

    watcher: Watcher
    lock: threading.Lock = field(default_factory=threading.Lock)


class JobWatcher:
    """Looks at jobs and runs again and again; threads share one."""

    def __init__(self, folders: JobFolders) -> None:
        """Say where their files are."""
        self._folders, self._lock = folders, threading.Lock()
        self._watchers: OrderedDict[Path, _Shared] = OrderedDict()

    def look(self, known: StoredJob) -> Look:
        """Return how a job is; whether it runs, the ledger knows.

        Raises:
            OutputFailed: its folder cannot be read.
        """
        look = None
        if known.run:
            shared = self._of(self._folders.of(known.id, known.run))
            with shared.lock:
                look = shared.watcher.look()
        look = look or Look(RunStatus(State.SUBMITTED))
        status = replace(
            look.status,
            state=_STATES[known.status],
            title=known.title or "",
            begun=known.started or "",
        )
        return replace(look, status=status)

    def maps(self, known: StoredJob) -> tuple[BlockMap, ...]:
        """Return which blocks of a job are done, for each raster that it makes.

        Raises:
            OutputFailed: its folder cannot be read.
        """
        if not known.run:
            return ()
        shared = self._of(self._folders.of(known.id, known.run))
        with shared.lock:
            return shared.watcher.maps()

    def running(self, folder: Path) -> Look | None:
        """Return how a run is of which something is heard; else None.

        Raises:
            OutputFailed: its folder cannot be read.
        """
        shared = self._of(folder)
        with shared.lock:
            return shared.watcher.look(silent=False)

    def _of(self, folder: Path) -> _Shared:
        with self._lock:
            shared = self._watchers.pop(folder, None) or _Shared(Watcher(FolderDepot(folder)))
            self._watchers[folder] = shared
            while len(self._watchers) > MOST:
                self._watchers.popitem(last=False)
            return shared
