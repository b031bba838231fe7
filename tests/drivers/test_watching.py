"""What runs and their workers tell of themselves, and what whoever watches them sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.drivers.scenes import composite, job_of
from tests.drivers.test_survival import options, start
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.block_jobs import ByBlocks, begun, help_with
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.estimate import outlook
from terrazzo.drivers.order import Order
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.shares import Share
from terrazzo.drivers.watching import pulse as pulses
from terrazzo.drivers.watching import report as reports
from terrazzo.drivers.watching.pulse import FOLDER, Beat, Outcome, Part, beats, stop_pulse
from terrazzo.drivers.watching.status import STATUS, State, Status
from terrazzo.drivers.watching.watch import MOST_CELLS, Look, Watcher
from terrazzo.errors import RunIncomplete
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.drivers.scenes import Scenes

BLOCK = 100
COUNT = 6 * 7
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is told every few seconds be told at once."""
    monkeypatch.setattr(pulses, "BEAT_S", 0.05)
    monkeypatch.setattr(pulses, "_PAUSE_S", 0.01)
    monkeypatch.setattr(reports, "BEAT_S", 0.05)


class Looking(Progress):
    """Looks at a run from outside, as its blocks are done, until a look is as wanted."""

    def __init__(self, folder: Path, wanted: Callable[[Look], bool]) -> None:
        self.watcher, self.wanted = Watcher(FolderDepot(folder)), wanted
        self.found: Look | None = None

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.found is None and self.done >= COUNT // 2:
            self.found = until(self.watcher, self.wanted)


def until(watcher: Watcher, wanted: Callable[[Look], bool]) -> Look:
    """Look until what is seen is as wanted."""
    end = time.monotonic() + PATIENCE_S
    while True:
        look = watcher.look()
        if look is not None and wanted(look):
            return look
        assert time.monotonic() < end, look
        time.sleep(0.02)


@pytest.mark.parametrize(("kind", "workers"), [("threads", 2), ("processes", 2)])
def test_a_run_is_watched_from_its_first_block_to_its_end(
    scenes: Scenes, tmp_path: Path, kind: str, workers: int
):
    folder = tmp_path / "run"
    half = COUNT // 2 - 1  # the block at hand is counted after the look
    looking = Looking(
        folder, lambda look: look.status.done >= half and any(one.beat.made for one in look.workers)
    )

    batch.run(
        job_of(composite()), scenes.workspace, folder, block=BLOCK, pool=Pool(kind, workers),
        progress=looking,
    )  # fmt: skip
    end = Watcher(FolderDepot(folder)).look()

    seen = looking.found
    assert seen is not None
    assert (seen.status.state, seen.status.total) == (State.RUNNING, COUNT)
    assert seen.status.executor == kind
    assert seen.per_second > 0
    assert seen.left_s is not None
    assert all((one.beat.pid == os.getpid()) is (kind == "threads") for one in seen.workers)
    assert all(one.beat.memory_bytes > 10_000_000 for one in seen.workers)
    assert end is not None
    assert (end.status.state, end.status.done) == (State.FINISHED, COUNT)
    assert end.status.took is not None
    assert end.status.took.blocks == COUNT
    assert sum(one.beat.made for one in end.workers) == COUNT
    assert sum(one.beat.written_bytes for one in end.workers) > COUNT * BLOCK * BLOCK
    assert not (folder / FOLDER).exists()
    json.dumps(end.to_json())


