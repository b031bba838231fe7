"""How a service is shown: its configuration, what a request asks for, and the legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from terrazzo.cube import Kind
from terrazzo.drivers.tile import NATIVE, View, shown
from terrazzo.engine import evaluate
from terrazzo.engine.demand import central_block
from terrazzo.errors import ArgumentInvalid
from terrazzo.server.maps.configuration import (
    LONGEST_NAME,
    MOST_BANDS,
    check_bands,
    check_colormap,
    check_stretch,
)
from terrazzo.storage.writers.picture import COLORMAPS, Style, to_rgba

if TYPE_CHECKING:
    from terrazzo.server.maps.maps import OpenMap

LEGEND_COLORS = 17
SAMPLE = 256
LONGEST_KEY = 200


class Look(BaseModel):
    """What a request for a tile says about how to show it; the service says what it leaves out."""

    model_config = ConfigDict(extra="forbid")

    low: float | None = Field(None, alias="min", allow_inf_nan=False)
    high: float | None = Field(None, alias="max", allow_inf_nan=False)
    colors: str = Field("", max_length=LONGEST_NAME)
    bands: str = Field("", max_length=MOST_BANDS * LONGEST_NAME)
    time: str = Field("", max_length=LONGEST_NAME)
    key: str = Field("", max_length=LONGEST_KEY)


def view_of(opened: OpenMap, look: Look) -> View:
    """Join what a request asks for with the service's configuration.

    Raises:
        ArgumentInvalid: a range that is empty, an unknown colour map, too many bands.
        BandNotFound, LabelNotAvailable: the result does not have what is asked for.
    """
    given = opened.configuration
    low = opened.low if look.low is None else look.low
    high = opened.high if look.high is None else look.high
    bands = tuple(look.bands.split(",")) if look.bands else given.bands
    time = look.time or given.time
    _check_labels(opened, Kind.BANDS, check_bands(bands))
    _check_labels(opened, Kind.TEMPORAL, (time,) if time else ())
    style = Style(check_stretch(low, high), check_colormap(look.colors or given.colors))
    return View(style, bands, time)


def found_range(opened: OpenMap) -> tuple[float, float]:
    """Return the range of 2 % to 98 % of the pixels in the middle; reads one tile."""
    given, tiles = opened.configuration, opened.tiles
    plan = tiles.plan(NATIVE, tiles.matrix(NATIVE).base_zoom)
    if plan is None:
        return 0.0, 1.0
    view = View(Style(), given.bands, given.time)
    cube = shown(evaluate(plan, central_block(plan, SAMPLE)), view)
    seen = np.asarray(cube.values[cube.valid], np.float64)
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        return 0.0, 1.0
    low, high = (float(f"{edge:.3g}") for edge in np.percentile(seen, [2, 98]))
    return low, high if high > low else low + 1.0


def legend(opened: OpenMap) -> dict[str, Any]:
    """Return the colour bar of a service: its ends and colours between, equally spaced."""
    ramp = np.linspace(0, 1, LEGEND_COLORS)[None, None]
    drawn = Style(((0.0, 1.0),), check_colormap(opened.configuration.colors))
    rgba = to_rgba(ramp, np.ones(ramp.shape, np.bool_), drawn)
    return {
        "min": opened.low,
        "max": opened.high,
        "colors": [f"#{bytes(colour[:3]).hex()}" for colour in rgba[0]],
        "colormaps": list(COLORMAPS),
    }


def _check_labels(opened: OpenMap, kind: Kind, wanted: tuple[str, ...]) -> None:
    """Refuse bands and dates that the result does not have, also where a tile is empty."""
    inference = opened.inference
    cube = inference.cube(inference.graph.result).result
    for label in wanted:
        found = [dimension for dimension in cube.dimensions if dimension.kind is kind]
        if not found:
            raise ArgumentInvalid(f"This service has no {kind.value} dimension, so no {label!r}.")
        found[0].index(label)
