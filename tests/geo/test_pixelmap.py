"""Source coordinates: conventions, turns of longitude, windows, scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from terrazzo.cube.warp import warp
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.geo.scale import overview_for, scale_between

UTM = Grid.of(32633, 500_000.0, 5_200_000.0, 10.0, 600, 800)
WORLD = Grid.of(4326, -180.0, 90.0, 0.25, 720, 1440)
WORLD_360 = Grid.of(4326, 0.0, 90.0, 0.25, 720, 1440)
MERCATOR = Grid.of(3857, 1_600_000.0, 6_000_000.0, 13.0, 9000, 9000)
SINUSOIDAL = "+proj=sinu +lon_0=0 +R=6371007.181 +units=m +no_defs"


def test_integer_and_a_half_is_a_pixel_centre() -> None:
    target = Grid.of(32633, 500_000.0, 5_200_000.0, 20.0, 10, 10)

    rows, cols = PixelMap.between(target, Window(2, 3, 1, 2), UTM).centres

    assert rows.tolist() == [5.0]
    assert cols.tolist() == [7.0, 9.0]


def test_coordinates_equal_pyproj() -> None:
    window = Window(4600, 5400, 7, 9)

    rows, cols = PixelMap.between(MERCATOR, window, UTM).centres

    xs, ys = np.meshgrid(MERCATOR.xs(window), MERCATOR.ys(window))
    x, y = Transformer.from_crs(3857, 32633, always_xy=True).transform(xs, ys)
    np.testing.assert_allclose(rows, (UTM.top - y) / 10.0, atol=1.1e-6)
    np.testing.assert_allclose(cols, (x - UTM.left) / 10.0, atol=1.1e-6)


@settings(max_examples=60)
@given(
    source=st.sampled_from([UTM, WORLD, WORLD_360, Grid.of(32633, 3.3, 7.7, 7.3, 9, 9)]),
    target=st.sampled_from([MERCATOR, Grid.of(32633, 4.9e5, 5.3e6, 3.7, 9000, 9000), WORLD]),
    row=st.integers(-500, 9000),
    col=st.integers(-500, 9000),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_coordinates_do_not_depend_on_the_window(source, target, row, col, height, width) -> None:
    big = PixelMap.between(target, Window(row - 3, col - 2, height + 5, width + 5), source)
    small = PixelMap.between(target, Window(row, col, height, width), source)

    pairs = list(zip(small.centres, big.centres, strict=True))
    names = ("row_lo", "row_hi", "col_lo", "col_hi")
    pairs += [(getattr(small.footprints, n), getattr(big.footprints, n)) for n in names]

    for index, (inner, outer) in enumerate(pairs):
        is_row = index in {0, 2, 3}
        rows, cols = slice(3, 3 + height), slice(2, 2 + width)
        cut = outer[rows, cols] if outer.ndim == 2 else outer[rows if is_row else cols]
        assert inner.tobytes() == cut.tobytes()


def test_coincident_lattices_are_an_offset() -> None:
    target = Grid.of(32633, 500_050.0, 5_199_980.0, 10.0, 5, 5)

    pixel_map = PixelMap.between(target, Window(1, 1, 2, 2), UTM)

    assert pixel_map.offset == (2, 5)
    assert pixel_map.source_window(3, 3, UTM.window) == Window(3, 6, 2, 2)
    assert pixel_map.centres[0].tolist() == [3.5, 4.5]


def test_one_pixel_windows_of_all_kinds() -> None:
    for target in (UTM, MERCATOR, Grid.of(32633, 500_003.0, 5_199_998.0, 7.0, 900, 900)):
        centre = PixelMap.between(UTM, Window(300, 300, 1, 1), target).centres
        at = Window(int(centre[0].flat[0]), int(centre[1].flat[0]), 1, 1)

        pixel_map = PixelMap.between(target, at, UTM)

        window = pixel_map.source_window(1, 1, UTM.window)
        assert window.contains(Window(300, 300, 1, 1))
        assert window.pixels <= 4


@given(
    shift=st.floats(-20, 20), pixel=st.floats(2, 40), radius=st.sampled_from([0.0, 1.0, 2.0, 3.5])
)
def test_source_window_is_exact(shift: float, pixel: float, radius: float) -> None:
    target = Grid.of(32633, 500_000.0 + shift, 5_200_000.0 - shift, pixel, 20, 20)
    pixel_map = PixelMap.between(target, Window(3, 4, 5, 6), UTM)

    window = pixel_map.source_window(radius, radius, UTM.window.grown(100, 100))

    if pixel_map.offset is None:
        needed = set()
        for at in pixel_map.centres[0]:
            reach = np.arange(math.floor(at) - 6, math.floor(at) + 7)
            needed |= set(reach[np.abs(reach + 0.5 - at) < radius].tolist()) | {math.floor(at)}
        assert (min(needed), max(needed) + 1) == (window.row, window.row_stop)


def test_targets_outside_the_source_need_nothing() -> None:
    pixel_map = PixelMap.between(MERCATOR, Window(0, 0, 10, 10), UTM)

    assert pixel_map.source_window(2, 2, UTM.window).is_empty
    assert pixel_map.footprint_window(UTM.window).is_empty


def test_outside_the_projection_nothing_is_finite() -> None:
    beyond_the_pole = Grid.of(4326, 0.0, 95.0, 1.0, 4, 4)

    rows, cols = PixelMap.between(beyond_the_pole, beyond_the_pole.window, UTM).centres

    assert not np.isfinite(rows).any()
    assert not np.isfinite(cols).any()


@pytest.mark.parametrize("crs_left", [(4326, 177.3), (4326, -182.7), (32601, 168_000.0)])
def test_targets_across_the_antimeridian_find_their_pixels(crs_left) -> None:
    crs, left = crs_left
    pixel = 0.31 if crs == 4326 else 20_000.0
    target = Grid.of(
        crs, left - (200_000.0 if crs != 4326 else 0), 4.0 if crs == 4326 else 4.5e5, pixel, 10, 20
    )

    for source in (WORLD, WORLD_360):
        pixel_map = PixelMap.between(target, target.window, source)
        rows, cols = pixel_map.centres
        assert ((cols >= 0) & (cols < 1440)).all()
        assert ((rows >= 0) & (rows < 720)).all()
        longitudes = source.left + cols * source.pixel_x
        assert (np.abs((longitudes + 360) % 360 - 180) < 8).all()
        area = pixel_map.footprints
        assert (area.col_hi - area.col_lo < 2.0).all()


def test_0_to_360_and_minus_180_to_180_agree() -> None:
    half = PixelMap.between(WORLD, WORLD.window, WORLD_360)

    rows, cols = half.centres

    assert half.coincident
    assert half.offset is None
    np.testing.assert_array_equal(cols, np.roll(np.arange(1440) + 0.5, 720))
    np.testing.assert_array_equal(rows, np.arange(720) + 0.5)
    west = PixelMap.between(WORLD, Window(0, 0, 5, 700), WORLD_360)
    assert west.offset == (0, 720)


def test_pixels_beside_a_regional_geographic_source_stay_beside_it() -> None:
    source = Grid.of(4326, 10.0, 50.0, 0.1, 10, 10)
    target = Grid.of(4326, 9.9, 50.0, 0.25, 4, 5)

    area = PixelMap.between(target, target.window, source).footprints

    assert area.col_lo[0] == pytest.approx(-1.0)
    assert area.col_hi[0] == pytest.approx(1.5)


def test_footprints_are_boxes_of_the_corners() -> None:
    window = Window(4600, 5400, 3, 4)
    area = PixelMap.between(MERCATOR, window, UTM).footprints

    left, bottom, right, top = MERCATOR.bounds_of(Window(4601, 5402, 1, 1))
    x, y = Transformer.from_crs(3857, 32633, always_xy=True).transform(
        [left, right, left, right], [top, top, bottom, bottom]
    )
    rows, cols = (UTM.top - np.array(y)) / 10, (np.array(x) - UTM.left) / 10
    expected = (rows.min(), rows.max(), cols.min(), cols.max())
    found = [a[1, 2] for a in (area.row_lo, area.row_hi, area.col_lo, area.col_hi)]
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_scale_is_the_ratio_of_pixels_and_a_rotation_is_one() -> None:
    tilted = Grid.of(
        "+proj=omerc +lat_0=46.9 +lonc=15 +alpha=30 +gamma=0 +ellps=WGS84",
        -1000.0,
        1000.0,
        10.0,
        200,
        200,
    )

    assert scale_between(Grid.of(32633, 3.0, 4.0, (20.0, 30.0), 5, 5), UTM) == (3.0, 2.0)
    assert scale_between(tilted, UTM) == pytest.approx((1.0, 1.0), abs=2e-3)


def test_scale_at_mercator_is_the_cosine_of_the_latitude() -> None:
    rows, cols = scale_between(MERCATOR, UTM)

    latitude = Transformer.from_crs(32633, 4326, always_xy=True).transform(504_000, 5_197_000)[1]
    assert (rows, cols) == pytest.approx([1.3 * math.cos(math.radians(latitude))] * 2, rel=4e-3)


def test_scale_does_not_depend_on_the_targets_extent() -> None:
    part = MERCATOR.crop(Window(4000, 4000, 256, 256))

    assert scale_between(part, UTM) == pytest.approx(scale_between(MERCATOR, UTM), rel=1e-9)


@pytest.mark.parametrize("source", [WORLD, WORLD_360])
@pytest.mark.parametrize("zone", [32601, 32633, 32660, 32733])
def test_scale_of_the_world_in_a_zone_is_measured_in_the_zone(source: Grid, zone: int) -> None:
    target = Grid.of(zone, 500_000.0, 5_000_000.0, 27_830.0, 10, 10)

    rows, cols = scale_between(target, source)

    assert rows == pytest.approx(1.0, rel=0.02)
    assert 0.9 < cols < 2.0


def test_scale_across_an_antimeridian_centre_is_no_world() -> None:
    rows, cols = scale_between(Grid.of(3857, 0.0, 0.0, 27_830.0, 9, 9), WORLD_360)

    assert (rows, cols) == pytest.approx((1.0, 1.0), rel=0.01)


def test_overview_is_the_coarsest_that_is_fine_enough() -> None:
    factors = [(1.0, 1.0), (2.0, 2.0), (4.0, 4.0), (8.0, 8.0)]

    levels = {
        pixel: overview_for(Grid.of(32633, 0.0, 0.0, pixel, 9, 9), UTM, factors)
        for pixel in (5.0, 10.0, 19.0, 19.99, 20.0, 39.0, 40.0, 900.0)
    }

    assert levels == {5.0: 0, 10.0: 0, 19.0: 0, 19.99: 1, 20.0: 1, 39.0: 1, 40.0: 2, 900.0: 3}
    with pytest.raises(ArgumentInvalid, match="level 0"):
        overview_for(UTM, UTM, [])


def test_overview_needs_both_directions_fine_enough() -> None:
    target = Grid.of(32633, 0.0, 0.0, (40.0, 20.0), 9, 9)

    assert overview_for(target, UTM, [(1.0, 1.0), (2.0, 4.0), (4.0, 4.0)]) == 1


def test_a_source_by_wkt_is_mapped() -> None:
    source = Grid.of(SINUSOIDAL, 1_100_000.0, 5_300_000.0, 500.0, 400, 400)

    rows, cols = PixelMap.between(UTM, Window(0, 0, 2, 2), source).centres

    x, y = Transformer.from_crs(32633, source.crs, always_xy=True).transform(500_005, 5_199_995)
    assert rows[0, 0] == pytest.approx((source.top - y) / 500, abs=2e-6)
    assert cols[0, 0] == pytest.approx((x - source.left) / 500, abs=2e-6)


TARGETS = [
    MERCATOR,
    UTM,
    Grid.of(32633, 499_000.0, 5_200_500.0, 10.0, 900, 900),
    Grid.of(32633, 500_003.7, 5_199_991.2, 10.0, 900, 900),
    Grid.of(32633, 500_003.7, 5_199_991.2, 23.0, 900, 900),
    Grid.of(4326, 15.0, 46.95, 0.0001, 900, 1200),
]


@settings(max_examples=80)
@given(
    target=st.sampled_from(TARGETS),
    corner=st.tuples(st.integers(-40, 620), st.integers(-40, 820)),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    inset=st.integers(0, 40),
)
def test_lookup_is_what_near_picks(target, corner, size, inset) -> None:
    shift = (4590, 5400) if target is MERCATOR else (0, 0)
    window = Window(corner[0] + shift[0], corner[1] + shift[1], *size)
    within = UTM.window.grown(-inset, -inset)
    numbers = np.arange(UTM.height * UTM.width, dtype=np.int32).reshape(UTM.height, UTM.width)
    there = numbers[UTM.window.slices(within)]

    pixel_map = PixelMap.between(target, window, UTM)
    lookup = pixel_map.lookup(within)
    expected, valid = warp(there, np.ones(there.shape, bool), within, pixel_map, "near")

    assert within.contains(lookup.window)
    needed = numbers[UTM.window.slices(lookup.window)]
    if lookup.index.size:
        index = lookup.index
    else:
        lost = (lookup.rows[:, None] < 0) | (lookup.cols < 0)
        index = np.where(lost, -1, lookup.rows[:, None] * lookup.window.width + lookup.cols)
    np.testing.assert_array_equal(index >= 0, valid)
    np.testing.assert_array_equal(needed.ravel()[index[valid]], expected[valid])
    same = index.shape == needed.shape and (index.ravel() == np.arange(needed.size)).all()
    assert lookup.direct == (bool(same) and target.crs == UTM.crs)
    for table in (lookup.rows, lookup.cols, lookup.index):
        assert table.dtype == np.int32
        assert table.flags.c_contiguous
        assert not table.flags.writeable
