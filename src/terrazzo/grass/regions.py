"""Regions: where an array lies, as GRASS is told it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyproj import CRS

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies."""

    crs: str
    """Canonical name."""
    bounds: tuple[float, float, float, float]
    """(left, bottom, right, top), units of the CRS."""
    pixel: tuple[float, float]
    """Width and height of a pixel."""


def wkt_of(crs: str) -> str:
    """Return a CRS as GRASS reads it."""
    return CRS.from_user_input(crs).to_wkt()


def region_of(place: Place, shape: tuple[int, ...]) -> dict[str, str]:
    """Return the region of GRASS that has just these pixels.

    Raises:
        ArgumentInvalid: it has no finite edges.
    """
    left, bottom, right, top = map(repr, place.bounds)
    if not all(math.isfinite(edge) for edge in place.bounds):
        raise ArgumentInvalid(f"GRASS needs a raster with finite edges, not {place.bounds}.")
    rows, cols = shape
    width, height = map(repr, place.pixel)
    return {
        "north": top, "south": bottom, "east": right, "west": left,
        "rows": str(rows), "cols": str(cols), "e-w resol": width, "n-s resol": height,
    }  # fmt: skip


def region_file(region: Mapping[str, str]) -> str:
    """Return a region as the file that GRASS keeps of it."""
    flat = {
        "proj": "0", "zone": "0", "north": "1", "south": "0", "east": "1", "west": "0",
        "cols": "1", "rows": "1", "e-w resol": "1", "n-s resol": "1",
    }  # fmt: skip
    told = {key: region.get(key, value) for key, value in flat.items()}
    told |= {
        "top": "1", "bottom": "0", "cols3": told["cols"], "rows3": told["rows"], "depths": "1",
        "e-w resol3": told["e-w resol"], "n-s resol3": told["n-s resol"], "t-b resol": "1",
    }  # fmt: skip
    return "".join(f"{key}: {value}\n" for key, value in told.items())
