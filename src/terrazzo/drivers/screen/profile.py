"""Profiles: one statistic of what somebody drew, date by date, and a curve through it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import shapely

from terrazzo.drivers.extraction.parcel import has_months, instants
from terrazzo.drivers.extraction.profiles import SHARE, reduced_parcel
from terrazzo.drivers.extraction.smoothing import METHODS, Smoothing
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.screen.asked import Asked, wrong
from terrazzo.errors import ArgumentInvalid, PlanTooLarge
from terrazzo.geo.extent import geojson_geometry
from terrazzo.geo.grid import transform_bounds
from terrazzo.geo.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.drivers.extraction.profiles import Reduced
    from terrazzo.drivers.extraction.smoothing import Method
    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.geo.times import Interval
    from terrazzo.progress import Progress

    Floats = NDArray[np.float64]

MOST_PIXELS: Final = 4_000_000
"""Of the box around a drawing, on one date; larger ones are computed at coarser pixels."""
MOST_OF_ALL_DATES: Final = 400_000_000
MOST_BANDS: Final = 32
MOST_POINTS: Final = 100_000
"""Corners of a drawing."""
THREADS: Final = 2
EVERY: Final = 5
"""Days between the dates of a curve."""
_COUNT: Final = "count"
_PAIR: Final = 2


def profile(layer: Layer, given: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return a statistic of the pixels under a drawing on every date, by exact coverage.

    A point is the pixel that holds it. What is very large is computed at coarser pixels.

    Args:
        layer: the layer.
        given: `geometry`, GeoJSON in degrees; `bands`, all if left out; `statistic` such as mean,
            median or q90; `dates`, [from, to]; `min_valid`, the share of pixels below which a date
            has no part in the curve; `smooth`, how the curve is made.
        progress: told about every date.

    Raises:
        ArgumentInvalid, BandNotFound, NoDataAvailable: a parameter is not as it must be.
        PlanTooLarge: it is too large, and the graph chose its pixels itself.
    """
    names = ("geometry", "bands", "statistic", "dates", "min_valid", "smooth")
    asked = Asked.of(given, names)
    shape, crs = drawing(asked)
    statistic = asked.text("statistic", "mean")
    bands = asked.texts("bands", MOST_BANDS) or tuple(
        band.name for band in layer.bands[:MOST_BANDS] if band.name
    )
    least = asked.number("min_valid", 0.0)
    smooth = _smoothing(asked.mapping("smooth")) if "smooth" in asked.given else None
    job, resolution = _job(layer, shape, crs)
    found = reduced_parcel(
        job, layer.inference, shape, crs, statistics=(statistic, SHARE, _COUNT), bands=bands,
        dates=_interval(asked), pool=Pool(workers=THREADS), progress=progress,
    )  # fmt: skip
    units = {band.name: band.unit for band in layer.bands}
    told: dict[str, Any] = {
        "resolution": resolution,
        "statistic": statistic,
        "count": found.pixels,
        "bands": [{"name": name, "unit": units[name]} for name in found.bands],
        "rows": _rows(found),
    }
    moments = instants(found.labels, months=has_months(layer.inference.graph))
    return told if smooth is None else told | {"smoothed": _curve(found, smooth, least, moments)}


def drawing(asked: Asked) -> tuple[BaseGeometry, str]:
    """Return the geometry of a question, and its CRS.

    Raises:
        ArgumentInvalid: there is none, or it is none that can be measured.
    """
    if "geometry" not in asked.given:
        raise wrong("geometry", None, "GeoJSON in degrees: a polygon, a line or a point")
    shape, crs = geojson_geometry(asked.mapping("geometry"))
    if shape.is_empty:
        raise ArgumentInvalid("The geometry is empty. Draw a polygon, a line or a point.")
    if shapely.count_coordinates(shape) > MOST_POINTS:
        raise ArgumentInvalid(f"The geometry has more than {MOST_POINTS:,} points. Simplify it.")
    return shape, crs


