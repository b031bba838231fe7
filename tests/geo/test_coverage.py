"""Pixel coverage against exactextract, areas, and against itself in other windows."""

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
from terrazzo.geo.coverage import Coverage, coverage
from terrazzo.geo.grid import Grid, Window

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


def dense(found: Coverage, index: int = 0) -> np.ndarray:
    out = np.zeros((found.grid.height, found.grid.width))
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


def assert_same(one: Coverage, other: Coverage) -> None:
    for name in ("polygon", "row", "col", "weight"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


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

    found = coverage(shapes, grid)

    for index, expected in enumerate(exactextract(shapes, grid)):
        np.testing.assert_allclose(dense(found, index), expected, rtol=0, atol=EXACT)


STARS = st.lists(st.floats(0.05, 30.0), min_size=3, max_size=25)


def star(radii: list[float], col: float, row: float) -> shapely.Polygon:
    turns = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return shapely.Polygon(
        at(*((col + r * np.cos(a), row + r * np.sin(a)) for r, a in zip(radii, turns, strict=True)))
    )


@given(radii=STARS, col=st.floats(-10, 60), row=st.floats(-10, 50))
def test_random_polygons_equal_exactextract(radii, col, row) -> None:
    shape = star(radii, col, row)

    found = coverage([shape], GRID)

    if not shapely.box(*GRID.bounds).intersects(shape):
        assert found.pixels == 0
        return
    np.testing.assert_allclose(dense(found), exactextract([shape], GRID)[0], rtol=0, atol=EXACT)


@given(
    radii=STARS,
    centre=st.tuples(st.floats(-10, 60), st.floats(-10, 50)),
    corner=st.tuples(st.integers(-5, 40), st.integers(-5, 50)),
    size=st.tuples(st.integers(0, 45), st.integers(0, 55)),
)
def test_weights_do_not_depend_on_the_window(radii, centre, corner, size) -> None:
    shapes = [star(radii, *centre), shapely.Point(*at(centre)), star(radii[::-1], 20, 20)]
    window = Window(*corner, *size)

    whole = coverage(shapes, GRID)
    part = coverage(shapes, GRID, window)

    assert_same(part, whole.block(window))
    assert part.window == GRID.window.intersection(window)
    assert window.intersection(part.extent) == part.extent or not part.pixels


def test_bands_of_rows_change_nothing() -> None:
    shape = star([25.0, 3.0, 17.0, 9.0, 22.0], 25, 20)
    whole = coverage([shape], GRID)

    rows = [coverage([shape], GRID, Window(r, 0, 1, 50)) for r in range(40)]

    np.testing.assert_array_equal(whole.weight, np.concatenate([r.weight for r in rows]))


def test_the_area_is_kept() -> None:
    shapes = [shapely.Point(*at((24, 19))[0]).buffer(90 + k) for k in range(20)]

    found = coverage(shapes, GRID)

    areas = np.bincount(found.polygon, found.weight)
    np.testing.assert_allclose(areas, [s.area / 100 for s in shapes], rtol=1e-12)


def test_entries_are_sorted_and_read_only() -> None:
    found = coverage([box(1, 1, 9.5, 7.5), None, box(3, 3, 5, 5)], GRID)

    keys = list(zip(found.polygon, found.row, found.col, strict=True))
    assert keys == sorted(keys)
    ids, starts = found.segments
    assert ids.tolist() == [0, 2]
    assert starts.tolist() == [0, found.pixels - 4, found.pixels]
    assert found.extent == Window(1, 1, 7, 9)
    with pytest.raises(ValueError, match="read-only"):
        found.weight[0] = 2.0


def test_on_borders_only_whole_pixels() -> None:
    found = coverage([box(3, 4, 6, 6)], GRID)

    assert found.weight.tolist() == [1.0] * 6
    assert found.extent == Window(4, 3, 2, 3)


def test_borders_of_a_geographic_grid_have_no_slivers() -> None:
    grid = Grid.of(4326, -180.0, 90.0, 1 / 120, 21600, 43200)
    left, top = grid.left + 31_237 / 120, grid.top - 4_321 / 120
    shape = shapely.box(left, top - 3 / 120, left + 5 / 120, top)

    found = coverage([shape], grid)

    assert found.weight.tolist() == [1.0] * 15


def test_holes_and_islands_in_them() -> None:
    ring = box(2, 2, 30, 30).difference(box(5.5, 5.5, 20.5, 20.5))
    shape = ring.union(box(10.25, 10, 12, 12.5))

    out = dense(coverage([shape], GRID))

    assert shape.geom_type == "MultiPolygon"
    assert out[6, 6] == 0
    assert out[5, 5] == pytest.approx(0.75)
    assert out[10, 10] == pytest.approx(0.75)
    assert out.sum() == pytest.approx(shape.area / 100)


def test_the_direction_of_rings_does_not_matter() -> None:
    shape = box(2.3, 2.2, 30, 30).difference(box(5.5, 5.5, 20.5, 20.5))
    turned = shapely.Polygon(shape.exterior.coords[::-1], [shape.interiors[0].coords[::-1]])

    assert_allclose = np.testing.assert_allclose
    assert_allclose(dense(coverage([shape], GRID)), dense(coverage([turned], GRID)), atol=1e-14)


@pytest.mark.parametrize("size", [0.3, 1e-3, 1e-6])
def test_less_than_a_pixel_keeps_its_weight(size: float) -> None:
    shape = box(7.25, 8.5, 7.25 + size, 8.5 + size)

    found = coverage([shape], GRID)

    assert found.weight.sum() == pytest.approx(shape.area / 100, rel=1e-9)
    assert found.pixels == 1


def test_huge_polygons_are_cut_to_the_grid() -> None:
    world = shapely.box(-1e9, -1e9, 1e9, 1e9)
    slanted = shapely.Polygon([(-1e9, -2e9), (1.3e9, 2.1e9), (-1e9, 2e9)])

    found = coverage([world, slanted], GRID)

    assert (dense(found, 0) == 1.0).all()
    clipped = slanted.intersection(shapely.box(*GRID.bounds)).area / 100
    assert dense(found, 1).sum() == pytest.approx(clipped, abs=1e-3)


def test_a_wide_polygon_needs_the_memory_of_a_band() -> None:
    grid = Grid.of(32632, 0.0, 1_000_000.0, 10.0, 100_000, 100_000)
    shape = shapely.Point(500_000, 500_000).buffer(490_000)

    found = coverage([shape], grid, Window(50_000, 500, 20, 1000))

    assert rasterise.BAND_PIXELS * 8 < 1e7
    assert 0 < found.pixels < 20_000
    assert found.col.min() >= 500


def test_outside_and_empty_have_no_entries() -> None:
    shapes = [box(60, 3, 70, 9), box(-9, -9, 0, 0), shapely.Polygon(), None, shapely.MultiPoint()]

    found = coverage(shapes, GRID)

    assert found.pixels == 0
    assert found.extent.is_empty
    assert found.block(Window(0, 0, 9, 9)).pixels == 0
    assert coverage([], GRID).pixels == 0
    assert coverage([box(1, 1, 2, 2)], GRID, Window(90, 90, 5, 5)).pixels == 0


def test_points_weigh_their_pixel() -> None:
    border, inside = at((3, 4), (7.9, 2.1))
    shapes = [shapely.Point(inside), shapely.MultiPoint([border, inside, inside]), box(1, 1, 2, 2)]

    found = coverage(shapes, GRID)

    entries = list(zip(found.polygon, found.row, found.col, found.weight, strict=True))
    assert entries == [(0, 2, 7, 1.0), (1, 2, 7, 1.0), (1, 4, 3, 1.0), (2, 1, 1, 1.0)]


def test_invalid_rings_are_repaired_and_reported() -> None:
    bow_tie = shapely.Polygon(at((2, 2), (6, 6), (6, 2), (2, 6)))
    spike = shapely.Polygon(at((1, 1), (5, 5), (1, 1)))

    found = coverage([box(1, 1, 2, 2), bow_tie, spike], GRID)

    assert found.repaired == (1, 2)
    assert dense(found, 1).sum() == pytest.approx(8.0)
    assert dense(found, 2).sum() == 0
    assert found.block(Window(0, 0, 3, 3)).repaired == (1, 2)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (shapely.LineString([(0, 0), (1, 1)]), "LineString"),
        (shapely.GeometryCollection([shapely.Point(0, 0)]), "GeometryCollection"),
        (shapely.Point(np.inf, 1), "not finite"),
        ("POINT (0 0)", "str"),
    ],
)
def test_what_has_no_area_is_refused(shape, words: str) -> None:
    with pytest.raises(ArgumentInvalid, match=f"Shape 1 .*{words}"):
        coverage([box(1, 1, 2, 2), shape], GRID)
