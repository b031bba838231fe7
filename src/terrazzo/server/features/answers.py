"""Features as GeoJSON: pages of those that were asked for, and one alone."""

from __future__ import annotations

import json
import math
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import orjson
import shapely

from terrazzo.catalog.json_text import json_text
from terrazzo.drivers.features.finding import Wanted, found, named_row, one
from terrazzo.drivers.features.tables import table_named, tables_of
from terrazzo.errors import ItemNotFound
from terrazzo.geo.crs import WGS84
from terrazzo.server.features.asked import (
    Crs,
    Place,
    crs_of,
    crs_offered,
    limit_of,
    place_of,
    wanted_of,
)
from terrazzo.server.features.documents import (
    ROOT,
    attributes_kept,
    geometry_collection,
    storage_crs,
)
from terrazzo.server.stac.documents import GEOJSON
from terrazzo.server.stac.item_pages import MOST_BYTES
from terrazzo.server.web.faults import NotFound, RequestInvalid, SearchTooLong
from terrazzo.server.web.links import address, link
from terrazzo.server.web.paging import token
from terrazzo.server.web.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fastapi import Request

    from terrazzo.catalog import Catalog
    from terrazzo.drivers.features.finding import Found
    from terrazzo.drivers.features.tables import Attributes, FeatureTable
    from terrazzo.ledger import Principal
    from terrazzo.server.features.asked import FeaturesAsked
    from terrazzo.server.parts import Parts
    from terrazzo.storage.gate import Gate

SECONDS = 2.0
"""How long features are counted."""


def page(
    shared: Parts,
    who: Principal,
    request: Request,
    collection: str,
    given: FeaturesAsked,
    patience: Callable[[], None],
) -> tuple[bytes, Crs]:
    """Return a page of features as GeoJSON, and the CRS that it is in.

    Args:
        shared: the parts of the server.
        who: asks.
        request: that is answered.
        collection: its id.
        given: the parameters.
        patience: called while features are looked at; what it raises ends the search.

    Raises:
        CollectionNotFound: lists the collections of geometries that there are.
        RequestInvalid, ArgumentInvalid, FilterInvalid: a parameter is wrong.
        SourceUnreadable: a file is damaged.
    """
    limit, place = limit_of(given.limit), place_of(given.token)
    workspace = shared.workspace_of(who)
    with workspace.catalog() as catalog:
        geometry_collection(catalog, collection)
        offered = crs_offered(storage_crs(catalog, collection))
        attributes = attributes_kept(catalog, collection)
        wanted = wanted_of(given, attributes, offered)
        crs = crs_of(given.crs, "crs", offered)
        looking = _Looking(catalog, workspace.gate, collection, wanted, patience)
        features, after = looking.page(place, limit, crs)
        matched = None
        if not given.token:
            matched = looking.matched(attributes, len(features), limit, more=bool(after))
    here = address(request, shared.settings, ROOT, "collections", collection, "items")
    links = [
        link("self", str(request.url), GEOJSON),
        link("alternate", str(request.url), "text/html", "These features on a map"),
        link("collection", address(request, shared.settings, ROOT, "collections", collection)),
    ]
    if after:
        asked = urlencode({**given.told(), "token": after})
        links.append(link("next", f"{here}?{asked}", GEOJSON))
    counted = {} if matched is None else {"numberMatched": matched}
    head = json_text(
        {"type": "FeatureCollection", **counted, "numberReturned": len(features), "links": links}
    )
    return b"".join([head[:-1], b',"features":[', b",".join(features), b"]}"]), crs


class _Looking:
    """A search of features in one collection."""

    def __init__(
        self,
        catalog: Catalog,
        gate: Gate,
        collection: str,
        wanted: Wanted,
        patience: Callable[[], None],
    ) -> None:
        self._catalog, self._gate, self._collection = catalog, gate, collection
        self._wanted, self._patience = wanted, patience

    def _found(self, place: Place, patience: Callable[[], None]) -> Iterator[Found]:
        extent = self._wanted.extent
        bbox = None if extent is None or extent.crs != WGS84 else extent.bounds
        tables = tables_of(
            self._catalog,
            self._gate,
            self._collection,
            bbox=bbox,
            first=place.item,
            check=patience,
        )
        start = place.item, place.position
        return found(_same(tables, place), self._gate, self._wanted, start=start, check=patience)

    def page(self, place: Place, limit: int, crs: Crs) -> tuple[list[bytes], str]:
        """Return the features of a page as JSON, and the next one's token; empty at the end."""
        features: list[bytes] = []
        size = 0
        with closing(self._found(place, self._patience)) as parts:  # type: ignore[type-var]
            for part in parts:
                for number, text in enumerate(written(part, crs)):
                    size += len(text)
                    if len(features) == limit or (features and size > MOST_BYTES):
                        position = str(int(part.features.positions[number]))
                        stamp = _stamp(part.table.path)
                        return features, token([part.table.item, position, stamp])
                    features.append(text)
        return features, ""

    def matched(self, attributes: Attributes, count: int, limit: int, *, more: bool) -> int | None:
        """Return how many features there are on all pages; None where that takes too long.

        A page that holds them all has been counted. One feature is what clients ask for to know.
        """
        if not more:
            return count
        wanted = self._wanted
        if wanted.extent is None and wanted.period is None and wanted.condition is None:
            return attributes.rows if attributes.whole else None
        if limit > 1:
            return None
        try:
            return sum(len(part.features.rows) for part in self._found(Place(), Patience(SECONDS)))
        except SearchTooLong:
            return None


