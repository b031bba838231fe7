"""Interpolated coordinates against exactly transformed ones, over the whole Earth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from terrazzo.errors import PlanTooLarge
from terrazzo.geo.control import ERROR, STEPS, Control
from terrazzo.geo.coordinates import exact_centres
from terrazzo.geo.crs import crs_name, transformer
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.pixelmap import PixelMap

SINUSOIDAL = "+proj=sinu +lon_0=0 +R=6371007.181 +units=m +no_defs"
LAEA = "+proj=laea +lat_0=46.5 +lon_0=15 +datum=WGS84 +units=m +no_defs"
SYSTEMS = ("EPSG:32633", "EPSG:32760", "EPSG:3857", "EPSG:4326", "EPSG:3035", "EPSG:3031")
SYSTEMS += ("EPSG:3413", SINUSOIDAL, LAEA)
METRES = 111_320.0


@st.composite
def places(draw) -> tuple[float, float]:
    """Longitude and latitude, edges of the world more often than elsewhere."""
    longitude = draw(st.one_of(st.sampled_from([0.0, 15.0, 179.99, -180.0]), st.floats(-180, 180)))
    latitude = draw(st.one_of(st.sampled_from([0.0, 47.0, 84.0, -89.9, 90.0]), st.floats(-90, 90)))
    return longitude, latitude


def grid_at(crs: str, place: tuple[float, float], metres: float, size: int) -> Grid:
    """A grid around a place; its anchor far from it, as tiling schemes have it."""
    x, y = transformer("EPSG:4326", crs_name(crs)).transform(*place)
    assume(math.isfinite(x) and math.isfinite(y) and abs(x) < 1e8 and abs(y) < 1e8)
    pixel = metres / METRES if crs == "EPSG:4326" else metres
    return Grid.of(crs, x - pixel * size / 2, y + pixel * size / 2, pixel, size, size)


@st.composite
def maps(draw) -> tuple[Grid, Window, Grid]:
    """A window of 1 to 150 pixels anywhere, and a source grid there or elsewhere."""
    systems = st.lists(st.sampled_from(SYSTEMS), min_size=2, max_size=2, unique=True)
    target_crs, source_crs = draw(systems)
    place = draw(places())
    metres = 10 ** draw(st.floats(0.0, 5.0))
    coarser = 10 ** draw(st.floats(-1.5, 1.0))
    target = grid_at(target_crs, place, metres, 4000)
    source = grid_at(source_crs, draw(st.one_of(st.just(place), places())), metres / coarser, 3000)
    corner = draw(st.tuples(st.integers(1800, 2050), st.integers(1800, 2050)))
    size = draw(st.tuples(st.integers(1, 150), st.integers(1, 150)))
    return target, Window(*corner, *size), source


@settings(max_examples=150, deadline=None)
@given(drawn=maps())
def test_interpolated_coordinates_are_within_the_stated_error(drawn) -> None:
    target, window, source = drawn

    rows, cols = PixelMap.between(target, window, source).centres
    exact_rows, exact_cols = PixelMap.between(target, window, source, exact=True).centres

    there = np.isfinite(exact_rows)
    np.testing.assert_array_equal(np.isfinite(rows), there)
    assert np.abs(rows - exact_rows)[there].max(initial=0.0) <= ERROR
    assert np.abs(cols - exact_cols)[there].max(initial=0.0) <= ERROR


@settings(max_examples=60, deadline=None)
@given(drawn=maps())
def test_interpolated_footprints_are_within_the_stated_error(drawn) -> None:
    target, window, source = drawn

    found = PixelMap.between(target, window, source).footprints
    exact = PixelMap.between(target, window, source, exact=True).footprints

    for name in ("row_lo", "row_hi", "col_lo", "col_hi"):
        one, other = getattr(found, name), getattr(exact, name)
        there = np.isfinite(other)
        np.testing.assert_array_equal(np.isfinite(one), there)
        assert np.abs(one - other)[there].max(initial=0.0) <= ERROR


@settings(max_examples=80, deadline=None)
@given(drawn=maps(), first=st.tuples(st.integers(0, 99), st.integers(0, 99)), exact=st.booleans())
def test_coordinates_are_the_same_bits_in_every_window(drawn, first, exact) -> None:
    target, window, source = drawn
    row, col = first[0] % window.height, first[1] % window.width
    inner = Window(window.row + row, window.col + col, window.height - row, window.width - col)

    big = PixelMap.between(target, window, source, exact=exact)
    small = PixelMap.between(target, inner, source, exact=exact)

    pairs = list(zip(small.centres, big.centres, strict=True))
    names = ("row_lo", "row_hi", "col_lo", "col_hi")
    pairs += [(getattr(small.footprints, n), getattr(big.footprints, n)) for n in names]
    for one, other in pairs:
        assert one.tobytes() == other[row:, col:].tobytes()


@settings(max_examples=80, deadline=None)
@given(
    drawn=maps(),
    corner=st.tuples(st.floats(-0.5, 1.2), st.floats(-0.5, 1.2)),
    size=st.tuples(st.floats(0.0, 1.5), st.floats(0.0, 1.5)),
    radius=st.sampled_from([0.0, 1.0, 2.0, 3.7]),
    exact=st.booleans(),
)
def test_source_windows_hold_exactly_the_pixels_touched(drawn, corner, size, radius, exact) -> None:
    target, window, source = drawn
    pixel_map = PixelMap.between(target, window, source, exact=exact)
    rows, cols = pixel_map.centres
    there = np.isfinite(rows)
    assume(there.any() and np.abs(rows[there]).max() < 1e9 and np.abs(cols[there]).max() < 1e9)
    low, high = rows[there].min(), rows[there].max()
    left, right = cols[there].min(), cols[there].max()
    within = Window(
        math.floor(low + corner[0] * (high - low)),
        math.floor(left + corner[1] * (right - left)),
        math.ceil(size[0] * (high - low)) + 1,
        math.ceil(size[1] * (right - left)) + 1,
    )

    found = pixel_map.source_window(radius, radius, within)
    assume(found.pixels < 1e9)
    lookup = pixel_map.lookup(within)

    inside = (rows >= within.row) & (rows < within.row_stop)
    inside &= (cols >= within.col) & (cols < within.col_stop)
    if not inside.any():
        assert found.is_empty
        assert lookup.window.is_empty
        assert (lookup.index == -1).all()
        return
    bounds = [
        min(math.floor(at.min()), math.floor(at.min() - 0.5 - radius) + 1)
        for at in (rows[inside], cols[inside])
    ]
    stops = [
        max(math.floor(at.max()) + 1, math.ceil(at.max() - 0.5 + radius))
        for at in (rows[inside], cols[inside])
    ]
    whole = Window(*bounds, stops[0] - bounds[0], stops[1] - bounds[1])
    assert found == whole.intersection(within)
    expected = (np.floor(rows) - lookup.window.row) * lookup.window.width
    expected += np.floor(cols) - lookup.window.col
    np.testing.assert_array_equal(lookup.index, np.where(inside, expected, -1))


@settings(max_examples=60, deadline=None)
@given(drawn=maps(), corner=st.tuples(st.floats(-0.5, 1.2), st.floats(-0.5, 1.2)))
def test_footprint_windows_hold_exactly_the_pixels_touched(drawn, corner) -> None:
    target, window, source = drawn
    pixel_map = PixelMap.between(target, window, source)
    area = pixel_map.footprints
    there = np.isfinite(area.row_lo)
    assume(there.any() and max(np.abs(e[there]).max() for e in (area.row_lo, area.col_hi)) < 1e9)
    low, high = area.row_lo[there].min(), area.row_hi[there].max()
    left, right = area.col_lo[there].min(), area.col_hi[there].max()
    within = Window(
        math.floor(low + corner[0] * (high - low)),
        math.floor(left + corner[1] * (right - left)),
        math.ceil((high - low) / 2) + 1,
        math.ceil((right - left) / 2) + 1,
    )

    found = pixel_map.footprint_window(within)

    touched = (area.row_hi > within.row) & (area.row_lo < within.row_stop)
    touched &= (area.col_hi > within.col) & (area.col_lo < within.col_stop)
    if touched.any():
        row, col = math.floor(area.row_lo[touched].min()), math.floor(area.col_lo[touched].min())
        height = math.ceil(area.row_hi[touched].max()) - row
        width = math.ceil(area.col_hi[touched].max()) - col
        assert found == Window(row, col, height, width).intersection(within)
    else:
        assert found.is_empty


def test_a_bend_that_one_step_cannot_see_is_refined() -> None:
    """A cubic through a block's middle lies on the straight line there."""
    target = Grid.of(4326, -180.0, 90.0, 1.0, 180, 360)
    source = Grid.of(3857, -2.0e7, 2.0e7, 20_000.0, 2000, 2000)
    window = Window(60, 100, 60, 60)

    rows, cols = PixelMap.between(target, window, source).centres
    exact = exact_centres(target, window, source)

    assert np.abs(rows - exact[0]).max() < ERROR
    assert np.abs(cols - exact[1]).max() < ERROR


