"""What a map needs to know of a service, and the values at a place."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

from terrazzo.cube import Kind
from terrazzo.drivers.screen.values import pixel_at
from terrazzo.drivers.tile import NATIVE
from terrazzo.geo.crs import WGS84, crs_object, epsg
from terrazzo.server.maps.configuration import MATRICES
from terrazzo.server.maps.look import legend
from terrazzo.storage.writers.picture import FORMATS

if TYPE_CHECKING:
    from terrazzo.cube import Cube
    from terrazzo.ledger.services import Service
    from terrazzo.server.maps.maps import OpenMap


def about(opened: OpenMap) -> dict[str, Any]:
    """Return everything that a map needs to show a service, as JSON values."""
    service, cube, given = opened.service, result_cube(opened), opened.configuration
    return {
        "id": service.id,
        "title": title_of(service),
        "digest": opened.tiles.digest,
        "created": service.created,
        "bounds": list(opened.tiles.bounds(WGS84)),
        "resolution_metres": opened.layer.resolution,
        "dates": dates(opened),
        "bands": _labels(cube, Kind.BANDS),
        "shown": {"bands": list(given.bands), "time": shown_date(opened)},
        "sources": [dict(source) for source in opened.sources],
        "dtype": cube.dtype.name,
        "legend": legend(opened),
        "matrices": {name: _matrix(opened, name) for name in MATRICES},
        "formats": list(FORMATS),
    }


def title_of(service: Service) -> str:
    """Return what people call a service, also where its owner has not named it."""
    return service.title or f"Service {service.id[:8]}"


def result_cube(opened: OpenMap) -> Cube:
    """Return the result without pixels."""
    cube: Cube = opened.inference.cube(opened.inference.graph.result).result
    return cube


def _labels(cube: Cube, kind: Kind) -> list[str]:
    return [
        str(label)
        for dimension in cube.dimensions
        if dimension.kind is kind
        for label in dimension.labels
    ]


def _matrix(opened: OpenMap, name: str) -> dict[str, Any]:
    matrix = opened.tiles.matrix(name)
    first, last = shown_zooms(opened, name)
    grid = matrix.grid(last)
    code = epsg(grid.crs)
    left, bottom, right, top = opened.tiles.bounds(grid.crs)
    return {
        "crs": f"EPSG:{code}" if code else crs_object(grid.crs).name,
        "tile": matrix.tile,
        "origin": [grid.left, grid.top],
        "zooms": [first, last],
        "pixel": [grid.pixel_x, grid.pixel_y],
        "bounds": [left, bottom, right, top],
    }


def dates(opened: OpenMap) -> list[str]:
    """Return the labels of the dates of a result, if it has any."""
    return _labels(result_cube(opened), Kind.TEMPORAL)


def shown_date(opened: OpenMap) -> str:
    """Return the label of the date that is shown where nobody asks for another, empty for none."""
    cube, wanted = result_cube(opened), opened.configuration.time
    for dimension in cube.dimensions:
        if dimension.kind is Kind.TEMPORAL:
            return str(dimension.labels[dimension.index(wanted) if wanted else -1])
    return ""


def shown_zooms(opened: OpenMap, name: str) -> tuple[int, int]:
    """Return the zoom at which all of it fits about one tile, and that of its own pixels.

    Both within the zoom levels that the service answers.
    """
    lowest, highest = opened.configuration.zooms(name)
    first, last = opened.tiles.zooms(name)
    return min(max(first, lowest), highest), min(max(last, lowest), highest)


def values_at(opened: OpenMap, longitude: float, latitude: float) -> dict[str, Any]:
    """Compute all values of the result's own pixel at a place; null where there is no data."""
    told = {"lon": longitude, "lat": latitude, "crs": matrix_crs(opened)}
    found = pixel_at(opened.tiles, longitude, latitude)
    if found.cube is None:
        return told | {"values": []}
    place = {"x": found.x, "y": found.y, "row": found.row, "column": found.column}
    return told | place | {"values": _values(found.cube)}


def matrix_crs(opened: OpenMap) -> str:
    """Return a readable name of the CRS of the result's own grid."""
    return str(_matrix(opened, NATIVE)["crs"])


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
