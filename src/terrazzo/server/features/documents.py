"""Documents of OGC API Features and Tiles: what there is, where, and what it can be asked for."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.tables import PRIMARY
from terrazzo.drivers.features.squares import DEEPEST, MERCATOR, Plane, plane_in
from terrazzo.drivers.features.tables import attributes_of, holds_geometries
from terrazzo.drivers.features.tiles import ITEM
from terrazzo.errors import ArgumentInvalid, CollectionNotFound
from terrazzo.geo.crs import crs_name, crs_object, is_geographic, is_projected
from terrazzo.server.features.asked import CRS84, EPSG, crs_offered, is_north_first
from terrazzo.server.stac.collection_documents import (
    GEOJSON,
    QUERYABLES,
    SCHEMA,
    TILESETS,
    KeptByVersion,
)
from terrazzo.server.stac.items import CLASSES as STAC_CLASSES
from terrazzo.server.web.links import address, link
from terrazzo.storage.vectors.mvt import MEDIA_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import Request

    from terrazzo.catalog import Catalog
    from terrazzo.drivers.features.tables import Attributes
    from terrazzo.server.settings import ServerSettings

ROOT: Final = "features"
OPENAPI: Final = "application/vnd.oai.openapi+json;version=3.0"
"""Media type of the description of `/features`."""
MATRIX_SET: Final = f"http://www.opengis.net/def/tilematrixset/OGC/1.0/{MERCATOR.name}"
_TILING: Final = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
_OF_SCHEMA: Final = "http://www.opengis.net/def/rel/ogc/1.0/schema"
_PIXEL: Final = 0.00028
"""Metres of a pixel of a screen, as OGC's scales have it."""
_EQUATOR: Final = 6_378_137.0
"""Metres of a radian."""
_SPEC: Final = "http://www.opengis.net/spec"
CLASSES: Final = (
    f"{_SPEC}/ogcapi-common-1/1.0/conf/core",
    f"{_SPEC}/ogcapi-common-2/1.0/conf/collections",
    *(
        f"{_SPEC}/ogcapi-features-1/1.0/conf/{name}"
        for name in ("core", "geojson", "html", "oas30")
    ),
    f"{_SPEC}/ogcapi-features-2/1.0/conf/crs",
    *(
        f"{_SPEC}/ogcapi-features-3/1.0/conf/{name}"
        for name in ("queryables", "queryables-query-parameters", "filter", "features-filter")
    ),
    *(one for one in STAC_CLASSES if "/cql2/" in one),
    *(
        f"{_SPEC}/ogcapi-tiles-1/1.0/conf/{name}"
        for name in ("core", "tileset", "tilesets-list", "geodata-tilesets", "mvt")
    ),
    f"{_SPEC}/tms/2.0/conf/tilematrixset",
)
"""The conformance classes of what is below `/features`."""
_TYPES: Final = (
    (("int", "uint"), {"type": "integer"}),
    (("float", "double", "halffloat", "decimal"), {"type": "number"}),
    (("bool",), {"type": "boolean"}),
    (("string", "large_string"), {"type": "string"}),
    (("date",), {"type": "string", "format": "date"}),
    (("timestamp",), {"type": "string", "format": "date-time"}),
    (("list", "large_list", "fixed_size_list"), {"type": "array"}),
    (("struct", "map"), {"type": "object"}),
)
_kept = KeptByVersion()


def landing(request: Request, settings: ServerSettings) -> dict[str, Any]:
    """Return the landing page of OGC API Features and Tiles."""

    def to(*path: str) -> str:
        return address(request, settings, *path)

    here = to(ROOT)
    return {
        "title": "Features of Terrazzo",
        "description": "Collections of geometries, feature by feature, and as tiles for maps.",
        "links": [
            link("self", here, title="This document"),
            link("alternate", here, "text/html", "The page for browsers"),
            link("service-desc", to(ROOT, "api"), OPENAPI, "What can be asked for here"),
            link("service-doc", here, "text/html", "The page for browsers"),
            link("conformance", to(ROOT, "conformance"), title="Conformance classes"),
            link("data", to(ROOT, "collections"), title="Collections of geometries"),
            link(f"{_TILING}s", to(ROOT, "tileMatrixSets"), title="Pyramids of tiles"),
            link("related", to() + "/", title="openEO, and STAC API of images and files"),
        ],
    }


