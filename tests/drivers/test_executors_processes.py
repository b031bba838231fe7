"""Worker processes of one machine: they are replaced when they die, and nothing else is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.drivers.scenes import composite, job_of
from tests.drivers.test_survival import alive_in, digests
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.executors import Stint, computed
from terrazzo.drivers.executors import rounds as rounds_module
from terrazzo.drivers.executors.local import processes
from terrazzo.drivers.executors.work import Made, lost
from terrazzo.drivers.pool import Pool
from terrazzo.errors import ArgumentInvalid, OutputFailed
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from tests.drivers.scenes import Scenes

COUNT = 12
DEADLY, FULL = 5, 7


@dataclass(frozen=True)
class Numbers:
    """A work without pixels, of which some parts end their process."""

    folder: Path
    """Where each process that was begun has a file of its own."""
    deadly: tuple[int, ...] = ()
    """Blocks that kill whoever is at them."""
    once: bool = False
    """Whether they do so only the first time."""
    opens: str = ""
    """How opening goes wrong: it kills, or raises."""

    def opened(self) -> Numbers:
        """Note that there is one process more."""
        (self.folder / f"{os.getpid()}.begun").touch()
        if self.opens == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.opens == "raises":
            raise ArgumentInvalid("no such collection")
        return self

    def make(self, number: int, kept: int) -> Made:
        """Say what the process is."""
        mark = self.folder / f"{number}.tried"
        if number in self.deadly and not (self.once and mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number == FULL and self.opens == "full":
            raise OutputFailed("the disk is full")
        return Made(version=os.getpid(), resumed=bool(kept))

    @property
    def begun(self) -> int:
        """How many processes there were."""
        return len(list(self.folder.glob("*.begun")))


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "PAUSE_S", 0.0)


def made_by(numbers: Numbers, size: int = 2) -> dict[int, Made]:
    with processes(numbers, size, lost) as workers:
        return dict(computed(workers, range(COUNT), [0] * COUNT, Progress()))


def test_every_worker_is_one_process_from_first_to_last(tmp_path: Path):
    numbers = Numbers(tmp_path)

    made = made_by(numbers)

    assert sorted(made) == list(range(COUNT))
    assert numbers.begun <= 2
    assert len({one.version for one in made.values()} | {os.getpid()}) == numbers.begun + 1
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_is_replaced_and_its_block_made(tmp_path: Path):
    numbers = Numbers(tmp_path, (DEADLY,), once=True)

    made = made_by(numbers, size=1)

    assert not any(one.error for one in made.values())
    assert numbers.begun == 2
    assert len({one.version for one in made.values()}) == 2


def test_a_block_that_kills_its_worker_each_time_is_given_up_alone(tmp_path: Path):
    numbers = Numbers(tmp_path, (DEADLY,))

    made = made_by(numbers)

    assert [number for number, one in made.items() if one.error] == [DEADLY]
    assert "memory" in made[DEADLY].error
    assert sorted(made) == list(range(COUNT))


def test_workers_that_die_before_they_can_do_anything_end_the_run(tmp_path: Path):
    numbers = Numbers(tmp_path, opens="kills")

    with pytest.raises(BrokenExecutor, match="killed"):
        made_by(numbers, size=1)

    assert 1 < numbers.begun < COUNT
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(("opens", "error"), [("raises", ArgumentInvalid), ("full", OutputFailed)])
def test_what_a_worker_raises_is_raised_here(tmp_path: Path, opens: str, error: type[Exception]):
    with pytest.raises(error):
        made_by(Numbers(tmp_path, opens=opens))

    assert not multiprocessing.active_children()


def test_whoever_stops_does_not_wait_for_what_is_in_work(tmp_path: Path):
    """The worker hangs in a block that nobody ends."""
    fifo = tmp_path / "never"
    os.mkfifo(fifo)

    def stop_when_begun() -> None:
        with processes(Hanging(fifo), 1, lost) as workers:
            futures.append(workers.submit(((0, 0),)))
            with fifo.open("w"):  # opens when the worker reads it
                raise KeyboardInterrupt

    futures: list[Future[Stint[Made]]] = []
    with pytest.raises(KeyboardInterrupt):
        stop_when_begun()

    assert futures[0].done()
    assert not multiprocessing.active_children()


@dataclass(frozen=True)
class Hanging:
    """A work whose parts take for ever."""

    fifo: Path

    def opened(self) -> Hanging:
        """Be it."""
        return self

    def make(self, number: int, kept: int) -> Made:
        """Wait for what never comes."""
        del number, kept
        with self.fifo.open() as file:
            os.read(file.fileno(), 1)
            signal.pause()
        return Made()


@pytest.mark.slow
def test_a_run_whose_workers_are_killed_ends_in_the_same_bytes(scenes: Scenes, tmp_path: Path):
    ours = set(alive_in(os.getpgid(0)))

    class Killing(Progress):
        killed = 0

        @override
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.done in {2, 9}:
                worker = multiprocessing.active_children()[0].pid
                assert worker not in ours
                os.kill(worker or 0, signal.SIGKILL)
                self.killed += 1

    calm, hunted, progress = tmp_path / "calm", tmp_path / "hunted", Killing()
    batch.run(job_of(composite()), scenes.workspace, calm, block=100)

    made = batch.run(
        job_of(composite()), scenes.workspace, hunted, block=100, pool=Pool("processes", 2),
        progress=progress,
    )  # fmt: skip

    assert progress.killed == 2
    assert made.blocks == progress.done
    assert digests(hunted) == digests(calm)
