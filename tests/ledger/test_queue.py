"""The queue: every job once, users in turn, and nothing lost with a worker."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from terrazzo.ledger import Database, Principal, entries
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import JobRequest, Jobs, Status
from terrazzo.ledger.queue import MOST_LOST, WORKERS_LOST, Claim, Queue
from terrazzo.logs import Entry, Level

if TYPE_CHECKING:
    from pathlib import Path

GRAPH = {"process_graph": {"one": {"process_id": "pi", "arguments": {}, "result": True}}}
DONE = Entry(Level.INFO, "done", "JobFinished")
COUNT = 200


@pytest.fixture
def jobs(database: Database, tmp_path: Path) -> Jobs:
    return Jobs(database, JobFolders(tmp_path))


@pytest.fixture
def queue(database: Database) -> Queue:
    queue = Queue(database)
    for name in "vw":
        queue.announce(name, "here", 1)
    return queue


def queued(jobs: Jobs, owner: str = "anna") -> str:
    name = jobs.create(Principal(owner), JobRequest(process=GRAPH)).id
    jobs.start(Principal(owner), name)
    return name


def taken(queue: Queue, worker: str = "w") -> Claim:
    claim = queue.claim(worker)
    assert claim is not None
    return claim


def drained(queue: Queue, worker: str) -> list[str]:
    """Take and finish jobs until none waits."""
    names = []
    while (claim := queue.claim(worker)) is not None:
        names.append(claim.job.id)
        assert queue.close(claim, Status.FINISHED, {}, DONE)
    return names


def test_workers_that_race_take_each_of_200_jobs_once(jobs: Jobs, queue: Queue):
    names = [queued(jobs) for _ in range(COUNT)]

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(lambda worker: drained(queue, worker), "vwvw"))

    assert Counter(name for one in taken for name in one) == Counter(names)
    finished = Counter(status for _, status in queue.wanted().values())
    assert finished == {Status.FINISHED: COUNT}


RACER = """
import sys
from terrazzo.ledger import Database
from terrazzo.ledger.jobs import Status
from terrazzo.ledger.queue import Queue
from terrazzo.logs import Entry, Level

database = Database(sys.stdin.readline().strip())
queue = Queue(database)
queue.announce(sys.argv[1], "here", 1)
while (claim := queue.claim(sys.argv[1])) is not None:
    assert queue.close(claim, Status.FINISHED, {}, Entry(Level.INFO, "done", "JobFinished"))
    print(claim.job.id)
