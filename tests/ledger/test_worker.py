"""Workers: what they do when jobs are stopped, processes die, databases fail, others vanish."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import Pipe
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import OperationalError

from terrazzo.drivers.job import Workspace
from terrazzo.ledger import LOCAL, Database, Principal, entries
from terrazzo.ledger import worker as module
from terrazzo.ledger.elsewhere import Elsewhere
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import JobRequest, Jobs, Status
from terrazzo.ledger.queue import KnownWorker, Queue
from terrazzo.ledger.spawn import Beat, Ready, Task, Told
from terrazzo.ledger.worker import LEASE, Worker, WorkerOptions
from terrazzo.logs import Entry, Level

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

GRAPH = {"process_graph": {"one": {"process_id": "pi", "arguments": {}, "result": True}}}
TOOK = {"cpu": 2.0, "memory": 5e6, "pixels": 3e6, "storage": 1e6}


@dataclass(eq=False)
class Acted:
    """A process for jobs, played by the test."""

    connection: Connection
    end: Connection
    got: list[object] = field(default_factory=list)
    killed: bool = False

    @classmethod
    def of(cls, _: str) -> Acted:
        return cls(*Pipe())

    def send(self, message: object) -> bool:
        self.got.append(message)
        return True

    def kill(self) -> None:
        self.killed = True
        self.connection.close()
        self.end.close()

    @property
    def tasks(self) -> list[Task]:
        return [one for one in self.got if isinstance(one, Task)]


@dataclass(eq=False)
class House:
    """A worker and what it works with."""

    jobs: Jobs
    queue: Queue
    worker: Worker
    stack: ExitStack

    def work(self) -> None:
        self.worker._work(self.stack)

    @property
    def process(self) -> Acted:
        (slot,) = self.worker._slots
        return slot.started  # type: ignore[return-value]

    def say(self, message: object) -> None:
        self.process.end.send(message)
        self.work()

    def started(self, who: Principal = LOCAL) -> str:
        """Start a job and let the worker take it."""
        name = self.jobs.create(who, JobRequest(process=GRAPH)).id
        self.jobs.start(who, name)
        self.work()
        if not self.worker._slots[0].ready:
            self.say(Ready())
        return name

    def status(self, name: str) -> Status:
        return self.jobs.get(LOCAL, name).status

    def codes(self, name: str) -> list[str]:
        return [one["code"] for one in entries.listed(self.jobs.database, "job", name)]


@pytest.fixture
def house(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(module, "Started", Acted)
    monkeypatch.setattr(module, "BEAT", 0.0)
    folders = JobFolders(tmp_path)
    worker = Worker(database, Workspace.of(tmp_path), folders, WorkerOptions(threads=1))
    with ExitStack() as stack:
        yield House(Jobs(database, folders), Queue(database), worker, stack)
        worker._leave()


def test_a_job_is_given_to_a_process_that_is_ready_and_reported(house: House):
    name = house.started()

    (task,) = house.process.tasks
    house.say(Told(40.0, TOOK, (Entry(Level.INFO, "seen", "Seen"),)))
    halfway = house.jobs.get(LOCAL, name)
    house.say(Told(99.0, TOOK, ended=True))

    assert (task.job, task.run, task.threads) == (name, 1, 1)
    assert halfway.progress == 40.0
    assert halfway.usage["cpu"] == {"value": 2.0, "unit": "cpu-seconds"}
    assert house.status(name) is Status.FINISHED
    assert house.codes(name) == ["JobQueued", "JobStarted", "Seen", "JobFinished"]


def test_no_job_is_taken_before_a_process_is_ready(house: House):
    name = house.jobs.create(LOCAL, JobRequest(process=GRAPH)).id
    house.jobs.start(LOCAL, name)

    house.work()

    assert house.status(name) is Status.QUEUED


@pytest.mark.parametrize("act", [Jobs.stop, Jobs.delete])
def test_a_job_that_is_not_wanted_kills_its_process(house: House, act: Any):
    name = house.started()
    process, folder = house.process, house.jobs.folders.of(name, 1)

    act(house.jobs, LOCAL, name)
    folder.mkdir(parents=True)  # what it writes before it is killed
    house.work()

    assert process.killed
    assert not folder.exists()


def test_a_job_goes_on_in_another_process_when_its_own_dies(house: House):
    name = house.started()
    house.say(Told(40.0, TOOK))
    folder = house.jobs.folders.of(name, 1)
    folder.mkdir(parents=True)

    house.process.end.close()
    house.work()
    house.say(Ready())
    (task,) = house.process.tasks
    house.say(Told(60.0, TOOK, ended=True))

    assert (task.job, task.run) == (name, 1)
    assert folder.exists()
    assert house.jobs.get(LOCAL, name).usage["cpu"]["value"] == 4.0  # of both processes
    assert "JobInterrupted" in house.codes(name)


def test_a_failure_leaves_its_reason_and_no_files(house: House):
    name = house.started()
    folder = house.jobs.folders.of(name, 1)
    folder.mkdir(parents=True)

    house.say(Told(1.0, TOOK, ended=True, error=Entry(Level.ERROR, "no", "NoDataAvailable")))

    assert house.status(name) is Status.ERROR
    assert house.codes(name)[-1] == "NoDataAvailable"
    assert not folder.exists()


def test_what_the_ledger_did_not_take_is_told_again(house: House, monkeypatch: pytest.MonkeyPatch):
    name = house.started()

    def fail(*_: object, **__: object) -> bool:
        raise OperationalError("update", {}, Exception("the server went away"))

    with monkeypatch.context() as away:
        away.setattr(Queue, "close", fail)
        with pytest.raises(OperationalError):
            house.say(Told(50.0, TOOK, (Entry(Level.INFO, "seen", "Seen"),), ended=True))
    house.work()

    assert house.status(name) is Status.FINISHED
    assert house.codes(name).count("Seen") == 1


def test_a_job_without_a_process_is_not_forgotten(house: House, monkeypatch: pytest.MonkeyPatch):
    name = house.started()

    def fail(*_: object, **__: object) -> None:
        raise OperationalError("update", {}, Exception("the server went away"))

    house.process.end.close()
    with monkeypatch.context() as away:
        away.setattr(Queue, "lose", fail)
        with pytest.raises(OperationalError):
            house.work()
    house.work()
    house.say(Ready())

    assert [task.job for task in house.process.tasks] == [name]


def test_a_worker_that_was_taken_for_dead_begins_anew(house: House):
    name = house.started()
    process, before = house.process, house.worker._name

    house.queue.give_up([before])
    house.work()
    house.work()

    assert process.killed
    assert house.worker._name not in {"", before}
    assert house.status(name) is Status.QUEUED


def test_a_worker_that_ends_gives_its_jobs_back(house: House):
    name = house.started()
    process = house.process

    house.worker._leave()

    assert process.killed
    assert house.status(name) is Status.QUEUED
    assert house.queue.workers() == []
    assert house.codes(name) == ["JobQueued", "JobStarted"]


def test_a_job_of_a_closed_account_ends_with_an_error(house: House):
    name = house.started(Principal("gone"))

    assert house.status(name) is Status.ERROR
    assert house.process.tasks == []


def test_processes_hear_that_their_worker_lives(house: House):
    house.work()
    house.work()

    assert any(isinstance(one, Beat) for one in house.process.got)


def test_files_that_nobody_needs_are_swept(house: House, monkeypatch: pytest.MonkeyPatch):
    name = house.started()
    house.say(Told(99.0, TOOK, ended=True))
    folders = house.jobs.folders
    kept, old, gone = folders.of(name, 1), folders.of(name, 0), folders.of("j-gone", 1)
    for folder in (kept, old, gone):
        folder.mkdir(parents=True)

    monkeypatch.setattr(module, "SWEEP", 0.0)
    house.work()

    assert [kept.exists(), old.exists(), gone.exists()] == [True, False, False]


def test_a_worker_of_this_machine_is_dead_when_its_lock_is_free(house: House):
    house.work()
    other = KnownWorker("other", house.worker._host, "2024-01-01T00:00:00Z")

    with house.jobs.folders.locked("worker-other", wait=True):
        alive = house.worker._dead(other)
    after = house.worker._dead(other)

    assert (alive, after) == (False, True)


def test_a_worker_of_another_machine_is_dead_when_it_is_silent(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    clock = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    first = KnownWorker("other", "elsewhere", "1970-01-01T00:00:00Z")  # clocks may differ
    later = KnownWorker("other", "elsewhere", "1970-01-01T00:00:09Z")

    told = []
    for other, seconds in ((first, 0.0), (first, LEASE - 1), (later, 2.0), (later, LEASE + 1)):
        clock[0] += seconds
        told.append(house.worker._dead(other))

    assert told == [False, False, False, True]


@pytest.fixture
def cancelled(house: House, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names that Slurm is told to drop by a worker whose jobs it computes."""
    names: list[str] = []
    house.worker._options = WorkerOptions(threads=1, elsewhere=Elsewhere("slurm"))
    monkeypatch.setattr("terrazzo.drivers.slurm_programs.cancel_named", names.append)
    return names


