"""Workers as processes: jobs that really run, on both databases, and workers that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.server.small import graph, make_home

from terrazzo.drivers.described import Results
from terrazzo.ledger import LOCAL, Database
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import JobRequest, Jobs, Status
from terrazzo.ledger.queue import Queue
from terrazzo.ledger.worker import WorkerOptions
from terrazzo.ledger.workers import JobWorkers

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

SOON = 300.0
"""Seconds that a few small jobs may take on a busy machine."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_home(tmp_path_factory.mktemp("workers"))


@pytest.fixture
def jobs(database: Database, workspace: Workspace) -> Jobs:
    return Jobs(database, JobFolders(workspace.home))


def started(jobs: Jobs) -> str:
    name = jobs.create(LOCAL, JobRequest(process=graph(save=True))).id
    jobs.start(LOCAL, name)
    return name


def wait_for(jobs: Jobs, name: str, status: Status) -> None:
    end = time.monotonic() + SOON
    while jobs.get(LOCAL, name).status is not status:
        assert time.monotonic() < end, jobs.get(LOCAL, name)
        time.sleep(0.05)


def test_jobs_run_in_processes_and_leave_nothing_running(jobs: Jobs, workspace: Workspace):
    names = [started(jobs) for _ in range(4)]

    with JobWorkers(workspace, jobs.database.url, WorkerOptions(slots=2)) as workers:
        for name in names:
            wait_for(jobs, name, Status.FINISHED)
        pid = workers.pid

    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)
    assert Queue(jobs.database).workers() == []
    made = [Results.of(jobs.folders.of(name, 1)) for name in names]
    digests = {str(one.told["parts"]) for one in made if one is not None}
    assert len(digests) == 1, "the same graph gives the same bytes"


def test_a_worker_that_is_killed_is_started_again(jobs: Jobs, workspace: Workspace):
    with JobWorkers(workspace, jobs.database.url) as workers:
        before = workers.pid
        assert before is not None
        os.kill(before, signal.SIGKILL)
        name = started(jobs)
        wait_for(jobs, name, Status.FINISHED)

        assert workers.pid != before


def test_without_places_nothing_is_started(workspace: Workspace):
    with JobWorkers(workspace, options=WorkerOptions(slots=0)) as workers:
        assert workers.pid is None


def test_the_command_runs_jobs_until_it_is_told_to_stop(jobs: Jobs, workspace: Workspace):
    name = started(jobs)
    run = "from terrazzo.cli import main; main()"
    command = [sys.executable, "-c", run, "--home", str(workspace.home), "worker"]
    environment = os.environ | {"TERRAZZO_DATABASE": jobs.database.url}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_for(jobs, name, Status.FINISHED)
        process.terminate()
        _, told = process.communicate(timeout=SOON)

    assert process.returncode == 0, told
    assert told.splitlines()[-1].startswith("Stopped.")


def test_the_folder_of_a_lock_that_is_taken_says_so(tmp_path: Path):
    folders = JobFolders(tmp_path)

    with folders.locked("a", wait=True) as first, folders.locked("a", wait=False) as second:
        assert (first, second) == (True, False)
    with folders.locked("a", wait=False) as third:
        assert third
