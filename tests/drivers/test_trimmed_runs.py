"""Runs of `trim_cube` over a part of it are that part of the whole result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
import xarray as xr
from tests.drivers.scenes import asset_of, job_of, load, node, ref, register, write_cog

from terrazzo.catalog import BandInfo
from terrazzo.drivers import batch
from terrazzo.drivers.tile import NATIVE, TileLayer
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

GRID = Grid.of(32633, 600_000.0, 5_000_000.0, 10.0, 60, 80)
DAYS = ("2020-06-01", "2020-06-02", "2020-06-03", "2020-06-04")
PARTS = {
    "everywhere": (600_000.0, 4_999_400.0, 600_800.0, 5_000_000.0),
    "inside": (600_350.0, 4_999_600.0, 600_600.0, 4_999_750.0),
    "over the corner": (600_100.0, 4_999_700.0, 600_410.0, 4_999_990.0),
    "over the other": (600_550.0, 4_999_400.0, 600_800.0, 4_999_640.0),
}


def whole() -> xr.DataArray:
    """Four days, of which the first is empty, the third too, and the others lie apart."""
    rows, cols = np.mgrid[0:60, 0:80]
    pixels = np.full((4, 60, 80), np.nan)
    pixels[1, 20:33, 30:52] = (rows * 100.0 + cols)[20:33, 30:52]
    pixels[3, 28:47, 47:71] = (rows * 100.0 + cols)[28:47, 47:71]
    pixels[1, 25, :] = np.nan  # a gap, which stays
    x, y = GRID.left + 10 * (np.arange(80) + 0.5), GRID.top - 10 * (np.arange(60) + 0.5)
    return xr.DataArray(pixels, {"t": list(DAYS), "y": y, "x": x}, ("t", "y", "x"))


def trimmed(cube: xr.DataArray) -> xr.DataArray:
    """Take what is empty from the ends of each dimension."""
    for name in cube.dims:
        full = cube.notnull().any([other for other in cube.dims if other != name]).values
        first, last = np.flatnonzero(full)[[0, -1]]
        cube = cube.isel({name: slice(first, last + 1)})
    return cube


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    home, items = tmp_path_factory.mktemp("home"), {}
    for day, pixels in zip(DAYS, whole().fillna(0).values.astype(np.uint16), strict=True):
        path = write_cog(home / f"{day}.tif", pixels, GRID)
        band = BandInfo("height", "uint16", 0.0)
        items[day] = (f"{day}T00:00:00Z", {"height": asset_of(path, (band,), GRID)})
    return register(home, "hills", items, GRID)


NODES = {
    "load": load(["height"], collection="hills"),
    "trim": node("trim_cube", True, data=ref("load")),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_that_part_of_the_whole(workspace: Workspace, tmp_path: Path, part: str) -> None:
    left, bottom, right, top = PARTS[part]
    expected = trimmed(whole()).sel(x=slice(left, right), y=slice(top, bottom))

    job = job_of(NODES, bbox=PARTS[part], bbox_crs="EPSG:32633")
    made = batch.run(job, workspace, tmp_path, block=16)

    assert [asset.time[:10] for asset in made.assets] == expected.t.values.tolist()
    for asset in made.assets:
        with rasterio.open(asset.path) as file:
            pixels = file.read(1, masked=True).astype(float).filled(np.nan)
            corner = file.xy(0, 0)
        day = expected.sel(t=asset.time[:10])
        assert corner == (day.x[0], day.y[0])
        np.testing.assert_array_equal(pixels, day.values)


def test_larger_pixels_lie_in_what_was_trimmed(workspace: Workspace, tmp_path: Path) -> None:
    part = PARTS["inside"]
    job = job_of(NODES, bbox=part, bbox_crs="EPSG:32633", resolution=30.0)

    made = batch.run(job, workspace, tmp_path, block=16)

    days = trimmed(whole()).t.values.tolist()
    assert [asset.time[:10] for asset in made.assets] == days
    with rasterio.open(made.assets[-1].path) as file:
        pixels, transform = file.read(1, masked=True), file.transform
    assert (transform.a, transform.e) == (30.0, -30.0)
    assert abs(transform.c - part[0]) <= 15
    assert abs(transform.f - part[3]) <= 15
    expected = whole().sel(t=days[-1])
    for row, col in np.argwhere(~pixels.mask):
        x, y = transform.c + 30 * (col + 0.5), transform.f - 30 * (row + 0.5)
        assert pixels[row, col] == expected.sel(x=x, y=y, method="nearest")


def test_tiles_show_what_runs_make(workspace: Workspace) -> None:
    layer = TileLayer(job_of(NODES).infer(workspace))
    zoom = layer.matrix(NATIVE).base_zoom

    cube = layer.cube(NATIVE, zoom, 0, 0)

    expected = trimmed(whole())
    assert cube is not None
    assert cube.grid is not None
    assert layer.bounds("EPSG:32633") == (600_300, 4_999_530, 600_710, 4_999_800)
    assert [str(label)[:10] for label in cube.dimensions[0].labels] == expected.t.values.tolist()
    rows, cols = cube.window.slices(cube.grid.window_of(layer.bounds("EPSG:32633")))
    found = np.where(cube.valid, cube.values, np.nan)[:, 0, rows, cols]
    np.testing.assert_array_equal(found, expected.values)
