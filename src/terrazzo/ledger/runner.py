"""The process that carries out jobs, one after the other, and tells its worker how it goes.

It knows no database. It is killed where its job is not wanted any more, and ends by itself where
its worker is gone, or has not been heard for so long that others may have taken its job over.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import resource
import threading
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, NoReturn

from typing_extensions import override

from terrazzo.drivers import batch, slurm
from terrazzo.drivers.block_jobs import ByBlocks
from terrazzo.drivers.estimate import estimate
from terrazzo.drivers.home import CATALOG_VARIABLE
from terrazzo.drivers.job import Job
from terrazzo.drivers.memory import forget_peak, resident
from terrazzo.drivers.order import Order
from terrazzo.drivers.pool import ClusterUnusable, Pool
from terrazzo.drivers.results import check_files
from terrazzo.drivers.slurm_programs import cancel_named
from terrazzo.errors import (
    OutputFailed,
    PlanTooLarge,
    RunDiffers,
    RunIncomplete,
    TerrazzoError,
)
from terrazzo.ledger.elsewhere import WORKSPACE, keep_workspace, slurm_name
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.spawn import Ready, Task, Told, end_with_parent, inherited
from terrazzo.logs import MOST, Entry, Level, Summary
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from terrazzo.engine import Inference

GRACE = 60.0
"""Seconds after which a process that hears nothing of its worker ends."""
OFTEN = 0.5
"""Seconds between two reports."""
_COMPUTING = 0.95
"""Share of a raster's work that is computing; the rest is writing its files."""
_NICE = 5
log = logging.getLogger(__name__)


def main() -> NoReturn:
    """Take tasks for as long as the worker lives."""
    end_with_parent()
    connection = inherited()
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(_NICE)  # those who look at a map wait for an answer, and nobody for a job
    connection.send(Ready())
    while True:
        carry_out(tasks.get(), connection)


def _listen(connection: Connection, tasks: queue.SimpleQueue[Task]) -> NoReturn:
    try:
        while connection.poll(GRACE):
            message = connection.recv()
            if isinstance(message, Task):
                tasks.put(message)
    except (EOFError, OSError):
        pass
    os._exit(1)


def carry_out(task: Task, connection: Connection) -> None:
    """Run a job and tell its end; also its faults are told and not raised."""
    progress = Reports(connection)
    folders = JobFolders(task.home)
    with folders.locked(task.job, wait=True):
        try:
            _run(task, folders, progress)
        except Exception as error:  # noqa: BLE001 - the last place where it can be told
            progress.end(_entry(error))
        else:
            progress.end()


def _run(task: Task, folders: JobFolders, progress: Reports) -> None:
    folder = folders.of(task.job, task.run)
    job = Job(task.process, processes=task.processes)
    inference = job.infer(task.workspace)
    check_files(inference, batch.output_nodes(inference))
    expected = estimate(job, inference)
    if expected.pixels > task.most_pixels:
        raise PlanTooLarge(
            f"The result would have {expected.pixels:,} pixels, all dates and bands, and a job may "
            f"have {task.most_pixels:,}. Ask for a smaller extent, fewer dates or bands, or a "
            "coarser resolution."
        )
    progress.expect(expected.read_pixels, _phases(inference))
    run = _by_slurm if task.elsewhere.executor == "slurm" else _by_pool
    try:
        made = run(task, job, inference, folder, progress)
    except RunDiffers:  # since it was interrupted, images came, or another Terrazzo
        folders.discard(task.job, task.run)
        made = run(task, job, inference, folder, progress)
    progress.rest(made.log)
    progress.made(made.size_bytes)


def _by_pool(
    task: Task, job: Job, inference: Inference, folder: Path, progress: Reports
) -> batch.RunResult:
    """Run a job by threads, processes or a Dask cluster."""
    elsewhere = task.elsewhere
    pool = Pool(elsewhere.executor, task.threads, task.memory_bytes, elsewhere.scheduler)
    edge = batch.fitting_block(job, inference, pool)
    return batch.run(
        job, task.workspace, folder, block=edge, pool=pool, progress=progress, known=inference,
        about=task.about,
    )  # fmt: skip


def _by_slurm(
    task: Task, job: Job, inference: Inference, folder: Path, progress: Reports
) -> batch.RunResult:
    """Have Slurm run a job; what a process that died has submitted is dropped first."""
    elsewhere, name = task.elsewhere, slurm_name(task.job, task.run)
    wanted = slurm.Allocation(
        elsewhere.tasks, elsewhere.cores, task.memory_bytes, elsewhere.time, elsewhere.partition,
        elsewhere.account, name,
    )  # fmt: skip
    if task.workspace.database:
        os.environ[CATALOG_VARIABLE] = task.workspace.database
    cancel_named(name)
    keep_workspace(folder, task.workspace)
    edge = batch.fitting_block(job, inference, Pool("threads", elsewhere.cores, task.memory_bytes))
    order = Order(
        job, edge, elsewhere.cores, task.memory_bytes, task.about, by=ByBlocks(), of_a_job=True
    )
    submitted = slurm.Slurm(folder, elsewhere.command, wanted)
    try:
        made = slurm.run(order, task.workspace, submitted, progress)
    finally:
        (folder / WORKSPACE).unlink(missing_ok=True)
    if made is None:  # only where it is not followed
        raise RunIncomplete("Slurm has the job, and nobody waits for it.")
    return made