def _job(layer: Layer, shape: BaseGeometry, crs: str) -> tuple[Job, float]:
    """Return where the layer is computed under a drawing, and its pixel size in metres.

    Raises:
        PlanTooLarge: it is too large, and the graph chose its pixels itself.
        SpatialExtentEmpty: it cannot be expressed in the CRS of the layer.
    """
    grid, within = layer.tiles.grid, layer.tiles.within
    left, bottom, right, top = transform_bounds(shape.bounds, crs, grid.crs)
    pixels = (right - left) * (top - bottom) / (grid.pixel_x * grid.pixel_y)
    most = min(MOST_PIXELS, MOST_OF_ALL_DATES / max(1, len(layer.dates)))
    factor = 2 ** max(0, math.ceil(math.log2(max(pixels, 1.0) / most) / 2))
    job = Job("") if within is None else Job("", bbox=within.bounds, bbox_crs=within.crs)
    if factor == 1:
        return job, layer.resolution
    if not layer.tiles.result.free:
        raise PlanTooLarge(
            f"The drawing holds about {pixels:,.0f} pixels of {layer.resolution:g} m, which the "
            f"graph chose itself, and {most:,.0f} may be looked at while somebody waits. Draw a "
            "smaller one, or use `terrazzo extract`."
        )
    size = math.sqrt(grid.pixel_x * grid.pixel_y) * factor
    return replace(job, resolution=size), layer.resolution * factor


def _interval(asked: Asked) -> Interval:
    given = asked.given.get("dates", (None, None))
    if not isinstance(given, list | tuple) or len(given) != _PAIR:
        raise wrong("dates", given, "[from, to], the end excluded; null is unbounded")
    first, last = (None if one is None else parse_time(str(one)) for one in given)
    return first, last


def _rows(found: Reduced) -> list[dict[str, Any]]:
    """Return one row for each date; of several bands the least share is the row's."""
    values, shares, counts = found.numbers
    dates: tuple[str | None, ...] = found.labels or (None,)
    return [
        {
            "date": date,
            "values": dict(zip(found.bands, map(_number, values[n]), strict=True)),
            "valid": float(shares[n].min()),
            "count": _number(counts[n].min()) or 0.0,
        }
        for n, date in enumerate(dates)
    ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _smoothing(given: Mapping[str, Any]) -> Smoothing:
    asked = Asked.of(given, ("method", "smoothness", "window", "degree", "every"))
    method = asked.chosen("method", METHODS, METHODS[0])
    how = Smoothing(
        cast("Method", method),
        statistics=(),
        smoothness=asked.number("smoothness", 1000.0),
        window=asked.whole("window", 1, 10_001, 31),
        degree=asked.whole("degree", 0, 10, 2),
        every=asked.whole("every", 1, 366, EVERY),
        weight="",
    )
    how.check()
    return how


def _curve(
    found: Reduced, how: Smoothing, least: float, moments: Sequence[datetime | None]
) -> dict[str, Any]:
    """Return a curve through the dates that see enough, at regular dates.

    Labels that are no instants, such as seasons, have no part in it.
    Whittaker's weighs each date by how much of the drawing it sees; what one day has several of is
    averaged.
    """
    values, shares = found.numbers[0], found.numbers[1]
    known = [n for n, moment in enumerate(moments) if moment is not None]
    ordinals = np.array([moments[n].toordinal() for n in known], np.int64)  # type: ignore[union-attr] # known ones
    days = np.unique(ordinals)
    if days.size == 0:
        return {"dates": [], "values": {band: [] for band in found.bands}}
    shape = (len(found.bands), len(days))
    sums, weights = np.zeros(shape), np.zeros(shape)
    for n, day in zip(known, np.searchsorted(days, ordinals), strict=True):
        sees = np.isfinite(values[n]) & (shares[n] >= least) & (shares[n] > 0.0)
        sums[:, day] += np.where(sees, values[n] * shares[n], 0.0)
        weights[:, day] += np.where(sees, shares[n], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: Floats = np.where(weights > 0.0, sums / weights, np.nan)
    curves = how.curves(means, weights, days)
    steps = np.arange(days[0], days[-1] + 1, how.every)
    first = np.datetime64("0001-01-01")
    return {
        "dates": [str(first + np.timedelta64(int(day) - 1, "D")) for day in steps],
        "values": {
            band: [_number(value) for value in curve]
            for band, curve in zip(found.bands, curves, strict=True)
        },
    }
