"""Extractions that Dask or Slurm carries out: the same bytes, and no row twice."""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import distributed
import pytest
from click.testing import CliRunner
from tests.drivers.scenes import DATES, GRAPHS, cloudless_ndvi, job_of, make_scenes
from tests.drivers.test_extract import B04, bytes_of, field, write
from tests.drivers.test_slurm import cluster as slurm_cluster
from typing_extensions import override

from terrazzo.cli import main
from terrazzo.drivers import extract_jobs, slurm
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.extract import extract
from terrazzo.drivers.extraction import workers
from terrazzo.drivers.extraction.code import ParcelCode
from terrazzo.drivers.extraction.handed import hand_over, handed_over, note_of, sweep
from terrazzo.drivers.extraction.parts import ASIDE
from terrazzo.drivers.extraction.prepared import Given
from terrazzo.drivers.extraction.samples import Sampling
from terrazzo.drivers.extraction.scenes import Made, Scene, states
from terrazzo.drivers.extraction.work import Outcome
from terrazzo.drivers.order import ORDER, Order, Where
from terrazzo.drivers.ordered import read_order
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.shares import Share
from terrazzo.drivers.slurm import Allocation, Slurm
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.geo.grid import Grid, Window
from terrazzo.progress import Cancelled, Progress, Stoppable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.drivers.executors import Parts, Stint
    from terrazzo.drivers.extract import ExtractResult

cluster = slurm_cluster
"""A real Slurm, as tests of runs have it."""
BLOCK = 256
NDVI = {**cloudless_ndvi(), "ndvi": {**cloudless_ndvi()["ndvi"], "result": True}}
STATISTICS = ("mean", "median", "count")


@pytest.fixture(scope="module")
def dask() -> Iterator[distributed.LocalCluster]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=None
    ) as started:
        yield started


@pytest.fixture
def polygons(tmp_path: Path) -> Path:
    return write(tmp_path / "fields.parquet", [field(40, 60), field(250, 250)])


def by_threads(scenes: Scenes, polygons: Path, folder: Path, **wanted: Any) -> dict[str, bytes]:
    """Return the table that threads of this process make."""
    asked = {"statistics": STATISTICS} | wanted
    return bytes_of(
        extract(job_of(NDVI), scenes.workspace, polygons, folder, block=BLOCK, **asked).table
    )


def at(folder: Path) -> Where:
    return Where(folder, FolderDepot(folder))


def order_of(
    scenes: Scenes, polygons: Path, nodes: Any = None, **wanted: Any
) -> Order[ExtractResult]:
    given = Given.of(
        job_of(nodes or NDVI), scenes.workspace, polygons, {"statistics": STATISTICS, **wanted}
    )
    return extract_jobs.order_of(given, BLOCK, Pool("threads", 1, 500_000_000))


@pytest.mark.slow
@pytest.mark.parametrize("by", ["date", "image"])
def test_dask_makes_the_table_of_threads(
    scenes: Scenes, dask: distributed.LocalCluster, polygons: Path, tmp_path: Path, by: str
) -> None:
    pool = Pool("dask", scheduler=dask.scheduler_address)

    made = extract(
        job_of(NDVI), scenes.workspace, polygons, tmp_path / "there", statistics=STATISTICS,
        by=by, block=BLOCK, pool=pool,
    )  # fmt: skip

    assert bytes_of(made.table) == by_threads(scenes, polygons, tmp_path / "here", by=by)
    assert not (tmp_path / "there" / ASIDE).exists()


