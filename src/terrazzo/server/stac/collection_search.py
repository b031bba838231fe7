"""Which collections a search of `/collections` finds, and in which order.

A filter sees a collection as an item: its members are properties, its extents place and time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cmp_to_key
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from terrazzo.catalog.free_text import FreeText, texts_of
from terrazzo.catalog.space import Region, check_bbox
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.server.stac.query import StacQuery, of_parameters, read_query
from terrazzo.server.web.faults import RequestInvalid
from terrazzo.server.web.paging import MOST, keys_of, token

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_EVERYWHERE: Final = (-180.0, -90.0, 180.0, 90.0)
_BEGINNING, _END = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
_BY_ID: Final = ("id",)
_MOST: Final = 16
_MOST_VIEWS: Final = 256
"""Places times periods of a collection; where it has more, the first ones, around all of them."""
SCHEMA_PROPERTIES: Final[Mapping[str, Any]] = {
    "id": {"title": "Id", "type": "string"},
    "title": {"title": "Title", "type": "string"},
    "description": {"title": "Description", "type": "string"},
    "license": {"title": "Licence", "type": "string"},
    "keywords": {"title": "Keywords", "type": "array", "items": {"type": "string"}},
    "datetime": {"title": "Time that is covered", "type": "string", "format": "date-time"},
    "geometry": {"$ref": "https://geojson.org/schema/Geometry.json"},
}
"""What collections can be filtered by, among whatever else they state."""


class CollectionsSearched(BaseModel):
    """Parameters of a search of collections."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    bbox: str | None = Field(None, description="West,south,east,north in degrees.")
    datetime: str | None = Field(None, description="A time, or two with / between, `..` open.")
    limit: str | None = Field(None, description="Collections of a page; without it all come.")
    after: str | None = Field(
        None, description="Where to go on, from the link `next`.", max_length=2000
    )
    q: str | None = Field(None, description="Words to look for, commas for or.")
    sortby: str | None = Field(None, description="Members with commas between, - reverses.")
    fields: str | None = Field(None, description="Members of collections, - leaves one out.")
    filter: str | None = Field(None, description="A condition in CQL2.")
    filter_lang: str | None = Field(None, alias="filter-lang", description="cql2-text or -json.")
    filter_crs: str | None = Field(None, alias="filter-crs", description="OGC's CRS84.")
    query: str | None = Field(None, description='JSON such as {"license": {"eq": "CC0-1.0"}}.')

    def told(self) -> dict[str, str]:
        """Return what was given, by the names of STAC."""
        return {
            name: text
            for name, text in self.model_dump(by_alias=True, exclude_none=True).items()
            if text != ""
        }


