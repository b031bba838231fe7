"""The order of blocks: each internal tile is decoded about once, also on grids that are wide."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from rasterio import shutil
from tests.drivers.scenes import asset_of, job_of, load, register, write_cog
from tests.drivers.test_survival import digests
from typing_extensions import override

from terrazzo.catalog import BandInfo
from terrazzo.drivers import batch
from terrazzo.drivers.executors import work as work_module
from terrazzo.drivers.executors.swept import grown, swept
from terrazzo.drivers.pool import Pool
from terrazzo.engine import evaluate
from terrazzo.engine.demand import central_block, cost
from terrazzo.geo.blocks import Blocks, Sweep
from terrazzo.geo.grid import Grid, Window
from terrazzo.progress import Cancelled, Progress
from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.needed import needed
from terrazzo.storage.raster import RasterReader
from terrazzo.storage.source import RasterSource

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.job import Workspace
    from terrazzo.engine import Plan

HEIGHT, WIDTH, TILE, BLOCK = 1024, 4096, 256, 100
GRID = Grid.of("EPSG:32633", 500_000.0, 5_100_000.0, 10.0, HEIGHT, WIDTH)
TILES = HEIGHT * WIDTH // TILE**2
TILE_BYTES = 2 * TILE**2
GRAPH = {"load": {**load(["B04"], collection="wide"), "result": True}}


def wide(home: Path, *, strips: bool = False) -> Workspace:
    """Register a wide image, cut into tiles or strips."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    pixels = (1 + rows + 3 * cols).astype(np.uint16)
    path = write_cog(home / "assets" / "wide.tif", pixels, GRID)
    if strips:
        shutil.copy(str(path), str(path.with_name("strips.tif")), driver="GTiff", TILED=False)
        path = path.with_name("strips.tif")
    item = {"B04": asset_of(path, (BandInfo("B04", "uint16", 0.0),), GRID)}
    return register(home, "wide", {"one": ("2024-05-01T10:00:00Z", item)}, GRID)


def plan_of(workspace: Workspace, cache: BlockCache) -> Plan:
    job = job_of(GRAPH)
    return job.plan(job.infer(workspace, RasterReader(cache)))


def decoded(workspace: Workspace, room: int, *, by_rows: bool = False) -> tuple[int, Sweep]:
    """Return how many tiles are decoded for all blocks, with room for some tiles."""
    cache = BlockCache(room * TILE_BYTES)
    plan = plan_of(workspace, cache)
    sweep = (
        Sweep(Blocks(plan.window, BLOCK))
        if by_rows
        else swept(plan, Blocks(plan.window, BLOCK), cache.max_bytes)
    )
    before = cache.counts.tiles_decoded

    for number in sweep:
        evaluate(plan, sweep.blocks[number])

    return cache.counts.tiles_decoded - before, sweep


