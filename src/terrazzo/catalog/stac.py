"""STAC 1.1 documents as plain dictionaries: items, assets, collections and their projection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime as instant_type
from typing import TYPE_CHECKING, Any, Final

import shapely

from terrazzo.catalog.bands import BandInfo, band_document
from terrazzo.catalog.documents import collection_text, item_row
from terrazzo.catalog.space import box_geometry, check_bbox, split
from terrazzo.catalog.stored import STAC_VERSION
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import crs_name
from terrazzo.geo.times import format_time, parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence

COG: Final = "image/tiff; application=geotiff; profile=cloud-optimized"
"""Media type of a cloud-optimised GeoTIFF."""

_EXTENSIONS: Final = {
    "proj:": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster:": "https://stac-extensions.github.io/raster/v2.0.0/schema.json",
    "eo:": "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "cube:": "https://stac-extensions.github.io/datacube/v2.3.0/schema.json",
    "view:": "https://stac-extensions.github.io/view/v1.0.0/schema.json",
    "sat:": "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
    "sar:": "https://stac-extensions.github.io/sar/v1.2.0/schema.json",
    "grid:": "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
    "processing:": "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "table:": "https://stac-extensions.github.io/table/v1.2.0/schema.json",
    "vector:": "https://stac-extensions.github.io/vector/v0.1.0/schema.json",
    "classification:": "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "landsat:": "https://landsat.usgs.gov/stac/landsat-extension/v1.1.1/schema.json",
}
_LEAVES: Final = frozenset({str, int, float, bool, type(None)})
"""What has no fields; asking whether it is a mapping takes longer."""
_CODE: Final = re.compile(r"[A-Za-z]+:[A-Za-z0-9]+")


@dataclass(frozen=True, slots=True)
class Projection:
    """The pixel grid of an asset as its item states it."""

    crs: str
    """`EPSG:n`, or WKT2 where there is no code."""
    transform: tuple[float, ...]
    """Affine from column, row to x, y: (a, b, c, d, e, f); empty if not stated."""
    shape: tuple[int, ...]
    """Height, width in pixels; empty if not stated."""


def make_asset(
    href: str,
    *,
    bands: Sequence[BandInfo] = (),
    crs: str | int = "",
    shape: Sequence[int] = (),
    transform: Sequence[float] = (),
    media_type: str = COG,
    roles: Sequence[str] = ("data",),
    title: str = "",
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make an asset.

    Args:
        href: where the file is.
        bands: its bands in the order of the file.
        crs: anything that `geo.crs.crs_name` takes; written as `proj:code`, or as `proj:wkt2`
            where there is no code.
        shape: height, width in pixels.
        transform: affine (a, b, c, d, e, f) from column, row to x, y.
        media_type: its `type`.
        roles: its STAC roles.
        title: for people; empty is none.
        extra: more fields.

    Raises:
        ArgumentInvalid: the CRS is unknown, or shape or transform have a wrong length.
    """
    asset: dict[str, Any] = {"href": href, "type": media_type, "roles": list(roles)}
    if title:
        asset["title"] = title
    if bands:
        asset["bands"] = [band_document(band) for band in bands]
    if crs:
        name = crs_name(crs)
        asset["proj:code" if _CODE.fullmatch(name) else "proj:wkt2"] = name
    if len(shape) not in (0, 2) or len(transform) not in (0, 6, 9):
        raise ArgumentInvalid(
            f"Asset {href!r}: shape {tuple(shape)} must be (height, width) and transform "
            f"{tuple(transform)} (a, b, c, d, e, f)."
        )
    if shape:
        asset["proj:shape"] = [int(size) for size in shape]
    if transform:
        asset["proj:transform"] = [float(number) for number in transform[:6]]
    return asset | dict(extra or {})