def _phases(inference: Inference) -> int:
    """Return how many times all blocks of something are gone through, as far as is known."""
    stages = sum(bound.needs_whole for bound in inference.nodes.values())
    rasters = [
        node for node in batch.output_nodes(inference) if inference.nodes[node].grid is not None
    ]
    return max(stages + len(rasters) + len(batch.inspected_nodes(inference)), 1)


def _entry(error: Exception) -> Entry:
    """Return what is told of a failure: never a path of this machine, or where in our code."""
    if isinstance(error, RunIncomplete) and error.first is not None:
        error = error.first
    if isinstance(error, ClusterUnusable):
        log.error("%s", error)
        told = "The cluster did not compute the job; the operator of the server finds out why."
        return Entry(Level.ERROR, told, error.code)
    if isinstance(error, OutputFailed):
        log.error("%s", error)
        told = "The results could not be stored; the operator of the server finds out why."
        return Entry(Level.ERROR, told, error.code)
    if isinstance(error, TerrazzoError) and not isinstance(error, RunIncomplete):
        return Entry(Level.ERROR, str(error), error.code)
    if isinstance(error, MemoryError):
        told = "There was not enough memory. Ask for fewer dates or bands at once."
        return Entry(Level.ERROR, told, "PlanTooLarge")
    name = uuid.uuid4().hex
    log.error("error %s", name, exc_info=error)
    told = f"The job failed by a fault of the server, whose log says more of error {name}."
    return Entry(Level.ERROR, told, "Internal")


class Reports(Progress):
    """Tells a worker how a run goes, at most twice a second.

    What the graph logs is told as soon as the block is done in which it happened. Summaries of all
    pixels are told at the end, when they are complete.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: list[Entry] = []
        self._told: Counter[str] = Counter()
        self._units: set[str] = set()
        self._count = self._phase = 0
        self._phases, self._pixels, self._bytes, self._share, self._done = 1, 0, 0, 0.0, 0.0
        self._last_s, self._cpu_s = 0.0, _cpu_seconds()
        forget_peak()

    def expect(self, pixels: int, phases: int) -> None:
        """Say how many pixels are read, and how often all blocks are gone through."""
        self._pixels, self._phases = pixels, phases

    @override
    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        self._share = min(self._phase / self._phases, 1.0)
        self._phase += 1
        self._report()

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        self._report()

    @override
    def resume(self, count: int = 1) -> None:
        super().resume(count)
        self._report()

    @override
    def fail(self, unit: str, reason: str, error: Exception | None) -> None:
        if error is None:
            log.error("%s failed: %s", unit, reason)
        told = error or "this is a fault of the server, whose log says more"
        self._tell(Entry(Level.ERROR, f"The {unit} failed: {told}", "BlockFailed"))

    @property
    @override
    def listens(self) -> bool:
        return self._count < MOST

    @override
    def hear(self, entries: Sequence[object], unit: str = "") -> None:
        # Who puts results together looks at every block again.
        if unit in self._units or not self.listens:
            return
        if unit:
            self._units.add(unit)
        for entry in entries:
            if not isinstance(entry, Entry) or isinstance(entry.data, Summary):
                continue
            key = _key(entry)
            if entry.once and self._told[key]:
                continue
            self._told[key] += 1
            self._tell(entry)
        self._report()

    def rest(self, entries: Iterable[Entry]) -> None:
        """Tell what was not told while blocks were computed."""
        for entry in entries:
            key = _key(entry)
            if self._told[key]:
                self._told[key] -= 1
            else:
                self._tell(entry)

    def made(self, size: int) -> None:
        """Say how many bytes the results have."""
        self._bytes = size

    def end(self, error: Entry | None = None) -> None:
        """Tell that the run has ended."""
        self._send(ended=True, error=error)

    def _tell(self, entry: Entry) -> None:
        self._count += 1
        if self._count == MOST:
            told = f"Further log entries are left out; a log keeps {MOST}."
            entry = Entry(Level.WARNING, told, "LogFull")
        if self._count <= MOST:
            self._waiting.append(entry)

    def _report(self) -> None:
        part = self.done / self.total if self.total else 1.0
        share = self._share + part * _COMPUTING / self._phases
        self._done = max(self._done, min(100.0 * share, 99.0))
        if time.monotonic() - self._last_s >= OFTEN:
            self._send()

    def _send(self, *, ended: bool = False, error: Entry | None = None) -> None:
        self._last_s = time.monotonic()
        usage = {
            "cpu": _cpu_seconds() - self._cpu_s,
            "memory": float(resident()[1]),
            "pixels": float(self._pixels),
            "storage": float(self._bytes),
        }
        log, self._waiting = tuple(self._waiting), []
        self._connection.send(Told(round(self._done, 2), usage, log, ended, error))


def _key(entry: Entry) -> str:
    """Return what tells entries apart: not their time, as two may make the same block."""
    return json.dumps({**entry.kept(), "time": ""}, sort_keys=True)


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
