"""The values of the pixel at a place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Kind
from terrazzo.drivers.screen.asked import Asked
from terrazzo.drivers.screen.look import Look
from terrazzo.drivers.tile import NATIVE, View
from terrazzo.geo.crs import WGS84, crs_object, epsg, transformer
from terrazzo.geo.grid import Window
from terrazzo.geo.worlds import to_grid
from terrazzo.storage.writers.picture import Style

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from terrazzo.cube import Cube
    from terrazzo.drivers.screen.described import BandTold
    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.drivers.tile import TileLayer
    from terrazzo.progress import Progress

DATES = ("shown", "all")


@dataclass(frozen=True, slots=True, eq=False)
class Pixel:
    """One of the result's own pixels."""

    x: float
    """Of the place, in the CRS of the result; infinite where that has none."""
    y: float
    """Likewise."""
    row: int
    """Of the pixel; 0 where there is none."""
    column: int
    """Likewise."""
    cube: Cube | None
    """The pixel; None where the place is outside of the result."""


def pixel_at(
    tiles: TileLayer, longitude: float, latitude: float, *, view: View | None = None
) -> Pixel:
    """Compute the result's own pixel at a place.

    Args:
        tiles: the layer.
        longitude: degrees.
        latitude: degrees.
        view: which bands and date; None is all.

    Raises:
        SourceUnreadable: a file is corrupt or gone.
    """
    matrix = tiles.matrix(NATIVE)
    grid = matrix.grid(matrix.base_zoom)
    xs, ys = transformer(WGS84, grid.crs).transform(np.array([longitude]), np.array([latitude]))
    x, y = float(to_grid(xs, grid)[0]), float(ys[0])
    plan = tiles.plan(NATIVE, matrix.base_zoom, view)
    if not (math.isfinite(x) and math.isfinite(y)) or plan is None:
        return Pixel(x, y, 0, 0, None)
    column = math.floor((x - grid.left) / grid.pixel_x)
    row = math.floor((grid.top - y) / grid.pixel_y)
    there = Window(row, column, 1, 1)
    inside = plan.window.contains(there)
    return Pixel(x, y, row, column, tiles.computed(plan, there) if inside else None)


def values(layer: Layer, given: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return the values of all bands of the layer's own pixel at a place.

    Args:
        layer: the layer.
        given: `lon` and `lat`, degrees; `look`, whose date is meant; `dates`, `all` for every date.
        progress: told when they are found; may stop it before.

    Raises:
        ArgumentInvalid, LabelNotAvailable: a parameter is not as it must be.
        SourceUnreadable: a file is corrupt or gone.
    """
    asked = Asked.of(given, ("lon", "lat", "look", "dates"))
    longitude, latitude = asked.number("lon"), asked.number("lat")
    look = replace(Look.of(asked.mapping("look")), bands=())
    everything = asked.chosen("dates", DATES, "shown") == "all"
    names = tuple(band.name for band in layer.bands if band.name)
    view = None if everything else View(Style(), names, layer.shown_date(look))
    with progress:
        progress.start(1, "pixels")
        progress.check()
        found = pixel_at(layer.tiles, longitude, latitude, view=view)
        progress.advance()
    crs = layer.tiles.grid.crs
    code = epsg(crs)
    told: dict[str, Any] = {
        "lon": longitude,
        "lat": latitude,
        "crs": f"EPSG:{code}" if code else crs_object(crs).name,
        "resolution": layer.resolution,
    }
    if found.cube is None:
        return told | {"x": None, "y": None, "row": None, "column": None, "dates": []}
    place = {"x": found.x, "y": found.y, "row": found.row, "column": found.column}
    return told | place | {"dates": _by_date(found.cube, layer.bands)}


def _by_date(cube: Cube, bands: tuple[BandTold, ...]) -> list[dict[str, Any]]:
    """Return the values of a pixel, date by date; of further dimensions the last label's."""
    values: NDArray[Any] = cube.values[..., 0, 0]
    valid: NDArray[Any] = cube.valid[..., 0, 0]
    labelled = [dimension for dimension in cube.dimensions if dimension.kind is not Kind.SPATIAL]
    for axis in range(len(labelled) - 1, -1, -1):
        if labelled[axis].kind not in {Kind.TEMPORAL, Kind.BANDS}:
            values, valid = values.take(-1, axis=axis), valid.take(-1, axis=axis)
            labelled.pop(axis)
    dates: list[str | None] = [None]
    kinds = [dimension.kind for dimension in labelled]
    if Kind.TEMPORAL in kinds:
        dates = [str(label) for label in labelled[kinds.index(Kind.TEMPORAL)].labels]
    if kinds[:1] == [Kind.BANDS] and Kind.TEMPORAL in kinds:
        values, valid = values.T, valid.T
    shape = (len(dates), len(bands))
    rows = zip(dates, values.reshape(shape), valid.reshape(shape), strict=True)
    return [
        {"date": date, "values": [_value(bands[n], row[n], there[n]) for n in range(len(bands))]}
        for date, row, there in rows
    ]


def _value(band: BandTold, value: Any, valid: Any) -> dict[str, Any]:
    number = float(value)
    known = bool(valid) and math.isfinite(number)
    told: dict[str, Any] = {"band": band.name, "value": number if known else None}
    if band.unit:
        told["unit"] = band.unit
    if known and number in band.labels:
        told["label"] = band.labels[number]
    return told