@dataclass(frozen=True, slots=True)
class CollectionQuery:
    """A checked search of collections."""

    query: StacQuery
    """Where, when, the filter and the fields."""
    region: Region | None
    """Where."""
    words: FreeText | None
    """What to look for in texts."""
    size: int | None
    """Collections of a page; None is all."""
    after: tuple[str, ...]
    """Where to go on; empty is the beginning."""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> CollectionQuery:
        """Read the parameters of a GET.

        Raises:
            RequestInvalid, ArgumentInvalid, FilterInvalid: one is wrong; says which.
        """
        members = of_parameters(
            {name: text for name, text in given.items() if name not in {"q", "after"}}
        )
        query = read_query(members)
        query = query if "sortby" in members else replace(query, sort=_BY_ID)
        query = replace(query, sort=_names(query))
        region = None if query.bbox is None else Region.of_bbox(query.bbox)
        words = FreeText.of(given["q"]) if "q" in given else None
        after = keys_of(given["after"]) if "after" in given else ()
        if after and len(after) != len(_keys({"id": ""}, query.sort)):
            raise RequestInvalid("`after` is no place in this list. Follow the link rel=next.")
        size = min(query.limit, MOST) if "limit" in members else None
        return cls(query, region, words, size, after)

    def found(self, documents: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the collections that are asked for, in order."""
        sort = self.query.sort

        def compared(one: Sequence[Any], other: Sequence[Any]) -> int:
            return _compared(one, other, sort)

        compare = cmp_to_key(compared)
        found = [one for one in documents if self._accepts(one)]
        return sorted(found, key=lambda one: compare(_keys(one, sort)))

    def page(self, found: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], str]:
        """Return a page of what is found, and where to go on: empty at the end."""
        sort, place = self.query.sort, [_read(key) for key in self.after]
        rest = [one for one in found if not place or _compared(_keys(one, sort), place, sort) > 0]
        if self.size is None or len(rest) <= self.size:
            return rest, ""
        last = rest[self.size - 1]
        return rest[: self.size], token([json.dumps(key) for key in _keys(last, sort)])

    def _accepts(self, document: Mapping[str, Any]) -> bool:
        if self.words is not None and not self.words.accepts(texts_of(document)):
            return False
        region, condition = self.region, self.query.condition
        return any(
            (region is None or region.meets(view))
            and (condition is None or condition.accepts(view))
            for view in _views(document)
        )


def _names(query: StacQuery) -> tuple[str, ...]:
    sort = (query.sort,) if isinstance(query.sort, str) else tuple(query.sort)
    plain = [name.removeprefix("-") for name in sort]
    if not all(plain) or len(set(plain)) < len(plain) or len(plain) > _MOST:
        raise RequestInvalid("sortby has 1 to 16 different names of members.")
    return sort


def _views(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a collection as an item, once for each of its places and times."""
    extent = document.get("extent")
    boxes = _listed(extent, "spatial", "bbox")
    times = _listed(extent, "temporal", "interval")
    if len(boxes) * len(times) > _MOST_VIEWS:
        boxes, times = boxes[:1], times[:1]
    properties = {
        name: value
        for name, value in document.items()
        if isinstance(value, str | int | float | list) and name not in {"links", "datetime"}
    }
    for box, (start, end) in product(
        [_box(one) for one in boxes] or [_EVERYWHERE],
        [_interval(one) for one in times] or [(_BEGINNING, _END)],
    ):
        yield {
            "id": document["id"],
            "collection": document["id"],
            "bbox": list(box),
            "geometry": None,
            "properties": {
                **properties,
                "datetime": None,
                "start_datetime": start,
                "end_datetime": end,
            },
        }


def _listed(extent: object, kind: str, member: str) -> list[Any]:
    part = extent.get(kind) if isinstance(extent, Mapping) else None
    found = part.get(member) if isinstance(part, Mapping) else None
    return found if isinstance(found, list) else []


def _box(given: Any) -> Sequence[float]:
    """Return a box; the whole Earth where it is none."""
    try:
        return check_bbox(given, "Collection")
    except ArgumentInvalid:
        return _EVERYWHERE


def _interval(given: Any) -> tuple[str, str]:
    """Return the ends of an interval; the ends of time where there are none."""
    ends = given if isinstance(given, list) and len(given) == 2 else [None, None]  # noqa: PLR2004
    try:
        for end in ends:
            if end is not None:
                parse_time(end)
    except ArgumentInvalid:
        ends = [None, None]
    start, end = ends[0] or _BEGINNING, ends[1] or _END
    return (start, end) if parse_time(start) <= parse_time(end) else (_BEGINNING, _END)


def _keys(document: Mapping[str, Any], sort: Sequence[str]) -> list[Any]:
    """Return the values that a collection is ordered by, its id among them."""
    names = [name.removeprefix("-") for name in sort]
    return [_value(document, name) for name in (*names, *({"id"} - {*names}))]


def _value(document: Mapping[str, Any], name: str) -> Any:
    """Return a text or number of a collection; None where it has none."""
    if name in {"datetime", "extent.temporal", "properties.datetime"}:
        times = _listed(document.get("extent"), "temporal", "interval")
        return _interval(times[0])[0] if times else None
    value: Any = document
    for part in [name] if name in document else name.removeprefix("properties.").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, str | int | float) else None


def _compared(one: Sequence[Any], other: Sequence[Any], sort: Sequence[str]) -> int:
    """Return -1, 0 or 1; what is missing comes last in ascending order, numbers before text."""
    ways = [name.startswith("-") for name in sort]
    for place, (mine, theirs) in enumerate(zip(one, other, strict=True)):
        down = ways[place] if place < len(ways) else ways[0]
        first, second = _ranked(mine), _ranked(theirs)
        if first != second:
            return -1 if (first < second) != down else 1
    return 0


def _ranked(value: Any) -> tuple[int, Any]:
    if value is None:
        return 2, 0
    return (1, value) if isinstance(value, str) else (0, value)


def _read(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = {}
    if value is not None and not isinstance(value, str | int | float):
        raise RequestInvalid("`after` is no place in this list. Follow the link rel=next.")
    return value
