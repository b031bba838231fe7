"""Nothing reads much more than it needs: counted by the block cache, on real files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.drivers.scenes import (
    GRAPHS,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    job_of,
    load,
    node,
    ref,
)

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.tile import MERCATOR, NATIVE, TileLayer
from terrazzo.engine import evaluate, infer, make_plan
from terrazzo.engine.sources import CatalogOpener
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.tiling import web_mercator
from terrazzo.storage.gate import Gate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.drivers.job import Job
    from terrazzo.engine import Inference
    from terrazzo.storage.blocks import BlockCache

MOST = 1.5
"""Pixels read for each pixel needed."""


def opened(scenes: Scenes, job: Job) -> tuple[Inference, BlockCache]:
    """Infer a job with a cache of its own, whose counters start at nothing."""
    gate = Gate((scenes.workspace.home,))
    opener = CatalogOpener(scenes.workspace.catalog, gate, 64_000_000)
    return infer(job.graph(), opener), opener._reader.cache


def one_band(date: tuple[str, str] = ("2020-06-01", "2020-08-01")) -> Job:
    return job_of({"load": {**load(["B04"], temporal_extent=list(date)), "result": True}})


@pytest.mark.parametrize("seed", range(6))
def test_a_native_window_reads_its_own_pixels_only(scenes: Scenes, seed: int):
    inference, cache = opened(scenes, one_band())
    random = np.random.default_rng(seed)
    row, col = (int(random.integers(0, most - 256)) for most in (HEIGHT, WIDTH))

    cube = evaluate(make_plan(inference), Window(row, col, 256, 256))

    assert cube.values.shape == (1, 1, 256, 256)
    assert cache.counts.pixels_requested == 256 * 256
    assert cache.counts.tiles_decoded <= 4


@pytest.mark.parametrize("zoom", [11, 12, 13, 14, 15, 16])
def test_map_tiles_read_what_they_show_at_the_zoom_that_they_show(scenes: Scenes, zoom: int):
    matrix = web_mercator()
    inference, cache = opened(scenes, one_band())
    plan = make_plan(inference, matrix.grid(zoom))
    columns, rows = matrix.covering(plan.grid, plan.window, zoom)
    random = np.random.default_rng(zoom)

    for _ in range(3):
        x, y = random.choice(columns), random.choice(rows)
        before = cache.counts.pixels_requested
        tile = evaluate(plan, matrix.window(zoom, int(x), int(y)))
        read = cache.counts.pixels_requested - before

        # A window of any other CRS is turned in the image's: up to 3 degrees here. An overview
        # just finer than the screen has up to 2 x 2 pixels for each of the tile's.
        shown = int(np.count_nonzero(tile.valid))
        needed = shown * max(per_pixel(plan.grid), 1e-9)
        assert read <= MOST * needed + 6 * 256


def per_pixel(grid: Grid) -> float:
    """Return how many pixels of the overview just finer than a grid one of its pixels covers."""
    metres = grid.pixel_x * np.cos(np.radians(46.0))
    level = max(step for step in (10.0, 20.0, 40.0) if step <= max(metres * 1.001, 10.0))
    return (metres / level) ** 2


@pytest.mark.parametrize("pixel", [10.0, 20.0, 30.0, 40.0, 70.0])
def test_windows_of_coarser_lattices_read_the_overview(scenes: Scenes, pixel: float):
    inference, cache = opened(scenes, one_band())
    edge = int(4000 / pixel)
    grid = Grid.of(32633, LEFT + 1030, TOP - 1010, pixel, edge, edge)

    evaluate(make_plan(inference, grid), grid.window)

    level = max(step for step in (10.0, 20.0, 40.0) if step <= pixel)
    needed = (4000 / level) ** 2
    assert cache.counts.pixels_requested <= MOST * needed


def test_no_other_band_or_date_is_read(scenes: Scenes):
    nodes = {
        "load": load(["B04", "B08", "SCL"]),
        "when": node("filter_temporal", data=ref("load"), extent=["2020-06-01", "2020-08-01"]),
        "which": node("filter_bands", True, data=ref("when"), bands=["B08"]),
    }
    inference, cache = opened(scenes, job_of(nodes))

    evaluate(make_plan(inference), Window(0, 0, 256, 256))

    decoded = {(key[0].rsplit("/", 1)[-1], key[3]) for key in cache._tiles}
    assert decoded == {("2020-07-01_B08.tif", 1)}
    assert cache.counts.pixels_requested == 256 * 256


def test_a_kernel_adds_its_halo_and_a_reduction_nothing(scenes: Scenes):
    inference, cache = opened(scenes, job_of(GRAPHS["smoothed"]))

    evaluate(make_plan(inference), Window(100, 100, 256, 256))

    assert cache.counts.pixels_requested == 4 * 260 * 260


def test_the_composite_reads_each_pixel_of_each_band_once(scenes: Scenes):
    inference, cache = opened(scenes, job_of(GRAPHS["composite"]))

    evaluate(make_plan(inference), Window(100, 100, 256, 256))

    assert cache.counts.pixels_requested == 4 * (2 * 256 * 256 + 128 * 128)


def test_a_second_look_decodes_nothing(scenes: Scenes):
    inference, cache = opened(scenes, job_of(GRAPHS["composite"]))
    layer = TileLayer(inference)

    first = layer.cube(NATIVE, 1, 0, 0)
    decoded = cache.counts.tiles_decoded
    again = layer.cube(NATIVE, 1, 0, 0)

    assert first is not None
    assert again is not None
    assert decoded > 0
    assert cache.counts.tiles_decoded == decoded


def test_a_tile_where_there_is_nothing_reads_nothing(scenes: Scenes):
    inference, cache = opened(scenes, job_of(GRAPHS["composite"]))

    assert TileLayer(inference).cube(MERCATOR, 5, 0, 0) is None
    assert cache.counts.pixels_requested == 0


@pytest.mark.parametrize("copied", [False, True])
def test_what_was_ingested_is_opened_at_its_overview_only(
    scenes: Scenes, tmp_path: Path, copied: bool
):
    workspace = Workspace.of(tmp_path)
    pattern = r"(?P<date>\d{4}-\d\d-\d\d)_(?P<band>B\d\d)\.tif$"
    files = sorted(scenes.folder.glob("*_B0?.tif"))
    ingest(files, "scenes", workspace, options=IngestOptions(pattern=pattern, copy=copied))
    gate = Gate((workspace.home, *Workspace.of(tmp_path).roots))
    opener = CatalogOpener(workspace.catalog, gate, 64_000_000)
    job = job_of({"load": {**load(["B04", "B08"]), "result": True}})
    grid = Grid.of(32633, LEFT, TOP, 20.0, HEIGHT // 2, WIDTH // 2)

    plan = make_plan(infer(job.graph(), opener), grid)
    planned = opener._reader.handles.opened
    for window in grid.window.blocks(100):
        evaluate(plan, window)

    assert planned == 0
    assert opener._reader.handles.opened == len(files)