def _same(tables: Iterator[FeatureTable], place: Place) -> Iterator[FeatureTable]:
    """Yield tables, the one where a page begins only if it is what it was.

    Raises:
        RequestInvalid: it has been made anew.
    """
    for table in tables:
        if table.item == place.item and _stamp(table.path) != place.stamp:
            raise RequestInvalid(
                f"The features of {place.item[:80]!r} have been changed since the page before. "
                "Begin with the first page again."
            )
        yield table


def _stamp(path: Path) -> str:
    try:
        return str(path.stat().st_mtime_ns)
    except OSError:
        return ""


def written(part: Found, crs: Crs) -> Iterator[bytes]:
    """Yield features as GeoJSON, one after the other."""
    shapes = part.features.shapes
    if crs.north_first:
        shapes = shapely.transform(shapes, _flipped, include_z=False)
    for number, shape in enumerate(shapes):
        geometry = b"null" if shape.is_empty else shapely.to_geojson(shape).encode()
        yield b"".join(
            [
                b'{"type":"Feature","id":',
                orjson.dumps(part.name(number)),
                b',"geometry":',
                geometry,
                b',"properties":',
                _json(part.features.properties[number]),
                b"}",
            ]
        )


def _flipped(points: Any) -> Any:
    return points[:, ::-1]


def _json(properties: Mapping[str, Any]) -> bytes:
    """Return attributes as JSON, NaN and infinity as null, and so what cannot be written."""
    try:
        return orjson.dumps(properties)
    except orjson.JSONEncodeError:  # integers beyond 64 bits, halves of characters, very deep lists
        parts = (f"{json.dumps(name)}:{_text(value)}" for name, value in properties.items())
        return b"".join([b"{", ",".join(parts).encode(), b"}"])


def _text(value: Any) -> str:
    try:
        return json.dumps(_finite(value))
    except (ValueError, RecursionError):  # of more digits, or deeper, than Python writes
        return "null"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list) else value


def feature(
    shared: Parts, who: Principal, request: Request, collection: str, name: str, crs_address: str
) -> tuple[bytes, Crs]:
    """Return one feature as GeoJSON, and the CRS that it is in.

    Raises:
        CollectionNotFound, NotFound: it is not there for who asks.
        RequestInvalid: the CRS is not offered.
        SourceUnreadable: its file is damaged.
    """
    workspace = shared.workspace_of(who)
    missing = NotFound(
        f"Collection {collection[:80]!r} has no feature {name[:80]!r}. Ids are those that its "
        "items have: the file's, and the row's."
    )
    with workspace.catalog() as catalog:
        geometry_collection(catalog, collection)
        crs = crs_of(crs_address, "crs", crs_offered(storage_crs(catalog, collection)))
        place = named_row(name)
        if place is None:
            raise missing
        try:
            table = table_named(catalog, workspace.gate, collection, place[0])
        except ItemNotFound:
            raise missing from None
    part = None if table is None else one(table, workspace.gate, place[1], crs.name)
    if part is None:
        raise missing
    (text,) = written(part, crs)
    there = address(request, shared.settings, ROOT, "collections", collection)
    links: Sequence[dict[str, str]] = [
        link("self", f"{there}/items/{quote(name, safe='')}", GEOJSON),
        link("alternate", f"{there}/items/{quote(name, safe='')}", "text/html", "It on a map"),
        link("collection", there),
    ]
    return text[:-1] + b',"links":' + json_text(links) + b"}", crs


def content_crs(crs: Crs) -> str:
    """Return the header that tells the CRS of an answer."""
    return f"<{crs.address}>"
