"""What a window needs at least: counted pixel by pixel by others, and never more than is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from rasterio.features import rasterize
from tests.drivers.scenes import (
    CRS,
    DATES,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    Scenes,
    asset_of,
    job_of,
    load,
    make_scenes,
    register,
    write_cog,
)

from terrazzo.catalog import BandInfo
from terrazzo.engine import evaluate, make_plan
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.scale import scale_between
from terrazzo.geo.tiling import web_mercator
from terrazzo.spans import recorded
from terrazzo.storage.needed import needed, touched
from terrazzo.storage.source import RasterSource

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.engine import Plan


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    return make_scenes(tmp_path_factory.mktemp("needed"))


def one_band(scenes: Scenes, grid: Grid | None = None) -> Plan:
    job = job_of({"load": {**load(["B04"]), "result": True}})
    return make_plan(job.infer(scenes.workspace), grid)


def count(plan: Plan, window: Window) -> int:
    (step,) = plan.steps
    assert isinstance(step.bound.source, RasterSource)
    assert step.grid is not None
    return needed(step.bound.source, step.grid, window, step.wanted, step.method).pixels


corner = st.tuples(st.floats(-20, 60), st.floats(-20, 60))


@given(
    points=st.lists(corner, min_size=3, max_size=8),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
)
def test_touched_pixels_are_those_that_an_outline_meets(
    points: list[tuple[float, float]], width: int, height: int
) -> None:
    hull = shapely.MultiPoint(points).convex_hull
    if hull.geom_type != "Polygon" or min(np.ptp(np.array(points), axis=0)) < 1e-3:
        return
    rows, cols = np.mgrid[0:height, 0:width]
    pixels = shapely.box(cols, rows, cols + 1, rows + 1)

    found = touched(shapely.get_coordinates(hull.exterior), width, height)

    surely = np.count_nonzero(shapely.intersects(pixels, hull.buffer(-1e-3)))
    perhaps = np.count_nonzero(shapely.intersects(pixels, hull.buffer(1e-3)))
    assert surely <= found <= perhaps


def test_a_native_window_needs_its_own_pixels(scenes: Scenes) -> None:
    plan = one_band(scenes)

    found = [
        count(plan, window)
        for window in (Window(0, 0, HEIGHT, WIDTH), Window(13, 5, 100, 1), Window(599, 699, 1, 1))
    ]

    assert found == [len(DATES) * pixels for pixels in (HEIGHT * WIDTH, 100, 1)]


def test_pixels_beyond_the_images_need_nothing(scenes: Scenes) -> None:
    plan = one_band(scenes)

    assert count(plan, Window(-50, -50, 100, 60)) == len(DATES) * 50 * 10
    assert count(plan, Window(-500, 0, 100, 100)) == 0
    assert count(plan, Window(0, 0, 0, 0)) == 0


@pytest.mark.parametrize("zoom", [10, 12, 13, 15, 17])
def test_tiles_need_what_their_centres_span_in_the_overview_just_finer(
    scenes: Scenes, zoom: int
) -> None:
    plan = one_band(scenes, web_mercator().grid(zoom))
    window = Window(plan.window.row + 3, plan.window.col + 5, 256, 256)
    west, south, east, north = plan.grid.bounds_of(window)
    half = plan.grid.pixel_x / 2
    outline = shapely.segmentize(
        shapely.box(west + half, south + half, east - half, north - half), half * 4
    )
    into = Transformer.from_crs(plan.grid.crs, CRS, always_xy=True)
    outline = shapely.transform(outline, into.transform, interleaved=False)
    metres = plan.grid.pixel_x * np.cos(np.radians(46.0))
    level = max(step for step in (10.0, 20.0, 40.0) if step <= max(metres * 1.001, 10.0))
    touches = rasterize(
        [(outline, 1)],
        out_shape=(round(HEIGHT * 10 / level), round(WIDTH * 10 / level)),
        transform=(level, 0, LEFT, 0, -level, TOP),
        all_touched=True,
    )

    found = count(plan, window)

    assert found == pytest.approx(len(DATES) * int(touches.sum()), rel=0.01, abs=4 * len(DATES))


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_no_read_asks_for_less_than_is_needed(scenes: Scenes, seed: int) -> None:
    random = np.random.default_rng(seed)
    crs = str(random.choice([CRS, "EPSG:3857", "EPSG:4326", "EPSG:3035"]))
    images = Grid.of(CRS, LEFT, TOP, 10.0, HEIGHT, WIDTH)
    left, _, right, top = images.to_bounds(images.window, crs)
    edge = (right - left) / random.uniform(20, 900)
    plan = one_band(scenes, Grid.of(crs, left, top, edge, 900, 900))
    row, col, height, width = (int(n) for n in random.integers([0, 0, 1, 1], [600, 600, 300, 300]))
    window = Window(row, col, height, width).intersection(plan.window)

    with recorded() as heard:
        evaluate(plan, window)

    # Where the images end there may be no centre of a window's pixel in their last row.
    scale = max(scale_between(plan.grid, images))
    border = len(DATES) * 2 * max(scale, 1) * (window.height + window.width)
    assert count(plan, window) <= heard.counts.get("pixels_requested", 0) + border


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_inside_of_images_reads_ask_for_little_more_than_is_needed(
    scenes: Scenes, seed: int
) -> None:
    random = np.random.default_rng(seed)
    crs = str(random.choice([CRS, "EPSG:3857", "EPSG:4326", "EPSG:3035"]))
    images = Grid.of(CRS, LEFT, TOP, 10.0, HEIGHT, WIDTH)
    left, bottom, right, top = images.to_bounds(Window(250, 300, 50, 50), crs)
    edge = min(right - left, top - bottom) / random.uniform(10, 200)
    plan = one_band(scenes, Grid.of(crs, left, top, edge, 900, 900))
    window = Window(0, 0, int((top - bottom) / edge), int((right - left) / edge))

    with recorded() as heard:
        evaluate(plan, window)

    requested, found = heard.counts["pixels_requested"], count(plan, window)
    assert found <= requested <= 1.5 * found + 4 * len(DATES) * (50 + 50)


def test_images_of_one_day_need_each_place_once(tmp_path: Path) -> None:
    items = {}
    for number, east in enumerate((0, 60)):
        grid = Grid.of(CRS, LEFT + 10 * east, TOP, 10.0, 50, 100)
        path = write_cog(tmp_path / "assets" / f"{number}.tif", np.ones((50, 100), np.uint16), grid)
        asset = asset_of(path, (BandInfo("B04", "uint16", 0.0),), grid)
        items[f"item{number}"] = ("2020-01-01T10:00:00Z", {"B04": asset})
    both = Grid.of(CRS, LEFT, TOP, 10.0, 50, 160)
    workspace = register(tmp_path, "scenes", items, both)
    plan = one_band(Scenes(workspace, tmp_path))

    assert count(plan, Window(0, 0, 50, 160)) == pytest.approx(50 * 160, rel=0.005)
    assert count(plan, Window(0, 70, 10, 20)) == 10 * 20


def test_a_file_that_cannot_be_read_needs_nothing(tmp_path: Path) -> None:
    scenes = make_scenes(tmp_path, DATES[:2])
    plan = one_band(scenes)
    scenes.file(DATES[0], "B04").unlink()

    assert count(plan, Window(0, 0, 10, 10)) == 100
