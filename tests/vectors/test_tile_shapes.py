"""Geometries of very many parts or corners, as a vector tile has them."""

from __future__ import annotations

from typing import Any

import geopandas
import mapbox_vector_tile
import numpy as np
import pytest
import shapely
from starlette.testclient import TestClient
from tests.server.fields import ROOT
from tests.server.small import make_home

from terrazzo.drivers.features import tiles
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.server.app import create_app
from terrazzo.storage.vectors.tile_shapes import CORNERS, PARTS, in_units


def squares(side: int, edge: float, step: float) -> Any:
    x, y = (a.ravel() for a in np.meshgrid(*[np.arange(side) * step] * 2))
    return shapely.multipolygons(shapely.box(x, y, x + edge, y + edge))


def drawn(shape: Any) -> Any:
    return in_units(np.array([shape, None], dtype=object)[:1], 4.0)[0]


def star(corners: int) -> Any:
    """Return a polygon of as many spikes."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    far = 1300 * (1 + 0.5 * (np.arange(corners) % 2))
    return shapely.Polygon(2048 + np.stack([far * np.cos(angle), far * np.sin(angle)], axis=1))


@pytest.mark.parametrize(("side", "edge", "step"), [(60, 3.6, 6), (200, 7.3, 12), (300, 3.6, 12)])
def test_of_many_small_parts_some_stay_in_all_places(side: int, edge: float, step: float):
    found = drawn(squares(side, edge, step))

    assert found.is_valid
    assert 100 < shapely.get_num_geometries(found) <= PARTS
    whole = shapely.box(0, 0, *[min(side * step, 4160)] * 2)
    assert shapely.hausdorff_distance(shapely.convex_hull(found), whole) < 100
    points = shapely.get_coordinates(found)
    assert (points == np.round(points)).all()


def test_large_parts_all_stay_and_those_that_touch_become_one():
    apart, touching = drawn(squares(40, 20, 30)), drawn(squares(40, 30, 30))
    across = drawn(squares(40, 33, 30))

    assert shapely.get_num_geometries(apart) == 40 * 40
    assert apart.area == 40 * 40 * 20 * 20
    assert touching.equals(shapely.box(0, 0, 1200, 1200))
    assert across.equals(shapely.box(0, 0, 1203, 1203))


@pytest.mark.parametrize("corners", [1000, 20_000, 100_000])
def test_very_many_corners_become_few(corners: int):
    found = drawn(star(corners))

    assert found.is_valid
    assert shapely.get_num_coordinates(found) <= CORNERS + 1
    assert shapely.hausdorff_distance(shapely.convex_hull(found), star(corners).convex_hull) < 10


def test_polygons_that_cross_themselves_everywhere_are_valid_areas():
    found = drawn(shapely.Polygon(np.random.default_rng(0).uniform(0, 4096, (5000, 2))))

    assert found.is_valid
    assert shapely.get_dimensions(found) == 2
    assert found.area > 0


def test_many_holes_leave_the_largest():
    holes = [one.exterior for one in squares(100, 20, 30).geoms]

    found = drawn(shapely.Polygon(shapely.box(-10, -10, 4000, 4000).exterior, holes))

    assert found.is_valid
    assert shapely.get_num_coordinates(found) <= CORNERS + 5
    assert shapely.get_num_interior_rings(found) > 1000


def test_lines_and_points_of_many_parts_keep_their_kind():
    random = np.random.default_rng(1).uniform(0, 4000, (50_000, 2))

    lines = drawn(shapely.multilinestrings(np.stack([random, random + 3], axis=1)))
    points = drawn(shapely.multipoints(random))

    assert (lines.geom_type, points.geom_type) == ("MultiLineString", "MultiPoint")
    assert 500 < shapely.get_num_geometries(lines) <= PARTS
    assert 500 < shapely.get_num_geometries(points) <= PARTS


def test_it_asks_meanwhile_whether_somebody_waits():
    asked = []

    in_units(np.array([star(9000)] * 4, dtype=object), 4.0, lambda: asked.append(1))

    assert len(asked) >= 4


@pytest.mark.parametrize("largest", [20_000, 400])
def test_a_feature_larger_than_a_tile_may_be_is_drawn_coarsely(
    tmp_path, monkeypatch: pytest.MonkeyPatch, largest: int
):
    degrees = shapely.transform(squares(60, 20, 30), lambda xy: xy * 0.02 + [5, 5])
    shapes = [degrees, *(shapely.box(50 + n, 10, 51.2 + n, 12) for n in range(8))]
    frame = geopandas.GeoDataFrame({"n": range(9)}, geometry=shapes, crs=4326)
    frame.to_parquet(tmp_path / "islands.parquet")
    workspace = make_home(tmp_path)
    options = IngestOptions(datetime="2024")
    ingest([tmp_path / "islands.parquet"], "islands", workspace, options=options)
    monkeypatch.setattr(tiles, "LARGEST", largest)

    with TestClient(create_app(workspace)) as client:
        tile = client.get(f"{ROOT}/islands/tiles/WebMercatorQuad/1/0/1")

    assert tile.status_code == 200
    assert 0 < len(tile.content) <= largest
    ((_, layer),) = mapbox_vector_tile.decode(tile.content).items()
    (whole,) = [one for one in layer["features"] if one["id"] == 0]
    assert shapely.geometry.shape(whole["geometry"]).area > 0
    if largest > 10_000:
        assert {one["id"] for one in layer["features"]} == set(range(9))
