"""Points and lines mark the pixels whose centres are nearest to them, whatever the window."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.geo.extent import extent_of_shapes, spatial_extent
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.marks import marked, marked_window, marks_of

GRID = Grid.of(32633, 500_000.0, 5_000_000.0, (10.0, 20.0), 30, 40)
X, Y = np.meshgrid(GRID.xs(GRID.window), GRID.ys(GRID.window))
inside_x = st.floats(500_000.5, 500_399.5)
inside_y = st.floats(4_999_400.5, 4_999_999.5)
places = st.tuples(inside_x, inside_y)


def cells() -> np.ndarray:
    """Return the pixels as boxes, without their edges, on which two centres are equally near."""
    half_x, half_y = GRID.pixel_x / 2 - 1e-6, GRID.pixel_y / 2 - 1e-6
    return shapely.box(X - half_x, Y - half_y, X + half_x, Y + half_y)


@given(place=places)
def test_a_point_marks_the_pixel_with_the_nearest_centre(place):
    point = shapely.Point(place)

    found = marked(point, GRID, GRID.window)

    distance = np.hypot(X - place[0], Y - place[1])
    assert found.sum() == 1
    # Pixels are not square: nearest along each axis is nearest in their own measure.
    assert abs(X[found][0] - place[0]) <= GRID.pixel_x / 2
    assert abs(Y[found][0] - place[1]) <= GRID.pixel_y / 2
    assert distance[found][0] <= np.hypot(GRID.pixel_x, GRID.pixel_y) / 2


@given(points=st.lists(places, min_size=2, max_size=5))
def test_a_line_marks_all_pixels_that_hold_a_point_of_it(points):
    line = shapely.LineString(points)

    found = marked(line, GRID, GRID.window)

    surely = shapely.intersects(cells(), line)
    perhaps = shapely.intersects(shapely.buffer(cells(), 2e-6, cap_style="square"), line)
    assert found[surely].all()
    assert perhaps[found].all()
    held = marked_window(line, GRID)
    rows, cols = np.nonzero(found)
    assert held == Window(rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1)


@given(ends=st.tuples(*[st.integers(0, 20)] * 4))
def test_a_line_through_corners_marks_the_right_and_lower_pixels_only(ends):
    (x0, y0), (x1, y1) = ends[:2], ends[2:]
    line = shapely.LineString(
        [(500_000.0 + 10 * x, 5_000_000.0 - 20 * y) for x, y in ((x0, y0), (x1, y1))]
    )

    found = marked(line, GRID, GRID.window)

    # It enters other pixels where x or y is whole, and the pixel of a point is where it is cut off.
    turns = {Fraction(n, abs(d)) for d in (x1 - x0, y1 - y0) if d for n in range(abs(d) + 1)}
    ordered = sorted(turns | {Fraction(0)})
    places = [*ordered, *((one + two) / 2 for one, two in pairwise(ordered))]
    expected = {((y0 + t * (y1 - y0)) // 1, (x0 + t * (x1 - x0)) // 1) for t in places}
    assert set(zip(*(index.tolist() for index in np.nonzero(found)), strict=True)) == expected


@given(points=st.lists(places, min_size=2, max_size=4), edge=st.integers(3, 17))
def test_what_is_marked_does_not_depend_on_the_window(points, edge):
    shapes = marks_of([shapely.LineString(points), shapely.MultiPoint(points[:1])])
    whole = marked(shapes, GRID, GRID.window)

    for window in GRID.window.blocks(edge):
        rows, cols = GRID.window.slices(window)
        np.testing.assert_array_equal(marked(shapes, GRID, window), whole[rows, cols])


def test_polygons_points_and_lines_stand_side_by_side():
    polygon = shapely.box(500_100, 4_999_700, 500_150, 4_999_800)
    point, line = shapely.Point(500_333, 4_999_777), shapely.LineString([[500_005, 4_999_990]] * 2)
    shapes = [polygon, shapely.GeometryCollection([point, line]), shapely.Point()]

    extent = extent_of_shapes(shapes, "EPSG:32633")
    found = extent.mask(GRID, GRID.window)

    expected = (X > 500_100) & (X < 500_150) & (Y > 4_999_700) & (Y < 4_999_800)
    expected[0, 0] = True
    expected[((5_000_000 - 4_999_777) // 20), 33] = True
    np.testing.assert_array_equal(found, expected)
    assert extent.exact_window(GRID, GRID.window) == Window(0, 0, 15, 34)


def test_a_centre_on_the_edge_of_a_box_or_polygon_is_inside():
    west, south, east, north = X[9, 3], Y[9, 3], X[4, 8], Y[4, 8]
    box = {"west": west, "south": south, "east": east, "north": north, "crs": 32633}
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}

    for value in (box, {"type": "Polygon", "coordinates": [ring], "crs": crs}):
        extent = spatial_extent(value)

        assert extent.exact_window(GRID, GRID.window) == Window(4, 3, 6, 6)
        rows, cols = np.nonzero(extent.mask(GRID, GRID.window))
        assert (rows.min(), rows.max(), cols.min(), cols.max()) == (4, 9, 3, 8)


@pytest.mark.parametrize("crs", [4326, 3035, 32634])
@pytest.mark.parametrize("as_polygon", [False, True])
def test_the_exact_window_of_another_crs_ends_at_the_outermost_centres(crs, as_polygon):
    from terrazzo.geo.grid import transform_bounds  # noqa: PLC0415

    inner = (500_101.0, 4_999_533.0, 500_307.0, 4_999_871.0)
    west, south, east, north = transform_bounds(inner, "EPSG:32633", f"EPSG:{crs}")
    box = {"west": west, "south": south, "east": east, "north": north, "crs": crs}
    extent = spatial_extent(box)
    if as_polygon:
        extent = extent_of_shapes([shapely.box(west, south, east, north)], f"EPSG:{crs}")

    window = extent.exact_window(GRID, GRID.window)

    rows, cols = np.nonzero(extent.mask(GRID, GRID.window))
    tight = Window(rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1)
    assert window.contains(tight)
    assert tight.grown(1, 1).contains(window)
    if not as_polygon:
        assert window == tight
    assert extent.exact_window(GRID, Window(0, 0, 2, 2)).is_empty
