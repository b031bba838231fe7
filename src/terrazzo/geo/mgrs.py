"""Squares of 100 km of the Military Grid Reference System, and the tiles of Sentinel-2 on them.

A tile begins at the upper left corner of its square, moved out to a multiple of 60 m, which is
counted from the equator on both its sides, and is 109.8 km wide, so that it overlaps its
neighbours on the right and below. A square that lies in two bands of latitude has the letter of
the band of its centre, as Sentinel-2 has it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from terrazzo.geo.crs import WGS84, transformer

if TYPE_CHECKING:
    from terrazzo.geo.grid import Bounds

SQUARE_M: Final = 100_000
"""Edge of a square."""
BOX_M: Final = 109_800
"""Edge of a tile."""
_SNAP_M: Final = 60
_SOUTHERN: Final = "EPSG:327"
_FALSE_NORTHING_M: Final = 10_000_000
"""Of the equator in zones of the south; no multiple of 60 m."""
_COLUMNS: Final = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")
_ROWS: Final = "ABCDEFGHJKLMNPQRSTUV"
_BANDS: Final = "CDEFGHJKLMNPQRSTUVWX"
_SOUTH, _NORTH, _BAND = -80.0, 84.0, 8.0
_EVEN_ROWS: Final = 5
"""By so many letters the rows of even zones are shifted."""
_ODD: Final[dict[tuple[float, float], dict[int, tuple[float, float] | None]]] = {
    (56.0, 64.0): {31: (0.0, 3.0), 32: (3.0, 12.0)},
    (72.0, 84.0): {31: (0.0, 9.0), 32: None, 33: (9.0, 21.0), 34: None, 35: (21.0, 33.0),
                   36: None, 37: (33.0, 42.0)},
}  # fmt: skip
"""Around Norway and Svalbard zones are wider or missing: longitudes by latitudes and zone."""


def zone_crs(number: int, *, north: bool) -> str:
    """Return the CRS of a zone of UTM, 1 to 60, on WGS 84."""
    return f"EPSG:{(32600 if north else 32700) + number}"


def zone_areas(number: int, *, north: bool) -> tuple[Bounds, ...]:
    """Return where a zone is used, (west, south, east, north) in degrees; none overlap."""
    west = -180.0 + 6.0 * (number - 1)
    plain = (west, west + 6.0)
    if not north:
        return ((plain[0], _SOUTH, plain[1], 0.0),)
    areas = []
    for low, high in ((0.0, 56.0), (56.0, 64.0), (64.0, 72.0), (72.0, _NORTH)):
        span = _ODD.get((low, high), {}).get(number, plain)
        if span is not None:
            areas.append((span[0], low, span[1], high))
    return tuple(areas)


def square_name(crs: str, left: int, bottom: int) -> str:
    """Return what the square with a lower left corner is called, such as `35TLL`.

    Args:
        crs: that of its zone.
        left: its easting, a multiple of 100 km.
        bottom: its northing, a multiple of 100 km.
    """
    number = int(crs.removeprefix("EPSG:")) % 100
    half = SQUARE_M // 2
    _, latitude = transformer(crs, WGS84).transform(left + half, bottom + half)
    band = _BANDS[min(max(math.floor((latitude - _SOUTH) / _BAND), 0), len(_BANDS) - 1)]
    column = _COLUMNS[(number - 1) % len(_COLUMNS)][left // SQUARE_M - 1]
    shift = 0 if number % 2 else _EVEN_ROWS
    return f"{number:02}{band}{column}{_ROWS[(bottom // SQUARE_M + shift) % len(_ROWS)]}"


def box_corner(crs: str, left: int, top: int) -> tuple[float, float]:
    """Return (left, top) of the tile on a square, metres.

    Args:
        crs: that of its zone.
        left: easting of the square's upper left corner.
        top: its northing.
    """
    equator = _FALSE_NORTHING_M if crs.startswith(_SOUTHERN) else 0
    return float(left // _SNAP_M * _SNAP_M), float(equator - (equator - top) // _SNAP_M * _SNAP_M)
