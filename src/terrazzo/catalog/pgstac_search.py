"""Searches as SQL on pgSTAC's table of items: candidates in order, and where to go on.

As for a file the filter itself decides (`Query.accepts`); what is written here lets through too
much, never too little. Names and values are bound, never written into SQL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from terrazzo.catalog.cql2 import Call, Constant, Property
from terrazzo.catalog.filters import PropertyFilter, has_surrogates, scalar_kind, widened
from terrazzo.catalog.narrowing import OPERATORS, against_constant, parts
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.catalog.cql2 import Expression
    from terrazzo.catalog.filters import Operator
    from terrazzo.catalog.order import Position
    from terrazzo.catalog.search import Query
    from terrazzo.catalog.space import Region

Sql: TypeAlias = tuple[str, list[object]]
"""A condition, and the values bound in it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST: Final = 500
"""Values that are bound in all conditions."""
_LONG_WAY: Final = (
    "(i.geometry && ST_MakeEnvelope(0, %s, 0, %s, 4326) "
    "AND ST_XMax(i.geometry) - ST_XMin(i.geometry) > 180)"
)
_NEVER: Final[Sql] = ("FALSE", [])
_TIME: Final = "datetime"
_STATED: Final = (
    "CASE WHEN i.datetime = i.end_datetime THEN i.datetime ELSE "
    "coalesce((i.content->'properties'->>'datetime')::timestamptz, i.datetime) END"
)
"""The instant of an item, where others wrote the period of one that has both."""


@dataclass(frozen=True, slots=True)
class Searched:
    """The collections of a search."""

    names: tuple[str, ...]
    """Their ids, in the order in which they were made."""
    odd: bool
    """Whether others put items into one whose columns say less than they do."""

    @property
    def numbers(self) -> dict[str, int]:
        """Their places in that order."""
        return {name: number for number, name in enumerate(self.names, 1)}


@dataclass(frozen=True, slots=True)
class _Key:
    """One of the expressions by which rows are ordered; never NULL."""

    sql: str
    values: tuple[object, ...]
    descending: bool
    cast: str