@pytest.mark.parametrize(("pixel", "refined"), [(10.0, False), (4000.0, True)])
def test_cells_are_refined_where_they_bend(pixel: float, refined: bool) -> None:
    target = Grid.of(3857, 0.0, 1.0e7, pixel, 100_000, 100_000)
    source = Grid.of(32633, 3.0e5, 5.3e6, pixel / 2, 9000, 9000)
    x, y = Transformer.from_crs(32633, 3857, always_xy=True).transform(5.0e5, 5.2e6)
    window = Window(int((target.top - y) / pixel), int(x / pixel), 70, 70)

    control = Control.around(target, window, source, exact=False)

    assert control.bent.any() == refined
    assert control.origin[2] == STEPS[0]


def test_systems_that_are_shifted_only_keep_borders() -> None:
    """What rounding leaves of a border must not choose pixels."""
    shifted = "+proj=tmerc +lat_0=0 +lon_0=15 +k=0.9996 +x_0=400000 +y_0=0 +datum=WGS84"
    source = Grid.of(shifted, 400_000.0, 5_200_000.0, 10.0, 200, 200)
    target = Grid.of(32633, 500_000.0, 5_200_000.0, 20.0, 100, 100)

    rows, cols = PixelMap.between(target, target.window, source).centres

    assert (rows == (2.0 * np.arange(100) + 1)[:, None]).all()
    assert (cols == 2.0 * np.arange(100) + 1).all()


def test_pixels_too_far_apart_to_be_numbered_are_refused() -> None:
    """Neighbours on both sides of a pole lie half a world apart in Web Mercator."""
    target = Grid.of(3413, -2000.0, 2000.0, 1.0, 4000, 4000)
    source = Grid.of(3857, -1500.0, 1500.0, 1.0, 3000, 3000)
    everywhere = Window(-(10**9), -(10**9), 2 * 10**9, 2 * 10**9)

    with pytest.raises(PlanTooLarge, match="smaller window"):
        PixelMap.between(target, Window(1990, 1990, 20, 20), source).lookup(everywhere)
