"""Where vector tiles lie: squares of a plane, by zoom, column and row.

Web Mercator has the tiles of web maps. Every other plane that EPSG has a code for is cut alike: its
zoom 0 is one tile about the origin of its coordinates, large enough for any of them, so that who
knows the code knows the tiles.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from terrazzo.errors import ArgumentInvalid, SpatialExtentEmpty
from terrazzo.geo.crs import (
    WEB_MERCATOR,
    WGS84,
    crs_name,
    is_geographic,
    is_projected,
    transformer,
)
from terrazzo.geo.grid import transform_bounds
from terrazzo.geo.tiling import MERCATOR_HALF
from terrazzo.storage.vectors.mvt import BUFFER, EXTENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.geo.grid import Bounds

    Numbers = NDArray[np.float64]

DEEPEST: Final = 22
"""The last zoom level."""
HALF: Final = 2.0**26
"""Half the edge of zoom 0 of a projected CRS, units of it: zones may begin at 32 500 000 m."""
TURN: Final = 360.0
_MOST_LATITUDE: Final = 85.0511287798066
_PART: Final = 8
"""What is larger than this part of the world is looked at itself: its box tells too little."""
_EARTH: Final = 40_075_017.0
"""Around the equator, metres."""
_WORLD: Final = (-180.0, -90.0, 180.0, 90.0)


@dataclass(frozen=True, slots=True)
class Plane:
    """What tiles are cut from."""

    name: str
    """As in addresses: `WebMercatorQuad`, or `EPSG-` and a code, as names have no colon there."""
    crs: str
    """Its coordinates, x first."""
    half: float
    """Half the edge of the square that is zoom 0, units of `crs`, about the origin."""

    @property
    def turns(self) -> bool:
        """Whether the world goes on beyond its eastern edge with its western one."""
        return self.name == MERCATOR.name or is_geographic(self.crs)


MERCATOR: Final = Plane("WebMercatorQuad", WEB_MERCATOR, MERCATOR_HALF)


def plane_of(name: str) -> Plane:
    """Return the plane that an address names.

    Raises:
        ArgumentInvalid: there is none of that name; says which there are.
    """
    if name == MERCATOR.name:
        return MERCATOR
    code = re.fullmatch("EPSG-([1-9][0-9]{0,5})", name)
    try:
        crs = crs_name(f"EPSG:{code[1]}") if code else ""
    except ArgumentInvalid:
        crs = ""
    # A code that is another one's second name would give each tile two addresses.
    if _named(crs) != name or not (is_geographic(crs) or is_projected(crs)):
        raise ArgumentInvalid(
            f"There are no tiles in {name[:80]!r}. There are in {MERCATOR.name}, and in EPSG-CODE "
            "of any projection of maps, such as EPSG-3035."
        )
    return plane_in(crs)


def plane_in(crs: str) -> Plane:
    """Return the plane of a CRS that has a code and is one of maps."""
    return Plane(_named(crs), crs, TURN / 2 if is_geographic(crs) else HALF)


def _named(crs: str) -> str:
    return crs.replace(":", "-")


@dataclass(frozen=True, slots=True)
class Square:
    """A tile."""

    zoom: int
    column: int
    row: int
    plane: Plane = MERCATOR

    @property
    def edge(self) -> float:
        """Its edge, units of the plane."""
        return float(2.0 * self.plane.half / 2.0**self.zoom)

    def units(self, points: Numbers, crs: str) -> Numbers:
        """Return (n, 2) points of a CRS in units of the tile, y down; not finite for none."""
        tiles = 2.0**self.zoom
        if self.plane == MERCATOR:
            degrees = points if crs == WGS84 else _moved(points, crs, WGS84)
            # Poles lie at the edge of web maps, so that what reaches there is drawn.
            latitude = np.radians(np.clip(degrees[:, 1], -_MOST_LATITUDE, _MOST_LATITUDE))
            x = (degrees[:, 0] + TURN / 2) / TURN * tiles - self.column
            y = (1 - np.arcsinh(np.tan(latitude)) / math.pi) / 2 * tiles - self.row
        else:
            here = points if crs == self.plane.crs else _moved(points, crs, self.plane.crs)
            x = (here[:, 0] + self.plane.half) / self.edge - self.column
            y = (self.plane.half - here[:, 1]) / self.edge - self.row
        return np.stack([x, y], axis=1) * EXTENT

    @property
    def turn(self) -> float:
        """Units of a way around the world; 0 in a plane that ends."""
        return float(2.0**self.zoom * EXTENT) if self.plane.turns else 0.0

    def beside(self, x: Numbers, other: Numbers) -> Numbers:
        """Return columns of units in that turn of the world in which they are near others."""
        if not self.plane.turns:
            return x
        with np.errstate(invalid="ignore"):  # of what has no place
            near: Numbers = x - self.turn * np.round((x - other) / self.turn)
        return near

    def along(self, crs: str) -> bool:
        """Tell whether boxes of a CRS are boxes here, and its longitudes may run beyond 180."""
        mine = crs == self.plane.crs or (self.plane == MERCATOR and crs == WGS84)
        return mine and is_geographic(crs)

    @property
    def far(self) -> float:
        """Units across of what is as large as a continent."""
        return (self.turn or _EARTH / self.edge * EXTENT) / _PART

    @property
    def metres(self) -> float:
        """Metres of a unit, at most."""
        return (_EARTH / 2.0**self.zoom if self.plane.turns else self.edge) / EXTENT

    @property
    def bounds(self) -> Bounds | None:
        """West, south, east, north of the tile and what is around it, degrees; None for nowhere."""
        more = BUFFER / EXTENT
        if self.plane == MERCATOR:
            return self._of_the_web(more)
        left = (self.column - more) * self.edge - self.plane.half
        top = self.plane.half - (self.row - more) * self.edge
        around = self.edge * (1 + 2 * more)
        if not self.plane.turns and around > _EARTH / _PART:
            return _WORLD  # a few points in it would not tell where it is
        try:
            west, south, east, north = transform_bounds(
                (left, top - around, left + around, top), self.plane.crs, WGS84
            )
        except SpatialExtentEmpty:
            return None
        south, north = max(south, -90.0), min(north, 90.0)
        return (west, south, east, north) if south < north else None

    def _of_the_web(self, more: float) -> Bounds:
        tiles = 2.0**self.zoom
        west, east = ((self.column + part) / tiles * TURN - TURN / 2 for part in (-more, 1 + more))
        south, north = (
            math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * (self.row + part) / tiles))))
            for part in (1 + more, -more)
        )
        south = -90.0 if self.row == tiles - 1 else south
        return west, south, east, 90.0 if self.row == 0 else north

    @property
    def bbox(self) -> Bounds | None:
        """The same, as a catalogue takes it."""
        if self.bounds is None:
            return None
        west, south, east, north = self.bounds
        if east - west >= TURN:
            return -TURN / 2, south, TURN / 2, north
        half = TURN / 2
        return (west + half) % TURN - half, south, (east + half) % TURN - half, north


def _moved(points: Numbers, source: str, target: str) -> Numbers:
    return np.stack(transformer(source, target).transform(points[:, 0], points[:, 1]), axis=1)
