"""Submissions to Slurm that get lost: what it has taken is gone on with, or taken back."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from tests.drivers.slurm_cluster import RealSlurm, real_slurm
from tests.drivers.test_slurm import calm, cluster_of, order_of, pixels
from tests.drivers.test_slurm_storms import told_by
from typing_extensions import override

from terrazzo.drivers import slurm
from terrazzo.drivers.pool import ClusterUnusable
from terrazzo.drivers.slurm import Allocation, Slurm
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes

LOST = "Batch job submission failed: Socket timed out on send/recv operation"


@pytest.fixture(scope="module")
def cluster(shared: Path) -> Iterator[RealSlurm]:
    with real_slurm(shared) as started:
        yield started


class Queue:
    """Slurm's programs with a queue; it may take a job and not say so, or say nothing at all."""

    def __init__(self) -> None:
        self.jobs: dict[str, str] = {"1": "somebody's", "2": "", "3": "(null)"}
        self.submitted = 0
        self.takes, self.says, self.answers = True, True, True

    def __call__(self, command: tuple[str, ...]) -> str:
        return getattr(self, command[0])(command)

    def sbatch(self, command: tuple[str, ...]) -> str:
        self.submitted += 1
        (word,) = (one for one in command if one.startswith("--comment="))
        number = str(30 + self.submitted)
        if self.takes:
            self.jobs[number] = word.partition("=")[2]
        if not self.says:
            raise ClusterUnusable(LOST)
        return f"{number}\n"

    def squeue(self, command: tuple[str, ...]) -> str:
        if not self.answers:
            raise ClusterUnusable("squeue did not answer")
        assert command[1:] == ("--me", "--noheader", "--format=%F %k")
        return "".join(f"{number} {word}\n" for number, word in self.jobs.items())

    def scancel(self, command: tuple[str, ...]) -> str:
        for number in command[1:]:
            if not self.jobs.pop(number, ""):
                raise ClusterUnusable("Invalid job id specified")
        return ""


@pytest.fixture
def queue() -> Iterator[Queue]:
    made = Queue()
    with told_by(made):
        yield made


def fresh(folder: Path) -> Slurm:
    return Slurm(folder, ["terrazzo"], Allocation(2, 1, 1))


def test_a_job_that_was_taken_without_a_word_is_gone_on_with(tmp_path: Path, queue: Queue):
    queue.says = False
    there = fresh(tmp_path)

    there.submit(2, stages=False)

    assert there.jobs == ("31", "32")
    assert queue.submitted == 2


def test_what_slurm_refuses_is_told_in_its_words(tmp_path: Path, queue: Queue):
    queue.takes = queue.says = False
    there = fresh(tmp_path)

    with pytest.raises(ClusterUnusable, match="Socket timed out"):
        there.submit(2, stages=False)

    assert queue.submitted == 1
    assert there.jobs == ()


def lost(folder: Path, queue: Queue) -> Slurm:
    """Submit a job that Slurm takes, and does not answer any more."""
    queue.says = queue.answers = False
    there = fresh(folder)
    with pytest.raises(ClusterUnusable, match="Socket timed out"):
        there.submit(2, stages=False)
    there.cancel()  # which finds nothing, either
    assert "31" in queue.jobs
    queue.says = queue.answers = True
    return there


def test_a_job_that_got_lost_is_cancelled_with_the_others(tmp_path: Path, queue: Queue):
    there = lost(tmp_path, queue)

    there.cancel()

    assert set(queue.jobs) == {"1", "2", "3"}


def test_a_job_that_got_lost_is_taken_back_before_others_are_submitted(
    tmp_path: Path, queue: Queue
):
    lost(tmp_path, queue)
    there = fresh(tmp_path)  # in another process, perhaps

    there.submit(2, stages=False)

    assert set(queue.jobs) == {"1", "2", "3", *there.jobs}
    there.cancel()
    assert set(queue.jobs) == {"1", "2", "3"}


