"""Filters of items in CQL2 (OGC 21-065r2): what they mean, in Python.

`Filter.accepts` is the definition; SQL only proposes candidates (see `narrowing`). Logic has three
values, as in SQL: a comparison with what an item lacks is unknown, and an item is accepted if the
whole filter is true. Values of different kinds are unequal and have no order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from terrazzo.catalog.cql2_operators import OPERATORS, Facts, Geometry, Operator, Period
from terrazzo.catalog.cql2_text import json_of
from terrazzo.catalog.filters import has_surrogates
from terrazzo.catalog.space import Region, box_geometry, check_bbox, read_geometry, split
from terrazzo.errors import ArgumentInvalid, FilterInvalid, suggest
from terrazzo.geo.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from terrazzo.catalog.cql2_operators import Kind, Value
    from terrazzo.catalog.free_text import FreeText

DEEPEST = 64
"""Levels of the deepest filter."""
LARGEST = 20_000
"""Parts of the largest filter."""


@dataclass(frozen=True, slots=True)
class Property:
    """A property of an item, or `id`, `collection`, `geometry`."""

    name: str
    """Without `properties.` before it."""
    kind: Kind = "any"
    """What it is, where that is known."""
    whole: bool = False
    """Whether `datetime` is the item's whole period instead of its start."""

    def value(self, facts: Facts) -> Value:
        """Return what the item has; None where it lacks it."""
        return facts.period if self.whole else facts.get(self.name)


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that the filter gives."""

    given: Value
    """The value."""
    kind: Kind
    """What it is."""

    def value(self, _: Facts) -> Value:
        """Return the value."""
        return self.given


@dataclass(frozen=True, slots=True)
class Call:
    """An operator and its operands."""

    name: str
    """As in `OPERATORS`."""
    operator: Operator
    """What it does."""
    operands: tuple[Expression, ...]
    """In their order."""

    @property
    def kind(self) -> Kind:
        """What it gives."""
        return self.operator.gives

    def value(self, facts: Facts) -> Value:
        """Return what the operator makes of its operands; None is unknown."""
        if self.operator.lazy is not None:
            return self.operator.lazy(operand.value(facts) for operand in self.operands)
        return self.operator.call([operand.value(facts) for operand in self.operands])


@dataclass(frozen=True, slots=True)
class Words:
    """What is looked for in the texts of an item."""

    given: FreeText
    """The words."""
    kind: Kind = "truth"
    """What it gives."""

    def value(self, facts: Facts) -> Value:
        """Tell whether the item has them."""
        return self.given.accepts(facts.texts)


Expression: TypeAlias = Property | Constant | Call | Words


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on items."""

    expression: Expression
    """What must be true."""

    @classmethod
    def of(cls, given: str | Mapping[str, Any]) -> Filter:
        """Read CQL2 text or CQL2 JSON.

        Raises:
            FilterInvalid: says what is wrong.
        """
        document = json_of(given) if isinstance(given, str) else given
        expression = _Reader().read(document, 1)
        if expression.kind not in {"truth", "any"}:
            raise FilterInvalid(
                "The filter gives no truth value. Compare something, for example "
                '{"op": "<", "args": [{"property": "eo:cloud_cover"}, 20]}.'
            )
        return cls(expression)

    @classmethod
    def during(cls, first: datetime | None, last: datetime | None) -> Filter:
        """Return the filter of items that have an instant from `first` to `last`, both included."""
        operands = (Property("datetime", "time", whole=True), Constant(Period(first, last), "time"))
        return cls(Call("t_intersects", OPERATORS["t_intersects"], operands))

    @classmethod
    def of_words(cls, words: FreeText) -> Filter:
        """Return the filter of items in whose texts some words are."""
        return cls(Words(words))

    @classmethod
    def all_of(cls, filters: Sequence[Filter]) -> Filter:
        """Return the filter of items that meet all of some, at least one."""
        parts = tuple(one.expression for one in filters)
        return filters[0] if len(parts) == 1 else cls(Call("and", OPERATORS["and"], parts))

    def accepts(self, item: Mapping[str, Any]) -> bool:
        """Tell whether the filter is true for an item."""
        return self.holds(Facts(item))

    def holds(self, facts: Facts) -> bool:
        """Tell whether the filter is true where these are the facts."""
        return self.expression.value(facts) is True