def test_the_map_shows_every_block_by_what_became_of_it(own_scenes: Scenes, tmp_path: Path):
    damaged = min(own_scenes.workspace.home.rglob("*B04*.tif"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    folder = tmp_path / "run"
    watcher = Watcher(FolderDepot(folder))
    job = job_of(composite())

    with pytest.raises(RunIncomplete):
        batch.run(job, own_scenes.workspace, folder, block=BLOCK)
    look = watcher.look()
    (broken,) = watcher.maps()
    damaged.write_bytes(whole)
    batch.run(job, own_scenes.workspace, folder, block=BLOCK)
    (mended,) = watcher.maps()

    assert look is not None
    assert look.status.state is State.INCOMPLETE
    assert look.status.failed == broken.counts["failed"] == broken.cells.count("f") > 0
    assert broken.cells.count("d") == broken.counts["done"] == COUNT - look.status.failed
    assert (broken.rows, broken.columns, broken.blocks) == (6, 7, (6, 7))
    assert "failed" in look.status.message
    assert mended.cells == "d" * COUNT


def test_many_blocks_share_the_cells_of_a_map(scenes: Scenes, tmp_path: Path):
    class Stopping(Progress):
        @override
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.done == 300:
                raise Cancelled

    folder = tmp_path / "run"
    nodes = composite()
    with pytest.raises(Cancelled):
        batch.run(
            job_of(nodes), scenes.workspace, folder, block=8, pool=Pool("threads", 1),
            progress=Stopping(),
        )  # fmt: skip
    watcher = Watcher(FolderDepot(folder))
    (found,) = watcher.maps()
    look = watcher.look()

    assert max(found.blocks) > MOST_CELLS >= max(found.rows, found.columns)
    assert len(found.cells) == found.rows * found.columns
    assert set(found.cells) >= {"d", "m"}
    assert 300 <= found.counts["done"] < sum(found.counts.values())
    assert sum(found.counts.values()) == found.blocks[0] * found.blocks[1]
    assert look is not None
    assert look.status.state is State.STOPPED


def test_a_run_that_is_killed_is_silent_and_goes_on(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "run"
    watcher = Watcher(FolderDepot(folder))
    process = start(options(scenes, folder, block=20, most=50))
    try:
        until(watcher, lambda look: look.status.done > 3)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    monkeypatch.setattr("terrazzo.drivers.watching.watch.SILENT_S", 0.2)
    monkeypatch.setattr(reports, "SILENT_S", 0.2)

    # The run and its workers may have been heard last at different moments.
    silent = until(
        watcher,
        lambda look: (
            look.status.state is State.SILENT and all(one.is_silent for one in look.workers)
        ),
    )
    batch.run(job_of(composite()), scenes.workspace, folder, block=20)
    end = watcher.look()

    assert silent.workers
    assert silent.left_s is None
    assert end is not None
    assert end.status.state is State.FINISHED
    assert end.status.kept > 0
    assert end.status.took is not None
    assert end.status.took.blocks == end.status.total - end.status.kept
    assert end.status.took.seconds >= end.status.before_s > 0


def test_workers_without_anybody_who_sees_to_the_run_are_counted(scenes: Scenes, tmp_path: Path):
    folder = tmp_path / "run"
    depot = FolderDepot(folder)
    order = Order(job_of(composite()), BLOCK, by=ByBlocks())
    begun(order, scenes.workspace, depot)
    watcher = Watcher(depot)
    before = watcher.look()
    looking = Looking(folder, lambda look: look.status.done >= COUNT // 2)

    help_with(order, scenes.workspace, depot, Share(0, 1), looking)
    stop_pulse(depot)
    after = watcher.look()
    batch.run(order.job, scenes.workspace, folder, block=BLOCK)
    end = watcher.look()

    assert before is not None
    assert (before.status.state, before.status.done, before.status.total) == (
        State.SUBMITTED, 0, COUNT,
    )  # fmt: skip
    assert looking.found is not None
    assert looking.found.status.state is State.RUNNING
    assert after is not None
    assert after.status.done == COUNT
    assert end is not None
    assert end.status.state is State.FINISHED


def test_a_folder_without_a_run_tells_nothing(tmp_path: Path):
    assert Watcher(FolderDepot(tmp_path / "nowhere")).look() is None


MOMENT = "2024-05-01T10:00:00Z"


def odd(**told: str) -> bytes:
    """Return what is a status and a beat but for its moments."""
    return json.dumps({"name": "w", "host": "h", "pid": 1, "running": [], **told}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"\xff", b'{"state": "odd"}',
        odd(), odd(begun=MOMENT, seen=""), odd(begun="soon", seen=MOMENT),
        odd(begun=MOMENT, seen="2024-05-01T10:00:00"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_left_out(tmp_path: Path, content: bytes):
    depot = FolderDepot(tmp_path)
    depot.write(STATUS, content.replace(b'"name"', b'"state": "running", "name"'))
    depot.write(f"{FOLDER}/w.json", content)

    assert Status.read(depot) is None
    assert beats(depot) == ()
    assert Watcher(depot).look() is None


def test_a_status_of_right_moments_is_read(tmp_path: Path):
    depot = FolderDepot(tmp_path)
    depot.write(STATUS, Status(State.FINISHED, begun=MOMENT, seen=MOMENT).content())
    depot.write(f"{FOLDER}/w.json", odd(begun=MOMENT, seen=MOMENT))

    assert Status.read(depot) == Status(State.FINISHED, begun=MOMENT, seen=MOMENT)
    assert [one.pid for one in beats(depot)] == [1]


def test_a_worker_at_a_long_block_is_heard_all_the_while(tmp_path: Path):
    depot = FolderDepot(tmp_path)
    part = Part.of(depot, depot / "node")
    heard: list[Beat] = []

    with part.at(7) as became:
        end = time.monotonic() + PATIENCE_S
        while len({one.seen for one in heard}) < 3:
            heard += beats(depot)
            assert time.monotonic() < end
        became(Outcome.MADE)
    stop_pulse(depot)

    (last,) = beats(depot)
    assert {one.running for one in heard} == {(("node", 7),)}
    assert (last.made, last.failed, last.running) == (1, 0, ())


def test_a_worker_whose_run_was_tidied_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    depot = FolderDepot(tmp_path)
    monkeypatch.setattr(pulses, "BEAT_S", 3600.0)  # not while the folder is tidied
    part = Part.of(depot, depot)
    with part.at(1):
        end = time.monotonic() + PATIENCE_S
        while not beats(depot):
            assert time.monotonic() < end
        depot.clear(FOLDER)
        monkeypatch.setattr(pulses, "BEAT_S", 0.05)
        while any(one.name == "pulse" for one in threading.enumerate()):
            assert time.monotonic() < end
            time.sleep(0.01)

    assert beats(depot) == ()
    stop_pulse(depot)
    assert beats(depot) == ()


def test_the_first_run_is_of_unknown_length_and_the_next_as_long(
    own_scenes: Scenes, tmp_path: Path
):
    class Noting(Progress):
        def __init__(self) -> None:
            self.notes: list[str] = []

        @override
        def note(self, message: str) -> None:
            self.notes.append(message)

    job, workspace = job_of(composite()), own_scenes.workspace
    inference = job.infer(workspace)
    told = []

    for number in range(2):
        noting = Noting()
        known = outlook(job, inference, workspace.home, BLOCK, "threads", 1)
        batch.run(
            job, workspace, tmp_path / f"run-{number}", block=BLOCK, pool=Pool("threads", 1),
            progress=noting, known=inference, outlook=known,
        )  # fmt: skip
        told.append(noting.notes)
    status = Status.read(FolderDepot(tmp_path / "run-1"))
    first = Status.read(FolderDepot(tmp_path / "run-0"))

    assert f"{COUNT} blocks" in told[0][0]
    assert "unknown" in told[0][0]
    assert "expected: unknown" in told[0][1]
    assert "1 earlier run of these processes" in told[1][0]
    assert status is not None
    assert first is not None
    assert first.took is not None
    assert status.expected is not None
    assert status.expected.alike
    assert status.expected.least_s == pytest.approx(first.took.seconds, abs=0.11)
    assert first.took.decoded_bytes > 0


def test_a_process_that_ends_tells_its_last_block(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path\n"
        "from terrazzo.drivers.depot import FolderDepot\n"
        "from terrazzo.drivers.watching.pulse import Outcome, Part\n"
        "depot = FolderDepot(Path(sys.argv[1]))\n"
        "for number in range(3):\n"
        "    with Part.of(depot, depot).at(number) as became: became(Outcome.MADE)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=PATIENCE_S)

    (last,) = beats(FolderDepot(tmp_path))
    assert last.made == 3