@pytest.mark.parametrize("room", [12, 16])
def test_tiles_are_decoded_about_once_though_a_row_of_them_finds_no_room(tmp_path: Path, room: int):
    workspace = wide(tmp_path)

    ours, sweep = decoded(workspace, room)
    theirs, _ = decoded(workspace, room, by_rows=True)

    assert sweep.rows > 1
    bands = -(-(HEIGHT // BLOCK + 1) // sweep.rows)
    across = WIDTH // TILE
    assert ours <= TILES + (bands - 1) * across  # only what lies across two bands is done twice
    assert theirs >= 2 * TILES


def test_rows_stay_together_where_a_whole_one_is_kept(tmp_path: Path):
    workspace = wide(tmp_path)

    ours, sweep = decoded(workspace, 4 * WIDTH // TILE)

    assert sweep.rows == 1
    assert ours == TILES


def test_strips_as_wide_as_the_image_are_not_read_column_by_column(tmp_path: Path):
    workspace = wide(tmp_path, strips=True)

    ours, sweep = decoded(workspace, 3 * WIDTH // TILE)
    theirs, _ = decoded(workspace, 3 * WIDTH // TILE, by_rows=True)

    assert sweep.rows == 1
    assert ours == theirs


def test_where_there_is_room_for_nothing_the_order_is_that_of_rows(tmp_path: Path):
    workspace = wide(tmp_path)
    plan = plan_of(workspace, BlockCache(0))

    assert swept(plan, Blocks(plan.window, BLOCK), 0).rows == 1


def test_what_blocks_leave_of_the_memory_is_for_decoded_tiles(tmp_path: Path):
    """As much as a row of blocks is made of, so every tile is decoded once."""
    cache = BlockCache(0)
    plan = plan_of(wide(tmp_path), cache)
    blocks = Blocks(plan.window, BLOCK)
    one = cost(plan, central_block(plan, BLOCK)).memory_bytes

    assert grown(plan, blocks, 7, one, 4) == cache.max_bytes == 7
    assert grown(plan, blocks, 7, one + 1000, 4) == cache.max_bytes == 2000
    room = grown(plan, blocks, 7, 10**9, 4)
    for number in Sweep(blocks):
        evaluate(plan, blocks[number])

    assert room == cache.max_bytes
    assert WIDTH * TILE * 2 < room <= blocks.across * 4 * TILE_BYTES
    assert cache.counts.tiles_decoded == TILES


def test_the_memory_that_one_run_leaves_is_not_kept_for_the_next(tmp_path: Path):
    caches = BlockCache(0), BlockCache(0)
    plans = [plan_of(wide(tmp_path / str(number)), cache) for number, cache in enumerate(caches)]
    blocks = Blocks(plans[0].window, BLOCK)

    room = grown(plans[0], blocks, 7, 10**9, 1)
    for number in range(10):
        evaluate(plans[0], blocks[number])
    again = grown(plans[1], blocks, 7, 10**9, 1)

    assert room == again == caches[1].max_bytes > 7
    assert caches[0].max_bytes == 7
    assert caches[0].bytes_held == 0


class _Stopping(Progress):
    """Ends a run where its first block would begin."""

    @override
    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        raise Cancelled


@pytest.mark.usefixtures("alone")
def test_a_run_of_ten_million_blocks_begins_in_little_memory(tmp_path: Path):
    workspace, progress = wide(tmp_path), _Stopping()
    job = job_of(GRAPH, resolution=GRID.pixel_x * HEIGHT / (1600 * BLOCK))
    tracemalloc.start()
    try:
        with pytest.raises(Cancelled):
            batch.run(job, workspace, tmp_path / "out", block=BLOCK, progress=progress)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert progress.total > 10_000_000
    assert peak < 200_000_000


def test_all_orders_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    workspace, job = replace(wide(tmp_path), cache_bytes=12 * TILE_BYTES), job_of(GRAPH)

    batch.run(job, workspace, tmp_path / "bands", block=BLOCK, pool=Pool("threads", 2))
    monkeypatch.setattr(work_module, "swept", lambda _, blocks, __: Sweep(blocks))
    batch.run(job, workspace, tmp_path / "rows", block=BLOCK, pool=Pool("threads", 2))

    assert pixels_of(tmp_path / "bands") == pixels_of(tmp_path / "rows")


def pixels_of(folder: Path) -> dict[str, str]:
    """Return the digests of the images that a run has made."""
    return {name: told for name, told in digests(folder).items() if name.endswith(".tif")}


@pytest.mark.parametrize("strips", [False, True])
@pytest.mark.parametrize(
    "window", [(0, 0, 10, 10), (250, 250, 20, 20), (100, 3000, 700, 500), (1000, 4000, 24, 96)]
)
def test_what_is_said_to_be_decoded_is_decoded(
    tmp_path: Path, window: tuple[int, int, int, int], *, strips: bool
):
    cache = BlockCache(10**9)
    plan, here = plan_of(wide(tmp_path, strips=strips), cache), Window(*window)
    (step,) = (step for step in plan.steps if step.reads)
    assert isinstance(step.bound.source, RasterSource)
    assert step.grid is not None

    said = needed(step.bound.source, step.grid, here, step.wanted, step.method).tile_bytes
    before = cache.counts.bytes_decoded
    evaluate(plan, here)

    assert said == cache.counts.bytes_decoded - before > 0