def geometry_collections(catalog: Catalog) -> list[Mapping[str, Any]]:
    """Return the documents of the collections of geometries."""
    return [document for document in catalog.collections() if holds_geometries(document)]


def geometry_collection(catalog: Catalog, name: str) -> Mapping[str, Any]:
    """Return the document of a collection of geometries.

    Raises:
        CollectionNotFound: there is none, or it holds images; lists those that there are.
    """
    try:
        document: Mapping[str, Any] = catalog.collection(name)
    except CollectionNotFound:
        document = {}
    if not holds_geometries(document):
        known = [str(one["id"]) for one in geometry_collections(catalog)]
        raise CollectionNotFound(name, known) from None
    return document


def attributes_kept(catalog: Catalog, name: str) -> Attributes:
    """Return the attributes of a collection's features; looked up once until it changes."""
    version = catalog.version(name)
    found: Attributes = _kept.get(
        ("attributes", name, version), lambda: {"of": attributes_of(catalog, name)}
    )["of"]
    return found


def storage_crs(catalog: Catalog, name: str) -> tuple[str, ...]:
    """Return in which EPSG systems the first tables of a collection are, as far as known."""
    version = catalog.version(name)

    def look() -> dict[str, Any]:
        items = catalog.search((name,), sort=("id",), limit=100)
        codes = [
            one["properties"].get("proj:code") for one in items if PRIMARY in one["properties"]
        ]
        return {"of": tuple(filter(_is_known, dict.fromkeys(map(str, codes))))}

    found: tuple[str, ...] = _kept.get(("crs", name, version), look)["of"]
    return found


def _is_known(code: str) -> bool:
    """Tell whether a code is the name of a CRS of maps: users write items as they like."""
    if not re.fullmatch("EPSG:[0-9]{1,6}", code):
        return False
    try:
        return crs_name(code) == code and (is_geographic(code) or is_projected(code))
    except ArgumentInvalid:
        return False


def described(
    catalog: Catalog, document: Mapping[str, Any], request: Request, settings: ServerSettings
) -> dict[str, Any]:
    """Return a collection as OGC API Features tells it."""
    name = str(document["id"])

    def to(*path: str) -> str:
        return address(request, settings, ROOT, "collections", name, *path)

    storage = storage_crs(catalog, name)
    extent = document.get("extent")
    told: dict[str, Any] = {
        "id": name,
        "title": str(document.get("title") or name),
        "description": str(document.get("description") or document.get("title") or name),
        "itemType": "feature",
        "crs": list(crs_offered(storage)),
    }
    if len(storage) == 1:
        told["storageCrs"] = f"{EPSG}{storage[0].removeprefix('EPSG:')}"
    if isinstance(extent, dict):
        told["extent"] = _extent(extent)
    stac = address(request, settings, "collections", name)
    told["links"] = [
        link("self", to(), title="This collection"),
        link("alternate", to(), "text/html", "Its map"),
        link("items", to("items"), GEOJSON, "Its features"),
        link(QUERYABLES, to("queryables"), SCHEMA, "Filters of its features"),
        link(_OF_SCHEMA, to("schema"), SCHEMA, "Attributes of its features"),
        link("describedby", to("schema"), SCHEMA, "Attributes of its features"),
        link(TILESETS, to("tiles"), title="Its vector tiles"),
        link("related", stac, title="The collection of its files, STAC"),
    ]
    return told


