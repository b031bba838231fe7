"""Extractions that are killed at any moment: complete in the end, and no row twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pyarrow.parquet as pq
import pytest
import shapely
from tests.drivers.scenes import CRS, DATES, LEFT, TOP, job_of, load
from tests.drivers.test_survival import alive_in
from typing_extensions import override

from terrazzo.drivers.extract import extract
from terrazzo.drivers.extraction.scenes import DONE, states
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from tests.drivers.scenes import Scenes

KILLS = 20
PATIENCE_S = 120
JOB = job_of({"load": {**load(["B04"]), "result": True}})

spawned = multiprocessing.get_context("forkserver")
spawned.set_forkserver_preload(["terrazzo.drivers.extract"])


def fields(path: Path) -> Path:
    """Write forty squares, some of which lie where cells meet."""
    corners = [(37 * n % 640, 91 * n % 540) for n in range(40)]
    shapes = [
        shapely.box(LEFT + 10 * x, TOP - 10 * y - 300, LEFT + 10 * x + 300, TOP - 10 * y)
        for x, y in corners
    ]
    gpd.GeoDataFrame(geometry=shapes, crs=CRS).to_parquet(path)
    return path


def run(home: Path, polygons: Path, out: Path, pool: Pool, progress: Progress) -> Any:
    """Extract with small cells, so that there are many moments to be killed at."""
    return extract(
        JOB, Workspace.of(home), polygons, out, statistics=("mean", "median"), block=256,
        pool=pool, progress=progress,
    )  # fmt: skip


class Lit(Progress):
    """Kills its own process some time after the first scene is begun."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s, self.is_lit = delay_s, False

    @override
    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        if unit == "blocks" and not self.is_lit:
            self.is_lit = True
            timer = threading.Timer(self.delay_s, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()


def until_killed(home: Path, polygons: Path, out: Path, delay_s: float) -> None:
    """Extract again and again, each time as if an image had been changed meanwhile."""
    progress = Lit(delay_s)
    images = sorted((home / "assets").glob("*_B04.tif"))
    for turn in count():
        run(home, polygons, out, Pool("threads", 2), progress)
        for image in images[turn % 3 :]:
            image.touch()


def keys(out: Path) -> list[tuple[Any, ...]]:
    """Return what names the rows of a table."""
    if not list((out / "table").rglob("*.parquet")):
        return []
    table = pq.read_table(out / "table", columns=["id", "t", "bands"])
    return [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.slow
def test_an_extraction_killed_twenty_times_is_complete_and_has_no_row_twice(
    own_scenes: Scenes, tmp_path: Path
) -> None:
    polygons, home = fields(tmp_path / "fields.parquet"), own_scenes.workspace.home
    out, moments = tmp_path / "hunted", random.Random(5)
    seen: set[str] = set()

    for _ in range(KILLS):
        delay_s = moments.uniform(0.0, 0.3)
        process = spawned.Process(target=until_killed, args=(home, polygons, out, delay_s))
        process.start()
        process.join(PATIENCE_S)
        assert process.exitcode == -signal.SIGKILL
        rows = keys(out)
        assert len(rows) == len(set(rows))
        for scene in states(out):
            seen.add(scene.state)
            assert scene.state != DONE or (out / scene.file).is_file()
    pool = Pool("threads", 2)
    made = run(home, polygons, out, pool, Progress())
    calm = run(home, polygons, tmp_path / "calm", pool, Progress())

    assert made.rows == len(keys(out)) == len(set(keys(out))) == len(DATES) * 40
    parts = sorted(path.relative_to(made.table) for path in made.table.rglob("*.parquet"))
    assert parts == sorted(path.relative_to(calm.table) for path in calm.table.rglob("*.parquet"))
    for part in parts:
        assert (made.table / part).read_bytes() == (calm.table / part).read_bytes()
    assert {one.state for one in states(out)} == {DONE}
    assert "running" in seen, "none of the kills met an extraction at work"


def with_processes(told: Connection, home: Path, polygons: Path, out: Path) -> None:
    """Extract by processes, and say when their first scene is done."""
    os.setsid()

    class Says(Progress):
        def advance(self, number: int = 1) -> None:
            super().advance(number)
            if self.unit == "blocks":
                told.send(True)
                threading.Event().wait()

    run(home, polygons, out, Pool("processes", 2), Says())


@pytest.mark.slow
def test_workers_of_a_killed_extraction_end_and_it_goes_on(
    own_scenes: Scenes, tmp_path: Path
) -> None:
    polygons, home = fields(tmp_path / "fields.parquet"), own_scenes.workspace.home
    hears, told = spawned.Pipe(duplex=False)
    process = spawned.Process(
        target=with_processes, args=(told, home, polygons, tmp_path / "out"), daemon=False
    )
    process.start()

    assert hears.poll(PATIENCE_S)
    assert len(alive_in(process.pid or 0)) > 1
    process.kill()
    process.join()
    end = time.monotonic() + PATIENCE_S
    while alive_in(process.pid or 0):
        assert time.monotonic() < end, "workers outlive the extraction that started them"
        time.sleep(0.1)
    made = run(home, polygons, tmp_path / "out", Pool("threads", 2), Progress())

    assert made.rows == len(keys(tmp_path / "out")) == len(DATES) * 40
