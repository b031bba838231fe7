"""A worker: takes jobs from the queue and lets processes of its own carry them out.

It looks at the queue twice a second, tells the ledger how its jobs go, and kills the process of a
job that is not wanted any more. Several workers, on several machines, may share a queue and a home
folder; one that dies is noticed by the others, at once on its own machine, and elsewhere when it
has not been heard for a while.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections import deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from terrazzo.drivers.about import About
from terrazzo.errors import TerrazzoError
from terrazzo.ledger.collections import workspace_for
from terrazzo.ledger.elsewhere import Elsewhere, slurm_name
from terrazzo.ledger.jobs import Status
from terrazzo.ledger.queue import Claim, Queue
from terrazzo.ledger.spawn import Beat, Ready, Started, Task, Told
from terrazzo.ledger.users import principal_of
from terrazzo.logs import Entry, Level

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from terrazzo.drivers.job import Workspace
    from terrazzo.ledger.database import Database
    from terrazzo.ledger.folders import JobFolders
    from terrazzo.ledger.queue import KnownWorker

TICK = 0.5
"""Seconds between two looks at the queue."""
BEAT = 5.0
"""Seconds between two signs of life."""
LEASE = 150.0
"""Seconds without a sign of life after which a worker of another machine is taken for dead."""
SWEEP = 600.0
"""Seconds between two searches for files that nobody needs."""
RUNNER = "terrazzo.ledger.runner"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How a worker works."""

    slots: int = 1
    """How many jobs run at a time."""
    threads: int = 0
    """How many threads compute each of them; 0 shares the cores."""
    memory_bytes: int = 2_000_000_000
    """Memory that each of them may use for blocks."""
    most_pixels: int = 1_000_000_000_000
    """Pixels that the results of a job may have."""
    quota_bytes: int = 20_000_000_000
    """Bytes of all files of a user, unless their account says otherwise."""
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    """Who computes the blocks of jobs."""

    @property
    def threads_each(self) -> int:
        """Return how many threads compute a job."""
        return self.threads or max(-(-len(os.sched_getaffinity(0)) // max(self.slots, 1)), 1)


@dataclass(eq=False)
class _Slot:
    """Place of one job, with a process that waits for it."""

    started: Started
    ready: bool = False
    claim: Claim | None = None
    since_s: float = 0.0
    """When it was given the job, by the clock of `time.monotonic`."""
    usage: dict[str, float] = field(default_factory=dict)
    """What the run took before, in other processes."""
    progress: float = 0.0
    heard: deque[object] = field(default_factory=deque)
    """What it has told and the ledger does not know yet."""


class Worker:
    """Takes jobs and sees to them until it is told to stop."""

    def __init__(
        self,
        database: Database,
        workspace: Workspace,
        folders: JobFolders,
        options: WorkerOptions,
    ) -> None:
        """Make a worker; nothing is started before `run`."""
        self._database, self._queue = database, Queue(database)
        self._workspace, self._folders, self._options = workspace, folders, options
        self._slots: list[_Slot] = []
        self._name, self._host = "", _host()
        self._seen: dict[str, tuple[str, float]] = {}
        self._beaten_s = self._swept_s = -1e9

    def run(self, stop: Connection) -> None:
        """Work until `stop` can be read or is closed; jobs that run then go back to the queue."""
        self._folders.root.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.callback(self._leave)
            while True:
                try:
                    self._work(stack)
                except SQLAlchemyError as error:
                    log.warning("The database does not answer, trying again: %s", error)
                    time.sleep(TICK)
                ready = wait([stop, *(slot.started.connection for slot in self._slots)], TICK)
                if stop in ready:
                    return

    def _work(self, stack: ExitStack) -> None:
        """Do what is due."""
        if not self._name:
            self._announce(stack)
        now_s = time.monotonic()
        if now_s - self._beaten_s >= BEAT:
            self._beat()
            if not self._name:
                return
            self._beaten_s = now_s
        if now_s - self._swept_s >= SWEEP:
            self._sweep()
            self._swept_s = now_s
        for slot in list(self._slots):
            self._hear(slot)
        self._drop_unwanted()
        self._staff()
        for slot in self._slots:
            if slot.ready and slot.claim is None and not self._fill(slot):
                break

    def _announce(self, stack: ExitStack) -> None:
        """Take a name, hold its lock as long as this process lives, and tell the ledger."""
        name = uuid.uuid4().hex
        stack.enter_context(self._folders.locked(f"worker-{name}", wait=True))
        self._queue.announce(name, self._host, os.getpid())
        self._name = name

    def _beat(self) -> None:
        """Say that all here lives, and look whether others do."""
        if not self._queue.renew(self._name):
            log.warning("This worker was taken for dead; it begins anew.")
            self._kill_all()
            self._name = ""
            return
        for slot in self._slots:
            slot.started.send(Beat())
        dead = [one.id for one in self._queue.workers() if one.id != self._name and self._dead(one)]
        ended = self._queue.give_up(dead)
        self._cancel(ended)
        for job, run in ended:
            self._folders.discard(job, run)
        for name in dead:
            self._folders.unlock(f"worker-{name}")

    def _dead(self, other: KnownWorker) -> bool:
        """Tell whether another worker is surely dead.

        Of one on this machine the system knows. Of others it counts how long, by our own clock,
        the sign of life has stayed the same; clocks of two machines may differ.
        """
        if other.host == self._host:
            with self._folders.locked(f"worker-{other.id}", wait=False) as free:
                return free
        seen, since_s = self._seen.get(other.id, ("", 0.0))
        now_s = time.monotonic()
        if seen != other.seen:
            self._seen[other.id] = (other.seen, now_s)
            return False
        return now_s - since_s > LEASE

    def _staff(self) -> None:
        """See that every place has a process."""
        while len(self._slots) < self._options.slots:
            self._slots.append(_Slot(Started.of(RUNNER)))

    def _fill(self, slot: _Slot) -> bool:
        """Give a place the job that is next; False if none waits."""
        claim = self._queue.claim(self._name)
        if claim is None:
            return False
        job = claim.job
        try:
            principal = principal_of(self._database, job.owner)
            quota = self._options.quota_bytes
            workspace = workspace_for(self._database, self._workspace, principal, quota=quota)
        except TerrazzoError as error:
            last = Entry(Level.ERROR, str(error), error.code)
            self._queue.close(claim, Status.ERROR, {}, last)
            return True
        self._folders.discard(job.id, but=job.run)
        options = self._options
        slot.claim, slot.since_s = claim, time.monotonic()
        slot.progress = job.progress
        slot.usage = {name: one["value"] for name, one in job.usage.items()}
        about = About(job.id, job.title or "", job.description or "", job.owner)
        task = Task(
            job.id, job.run, json.dumps(job.process), job.processes, about, workspace,
            self._folders.home, options.threads_each, options.memory_bytes, options.most_pixels,
            options.elsewhere,
        )  # fmt: skip
        if not slot.started.send(task):
            self._lost(slot)
        return True

    def _hear(self, slot: _Slot) -> None:
        """Take all that a process has told; what the ledger does not take stays for next time."""
        gone = False
        try:
            while slot.started.connection.poll():
                slot.heard.append(slot.started.connection.recv())
        except (EOFError, OSError):
            gone = True
        while slot.heard:
            message = slot.heard[0]
            if isinstance(message, Ready):
                slot.ready = True
            elif isinstance(message, Told) and slot.claim is not None:
                self._told(slot, slot.claim, message)
            slot.heard.popleft()
        if gone:
            self._lost(slot)

    def _told(self, slot: _Slot, claim: Claim, told: Told) -> None:
        usage = self._usage(slot, told)
        slot.progress = max(slot.progress, told.progress)
        if not told.ended:
            self._queue.report(claim, slot.progress, usage, told.log)
            return
        done = Entry(Level.INFO, "The job is finished, its results are there.", "JobFinished")
        status = Status.FINISHED if told.error is None else Status.ERROR
        closed = self._queue.close(claim, status, usage, told.error or done, told.log)
        slot.claim = None
        if told.error is not None or not closed:
            self._clean(claim.key)

    def _usage(self, slot: _Slot, told: Told) -> dict[str, Any]:
        """Return what a run took, with what it took in processes that died, as openEO says it."""
        before = slot.usage
        took, megabyte = told.usage, 1e-6
        values = {
            "cpu": (before.get("cpu", 0.0) + took["cpu"], "cpu-seconds"),
            "duration": (before.get("duration", 0.0) + time.monotonic() - slot.since_s, "seconds"),
            "memory": (max(before.get("memory", 0.0), took["memory"] * megabyte), "mb"),
            "input_pixel": (took["pixels"] * megabyte, "mega-pixel"),
            "storage": (took["storage"] * megabyte, "mb"),
        }
        return {
            name: {"value": round(value, 3), "unit": unit} for name, (value, unit) in values.items()
        }

    def _drop_unwanted(self) -> None:
        """Kill what works on jobs that were stopped, deleted or taken over."""
        held = self._queue.held(self._name)
        for slot in list(self._slots):
            if slot.claim is None:
                continue
            if slot.claim.key in held:
                held.discard(slot.claim.key)
            else:
                self._slots.remove(slot)
                slot.started.kill()
                self._clean(slot.claim.key)
        for key in held:  # its process died, and the ledger could not be told
            self._queue.lose(self._name, key)

    def _clean(self, key: tuple[str, int]) -> None:
        """Delete what a process has written of a run that is not wanted any more."""
        job, run = key
        known = self._queue.wanted(job).get(job)
        if known is None:
            self._folders.discard(job)
        elif known[0] != run or known[1] in {Status.CREATED, Status.ERROR}:
            self._folders.discard(job, run)
        else:
            return  # whoever goes on with it drops what Slurm has of it, and submits anew
        self._cancel([key])

    def _cancel(self, runs: Sequence[tuple[str, int]]) -> None:
        """Have Slurm drop what processes had submitted for runs that nobody goes on with."""
        if self._options.elsewhere.executor != "slurm" or not runs:
            return
        from terrazzo.drivers.slurm_programs import cancel_named  # noqa: PLC0415 - loads the engine

        def cancel() -> None:
            for job, run in runs:
                cancel_named(slurm_name(job, run))

        # Slurm may take its time, and others would take this worker for dead.
        threading.Thread(target=cancel, name="cancel").start()

    def _lost(self, slot: _Slot) -> None:
        """Replace a process that died; its job goes on where it was."""
        self._slots.remove(slot)
        slot.started.kill()
        if slot.claim is not None:
            self._queue.lose(self._name, slot.claim.key)
            self._clean(slot.claim.key)
        elif not slot.ready:
            log.error("A process for jobs ended while it started; trying again.")
            time.sleep(TICK)

    def _sweep(self) -> None:
        """Delete files that nobody needs: of jobs that are gone, and of earlier runs."""
        self._folders.empty_trash()
        there = list(self._folders.known())  # first, so that what begins meanwhile is wanted
        wanted, over = self._queue.wanted(), []
        for job, run in there:
            known = wanted.get(job)
            if known is None:
                self._folders.discard(job)
            elif known[0] > run or known[1] in {Status.CREATED, Status.ERROR}:
                self._folders.discard(job, run)
            else:
                continue
            over.append((job, run))
        self._cancel(over)

    def _kill_all(self) -> None:
        for slot in self._slots:
            slot.started.kill()
        self._slots.clear()

    def _leave(self) -> None:
        """End: what was not finished waits for another worker."""
        claims = [slot.claim for slot in self._slots if slot.claim is not None]
        self._kill_all()
        with suppress(SQLAlchemyError):  # the others notice
            for claim in claims:
                self._queue.give_back(claim)
            if self._name:
                self._queue.leave(self._name)
        self._folders.unlock(f"worker-{self._name}")


def _host() -> str:
    """Return a name of this machine that no other one has."""
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    return f"{socket.gethostname()} {boot}".strip()
