"""Collections as openEO and STAC clients read them, and what their items can be filtered by."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from terrazzo.catalog import read_bands
from terrazzo.catalog.stac import extensions
from terrazzo.catalog.stored import STAC_VERSION
from terrazzo.drivers.features.tables import holds_geometries
from terrazzo.errors import ArgumentInvalid
from terrazzo.server.web.links import address, link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fastapi import Request

    from terrazzo.catalog import BandInfo, Catalog
    from terrazzo.server.settings import ServerSettings

TILESETS = "http://www.opengis.net/def/rel/ogc/1.0/tilesets-vector"
QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
SCHEMA = "application/schema+json"
GEOJSON = "application/geo+json"
LARGE = frozenset(
    {"summaries", "cube:dimensions", "cube:variables", "item_assets", "assets", "bands"}
)
"""What a list leaves out of each collection."""
_OURS = frozenset(
    {"self", "root", "parent", "collection", "items", "item", "child", QUERYABLES}
    | {"aggregate", "aggregations"}
)
"""Relations of links that are made anew for where the collection is served."""
_INTERNAL = "terrazzo:"
_SEEN = ("projection", "raster", "eo", "datacube")
"""Extensions whose use is seen by their fields."""
_KEPT = 256
OF_ALL: Mapping[str, Mapping[str, str]] = {
    "id": {"title": "id", "description": "Id of the item.", "type": "string"},
    "collection": {
        "title": "collection",
        "description": "Id of its collection.",
        "type": "string",
    },
    "geometry": {
        "title": "geometry",
        "description": "Where the item lies.",
        "$ref": "https://geojson.org/schema/Geometry.json",
    },
    "datetime": {
        "title": "datetime",
        "description": "When the item was taken, or begins.",
        "type": "string",
        "format": "date-time",
    },
}
"""What all items can be filtered by."""
_TIMES = ("datetime", "start_datetime", "end_datetime", "created", "updated")


class KeptByVersion:
    """What was made of collections, by their versions, which no two states of one share."""

    def __init__(self, most: int = _KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], dict[str, Any]] = OrderedDict()

    def get(self, key: tuple[str, ...], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is kept under a key, made now if it is not."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made


_kept = KeptByVersion()


def described(
    catalog: Catalog, name: str, request: Request, settings: ServerSettings
) -> dict[str, Any]:
    """Return all that is known of a collection.

    Raises:
        CollectionNotFound: lists the collections that there are.
    """
    version = catalog.version(name)
    document = _kept.get(("document", name, version), lambda: _whole(catalog, name))
    return {**document, "links": _links(document, request, settings)}


def listed(
    documents: Iterable[Mapping[str, Any]], request: Request, settings: ServerSettings
) -> list[dict[str, Any]]:
    """Return what a list says of each collection: all but what may be large."""
    found = []
    for document in documents:
        short = _valid({k: v for k, v in document.items() if k not in LARGE})
        found.append({**short, "links": _links(document, request, settings)})
    return found


def queryables(catalog: Catalog, name: str, identifier: str) -> dict[str, Any]:
    """Return a JSON Schema of the properties by which a collection's items can be filtered.

    Args:
        catalog: where it is.
        name: of the collection.
        identifier: the schema's own address.

    Raises:
        CollectionNotFound: lists the collections that there are.
    """
    version = catalog.version(name)
    found = _kept.get(("queryables", name, version), lambda: _queryables(catalog, name))
    return {"$schema": "https://json-schema.org/draft/2019-09/schema", "$id": identifier, **found}


def _whole(catalog: Catalog, name: str) -> dict[str, Any]:
    document = catalog.collection(name)
    document["cube:dimensions"] = _object(document, "cube:dimensions")
    summaries = _object(document, "summaries")
    bands = _bands(document)
    if bands and _names(summaries.get("eo:bands")) != {band.name for band in bands}:
        summaries["eo:bands"] = [_band(band) for band in bands]
    document["summaries"] = {
        name: told for name, told in summaries.items() if told not in ([], {}, None)
    }
    assets = _object(document, "assets")
    document.pop("assets", None)
    shown = {
        key: asset
        for key, asset in assets.items()
        if isinstance(asset, Mapping) and _is_address(asset.get("href"))
    }
    document |= {"assets": shown} if shown else {}
    return _valid(document)


def _object(document: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return a member that is an object; empty where it is something else (seen in the wild)."""
    value = document.get(field)
    return dict(value) if isinstance(value, Mapping) else {}


def _bands(document: Mapping[str, Any]) -> tuple[BandInfo, ...]:
    """Return the bands of a collection; none where what is said of them makes no sense."""
    try:
        return read_bands(document)
    except ArgumentInvalid:
        return ()