def told_slurm() -> None:
    """Wait until all was told to Slurm."""
    for thread in threading.enumerate():
        if thread.name == "cancel":
            thread.join()


def test_what_slurm_has_of_a_job_that_goes_on_is_left_to_whoever_goes_on(
    house: House, cancelled: list[str]
):
    name = house.started()

    house.process.end.close()
    house.work()
    told_slurm()

    assert house.status(name) is Status.QUEUED
    assert cancelled == []


@pytest.mark.parametrize("act", [Jobs.stop, Jobs.delete])
def test_what_slurm_has_of_a_job_that_is_not_wanted_is_dropped(
    house: House, cancelled: list[str], act: Any
):
    name = house.started()

    act(house.jobs, LOCAL, name)
    house.work()
    told_slurm()

    assert cancelled == [f"{name}-1"]


@pytest.mark.parametrize("act", [Jobs.stop, Jobs.delete])
def test_what_slurm_has_of_a_job_that_was_dropped_while_it_waited_is_dropped(
    house: House, cancelled: list[str], act: Any
):
    name = house.started()
    house.process.end.close()
    house.work()
    act(house.jobs, LOCAL, name)
    folder = house.jobs.folders.of(name, 1)
    folder.mkdir(parents=True)  # its tasks in Slurm go on

    house.worker._sweep()
    told_slurm()

    assert cancelled == [f"{name}-1"]
    assert not folder.exists()