class _Reader:
    """Reads CQL2 JSON, and counts how much of it there is."""

    def __init__(self) -> None:
        self._count = 0

    def read(self, document: Any, depth: int) -> Expression:
        """Return the expression of a JSON value."""
        self._count += 1
        if depth > DEEPEST or self._count > LARGEST:
            raise FilterInvalid(
                f"The filter is too large: more than {DEEPEST} levels or {LARGEST} parts. Write "
                "long alternatives with `in`."
            )
        if isinstance(document, Mapping):
            return self._object(document, depth)
        if isinstance(document, list):
            parts = [self.read(part, depth + 1) for part in document]
            if not all(isinstance(part, Constant) for part in parts):
                raise FilterInvalid("A list in a filter holds plain values, no expressions.")
            return Constant([part.value(_NOTHING) for part in parts], "list")
        return _constant(document)

    def _object(self, document: Mapping[str, Any], depth: int) -> Expression:
        if "op" in document:
            return self._call(document, depth)
        if isinstance(document.get("property"), str):
            return _property(document["property"])
        for member in ("timestamp", "date"):
            if member in document:
                return Constant(_time(document[member]), "time")
        if "interval" in document:
            return self._period(document["interval"], depth)
        if "type" in document:
            geometry = read_geometry(document, "Filter")
            return Constant(Geometry(geometry, Region.of_geometry(document)), "place")
        if "bbox" in document:
            return Constant(_box(document["bbox"]), "place")
        raise FilterInvalid(
            f"{_short(document)} is no part of a filter. Parts are op and args, property, "
            "timestamp, date, interval, bbox, and GeoJSON geometries."
        )

    def _call(self, document: Mapping[str, Any], depth: int) -> Expression:
        name, operands = document["op"], document.get("args")
        known = {operator.lower(): operator for operator in OPERATORS}
        found = known.get(name.lower()) if isinstance(name, str) else None
        if found is None:
            raise FilterInvalid(
                f"The filter has the unknown operator {_short(name)}."
                f"{suggest(str(name), tuple(OPERATORS))} Known are {', '.join(OPERATORS)}."
            )
        operator = OPERATORS[found]
        if found == "between" and isinstance(operands, list) and len(operands) == 2:  # noqa: PLR2004
            # As drafts of CQL2 had it, and clients still write it.
            limits = operands[1] if isinstance(operands[1], list) else [operands[1]]
            operands = [operands[0], *limits]
        if not isinstance(operands, list) or not operator.takes(len(operands)):
            raise FilterInvalid(f"{found} takes {operator.arity} in `args`: {_short(document)}.")
        parts = tuple(self.read(operand, depth + 1) for operand in operands)
        wanted = operator.kinds_of(len(parts))
        pairs = zip(parts, wanted, strict=True)
        parts = tuple(_listed(part) if kinds == ("list",) else part for part, kinds in pairs)
        for part, kinds in zip(parts, wanted, strict=True):
            if part.kind != "any" and part.kind not in kinds:
                raise FilterInvalid(
                    f"{found} takes {' or '.join(kinds)}, not a {part.kind}: {_short(document)}."
                )
        return Call(found, operator, parts)

    def _period(self, ends: Any, depth: int) -> Expression:
        if not isinstance(ends, list) or len(ends) != 2:  # noqa: PLR2004 - two ends
            raise FilterInvalid(
                "interval takes two times, for example "
                '{"interval": ["2024-01-01T00:00:00Z", ".."]}.'
            )
        parts = [
            Constant(None if end == ".." else _time(end), "time")
            if isinstance(end, str)
            else self.read(end, depth + 1)
            for end in ends
        ]
        first, last = parts
        if isinstance(first, Constant) and isinstance(last, Constant):
            return Constant(Period(first.given, last.given), "time")
        return Call("interval", OPERATORS["interval"], (first, last))


def _constant(value: Any) -> Constant:
    """Return a literal.

    Raises:
        FilterInvalid: JSON has no such value, or it cannot be compared.
    """
    if isinstance(value, bool):
        return Constant(value, "truth")
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return Constant(value, "number")
    if isinstance(value, str) and "\0" not in value and not has_surrogates(value):
        return Constant(value, "text")
    raise FilterInvalid(
        f"{_short(value)} cannot be compared in a filter. Valid are text, finite numbers and truth "
        "values; ask for missing values with isNull."
    )


def _listed(part: Expression) -> Expression:
    """Return a single value as a list: in the text, a list of one is written like brackets."""
    if isinstance(part, Constant) and part.kind in {"truth", "number", "text"}:
        return Constant([part.given], "list")
    return part


def _property(name: str) -> Property:
    """Return a property; some are known to be of a kind."""
    name = name.removeprefix("properties.")
    if not name or "\0" in name or has_surrogates(name):
        raise FilterInvalid("A property in the filter has no usable name.")
    known: dict[str, Kind] = {
        "geometry": "place",
        "datetime": "time",
        "id": "text",
        "collection": "text",
    }
    return Property(name, known.get(name, "any"))


def _time(text: Any) -> Any:
    try:
        return parse_time(text)
    except ArgumentInvalid as problem:
        raise FilterInvalid(f"The filter's time {_short(text)} is none: {problem}") from None


def _box(numbers: Sequence[float]) -> Geometry:
    box = check_bbox(numbers, "Filter")
    parts = [box_geometry(part) for part in split(box)]
    return Geometry.of_parts(parts, Region.of_bbox(box))


def _short(value: Any) -> str:
    """Return a value for a message."""
    return json.dumps(value, default=str)[:120]


_NOTHING = Facts({"properties": {}})