database.close()
"""


def test_processes_that_race_take_each_job_once(jobs: Jobs):
    names = [queued(jobs) for _ in range(40)]

    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for worker in "xy"
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(f"{jobs.database.url}\n")
        racer.stdin.flush()
    took = [racer.communicate(timeout=300)[0].split() for racer in racers]

    assert [racer.returncode for racer in racers] == [0, 0]
    assert Counter(name for one in took for name in one) == Counter(names)


def test_a_user_with_many_jobs_does_not_keep_another_waiting(jobs: Jobs, queue: Queue):
    for _ in range(50):
        queued(jobs, "anna")
    first = taken(queue)
    queue.close(first, Status.FINISHED, {}, DONE)
    late = queued(jobs, "bert")

    assert first.job.owner == "anna"
    assert taken(queue).job.id == late


def test_users_take_turns(jobs: Jobs, queue: Queue):
    for owner in ("anna", "anna", "anna", "bert", "bert", "cleo"):
        queued(jobs, owner)

    order = []
    while (claim := queue.claim("w")) is not None:
        order.append(claim.job.owner)
        queue.close(claim, Status.FINISHED, {}, DONE)

    assert order == ["anna", "bert", "cleo", "anna", "bert", "anna"]


def test_who_has_fewer_jobs_running_comes_first(jobs: Jobs, queue: Queue):
    for owner in ("anna", "anna", "bert", "bert"):
        queued(jobs, owner)

    running = [taken(queue).job.owner for _ in range(3)]
    queued(jobs, "cleo")

    assert running == ["anna", "bert", "anna"]
    assert taken(queue).job.owner == "cleo"
    assert taken(queue).job.owner == "bert"


def test_jobs_of_one_user_come_in_their_order(jobs: Jobs, queue: Queue):
    names = [queued(jobs) for _ in range(5)]

    assert drained(queue, "w") == names


def test_a_job_of_a_dead_worker_goes_on_as_it_was(jobs: Jobs, queue: Queue):
    name = queued(jobs)
    queued(jobs)
    lost = taken(queue, "v")
    queue.report(lost, 40.0, {"cpu": {"value": 3.0, "unit": "cpu-seconds"}})

    queue.give_up(["v"])
    again = taken(queue, "w")

    assert again.key == (name, 1)
    assert again.job.progress == 40.0
    assert again.job.usage["cpu"]["value"] == 3.0
    assert not queue.renew("v")


def test_a_worker_that_was_thought_dead_changes_nothing_any_more(jobs: Jobs, queue: Queue):
    name = queued(jobs)
    late = taken(queue, "v")
    queue.give_up(["v"])
    now = taken(queue, "w")

    assert queue.held("v") == set()
    assert not queue.report(late, 90.0, {}, [Entry(Level.INFO, "late")])
    assert not queue.close(late, Status.ERROR, {}, Entry(Level.ERROR, "late"))
    assert queue.lose("v", late.key) is None
    queue.give_back(late)
    assert queue.close(now, Status.FINISHED, {}, DONE)
    assert jobs.get(Principal("anna"), name).status is Status.FINISHED


def test_what_a_worker_gives_back_comes_first_again(jobs: Jobs, queue: Queue):
    first, second = queued(jobs), queued(jobs)

    queue.give_back(taken(queue, "v"))

    assert drained(queue, "w") == [first, second]


def test_what_blocks_tell_again_after_an_interruption_is_there_once(jobs: Jobs, queue: Queue):
    name = queued(jobs)
    queue.report(taken(queue, "v"), 40.0, {}, [Entry(Level.INFO, "seen", "Told")])
    queue.give_up(["v"])

    queue.report(taken(queue, "w"), 40.0, {}, [Entry(Level.INFO, "seen", "Told")])

    codes = [one["code"] for one in entries.listed(jobs.database, "job", name)]
    assert codes == ["JobQueued", "JobStarted", "JobInterrupted", "JobResumed", "Told"]


def test_a_job_that_kills_its_process_each_time_is_given_up(jobs: Jobs, queue: Queue):
    name = queued(jobs)

    became = [queue.lose("w", taken(queue).key) for _ in range(MOST_LOST)]

    assert became == [Status.QUEUED] * (MOST_LOST - 1) + [Status.ERROR]
    assert queue.claim("w") is None
    (last,) = entries.listed(jobs.database, "job", name, level=Level.ERROR)
    assert "given up" in last["message"]


def test_a_job_outlives_more_workers_than_processes_of_its_own(jobs: Jobs, queue: Queue):
    name = queued(jobs)

    became = []
    for number in range(MOST_LOST * WORKERS_LOST):
        queue.announce(f"x{number}", "here", 1)
        taken(queue, f"x{number}")
        queue.give_up([f"x{number}"])
        became.append(jobs.get(Principal("anna"), name).status)

    assert became == [Status.QUEUED] * (len(became) - 1) + [Status.ERROR]


def test_a_job_that_gets_further_each_time_is_not_given_up(jobs: Jobs, queue: Queue):
    name = queued(jobs)

    for number in range(3 * MOST_LOST):
        claim = taken(queue)
        queue.report(claim, float(number + 1), {})
        queue.lose("w", claim.key)

    assert jobs.get(Principal("anna"), name).status is Status.QUEUED