def _extent(extent: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    spatial, temporal = extent.get("spatial"), extent.get("temporal")
    if isinstance(spatial, dict) and spatial.get("bbox"):
        found["spatial"] = {"bbox": spatial["bbox"], "crs": CRS84}
    if isinstance(temporal, dict) and temporal.get("interval"):
        trs = "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"
        found["temporal"] = {"interval": temporal["interval"], "trs": trs}
    return found


def schema(
    catalog: Catalog, document: Mapping[str, Any], identifier: str, *, filters: bool
) -> dict[str, Any]:
    """Return a JSON Schema of features.

    Args:
        catalog: where the collection is.
        document: of the collection.
        identifier: the schema's own address.
        filters: whether it tells what features can be filtered by; otherwise what they have.
    """
    attributes = attributes_kept(catalog, str(document["id"]))
    properties = {
        name: {"title": name} | typed(kind) for name, kind in sorted(attributes.types.items())
    }
    geometry = {"title": "geometry", "x-ogc-role": "primary-geometry"}
    properties["geometry"] = geometry | {"format": _geometry_format(document)}
    if filters and "datetime" not in properties:
        properties["datetime"] = {
            "title": "datetime",
            "description": "When it was, or begins: of its row, or of its file.",
            "type": "string",
            "format": "date-time",
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": identifier,
        "type": "object",
        "title": str(document.get("title") or document["id"]),
        "properties": properties,
        "additionalProperties": not attributes.whole,
    }


def typed(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of an attribute's Arrow type; empty where any value may be."""
    for beginnings, told in _TYPES:
        if kind.startswith(beginnings):
            return dict(told)
    return {}


def _geometry_format(document: Mapping[str, Any]) -> str:
    dimensions = document.get("cube:dimensions")
    values = dimensions.values() if isinstance(dimensions, dict) else ()
    kinds = [one.get("geometry_types") for one in values if isinstance(one, dict)]
    found = {str(kind).lower() for listed in kinds if isinstance(listed, list) for kind in listed}
    return f"geometry-{found.pop()}" if len(found) == 1 else "geometry-any"


def tilesets(
    catalog: Catalog, document: Mapping[str, Any], request: Request, settings: ServerSettings
) -> dict[str, Any]:
    """Return the list of a collection's tilesets: for web maps, and in the CRS that it is kept in.

    There are tiles in any other projection, too.
    """
    name = str(document["id"])
    here = address(request, settings, ROOT, "collections", name, "tiles")
    told = [
        _tileset(document, plane, request, settings)
        for plane in _planes(storage_crs(catalog, name))
    ]
    return {"tilesets": told, "links": [link("self", here, title="This document")]}


def _planes(storage: Iterable[str]) -> tuple[Plane, ...]:
    return MERCATOR, *(plane_in(code) for code in storage)


def tileset(
    catalog: Catalog,
    document: Mapping[str, Any],
    plane: Plane,
    request: Request,
    settings: ServerSettings,
) -> dict[str, Any]:
    """Return all that is known of a collection's tiles in a plane."""
    name = str(document["id"])
    told = _tileset(document, plane, request, settings)
    attributes = attributes_kept(catalog, name)
    properties = {key: typed(kind) for key, kind in sorted(attributes.types.items())}
    layer = {
        "id": name,
        "dataType": "vector",
        "propertiesSchema": {
            "type": "object",
            "properties": {**properties, ITEM: {"type": "string"}},
        },
    }
    boxes = (_extent(document["extent"]).get("spatial") or {}).get("bbox") or [[]]
    if len(boxes[0]) == 4:  # noqa: PLR2004 - a box
        west, south, east, north = boxes[0]
        told["boundingBox"] = {
            "lowerLeft": [west, south],
            "upperRight": [east, north],
            "crs": CRS84,
        }
        if plane == MERCATOR:
            told["tileMatrixSetLimits"] = list(_limits(west, south, east, north))
    return told | {"layers": [layer]}


def _tileset(
    document: Mapping[str, Any], plane: Plane, request: Request, settings: ServerSettings
) -> dict[str, Any]:
    name = str(document["id"])
    here = address(request, settings, ROOT, "collections", name, "tiles", plane.name)
    matrices = address(request, settings, ROOT, "tileMatrixSets", plane.name)
    template = link("item", f"{here}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}", MEDIA_TYPE, "Tiles")
    return {
        "title": str(document.get("title") or name),
        "dataType": "vector",
        "crs": _crs(plane),
        **_registered(plane, "tileMatrixSetURI"),
        "links": [
            link("self", here, title="This tileset"),
            template | {"templated": True},
            link(_TILING, matrices, title=plane.name),
        ],
    }


def _crs(plane: Plane) -> str:
    return f"{EPSG}{plane.crs.removeprefix('EPSG:')}"


def _registered(plane: Plane, key: str) -> dict[str, str]:
    """Return the address that OGC has for a pyramid, if it has one."""
    return {key: MATRIX_SET} if plane == MERCATOR else {}


def _limits(west: float, south: float, east: float, north: float) -> Iterable[dict[str, Any]]:
    """Yield which tiles of each zoom level hold a box, all columns across the antimeridian."""
    edges = [math.radians(max(-85.06, min(85.06, degrees))) for degrees in (north, south)]
    rows = [(1 - math.asinh(math.tan(edge)) / math.pi) / 2 for edge in edges]
    cols = [0.0, 1.0] if west > east else [(one + 180) / 360 for one in (west, east)]
    for zoom in range(DEEPEST + 1):
        last = 2**zoom - 1
        top, bottom, left, right = (
            max(0, min(last, math.floor(part * (last + 1)))) for part in (*rows, *cols)
        )
        yield {
            "tileMatrix": str(zoom),
            "minTileRow": top,
            "maxTileRow": bottom,
            "minTileCol": left,
            "maxTileCol": right,
        }


def matrix_sets(catalog: Catalog, request: Request, settings: ServerSettings) -> dict[str, Any]:
    """Return the list of pyramids: that of web maps, and of the CRS of what there is."""
    kept = [storage_crs(catalog, str(one["id"])) for one in geometry_collections(catalog)]
    storage = sorted({code for codes in kept for code in codes})
    told = [
        {"id": plane.name, "title": _title(plane), **_registered(plane, "uri"), "crs": _crs(plane)}
        | {"links": [link("self", address(request, settings, ROOT, "tileMatrixSets", plane.name))]}
        for plane in _planes(storage)
    ]
    return {"tileMatrixSets": told}


def _title(plane: Plane) -> str:
    return "Web Mercator" if plane == MERCATOR else crs_object(plane.crs).name


def matrix_set(plane: Plane) -> dict[str, Any]:
    """Return a pyramid as OGC 17-083r4 has it; that of web maps is the one defined there."""
    north_first = is_north_first(plane.crs)
    corner = [-plane.half, plane.half]
    well_known = "http://www.opengis.net/def/wkss/OGC/1.0/GoogleMapsCompatible"
    axis = crs_object(plane.crs).axis_info[0]
    metres = math.radians(1) * _EQUATOR if is_geographic(plane.crs) else axis.unit_conversion_factor
    return {
        "id": plane.name,
        "title": _title(plane),
        **_registered(plane, "uri"),
        "crs": _crs(plane),
        "orderedAxes": ["Y", "X"] if north_first else ["X", "Y"],
        **({"wellKnownScaleSet": well_known} if plane == MERCATOR else {}),
        "tileMatrices": [
            {
                "id": str(zoom),
                "scaleDenominator": 2 * plane.half / 256 / 2**zoom * metres / _PIXEL,
                "cellSize": 2 * plane.half / 256 / 2**zoom,
                "cornerOfOrigin": "topLeft",
                "pointOfOrigin": corner[::-1] if north_first else corner,
                "tileWidth": 256,
                "tileHeight": 256,
                "matrixWidth": 2**zoom,
                "matrixHeight": 2**zoom,
            }
            for zoom in range(DEEPEST + 1)
        ],
    }
