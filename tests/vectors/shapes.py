"""Vector cubes: geopandas, pyproj and shapely."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from tests.vectors.documents import (
    CRS,
    LEFT,
    TOP,
    Case,
    Cases,
    Document,
    call,
    cube,
    geometries,
    other,
)
from tests.vectors.zones import HIGH, LOW, POINT, geojson

LINE = shapely.LineString([(LEFT + 10, TOP - 10), (LEFT + 60, TOP - 10), (LEFT + 60, TOP - 47)])
PLACES = call("load_geojson", data=geojson(LOW, HIGH, POINT))
NUMBERED = call("load_geojson", data=geojson(LOW, HIGH, LINE), properties=["number"])
BASE = call("load_geojson", data=geojson(shapely.box(LEFT, TOP - 40, LEFT + 54, TOP)))


def _frame(argument: Document) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame.from_features(argument["arguments"]["data"]["features"], crs=CRS)


def _cube(shapes: Any, crs: str = CRS, values: Any = None) -> Document:
    dimensions = {"geometry": geometries(*(shape.wkt for shape in shapes), crs=crs)}
    if values is None:
        return {"type": "datacube", "order": ["geometry"], "dimensions": dimensions, "data": None}
    return cube(values, {**dimensions, "properties": other("number")})


def _loaded(arguments: Document) -> Document:
    frame = gpd.GeoDataFrame.from_features(arguments["data"]["features"], crs=CRS)
    names = arguments.get("properties", [])
    return _cube(frame.geometry, values=frame[names].to_numpy() if names else None)


def _buffered(arguments: Document) -> Document:
    return _cube(_frame(arguments["geometries"]).buffer(arguments["distance"]))


def _reprojected(arguments: Document) -> Document:
    frame = _frame(arguments["data"]).to_crs(arguments["projection"])
    return _cube(frame.geometry, f"EPSG:{arguments['projection']}")


def _filtered(arguments: Document) -> Document:
    frame, base = _frame(arguments["data"]), _frame(arguments["geometries"]).union_all()
    kept = frame[getattr(frame, arguments.get("relation", "intersects"))(base)]
    return _cube(kept.geometry, values=kept[["number"]].to_numpy())


def _regular(arguments: Document) -> Document:
    """Return the centres of cells from the upper left bound that lie in each polygon."""
    step, groups = arguments["distance"], []
    for shape in _frame(arguments["data"]).geometry:
        if shape.geom_type == "Point":
            groups.append([shape])
            continue
        if shape.geom_type == "LineString":
            groups.append([shape.interpolate(d) for d in np.arange(0, shape.length, step)])
            continue
        left, bottom, right, top = shape.bounds
        xs, ys = np.arange(left + step / 2, right, step), np.arange(top - step / 2, bottom, -step)
        points = [shapely.Point(x, y) for y in ys for x in xs]
        groups.append([point for point in points if shape.intersects(point)])
    if arguments.get("group", True):
        return _cube([shapely.MultiPoint(points) for points in groups])
    return _cube([point for points in groups for point in points])


CASES = {
    "load_geojson": Cases(
        "geopandas",
        (
            Case("geometries alone", {"data": geojson(LOW, HIGH, POINT)}, _loaded),
            Case("a property", {"data": geojson(LOW, POINT), "properties": ["number"]}, _loaded),
        ),
    ),
    "vector_buffer": Cases(
        "geopandas",
        (
            Case("polygons and a point grow", {"geometries": PLACES, "distance": 7.5}, _buffered),
            Case(
                "polygons shrink",
                {"geometries": call("load_geojson", data=geojson(LOW, HIGH)), "distance": -3},
                _buffered,
            ),
            Case(
                "degrees are no metres",
                {
                    "geometries": call("vector_reproject", data=PLACES, projection=4326),
                    "distance": 5,
                },
                throws="UnitMismatch",
            ),
        ),
    ),
    "vector_reproject": Cases(
        "geopandas",
        (
            Case("to Europe's equal-area grid", {"data": PLACES, "projection": 3035}, _reprojected),
            Case(
                "no such dimension",
                {"data": PLACES, "projection": 3035, "dimension": "shape"},
                throws="DimensionNotAvailable",
            ),
        ),
    ),
    "filter_vector": Cases(
        "geopandas",
        (
            Case("intersects by default", {"data": NUMBERED, "geometries": BASE}, _filtered),
            *(
                Case(name, {"data": NUMBERED, "geometries": BASE, "relation": name}, _filtered)
                for name in ("disjoint", "touches", "crosses", "overlaps", "contains", "within")
            ),
        ),
    ),
    "vector_to_regular_points": Cases(
        "NumPy and shapely",
        (
            Case("points of each geometry", {"data": PLACES, "distance": 10}, _regular),
            Case("single points", {"data": PLACES, "distance": 10, "group": False}, _regular),
            Case(
                "along a line",
                {"data": call("load_geojson", data=geojson(LINE)), "distance": 12.5},
                _regular,
            ),
            Case(
                "degrees are no metres",
                {"data": call("vector_reproject", data=PLACES, projection=4326), "distance": 5},
                throws="UnitMismatch",
            ),
        ),
    ),
    "vector_to_random_points": Cases(
        "what a sample must be; where its points lie is up to the engine",
        (
            Case(
                "points stay what they are",
                {"data": call("load_geojson", data=geojson(POINT)), "geometry_count": 1, "seed": 1},
                lambda _: _cube([shapely.MultiPoint([POINT])]),
            ),
            Case(
                "fewer points than geometries",
                {"data": PLACES, "total_count": 2},
                throws="CountMismatch",
            ),
        ),
    ),
}
"""By process."""
