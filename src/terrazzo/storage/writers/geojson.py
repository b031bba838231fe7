"""GeoJSON (RFC 7946): a Feature per row, longitude and latitude, cut at the antimeridian."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, transformer
from terrazzo.spans import span
from terrazzo.storage.writers.files import whole_file
from terrazzo.storage.writers.table import cells, json_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

TURN, HALF_TURN = 360.0, 180.0
"""Degrees."""


def write_geojson(
    path: Path,
    ids: Sequence[Any],
    columns: Mapping[str, Any],
    shapes: Sequence[BaseGeometry],
    crs: str,
) -> Path:
    """Write rows as Features; returns the path.

    No-data and numbers that JSON has not (NaN, infinity) are null. An empty geometry is null.

    Args:
        path: where to; replaced if there.
        ids: of the Features, as many as there are rows.
        columns: properties by name; masked arrays and None are null.
        shapes: a geometry per row, in `crs`.
        crs: canonical name of their CRS; they are written in degrees.

    Raises:
        ArgumentInvalid: a geometry has no place on the globe.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    placed = in_degrees(shapes, crs)
    plain = [cells(column) for column in columns.values()]
    rows = zip(*plain, strict=True) if plain else ((),) * len(placed)
    with whole_file(path) as part, span("encode"), part.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, (name, shape, row) in enumerate(zip(ids, placed, rows, strict=True)):
            properties = dict(zip(columns, map(json_value, row), strict=True))
            geometry = "null" if shape.is_empty else shapely.to_geojson(shape)
            file.write(",\n" if number else "\n")
            file.write(
                f'{{"type": "Feature", "id": {json.dumps(name)}, "geometry": {geometry}, '
                f'"properties": {json.dumps(properties, ensure_ascii=False, allow_nan=False)}}}'
            )
        file.write("\n]}\n")
    return path


def in_degrees(shapes: Sequence[BaseGeometry], crs: str) -> list[BaseGeometry]:
    """Return geometries in longitude and latitude as RFC 7946 wants them.

    Outer rings run counter-clockwise. What crosses the antimeridian is cut there; a geometry
    around a pole is not treated.

    Raises:
        ArgumentInvalid: a vertex has no place on the globe.
    """
    given = np.empty(len(shapes), dtype=object)
    given[:] = shapes
    found = given
    if crs != WGS84:
        to = transformer(crs, WGS84).transform
        found = shapely.transform(given, to, interleaved=False)
        if not np.isfinite(shapely.get_coordinates(found)).all():
            raise ArgumentInvalid(
                f"A geometry in {crs[:60]!r} has a vertex that is not on the globe, so that it "
                "cannot be written as GeoJSON. Save as GeoParquet, which keeps its CRS."
            )
        bounds = shapely.bounds(found)
        wide = bounds[:, 2] - bounds[:, 0] > HALF_TURN
        for number in np.flatnonzero(wide & (shapely.get_dimensions(found) > 0)):
            found[number] = _rejoined(given[number], found[number], to)
    placed = np.empty(len(shapes), dtype=object)
    placed[:] = [_cut(shape) for shape in found]
    return list(shapely.orient_polygons(placed))


def _rejoined(given: BaseGeometry, placed: BaseGeometry, to: Any) -> BaseGeometry:
    """Return a geometry whose lines and polygons that cross the antimeridian run on beyond 180."""
    parts = shapely.get_parts(placed)
    crossing = [
        _crosses(before, after, to)
        for before, after in zip(shapely.get_parts(given), parts, strict=True)
    ]
    if not any(crossing):
        return placed
    parts[crossing] = shapely.transform(parts[crossing], _joined)
    collect = (
        shapely.multipolygons if shapely.get_dimensions(placed) > 1 else shapely.multilinestrings
    )
    joined: BaseGeometry = collect(parts)
    return joined


def _crosses(given: BaseGeometry, placed: BaseGeometry, to: Any) -> bool:
    """Tell whether an edge crosses the antimeridian: its middle lies on the far side of the globe.

    Only where longitudes jump does the middle have to be looked at.
    """
    rings = shapely.get_rings(placed) if shapely.get_dimensions(placed) > 1 else [placed]
    points, owner = shapely.get_coordinates(rings, return_index=True)
    jumps = np.abs(np.diff(points[:, 0])) > HALF_TURN
    jumps = np.flatnonzero(jumps & (owner[1:] == owner[:-1]))
    ends = shapely.get_coordinates(given)
    middle, _ = to(*((ends[jumps] + ends[jumps + 1]) / 2).T)
    return bool((np.abs(middle) > HALF_TURN / 2).any())


def _cut(shape: BaseGeometry) -> BaseGeometry:
    """Return a geometry with its parts on both sides of the antimeridian apart."""
    if shape.is_empty or (shape.bounds[0] >= -HALF_TURN and shape.bounds[2] <= HALF_TURN):
        return shape
    dimension = shapely.get_dimensions(shape)
    parts: list[BaseGeometry] = []
    for turn in (-TURN, 0.0, TURN):
        strip = shapely.box(turn - HALF_TURN, -90, turn + HALF_TURN, 90)
        inside = shapely.get_parts(shapely.intersection(shapely.make_valid(shape), strip))
        parts += [_moved(one, turn) for one in inside if shapely.get_dimensions(one) == dimension]
    return parts[0] if len(parts) == 1 else shapely.union_all(parts)


def _moved(shape: BaseGeometry, turn: float) -> BaseGeometry:
    west = np.array([turn, 0.0])
    moved: BaseGeometry = shapely.transform(shape, lambda points: points - west)
    return moved


def _joined(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points with western longitudes east of the antimeridian."""
    return np.where([True, False], np.where(points < 0, points + TURN, points), points)
