"""Pixels under shapes against exactextract, areas, and against themselves in other windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pytest
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from hypothesis import given
from hypothesis import strategies as st

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo import rasterise
from terrazzo.geo.grid import Grid, Window
from terrazzo.geo.runs import HOW, Pixels, Runs, runs_of
from terrazzo.geo.shapes import mended

if TYPE_CHECKING:
    from pathlib import Path

GRID = Grid.of(32632, 500_000.0, 5_000_000.0, 10.0, 40, 50)
EXACT = 1e-6
"""exactextract gives weights as float32."""


def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
    """Points given as (col, row) in pixels of GRID."""
    return [(GRID.left + 10 * c, GRID.top - 10 * r) for c, r in points]


def box(c0: float, r0: float, c1: float, r1: float) -> shapely.Polygon:
    return shapely.Polygon(at((c0, r0), (c1, r0), (c1, r1), (c0, r1)))


def runs(shapes, grid: Grid = GRID, window: Window | None = None, **options) -> Runs:
    return runs_of(mended(shapes)[0], grid, window or grid.window, **options)


def pixels(shapes, grid: Grid = GRID, window: Window | None = None, **options) -> Pixels:
    return runs(shapes, grid, window, **options).pixels


def dense(found: Pixels, grid: Grid = GRID, index: int = 0) -> np.ndarray:
    out = np.zeros((grid.height, grid.width))
    mine = found.polygon == index
    out[found.row[mine], found.col[mine]] = found.weight[mine]
    return out


def exactextract(shapes, grid: Grid) -> list[np.ndarray]:
    left, bottom, right, top = grid.bounds
    zeros = np.zeros((grid.height, grid.width))
    raster = NumPyRasterSource(zeros, left, bottom, right, top)
    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(shape)}
        for shape in shapes
    ]
    arrays = []
    for feature in exact_extract(raster, features, ["cell_id", "coverage"]):
        out = np.zeros(grid.height * grid.width)
        if len(feature["properties"]["cell_id"]):
            out[feature["properties"]["cell_id"]] = feature["properties"]["coverage"]
        arrays.append(out.reshape(zeros.shape))
    return arrays


REAL = {
    "zurich": ("eodal_zurich_s2_parcels/ZH_Polygons_2020_ESCH_EPSG32632.shp", 10.0),
    "azores": ("exactextractr_sao_miguel/concelhos.gpkg", 0.003),
}


@pytest.mark.parametrize("name", REAL)
def test_real_polygons_equal_exactextract(shared: Path, name: str) -> None:
    file, pixel = REAL[name]
    frame = geopandas.read_file(shared / "data" / file)
    shapes = list(frame.geometry)
    grid = Grid.of_bounds(frame.crs.to_epsg(), tuple(frame.total_bounds), pixel)

    found = pixels(shapes, grid)

    for index, expected in enumerate(exactextract(shapes, grid)):
        np.testing.assert_allclose(dense(found, grid, index), expected, rtol=0, atol=EXACT)


STARS = st.lists(st.floats(0.05, 30.0), min_size=3, max_size=25)


def star(radii: list[float], col: float, row: float) -> shapely.Polygon:
    turns = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return shapely.Polygon(
        at(*((col + r * np.cos(a), row + r * np.sin(a)) for r, a in zip(radii, turns, strict=True)))
    )


@given(radii=STARS, col=st.floats(-10, 60), row=st.floats(-10, 50))
def test_random_polygons_equal_exactextract(radii, col, row) -> None:
    shape = star(radii, col, row)

    found = pixels([shape])

    if not shapely.box(*GRID.bounds).intersects(shape):
        assert found.row.size == 0
        return
    np.testing.assert_allclose(dense(found), exactextract([shape], GRID)[0], rtol=0, atol=EXACT)


@pytest.mark.parametrize("how", HOW)
@given(
    radii=STARS,
    centre=st.tuples(st.floats(-10, 60), st.floats(-10, 50)),
    corner=st.tuples(st.integers(-5, 40), st.integers(-5, 50)),
    size=st.tuples(st.integers(0, 45), st.integers(0, 55)),
)
def test_weights_do_not_depend_on_the_window(how, radii, centre, corner, size) -> None:
    ring = star(radii[::-1], 20, 20)
    shapes = [star(radii, *centre), shapely.Point(*at(centre)), ring, ring.exterior]
    window = Window(*corner, *size)

    whole = pixels(shapes, how=how, around=3)
    part = pixels(shapes, window=window, how=how, around=3)

    inside = (whole.row >= window.row) & (whole.row < window.row_stop)
    inside &= (whole.col >= window.col) & (whole.col < window.col_stop)
    for name in ("polygon", "row", "col", "weight"):
        assert getattr(part, name).tobytes() == getattr(whole, name)[inside].tobytes()


def test_bands_of_rows_change_nothing() -> None:
    shape = star([25.0, 3.0, 17.0, 9.0, 22.0], 25, 20)
    whole = pixels([shape])

    rows = [pixels([shape], window=Window(r, 0, 1, 50)) for r in range(40)]

    np.testing.assert_array_equal(whole.weight, np.concatenate([r.weight for r in rows]))


def test_the_area_is_kept() -> None:
    shapes = [shapely.Point(*at((24, 19))[0]).buffer(90 + k) for k in range(20)]

    found = pixels(shapes)

    areas = np.bincount(found.polygon, found.weight)
    np.testing.assert_allclose(areas, [s.area / 100 for s in shapes], rtol=1e-12)


WIDE = Grid.of(32632, 500_000.0, 5_000_000.0, 10.0, 700, 600)
"""Three by three lattice squares, the outer ones cut."""


def test_runs_end_where_squares_do() -> None:
    found = runs([box(250, 300, 520, 302)], WIDE)

    assert found.across == 3
    assert found.square.tolist() == [3, 4, 5]
    assert found.row.tolist() == [44, 45] * 3
    assert found.col.tolist() == [250, 250, 0, 0, 0, 0]
    assert found.length.tolist() == [6, 6, 256, 256, 8, 8]
    assert found.weight.tolist() == [1.0] * 6
    assert found.window == Window(300, 250, 2, 270)


@given(radii=STARS, seed=st.integers(0, 99))
def test_runs_are_sorted_and_each_pixel_is_in_one(radii, seed) -> None:
    random = np.random.default_rng(seed)
    shapes = [star([4 * r for r in radii], *random.uniform(0, 600, 2)) for _ in range(3)]

    found = runs(shapes, WIDE)

    each = found.pixels
    squares = each.row.astype(np.int64) // 256 * 3 + each.col // 256
    keys = ((each.polygon.astype(np.int64) * 9 + squares) * 700 + each.row) * 600 + each.col
    assert (np.diff(keys) > 0).all()
    fragments = found.polygon.astype(np.int64) * 9 + found.square
    np.testing.assert_array_equal(fragments, np.unique(each.polygon.astype(np.int64) * 9 + squares))
    assert found.starts[-1] == len(found.row)
    assert (np.diff(found.starts) > 0).all()


def test_what_is_inside_is_one_run_a_row() -> None:
    found = runs([box(3.5, 4.5, 30.5, 20.5)])

    middle = found.row == 10
    assert found.length[middle].tolist() == [1, 26, 1]
    assert found.weight[middle].tolist() == [0.5, 1.0, 0.5]


def test_on_borders_only_whole_pixels() -> None:
    found = runs([box(3, 4, 6, 6)])

    assert found.pixels.weight.tolist() == [1.0] * 6
    assert found.window == Window(4, 3, 2, 3)


def test_borders_of_a_geographic_grid_have_no_slivers() -> None:
    grid = Grid.of(4326, -180.0, 90.0, 1 / 120, 21600, 43200)
    left, top = grid.left + 31_237 / 120, grid.top - 4_321 / 120
    shape = shapely.box(left, top - 3 / 120, left + 5 / 120, top)

    found = pixels([shape], grid)

    assert found.weight.tolist() == [1.0] * 15


def test_holes_and_islands_in_them() -> None:
    ring = box(2, 2, 30, 30).difference(box(5.5, 5.5, 20.5, 20.5))
    shape = ring.union(box(10.25, 10, 12, 12.5))

    out = dense(pixels([shape]))

    assert shape.geom_type == "MultiPolygon"
    assert out[6, 6] == 0
    assert out[5, 5] == pytest.approx(0.75)
    assert out[10, 10] == pytest.approx(0.75)
    assert out.sum() == pytest.approx(shape.area / 100)


def test_the_direction_of_rings_does_not_matter() -> None:
    shape = box(2.3, 2.2, 30, 30).difference(box(5.5, 5.5, 20.5, 20.5))
    turned = shapely.Polygon(shape.exterior.coords[::-1], [shape.interiors[0].coords[::-1]])

    one, other = dense(pixels([shape])), dense(pixels([turned]))

    np.testing.assert_allclose(one, other, atol=1e-14)


@pytest.mark.parametrize("size", [0.3, 1e-3, 1e-6])
def test_less_than_a_pixel_keeps_its_weight(size: float) -> None:
    shape = box(7.25, 8.5, 7.25 + size, 8.5 + size)

    found = pixels([shape])

    assert found.weight.sum() == pytest.approx(shape.area / 100, rel=1e-9)
    assert found.row.size == 1


def test_huge_polygons_are_cut_to_the_grid() -> None:
    world = shapely.box(-1e9, -1e9, 1e9, 1e9)
    slanted = shapely.Polygon([(-1e9, -2e9), (1.3e9, 2.1e9), (-1e9, 2e9)])

    found = pixels([world, slanted])

    assert (dense(found, index=0) == 1.0).all()
    clipped = slanted.intersection(shapely.box(*GRID.bounds)).area / 100
    assert dense(found, index=1).sum() == pytest.approx(clipped, abs=1e-3)


def test_a_wide_polygon_needs_the_memory_of_a_band() -> None:
    grid = Grid.of(32632, 0.0, 1_000_000.0, 10.0, 100_000, 100_000)
    shape = shapely.Point(500_000, 500_000).buffer(490_000)

    found = pixels([shape], grid, Window(50_000, 500, 20, 1000))

    assert rasterise.BAND_PIXELS * 8 < 1e7
    assert 0 < found.row.size < 20_000
    assert found.col.min() >= 500


def test_outside_and_empty_have_no_runs() -> None:
    shapes = [box(60, 3, 70, 9), box(-9, -9, 0, 0), shapely.Polygon(), None, shapely.MultiPoint()]

    found = runs(shapes)

    assert found.row.size == found.polygon.size == found.pixels.row.size == 0
    assert found.window.is_empty
    assert runs([]).row.size == 0
    assert runs([box(1, 1, 2, 2)], window=Window(90, 90, 5, 5)).row.size == 0


def test_points_weigh_their_pixel() -> None:
    border, inside = at((3, 4), (7.9, 2.1))
    shapes = [shapely.Point(inside), shapely.MultiPoint([border, inside, inside]), box(1, 1, 2, 2)]

    found = pixels(shapes)

    entries = list(zip(found.polygon, found.row, found.col, found.weight, strict=True))
    assert entries == [(0, 2, 7, 1.0), (1, 2, 7, 1.0), (1, 4, 3, 1.0), (2, 1, 1, 1.0)]


def test_windows_around_points_are_cut_at_the_grid() -> None:
    inside, corner = at((7.9, 2.1), (0.5, 39.5))

    found = pixels([shapely.Point(inside), shapely.Point(corner)], around=3)

    expected = np.zeros((2, 40, 50))
    expected[0, 1:4, 6:9] = expected[1, 38:, :2] = 1.0
    for index in (0, 1):
        np.testing.assert_array_equal(dense(found, index=index), expected[index])


@given(radii=STARS, col=st.floats(-10, 60), row=st.floats(-10, 50))
def test_lines_weigh_their_length_in_each_pixel(radii, col, row) -> None:
    line = star(radii, col, row).exterior

    found = pixels([line])

    for r, c, weight in zip(found.row, found.col, found.weight, strict=True):
        within = box(c, r, c + 1, r + 1).intersection(line).length
        assert weight == pytest.approx(within, abs=1e-6)
    whole = shapely.box(*GRID.bounds).intersection(line).length
    assert found.weight.sum() == pytest.approx(whole, abs=1e-6)


def test_lines_equal_exactextract() -> None:
    line = shapely.LineString(at((0.5, 0.25), (17.3, 9.75), (20.2, 33.3), (4.5, 12.1)))

    found = dense(pixels([line]))

    np.testing.assert_allclose(found, exactextract([line], GRID)[0], rtol=0, atol=1e-5)


@given(radii=STARS, col=st.floats(-10, 60), row=st.floats(-10, 50))
def test_centre_takes_the_pixels_whose_centre_a_polygon_holds(radii, col, row) -> None:
    (shape,), _ = mended([star(radii, col, row)])
    x, y = np.meshgrid(GRID.xs(GRID.window), GRID.ys(GRID.window))

    found = dense(pixels([shape], how="centre"))

    expected = shapely.intersects_xy(shape, x, y)
    sure = shapely.distance(shape.boundary, shapely.points(x, y)) > 1e-6
    np.testing.assert_array_equal(found[sure], expected[sure])
    assert set(np.unique(found)) <= {0.0, 1.0}


@given(radii=STARS, col=st.floats(-10, 60), row=st.floats(-10, 50))
def test_touched_takes_every_pixel_of_which_some_is_covered(radii, col, row) -> None:
    shape = star(radii, col, row)

    found = dense(pixels([shape], how="touched"))

    np.testing.assert_array_equal(found, dense(pixels([shape])) > 0)


def test_lines_touch_the_pixels_that_they_run_through() -> None:
    line = shapely.LineString(at((0.5, 0.5), (3.5, 0.5)))

    for how in ("centre", "touched"):
        assert np.argwhere(dense(pixels([line], how=how))).tolist() == [[0, c] for c in range(4)]


def test_invalid_rings_are_repaired_and_reported() -> None:
    bow_tie = shapely.Polygon(at((2, 2), (6, 6), (6, 2), (2, 6)))
    spike = shapely.Polygon(at((1, 1), (5, 5), (1, 1)))

    shapes, repaired = mended([box(1, 1, 2, 2), bow_tie, spike])

    found = pixels(shapes)
    assert repaired == (1, 2)
    assert dense(found, index=1).sum() == pytest.approx(8.0)
    assert dense(found, index=2).sum() == 0


def test_of_a_collection_the_highest_dimension_counts() -> None:
    point, line = shapely.Point(at((9.5, 9.5))[0]), shapely.LineString(at((1, 1.5), (3, 1.5)))

    (area, lines, points), repaired = mended(
        [
            shapely.GeometryCollection([point, box(1, 1, 2, 2), line]),
            shapely.GeometryCollection([point, shapely.GeometryCollection([line])]),
            shapely.GeometryCollection([point, shapely.MultiPoint([point])]),
        ]
    )

    assert repaired == ()
    assert area.equals(box(1, 1, 2, 2))
    assert lines.equals(line)
    assert points.equals(point)


@pytest.mark.parametrize(
    ("shape", "words"), [(shapely.Point(np.inf, 1), "not finite"), ("POINT (0 0)", "str")]
)
def test_what_is_no_place_is_refused(shape, words: str) -> None:
    with pytest.raises(ArgumentInvalid, match=f"Shape 1 .*{words}"):
        mended([box(1, 1, 2, 2), shape])
