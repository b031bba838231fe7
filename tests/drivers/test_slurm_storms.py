"""Runs on a real Slurm whose nodes are drained and whose scheduler is killed: nothing is lost."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.drivers.slurm_cluster import NODES, RealSlurm, real_slurm
from tests.drivers.test_slurm import calm, cluster_of, order_of, pixels
from typing_extensions import override

from terrazzo.drivers import slurm, slurm_programs, slurm_waits
from terrazzo.drivers.pool import ClusterUnusable
from terrazzo.drivers.slurm import FOLDER, Allocation, Slurm
from terrazzo.progress import Cancelled, Progress, Stoppable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.drivers.order import Order

HITS = 10
GIVEN_UP = 12
"""How often at most the same command is given again, in a test that hits so often."""
PATIENCE_S = 120.0
"""For tasks to end that Slurm took for lost."""


@pytest.fixture(scope="module")
def started(shared: Path) -> Iterator[RealSlurm]:
    with real_slurm(shared) as slurm_of_two:
        yield slurm_of_two


@pytest.fixture
def cluster(started: RealSlurm) -> RealSlurm:
    """One whose nodes are all in service: it drains those of which it remembers too little."""
    started.resume_nodes()
    return started


@contextmanager
def hunted(hit: Callable[[random.Random], None], hits: list[int]) -> Iterator[None]:
    """Hit something at random moments while the `with` block runs."""
    over, chance = threading.Event(), random.Random(7)

    def hunt() -> None:
        while len(hits) < HITS and not over.wait(chance.uniform(0.1, 2)):
            hit(chance)
            hits.append(1)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        yield
    finally:
        over.set()
        hunter.join()


def run_to_the_end(order: Order, scenes: Scenes, folder: Path) -> None:
    """Give the command again, as its message says, as long as Slurm is away."""
    for _ in range(GIVEN_UP):
        try:
            made = slurm.run(order, scenes.workspace, cluster_of(scenes, folder, 4), Progress())
        except ClusterUnusable:
            continue
        assert made is not None
        return
    pytest.fail("Slurm is away whenever it is asked")


def settle(folder: Path, wanted: dict[str, str]) -> None:
    """Wait until a run has what is wanted, and nothing else."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with suppress(FileNotFoundError):  # it is tidied while it is looked at
            if pixels(folder) == wanted:
                return
        time.sleep(0.2)
    assert pixels(folder) == wanted


def storm(
    scenes: Scenes, folder: Path, hit: Callable[[random.Random], None]
) -> tuple[list[int], Path]:
    """Run until there were enough hits; compare each run with one in calm."""
    order, hits = order_of(block=40), []
    here = calm(scenes, folder / "here", order)
    turn = 0
    # A scheduler that is killed soon forgets jobs before any task begins: one must have.
    while len(hits) < HITS or not list(folder.glob(f"there-*/{FOLDER}/work-*.log")):
        assert turn < GIVEN_UP + HITS
        there = folder / f"there-{turn}"
        with hunted(hit, hits):
            run_to_the_end(order, scenes, there)
        # A task that Slurm took for lost may still be at work, and tidies after itself.
        settle(there, pixels(here))
        turn += 1
    return hits, folder / "there-0"


@pytest.mark.slow
def test_nodes_that_are_drained_or_down_cost_nothing(
    scenes: Scenes, cluster: RealSlurm, tmp_path: Path
):
    moments = threading.Event()

    def hit(chance: random.Random) -> None:
        node = chance.choice(NODES)
        cluster.set_node(node, chance.choice(["drain", "down"]))
        moments.wait(chance.uniform(0.1, 1))
        cluster.set_node(node, "resume")

    hits, there = storm(scenes, tmp_path, hit)

    assert len(hits) == HITS
    assert list((there / FOLDER).glob("work-*.log"))


@pytest.mark.slow
def test_a_scheduler_that_is_killed_costs_nothing(
    scenes: Scenes, cluster: RealSlurm, tmp_path: Path
):
    moments = threading.Event()

    def hit(chance: random.Random) -> None:
        cluster.kill_controller()
        moments.wait(chance.uniform(0, 1))
        cluster.start_controller()
        cluster.resume_nodes()

    hits, _ = storm(scenes, tmp_path, hit)

    assert len(hits) == HITS
    assert list(tmp_path.glob(f"there-*/{FOLDER}/work-*.log"))


class Away(Slurm):
    """One that does not answer for some times, and then says that all is over."""

    def __init__(self, folder: Path, times: int) -> None:
        super().__init__(folder, ["terrazzo"], Allocation(1, 1, 1))
        self.times, self.asked, self.cancelled = times, 0, False

    @override
    def submit(self, tasks: int, *, stages: bool) -> None:
        """Nothing is submitted."""

    @override
    def states(self) -> Counter[str]:
        self.asked += 1
        if self.asked <= self.times:
            raise ClusterUnusable("squeue did not answer")
        return Counter()

    @override
    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Three:
    """Three parts, none of which is made."""

    unit: str = "blocks"
    count: int = 3

    def there(self) -> int:
        return 0

    def aside(self) -> int:
        return 0

    def tell(self, progress: Progress) -> None:
        """Nobody has made anything that could have said something."""


def test_a_slurm_that_answers_again_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slurm, "LOOK_S", 0.0)
    monkeypatch.setattr(slurm, "PAUSE_S", 0.0)
    away = Away(tmp_path, 5)

    slurm.carried_out(away, Three(), Progress())

    assert away.asked == 7  # and once more in a second round
    assert not away.cancelled


