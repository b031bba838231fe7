"""What a screen needs to know of a layer before it shows it."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.screen.legend import legend
from terrazzo.drivers.screen.look import Look
from terrazzo.drivers.tile import MERCATOR, NATIVE
from terrazzo.geo.crs import WGS84, crs_object, epsg, is_geographic

if TYPE_CHECKING:
    from terrazzo.drivers.screen.layer import Layer


def about(layer: Layer, look: Look | None = None) -> dict[str, Any]:
    """Return all that a screen needs to show a layer and to ask about it, as JSON values.

    Args:
        layer: the layer.
        look: how it is shown first; what it leaves out is found in the pixels.
    """
    view = layer.view(look or Look())
    minzoom, maxzoom = layer.tiles.zooms(MERCATOR)
    ranges = view.style.stretch
    return {
        "id": layer.id,
        "title": layer.title,
        "kind": "raster",
        "bounds": list(layer.tiles.bounds(WGS84)),
        "resolution": layer.resolution,
        "minzoom": minzoom,
        "maxzoom": maxzoom,
        "native": native(layer),
        "dates": layer.dates,
        "temporal": None if layer.times is None else layer.times.name,
        "bands": bands(layer),
        "dtype": layer.tiles.probe.dtype.name,
        "shown": {"bands": list(view.bands), "time": view.time},
        "range": list(ranges[0]) if ranges else None,
        "legend": legend(view),
        "sources": [dict(source) for source in layer.sources],
        "process": dict(layer.process),
    }


def bands(layer: Layer) -> list[dict[str, Any]]:
    """Return what is known of the bands: name, title, unit, common name and classes."""
    told = []
    for band in layer.bands:
        colors = {one.value: one.color for one in band.colors.of} if band.colors else {}
        classes = [
            {"value": value, "label": label, "color": colors.get(value)}
            for value, label in band.labels.items()
        ]
        names = {"name": band.name, "title": band.title, "unit": band.unit}
        told.append(names | {"common_name": band.common_name, "classes": classes})
    return told


def native(layer: Layer) -> dict[str, Any]:
    """Return the layer's own projection and the pyramid of tiles in it."""
    matrix = layer.tiles.matrix(NATIVE)
    grid = matrix.grid(matrix.base_zoom)
    levels = [matrix.grid(zoom) for zoom in range(matrix.base_zoom + 1)]
    crs, code = crs_object(grid.crs), epsg(grid.crs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that PROJ's text tells less than WKT
        text = crs.to_proj4()
    return {
        "crs": f"EPSG:{code}" if code else crs.name,
        "proj4": text,
        "wkt": crs.to_wkt(),
        "units": "degrees" if is_geographic(grid.crs) else "m",
        "origin": [grid.left, grid.top],
        "pixel": [grid.pixel_x, grid.pixel_y],
        "resolutions": [level.pixel_x for level in levels],
        "sizes": [
            [math.ceil(level.width / matrix.tile), math.ceil(level.height / matrix.tile)]
            for level in levels
        ],
        "tile_size": matrix.tile,
        "extent": list(layer.tiles.bounds(grid.crs)),
        "minzoom": 0,
        "maxzoom": matrix.base_zoom,
    }
