"""Documents that come over HTTP: hostile until checked, completed where they may be short.

What is stored must be safe for whoever reads it later. The catalogue checks what it searches by;
here it is made sure that nothing names a file of this machine, that ids work as parts of addresses,
that documents are bounded, and that members which are read later are what they are said to be.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from terrazzo.catalog import read_bands
from terrazzo.catalog.documents import item_period
from terrazzo.catalog.json_text import json_text
from terrazzo.catalog.space import check_bbox, read_geometry
from terrazzo.catalog.stored import STAC_VERSION
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.server.stac.wanted import (
    NUMBERS,
    Json,
    are_numbers,
    check_text,
    check_texts,
    list_of,
    object_of,
    require,
    short,
)
from terrazzo.server.web.faults import RequestInvalid, RequestTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LARGEST = 1_000_000
"""Letters and values of one document; an outline of 20,000 corners has half of them."""
_DEEPEST = 32
_WHOLE = 2**63
_LONGEST_ID = 200
_LONGEST_HREF = 4000
_INTERNAL = "terrazzo:"
_ADDRESS = re.compile(
    r"(?:https?|s3)://[^\s/?#@\\<>\"\x00-\x1f\x7f]+([/?#][^\s\\<>\"\x00-\x1f\x7f]*)?"
)
_VERSION = re.compile(r"1\.[01]\.\d{1,2}(-[A-Za-z0-9.]{1,20})?")
_COLLECTION = re.compile(r"[A-Za-z0-9_.~-]+(/[A-Za-z0-9_.~-]+)*")
_ROUTES = frozenset({"items", "queryables", "aggregate", "aggregations"})
"""Parts of addresses below a collection's; as part of an id they would lead elsewhere."""
QUERYABLES = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
_HERE = frozenset({"self", "root", "parent", "collection", "items", "item", "child", QUERYABLES})
"""Relations of links that are made anew wherever a document is served."""
_TIMES = ("datetime", "start_datetime", "end_datetime", "created", "updated")
_OF_ONE_FILE = frozenset(
    {"href", "title", "proj:shape", "proj:transform", "proj:bbox", "file:size", "file:checksum"}
)
"""Members of assets that say nothing of bands."""
_TEXTS = frozenset(
    {"title", "description", "type", "license", "platform", "constellation", "mission", "url"}
)
"""Members that are texts wherever they are."""
_POSITION = (2, 3, 4)
_CLOSED = 4
"""Positions of the shortest ring."""


def checked_item(document: object, collection: str, name: str = "") -> Json:
    """Return an item as it is stored.

    Args:
        document: as it came.
        collection: where it goes.
        name: its id, where the address has one; empty takes any.

    Raises:
        RequestInvalid, RequestTooLarge, ArgumentInvalid: the message names the member that is
            wrong.
    """
    suspect = check_bounds(document)
    item = object_of(document, "The item")
    item["id"] = _item_id(item, name)
    subject = f"Item {item['id']!r}"
    require(item, subject, ("type", "geometry", "properties", "assets"))
    if item["type"] != "Feature":
        raise RequestInvalid(f"{subject}: type {short(item['type'])} is not 'Feature'.")
    if item.setdefault("collection", collection) != collection:
        raise RequestInvalid(
            f"{subject}: collection {short(item['collection'])} is not {collection!r}, to which "
            "the request goes. Leave it out, or send the item there."
        )
    _complete(item, subject, suspect=suspect)
    _check_place(item, subject)
    _check_times(object_of(item["properties"], f"{subject}: properties"), subject)
    item_period(item)
    _check_properties(item["properties"], f"{subject}: properties")
    _check_assets(item, "assets", subject)
    _check_readable(item, subject)
    return item


def checked_collection(document: object, name: str = "") -> Json:
    """Return a collection as it is stored.

    Args:
        document: as it came.
        name: its id, where the address has one; empty takes any.

    Raises:
        RequestInvalid, RequestTooLarge, ArgumentInvalid: the message names the member that is
            wrong.
    """
    suspect = check_bounds(document)
    collection = object_of(document, "The collection")
    collection["id"] = _collection_id(collection, name)
    subject = f"Collection {collection['id']!r}"
    require(collection, subject, ("type", "description", "license", "extent"))
    if collection["type"] != "Collection":
        raise RequestInvalid(f"{subject}: type {short(collection['type'])} is not 'Collection'.")
    for member in ("title", "description", "license"):
        if member in collection:
            check_text(collection[member], f"{subject}: {member}", empty=member == "title")
    _complete(collection, subject, suspect=suspect)
    _check_extent(collection["extent"], subject)
    check_texts(collection.get("keywords", []), f"{subject}: keywords")
    for number, provider in enumerate(list_of(collection, "providers", subject)):
        where = f"{subject}: providers.{number}"
        check_text(object_of(provider, where).get("name"), f"{where}.name")
        check_texts(provider.get("roles", []), f"{where}.roles")
        _check_texts(provider, where)
    for key, told in object_of(collection.get("summaries", {}), f"{subject}: summaries").items():
        ends = ("minimum", "maximum")
        whole = isinstance(told, list) or (  # readers want both ends or none
            isinstance(told, dict)
            and (told.keys().isdisjoint(ends) or all(told.get(end) is not None for end in ends))
        )
        if not whole:
            raise RequestInvalid(
                f"{subject}: summaries.{key} {short(told)} is neither a list of values nor an "
                "object with minimum and maximum, or a JSON Schema."
            )
    for member in {"assets", "item_assets"} & collection.keys():
        _check_assets(collection, member, subject)
    dimensions = object_of(collection.get("cube:dimensions", {}), f"{subject}: cube:dimensions")
    for key, dimension in dimensions.items():
        _check_dimension(dimension, f"{subject}: cube:dimensions.{key}")
    _check_readable(collection, subject)
    return collection