@pytest.mark.slow
def test_a_worker_of_dask_that_is_killed_costs_no_scene(
    scenes: Scenes, dask: distributed.LocalCluster, polygons: Path, tmp_path: Path
) -> None:
    with distributed.Client(dask.scheduler_address) as client:
        workers = list(client.run(os.getpid).values())

    class Killing(Progress):
        @override
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.unit == "blocks" and len(workers) == 2:
                os.kill(workers.pop(), signal.SIGKILL)

    made = extract(
        job_of(NDVI), scenes.workspace, polygons, tmp_path / "there", statistics=STATISTICS,
        block=BLOCK, pool=Pool("dask", scheduler=dask.scheduler_address), progress=Killing(),
    )  # fmt: skip

    assert len(workers) == 1
    assert bytes_of(made.table) == by_threads(scenes, polygons, tmp_path / "here")


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_slurm_makes_the_table_of_threads(scenes: Scenes, polygons: Path, tmp_path: Path) -> None:
    order = order_of(scenes, polygons)
    command = [sys.executable, "-m", "terrazzo", "--home", str(scenes.workspace.home)]
    there = Slurm(tmp_path / "there", command, Allocation(3, 1, 500_000_000, "0:10:00"))

    made = slurm.run(order, scenes.workspace, there, Progress())

    assert made is not None
    assert made.resumed == made.scenes == len(DATES)  # nothing was left to do here
    assert bytes_of(made.table) == by_threads(scenes, polygons, tmp_path / "here")
    assert not (tmp_path / "there" / ASIDE).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_the_command_hands_an_extraction_to_slurm(
    scenes: Scenes, polygons: Path, tmp_path: Path
) -> None:
    graph, folder = tmp_path / "ndvi.json", tmp_path / "there"
    graph.write_text(json.dumps({"process_graph": NDVI}))
    words = ["--home", str(scenes.workspace.home), "extract", str(graph), str(polygons)]
    words += ["-o", str(folder), "--stats", ",".join(STATISTICS), "--block", str(BLOCK)]
    words += ["--executor", "slurm", "--workers", "2", "--memory", "500M"]

    shown = CliRunner().invoke(main, [*words, "--script-only"])
    submitted = CliRunner().invoke(main, [*words, "--detach"])
    done = CliRunner().invoke(main, words)

    assert "worker" in shown.output
    assert "--array=0-1" in shown.output
    assert len(json.loads(submitted.output.splitlines()[0])["jobs"]) == 2
    assert done.exit_code == 0, done.output
    assert bytes_of(folder / "table") == by_threads(scenes, polygons, tmp_path / "here")


def test_whoever_helps_begins_with_its_share_and_leaves_nothing_undone(
    scenes: Scenes, polygons: Path, tmp_path: Path
) -> None:
    folder, order = tmp_path / "there", order_of(scenes, polygons)
    order.by.begun(order, scenes.workspace, at(folder), Progress())

    read = read_order(FolderDepot(folder))
    counts = [
        read.by.help_with(read, scenes.workspace, at(folder), Share(index, 2), Progress())
        for index in (1, 0)
    ]
    before = bytes_of(folder / "table") if (folder / "table").exists() else {}
    made = order.by.finished(order, scenes.workspace, at(folder), Progress())

    assert counts == [len(DATES), 0]
    assert not before  # only one process writes the table
    assert made.resumed == made.scenes
    assert bytes_of(made.table) == by_threads(scenes, polygons, tmp_path / "here")


@pytest.mark.parametrize("damage", ["note", "part", "both"])
def test_what_was_handed_over_and_is_damaged_is_computed_again(
    scenes: Scenes, polygons: Path, tmp_path: Path, damage: str
) -> None:
    folder, order = tmp_path / "there", order_of(scenes, polygons)
    order.by.begun(order, scenes.workspace, at(folder), Progress())
    order.by.help_with(order, scenes.workspace, at(folder), Share(0, 1), Progress())
    notes = sorted((folder / ASIDE).glob("*.json"))
    if damage in {"note", "both"}:
        notes[0].write_text("{")
    if damage in {"part", "both"}:
        (folder / ASIDE / json.loads(notes[1].read_text())["part"]).unlink()

    made = order.by.finished(order, scenes.workspace, at(folder), Progress())

    assert made.resumed == len(DATES) - (2 if damage == "both" else 1)
    assert bytes_of(made.table) == by_threads(scenes, polygons, tmp_path / "here")


