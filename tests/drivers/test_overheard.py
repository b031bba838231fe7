"""What blocks log that Slurm has made: told while it works, and the same in the end."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from tests.drivers.scenes import composite, job_of, load, node, ref
from tests.drivers.test_slurm import Working
from typing_extensions import override

from terrazzo.drivers import batch, overheard, slurm
from terrazzo.drivers.block_jobs import ByBlocks, begun
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.order import Order
from terrazzo.drivers.overheard import speaks
from terrazzo.graph import parse
from terrazzo.ledger import runner
from terrazzo.ledger.runner import Reports
from terrazzo.processes import SPECS
from terrazzo.progress import Cancelled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.drivers.job import Workspace
    from terrazzo.ledger.spawn import Told
    from terrazzo.logs import Entry

BLOCK = 350
TALKING = """
from openeo.udf import inspect

def apply_datacube(cube, context):
    inspect(data=[1, 2], message="seen", code="Seen")
    inspect(data=list(cube.shape), message="its shape", code="Shape")
    return cube
"""


def code(data: str = "x") -> dict[str, Any]:
    """Return a callback that calls code of a user."""
    arguments = {"data": {"from_parameter": data}, "udf": TALKING, "runtime": "Python"}
    return {"process_graph": {"udf": node("run_udf", True, **arguments)}}


def talking() -> dict[str, Any]:
    """Return a graph whose blocks log alike, one by one, and all pixels as one summary."""
    return {
        "load": load(["B04"]),
        "look": node("inspect", data=ref("load"), message="all of it", code="Look"),
        "code": node("apply", data=ref("look"), process=code()),
        "save": node("save_result", True, data=ref("code"), format="NetCDF", options={}),
    }


def order_of(nodes: dict[str, Any]) -> Order:
    return Order(job_of(nodes), BLOCK, memory_bytes=500_000_000, by=ByBlocks())


class OneByOne(Working):
    """A Slurm that makes a block whenever it is asked how its jobs are."""

    def __init__(self, order: Order, workspace: Workspace, folder: Path, again: bool) -> None:
        super().__init__(folder, 0)
        self.order, self.workspace, self.again = order, workspace, again
        self.made = 0
        self.over = False

    @override
    def states(self) -> Counter[str]:
        node = self.order.job.infer(self.workspace).graph.result
        depot = FolderDepot(self.folder)
        work = self.order.sent(self.workspace, depot, node, depot).opened()
        if self.made < len(work.blocks):
            work.make(self.made, 0)
            self.made += 1
            return Counter(RUNNING=1)
        if self.again and not self.over:  # a node that was taken for lost comes back
            for number in range(self.made):
                work.make(number, 0)
            self.over = True
            return Counter(RUNNING=1)
        return Counter()


class Hearing(Reports):
    """The process of a job, which knows what it told after how many blocks."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.after: list[tuple[int, str]] = []
        self.slurm: OneByOne | None = None
        self.hearing = False
        super().__init__(self)  # type: ignore[arg-type]

    def send(self, message: Told) -> None:
        self.told.append(message)

    @override
    def hear(self, entries: Sequence[object], unit: str = "") -> None:
        self.hearing = True
        super().hear(entries, unit)
        self.hearing = False

    @override
    def _tell(self, entry: Entry) -> None:
        super()._tell(entry)
        if self.hearing:
            self.after.append((self.slurm.made if self.slurm is not None else 0, entry.code))

    def said(self) -> Counter[str]:
        """Return everything that the ledger was told, but for when."""
        return Counter(told_of(entry) for message in self.told for entry in message.log)


def told_of(entry: Entry) -> str:
    return json.dumps({**entry.kept(), "time": ""}, sort_keys=True)


def by_threads(scenes: Scenes, folder: Path, nodes: dict[str, Any]) -> Counter[str]:
    """Return the log of a job that this machine computes."""
    hearing = Hearing()
    made = batch.run(job_of(nodes), scenes.workspace, folder, block=BLOCK, progress=hearing)
    hearing.rest(made.log)
    hearing.end()
    return hearing.said()


