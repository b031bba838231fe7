"""Searches: from arguments to parameterised SQL that yields the keys of candidates in order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from terrazzo.catalog.documents import in_period, item_period, microseconds
from terrazzo.catalog.filters import PropertyFilter
from terrazzo.catalog.space import Region
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time, parse_interval, parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terrazzo.geo.times import Interval

Sort: TypeAlias = Literal["datetime", "-datetime"]
"""Oldest first (ties: by id, then collection in order of creation), or exactly the reverse."""

Position: TypeAlias = tuple[str, str, str]
"""Where an item stands in a search: its (start) time, id and collection."""

_DAY: Final = 86_400e6
_FILTER_LIMIT: Final = 100


@dataclass(frozen=True, slots=True)
class Key:
    """Where a candidate stands in the order of a search."""

    start: int
    """Its instant or start, microseconds since 1970."""
    id: str
    """Its id."""
    collection: int
    """The number of its collection."""


@dataclass(frozen=True, slots=True)
class Query:
    """A checked search."""

    region: Region | None
    """Where; None is everywhere."""
    interval: Interval
    """When; half-open."""
    ids: tuple[str, ...]
    """Only these items; empty is any."""
    properties: tuple[PropertyFilter, ...]
    """Conditions that all must be met."""
    newest_first: bool
    """Whether the order is reversed."""
    limit: int | None
    """How many items at most."""

    def accepts(self, item: Mapping[str, Any]) -> bool:
        """Tell exactly whether an item is asked for; SQL only proposes."""
        properties = item["properties"]
        return (
            all(condition.matches(properties) for condition in self.properties)
            and in_period(*item_period(item), self.interval)
            and (self.region is None or self.region.meets(item))
        )

    def select(
        self, collections: Sequence[int], longest: int, after: Key | None, count: int
    ) -> tuple[str, list[object]]:
        """Return SQL for the next `count` candidates behind `after`, and its bound values.

        Args:
            collections: numbers of the collections to search.
            longest: the longest period of an item in them, microseconds.
            after: the last key that was seen.
            count: how many candidates at most.
        """
        source, values = self._source(after)
        one = len(collections) == 1
        ordered = self.region is None and not self.ids
        # "+" keeps SQLite from the index by collection where the index by time gives the order.
        name = "+i.collection" if ordered and not one else "i.collection"
        several = "IN (SELECT value FROM json_each(?))"
        where = [f"{name} {'= ?' if one else several}"]
        values.append(collections[0] if one else json.dumps(list(collections)))
        for sql, bounds in self._conditions(longest, after):
            where.append(sql)
            values += bounds
        direction = "DESC" if self.newest_first else "ASC"
        order = ", ".join(f"i.{column} {direction}" for column in ("start", "id", "collection"))
        text = (
            f"SELECT i.row, i.start, i.id, i.collection FROM {source} "  # noqa: S608 - no user text
            f"WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"
        )
        return text, [*values, count]

    def _source(self, after: Key | None) -> tuple[str, list[object]]:
        """Return the FROM clause: ids, else boxes, else items drive the search."""
        values: list[object] = []
        if self.ids:
            source = "json_each(?) k CROSS JOIN item i ON i.id = k.value"
            values.append(json.dumps(list(dict.fromkeys(self.ids))))
        elif self.region is not None:
            candidates, values = self._boxes(self.region, after)
            source = f"({candidates}) b CROSS JOIN item i ON i.row = b.item"
        else:
            source = "item i"
        if self.properties:
            source += " CROSS JOIN document d ON d.row = i.row"
        return source, values

    def _boxes(self, region: Region, after: Key | None) -> tuple[str, list[object]]:
        """Return SQL for the items whose boxes meet the region's, in space and time."""
        first, last = (None if end is None else microseconds(end) / _DAY for end in self.interval)
        if after is not None and self.newest_first:
            last = min(after.start / _DAY, after.start / _DAY if last is None else last)
        elif after is not None:
            first = max(after.start / _DAY, after.start / _DAY if first is None else first)
        selects, values = [], list[object]()
        for west, south, east, north in region.boxes:
            sql = "SELECT row >> 1 AS item FROM box WHERE east >= ? AND west <= ?"
            sql += " AND north >= ? AND south <= ?"
            values += [west, east, south, north]
            if first is not None:
                sql += " AND last >= ?"
                values.append(first)
            if last is not None:
                sql += " AND first <= ?"
                values.append(last)
            selects.append(sql)
        return " UNION ".join([*selects, "SELECT NULL WHERE FALSE"]), values

    def _conditions(self, longest: int, after: Key | None) -> list[tuple[str, list[object]]]:
        """Return the conditions on time, place in the order, and properties."""
        found: list[tuple[str, list[object]]] = []
        first, last = (None if end is None else microseconds(end) for end in self.interval)
        if first is not None:
            found.append(("i.start >= ?", [first - longest]))
            found.append(("(i.stop > ? OR i.start >= ?)", [first, first]))
        if last is not None:
            found.append(("i.start < ?", [last]))
        if after is not None:
            sign = "<" if self.newest_first else ">"
            place: list[object] = [after.start, after.id, after.collection]
            found.append((f"i.start {sign}= ?", [after.start]))
            found.append((f"(i.start, i.id, i.collection) {sign} (?, ?, ?)", place))
        return found + [condition.narrow() for condition in self.properties]


