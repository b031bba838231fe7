"""Tasks of Slurm that wait: what is said, what is let go, and what is given up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from tests.drivers.scenes import composite, node, ref
from tests.drivers.slurm_cluster import RealSlurm, real_slurm
from tests.drivers.test_slurm import calm, cluster_of, order_of, pixels
from tests.drivers.test_slurm_storms import Three, Told, followed, told_by
from typing_extensions import override

from terrazzo.cli.group import INCOMPLETE, exit_status
from terrazzo.drivers import slurm, slurm_waits
from terrazzo.drivers.pool import ClusterUnusable
from terrazzo.drivers.slurm import FOLDER, Allocation, Slurm
from terrazzo.errors import RunIncomplete
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes

BEHIND = "PENDING|Dependency|8\n"


@pytest.fixture(scope="module")
def cluster(shared: Path) -> Iterator[RealSlurm]:
    with real_slurm(shared) as started:
        yield started


class Noting(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @override
    def note(self, message: str) -> None:
        self.notes.append(message)


def watched(folder: Path, told: Told, patience_s: float = 0.0) -> list[str]:
    """Watch jobs of which this is told; return what is said of them."""
    progress = Noting()
    with told_by(told), pytest.MonkeyPatch.context() as patch:
        patch.setattr(slurm_waits, "VAIN_S", patience_s)
        slurm.carried_out(Slurm(folder, ["terrazzo"], Allocation(2, 1, 1)), Three(), progress)
    return progress.notes


def clock(step_s: float) -> SimpleNamespace:
    """Return what tells a time that goes on by a step whenever it is asked for."""
    times = iter(range(10**6))
    return SimpleNamespace(monotonic=lambda: next(times) * step_s)


@pytest.mark.parametrize(
    "reason",
    [
        "launch failed requeued held", "launch_failed_requeued_held", "job requeued in held state",
        "JobHoldMaxRequeue", "BadConstraints",
    ],
)  # fmt: skip
def test_tasks_that_slurm_holds_are_let_go_and_no_others(tmp_path: Path, reason: str):
    """As after the scheduler has died under their start: they would wait for ever."""
    told = Told(f"PENDING|{reason}|7_1\nPENDING|JobHeldUser|7_2\nRUNNING|None|7_0\n", "")

    assert followed(tmp_path, told, Three()) == ["scontrol release 7_1"]


def test_tasks_that_slurm_held_begin_at_once_when_let_go(tmp_path: Path):
    """Their launch has failed before anything ran, and Slurm puts off the next one by minutes."""
    told = Told("PENDING|launch failed requeued held|7_0\n", "PENDING|BeginTime|7_0\n", "")

    assert followed(tmp_path, told, Three()) == [
        "scontrol release 7_0", "scontrol update jobid=7_0 starttime=now",
    ]  # fmt: skip


def test_tasks_that_a_person_holds_stay_held_and_are_waited_for(tmp_path: Path):
    told = Told(*[f"PENDING|JobHeldUser|7_0\nPENDING|JobHeldAdmin|7_1\n{BEHIND}"] * 9, "")

    notes = watched(tmp_path, told)

    assert len(notes) == 2
    assert "scontrol release 7`" in notes[0]
    assert "administrators" in notes[1]
    assert not [call for call in told.calls if call.startswith("scontrol")]


def test_tasks_that_slurm_holds_again_and_again_are_given_up(tmp_path: Path):
    told = Told(*[f"PENDING|launch failed requeued held|7_0\n{BEHIND}"] * 99)

    with pytest.raises(RunIncomplete, match=r"launch failed requeued held \(1 tasks\)"):
        watched(tmp_path, told)

    done = [call for call in told.calls if not call.startswith(("squeue", "sbatch"))]
    assert done == ["scontrol release 7_0"] * slurm_waits.RELEASES + ["scancel 7 7"]


def test_tasks_are_let_go_each_time_after_a_longer_while(monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    monkeypatch.setattr(slurm_waits, "call", lambda command: calls.append(" ".join(command)))
    monkeypatch.setattr(slurm_waits, "time", clock(1.0))
    waits, at = slurm_waits.Waits(), []

    for second in range(100):
        waits.look("PENDING|BadConstraints|7_0\n")
        waits.push()
        if len(calls) > len(at):
            at.append(second)

    assert at == [0, 2, 6, 14, 30, 62]


@pytest.mark.parametrize(
    "reason",
    [
        "PartitionTimeLimit", "AssocMaxWallDurationPerJobLimit", "AssocMaxMemPerJob",
        "QOSMaxCpuPerNode", "QOSMinMemory", "InvalidAccount", "InvalidQOS", "AccountNotAllowed",
        "QOSNotAllowed",
    ],
)  # fmt: skip
def test_tasks_that_can_never_start_end_a_run_that_goes_on_later(tmp_path: Path, reason: str):
    told = Told(*[f"PENDING|{reason}|7_0\nPENDING|{reason}|7_1\n{BEHIND}"] * 99)

    with pytest.raises(RunIncomplete, match=rf"{reason} \(2 tasks\).*--time") as raised:
        watched(tmp_path, told)

    assert exit_status(raised.value) == INCOMPLETE
    assert isinstance(raised.value.first, ClusterUnusable)  # what a server tells its operator
    assert told.calls[-1] == "scancel 7 7"


@pytest.mark.parametrize(
    "reason",
    [
        "Resources", "Priority", "ReqNodeNotAvail, UnavailableNodes:n[1-2]", "PartitionNodeLimit",
        "PartitionDown", "Licenses", "AssocGrpCpuLimit", "QOSMaxJobsPerUserLimit",
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in other partitions",
    ],
)  # fmt: skip
def test_what_passes_is_waited_for_and_said_once(tmp_path: Path, reason: str):
    told = Told(*[f"PENDING|{reason}|7_0\n{BEHIND}"] * 50, f"RUNNING|None|7_0\n{BEHIND}", "")

    assert watched(tmp_path, told) == [f"Slurm lets tasks wait: {reason}."]
    assert not [call for call in told.calls if call.startswith(("scontrol", "scancel"))]


def test_nodes_that_come_and_go_are_no_other_reason(tmp_path: Path):
    told = Told(*[f"PENDING|ReqNodeNotAvail, UnavailableNodes:n{n}|7_0\n" for n in range(9)], "")

    assert len(watched(tmp_path, told)) == 1


def test_nothing_is_said_while_others_are_at_work(tmp_path: Path):
    """They make what the others do not begin, and the others have time until they are over."""
    waiting = "PENDING|PartitionTimeLimit|7_1\nPENDING|Resources|7_2\n"
    told = Told(*[f"RUNNING|None|7_0\n{waiting}"] * 9, "")

    assert watched(tmp_path, told) == []


def test_a_limit_that_is_lifted_in_time_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    vain, passing = "PENDING|PartitionTimeLimit|7_0\n", "PENDING|Priority|7_0\n"
    looks = [vain, vain, passing, vain, vain, vain, vain]
    told = Told(*looks)
    monkeypatch.setattr(slurm_waits.Waits, "push", lambda _: None)  # it asks for the time, too
    monkeypatch.setattr(slurm_waits, "time", clock(30.0))

    with pytest.raises(RunIncomplete):
        watched(tmp_path, told, patience_s=60.0)

    assert len(told.answers) == 1  # 60 s after the limit was there again


class Unsaid(Three):
    """How many parts there are is known to nobody before a stage has been carried out."""

    def __init__(self) -> None:
        self.count = 0


class Forgetting(Told):
    """Runs the last job of a round, and forgets those of the rounds before."""

    def __init__(self, folder: Path, good: int) -> None:
        super().__init__()
        self.folder, self.good, self.jobs = folder, good, 0

    @override
    def __call__(self, command: tuple[str, ...]) -> str:
        told = super().__call__(command)
        if command[0] != "sbatch":
            return told
        self.jobs += 1
        if self.jobs == 3 * self.good:
            (self.folder / FOLDER / f"finish-{self.jobs}.log").touch()
        return str(self.jobs)


@pytest.mark.parametrize(("good", "rounds"), [(1, 1), (2, 2), (3, 2)])
def test_jobs_that_are_forgotten_before_a_stage_says_how_much_there_is_are_submitted_again(
    tmp_path: Path, good: int, rounds: int
):
    told = Forgetting(tmp_path, good)

    with told_by(told):
        there = Slurm(tmp_path, ["terrazzo"], Allocation(2, 1, 1))
        assert slurm.carried_out(there, Unsaid(), Progress(), stages=True)

    assert told.jobs == 3 * rounds


@pytest.mark.slow
def test_a_run_that_a_partition_never_takes_says_so_and_goes_on_later(
    scenes: Scenes, cluster: RealSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    order, progress = order_of(), Noting()
    here = calm(scenes, tmp_path / "here", order)
    there = cluster_of(scenes, tmp_path / "there")
    monkeypatch.setattr(slurm_waits, "VAIN_S", 1.0)
    cluster.say("scontrol", "update", "partitionname=main", "maxtime=5")

    try:
        with pytest.raises(RunIncomplete, match=r"PartitionTimeLimit \(3 tasks\)"):
            slurm.run(order, scenes.workspace, there, progress)
        left = there.states()
    finally:
        cluster.say("scontrol", "update", "partitionname=main", "maxtime=INFINITE")
    slurm.run(order, scenes.workspace, cluster_of(scenes, there.folder), Progress())

    assert [note for note in progress.notes if "PartitionTimeLimit" in note] == [
        "Slurm cannot start tasks as they were asked for: PartitionTimeLimit."
    ]
    assert not left
    assert pixels(there.folder) == pixels(here)


@pytest.mark.slow
def test_a_scheduler_that_forgets_all_while_a_stage_is_found_costs_nothing(
    scenes: Scenes, cluster: RealSlurm, tmp_path: Path
):
    class Forgotten(Progress):
        hits = 0

        @override
        def start(self, total: int, unit: str) -> None:
            super().start(total, unit)
            if not self.hits:
                cluster.kill_controller()
                cluster.start_controller("-c")
                cluster.resume_nodes()
            self.hits += 1

    nodes = composite()
    del nodes["median"]["result"]
    nodes["trimmed"] = node("trim_cube", True, data=ref("median"))
    order = order_of(nodes)
    here = calm(scenes, tmp_path / "here", order)
    there = cluster_of(scenes, tmp_path / "there")

    made = slurm.run(order, scenes.workspace, there, Forgotten())

    assert made is not None
    assert made.resumed == made.blocks > 0  # nothing was left to do here
    assert there.ended
    assert pixels(there.folder) == pixels(here)
