"""What a file is, told by its first bytes: its name and what its sender says of it are claims."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from terrazzo.errors import TerrazzoError

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_BYTES: Final = 512
"""Bytes of a file that tell what it is."""

_STARTS: Final = (
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("JPEG 2000", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    ("HDF5", (b"\x89HDF\r\n\x1a\n",)),
    ("classic NetCDF", (b"CDF\x01", b"CDF\x02", b"CDF\x05")),
    ("GRIB", (b"GRIB",)),
    ("Parquet", (b"PAR1",)),
    ("shapefile", (b"\0\0\x27\x0a",)),
    ("ZIP archive", (b"PK\x03\x04", b"PK\x05\x06")),
)
_SQLITE: Final = b"SQLite format 3\0"
_JSON: Final = re.compile(rb"(\xef\xbb\xbf)?[ \t\r\n]*[{\[]")
_ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys((".tif", ".tiff", ".gtiff"), ("TIFF",)),
    **dict.fromkeys((".jp2", ".j2k"), ("JPEG 2000", "TIFF")),  # some archives have them so
    **dict.fromkeys((".nc", ".nc4", ".cdf"), ("HDF5", "classic NetCDF")),
    **dict.fromkeys((".h5", ".hdf5"), ("HDF5",)),
    **dict.fromkeys((".grib", ".grib2", ".grb", ".grb2"), ("GRIB",)),
    **dict.fromkeys((".parquet", ".geoparquet"), ("Parquet",)),
    **dict.fromkeys((".geojson", ".json"), ("JSON",)),
    ".gpkg": ("GeoPackage",),
    ".shp": ("shapefile",),
    ".zip": ("ZIP archive",),
}
_SUFFIXES: Final[Mapping[str, str]] = {
    "TIFF": ".tif",
    "JPEG 2000": ".jp2",
    "HDF5": ".nc",
    "classic NetCDF": ".nc",
    "GRIB": ".grib2",
    "Parquet": ".parquet",
    "shapefile": ".shp",
    "ZIP archive": ".zip",
    "JSON": ".geojson",
    "GeoPackage": ".gpkg",
}


class FileContentInvalid(TerrazzoError):
    """What is in a file is not what its name says."""

    code, status = "FileContentInvalid", 400


def kind_of(head: bytes) -> str:
    """Return what a file is by its first `HEAD_BYTES` bytes; empty if it is nothing known."""
    for kind, starts in _STARTS:
        if head.startswith(starts):
            return kind
    if head.startswith(_SQLITE):
        return "GeoPackage" if head[68:72] in {b"GPKG", b"GP10", b"GP11"} else ""
    return "JSON" if _JSON.match(head) else ""


def suffix_of(kind: str) -> str:
    """Return the ending by which readers know files of a kind."""
    return _SUFFIXES[kind]


def check_name(name: str, head: bytes) -> None:
    """Refuse a file whose name says that it is something else than its first bytes do.

    Names that say nothing of what is read here may hold anything.

    Raises:
        FileContentInvalid: says what it is.
    """
    suffix = PurePosixPath(name).suffix.lower()
    wanted = _ENDINGS.get(suffix)
    kind = kind_of(head)
    if wanted is not None and kind not in wanted:
        raise FileContentInvalid(
            f"A file that ends in {suffix!r} begins like a {' or '.join(wanted)} file, and this "
            f"one {f'is a {kind} file' if kind else 'does not'}. Name it after what it is."
        )
