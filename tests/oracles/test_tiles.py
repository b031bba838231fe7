"""Map tiles against rio-tiler and GDAL's warper (WarpedVRT) on the same files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rio_tiler.io import Reader
from tests.drivers.scenes import (
    asset_of,
    grid_of,
    job_of,
    load,
    node,
    ref,
    register,
    surface,
    write_cog,
)

from terrazzo.catalog import BandInfo
from terrazzo.drivers.tile import MERCATOR, TileLayer
from terrazzo.engine import evaluate, make_plan
from terrazzo.geo.control import ERROR
from terrazzo.geo.crs import transformer
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import scale_between
from terrazzo.geo.tiling import web_mercator

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.job import Workspace
    from terrazzo.geo.grid import Grid, Window

# rio-tiler multiplies affines with `*`, which affine 3.1 is about to retire.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

BANDS = ("red", "green", "blue")
BORDER = 2e-5
"""Share of the pixels whose centre lies so near to a border that GDAL takes the other side."""
ROUNDED = 0.01
"""Share of the pixels that 1e-4 source pixel, or a weight in float32, rounds to another number."""


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    """One image of three bands with a hole of no-data, and overviews."""
    home = tmp_path_factory.mktemp("picture")
    grid = grid_of()
    pixels = np.stack([surface(grid.height, grid.width, s, 300, 4000) for s in (1, 2, 3)])
    pixels[:, 200:260, 300:390] = 0
    path = write_cog(home / "assets" / "rgb.tif", pixels, grid)
    bands = tuple(BandInfo(name, "uint16", 0.0) for name in BANDS)
    item = {"rgb": ("2020-06-01T10:00:00Z", {"rgb": asset_of(path, bands, grid)})}
    return register(home, "rgb", item, grid), path


def graph(method: str = "") -> dict:
    """Return the image as it is, or warped to Web Mercator pixels of the graph's own."""
    nodes = {"load": {**load(BANDS, collection="rgb"), "result": not method}}
    if method:
        nodes["warp"] = node(
            "resample_spatial",
            True,
            data=ref("load"),
            projection=3857,
            method=method,
            resolution=14,
        )
    return nodes


def by_gdal(path: Path, grid: Grid, window: Window, method: str) -> np.ndarray:
    """Return what GDAL's warper makes of full resolution, with exact coordinates and our scale."""
    rows, cols = scale_between(grid, grid_of())
    left, _, _, top = grid.bounds_of(window)
    with (
        rasterio.open(path) as file,
        WarpedVRT(
            file,
            crs=grid.crs,
            transform=Affine(grid.pixel_x, 0, left, 0, -grid.pixel_y, top),
            height=window.height,
            width=window.width,
            src_nodata=0,
            nodata=0,
            resampling=Resampling["nearest" if method == "near" else method],
            tolerance=1e-12,  # 0 is refused
            XSCALE=str(1 / cols),
            YSCALE=str(1 / rows),
        ) as warped,
    ):
        return warped.read()


def surely_inside(grid: Grid, window: Window) -> np.ndarray:
    """Pixels whose centre is so far from a source pixel's border that coordinates may err."""
    rows, cols = PixelMap.between(grid, window, grid_of(), exact=True).centres
    return (np.abs(rows - np.round(rows)) > ERROR) & (np.abs(cols - np.round(cols)) > ERROR)


@pytest.mark.parametrize("zoom", [11, 12, 13, 14, 15])
def test_tiles_are_those_of_rio_tiler(picture: tuple[Workspace, Path], zoom: int):
    workspace, path = picture
    layer = TileLayer(job_of(graph()).infer(workspace))
    plan, matrix = layer.plan(MERCATOR, zoom), web_mercator()
    columns, rows = matrix.covering(plan.grid, plan.window, zoom)
    same = valid = lost = inside = 0

    for x in columns[:4]:
        for y in rows[:4]:
            tile = layer.cube(MERCATOR, zoom, x, y)
            with Reader(str(path)) as reader:
                theirs = reader.tile(x, y, zoom, resampling_method="nearest")
            there = ~np.ma.getmaskarray(theirs.array)
            ours = np.zeros(there.shape, bool) if tile is None else tile.valid[0]
            values = np.zeros(there.shape) if tile is None else tile.values[0]
            both = ours & there
            same += np.count_nonzero(values[both] == theirs.array.data[both])
            valid += np.count_nonzero(both)
            lost += np.count_nonzero(ours != there)
            inside += there.size

    # The rest: GDAL interpolates coordinates to an eighth of a pixel, so that where a tile's
    # pixel centre lies that near to a border it takes the neighbour (the last test of this file
    # says who is right). At coarser zooms rio-tiler reads a decimated image that GDAL makes of
    # whichever overview it likes, so that only what is valid can be compared.
    assert valid > 1000
    assert same / valid >= (0.98 if exact_level(plan.grid) else 0.0)
    assert lost / inside <= 0.005


