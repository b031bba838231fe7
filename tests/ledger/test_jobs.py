"""What owners do with their jobs, and who else sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from terrazzo.ledger import LOCAL, Database, Principal, entries
from terrazzo.ledger.folders import JobFolders
from terrazzo.ledger.jobs import JobLocked, JobNotFound, JobRequest, Jobs, Status
from terrazzo.ledger.queue import Queue
from terrazzo.logs import Entry, Level

if TYPE_CHECKING:
    from pathlib import Path

ANNA, BERT = Principal("anna"), Principal("bert")
GRAPH = {"process_graph": {"one": {"process_id": "pi", "arguments": {}, "result": True}}}


@pytest.fixture
def jobs(database: Database, tmp_path: Path) -> Jobs:
    return Jobs(database, JobFolders(tmp_path))


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database)


def made(jobs: Jobs, who: Principal = ANNA, **options: object) -> str:
    return jobs.create(who, JobRequest({"title": "T"}, GRAPH, options)).id


def told(jobs: Jobs, name: str) -> list[str]:
    return [one["code"] for one in entries.listed(jobs.database, "job", name)]


def test_a_job_is_kept_as_it_was_given(jobs: Jobs):
    name = made(jobs, log_level="debug", budget=100)

    kept = jobs.get(ANNA, name)

    assert (kept.title, kept.process, kept.status) == ("T", GRAPH, Status.CREATED)
    assert dict(kept.options) == {"log_level": "debug", "budget": 100}
    assert kept.log_level is Level.DEBUG


def test_a_job_of_somebody_else_does_not_exist(jobs: Jobs):
    name = made(jobs)

    for act in (
        lambda: jobs.get(BERT, name),
        lambda: jobs.update(BERT, name, JobRequest({"title": "mine"})),
        lambda: jobs.start(BERT, name),
        lambda: jobs.stop(BERT, name),
        lambda: jobs.delete(BERT, name),
    ):
        with pytest.raises(JobNotFound) as denied:
            act()
        with pytest.raises(JobNotFound) as missing:
            jobs.get(BERT, "j-" + "0" * 32)
        assert str(denied.value) == str(missing.value)
    assert jobs.listed(BERT) == []
    assert jobs.get(LOCAL, name).id == name


@pytest.mark.parametrize("name", ["", "x\0y", "j-1", "' or 1=1 --", "ü"])
def test_what_cannot_be_an_id_names_no_job(jobs: Jobs, name: str):
    with pytest.raises(JobNotFound):
        jobs.get(ANNA, name)


def test_lists_go_on_where_they_ended_whatever_comes_between(jobs: Jobs):
    names = [made(jobs) for _ in range(5)]

    first = jobs.listed(ANNA, limit=2)
    made(jobs)
    jobs.delete(ANNA, names[0])
    rest = jobs.listed(ANNA, (first[-1].created, first[-1].id))

    assert [one.id for one in first + rest] == names[:0:-1]


def test_a_job_that_waits_or_runs_is_not_changed(jobs: Jobs, queue: Queue):
    name = made(jobs)
    queue.announce("w", "here", 1)

    jobs.start(ANNA, name)
    with pytest.raises(JobLocked, match="queued"):
        jobs.update(ANNA, name, JobRequest({"title": "new"}))
    queue.claim("w")
    with pytest.raises(JobLocked, match="running"):
        jobs.update(ANNA, name, JobRequest({"title": "new"}))
    jobs.stop(ANNA, name)
    jobs.update(ANNA, name, JobRequest({"title": None}, options={"log_level": "error"}))

    assert jobs.get(ANNA, name).title is None
    assert jobs.get(ANNA, name).log_level is Level.ERROR


def test_starting_twice_is_starting_once(jobs: Jobs, queue: Queue):
    name = made(jobs)
    queue.announce("w", "here", 1)

    jobs.start(ANNA, name)
    jobs.start(ANNA, name)
    claim = queue.claim("w")
    jobs.start(ANNA, name)

    assert claim is not None
    assert claim.key == (name, 1)
    assert queue.claim("w") is None
    assert jobs.get(ANNA, name).status is Status.RUNNING


def test_starting_again_forgets_what_was(jobs: Jobs, queue: Queue):
    name = made(jobs)
    queue.announce("w", "here", 1)
    jobs.start(ANNA, name)
    claim = queue.claim("w")
    assert claim is not None
    folder = jobs.folders.of(name, 1)
    folder.mkdir(parents=True)
    queue.close(claim, Status.FINISHED, {"cpu": {"value": 1}}, Entry(Level.INFO, "done", "Done"))

    jobs.start(ANNA, name)

    again = jobs.get(ANNA, name)
    assert (again.status, again.run, again.progress, again.usage) == (Status.QUEUED, 2, 0.0, {})
    assert told(jobs, name) == ["JobQueued"]
    assert not folder.exists()


def test_stopping_takes_the_job_from_its_worker_at_once(jobs: Jobs, queue: Queue):
    name = made(jobs)
    queue.announce("w", "here", 1)
    jobs.start(ANNA, name)
    claim = queue.claim("w")
    assert claim is not None

    jobs.stop(ANNA, name)

    assert jobs.get(ANNA, name).status is Status.CREATED
    assert queue.held("w") == set()
    assert not queue.report(claim, 50.0, {}, [Entry(Level.INFO, "late")])
    assert not queue.close(claim, Status.FINISHED, {}, Entry(Level.INFO, "late"))
    assert jobs.get(ANNA, name).status is Status.CREATED
    assert told(jobs, name) == ["JobQueued", "JobStarted", "JobStopped"]


def test_a_deleted_job_leaves_neither_log_nor_files(jobs: Jobs, queue: Queue):
    name = made(jobs)
    queue.announce("w", "here", 1)
    jobs.start(ANNA, name)
    claim = queue.claim("w")
    assert claim is not None
    folder = jobs.folders.of(name, 1)
    folder.mkdir(parents=True)

    jobs.delete(ANNA, name)

    assert not queue.report(claim, 50.0, {}, [Entry(Level.INFO, "late")])
    assert told(jobs, name) == []
    assert list(jobs.folders.known()) == []


def test_only_what_is_serious_enough_is_kept(jobs: Jobs, queue: Queue):
    name = made(jobs, log_level="warning")
    queue.announce("w", "here", 1)
    jobs.start(ANNA, name)
    claim = queue.claim("w")
    assert claim is not None

    queue.report(claim, 1.0, {}, [Entry(level, level.value, level.value) for level in Level])

    assert told(jobs, name) == ["error", "warning"]


def test_a_list_of_jobs_reads_no_graphs(jobs: Jobs):
    made(jobs)

    (one,) = jobs.listed(ANNA)

    assert (one.title, one.process, one.processes) == ("T", {}, "{}")