def check_bounds(value: object) -> bool:
    """Refuse a JSON value that is deep or large, or has whole numbers that no database keeps.

    Returns:
        Whether it may have members that are nobody's to choose freely.

    Raises:
        RequestInvalid, RequestTooLarge: it is, or has.
    """
    waiting: list[tuple[Any, int]] = [([value], 0)]
    size, suspect = 0, False
    while waiting:
        outer, depth = waiting.pop()
        inner = outer
        if type(outer) is dict:
            names = "\n".join(outer)
            size += len(names)
            if _INTERNAL in names or ("href" in outer and not _is_address(outer["href"])):
                suspect = True
            inner = outer.values()
        size += len(outer)
        if depth > _DEEPEST:
            raise RequestInvalid(f"The document is nested deeper than {_DEEPEST} levels.")
        for one in inner:
            kind = type(one)
            if kind is str:
                size += len(one)
            elif kind is dict or kind is list:
                waiting.append((one, depth + 1))
            elif kind is int and not -_WHOLE <= one < _WHOLE:
                raise RequestInvalid(
                    f"The number {str(one)[:24]}... is too large. Whole numbers have 64 bits."
                )
        if size > LARGEST:
            raise RequestTooLarge(
                f"A document has more than {LARGEST:,} letters and values. Simplify its geometry, "
                "or keep large members in a file that an asset names."
            )
    return suspect


def _complete(document: Json, subject: str, *, suspect: bool) -> None:
    """Fill in what may be left out, and check what items and collections have in common."""
    version = document.setdefault("stac_version", STAC_VERSION)
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise RequestInvalid(f"{subject}: stac_version {short(version)} is not 1.0.0 or 1.1.0.")
    document.setdefault("stac_extensions", [])
    check_texts(document["stac_extensions"], f"{subject}: stac_extensions")
    links = []
    for number, one in enumerate(list_of(document, "links", subject)):
        where = f"{subject}: links.{number}"
        if check_text(object_of(one, where).get("rel"), f"{where}.rel") not in _HERE:
            check_text(one.get("href"), f"{where}.href")
            _check_texts(one, where)
            links.append(one)
    document["links"] = links
    for owner, key, path in _members(document) if suspect else ():
        if key.startswith(_INTERNAL):
            raise RequestInvalid(
                f"{subject}: {path}{key} begins with {_INTERNAL!r}, which is kept for this "
                "server's own members. Leave it out."
            )
        if not _is_address(owner[key]):
            raise RequestInvalid(
                f"{subject}: {path}{key} {short(owner[key])} is no address that begins with "
                "https://, http:// or s3://, without blanks, a user name or a password. Files of "
                "this machine are added with `terrazzo ingest`."
            )


def _members(document: Json) -> Iterator[tuple[Json, str, str]]:
    """Give the members that are nobody's to choose freely, with the path before them."""
    waiting: list[tuple[Any, str]] = [(document, "")]
    while waiting:
        outer, path = waiting.pop()
        if type(outer) is dict:
            for key, value in outer.items():
                if key == "href" or key.startswith(_INTERNAL):
                    yield outer, key, path
                elif type(value) is dict or type(value) is list:
                    waiting.append((value, f"{path}{key}."))
        else:
            waiting += [
                (value, f"{path}{place}.")
                for place, value in enumerate(outer)
                if type(value) is dict or type(value) is list
            ]


def _is_address(href: object) -> bool:
    return isinstance(href, str) and len(href) <= _LONGEST_HREF and bool(_ADDRESS.fullmatch(href))


