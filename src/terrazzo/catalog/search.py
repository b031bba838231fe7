"""Searches: from arguments to parameterised SQL that yields the keys of candidates in order."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terrazzo.catalog.cql2 import Filter
from terrazzo.catalog.documents import in_period, item_period
from terrazzo.catalog.filters import PropertyFilter, column_name
from terrazzo.catalog.footprints import met
from terrazzo.catalog.kept import KeptFacts, needs_document
from terrazzo.catalog.narrowing import Hints, hints_of
from terrazzo.catalog.order import Order
from terrazzo.catalog.space import Region
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import microseconds, parse_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from terrazzo.catalog.kept import Kept
    from terrazzo.catalog.order import Sort
    from terrazzo.geo.times import Interval

_DAY: Final = 86_400e6
_FILTER_LIMIT: Final = 100


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
    condition: Filter | None
    """A further condition, in CQL2."""
    hints: Hints
    """What the condition tells SQL."""
    order: Order
    """In which order."""
    limit: int | None
    """How many items at most."""
    check: Callable[[], None] | None = None
    """Called for every page of candidates and every document; what it raises ends the search."""

    def accepts(self, item: Mapping[str, Any]) -> bool:
        """Tell exactly whether an item is asked for; SQL only proposes."""
        if self.check is not None:
            self.check()
        properties = item["properties"]
        return (
            all(condition.matches(properties) for condition in self.properties)
            and in_period(*item_period(item), self.interval)
            and (self.region is None or self.region.meets(item))
            and (self.condition is None or self.condition.accepts(item))
        )

    @property
    def needs_documents(self) -> bool:
        """Whether what is kept beside the documents is too little to decide."""
        return self.condition is not None and needs_document(self.condition.expression)

    def accepted(self, kept: Sequence[Kept]) -> list[bool]:
        """Tell of each item what `accepts` tells of its document; not if that is needed."""
        first, last = (None if end is None else microseconds(end) for end in self.interval)
        found = [
            (last is None or one.start < last)
            and (first is None or one.stop > first or one.start >= first)
            for one in kept
        ]
        if self.region is not None:
            places = met(self.region, [one.footprint for one in kept])
            found = [here and so_far for here, so_far in zip(places, found, strict=True)]
        if not self.properties and self.condition is None:
            return found
        return [
            so_far and self._holds(KeptFacts(one)) for one, so_far in zip(kept, found, strict=True)
        ]

    def _holds(self, facts: KeptFacts) -> bool:
        """Tell whether the conditions on properties are met."""
        return all(
            condition.holds(facts.properties.get(column_name(condition.name)))
            for condition in self.properties
        ) and (self.condition is None or self.condition.holds(facts))

    def select(
        self, collections: Sequence[int], longest: int, after: Sequence[object], count: int
    ) -> tuple[str, list[object]]:
        """Return SQL for the next `count` candidates behind `after`, and its bound values.

        Its rows are the item's row, then the values of the keys of the order.

        Args:
            collections: numbers of the collections to search.
            longest: the longest period of an item in them, microseconds.
            after: the values of the keys of the last candidate that was seen; empty at first.
            count: how many candidates at most.
        """
        keys = self.order.keys
        source, from_values = self._source(after)
        one = len(collections) == 1
        ordered = self._region is None and not self.ids and self.order.by_time
        # "+" keeps SQLite from the index by collection where the index by time gives the order.
        name = "+i.collection" if ordered and not one else "i.collection"
        several = "IN (SELECT value FROM json_each(?))"
        where = [f"{name} {'= ?' if one else several}"]
        values: list[object] = [collections[0] if one else json.dumps(list(collections))]
        for sql, bounds in self._conditions(longest, after):
            where.append(sql)
            values += bounds
        order, order_values = self.order.order_by()
        columns = ", ".join(["i.row", *(key.sql for key in keys)])
        bound = [value for key in keys for value in key.values]
        text = (
            f"SELECT {columns} FROM {source} "  # noqa: S608 - no user text
            f"WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"
        )
        return text, [*bound, *from_values, *values, *order_values, count]

    @property
    def _region(self) -> Region | None:
        """Where to look for candidates."""
        return self.region or self.hints.region

    def _ends(self) -> tuple[datetime | None, datetime | None]:
        """Return between which instants candidates lie."""
        firsts = [end for end in (self.interval[0], self.hints.first) if end is not None]
        lasts = [end for end in (self.interval[1], self.hints.last) if end is not None]
        return max(firsts, default=None), min(lasts, default=None)

    def _source(self, after: Sequence[object]) -> tuple[str, list[object]]:
        """Return the FROM clause: ids, else boxes, else items drive the search."""
        values: list[object] = []
        region = self._region
        if self.ids:
            source = "json_each(?) k CROSS JOIN item i ON i.id = k.value"
            values.append(json.dumps(list(dict.fromkeys(self.ids))))
        elif region is not None:
            candidates, values = self._boxes(region, after)
            source = f"({candidates}) b CROSS JOIN item i ON i.row = b.item"
        else:
            source = "item i"
        return source, values

    def _boxes(self, region: Region, after: Sequence[object]) -> tuple[str, list[object]]:
        """Return SQL for the items whose boxes meet the region's, in space and time."""
        first, last = (None if end is None else microseconds(end) / _DAY for end in self._ends())
        if after and self.order.by_time and isinstance(after[0], int):
            seen = after[0] / _DAY
            if self.order.descending[0]:
                last = min(seen, seen if last is None else last)
            else:
                first = max(seen, seen if first is None else first)
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

    def _conditions(self, longest: int, after: Sequence[object]) -> list[tuple[str, list[object]]]:
        """Return the conditions on time, place in the order, and properties."""
        found: list[tuple[str, list[object]]] = []
        first, last = (None if end is None else microseconds(end) for end in self.interval)
        if first is not None:
            found.append(("i.start >= ?", [first - longest]))
            found.append(("(i.stop > ? OR i.start >= ?)", [first, first]))
        if last is not None:
            found.append(("i.start < ?", [last]))
        if after:
            found.append(self.order.behind(after))
        return found + [condition.narrow() for condition in self.properties] + [*self.hints.sql]


def checked_query(
    *,
    bbox: Sequence[float] | None,
    intersects: Mapping[str, Any] | None,
    interval: tuple[str | None, str | None] | None,
    ids: Sequence[str],
    properties: Sequence[PropertyFilter],
    condition: str | Mapping[str, Any] | Filter | None,
    sort: Sort,
    limit: int | None,
    check: Callable[[], None] | None = None,
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
    given = condition
    if given is not None and not isinstance(given, Filter):
        given = Filter.of(given)
    return Query(
        region=region,
        interval=span,
        ids=tuple(ids),
        properties=tuple(properties),
        condition=given,
        hints=Hints() if given is None else hints_of(given.expression),
        order=Order.of(sort),
        limit=limit,
        check=check,
    )