@pytest.mark.parametrize("again", [False, True])
def test_what_blocks_log_is_told_as_slurm_makes_them_and_once(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
):
    """Also where blocks are made again, by a task that was taken for lost."""
    monkeypatch.setattr(slurm, "LOOK_S", 0.0)
    monkeypatch.setattr(runner, "OFTEN", 0.0)
    order, hearing = order_of(talking()), Hearing()
    here = by_threads(scenes, tmp_path / "here", talking())
    hearing.slurm = OneByOne(order, scenes.workspace, tmp_path / "there", again)

    made = slurm.run(order, scenes.workspace, hearing.slurm, hearing)

    count = hearing.slurm.made
    assert made is not None
    assert made.resumed == count > 1
    each = [(number, code) for number in range(1, count + 1) for code in ("Seen", "Shape")]
    assert hearing.after == each
    hearing.rest(made.log)
    hearing.end()
    assert hearing.said() == here
    assert sum(count for entry, count in here.items() if '"Look"' in entry) == 1


def test_what_was_there_before_is_told_by_whoever_goes_on(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Stopping(Hearing):
        @override
        def check(self) -> None:
            if self.after:
                raise Cancelled

    monkeypatch.setattr(slurm, "LOOK_S", 0.0)
    monkeypatch.setattr(runner, "OFTEN", 0.0)
    order, stopping, hearing = order_of(talking()), Stopping(), Hearing()
    stopping.slurm = OneByOne(order, scenes.workspace, tmp_path / "there", again=False)
    with pytest.raises(Cancelled):
        slurm.run(order, scenes.workspace, stopping.slurm, stopping)
    hearing.slurm = OneByOne(order, scenes.workspace, tmp_path / "there", again=False)
    hearing.slurm.made = stopping.slurm.made

    made = slurm.run(order, scenes.workspace, hearing.slurm, hearing)

    assert made is not None
    hearing.rest(made.log)
    hearing.end()
    assert hearing.said() == by_threads(scenes, tmp_path / "here", talking())


def test_a_look_takes_no_longer_than_it_may_and_leaves_the_rest_for_the_next(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(overheard, "LONGEST_S", -1.0)
    order, there, hearing = order_of(talking()), tmp_path / "there", Hearing()
    parts, _ = begun(order, scenes.workspace, FolderDepot(there))
    maker = OneByOne(order, scenes.workspace, there, again=False)
    while maker.states():
        pass

    looks = []
    for _ in range(maker.made + 1):
        assert parts.there() == maker.made
        parts.tell(hearing)
        looks.append(len(hearing.after))

    assert looks == [*range(2, 2 * maker.made + 1, 2), 2 * maker.made]


def test_blocks_that_are_gone_are_left_to_whoever_has_them(scenes: Scenes, tmp_path: Path):
    order, there, hearing = order_of(talking()), tmp_path / "there", Hearing()
    parts, _ = begun(order, scenes.workspace, FolderDepot(there))
    maker = OneByOne(order, scenes.workspace, there, again=False)
    while maker.states():
        pass
    parts.there()

    batch.run(order.job, scenes.workspace, there, block=BLOCK)  # results are there, blocks are not
    parts.tell(hearing)

    assert hearing.after == []


def reduced(callback: dict[str, Any]) -> dict[str, Any]:
    """Return a graph with a callback in a callback's argument."""
    return {
        "load": load(["B04"]),
        "time": node("reduce_dimension", True, data=ref("load"), reducer=callback, dimension="t"),
    }


def inside(**nodes: Any) -> dict[str, Any]:
    return {"process_graph": nodes}


DATA = {"from_parameter": "data"}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (composite(), False),
        ({"load": load(["B04"]), "look": node("inspect", True, data=ref("load"))}, False),
        (reduced(inside(one=node("mean", True, data=DATA))), False),
        (reduced(inside(one=node("inspect", data=5), two=node("mean", True, data=DATA))), True),
        (talking(), True),
        (
            {"load": load(["B04"]),
             "code": node("run_udf", True, data=ref("load"), udf=TALKING, runtime="Python")},
            True,
        ),
    ],
    ids=["silent", "summary", "reducer", "called", "code", "cube"],
)  # fmt: skip
def test_it_is_known_beforehand_whether_blocks_log_anything(nodes: dict[str, Any], expected: bool):
    assert speaks(parse(nodes, specs=SPECS)) is expected


def test_blocks_of_a_silent_graph_are_not_read(scenes: Scenes, tmp_path: Path):
    parts, _ = begun(order_of(composite()), scenes.workspace, FolderDepot(tmp_path))

    assert parts.count > 0
    assert not parts.heard