class PgstacSelect:
    """The SQL of one search."""

    def __init__(self, query: Query, searched: Searched) -> None:
        self.query, self.searched = query, searched
        self.time = _STATED if searched.odd else "i.datetime"
        self.keys = self._keys()
        self.wheres = self._wheres()

    def page(self, columns: str, after: Sequence[object], count: int) -> Sql:
        """Return SQL for the next `count` candidates, and its bound values.

        Its rows are the keys of the order, then `columns` of the row `i`.

        Args:
            columns: SQL.
            after: the values of the keys of the last candidate that was seen; empty at first.
            count: how many at most.
        """
        wheres = [*self.wheres, self._behind(after)] if after else self.wheres
        names = [f"k{n}" for n in range(len(self.keys))]
        keys = ", ".join(f"{key.sql} AS {name}" for key, name in zip(self.keys, names, strict=True))
        order = ", ".join(
            f"{name} {'DESC' if key.descending else 'ASC'}"
            for key, name in zip(self.keys, names, strict=True)
        )
        text = (
            f"SELECT {', '.join(names)}, {columns} FROM (SELECT i.*, {keys} "  # noqa: S608 - ours
            f"FROM pgstac.items i WHERE {' AND '.join(sql for sql, _ in wheres)} "
            f"ORDER BY {order} LIMIT %s) i"
        )
        bound = [value for key in self.keys for value in key.values]
        return text, [*bound, *(value for _, values in wheres for value in values), count]

    def counted(self, most: int) -> Sql:
        """Return SQL for the number of candidates, or `most` if they are more."""
        where = " AND ".join(sql for sql, _ in self.wheres)
        text = f"SELECT count(*) FROM (SELECT FROM pgstac.items i WHERE {where} LIMIT %s) n"  # noqa: S608
        return text, [*(value for _, values in self.wheres for value in values), most]

    def place(self, after: Position) -> list[object]:
        """Return the values of the keys at a position.

        Raises:
            ArgumentInvalid: see `Order.place`.
        """
        order = self.query.order
        found = list(order.place(after, self.searched.numbers, json.loads))
        if any(isinstance(text, str) and not _is_bindable(text) for text in found):
            raise ArgumentInvalid(f"after {after!r:.100} is no position of an item.")
        place: list[object] = []
        for name in order.names:
            value = found.pop(0)
            if name == _TIME:
                place.append(_EPOCH + timedelta(microseconds=value))  # type: ignore[arg-type]
            elif name in {"id", "collection"}:
                place.append(value)
            else:
                place += _ranked(bool(value), found.pop(0))
        return [*place, *found]

    def _keys(self) -> list[_Key]:
        order, numbers = self.query.order, (list(self.searched.names),)
        down = order.descending[0]
        keys: list[_Key] = []
        for name, reverse in zip(order.names, order.descending, strict=True):
            keys += self._keys_of(name, reverse)
        name_key = _Key('i.id COLLATE "C"', (), down, "text")
        if order.by_time:
            number = _Key("array_position(%s::text[], i.collection)", numbers, down, "int")
            several = len(self.searched.names) > 1
            return [*keys, name_key, number] if several else [*keys, name_key]
        ends = {"id": name_key, "collection": _Key('i.collection COLLATE "C"', (), down, "text")}
        return [*keys, *(key for name, key in ends.items() if name not in order.names)]

    def _keys_of(self, name: str, down: bool) -> list[_Key]:
        if name == _TIME:
            return [_Key(self.time, (), down, "timestamptz")]
        if name in {"id", "collection"}:
            return [_Key(f'i.{name} COLLATE "C"', (), down, "text")]
        value = "i.content->'properties'->%s"
        kind = f"jsonb_typeof({value})"
        rank = f"CASE {kind} WHEN 'number' THEN 0 WHEN 'boolean' THEN 0 WHEN 'string' THEN 1 "
        number = (
            f"CASE {kind} WHEN 'number' THEN ({value})::numeric "
            f"WHEN 'boolean' THEN ({value})::boolean::int::numeric ELSE 0 END"
        )
        text = f"CASE {kind} WHEN 'string' THEN i.content->'properties'->>%s ELSE '' END"
        return [
            _Key(f"{rank} ELSE 2 END", (name,), down, "int"),
            _Key(number, (name, name, name), down, "numeric"),
            _Key(f'({text}) COLLATE "C"', (name, name), down, "text"),
        ]

    def _behind(self, place: Sequence[object]) -> Sql:
        """Return the condition on rows that come after one with these values of the keys."""
        place = place[: len(self.keys)]
        if len({key.descending for key in self.keys}) == 1:
            sign = "<" if self.keys[0].descending else ">"
            sides = ", ".join(key.sql for key in self.keys)
            marks = ", ".join(f"%s::{key.cast}" for key in self.keys)
            first = self.keys[0]
            bound = [value for key in self.keys for value in key.values]
            # The first alone is what an index can use.
            text = f"({first.sql} {sign}= %s::{first.cast} AND ({sides}) {sign} ({marks}))"
            return text, [*first.values, place[0], *bound, *place]
        alternatives, values = [], list[object]()
        for n, key in enumerate(self.keys):
            terms = []
            for equal, value in zip(self.keys[:n], place[:n], strict=True):
                terms.append(f"{equal.sql} = %s::{equal.cast}")
                values += [*equal.values, value]
            terms.append(f"{key.sql} {'<' if key.descending else '>'} %s::{key.cast}")
            values += [*key.values, place[n]]
            alternatives.append(" AND ".join(terms))
        return "(" + " OR ".join(alternatives) + ")", values

    def _wheres(self) -> list[Sql]:
        query = self.query
        found: list[Sql] = [("i.collection = ANY(%s)", [list(self.searched.names)])]
        found += _when(query)
        if query.ids:
            found.append(("i.id = ANY(%s)", [[one for one in query.ids if _is_bindable(one)]]))
        regions = [one for one in (query.region, query.hints.region) if one is not None]
        found += [_inside(region, odd=self.searched.odd) for region in regions]
        found += [_narrowed(one) for one in query.properties]
        wanted = [] if query.condition is None else parts(query.condition.expression)
        bound = 0
        for condition in map(_condition, wanted):
            if condition is not None and bound + len(condition[1]) <= _MOST:
                bound += len(condition[1])
                found.append(condition)
        return found


def _when(query: Query) -> list[Sql]:
    """Return conditions on the time of items."""
    found: list[Sql] = []
    first, last = query.interval
    if first is not None:
        overlaps = "(i.end_datetime > %s OR i.datetime >= %s)"
        found.append((f"i.end_datetime >= %s AND {overlaps}", [first, first, first]))
    if last is not None:
        found.append(("i.datetime < %s", [last]))
    if query.hints.first is not None:
        found.append(("i.end_datetime >= %s", [query.hints.first]))
    if query.hints.last is not None:
        found.append(("i.datetime <= %s", [query.hints.last]))
    return found


def _is_bindable(text: str) -> bool:
    """Tell whether PostgreSQL could hold a text at all."""
    return "\0" not in text and not has_surrogates(text)


def _ranked(lacks: bool, value: object) -> list[object]:
    """Return the keys of a property's value."""
    if lacks:
        return [2, Decimal(0), ""]
    if isinstance(value, str):
        return [1, Decimal(0), value]
    return [0, Decimal(int(value) if isinstance(value, bool) else repr(value)), ""]


