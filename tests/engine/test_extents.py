"""Extents and grids at the edges of the map: antimeridian, poles, 0 to 360, bulging edges."""

from __future__ import annotations

import numpy as np
import pytest

from terrazzo.engine.grids import extent_on, resampled_grid
from terrazzo.geo.crs import transformer
from terrazzo.geo.extent import spatial_extent
from terrazzo.geo.grid import Grid, Window, transform_bounds
from terrazzo.geo.tiling import native, web_mercator

WORLD = Grid.of(4326, -180.0, 90.0, 1.0, 180, 360)
WORLD_360 = Grid.of(4326, 0.0, 90.0, 1.0, 180, 360)
UTM_1 = Grid.of(32601, 166_000.0, 200_000.0, 1000.0, 100, 200)


def box(west, south, east, north, **more):
    return spatial_extent({"west": west, "south": south, "east": east, "north": north, **more})


def columns(extent, grid):
    return np.flatnonzero(extent.mask(grid, grid.window).any(axis=0))


def test_a_box_across_the_antimeridian_holds_both_sides_and_not_the_rest():
    extent = box(175, -5, -170, 5)

    degrees = WORLD.xs(WORLD.window)[columns(extent, WORLD)]

    assert sorted(degrees) == [*np.arange(-179.5, -170), *np.arange(175.5, 180)]
    assert extent.window(WORLD).contains(Window(85, 0, 10, 10))
    assert extent.window(WORLD).contains(Window(85, 355, 10, 5))


@pytest.mark.parametrize(("west", "east"), [(-20, -10), (340, 350), (-20, 350 - 360)])
def test_a_box_is_found_on_grids_from_0_to_360_too(west, east):
    extent = box(west, -5, east, 5)

    assert list(WORLD_360.xs(WORLD_360.window)[columns(extent, WORLD_360)]) == [
        *np.arange(340.5, 350)
    ]
    assert list(WORLD.xs(WORLD.window)[columns(extent, WORLD)]) == [*np.arange(-19.5, -10)]


def test_a_box_across_the_antimeridian_in_the_crs_of_the_pixels_is_that_in_degrees():
    extent = box(179, 0.2, -179.5, 1.5)
    x, y = np.meshgrid(UTM_1.xs(UTM_1.window), UTM_1.ys(UTM_1.window))
    longitude, latitude = transformer(UTM_1.crs, "EPSG:4326").transform(x, y)

    inside = ((longitude >= 179) | (longitude < -179.5)) & (latitude >= 0.2) & (latitude < 1.5)

    np.testing.assert_array_equal(extent.mask(UTM_1, UTM_1.window), inside)
    assert inside.any()


def test_polygons_with_holes_hold_the_pixels_whose_centre_they_hold():
    grid = Grid.of(32633, 0.0, 100.0, 10.0, 10, 10)
    ring = [[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]]
    hole = [[31, 31], [69, 31], [69, 69], [31, 69], [31, 31]]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}

    inside = spatial_extent({"type": "Polygon", "coordinates": [ring, hole], "crs": crs}).mask(
        grid, grid.window
    )

    expected = np.ones((10, 10), bool)
    expected[3:7, 3:7] = False
    np.testing.assert_array_equal(inside, expected)


def test_a_mask_does_not_depend_on_the_window():
    grid = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, 60, 70)
    for extent in (
        box(15.001, 45.149, 15.006, 45.152),
        box(500_095, 4_999_505, 500_405, 4_999_895, crs=32633),
    ):
        whole = extent.mask(grid, grid.window)
        for window in grid.window.blocks(7):
            rows, cols = grid.window.slices(window)
            np.testing.assert_array_equal(extent.mask(grid, window), whole[rows, cols])
        held = extent.window(grid)
        found = np.argwhere(whole)
        assert held.contains(Window(*found.min(axis=0), *(np.ptp(found, axis=0) + 1)))


