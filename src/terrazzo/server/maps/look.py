"""How a service is shown: its configuration, what a request asks for, and the legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from terrazzo.cube import Kind
from terrazzo.drivers.screen.layer import found_range
from terrazzo.drivers.screen.legend import bar
from terrazzo.drivers.tile import View
from terrazzo.errors import ArgumentInvalid
from terrazzo.server.maps.configuration import (
    LONGEST_NAME,
    MOST_BANDS,
    check_bands,
    check_colormap,
    check_stretch,
)
from terrazzo.storage.writers.colors import colormap_names
from terrazzo.storage.writers.picture import Style

if TYPE_CHECKING:
    from terrazzo.server.maps.maps import OpenMap

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


def range_found(opened: OpenMap) -> tuple[float, float]:
    """Return the range of 2 % to 98 % of some pixels of what a service shows; reads them."""
    given = opened.configuration
    return found_range(opened.tiles, View(Style(), given.bands, given.time))


def legend(opened: OpenMap) -> dict[str, Any]:
    """Return the colour bar of a service: its ends and colours between, equally spaced."""
    return {
        "min": opened.low,
        "max": opened.high,
        "colors": bar(check_colormap(opened.configuration.colors)),
        "colormaps": list(colormap_names()),
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
