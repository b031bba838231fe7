"""Starts processes of our own, and says what passes between them.

A process is started by its module's name and given one connection. It ends when the connection
does, that is, with the process that started it, however that ended. Nothing is said on the command
line, which everybody on a machine can read.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from terrazzo.drivers.pool import THREAD_SETTINGS
from terrazzo.ledger.elsewhere import Elsewhere
from terrazzo.sandbox.native import call_c

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from terrazzo.drivers.about import About
    from terrazzo.drivers.job import Workspace
    from terrazzo.logs import Entry

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Task:
    """A run of a job, for the process that carries it out."""

    job: str
    """Id of the job."""
    run: int
    """Which of its runs."""
    process: str
    """The process with its graph, JSON text."""
    processes: str
    """User-defined processes that it calls, JSON text."""
    about: About
    """What the results say of the job."""
    workspace: Workspace
    """Where its owner's collections are."""
    home: Path
    """Where the folders of jobs are."""
    threads: int
    """How many compute at a time."""
    memory_bytes: int
    """Memory that they may use together."""
    most_pixels: int
    """Pixels that its results may have."""
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    """Who computes its blocks."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Says to a process that its worker lives and is known to the ledger."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A process has its libraries and takes tasks."""


@dataclass(frozen=True, slots=True)
class Told:
    """How far a run is, what it took, and what its graph told since the last time."""

    progress: float
    usage: Mapping[str, float]
    """`cpu` in seconds, `memory` in bytes at most, `pixels` that it reads, `storage` in bytes."""
    log: tuple[Entry, ...] = ()
    ended: bool = False
    """Whether this is the end of it."""
    error: Entry | None = None
    """What went wrong, if it ended with an error."""


@dataclass(eq=False)
class Started:
    """A process that was started."""

    process: subprocess.Popen[bytes]
    connection: Connection

    @classmethod
    def of(cls, module: str) -> Started:
        """Start a module in a session of its own, so that it gets no Ctrl-C."""
        ours, theirs = multiprocessing.Pipe()
        environment = {**dict.fromkeys(THREAD_SETTINGS, "1"), **os.environ}
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", module, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        return cls(process, ours)

    def send(self, message: object) -> bool:
        """Send a message; False if the process is gone."""
        try:
            self.connection.send(message)
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it at once, with all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.connection.close()


def inherited() -> Connection:
    """Return the connection that this process was given."""
    return Connection(int(sys.argv[1]))


def end_with_parent() -> None:
    """Let the system kill this process as soon as the thread that started it ends."""
    parent = os.getppid()
    if sys.platform == "linux":
        call_c("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
