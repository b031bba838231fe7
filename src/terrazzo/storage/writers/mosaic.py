"""Mosaics of tiles without a copy of their pixels: VRTs, and GDAL's tile indexes (GTI).

A VRT is read by every GDAL, and names each tile. A GTI is a GeoPackage of outlines, in which
GDAL 3.9 or newer finds the tiles that are needed, however many there are. Both name files from
where they lie themselves, so that the folder of a result can be moved.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
import shapely

from terrazzo.geo.crs import crs_object
from terrazzo.geo.grid import Grid
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


_TYPES: Final = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32",
    "int32": "Int32", "uint64": "UInt64", "int64": "Int64", "float32": "Float32",
    "float64": "Float64",
}  # fmt: skip
"""GDAL's names of types."""
LOCATION: Final = "location"
"""Field of an index with the path of a tile's file, from the index."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file that is part of a mosaic."""

    path: Path
    """Where it is."""
    grid: Grid
    """Its pixels, on one lattice with all others of the mosaic."""
    tile: str
    """Name of its tile."""
    time: str = ""
    """Its date, RFC 3339; empty if it has none."""


@dataclass(frozen=True, slots=True)
class Look:
    """What all files of a mosaic have in common."""

    types: tuple[str, ...]
    """GDAL's names of the bands' types."""
    names: tuple[str, ...]
    """Of the bands."""
    nodata: float | None
    """The value that marks no-data, if there is one."""
    tags: Mapping[str, str]
    """Of the file: provenance, date."""

    @classmethod
    def of(cls, path: Path) -> Look:
        """Return that of a file."""
        with rasterio.open(path) as file:
            types = tuple(_TYPES[kind] for kind in file.dtypes)
            names = tuple(name or str(n) for n, name in enumerate(file.descriptions, 1))
            return cls(types, names, file.nodata, file.tags())

    @property
    def mark(self) -> str:
        """The value that marks no-data as text; empty if there is none."""
        return "" if self.nodata is None else _number(self.nodata)


def _number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.17g}"


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels that all tiles of a mosaic lie on."""

    grid: Grid
    """From the first to the last."""

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> Frame:
        """Return what holds some tiles, which lie on one lattice."""
        first = pieces[0].grid
        boxes = [piece.grid.bounds for piece in pieces]
        left, top = min(box[0] for box in boxes), max(box[3] for box in boxes)
        width = round((max(box[2] for box in boxes) - left) / first.pixel_x)
        height = round((top - min(box[1] for box in boxes)) / first.pixel_y)
        return cls(Grid(first.crs, left, top, first.pixel_x, first.pixel_y, height, width))

    @property
    def transform(self) -> str:
        """As GDAL writes it."""
        grid = self.grid
        told = (grid.left, grid.pixel_x, 0.0, grid.top, 0.0, -grid.pixel_y)
        return ", ".join(f"{value:.17g}" for value in told)

    def at(self, grid: Grid) -> tuple[int, int]:
        """Return the row and the column at which a tile begins."""
        whole = self.grid
        rows, cols = (
            (whole.top - grid.top) / whole.pixel_y,
            (grid.left - whole.left) / whole.pixel_x,
        )
        return round(rows), round(cols)


def write_vrt(path: Path, pieces: Sequence[Piece], look: Look) -> Path:
    """Write a VRT of tiles that lie on one lattice; where tiles overlap, the last one is shown.

    Args:
        path: where to; replaced if another one is there, so that its time tells of a change.
        pieces: at least one.
        look: of all of them.

    Raises:
        OutputFailed: it cannot be written.
    """
    frame = Frame.of(pieces)
    size = {"rasterXSize": str(frame.grid.width), "rasterYSize": str(frame.grid.height)}
    root = ET.Element("VRTDataset", size)
    _text(root, "SRS", crs_object(frame.grid.crs).to_wkt())
    _text(root, "GeoTransform", frame.transform)
    metadata = ET.SubElement(root, "Metadata")
    for key, value in look.tags.items():
        ET.SubElement(metadata, "MDI", {"key": key}).text = value
    for number, (kind, name) in enumerate(zip(look.types, look.names, strict=True), 1):
        band = ET.SubElement(root, "VRTRasterBand", {"dataType": kind, "band": str(number)})
        _text(band, "Description", name)
        if look.mark:
            _text(band, "NoDataValue", look.mark)
        for piece in pieces:
            _source(band, piece, frame, path, str(number), look.mark)
    content = ET.tostring(root, encoding="utf-8")
    if not _says(path, content):
        with whole_file(path) as part:
            part.write_bytes(content)
    return path


def _says(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _source(
    band: ET.Element, piece: Piece, frame: Frame, path: Path, number: str, mark: str
) -> None:
    """Add a tile to a band; what is no-data in it hides nothing."""
    source = ET.SubElement(band, "ComplexSource" if mark else "SimpleSource")
    name = ET.SubElement(source, "SourceFilename", {"relativeToVRT": "1"})
    name.text = _relative(piece.path, path)
    _text(source, "SourceBand", number)
    size = {"xSize": str(piece.grid.width), "ySize": str(piece.grid.height)}
    row, col = frame.at(piece.grid)
    ET.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    ET.SubElement(source, "DstRect", {"xOff": str(col), "yOff": str(row), **size})
    if mark:
        _text(source, "NODATA", mark)


def write_gti(path: Path, pieces: Sequence[Piece], look: Look) -> Path:
    """Write a tile index: the outlines of tiles on one lattice, with what GDAL makes of them.

    Where tiles overlap, the last one by name is shown, as in `write_vrt` of tiles in that order.

    Args:
        path: where to, `*.gti.gpkg`; replaced if there.
        pieces: at least one.
        look: of all of them.

    Raises:
        OutputFailed: it cannot be written.
    """
    import pyogrio.raw  # noqa: PLC0415 - loads GDAL's vectors

    frame = Frame.of(pieces)
    fields = {
        LOCATION: [_relative(piece.path, path) for piece in pieces],
        "tile": [piece.tile for piece in pieces],
        "datetime": [piece.time or None for piece in pieces],
    }
    metadata = {
        "LOCATION_FIELD": LOCATION,
        "SORT_FIELD": "tile",
        "GEOTRANSFORM": frame.transform,
        "XSIZE": str(frame.grid.width),
        "YSIZE": str(frame.grid.height),
        "BAND_COUNT": str(len(look.types)),
        "DATA_TYPE": look.types[0],
        **({"NODATA": look.mark} if look.mark else {}),
    }
    # GDAL 3.10 reads nothing at all where a tile is found that only has an edge in common.
    inset = np.array([1, 1, -1, -1]) * min(frame.grid.pixel_x, frame.grid.pixel_y) / 4
    bounds = np.array([piece.grid.bounds for piece in pieces]) + inset
    with whole_file(path, suffix=".gti.gpkg") as part:
        pyogrio.raw.write(
            part,
            shapely.to_wkb(shapely.box(*bounds.T)),
            [np.array(values, object) for values in fields.values()],
            list(fields),
            layer="tiles",
            driver="GPKG",
            geometry_type="Polygon",
            crs=crs_object(frame.grid.crs).to_wkt(),
            layer_metadata=metadata,
        )
    return path


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _relative(path: Path, start: Path) -> str:
    return os.path.relpath(path, start.parent)