@pytest.mark.parametrize("target", ["EPSG:3035", "EPSG:3857", "EPSG:32633", "EPSG:4326"])
@pytest.mark.parametrize(
    ("bounds", "source"),
    [
        ((-10.0, 35.0, 30.0, 65.0), "EPSG:4326"),
        ((2_500_000.0, 1_500_000.0, 6_500_000.0, 5_000_000.0), "EPSG:3035"),
        ((300_000.0, 4_000_000.0, 800_000.0, 7_000_000.0), "EPSG:32633"),
    ],
)
def test_bounds_in_another_crs_hold_every_point_of_the_rectangle(bounds, source, target):
    left, bottom, right, top = transform_bounds(bounds, source, target)
    xs, ys = np.meshgrid(
        np.linspace(bounds[0], bounds[2], 1001), np.linspace(bounds[1], bounds[3], 1001)
    )

    x, y = transformer(source, target).transform(xs, ys)
    x, y = x[np.isfinite(x)], y[np.isfinite(y)]

    slack = 1e-9 * max(abs(left), abs(right))
    assert x.min() >= left - slack
    assert x.max() <= right + slack
    assert y.min() >= bottom - slack
    assert y.max() <= top + slack


def test_a_polar_grid_reaches_the_pole_in_degrees():
    polar = Grid.of(3413, -2_010_000.0, 2_030_000.0, 1000.0, 4000, 4000)

    west, _, east, north = polar.to_bounds(polar.window, "EPSG:4326")

    assert (west, east, north) == (-180.0, 180.0, 90.0)


def test_a_grid_from_0_to_360_covers_the_west_of_a_map_from_minus_180():
    assert extent_on(WORLD_360, WORLD_360.window, WORLD).contains(WORLD.window)
    assert extent_on(WORLD, WORLD.window, WORLD_360).contains(WORLD_360.window)
    west = Window(80, 340, 10, 10)

    assert extent_on(WORLD_360, west, WORLD) == Window(80, 160, 10, 10)


def test_a_resampled_grid_does_not_depend_on_the_extent():
    native_grid = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, 600, 700)
    choices = (
        {"resolution": 30, "projection": None},
        {"resolution": (20, 30), "projection": None},
        {"resolution": 0, "projection": 3035},
        {"resolution": (0, 25), "projection": 4326},
        {"resolution": 17, "projection": 3857},
    )
    for choice in choices:
        whole = resampled_grid(native_grid, native_grid.window, align="upper-left", **choice)
        for part in (Window(0, 0, 1, 1), Window(13, 101, 77, 3), Window(599, 699, 1, 1)):
            grid = resampled_grid(native_grid, part, align="upper-left", **choice)

            assert whole.offset_of(grid) is not None, choice
            assert (grid.pixel_x, grid.pixel_y) == (whole.pixel_x, whole.pixel_y)


@pytest.mark.parametrize("align", ["upper-left", "lower-left", "upper-right", "lower-right"])
def test_resampling_keeps_the_corner_that_it_is_told_to(align):
    native_grid = Grid.of(32633, 500_005.0, 5_000_003.0, 10.0, 61, 71)

    grid = resampled_grid(
        native_grid, native_grid.window, resolution=20, projection=None, align=align
    )

    left, bottom, right, top = native_grid.bounds
    x = right if align.endswith("right") else left
    y = top if align.startswith("upper") else bottom
    assert ((x - grid.left) % 20, (grid.top - y) % 20) == (0, 0)


def test_tiles_that_cover_nothing_are_none():
    matrix = web_mercator()
    far = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, 10, 10)

    columns_, rows = native(far).covering(
        Grid.of(32633, 0.0, 0.0, 10.0, 10, 10), Window(0, 0, 9, 9), 0
    )

    assert (len(columns_), len(rows)) == (0, 0)
    assert all(len(found) == 1 for found in matrix.covering(far, far.window, 10))
    assert len(matrix.covering(UTM_1, UTM_1.window, 4)[0]) == 16


def test_the_native_pyramid_ends_at_the_grid_itself():
    grid = Grid.of(32633, 500_000.0, 5_000_000.0, 10.0, 1000, 700)
    matrix = native(grid)

    assert matrix.base_zoom == 2
    assert matrix.grid(2) == grid
    assert (matrix.grid(0).pixel_x, matrix.grid(0).height, matrix.grid(0).width) == (40, 250, 175)
    for zoom, tile in ((-1, 0), (25, 0), (2, 4)):
        with pytest.raises(Exception, match=r"Zoom|not in native"):
            matrix.window(zoom, tile, 0)