def checked_query(
    *,
    bbox: Sequence[float] | None,
    intersects: Mapping[str, Any] | None,
    interval: tuple[str | None, str | None] | None,
    ids: Sequence[str],
    properties: Sequence[PropertyFilter],
    sort: Sort,
    limit: int | None,
) -> Query:
    """Check the arguments of a search.

    Raises:
        ArgumentInvalid: an argument is wrong, or `bbox` and `intersects` are both given.
        TemporalExtentEmpty: the interval holds no instant.
    """
    if bbox is not None and intersects is not None:
        raise ArgumentInvalid("A search takes `bbox` or `intersects`, not both. Give the geometry.")
    region = None
    if bbox is not None:
        region = Region.of_bbox(bbox)
    elif intersects is not None:
        region = Region.of_geometry(intersects)
    if sort not in get_args(Sort):
        raise ArgumentInvalid(f"sort {sort!r} is unknown. Valid are {', '.join(get_args(Sort))}.")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise ArgumentInvalid(
            f"limit {limit!r} is not a number of items. Valid is 0 or more, or None."
        )
    if isinstance(ids, str) or not all(isinstance(name, str) for name in ids):
        raise ArgumentInvalid(
            f"ids {ids!r} is not a sequence of texts, for example ids=('A', 'B')."
        )
    if not all(isinstance(condition, PropertyFilter) for condition in properties):
        raise ArgumentInvalid(
            f"properties {properties!r} is not a sequence of PropertyFilter, for example "
            "(PropertyFilter('eo:cloud_cover', '<', 20),)."
        )
    if len(properties) > _FILTER_LIMIT:
        raise ArgumentInvalid(
            f"A search takes {_FILTER_LIMIT} property filters, not {len(properties)}."
        )
    span = parse_interval(*interval) if interval is not None else (None, None)
    return Query(
        region, span, tuple(ids), tuple(properties), newest_first=sort == "-datetime", limit=limit
    )


def position(item: Mapping[str, Any]) -> Position:
    """Return where an item stands in a search, to carry on behind it later with `after=`."""
    return format_time(item_period(item)[0]), item["id"], item["collection"]


def key_of(after: Position, numbers: Mapping[str, int]) -> Key:
    """Read a position.

    Args:
        after: as from `position`.
        numbers: the numbers of the collections by id.

    Raises:
        ArgumentInvalid: it is no position, or its collection is not searched.
    """
    if [*map(type, after)] != [str, str, str]:
        raise ArgumentInvalid(
            f"after {after!r} is not (time, id, collection); see `position(item)`."
        )
    time, name, collection = after
    if collection not in numbers:
        raise ArgumentInvalid(
            f"after {after!r} names a collection that this search does not cover."
        )
    return Key(microseconds(parse_time(time)), name, numbers[collection])
