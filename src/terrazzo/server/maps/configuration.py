"""The configuration of a service: how its tiles are cut, how they are shown, and for whom.

The settings of tiles are those of titiler-openeo, so that services move both ways.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.screen.look import default_colors
from terrazzo.drivers.tile import MERCATOR, NATIVE
from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.geo.extent import spatial_extent
from terrazzo.geo.tiling import DEEPEST
from terrazzo.ledger import Visibility
from terrazzo.server.web.faults import ServiceConfigInvalid, ServiceConfigUnsupported
from terrazzo.storage.writers.colors import colormap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from terrazzo.geo.extent import SpatialExtent

SCOPES = {
    "private": Visibility.PRIVATE,
    "restricted": Visibility.USERS,
    "public": Visibility.PUBLIC,
}
"""Who may look, in titiler-openeo's words, and in those of the ledger."""
MATRICES = (MERCATOR, NATIVE)
TILE_SIZES = (128, 256, 512, 1024)
TILE = 256
MOST_BANDS = 3
LONGEST_NAME = 200
_CORNERS = 4


@dataclass(frozen=True, slots=True)
class Configuration:
    """A checked configuration; what was left out has its default."""

    low: float | None = None
    """Value shown in the first colour; None = found in the pixels."""
    high: float | None = None
    """Value shown in the last colour."""
    colors: str = ""
    """Colour map of one band; empty = the first one that suits maps."""
    bands: tuple[str, ...] = ()
    """One band, or three as colours."""
    time: str = ""
    """The date that is shown; empty = the last one."""
    tile_size: int = TILE
    """Edge of a tile, pixels."""
    minzoom: int = 0
    """First zoom level of `tilematrixset` that is answered."""
    maxzoom: int = DEEPEST
    """Last one."""
    extent: tuple[float, float, float, float] | None = None
    """(west, south, east, north) in degrees to which the service is confined."""
    tilematrixset: str = MERCATOR
    """The tile matrix set of the service's own address; all are answered."""
    scope: str = "private"
    """Who may look."""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Configuration:
        """Check what a client gives; a setting that is null is left out.

        Raises:
            ServiceConfigUnsupported: lists the settings that there are.
            ServiceConfigInvalid: says what a setting may be.
        """
        unknown = [name for name in given if name not in SETTINGS]
        if unknown:
            raise ServiceConfigUnsupported(
                f"Service parameter {unknown[0][:80]!r} is not supported."
                f"{suggest(unknown[0][:80], tuple(SETTINGS))} There are {', '.join(SETTINGS)}."
            )
        known = {name: value for name, value in given.items() if value is not None}
        checked = {_FIELDS.get(name, name): SETTINGS[name](name, known[name]) for name in known}
        made = cls(**checked)
        if made.low is not None and made.high is not None and made.low >= made.high:
            raise _invalid("min", made.low, f"it must be below max, {made.high:g}")
        if made.minzoom > made.maxzoom:
            raise _invalid("minzoom", made.minzoom, f"it is above maxzoom, {made.maxzoom}")
        return made

    def zooms(self, matrix: str) -> tuple[int, int]:
        """Return the first and last zoom level that is answered of a tile matrix set.

        Levels of one set mean nothing in another, so the others are not confined.
        """
        return (self.minzoom, self.maxzoom) if matrix == self.tilematrixset else (0, DEEPEST)

    @property
    def within(self) -> SpatialExtent | None:
        """The extent to which the service is confined."""
        if self.extent is None:
            return None
        return spatial_extent(dict(zip(("west", "south", "east", "north"), self.extent)))  # noqa: B905 - four each


def check_stretch(low: float | None, high: float | None) -> tuple[tuple[float, float], ...]:
    """Return the range of colours as pictures take it, empty where it is open.

    Raises:
        ArgumentInvalid: it is empty.
    """
    if low is None or high is None:
        return ()
    if not low < high:
        raise ArgumentInvalid(f"min must be below max, not {low:g} and {high:g}.")
    return ((float(low), float(high)),)


def check_colormap(name: str) -> str:
    """Return the name of a colour map, the default one for an empty name.

    Raises:
        ArgumentInvalid: there is none of that name.
    """
    if name:
        colormap(name)
    return name or default_colors()


def check_bands(bands: tuple[str, ...]) -> tuple[str, ...]:
    """Return bands that can be a picture.

    Raises:
        ArgumentInvalid: they are neither one nor three.
    """
    if len(bands) not in {0, 1, MOST_BANDS}:
        raise ArgumentInvalid(f"A picture shows 1 or {MOST_BANDS} bands, not {len(bands)}.")
    return bands


def _number(name: str, value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):  # type: ignore[arg-type]
        raise _invalid(name, value, "it is a finite number")
    return float(value)  # type: ignore[arg-type]


def _zoom(name: str, value: object) -> int:
    number = _number(name, value)
    if number != int(number) or not 0 <= number <= DEEPEST:
        raise _invalid(name, value, f"zoom levels are whole numbers from 0 to {DEEPEST}")
    return int(number)


def _tile_size(name: str, value: object) -> int:
    number = _number(name, value)
    if number not in TILE_SIZES:
        raise _invalid(name, value, f"tiles have {', '.join(map(str, TILE_SIZES))} pixels")
    return int(number)


def _extent(name: str, value: object) -> tuple[float, float, float, float]:
    if not isinstance(value, list | tuple) or len(value) != _CORNERS:
        raise _invalid(name, value, "it is [west, south, east, north] in degrees")
    west, south, east, north = (_number(name, edge) for edge in value)
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):  # noqa: PLR2004 - degrees
        reason = "west < east within -180..180 and south < north within -90..90 degrees"
        raise _invalid(name, value, f"it is [west, south, east, north] with {reason}")
    return west, south, east, north


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        raise _invalid(name, value, f"it is a text of at most {LONGEST_NAME} letters")
    return value


def _colors(name: str, value: object) -> str:
    text = _text(name, value)
    try:
        check_colormap(text)
    except ArgumentInvalid as error:
        raise _invalid(name, value, str(error)) from None
    return text


def _bands(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) not in {0, 1, MOST_BANDS}:
        raise _invalid(name, value, f"it is a list of one or {MOST_BANDS} names of bands")
    return tuple(_text(name, band) for band in value)


def _chosen(names: tuple[str, ...]) -> Callable[[str, object], str]:
    def check(name: str, value: object) -> str:
        if value not in names:
            raise _invalid(name, value, f"there are {', '.join(names)}")
        return str(value)

    return check


def _invalid(name: str, value: object, reason: str) -> ServiceConfigInvalid:
    return ServiceConfigInvalid(
        f"The value {repr(value)[:80]} of the service parameter {name!r} is invalid: {reason}."
    )


SETTINGS: Mapping[str, Callable[[str, object], Any]] = {
    "tile_size": _tile_size,
    "minzoom": _zoom,
    "maxzoom": _zoom,
    "extent": _extent,
    "tilematrixset": _chosen(MATRICES),
    "scope": _chosen(tuple(SCOPES)),
    "min": _number,
    "max": _number,
    "colors": _colors,
    "bands": _bands,
    "time": _text,
}
"""The settings by name, and what checks each."""
_FIELDS = {"min": "low", "max": "high"}