def _item_id(item: Json, name: str) -> str:
    given = item.get("id", name or None)
    if name and given != name:
        raise RequestInvalid(
            f"The item's id {short(given)} is not {name!r}, the address to which it was sent. "
            "An item keeps its id."
        )
    if (
        not isinstance(given, str)
        or not 0 < len(given.encode("utf-8", "replace")) <= _LONGEST_ID
        or not given.isprintable()
        or given != given.strip()
        or given in {".", ".."}
        or "/" in given
        or "\\" in given
    ):
        raise RequestInvalid(
            f"The item's id {short(given)} is not a text of 1 to {_LONGEST_ID} bytes that can be "
            "part of an address: printable, no slashes, no blanks around it, not '.' or '..'."
        )
    return given


def _collection_id(collection: Json, name: str) -> str:
    given = collection.get("id", name or None)
    if name and given != name:
        raise RequestInvalid(
            f"The collection's id {short(given)} is not {name!r}, the address to which it was "
            "sent. A collection keeps its id."
        )
    if name:
        return name  # it is there already, whatever it was called by those who run the server
    if (
        not isinstance(given, str)
        or len(given) > _LONGEST_ID
        or not _COLLECTION.fullmatch(given)
        or {".", "..", *_ROUTES} & set(given.split("/"))
    ):
        raise RequestInvalid(
            f"The collection's id {short(given)} is not a text of 1 to {_LONGEST_ID} letters "
            "a-z, A-Z, digits and _ . ~ -, with single slashes between parts, none of which is "
            f"'.', '..', {', '.join(map(repr, sorted(_ROUTES)))}."
        )
    return given


def _check_place(item: Json, subject: str) -> None:
    """Check the geometry, and make the bbox of it where there is none."""
    geometry = item["geometry"]
    if geometry is None:
        if item.get("bbox") is None:
            raise RequestInvalid(
                f"{subject} has neither a geometry nor a bbox, and nobody would find it. Give one."
            )
        return
    _check_positions(geometry, subject)
    found = read_geometry(geometry, subject)
    bounds = list(found.bounds)
    check_bbox(bounds, f"{subject}, the bounds of its geometry")
    item.setdefault("bbox", bounds)
    check_bbox(item["bbox"], subject)
    for ring in _rings(geometry):
        if len(ring) < _CLOSED or ring[0] != ring[-1]:
            raise RequestInvalid(
                f"{subject}: geometry has a ring of {len(ring)} positions that is not closed. A "
                f"ring has at least {_CLOSED}, and the last is the first again."
            )


def _check_positions(geometry: object, subject: str) -> None:
    """Check that positions are numbers; what reads geometries takes texts for numbers, too."""
    told = object_of(geometry, f"{subject}: geometry")
    for part in list_of(told, "geometries", f"{subject}: geometry"):
        _check_positions(part, subject)
    waiting = [told["coordinates"]] if "coordinates" in told else []
    while waiting:
        one = waiting.pop()
        kinds = {*map(type, one)} if isinstance(one, list) else {None}
        if kinds == {list}:
            waiting += one
        elif not (kinds <= NUMBERS and len(one) in _POSITION):
            raise RequestInvalid(
                f"{subject}: geometry has a position {short(one)}, which is not 2 to 4 numbers."
            )


