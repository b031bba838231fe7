"""What can be taken in: by the ending of a name, what reads it.

A reader of a format is a function that is given a file and returns images or items to be. Files
that belong to a product (`products`) are read together, by what its metadata say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from terrazzo.drivers.ingestion import arrays, raster, vectors, vrt
from terrazzo.drivers.ingestion.items import FoundFile, Given
from terrazzo.drivers.ingestion.products import split_products
from terrazzo.drivers.ingestion.raster import Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Reader = Callable[[FoundFile, Given], Sequence[Part]]

FORMATS: Final[Mapping[str, Reader]] = {
    **dict.fromkeys((".tif", ".tiff", ".gtiff", ".jp2", ".j2k"), raster.read),
    ".vrt": vrt.read,
    **dict.fromkeys((".nc", ".nc4", ".cdf", ".h5", ".hdf5", ".he5", ".hdf"), arrays.read),
    **dict.fromkeys((".grib", ".grib2", ".grb", ".grb2", ".zarr", ".zarr.zip"), arrays.read),
    **dict.fromkeys((".gpkg", ".shp", ".geojson", ".parquet", ".geoparquet"), vectors.read),
}
"""What reads a file, by the ending of its name."""
NAMED: Final[Mapping[str, Reader]] = {".json": vectors.read}
"""What reads a file that the user names itself; in folders there are many others of this ending."""
FOLDERS: Final = frozenset({".zarr"})
"""Endings of folders that are one thing and are read by `FORMATS` as a whole."""
_STORE: Final = ("zarr.json", ".zgroup")


def ending(path: Path) -> str:
    """Return the ending by which `FORMATS` know a file; any folder of a Zarr store is `.zarr`."""
    if path.name.lower().endswith(".zarr.zip"):
        return ".zarr.zip"
    known = path.suffix.lower()
    if known not in FORMATS and any((path / name).is_file() for name in _STORE):
        return ".zarr"
    return known


@dataclass(frozen=True, slots=True)
class Unit:
    """What is looked at together: a file, or a product."""

    name: str
    """What it is called in messages."""
    read: Callable[[], Sequence[Part]]
    """Look at it; may raise SourceUnreadable, ArgumentInvalid and AssetForbidden."""


def units_of(found: Sequence[FoundFile], given: Given) -> list[Unit]:
    """Return what the files are looked at by: products first, then what stands for itself."""
    products, single = split_products(found)
    units = [Unit(one.name, partial(one.read, given)) for one in products]
    for file in single:
        reader = {**FORMATS, **NAMED}[ending(file.path)]
        units.append(Unit(file.name, partial(reader, file, given)))
    return units
