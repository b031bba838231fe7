"""HDF-EOS5: where its grids lie is a text in the file, `StructMetadata.0`.

Source:
    HDF-EOS Interface Based on HDF5, volume 2 (NASA 175-EMD-002), grids; General Cartographic
    Transformation Package (USGS) for the projections' numbers and packed degrees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, crs_name

_GRID: Final = re.compile(
    r"^\s*GROUP=GRID_\d+\s*$(.*?)^\s*END_GROUP=GRID_\d+\s*$", re.MULTILINE | re.DOTALL
)
_ENTRY: Final = re.compile(r"^\s*(\w+)=(.+?)\s*$", re.MULTILINE)
_PACKED: Final = 1000.0
"""Degrees are packed as DDDMMMSSS.SS; below this they are plain."""
_PAIR: Final = 2


@dataclass(frozen=True, slots=True)
class EosGrid:
    """The place of a grid."""

    name: str
    """Its name, which is that of its group below `HDFEOS/GRIDS`."""
    crs: str
    """Canonical name of its CRS."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    transform: tuple[float, ...]
    """GDAL's geotransform."""


def eos_grids(text: str) -> dict[str, EosGrid]:
    """Return the grids that a `StructMetadata` describes and that have a projection known here.

    Known are geographic grids and the sinusoidal ones of MODIS and VIIRS.
    """
    found = {}
    for group in _GRID.finditer(text):
        entries = {m[1]: m[2].strip('"') for m in _ENTRY.finditer(group[1].split("GROUP=")[0])}
        try:
            grid = _grid(entries)
        except (KeyError, ValueError, ArgumentInvalid):
            continue
        if grid is not None:
            found[grid.name] = grid
    return found


def _grid(entries: dict[str, str]) -> EosGrid | None:
    projection = entries["Projection"].removeprefix("HE5_").removeprefix("GCTP_")
    height, width = int(entries["YDim"]), int(entries["XDim"])
    corners = [_numbers(entries[key]) for key in ("UpperLeftPointMtrs", "LowerRightMtrs")]
    if any(len(corner) != _PAIR for corner in corners) or height <= 0 or width <= 0:
        return None
    if projection == "GEO":
        corners = [[_degrees(number) for number in corner] for corner in corners]
        crs = WGS84
    elif projection == "SNSOID":
        radius = _numbers(entries["ProjParams"])[0] or 6371007.181
        crs = crs_name(f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={radius!r} +units=m +no_defs")
    else:
        return None
    (left, top), (right, bottom) = corners
    transform = (left, (right - left) / width, 0.0, top, 0.0, (bottom - top) / height)
    return EosGrid(entries["GridName"], crs, height, width, transform)


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.strip("()").split(",")]


def _degrees(packed: float) -> float:
    """Return degrees that are written as DDDMMMSSS.SS, or plainly."""
    if abs(packed) < _PACKED:
        return packed
    size = abs(packed)
    degrees, rest = divmod(size, 1_000_000)
    minutes, seconds = divmod(rest, 1000)
    return (degrees + minutes / 60 + seconds / 3600) * (1 if packed > 0 else -1)