def make_item(
    id: str,  # noqa: A002 - STAC's name
    collection: str,
    *,
    bbox: Sequence[float],
    geometry: Mapping[str, Any] | None = None,
    datetime: str | instant_type | None = None,
    start: str | instant_type | None = None,
    end: str | instant_type | None = None,
    properties: Mapping[str, Any] | None = None,
    assets: Mapping[str, Mapping[str, Any]] | None = None,
    links: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Make a STAC 1.1 item.

    Args:
        id: unique in its collection.
        collection: id of the collection.
        bbox: west, south, east, north in EPSG:4326; west > east crosses the antimeridian.
        geometry: GeoJSON in EPSG:4326; None makes the polygon of the bbox.
        datetime: its instant, as RFC 3339 or aware datetime.
        start: start of its period; with `end` instead of, or besides, `datetime`.
        end: end of its period, excluded.
        properties: more properties.
        assets: by key, see `make_asset`.
        links: STAC links.

    Raises:
        ArgumentInvalid: a field is missing or wrong; the message names it.
    """
    box = check_bbox(bbox, f"Item {id!r}")
    if geometry is None:
        geometry = _geojson(box)
    times: dict[str, Any] = {"datetime": _time(datetime)}
    if start is not None or end is not None:
        times |= {"start_datetime": _time(start), "end_datetime": _time(end)}
    item = {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": id,
        "collection": collection,
        "bbox": list(bbox),
        "geometry": dict(geometry),
        "properties": {**(properties or {}), **times},
        "links": [{"rel": "collection", "href": f"../{collection}"}, *map(dict, links)],
        "assets": {key: dict(asset) for key, asset in (assets or {}).items()},
    }
    item["stac_extensions"] = extensions(item)
    item_row(item)
    return item


def _geojson(box: tuple[float, float, float, float]) -> dict[str, Any]:
    """Return a bbox as GeoJSON, cut at the antimeridian."""
    parts = [box_geometry(part) for part in split(box)]
    found = parts[0] if len(parts) == 1 else shapely.union_all(parts)
    document: dict[str, Any] = _listed(shapely.geometry.mapping(found))
    return document


def _listed(value: Any) -> Any:
    """Turn tuples into lists, as JSON reads them back."""
    if isinstance(value, Mapping):
        return {key: _listed(one) for key, one in value.items()}
    return [_listed(one) for one in value] if isinstance(value, (list, tuple)) else value


def _time(value: str | instant_type | None) -> str | None:
    """Write a time in the one form that Terrazzo writes."""
    if value is None:
        return None
    return format_time(value if isinstance(value, instant_type) else parse_time(value))


def extensions(document: Mapping[str, Any]) -> list[str]:
    """Return the schema addresses of the extensions whose fields a document uses."""
    names: set[str] = set()
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if type(value) in _LEAVES:
            continue
        if isinstance(value, Mapping):
            names.update(map(str, value))
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    prefixes = {f"{prefix}{colon}" for prefix, colon, _ in (name.partition(":") for name in names)}
    return [url for prefix, url in _EXTENSIONS.items() if prefix in prefixes]


def make_collection(
    id: str,  # noqa: A002
    *,
    title: str = "",
    description: str = "",
    license: str = "other",  # noqa: A002 - STAC's name
    bands: Sequence[BandInfo] = (),
    bbox: Sequence[float] = (-180.0, -90.0, 180.0, 90.0),
    interval: tuple[str | None, str | None] = (None, None),
    dimensions: Mapping[str, Any] | None = None,
    providers: Sequence[Mapping[str, Any]] = (),
    item_assets: Mapping[str, Any] | None = None,
    summaries: Mapping[str, Any] | None = None,
    keywords: Sequence[str] = (),
    links: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Make a STAC 1.1 collection.

    Args:
        id: unique in the catalogue.
        title: for people; empty is none.
        description: required by STAC; empty takes the title or id.
        license: SPDX identifier, or `other`.
        bands: all bands of its items.
        bbox: extent in EPSG:4326.
        interval: RFC 3339 start and end, None where open.
        dimensions: `cube:dimensions`, see `cube_dimensions`; None makes them of what is given.
        providers: STAC providers.
        item_assets: assets that its items have, without `href`.
        summaries: STAC summaries.
        keywords: for search.
        links: STAC links.

    Raises:
        ArgumentInvalid: a field is wrong; the message names it.
    """
    box = check_bbox(bbox, f"Collection {id!r}")
    period = (_time(interval[0]), _time(interval[1]))
    if dimensions is None:
        x, y, names = (box[0], box[2]), (box[1], box[3]), [band.name for band in bands]
        dimensions = cube_dimensions(x=x, y=y, interval=period, bands=names)
    collection: dict[str, Any] = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [],
        "id": id,
        "description": description or title or id,
        "license": license,
        "extent": {"spatial": {"bbox": [list(box)]}, "temporal": {"interval": [list(period)]}},
        "cube:dimensions": dict(dimensions),
        "summaries": dict(summaries or {}),
        "links": [dict(link) for link in links],
    }
    optional = {
        "title": title,
        "keywords": list(keywords),
        "providers": [dict(provider) for provider in providers],
        "bands": [band_document(band) for band in bands],
        "item_assets": dict(item_assets or {}),
    }
    collection |= {field: value for field, value in optional.items() if value}
    collection["stac_extensions"] = extensions(collection)
    collection_text(collection)
    return collection


def cube_dimensions(
    *,
    x: tuple[float, float],
    y: tuple[float, float],
    crs: str = "EPSG:4326",
    step: tuple[float, float] | None = None,
    interval: tuple[str | None, str | None] = (None, None),
    times: Sequence[str] = (),
    bands: Sequence[str] = (),
) -> dict[str, Any]:
    """Make `cube:dimensions` with the dimensions x, y, t and bands.

    Args:
        x: left, right in units of the CRS.
        y: bottom, top in units of the CRS.
        crs: canonical name; written as EPSG number, or as WKT2 where there is no code.
        step: pixel width and height in units of the CRS, positive; None if it varies.
        interval: start and end, None where open.
        times: all instants, if they are few.
        bands: names of the bands; without any there is no such dimension.
    """
    system: int | str = int(crs[5:]) if re.fullmatch(r"EPSG:\d+", crs) else crs
    found: dict[str, Any] = {}
    for axis, extent, size in (("x", x, step and step[0]), ("y", y, step and step[1])):
        found[axis] = {
            "type": "spatial",
            "axis": axis,
            "extent": list(extent),
            "reference_system": system,
        }
        if size:
            found[axis]["step"] = size
    found["t"] = {"type": "temporal", "extent": list(interval)}
    if times:
        found["t"]["values"] = list(times)
    if bands:
        found["bands"] = {"type": "bands", "values": list(bands)}
    return found


def read_projection(item: Mapping[str, Any], key: str) -> Projection | None:
    """Read the pixel grid of an asset from STAC 1.1 or 1.0 fields, its own before the item's.

    Returns:
        The grid, or None where no CRS is stated.

    Raises:
        ArgumentInvalid: the CRS is unknown.
    """
    properties, asset = item.get("properties") or {}, item["assets"][key]
    crs = next(
        (
            owner[field]
            for owner in (asset, properties)
            for field in ("proj:code", "proj:epsg", "proj:wkt2", "proj:projjson")
            if owner.get(field)
        ),
        None,
    )
    if crs is None:
        return None
    transform = asset.get("proj:transform") or properties.get("proj:transform") or ()
    shape = asset.get("proj:shape") or properties.get("proj:shape") or ()
    return Projection(
        crs_name(crs), tuple(float(n) for n in transform[:6]), tuple(int(n) for n in shape)
    )