def test_a_slurm_that_stays_away_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slurm, "AWAY_S", 0.0)
    monkeypatch.setattr(slurm, "LOOK_S", 0.0)
    away = Away(tmp_path, 10**9)

    with pytest.raises(ClusterUnusable, match="squeue"):
        slurm.carried_out(away, Three(), Progress())

    assert away.cancelled


class Told:
    """Slurm's programs, as far as they are asked here: they say what a test says, in turn."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.calls = list(answers), []

    def __call__(self, command: tuple[str, ...]) -> str:
        self.calls.append(" ".join(command))
        if command[0] == "squeue" and "--me" not in command:
            return self.answers.pop(0) if self.answers else ""
        return "7" if command[0] == "sbatch" else ""


@contextmanager
def told_by(told: Callable[[tuple[str, ...]], str]) -> Iterator[None]:
    """Have nothing but what is told, and no time pass between two looks."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (slurm, slurm_programs, slurm_waits):
            patch.setattr(module, "call", told)
        patch.setattr(slurm, "LOOK_S", 0.0)
        patch.setattr(slurm, "PAUSE_S", 0.0)
        patch.setattr(slurm_waits, "REST_S", 0.0)
        yield


def followed(folder: Path, told: Told, parts: Three) -> list[str]:
    with told_by(told):
        slurm.carried_out(Slurm(folder, ["terrazzo"], Allocation(2, 1, 1)), parts, Progress())
    return [call for call in told.calls if not call.startswith(("squeue", "sbatch"))]


def test_tasks_that_come_back_when_all_is_made_are_not_waited_for(tmp_path: Path):
    """Slurm lets a task whose node was lost begin again only after two minutes."""

    class Growing(Three):
        looks = 0

        def there(self) -> int:
            self.looks += 1
            return min(self.looks - 1, self.count)

    told = Told(*["PENDING|BeginTime\n"] * 6, "")

    assert followed(tmp_path, told, Growing()) == ["scancel --state=PENDING 7"]


def test_tasks_that_wait_since_their_node_was_lost_begin_now(tmp_path: Path):
    told = Told(
        "RUNNING|None|7_0\nRUNNING|None|7_1\n",
        "RUNNING|None|7_0\nPENDING|BeginTime|7_1\nPENDING|Dependency|8\n",
        "PENDING|BeginTime|7_1\n",
        "",
    )

    assert followed(tmp_path, told, Three()) == ["scontrol update jobid=7_1 starttime=now"] * 2


def test_tasks_whose_nodes_are_lost_again_and_again_are_left_to_slurm(tmp_path: Path):
    waiting = "".join(f"PENDING|BeginTime|7_{task}\n" for task in range(1, 101))
    told = Told(*[f"RUNNING|None|7_0\n{waiting}"] * 40, "")

    calls = followed(tmp_path, told, Three())

    assert calls[:20] == [f"scontrol update jobid=7_{n} starttime=now" for n in range(1, 21)]
    assert len(calls) == slurm_waits.HURRIES * 100
    assert set(Counter(calls).values()) == {slurm_waits.HURRIES}


def test_tasks_that_are_to_begin_later_do_so(tmp_path: Path):
    """As where SBATCH_BEGIN is set: nothing has begun yet."""
    told = Told("PENDING|BeginTime|7_0\nPENDING|Dependency|8\n", "")

    assert followed(tmp_path, told, Three()) == []


class Forgotten(Three):
    """What is made of three parts in each round."""

    def __init__(self, told: Told, *made: int) -> None:
        self.told, self.made = told, made

    @override
    def there(self) -> int:
        rounds = sum(call.startswith("sbatch") and "work" in call for call in self.told.calls)
        return sum(self.made[:rounds])


@pytest.mark.parametrize(
    ("made", "rounds"),
    [((0, 3), 2), ((0, 0, 3), 2), ((1, 0, 2), 3), ((0, 1, 0, 0, 2), 4), ((0, 1, 0, 1, 0), 5)],
)
def test_jobs_that_a_scheduler_has_forgotten_are_submitted_once_more(
    tmp_path: Path, made: tuple[int, ...], rounds: int
):
    told = Told()

    followed(tmp_path, told, Forgotten(told, *made))

    assert sum(call.startswith("sbatch") and "work" in call for call in told.calls) == rounds


class Patient(Stoppable):
    """Stops when it was asked for the third time whether to go on."""

    asked = 0

    @override
    def check(self) -> None:
        self.asked += 1
        self.stopped = self.asked == 3
        super().check()


def test_a_run_that_waits_in_the_queue_is_stopped(tmp_path: Path):
    told = Told(*["PENDING|Resources\n"] * 9)

    with told_by(told), pytest.raises(Cancelled):
        slurm.carried_out(Slurm(tmp_path, ["terrazzo"], Allocation(2, 1, 1)), Three(), Patient())

    assert told.calls[-1] == "scancel 7 7"


def test_a_run_is_stopped_while_slurm_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slurm, "LOOK_S", 0.0)
    away = Away(tmp_path, 10**9)

    with pytest.raises(Cancelled):
        slurm.carried_out(away, Three(), Patient())

    assert away.cancelled


class Slowly(Three):
    """One part is made in each round, and none is left when rounds are over."""

    def __init__(self) -> None:
        self.count, self.looks = 100, 0

    @override
    def there(self) -> int:
        self.looks += 1
        return self.looks


def test_there_is_a_pause_before_every_round_but_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pauses: list[float] = []
    monkeypatch.setattr(slurm, "pause", lambda seconds, _: pauses.append(seconds))

    slurm.carried_out(Away(tmp_path, 0), Slowly(), Progress())

    assert pauses == [slurm.PAUSE_S * 2**attempt for attempt in range(slurm.ROUNDS - 1)]
