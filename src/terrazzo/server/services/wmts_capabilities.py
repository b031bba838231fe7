"""The capabilities document of a service as OGC WMTS 1.0.0 (OGC 07-057r7), and its errors."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from terrazzo.drivers.tile import MERCATOR
from terrazzo.geo.crs import WGS84, crs_object, epsg, is_geographic
from terrazzo.server.maps.about import dates, shown_date, shown_zooms, title_of
from terrazzo.server.maps.configuration import MATRICES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.geo.grid import Grid
    from terrazzo.geo.tiling import TileMatrixSet
    from terrazzo.server.maps.maps import OpenMap

WMTS, OWS, XLINK = (
    "http://www.opengis.net/wmts/1.0", "http://www.opengis.net/ows/1.1",
    "http://www.w3.org/1999/xlink",
)  # fmt: skip
STYLE = "default"
PICTURES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
"""Formats of tiles that are pictures."""
TIME = "Time"
PIXEL_METRES = 0.00028
"""Edge of the standardised pixel to which scales refer."""
_METRES_PER_DEGREE = 6_378_137.0 * math.pi / 180
_SQUARE = 1e-9
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML has no way to write."""
_WELL_KNOWN = {MERCATOR: "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible"}


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the service is, as clients reach it."""

    service: str
    """Of the service itself, without a slash at the end."""
    key: str
    """Its key; empty where none is needed."""

    @property
    def keyed(self) -> str:
        """The key as the first parameter of a query, or nothing."""
        return f"key={self.key}" if self.key else ""

    @property
    def kvp(self) -> str:
        """The address to which parameters are appended."""
        return f"{self.service}/wmts?{self.keyed}{'&' if self.key else ''}"

    @property
    def document(self) -> str:
        """The address of the capabilities."""
        return (
            f"{self.service}/wmts/1.0.0/WMTSCapabilities.xml{'?' if self.key else ''}{self.keyed}"
        )

    def tiles(self, form: str, *, dated: bool) -> str:
        """Return the template of the tiles."""
        query = "&".join([*(["time={Time}"] if dated else []), *([self.keyed] if self.key else [])])
        place = "{TileMatrixSet}/{TileMatrix}/{TileCol}/{TileRow}"
        return f"{self.service}/tiles/{place}.{form}{'?' if query else ''}{query}"


def capabilities(opened: OpenMap, addresses: Addresses) -> bytes:
    """Return the capabilities of a service: one layer in every tile matrix set that WMTS knows.

    Args:
        opened: the service.
        addresses: where it is.
    """
    root = Element(
        "Capabilities",
        {"xmlns": WMTS, "xmlns:ows": OWS, "xmlns:xlink": XLINK, "version": "1.0.0"},
    )
    identification = SubElement(root, "ows:ServiceIdentification")
    _text(identification, "ows:Title", title_of(opened.service))
    if opened.service.description:
        _text(identification, "ows:Abstract", opened.service.description)
    _text(identification, "ows:ServiceType", "OGC WMTS")
    _text(identification, "ows:ServiceTypeVersion", "1.0.0")
    operations = SubElement(root, "ows:OperationsMetadata")
    for name in ("GetCapabilities", "GetTile"):
        operation = SubElement(operations, "ows:Operation", {"name": name})
        http = SubElement(SubElement(operation, "ows:DCP"), "ows:HTTP")
        get = SubElement(http, "ows:Get", {"xlink:href": addresses.kvp})
        constraint = SubElement(get, "ows:Constraint", {"name": "GetEncoding"})
        _text(SubElement(constraint, "ows:AllowedValues"), "ows:Value", "KVP")
    contents = SubElement(root, "Contents")
    sets = [name for name in MATRICES if _describable(opened.tiles.matrix(name))]
    _layer(contents, opened, sets, addresses)
    for name in sets:
        _matrix_set(contents, opened, name)
    SubElement(root, "ServiceMetadataURL", {"xlink:href": addresses.document})
    return _written(root)


def exception(code: str, message: str, locator: str = "") -> bytes:
    """Return an error as OWS writes it."""
    root = Element("ows:ExceptionReport", {"xmlns:ows": OWS, "version": "1.1.0"})
    attributes = {"exceptionCode": code} | ({"locator": locator} if locator else {})
    _text(SubElement(root, "ows:Exception", attributes), "ows:ExceptionText", message)
    return _written(root)


def _layer(contents: Element, opened: OpenMap, sets: list[str], addresses: Addresses) -> None:
    layer, tiles = SubElement(contents, "Layer"), opened.tiles
    _text(layer, "ows:Title", title_of(opened.service))
    sources = " ".join(source["title"] or source["id"] for source in opened.sources)
    if sources:
        _text(layer, "ows:Abstract", f"Data: {sources}")
    left, bottom, right, top = tiles.bounds(WGS84)
    box = SubElement(layer, "ows:WGS84BoundingBox")
    _text(box, "ows:LowerCorner", _pair(left, bottom))
    _text(box, "ows:UpperCorner", _pair(right, top))
    _text(layer, "ows:Identifier", opened.service.id)
    style = SubElement(layer, "Style", {"isDefault": "true"})
    _text(style, "ows:Identifier", STYLE)
    for media_type in PICTURES.values():
        _text(layer, "Format", media_type)
    labels = dates(opened)
    if labels:
        dimension = SubElement(layer, "Dimension")
        _text(dimension, "ows:Identifier", TIME)
        _text(dimension, "Default", shown_date(opened))
        for label in labels:
            _text(dimension, "Value", label)
    for name in sets:
        told = SubElement(layer, "TileMatrixSetLink")
        _text(told, "TileMatrixSet", name)
        limits = SubElement(told, "TileMatrixSetLimits")
        for zoom, columns, rows in _covered(opened, name):
            limit = SubElement(limits, "TileMatrixLimits")
            _text(limit, "TileMatrix", str(zoom))
            _text(limit, "MinTileRow", str(rows[0]))
            _text(limit, "MaxTileRow", str(rows[-1]))
            _text(limit, "MinTileCol", str(columns[0]))
            _text(limit, "MaxTileCol", str(columns[-1]))
    for form, media_type in PICTURES.items():
        template = addresses.tiles(form, dated=bool(labels))
        attributes = {"format": media_type, "resourceType": "tile", "template": template}
        SubElement(layer, "ResourceURL", attributes)


def _matrix_set(contents: Element, opened: OpenMap, name: str) -> None:
    levels = opened.tiles.matrix(name)
    told = SubElement(contents, "TileMatrixSet")
    _text(told, "ows:Identifier", name)
    _text(told, "ows:SupportedCRS", f"urn:ogc:def:crs:EPSG::{epsg(levels.base.crs)}")
    if name in _WELL_KNOWN and levels.tile == 256:  # noqa: PLR2004 - as that set has it
        _text(told, "WellKnownScaleSet", _WELL_KNOWN[name])
    for zoom, _, _ in _covered(opened, name):
        grid = levels.grid(zoom)
        corner = (grid.top, grid.left) if _north_first(grid) else (grid.left, grid.top)
        matrix = SubElement(told, "TileMatrix")
        _text(matrix, "ows:Identifier", str(zoom))
        _text(matrix, "ScaleDenominator", repr(_metres(grid) / PIXEL_METRES))
        _text(matrix, "TopLeftCorner", _pair(*corner))
        _text(matrix, "TileWidth", str(levels.tile))
        _text(matrix, "TileHeight", str(levels.tile))
        _text(matrix, "MatrixWidth", str(-(-grid.width // levels.tile)))
        _text(matrix, "MatrixHeight", str(-(-grid.height // levels.tile)))


def _covered(opened: OpenMap, name: str) -> Iterator[tuple[int, range, range]]:
    """Yield the zoom levels that are worth asking for, with the columns and rows that hold data."""
    levels, tiles = opened.tiles.matrix(name), opened.tiles
    first, _ = opened.configuration.zooms(name)
    _, last = shown_zooms(opened, name)
    for zoom in range(first, last + 1):
        level = levels.grid(zoom)
        inside = level.window_of(tiles.bounds(level.crs)).intersection(level.window)
        if inside.is_empty:
            continue
        columns = range(inside.col // levels.tile, -(-inside.col_stop // levels.tile))
        rows = range(inside.row // levels.tile, -(-inside.row_stop // levels.tile))
        yield zoom, columns, rows


def _describable(levels: TileMatrixSet) -> bool:
    """Tell whether WMTS has words for a tile matrix set: a CRS with a code, square pixels."""
    grid = levels.base
    square = abs(grid.pixel_x - grid.pixel_y) <= _SQUARE * grid.pixel_x
    return bool(epsg(grid.crs)) and square


def _metres(grid: Grid) -> float:
    """Return the edge of a pixel in metres as WMTS counts them."""
    if is_geographic(grid.crs):
        return grid.pixel_x * _METRES_PER_DEGREE
    return grid.pixel_x * float(crs_object(grid.crs).axis_info[0].unit_conversion_factor)


def _north_first(grid: Grid) -> bool:
    """Tell whether the first axis of a CRS runs north, as its authority says."""
    return str(crs_object(grid.crs).axis_info[0].direction) in {"north", "south"}


def _pair(first: float, second: float) -> str:
    return f"{first!r} {second!r}"


def _text(parent: Element, tag: str, text: str) -> None:
    SubElement(parent, tag).text = _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _written(root: Element) -> bytes:
    written: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return written
