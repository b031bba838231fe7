"""Cells of the Earth that have names: geohashes, and tiles of web maps."""

from __future__ import annotations

from math import asinh, floor, pi, radians, tan
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Place: TypeAlias = tuple[float, float]
"""Longitude -180..180 and latitude -90..90, degrees."""

_LETTERS: Final = "0123456789bcdefghjkmnpqrstuvwxyz"
_EDGE: Final = 85.0511287798066
"""The latitude at which tiles of web maps end."""


def geohash(place: Place, precision: int) -> str:
    """Return the geohash of a place: bits of longitude and latitude by turns, five per letter.

    Args:
        place: longitude and latitude.
        precision: letters, 1..12.

    Source:
        G. Niemeyer 2008, geohash.org.
    """
    letters, bits = [], _bits(place)
    for _ in range(precision):
        number = 0
        for _ in range(5):
            number = 2 * number + next(bits)
        letters.append(_LETTERS[number])
    return "".join(letters)


def _bits(place: Place) -> Iterator[int]:
    """Halve longitudes and latitudes by turns; 1 is the eastern or northern half."""
    values, limits = list(place), [[-180.0, 180.0], [-90.0, 90.0]]
    axis = 0
    while True:
        low, high = limits[axis]
        middle = (low + high) / 2
        upper = values[axis] >= middle
        limits[axis] = [middle, high] if upper else [low, middle]
        yield int(upper)
        axis = 1 - axis


def geotile(place: Place, zoom: int) -> str:
    """Return the tile of a web map at a place as `zoom/x/y`.

    Args:
        place: longitude and latitude; beyond the edge of the map it is the outermost tile.
        zoom: 0..29.

    Source:
        OGC 17-083r4, WebMercatorQuad.
    """
    count = 2**zoom
    longitude, latitude = place[0], min(max(place[1], -_EDGE), _EDGE)
    x = floor((longitude + 180.0) / 360.0 * count)
    y = floor((1 - asinh(tan(radians(latitude))) / pi) / 2 * count)
    return f"{zoom}/{min(max(x, 0), count - 1)}/{min(max(y, 0), count - 1)}"
