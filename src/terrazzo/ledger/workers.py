"""Runs the worker of a server: in a process of its own, started again whenever it dies."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, NoReturn, Self

from terrazzo.ledger.database import Database, database_url
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.spawn import Started, inherited
from terrazzo.ledger.worker import Worker, WorkerOptions

if TYPE_CHECKING:
    from types import TracebackType

    from terrazzo.drivers.job import Workspace

MODULE = "terrazzo.ledger.workers"
PATIENCE = 10.0
"""Seconds that a worker has to give back its jobs."""
_AGAIN = 1.0
"""Seconds before a worker that died is started again."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Orders:
    """What the worker of a server is told as it starts."""

    database: str
    workspace: Workspace
    options: WorkerOptions


class JobWorkers:
    """Runs jobs while a `with` block runs; after it, jobs that were not finished wait."""

    def __init__(
        self, workspace: Workspace, database: str = "", options: WorkerOptions | None = None
    ) -> None:
        """Say for what; nothing is started before the block.

        Args:
            workspace: with everything; each job sees of it what its owner may.
            database: URL of the ledger; empty is the embedded one.
            options: how many jobs at a time, and what each may take; 0 slots run none.
        """
        self._orders = _Orders(
            database or database_url(workspace.home), workspace, options or WorkerOptions()
        )
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._worker: Started | None = None
        self._started = threading.Event()

    def __enter__(self) -> Self:
        """Start the worker."""
        if self._orders.options.slots:
            self._thread = threading.Thread(target=self._keep, name="jobs", daemon=True)
            self._thread.start()
            self._started.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it; its jobs go back to the queue."""
        self._stopped.set()
        if self._worker is not None:
            self._worker.send(None)
        if self._thread is not None:
            self._thread.join()

    @property
    def pid(self) -> int | None:
        """The process of the worker."""
        return None if self._worker is None else self._worker.process.pid

    def _keep(self) -> None:
        while not self._stopped.is_set():
            worker = self._worker = Started.of(MODULE)
            self._started.set()
            worker.send(self._orders)
            if self._stopped.is_set():  # it was told to stop before it was there
                worker.send(None)
            while worker.process.poll() is None and not self._stopped.is_set():
                wait([worker.connection], _AGAIN)
                if worker.connection.poll():
                    break
            if self._stopped.is_set():
                self._end(worker)
                return
            worker.kill()
            log.warning("The worker of the jobs has ended and is started again.")
            self._stopped.wait(_AGAIN)

    def _end(self, worker: Started) -> None:
        try:
            worker.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            log.warning("The worker of the jobs does not end and is killed.")
        worker.kill()


def main() -> NoReturn:
    """Be the worker of the process that started this one, as long as it lives."""
    connection = inherited()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    orders = connection.recv()
    database = Database(orders.database)
    folders = JobFolders(orders.workspace.home)
    Worker(database, orders.workspace, folders, orders.options).run(connection)
    database.close()
    sys.exit(0)


if __name__ == "__main__":
    main()