def _valid(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with what STAC requires, and without what is only ours."""
    document = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [[None, None]]},
        },
        **{k: v for k, v in document.items() if not k.startswith(_INTERNAL)},
    }
    document["description"] = document.get("description") or document.get("title") or document["id"]
    if "item_assets" in document:
        told = {
            name: {key: told for key, told in asset.items() if not key.startswith(_INTERNAL)}
            for name, asset in _object(document, "item_assets").items()
            if isinstance(asset, Mapping)
        }
        # STAC wants two members or more in each.
        document["item_assets"] = {name: one for name, one in told.items() if len(one) > 1}
    used = extensions({k: v for k, v in document.items() if k != "item_assets"})
    listed = document.get("stac_extensions")
    stored = [url for url in listed if isinstance(url, str)] if isinstance(listed, list) else []
    names, known = {*map(_extension, used)}, {*map(_extension, stored)}
    kept = [url for url in stored if _extension(url) in names or _extension(url) not in _SEEN]
    document["stac_extensions"] = kept + [url for url in used if _extension(url) not in known]
    return document


def _extension(url: str) -> str:
    """Return the name of a STAC extension out of the address of its schema, whatever version."""
    parts = url.split("/")
    return parts[3] if len(parts) > 4 else url  # noqa: PLR2004 - scheme, "", host, name, version


def _names(bands: object) -> set[object]:
    """Return the names in a list of bands that was stated."""
    listed = bands if isinstance(bands, list) else []
    return {str(one.get("name")) for one in listed if isinstance(one, Mapping)}


def _band(band: BandInfo) -> dict[str, Any]:
    """Return a band as the summary `eo:bands` has it, which openEO's clients read."""
    told: dict[str, Any] = {
        "name": band.name,
        "description": band.description,
        "common_name": band.common_name,
        "center_wavelength": band.wavelength_um,
        "gsd": band.gsd_m,
    }
    return {
        key: value
        for key, value in told.items()
        if value not in ("", None) and (not isinstance(value, float) or math.isfinite(value))
    }


def _is_address(href: object) -> bool:
    return isinstance(href, str) and href.startswith(("http://", "https://"))


def _links(
    document: Mapping[str, Any], request: Request, settings: ServerSettings
) -> list[dict[str, Any]]:
    """Return links to where the collection is served, and those stored that lead somewhere."""

    def to(*path: str) -> str:
        return address(request, settings, *path)

    name, root = document["id"], to() + "/"
    stored = document.get("links")
    kept = [
        dict(one)
        for one in (stored if isinstance(stored, list) else [])
        if isinstance(one, Mapping) and one.get("rel") not in _OURS and _is_address(one.get("href"))
    ]
    return [
        link("self", to("collections", name), title="This collection"),
        link("root", root, title="Terrazzo"),
        link("parent", root, title="Terrazzo"),
        link("items", to("collections", name, "items"), GEOJSON, "Its items"),
        link(QUERYABLES, to("collections", name, "queryables"), SCHEMA, "Filters of its items"),
        *aggregation_links(to, "collections", name),
        *(feature_links(to, name) if holds_geometries(document) else ()),
        *kept,
    ]


def feature_links(to: Callable[..., str], name: str) -> list[dict[str, Any]]:
    """Return links to what a collection of geometries is in OGC API Features and Tiles."""
    here = ("features", "collections", name)
    return [
        link("related", to(*here), title="Its features: OGC API Features, and a map"),
        link(TILESETS, to(*here, "tiles"), title="Its vector tiles"),
    ]


def aggregation_links(to: Callable[..., str], *path: str) -> list[dict[str, Any]]:
    """Return links to the aggregations of what is at a path; `to` makes addresses of paths."""
    target = to(*path, "aggregate")
    return [
        *(link("aggregate", target, title="Numbers") | {"method": m} for m in ("GET", "POST")),
        link("aggregations", to(*path, "aggregations"), title="What can be counted"),
    ]


def _queryables(catalog: Catalog, name: str) -> dict[str, Any]:
    document = catalog.collection(name)
    summaries = _object(document, "summaries")
    properties = {
        key: _queryable(key, found.types, summaries.get(key))
        for key, found in sorted(catalog.survey(name).properties.items())
        if found.types and not key.startswith(_INTERNAL)
    }
    title = document.get("title") or name
    return {
        "type": "object",
        "title": f"Filters of {title}",
        "properties": {**properties, **OF_ALL},
        "additionalProperties": True,
    }


def _queryable(key: str, kinds: Sequence[str], summary: object) -> dict[str, Any]:
    told: dict[str, Any] = {
        "title": key,
        "description": f"Property `{key}` of the items.",
        "type": kinds[0] if len(kinds) == 1 else list(kinds),
    }
    if key in _TIMES:
        return told | {"format": "date-time"}
    if kinds == ("string",) and isinstance(summary, list) and summary:
        return told | {"enum": summary}
    if kinds == ("number",) and isinstance(summary, Mapping):
        limits = {edge: summary.get(edge) for edge in ("minimum", "maximum")}
        return told | {edge: n for edge, n in limits.items() if isinstance(n, int | float)}
    return told
