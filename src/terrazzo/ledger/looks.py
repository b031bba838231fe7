"""How jobs are at this moment: what the ledger says of them, and what their folders tell."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.watching.status import State
from terrazzo.drivers.watching.status import Status as RunStatus
from terrazzo.drivers.watching.watch import BlockMap, Look, Watcher
from terrazzo.ledger.jobs import Status

if TYPE_CHECKING:
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


class JobWatcher:
    """Looks at jobs again and again; threads share one."""

    def __init__(self, folders: JobFolders) -> None:
        """Say where their files are."""
        self._folders, self._lock = folders, threading.Lock()
        self._watchers: OrderedDict[tuple[str, int], Watcher] = OrderedDict()

    def look(self, known: StoredJob) -> Look:
        """Return how a job is; whether it runs, the ledger knows.

        Raises:
            OutputFailed: its folder cannot be read.
        """
        with self._lock:
            look = self._of(known).look() if known.run else None
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
        with self._lock:
            return self._of(known).maps() if known.run else ()

    def _of(self, known: StoredJob) -> Watcher:
        key = known.id, known.run
        watcher = self._watchers.pop(key, None) or Watcher(FolderDepot(self._folders.of(*key)))
        self._watchers[key] = watcher
        while len(self._watchers) > MOST:
            self._watchers.popitem(last=False)
        return watcher