def _rings(geometry: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Give the rings of a geometry that could be read."""
    kind = geometry["type"]
    if kind == "Polygon":
        yield from geometry["coordinates"]
    elif kind == "MultiPolygon":
        for polygon in geometry["coordinates"]:
            yield from polygon
    elif kind == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from _rings(part)


def _check_times(properties: Json, subject: str) -> None:
    if "datetime" not in properties:
        raise RequestInvalid(
            f"{subject}: properties.datetime is missing. It may be null if there are both "
            "start_datetime and end_datetime."
        )
    for member in _TIMES:
        if properties.get(member) is not None:
            _instant(properties[member], f"{subject}: properties.{member}")
        elif member in properties and member != "datetime":
            raise RequestInvalid(f"{subject}: properties.{member} is null. Leave it out.")
    if ("start_datetime" in properties) != ("end_datetime" in properties):
        raise RequestInvalid(
            f"{subject}: properties has only one of start_datetime and end_datetime. Give both."
        )


def _instant(value: object, where: str) -> None:
    try:
        if isinstance(value, str) and len(value) > len("2018-05-01"):
            parse_time(value)
            return
    except ArgumentInvalid as problem:
        raise RequestInvalid(f"{where}: {problem}") from None
    raise RequestInvalid(f"{where} {short(value)} is not a time such as 2018-05-01T09:20:31Z.")


def _check_extent(extent: object, subject: str) -> None:
    told = object_of(extent, f"{subject}: extent")
    where = f"{subject}: extent.spatial"
    boxes = object_of(told.get("spatial"), where).get("bbox")
    if not isinstance(boxes, list) or not boxes:
        raise RequestInvalid(f"{where}.bbox is not a list of bboxes, [[west, south, east, north]].")
    for box in boxes:
        check_bbox(box, f"{where}")
    where = f"{subject}: extent.temporal"
    periods = object_of(told.get("temporal"), where).get("interval")
    if not isinstance(periods, list) or not periods:
        raise RequestInvalid(f"{where}.interval is not a list of [start, end], null where open.")
    for number, period in enumerate(periods):
        _check_period(period, f"{where}.interval.{number}")


def _check_period(period: object, where: str) -> None:
    if not isinstance(period, list) or len(period) != 2:  # noqa: PLR2004 - start and end
        raise RequestInvalid(f"{where} {short(period)} is not [start, end], null where open.")
    for edge in period:
        if edge is not None:
            _instant(edge, where)
    if None not in period and parse_time(period[1]) < parse_time(period[0]):
        raise RequestInvalid(f"{where} {short(period)} ends before it starts.")


def _check_assets(document: Json, member: str, subject: str) -> None:
    for key, asset in object_of(document[member], f"{subject}: {member}").items():
        where = f"{subject}: {member}.{key}"
        told = object_of(asset, where)
        if member == "assets" and "href" not in told:
            raise RequestInvalid(f"{where} has no href.")
        _check_texts(told, where)
        check_texts(told.get("roles", []), f"{where}.roles")
        _check_grid(told, where)


def _check_properties(properties: Json, where: str) -> None:
    """Check what is said of a whole item."""
    _check_texts(properties, where)
    check_texts(properties.get("instruments", []), f"{where}.instruments")
    gsd = properties.get("gsd", 1)
    if type(gsd) not in NUMBERS or gsd <= 0:
        raise RequestInvalid(f"{where}.gsd {short(gsd)} is no number of metres above zero.")
    _check_grid(properties, where)


def _check_texts(owner: Json, where: str) -> None:
    for name in owner.keys() & _TEXTS:
        check_text(owner[name], f"{where}.{name}", empty=True)


def _check_grid(owner: Json, where: str) -> None:
    """Check how pixels are said to lie; readers take it as it is."""
    shape, transform = owner.get("proj:shape"), owner.get("proj:transform")
    if shape is not None and not (
        are_numbers(shape, {2}) and all(type(n) is int and 0 < n < 2**31 for n in shape)
    ):
        raise RequestInvalid(f"{where}.proj:shape {short(shape)} is not [height, width] in pixels.")
    if transform is not None and not are_numbers(transform, {6, 9}):
        raise RequestInvalid(f"{where}.proj:transform {short(transform)} is not 6 or 9 numbers.")
    for name, kind in (
        ("proj:code", str), ("proj:epsg", int), ("proj:wkt2", str), ("proj:projjson", dict),
    ):  # fmt: skip
        if owner.get(name) is not None and not isinstance(owner[name], kind):
            raise RequestInvalid(f"{where}.{name} {short(owner[name])} is of another type.")


def _check_dimension(dimension: object, where: str) -> None:
    told = object_of(dimension, where)
    kind = check_text(told.get("type"), f"{where}.type")
    values, extent = told.get("values", []), told.get("extent")
    if not isinstance(values, list):
        raise RequestInvalid(f"{where}.values {short(values)} is no list.")
    if kind == "bands":
        check_texts(values, f"{where}.values")
        if not values:
            raise RequestInvalid(f"{where}.values names no band.")
    elif kind == "temporal" and extent is not None:
        _check_period(extent, f"{where}.extent")
    elif kind == "spatial":
        if told.get("axis") not in ("x", "y", "z"):
            raise RequestInvalid(f"{where}.axis {short(told.get('axis'))} is not x, y or z.")
        if not are_numbers(extent, {2}) and not (told["axis"] == "z" and extent is None):
            raise RequestInvalid(f"{where}.extent {short(extent)} is not two numbers.")


def _check_readable(document: Json, subject: str) -> None:
    """Read what graphs will read of bands, so that none of them stumbles over it."""
    if document["type"] == "Feature":
        assets = document["assets"].items()
        told = {
            "properties": document["properties"] if not document["assets"] else {},
            "assets": {
                key: {name: one for name, one in asset.items() if name not in _OF_ONE_FILE}
                for key, asset in assets
            },
        }
    else:
        told = document
    problem = _band_problem(json_text(told))
    if problem:
        raise RequestInvalid(f"{subject}, in its bands or assets: {problem}")


@lru_cache(maxsize=512)
def _band_problem(text: bytes) -> str:
    """Tell what is wrong with the bands of a document; the same for thousands of items."""
    try:
        read_bands(json.loads(text))
    except ArgumentInvalid as problem:
        return str(problem)
    except (TypeError, ValueError, AttributeError, KeyError) as problem:
        return f"its bands, eo:bands or raster:bands are not as STAC has them: {problem}."
    return ""