def test_a_job_that_is_taken_after_all_was_cancelled_is_found_later(tmp_path: Path, queue: Queue):
    """A controller under load: it answers, and has the job that was sent before later."""
    there = lost(tmp_path, queue)
    word = queue.jobs.pop("31")
    there.cancel()
    queue.jobs["31"] = word

    fresh(tmp_path).submit(2, stages=False)

    assert "31" not in queue.jobs


def test_a_job_that_got_lost_and_is_over_is_no_error(tmp_path: Path, queue: Queue):
    class Over(Queue):
        @override
        def scancel(self, command: tuple[str, ...]) -> str:
            self.jobs.pop(command[1])
            raise ClusterUnusable("Job/step already completing or completed")

    lost(tmp_path, queue)
    over = Over()
    over.jobs, over.submitted = queue.jobs, queue.submitted
    there = fresh(tmp_path)

    with told_by(over):
        there.submit(2, stages=False)

    assert set(queue.jobs) == {"1", "2", "3", *there.jobs}


def test_nothing_is_submitted_while_a_lost_job_cannot_be_looked_for(tmp_path: Path, queue: Queue):
    lost(tmp_path, queue)
    queue.answers = False

    with pytest.raises(ClusterUnusable, match="squeue"):
        fresh(tmp_path).submit(2, stages=False)

    assert queue.submitted == 1


@pytest.mark.parametrize("damage", [b"", b"\n", b"(null)", b"somebody's", b"\xff"])
def test_a_damaged_note_is_of_no_job(tmp_path: Path, queue: Queue, damage: bytes):
    lost(tmp_path, queue)
    (note,) = tmp_path.rglob("submitting")
    note.write_bytes(damage)

    fresh(tmp_path).submit(2, stages=False)

    assert {"1", "2", "3"} < set(queue.jobs)


def broken(folder: Path, name: str, script: str) -> None:
    """Put a program before one of Slurm's, which it can call as `$real`."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\nreal={shutil.which(name)}\n{script}\n")
    path.chmod(0o755)


@pytest.mark.slow
def test_a_real_job_that_was_taken_without_a_word_is_gone_on_with(
    scenes: Scenes, cluster: RealSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    order = order_of()
    here = calm(scenes, tmp_path / "here", order)
    there = cluster_of(scenes, tmp_path / "there")
    numbers = tmp_path / "numbers"
    silent = f'"$real" "$@" >> {numbers}; echo "{LOST}" >&2; exit 1'
    broken(tmp_path / "bin", "sbatch", silent)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    made = slurm.run(order, scenes.workspace, there, Progress())

    assert made is not None
    assert made.resumed == made.blocks > 0  # nothing was left to do here
    assert list(there.jobs) == numbers.read_text().split()
    assert pixels(there.folder) == pixels(here)
    assert not cluster.say("squeue", "--noheader")


@pytest.mark.slow
def test_a_real_job_that_got_lost_is_taken_back_by_the_next_command(
    cluster: RealSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broken(tmp_path / "bin", "sbatch", f'"$real" "$@"; echo "{LOST}" >&2; exit 1')
    broken(tmp_path / "bin", "squeue", f'echo "{LOST}" >&2; exit 1')
    there, again = fresh(tmp_path / "there"), fresh(tmp_path / "there")
    cluster.say("scontrol", "update", "partitionname=main", "state=down")

    try:
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
            with pytest.raises(ClusterUnusable, match="Socket timed out"):
                there.submit(2, stages=False)
            there.cancel()
        (left,) = cluster.say("squeue", "--noheader", "--format=%F").split()
        again.submit(2, stages=False)
        waiting = set(cluster.say("squeue", "--noheader", "--format=%F").split())
        again.cancel()
    finally:
        cluster.say("scontrol", "update", "partitionname=main", "state=up")

    assert waiting == set(again.jobs)
    assert left not in waiting
    assert "JobState=CANCELLED" in cluster.say("scontrol", "show", "job", left)
    assert not cluster.say("squeue", "--noheader")
