"""Transects: the values along a line, at equal distances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pyproj import Geod

from terrazzo.cube import Kind
from terrazzo.drivers.screen.asked import Asked
from terrazzo.drivers.screen.look import Look
from terrazzo.drivers.screen.profile import drawing
from terrazzo.drivers.tile import NATIVE, View, shown
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, transformer
from terrazzo.geo.grid import Window
from terrazzo.geo.worlds import to_grid
from terrazzo.storage.writers.picture import Style

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.progress import Progress

    Floats = NDArray[np.float64]
    Longs = NDArray[np.int64]

MOST: Final = 1000
SAMPLES: Final = 256
_SQUARE: Final = 256
_GEOD: Final = Geod(ellps="WGS84")


def transect(layer: Layer, given: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return the values of the pixels along a line, at equal distances on the ellipsoid.

    Where samples are farther apart than pixels, the next finer level of the layer's own pyramid
    is read, so that a long line does not read everything beneath it.

    Args:
        layer: the layer.
        given: `geometry`, a GeoJSON LineString in degrees; `look`, whose date and bands are meant,
            all bands if it names none; `samples`.
        progress: told about every piece.

    Raises:
        ArgumentInvalid, BandNotFound, LabelNotAvailable: a parameter is not as it must be.
        PlanTooLarge: the graph would take more memory than a tile may.
    """
    asked = Asked.of(given, ("geometry", "look", "samples"))
    shape, crs = drawing(asked)
    if shape.geom_type != "LineString" or crs != WGS84:
        raise ArgumentInvalid(
            f"A transect follows a LineString in degrees, not a {shape.geom_type}. Draw a line."
        )
    look = Look.of(asked.mapping("look"))
    distances, longitudes, latitudes = along(
        np.asarray(shape.coords, np.float64)[:, :2], asked.whole("samples", 2, MOST, SAMPLES)
    )
    bands = look.bands or tuple(band.name for band in layer.bands if band.name)
    layer.shown_bands(look)
    view = View(Style(), bands, layer.shown_date(look))
    zoom = _zoom(layer, distances)
    grid = layer.tiles.matrix(NATIVE).grid(zoom)
    values = _sampled(layer, view, zoom, (longitudes, latitudes), progress)
    told = {band.name: band for band in layer.bands}
    names = bands or ("",)
    middle = len(distances) // 2
    row = _pixels(layer, zoom, longitudes[middle : middle + 1], latitudes[middle : middle + 1])[0]
    return {
        "resolution": layer.metres(grid, Window(max(int(row[0]), 0), 0, 1, 1)),
        "date": view.time or None,
        "distance": distances.tolist(),
        "lon": longitudes.tolist(),
        "lat": latitudes.tolist(),
        "bands": [
            {
                "name": name,
                "unit": told[name].unit,
                "values": [value if math.isfinite(value) else None for value in one.tolist()],
            }
            for name, one in zip(names, values, strict=True)
        ],
    }


def along(corners: Floats, count: int) -> tuple[Floats, Floats, Floats]:
    """Return distances, longitudes and latitudes of points along a line of geodesics.

    Args:
        corners: (corner, 2) longitude and latitude, degrees.
        count: how many points, both ends among them.

    Raises:
        ArgumentInvalid: the line has no length.
    """
    azimuths, _, lengths = _GEOD.inv(
        corners[:-1, 0], corners[:-1, 1], corners[1:, 0], corners[1:, 1]
    )
    begins = np.concatenate([[0.0], np.cumsum(lengths)])
    if not begins[-1] > 0.0 or not math.isfinite(begins[-1]):
        raise ArgumentInvalid("The line has no length. Draw one between two places.")
    distances = np.linspace(0.0, begins[-1], count)
    on = np.clip(np.searchsorted(begins, distances, side="right") - 1, 0, len(lengths) - 1)
    longitudes, latitudes, _ = _GEOD.fwd(
        corners[on, 0], corners[on, 1], np.asarray(azimuths)[on], distances - begins[on]
    )
    longitudes[-1], latitudes[-1] = corners[-1]
    return distances, np.asarray(longitudes), np.asarray(latitudes)


def _zoom(layer: Layer, distances: Floats) -> int:
    """Return the coarsest level of the layer's pyramid that is finer than the samples are apart."""
    finest = layer.tiles.matrix(NATIVE).base_zoom
    apart = (distances[-1] - distances[0]) / (len(distances) - 1)
    if not layer.tiles.result.free or apart <= layer.resolution:
        return finest
    return max(0, finest - math.floor(math.log2(apart / layer.resolution)))


def _pixels(
    layer: Layer, zoom: int, longitudes: Floats, latitudes: Floats
) -> tuple[Longs, Longs, NDArray[np.bool_]]:
    """Return rows and columns of places in a level, and which have any."""
    grid = layer.tiles.matrix(NATIVE).grid(zoom)
    x, y = transformer(WGS84, grid.crs).transform(longitudes, latitudes)
    there = np.isfinite(x) & np.isfinite(y)
    columns = np.floor((to_grid(np.where(there, x, 0.0), grid) - grid.left) / grid.pixel_x)
    rows = np.floor((grid.top - np.where(there, y, 0.0)) / grid.pixel_y)
    limit = 2.0**40
    there &= (np.abs(columns) < limit) & (np.abs(rows) < limit)
    rows, columns = (np.where(there, one, 0.0).astype(np.int64) for one in (rows, columns))
    return rows, columns, there


def _sampled(
    layer: Layer, view: View, zoom: int, places: tuple[Floats, Floats], progress: Progress
) -> Floats:
    """Return (band, sample) values; NaN where there are none."""
    rows, columns, there = _pixels(layer, zoom, *places)
    values = np.full((max(1, len(view.bands)), len(rows)), np.nan)
    plan = layer.tiles.plan(NATIVE, zoom, view)
    if plan is None:
        return values
    inside = plan.window
    there &= (rows >= inside.row) & (rows < inside.row_stop)
    there &= (columns >= inside.col) & (columns < inside.col_stop)
    squares = np.stack([rows // _SQUARE, columns // _SQUARE])[:, there]
    which = np.flatnonzero(there)
    _, square_of = np.unique(squares, axis=1, return_inverse=True)
    groups = [which[square_of.ravel() == n] for n in range(square_of.max(initial=-1) + 1)]
    with progress:
        progress.start(len(groups), "pieces")
        for group in groups:
            top, left = int(rows[group].min()), int(columns[group].min())
            height = int(rows[group].max()) - top + 1
            width = int(columns[group].max()) - left + 1
            cube = shown(layer.tiles.computed(plan, Window(top, left, height, width)), view)
            count = next((len(d.labels) for d in cube.dimensions if d.kind is Kind.BANDS), 1)
            shape = (count, height, width)
            at = (slice(None), rows[group] - top, columns[group] - left)
            numbers = cube.values.reshape(shape)[at].astype(np.float64)
            values[:, group] = np.where(cube.valid.reshape(shape)[at], numbers, np.nan)
            progress.advance()
    return values
