"""How a layer is shown: its stored style, what a request asks for, and the legend."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from terrazzo.cube import Kind
from terrazzo.drivers.tile import NATIVE, View, shown
from terrazzo.engine import evaluate
from terrazzo.engine.demand import central_block
from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.server.faults import RequestInvalid
from terrazzo.storage.writers.picture import COLORMAPS, Style, to_rgba

if TYPE_CHECKING:
    from terrazzo.server.store import OpenLayer

MEMBERS = ("min", "max", "colors", "bands", "time")
LEGEND_COLORS = 17
SAMPLE = 256
MOST_BANDS = 3
LONGEST_NAME = 200


class Look(BaseModel):
    """What a request for a tile says about how to show it; what it leaves out is the layer's."""

    model_config = ConfigDict(extra="forbid")

    low: float | None = Field(None, alias="min", allow_inf_nan=False)
    high: float | None = Field(None, alias="max", allow_inf_nan=False)
    colors: str = Field("", max_length=LONGEST_NAME)
    bands: str = Field("", max_length=MOST_BANDS * LONGEST_NAME)
    time: str = Field("", max_length=LONGEST_NAME)


def view_of(layer: OpenLayer, look: Look) -> View:
    """Join what a request asks for with the layer's stored style.

    Raises:
        ArgumentInvalid: a range that is empty, an unknown colour map, too many bands.
    """
    stored = layer.stored.style
    low = look.low if look.low is not None else stored.get("min")
    high = look.high if look.high is not None else stored.get("max")
    bands = tuple(look.bands.split(",")) if look.bands else tuple(stored.get("bands", ()))
    time = look.time or stored.get("time", "")
    _check_labels(layer, Kind.BANDS, _checked_bands(bands))
    _check_labels(layer, Kind.TEMPORAL, (time,) if time else ())
    style = Style(_stretch(low, high), _colormap(look.colors or stored.get("colors", "")))
    return View(style, bands, time)


def check_style(style: object) -> dict[str, Any]:
    """Check the style of a layer that a client wants to be stored.

    Raises:
        RequestInvalid, ArgumentInvalid: says what is valid.
    """
    if not isinstance(style, Mapping):
        raise RequestInvalid("style is an object of min, max, colors, bands and time.")
    unknown = [str(name) for name in style if name not in MEMBERS]
    if unknown:
        raise RequestInvalid(
            f"style has unknown members: {', '.join(unknown)[:LONGEST_NAME]}. Known are "
            f"{', '.join(MEMBERS)}."
        )
    for name in ("min", "max"):
        value = style.get(name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value)):
            raise RequestInvalid(f"style.{name} is a finite number, not {json.dumps(value)[:80]}.")
    for name in ("colors", "time"):
        if not isinstance(style.get(name, ""), str) or len(style.get(name, "")) > LONGEST_NAME:
            raise RequestInvalid(f"style.{name} is a short text.")
    bands = style.get("bands", [])
    if not isinstance(bands, list) or not all(isinstance(band, str) for band in bands):
        raise RequestInvalid("style.bands is a list of one or three names of bands.")
    _checked_bands(tuple(bands))
    _stretch(style.get("min"), style.get("max"))
    _colormap(style.get("colors", ""))
    return dict(style)


def stretched(layer: OpenLayer) -> dict[str, Any]:
    """Return a layer's style with a range: the given one, or 2 % to 98 % of pixels in its middle.

    Reads one tile of the layer's own pixels where the style leaves the range open.
    """
    style = dict(layer.stored.style)
    if "min" in style and "max" in style:
        return style
    matrix = layer.tiles.matrix(NATIVE)
    plan = layer.tiles.plan(NATIVE, matrix.base_zoom)
    low, high = 0.0, 1.0
    if plan is not None:
        view = View(Style(), tuple(style.get("bands", ())), style.get("time", ""))
        cube = shown(evaluate(plan, central_block(plan, SAMPLE)), view)
        seen = np.asarray(cube.values[cube.valid], np.float64)
        seen = seen[np.isfinite(seen)]
        if seen.size:
            low, high = (float(f"{edge:.3g}") for edge in np.percentile(seen, [2, 98]))
    low, high = style.get("min", low), style.get("max", high)
    return style | {"min": low, "max": high if high > low else low + 1.0}


def legend(style: Mapping[str, Any]) -> dict[str, Any]:
    """Return the colour bar of a style: its ends and colours between, equally spaced."""
    ramp = np.linspace(0, 1, LEGEND_COLORS)[None, None]
    drawn = Style(((0.0, 1.0),), _colormap(style.get("colors", "")))
    rgba = to_rgba(ramp, np.ones(ramp.shape, np.bool_), drawn)
    return {
        "min": style.get("min", 0.0),
        "max": style.get("max", 1.0),
        "colors": [f"#{bytes(colour[:3]).hex()}" for colour in rgba[0]],
        "colormaps": list(COLORMAPS),
    }


def _check_labels(layer: OpenLayer, kind: Kind, wanted: tuple[str, ...]) -> None:
    """Refuse bands and dates that the layer does not have, also where a tile is empty."""
    cube = layer.inference.cube(layer.inference.graph.result).result
    for label in wanted:
        found = [dimension for dimension in cube.dimensions if dimension.kind is kind]
        if not found:
            raise ArgumentInvalid(f"This layer has no {kind.value} dimension, so no {label!r}.")
        found[0].index(label)


def _stretch(low: float | None, high: float | None) -> tuple[tuple[float, float], ...]:
    if low is None or high is None:
        return ()
    if not low < high:
        raise ArgumentInvalid(f"min must be below max, not {low:g} and {high:g}.")
    return ((float(low), float(high)),)


def _colormap(name: str) -> str:
    if name and name not in COLORMAPS:
        raise ArgumentInvalid(
            f"There is no colour map {name[:40]!r}.{suggest(name, COLORMAPS)} There are "
            f"{', '.join(COLORMAPS)}."
        )
    return name or "viridis"


def _checked_bands(bands: tuple[str, ...]) -> tuple[str, ...]:
    if len(bands) not in {0, 1, MOST_BANDS}:
        raise ArgumentInvalid(f"A picture shows 1 or {MOST_BANDS} bands, not {len(bands)}.")
    return bands
