"""SQL that spares decoding: conditions that every item which a filter accepts must meet.

The filter itself decides (`Filter.accepts`); what is written here may let through too much, never
too little. Names and values are bound, never written into SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from terrazzo.catalog.cql2 import Call, Constant, Property
from terrazzo.catalog.cql2_operators import Geometry, Period
from terrazzo.catalog.filters import PropertyFilter
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import microseconds

if TYPE_CHECKING:
    from terrazzo.catalog.cql2 import Expression
    from terrazzo.catalog.filters import Operator
    from terrazzo.catalog.space import Region

Sql: TypeAlias = tuple[str, list[object]]
"""A condition, and the values bound in it."""

_MIRRORED: dict[str, str] = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "<>": "<>"}
OPERATORS: dict[str, Operator] = {
    "=": "=",
    "<>": "!=",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
}
_MEETING = frozenset(
    {"s_intersects", "s_contains", "s_crosses", "s_equals", "s_overlaps", "s_touches", "s_within"}
)
"""Relations of geometries that have a point in common."""
_OVERLAPPING = frozenset(
    {"t_intersects", "t_during", "t_equals", "t_starts", "t_startedBy", "t_finishes"}
    | {"t_finishedBy", "t_contains", "t_overlaps", "t_overlappedBy", "t_meets", "t_metBy"}
)
"""Relations of times that have an instant in common."""
_MOST = 500
"""Values that are bound in all conditions; SQLite reads no expression of any depth."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What the accepted items have in common."""

    sql: tuple[Sql, ...] = ()
    """Conditions on the items `i`; all must be met."""
    region: Region | None = None
    """Where they lie, among other places."""
    first: datetime | None = None
    """They end at this instant or later."""
    last: datetime | None = None
    """They begin at this instant or earlier."""


def hints_of(expression: Expression) -> Hints:
    """Return what a filter's items have in common, as far as SQL can tell."""
    conditions: list[Sql] = []
    bound = 0
    region, first, last = None, None, None
    for part in parts(expression):
        region = region or _region(part)
        begin, end = _times(part)
        first = begin if first is None else max(first, begin or first)
        last = end if last is None else min(last, end or last)
        condition = _condition(part)
        if condition is not None and bound + len(condition[1]) <= _MOST:
            bound += len(condition[1])
            conditions.append(condition)
    return Hints(tuple(conditions), region, first, last)


def parts(expression: Expression) -> list[Expression]:
    """Return the conditions that must all be true."""
    if isinstance(expression, Call) and expression.name == "and":
        return [part for operand in expression.operands for part in parts(operand)]
    return [expression]


def _region(part: Expression) -> Region | None:
    if not isinstance(part, Call) or part.name not in _MEETING:
        return None
    for one, other in (part.operands, part.operands[::-1]):
        if isinstance(one, Property) and one.name == "geometry" and isinstance(other, Constant):
            given = other.given
            return given.region if isinstance(given, Geometry) else None
    return None


def _times(part: Expression) -> tuple[datetime | None, datetime | None]:
    """Return the instants between which items that meet a condition on `datetime` lie."""
    found = against_constant(part)
    if found is None or found[1].name != "datetime":
        return None, None
    name, _, value = found
    if name in _OVERLAPPING and isinstance(value, Period):
        return value.first, value.last
    if name in _OVERLAPPING and isinstance(value, datetime):
        return value, value
    if not isinstance(value, datetime):
        return None, None
    return (
        value if name in {"=", ">", ">="} else None,
        value if name in {"=", "<", "<="} else None,
    )


def against_constant(part: Expression) -> tuple[str, Property, object] | None:
    """Return an operator between a property and a constant, the property first."""
    if not isinstance(part, Call) or len(part.operands) != 2:  # noqa: PLR2004 - of two operands
        return None
    left, right = part.operands
    if isinstance(left, Property) and isinstance(right, Constant):
        return part.name, left, right.given
    if isinstance(left, Constant) and isinstance(right, Property) and part.name in _MIRRORED:
        return _MIRRORED[part.name], right, left.given
    return None


def _condition(part: Expression) -> Sql | None:
    """Return a necessary condition of one part, if SQL has one."""
    if isinstance(part, Call) and part.name in {"and", "or"}:
        return _joined(part)
    if isinstance(part, Call) and part.name == "between":
        return _between(*part.operands)
    found = against_constant(part)
    if found is None:
        return None
    name, one, given = found
    if name == "in" and isinstance(given, list):
        return _property(one.name, "in", tuple(given))
    if name in OPERATORS and one.name == "datetime":
        return _start(name, given)
    return _property(one.name, OPERATORS[name], given) if name in OPERATORS else None


def _between(value: Expression, low: Expression, high: Expression) -> Sql | None:
    if not isinstance(low, Constant) or not isinstance(high, Constant):
        return None
    if not isinstance(value, Property) or value.name == "datetime":
        return None
    return _property(value.name, "between", (low.given, high.given))


def _joined(part: Call) -> Sql | None:
    """Return a condition of parts: for `or` only if every part has one."""
    found = [_condition(operand) for operand in part.operands]
    known = [condition for condition in found if condition is not None]
    if not known or (part.name == "or" and len(known) < len(found)):
        return None
    text = f" {part.name.upper()} ".join(f"({sql})" for sql, _ in known)
    return f"({text})", [value for _, values in known for value in values]


def _start(name: str, value: object) -> Sql | None:
    """Return a condition on when items begin."""
    if name == "<>" or not isinstance(value, datetime):
        return None
    return f"i.start {name} ?", [microseconds(value)]


def _property(name: str, operator: Operator, value: Any) -> Sql | None:
    """Return a condition on a property, `id` or `collection`."""
    if name in {"geometry", "collection", "datetime"}:
        return None
    if name == "id":
        return _id(operator, value)
    try:
        return PropertyFilter(name, operator, value).narrow()
    except ArgumentInvalid:
        return None


def _id(operator: Operator, value: object) -> Sql | None:
    if operator == "=" and isinstance(value, str):
        return "i.id = ?", [value]
    if operator == "in" and isinstance(value, tuple) and all(isinstance(v, str) for v in value):
        places = ", ".join("?" for _ in value)
        return f"i.id IN ({places})", list(value)
    return None