def exact_level(grid: Grid) -> bool:
    """Tell whether both sides read full resolution: no overview is as fine as the screen."""
    return grid.pixel_x * np.cos(np.radians(46.0)) < 20.0


@pytest.mark.parametrize("method", ["near", "bilinear"])
@pytest.mark.parametrize("zoom", [13, 14, 15])
def test_tiles_are_those_of_gdal_without_its_approximation(
    picture: tuple[Workspace, Path], zoom: int, method: str
):
    workspace, path = picture
    inference = job_of(graph()).infer(workspace)
    load_node = inference.nodes["load"]
    matrix = web_mercator()
    plan = make_plan(inference, matrix.grid(zoom))
    columns, rows = matrix.covering(plan.grid, plan.window, zoom)
    window = matrix.window(zoom, columns[len(columns) // 2], rows[len(rows) // 2])

    ours = load_node.source.read(plan.grid, window, {}, method)

    theirs = by_gdal(path, plan.grid, window, method)
    assert ours.valid.any()
    there, sure = theirs > 0, surely_inside(plan.grid, window)
    assert np.count_nonzero((ours.valid[0] != there) & sure) == 0
    apart = np.abs(ours.values[0].astype(int) - theirs)[there & ours.valid[0] & sure]
    # Both round to whole numbers; GDAL rounds the weights of bilinear to float32 first.
    assert apart.max() <= (0 if method == "near" else 1)
    assert np.count_nonzero(apart) / apart.size < ROUNDED


@pytest.mark.parametrize("method", ["near", "bilinear", "cubic", "average"])
def test_a_warp_in_the_graph_is_that_of_gdal(picture: tuple[Workspace, Path], method: str):
    workspace, path = picture
    job = job_of(graph(method))
    plan = job.plan(job.infer(workspace))

    cube = evaluate(plan, plan.window)

    theirs = by_gdal(path, plan.grid, plan.window, method)
    there = theirs > 0
    both = there & cube.valid[0]
    apart = np.abs(cube.values[0].astype(int) - theirs)[both]
    lost = np.count_nonzero(there != cube.valid[0]) / there.size
    assert lost < (0.02 if method == "average" else BORDER)
    if method == "average":
        # GDAL averages whole source pixels; Terrazzo weighs them by their overlap.
        assert np.mean(apart) < 150
    else:
        assert np.count_nonzero(apart > (0 if method == "near" else 1)) / apart.size < BORDER
        assert np.count_nonzero(apart) / apart.size < 1e-2


def test_every_pixel_of_a_tile_is_the_one_under_its_centre(picture: tuple[Workspace, Path]):
    workspace, path = picture
    layer = TileLayer(job_of(graph()).infer(workspace))
    plan, matrix = layer.plan(MERCATOR, 15), web_mercator()
    columns, rows = matrix.covering(plan.grid, plan.window, 15)
    x, y = columns[1], rows[1]

    tile = layer.cube(MERCATOR, 15, x, y)

    grid, window = matrix.grid(15), matrix.window(15, x, y)
    xs, ys = np.meshgrid(grid.xs(window), grid.ys(window))
    there = transformer("EPSG:3857", "EPSG:32633").transform(xs, ys)
    with rasterio.open(path) as file:
        pixels = file.read()
    cols, lines = (there[0] - 600_000) / 10, (5_100_000 - there[1]) / 10
    rows_, cols_ = np.floor(lines).astype(int), np.floor(cols).astype(int)
    expected = pixels[:, rows_.clip(0, 599), cols_.clip(0, 699)]
    outside = (rows_ < 0) | (rows_ > 599) | (cols_ < 0) | (cols_ > 699)
    assert tile is not None
    np.testing.assert_array_equal(tile.valid[0], (expected > 0) & ~outside)
    np.testing.assert_array_equal(tile.values[0][tile.valid[0]], expected[tile.valid[0]])
