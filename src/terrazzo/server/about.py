"""What a map needs to know of a layer, and the values at a place."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Kind
from terrazzo.drivers.tile import MERCATOR, NATIVE
from terrazzo.engine import evaluate
from terrazzo.geo.crs import WGS84, crs_object, epsg, is_geographic, transformer
from terrazzo.geo.grid import Window
from terrazzo.server.look import legend

if TYPE_CHECKING:
    from collections.abc import Iterable

    from terrazzo.cube import Cube
    from terrazzo.server.store import OpenLayer, StoredLayer

FORMATS = ("png", "webp", "npy")
_METRES_PER_DEGREE = 111_320.0


def listed(layers: Iterable[StoredLayer]) -> list[dict[str, Any]]:
    """Return what a list of layers says of each."""
    return [
        {
            "id": layer.id,
            "title": layer.title,
            "digest": layer.digest,
            "stored": layer.stored,
            "links": [{"rel": "self", "href": f"/layers/{layer.id}"}],
        }
        for layer in layers
    ]


def about(layer: OpenLayer) -> dict[str, Any]:
    """Return everything that a map needs to show a layer, as JSON values."""
    stored, cube = layer.stored, result_cube(layer)
    return {
        "id": stored.id,
        "title": stored.title,
        "digest": stored.digest,
        "stored": stored.stored,
        "bounds": list(layer.tiles.bounds(WGS84)),
        "resolution_metres": native_metres(layer),
        "dates": _labels(cube, Kind.TEMPORAL),
        "bands": _labels(cube, Kind.BANDS),
        "sources": [dict(source) for source in layer.sources],
        "dtype": cube.dtype.name,
        "style": dict(stored.style),
        "legend": legend(stored.style),
        "matrices": {name: _matrix(layer, name) for name in (MERCATOR, NATIVE)},
        "formats": list(FORMATS),
        "links": [
            {"rel": "self", "href": f"/layers/{stored.id}"},
            *(
                {"rel": "tiles", "href": f"/layers/{stored.id}/tiles/{name}/{{z}}/{{x}}/{{y}}.png"}
                for name in (MERCATOR, NATIVE)
            ),
        ],
    }


def result_cube(layer: OpenLayer) -> Cube:
    """Return the layer's result without pixels."""
    cube: Cube = layer.inference.cube(layer.inference.graph.result).result
    return cube


def _labels(cube: Cube, kind: Kind) -> list[str]:
    return [
        str(label)
        for dimension in cube.dimensions
        if dimension.kind is kind
        for label in dimension.labels
    ]


def _matrix(layer: OpenLayer, name: str) -> dict[str, Any]:
    matrix = layer.tiles.matrix(name)
    first, last = layer.tiles.zooms(name)
    grid = matrix.grid(last)
    code = epsg(grid.crs)
    left, bottom, right, top = layer.tiles.bounds(grid.crs)
    return {
        "crs": f"EPSG:{code}" if code else crs_object(grid.crs).name,
        "tile": matrix.tile,
        "origin": [grid.left, grid.top],
        "zooms": [first, last],
        "pixel": [grid.pixel_x, grid.pixel_y],
        "bounds": [left, bottom, right, top],
    }


def native_metres(layer: OpenLayer) -> float:
    """Return the edge of the layer's own pixels at its centre, metres."""
    bound = layer.inference.cube(layer.inference.graph.result)
    if bound.grid is None:
        raise TypeError("checked when the layer was opened")
    return bound.grid.pixel_metres


def resolution_metres(layer: OpenLayer, matrix: str, zoom: int, y: int) -> float:
    """Return at which pixel size a tile is computed, metres on the ground at its centre.

    A graph that chose its own grid (`resample_spatial`) is computed there and only warped.
    """
    bound = layer.inference.cube(layer.inference.graph.result)
    if not bound.free:
        return native_metres(layer)
    levels = layer.tiles.matrix(matrix)
    grid = levels.grid(zoom)
    if matrix == MERCATOR:
        northing = grid.top - (y + 0.5) * levels.tile * grid.pixel_y
        return grid.pixel_x / math.cosh(northing / 6_378_137.0)
    if is_geographic(grid.crs):
        return grid.pixel_y * _METRES_PER_DEGREE
    return grid.pixel_metres


def values_at(layer: OpenLayer, longitude: float, latitude: float) -> dict[str, Any]:
    """Compute all values of the layer's own pixel at a place; null where there is no data."""
    matrix = layer.tiles.matrix(NATIVE)
    grid = matrix.grid(matrix.base_zoom)
    xs, ys = transformer(WGS84, grid.crs).transform(np.array([longitude]), np.array([latitude]))
    x, y = float(xs[0]), float(ys[0])
    told: dict[str, Any] = {"lon": longitude, "lat": latitude, "crs": matrix_crs(layer)}
    plan = layer.tiles.plan(NATIVE, matrix.base_zoom)
    if not (math.isfinite(x) and math.isfinite(y)) or plan is None:
        return told | {"values": []}
    col = math.floor((x - grid.left) / grid.pixel_x)
    row = math.floor((grid.top - y) / grid.pixel_y)
    pixel = Window(row, col, 1, 1)
    told |= {"x": x, "y": y, "row": row, "column": col}
    if not plan.window.contains(pixel):
        return told | {"values": []}
    return told | {"values": _values(evaluate(plan, pixel))}


def matrix_crs(layer: OpenLayer) -> str:
    """Return a readable name of the CRS of the layer's own grid."""
    return str(_matrix(layer, NATIVE)["crs"])


def _values(cube: Cube) -> list[dict[str, Any]]:
    labelled = [dimension for dimension in cube.dimensions if dimension.kind is not Kind.SPATIAL]
    values, valid = cube.values[..., 0, 0], cube.valid[..., 0, 0]
    rows = []
    for place in product(*(range(len(dimension.labels)) for dimension in labelled)):
        labels = {d.name: d.labels[i] for d, i in zip(labelled, place, strict=True)}
        number = float(values[place])
        known = bool(valid[place]) and math.isfinite(number)
        rows.append({"labels": labels, "value": number if known else None})
    return rows
