"""Statistics and histogram of what a view shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.cube import Kind
from terrazzo.drivers.screen.asked import Asked
from terrazzo.drivers.screen.look import Look, Stretch, percents
from terrazzo.drivers.tile import View, shown
from terrazzo.storage.writers.picture import Style

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from terrazzo.cube import Mask, Values
    from terrazzo.drivers.screen.described import BandTold
    from terrazzo.drivers.screen.layer import Layer
    from terrazzo.geo.grid import Grid
    from terrazzo.progress import Progress

    Floats = NDArray[np.float64]

MOST: Final = 512
"""Pixels of the longer side."""
PERCENTILES: Final = (0.5, 1, 2, 5, 25, 50, 75, 95, 98, 99, 99.5)
BINS: Final = 128
_MOST_WHOLE: Final = 256
"""Whole numbers up to which each has a bin of its own."""
_LARGE: Final = 1e150
"""Numbers above it have squares that float64 lacks."""
_SMALLER: Final = 2.0**600
"""By which such numbers are divided; a power of two changes no digit."""


def statistics(layer: Layer, given: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return statistics and histogram of each band that a look shows, over what a view shows.

    Args:
        layer: the layer.
        given: `bounds` in `crs`, `width` and `height` in pixels, `look`.
        progress: told when they are found; may stop it in the middle.

    Raises:
        ArgumentInvalid, SpatialExtentEmpty, BandNotFound, LabelNotAvailable: a parameter is not as
            it must be.
        PlanTooLarge: the graph would take more memory than a tile may.
    """
    asked = Asked.of(given, ("bounds", "crs", "width", "height", "look"))
    look = Look.of(asked.mapping("look"))
    grid = asked.view(layer.tiles.grid.crs, most=MOST, finest=True)
    with progress:
        progress.start(1, "views")
        found = statistics_of(layer, grid, look, progress)
        progress.advance()
    return found


def statistics_of(layer: Layer, grid: Grid, look: Look, progress: Progress) -> dict[str, Any]:
    """Return statistics of what a look shows on a grid; see `statistics`."""
    view = View(Style(), layer.shown_bands(look), layer.shown_date(look))
    cube = layer.tiles.over(grid, view=view, progress=progress)
    told = {one.name: one for one in layer.bands}
    dtype = layer.tiles.probe.dtype
    values: Values
    valid: Mask
    if cube is None:
        shape = (len(view.bands) or 1, 1)
        values, valid = np.zeros(shape, dtype), np.zeros(shape, np.bool_)
    else:
        cube = shown(cube, view)
        count = next((len(d.labels) for d in cube.dimensions if d.kind is Kind.BANDS), 1)
        values, valid = cube.values.reshape(count, -1), cube.valid.reshape(count, -1)
    asked = set(PERCENTILES) | set(_wanted(look.stretch))
    names = view.bands or ("",)
    return {
        "resolution": layer.metres(grid, grid.window),
        "width": grid.width,
        "height": grid.height,
        "date": view.time or None,
        "bands": [
            _band(told[name], values[n], valid[n], grid.window.pixels, sorted(asked))
            for n, name in enumerate(names)
        ],
    }


def _wanted(stretch: Stretch) -> tuple[float, ...]:
    return percents(stretch) if stretch.kind == "percentile" else ()


def _band(
    told: BandTold, values: Values, valid: Mask, count: int, asked: list[float]
) -> dict[str, Any]:
    whole = values.dtype.kind in "iub"
    numbers = values[valid] if whole else values[valid & np.isfinite(values)]
    seen = numbers.astype(np.float64)
    found: dict[str, Any] = {
        "name": told.name,
        "unit": told.unit,
        "count": count,
        "valid": int(seen.size),
    }
    if not seen.size:
        names = ("min", "max", "mean", "sd")
        empty = {f"{one:g}": None for one in asked}
        nothing = {"percentiles": empty, "histogram": {"edges": [], "counts": []}}
        return found | dict.fromkeys(names, None) | nothing
    scale = _SMALLER if float(np.abs(seen).max()) > _LARGE else 1.0
    seen = seen / scale
    percentiles = (np.percentile(seen, asked) * scale).tolist()
    edges, counts = _histogram(seen, whole)
    return found | {
        "min": float(seen.min()) * scale,
        "max": float(seen.max()) * scale,
        "mean": float(seen.mean()) * scale,
        "sd": float(seen.std()) * scale,
        "percentiles": {f"{p:g}": v for p, v in zip(asked, percentiles, strict=True)},
        "histogram": {"edges": (edges * scale).tolist(), "counts": counts.tolist()},
    }


def _histogram(seen: Floats, whole: bool) -> tuple[Floats, NDArray[np.int64]]:
    """Return edges and counts of equal bins; whole numbers that are few have a bin each."""
    low, high = float(seen.min()), float(seen.max())
    half = max(0.5, math.ulp(low), math.ulp(high))
    if low == high:
        edges = np.array([low - half, high + half])
    elif whole and high - low < _MOST_WHOLE and half == 0.5:  # noqa: PLR2004 - of a whole number
        edges = np.arange(low - 0.5, high + 1.0)
    else:
        edges = np.unique(np.linspace(low, high, BINS + 1))
    return edges, np.histogram(seen, edges)[0]