@pytest.mark.parametrize(
    "odd",
    [
        {"made": {}},
        {"made": {"skipped": None}},
        {"made": []},
        {"part": "../../precious"},
        {"part": "{here}/precious"},
        {"part": ".."},
        {"part": "\0"},
    ],
    ids=json.dumps,
)
def test_a_note_that_is_odd_or_names_what_lies_elsewhere_is_none(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    folder = tmp_path / "there"
    aside, precious = folder / ASIDE, tmp_path / "precious"
    aside.mkdir(parents=True)
    precious.write_text("not of this extraction")
    part = aside / "part.parquet"
    part.write_text("rows")
    bounds = Grid("EPSG:32633", 0.0, 0.0, 10.0, 10.0, 1, 1), Window(0, 0, 1, 1)
    scene = Scene("a", "2024-05-15", "", (), "1", *bounds)
    hand_over(folder, Outcome(scene, Made(3, 0.5, 4, "sum", ("x",)), part))
    [whole] = handed_over(folder, [scene])
    note = note_of(folder, scene)
    told = json.loads(note.read_text())
    text = json.dumps({key: odd.get(key, value) for key, value in told.items()})

    note.write_text(text.replace("{here}", str(tmp_path)))
    after = [*handed_over(folder, [scene])]
    sweep(folder)

    assert (whole.made, whole.aside) == (Made(3, 0.5, 4, "sum", ("x",)), part)
    assert after == []
    assert precious.exists()
    assert not part.exists()


def test_a_scene_that_fails_there_is_told_of_and_tried_again_here(
    tmp_path: Path, polygons: Path
) -> None:
    own, folder = make_scenes(tmp_path / "own"), tmp_path / "there"
    order = order_of(own, polygons, B04)
    order.by.begun(order, own.workspace, at(folder), Progress())
    file = own.file(DATES[0], "B04")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(RunIncomplete, match=f"1 scenes failed.*; {len(DATES) - 1} were"):
        order.by.help_with(order, own.workspace, at(folder), Share(0, 1), Progress())
    errors = [json.loads(path.read_text())["error"] for path in (folder / ASIDE).glob("*.json")]
    with pytest.raises(RunIncomplete, match=f"1 of {len(DATES)} scenes failed"):
        order.by.finished(order, own.workspace, at(folder), Progress())
    kept = [one.state for one in states(folder)]
    file.write_bytes(whole)
    made = order.by.finished(order, own.workspace, at(folder), Progress())

    assert sum(map(bool, errors)) == 1
    assert sorted(kept) == ["done"] * (len(DATES) - 1) + ["failed"]
    assert made.resumed == len(DATES) - 1
    assert made.rows == 2 * len(DATES)


def test_an_order_is_read_as_it_was_written(scenes: Scenes, polygons: Path, tmp_path: Path) -> None:
    orders = [
        order_of(scenes, polygons, B04, by="image", how="touched", buffer_m=-5.0),
        order_of(scenes, polygons, code=ParcelCode("x = 1", {"a": [1]})),
        order_of(scenes, polygons, GRAPHS["composite"], sampling=Sampling(5, "class", 3)),
    ]

    for order in orders:
        order.write(FolderDepot(tmp_path))

        assert read_order(FolderDepot(tmp_path)) == order


@pytest.mark.parametrize("scenes_told", [None, [], {}, {"asked": {"statistics": 1}}])
def test_a_damaged_order_is_told(
    scenes: Scenes, polygons: Path, tmp_path: Path, scenes_told: Any
) -> None:
    order_of(scenes, polygons).write(FolderDepot(tmp_path))
    told = json.loads((tmp_path / ORDER).read_text())
    (tmp_path / ORDER).write_text(json.dumps({**told, "scenes": scenes_told}))

    with pytest.raises(ArgumentInvalid, match=f"{ORDER} is damaged"):
        read_order(FolderDepot(tmp_path))


def test_an_extraction_is_stopped_while_no_scene_is_done(monkeypatch: pytest.MonkeyPatch):
    class Waiting:
        """Workers that are all busy with something else."""

        def size(self) -> int:
            return 2

        def submit(self, parts: Parts[Scene], /) -> Future[Stint[Outcome]]:
            del parts
            return Future()

    stopped, begun = Stoppable(), []
    monkeypatch.setattr(workers, "CHECK_S", 0.01)
    bounds = Grid("EPSG:32633", 0.0, 0.0, 10.0, 10.0, 9, 9), Window(0, 0, 9, 9)
    scenes = [(Scene(key, "2024-05-15", "", (), "1", *bounds), 1) for key in "ab"]

    def begin(scene: Scene) -> None:
        begun.append(scene)
        stopped.stopped = len(begun) == len(scenes)

    with pytest.raises(Cancelled):
        next(workers.by_workers(Waiting(), scenes, begin, stopped))

    assert len(begun) == len(scenes)
