"""In which order a search gives its items, and how it goes on behind one of them.

Whatever an order is by, it ends with the id and the collection, so that no two items are equal in
it. An item that lacks a property counts as more than all that have it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from terrazzo.catalog.documents import item_period
from terrazzo.catalog.filters import column_name, column_value, has_surrogates
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import format_time, microseconds, parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Sort: TypeAlias = str | tuple[str, ...]
"""Names of properties, the most important first; `-` before a name reverses it."""

Position: TypeAlias = tuple[str, ...]
"""Where an item stands in a search: texts for each name of the sort, then its id and collection."""

Sql: TypeAlias = tuple[str, list[object]]

_COLLECTION: Final = "(SELECT c.id FROM collection c WHERE c.number = i.collection)"
_MOST: Final = 16
_TIME: Final = "datetime"


@dataclass(frozen=True, slots=True)
class Key:
    """One of the expressions by which rows are ordered; never NULL."""

    sql: str
    """The expression."""
    values: tuple[object, ...]
    """The values bound in it."""
    descending: bool
    """Whether the largest come first."""


@dataclass(frozen=True, slots=True)
class Order:
    """An order of items."""

    names: tuple[str, ...]
    """What it is by."""
    descending: tuple[bool, ...]
    """Which of them are reversed."""

    @classmethod
    def of(cls, sort: Sort) -> Order:
        """Read a sort.

        Raises:
            ArgumentInvalid: it is none.
        """
        names = (sort,) if isinstance(sort, str) else tuple(sort)
        plain = [n.removeprefix("-").removeprefix("properties.") for n in names if type(n) is str]
        if (
            len(plain) < len(names)
            or not 0 < len(names) <= _MOST
            or not all(map(_is_usable, plain))
        ):
            raise ArgumentInvalid(
                f"sort {sort!r:.100} is none. Give 1 to {_MOST} names of properties, with - before "
                "those to reverse, for example ('-eo:cloud_cover', 'datetime')."
            )
        if len(set(plain)) < len(plain):
            raise ArgumentInvalid(f"sort {sort!r:.100} names a property twice.")
        return cls(tuple(plain), tuple(n.startswith("-") for n in names))

    @property
    def by_time(self) -> bool:
        """Whether it is by time only, which has an index."""
        return self.names == (_TIME,)

    @property
    def needs_documents(self) -> bool:
        """Whether it looks at properties."""
        return not {_TIME, "id", "collection"}.issuperset(self.names)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The expressions that order the rows."""
        if self.by_time:
            down = self.descending[0]
            return tuple(Key(f"i.{name}", (), down) for name in ("start", "id", "collection"))
        keys: list[Key] = []
        for name, down in zip(self.names, self.descending, strict=True):
            keys += _keys(name, down)
        down = self.descending[0]
        ends = {"id": "i.id", "collection": _COLLECTION}
        return (*keys, *(Key(s, (), down) for n, s in ends.items() if n not in self.names))

    def order_by(self) -> Sql:
        """Return the ORDER BY clause."""
        parts = [f"{key.sql} {'DESC' if key.descending else 'ASC'}" for key in self.keys]
        return ", ".join(parts), [value for key in self.keys for value in key.values]

    def behind(self, place: Sequence[object]) -> Sql:
        """Return the condition on rows that come after one with these values of the keys."""
        keys = self.keys
        if self.by_time:
            sign = "<" if self.descending[0] else ">"
            row = f"(i.start, i.id, i.collection) {sign} (?, ?, ?)"
            return f"(i.start {sign}= ? AND {row})", [place[0], *place]
        alternatives, bound = [], list[object]()
        for n, key in enumerate(keys):
            terms = []
            for equal, value in zip(keys[:n], place[:n], strict=True):
                terms.append(f"{equal.sql} = ?")
                bound += [*equal.values, value]
            terms.append(f"{key.sql} {'<' if key.descending else '>'} ?")
            bound += [*key.values, place[n]]
            alternatives.append(" AND ".join(terms))
        return "(" + " OR ".join(alternatives) + ")", bound

    def position(self, item: Mapping[str, Any]) -> Position:
        """Return where an item stands, to carry on behind it later with `after=`."""
        told = []
        for name in self.names:
            if name == _TIME:
                told.append(format_time(item_period(item)[0]))
            elif name in {"id", "collection"}:
                told.append(item[name])
            else:
                told.append(json.dumps(column_value(item["properties"].get(name))))
        return (*told, item["id"], item["collection"])

    def place(
        self, after: Position, numbers: Mapping[str, int], read: Callable[[str], object]
    ) -> list[object]:
        """Return the values of the keys at a position.

        Args:
            after: as from `position`.
            numbers: the numbers of the collections by id.
            read: reads a JSON value as the database does, to the last bit.

        Raises:
            ArgumentInvalid: it is no position of this order, or its collection is not searched.
        """
        if len(after) != len(self.names) + 2 or any(type(text) is not str for text in after):
            raise ArgumentInvalid(
                f"after {after!r:.100} is no position in this order; see `position(item)`."
            )
        *told, name, collection = after
        if collection not in numbers:
            raise ArgumentInvalid(
                f"after {after!r:.100} names a collection that this search does not cover."
            )
        if self.by_time:
            return [microseconds(parse_time(told[0])), name, numbers[collection]]
        place: list[object] = []
        for by, text in zip(self.names, told, strict=True):
            if by == _TIME:
                place.append(microseconds(parse_time(text)))
            elif by in {"id", "collection"}:
                place.append(text)
            else:
                place += _place_of(text, read)
        ends = {"id": name, "collection": collection}
        return [*place, *(text for by, text in ends.items() if by not in self.names)]


def position(item: Mapping[str, Any], sort: Sort = "datetime") -> Position:
    """Return where an item stands in a search, to carry on behind it later with `after=`."""
    return Order.of(sort).position(item)


def _is_usable(name: str) -> bool:
    return bool(name) and "\0" not in name and not has_surrogates(name)


def _keys(name: str, down: bool) -> list[Key]:
    """Return the keys of one name: for a property whether it lacks, its kind, and its value."""
    if name == _TIME:
        return [Key("i.start", (), down)]
    if name == "id":
        return [Key("i.id", (), down)]
    if name == "collection":
        return [Key(_COLLECTION, (), down)]
    path = '$."' + column_name(name) + '"'
    kind = "json_extract(i.properties, ?) IS NULL"
    return [
        Key(f"({kind})", (path,), down),
        Key("coalesce(json_extract(i.properties, ?), 0)", (path,), down),
    ]


def _place_of(text: str, read: Callable[[str], object]) -> list[object]:
    """Return the values of a property's keys at a position.

    Raises:
        ArgumentInvalid: the text is none of a position.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = {}
    if value is None:
        return [1, 0]
    if column_value(value) is None or (isinstance(value, str) and not _is_usable(f"_{value}")):
        raise ArgumentInvalid(f"{text!r:.100} is no part of a position; see `position(item)`.")
    return [0, read(text)]
