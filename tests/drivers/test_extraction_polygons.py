"""Polygons of an extraction: grown, repaired and named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from terrazzo.drivers.extraction.polygons import (
    buffered,
    in_grid,
    repaired,
    same_polygons,
    take_in,
)
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from pathlib import Path

BEYOND = shapely.box(179.9, 9.0, 180.1, 9.1)
SPLIT = shapely.MultiPolygon(
    [shapely.box(179.9, 9.0, 180, 9.1), shapely.box(-180, 9.0, -179.9, 9.1)]
)
WEST = shapely.box(179.8, 9.0, 179.9999, 9.1)


def as_array(*shapes: Any) -> Any:
    return np.array([*shapes, None], dtype=object)[:-1]


@pytest.mark.parametrize("metres", [-1000.0, 1000.0])
@pytest.mark.parametrize(
    ("shape", "whole", "zone"),
    [(BEYOND, BEYOND, 32601), (SPLIT, BEYOND, 32601), (WEST, WEST, 32660)],
)
def test_a_buffer_at_the_antimeridian_is_as_wide_as_elsewhere(
    shape: Any, whole: Any, zone: int, metres: float
) -> None:
    expected = gpd.GeoSeries([whole], crs=4326).to_crs(zone).buffer(metres)

    (grown,) = buffered(as_array(shape), "EPSG:4326", metres)

    left, _, right, _ = grown.bounds
    assert right - left < 0.3
    (flat,) = gpd.GeoSeries([grown], crs=4326).to_crs(zone)
    assert flat.area == pytest.approx(expected.area[0], rel=1e-4)


@pytest.mark.parametrize("shape", [BEYOND, SPLIT])
@pytest.mark.parametrize(
    ("left", "inside"), [(179.0, 1.0), (-181.0, 1.0), (-180.0, 0.5), (177.95, 0.25)]
)
def test_a_polygon_lies_once_in_the_turn_of_the_grid(
    shape: Any, left: float, inside: float
) -> None:
    grid = Grid.of(4326, left, 10.0, 0.01, 100, 200)

    (placed,) = in_grid([shape], "EPSG:4326", grid)

    assert placed.area == pytest.approx(BEYOND.area)
    within = placed.intersection(shapely.box(left, 9.0, left + 2.0, 10.0))
    assert within.area == pytest.approx(inside * BEYOND.area)


def test_a_polygon_in_degrees_that_is_no_place_stays_without_one() -> None:
    grown = buffered(as_array(None, shapely.Polygon(), BEYOND), "EPSG:4326", 10.0)

    assert grown[0] is None
    assert grown[1] is None or grown[1].is_empty
    assert grown[2].contains(BEYOND)


def test_of_a_polygon_that_is_repaired_only_areas_are_kept() -> None:
    line = shapely.Polygon([(0, 0), (100, 100), (0, 0), (0, 0)])
    spike = shapely.Polygon([(0, 0), (10, 0), (10, 10), (50, 10), (10, 10), (0, 10)])
    whole = shapely.LineString([(0, 0), (1, 1)])
    both = shapely.GeometryCollection([line, shapely.LineString([(0, 0), (5, 5)])])

    shapes, broken = repaired(as_array(line, spike, whole, both))

    assert broken.tolist() == [True, True, False, True]
    assert shapes[0] is None
    assert shapes[1].equals(shapely.box(0, 0, 10, 10))
    assert shapes[2] == whole
    assert shapes[3] is None


@pytest.mark.parametrize(
    ("values", "kind"),
    [(np.array([1, 2**63 + 1], np.uint64), "uint64"), (pd.Series([[1], [2]]), "list<")],
)
def test_ids_that_are_neither_texts_nor_whole_numbers_are_refused(
    tmp_path: Path, values: Any, kind: str
) -> None:
    path = tmp_path / "f.parquet"
    gpd.GeoDataFrame({"k": values}, geometry=[BEYOND, WEST], crs=4326).to_parquet(path)

    with pytest.raises(ArgumentInvalid, match=rf"'k' of 'f.parquet' .* it holds {kind}"):
        take_in(path, tmp_path, id_column="k")


def test_the_attribute_that_names_polygons_is_an_attribute(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    gpd.GeoDataFrame(
        {"k": ["b", "a"], "crop": ["x", "y"]}, geometry=[BEYOND, WEST], crs=4326
    ).to_parquet(path)

    polygons = take_in(path, tmp_path, id_column="k")

    assert polygons.attribute("k").to_pylist() == ["b", "a"]
    assert polygons.attribute("crop").to_pylist() == ["x", "y"]
    with pytest.raises(ArgumentInvalid, match="no attribute 'kind'"):
        polygons.attribute("kind")


def test_polygons_written_anew_are_the_same_and_changed_ones_are_not(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"k": ["a", "b"], "crop": [1, 2]},
        geometry=[shapely.box(0, 0, 1, 1), shapely.box(2, 0, 3, 1)],
        crs="EPSG:4326",
    )
    frame.to_parquet(tmp_path / "first.parquet")
    folder = tmp_path / "made"
    folder.mkdir()
    take_in(tmp_path / "first.parquet", folder, id_column="k")
    frame.to_parquet(tmp_path / "again.parquet", compression="gzip")
    frame.assign(crop=[1, 3]).to_parquet(tmp_path / "other.parquet")
    frame.set_geometry(frame.translate(1e-9)).to_parquet(tmp_path / "moved.parquet")

    same = [
        same_polygons(tmp_path / f"{name}.parquet", folder, "k", "")
        for name in ("again", "other", "moved")
    ]

    assert same == [True, False, False]