def _inside(region: Region, *, odd: bool) -> Sql:
    """Return a condition on the boxes around items."""
    turns = (0.0, -360.0, 360.0) if odd else (0.0,)
    boxes = [(w + turn, s, e + turn, n) for w, s, e, n in region.boxes for turn in turns]
    terms = ["i.geometry && ST_MakeEnvelope(%s, %s, %s, %s, 4326)"] * len(boxes)
    values = [edge for box in boxes for edge in box]
    if odd:
        # What is drawn the long way round spans more than half the Earth, so also longitude 0.
        heights = [(south, north) for _, south, _, north in region.boxes]
        terms += [_LONG_WAY] * len(heights)
        values += [edge for height in heights for edge in height]
    return (f"({' OR '.join(terms)})", list[object](values)) if terms else _NEVER


def _condition(part: Expression) -> Sql | None:
    """Return a necessary condition of one part of a filter, if SQL has one."""
    if isinstance(part, Call) and part.name in {"and", "or"}:
        return _joined(part)
    if isinstance(part, Call) and part.name == "between":
        value, low, high = part.operands
        if isinstance(value, Property) and isinstance(low, Constant) and isinstance(high, Constant):
            return _property(value.name, "between", (low.given, high.given))
        return None
    found = against_constant(part)
    if found is None:
        return None
    name, one, given = found
    if name == "in" and isinstance(given, list):
        return _property(one.name, "in", tuple(given))
    return _property(one.name, OPERATORS[name], given) if name in OPERATORS else None


def _joined(part: Call) -> Sql | None:
    found = [_condition(operand) for operand in part.operands]
    known = [one for one in found if one is not None]
    if not known or (part.name == "or" and len(known) < len(found)):
        return None
    text = f" {part.name.upper()} ".join(sql for sql, _ in known)
    return f"({text})", [value for _, values in known for value in values]


def _property(name: str, operator: Operator, value: Any) -> Sql | None:
    if name in {"geometry", "collection", _TIME}:
        return None
    if name == "id":
        return _id(operator, value)
    try:
        return _narrowed(PropertyFilter(name, operator, value))
    except ArgumentInvalid:
        return None


def _id(operator: Operator, value: object) -> Sql | None:
    names = (value,) if operator == "=" else value
    if operator not in {"=", "in"} or not isinstance(names, tuple):
        return None
    if not all(isinstance(one, str) for one in names):
        return None
    return "i.id = ANY(%s)", [[one for one in names if _is_bindable(one)]]


def _narrowed(condition: PropertyFilter) -> Sql:
    """Return a necessary condition of one on a property."""
    name, value = condition.name, condition.value
    if not _is_bindable(name):
        return _NEVER
    if condition.operator == "!=":
        known = "jsonb_typeof(i.content->'properties'->%s) IN ('string', 'number', 'boolean')"
        return known, [name]
    values = value if isinstance(value, tuple) else (value,)
    if condition.operator == "between":
        return _between(name, values[0], values[1])
    if condition.operator in {"<", "<="}:
        return _between(name, None, values[0])
    if condition.operator in {">", ">="}:
        return _between(name, values[0], None)
    texts = [one for one in values if isinstance(one, str) and _is_bindable(one)]
    terms: list[Sql] = [_between(name, one, one) for one in values if not isinstance(one, str)]
    if texts:
        terms.append(("i.content->'properties'->>%s = ANY(%s)", [name, texts]))
    sql = " OR ".join(text for text, _ in terms)
    return (f"({sql})", [one for _, bound in terms for one in bound]) if terms else _NEVER


def _between(name: str, low: Any, high: Any) -> Sql:
    """Narrow to values of the bounds' kind between them; None is unbounded."""
    kind = scalar_kind(low if low is not None else high)
    if kind == "truth":
        return "i.content->'properties'->%s = %s::jsonb", [name, json.dumps(low)]
    sql, values = "jsonb_typeof(i.content->'properties'->%s) = %s", list[object]([name])
    values.append("number" if kind == "number" else "string")
    for sign, comparison, bound in ((-1, ">=", low), (1, "<=", high)):
        if isinstance(bound, str):
            if not _is_bindable(bound):
                continue
            sql += f" AND (i.content->'properties'->>%s) COLLATE \"C\" {comparison} %s"
            values += [name, bound]
        elif bound is not None:
            number = widened(bound, sign)
            if abs(number) == float("inf"):
                continue
            sql += f" AND i.content->'properties'->%s {comparison} %s::jsonb"
            values += [name, json.dumps(number)]
    return f"({sql})", values
