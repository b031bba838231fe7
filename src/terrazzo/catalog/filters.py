"""Filters on item properties: what they mean in Python, and how SQL narrows the candidates.

`PropertyFilter.matches` is the definition. The SQL of `narrow` is a necessary condition that
spares decoding: it lets through everything that matches, and at most neighbours of a bound
within 1e-12 of it, because SQLite does not read decimal fractions exactly as Python does.
Names and values are bound, never written into SQL.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from terrazzo.catalog.json_text import json_text
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

Scalar: TypeAlias = str | float | bool
"""A property value that can be compared: text, a number (also an int), or a truth value."""

Operator: TypeAlias = Literal["=", "!=", "<", "<=", ">", ">=", "in", "between"]

_UNSAFE: Final = re.compile(r'[%"\\\x00-\x1f]')
_LARGEST: Final = 1.7e308
_EXACT: Final = frozenset({str, int, bool})
"""Types whose values can all be compared."""


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """A condition on one property of an item.

    Numbers compare as numbers, text by code points, truth values by `=`, `!=` and `in` only. A
    property that is missing, null, a list or an object never matches, not even with `!=`; one of
    another kind than the value matches only `!=`.
    """

    name: str
    """The property's name as in the item, for example `eo:cloud_cover`."""
    operator: Operator
    """How to compare; `between` includes both ends."""
    value: Scalar | tuple[Scalar, ...]
    """What to compare with: one value, any number for `in`, two of one kind for `between`."""

    def __post_init__(self) -> None:
        """Check the value against the operator."""
        if self.operator not in get_args(Operator):
            raise ArgumentInvalid(
                f"Operator {self.operator!r} on property {self.name!r} is unknown. "
                f"Valid are {', '.join(get_args(Operator))}."
            )
        several = self.operator in ("in", "between")
        if several != isinstance(self.value, tuple):
            raise self._invalid("a tuple" if several else "one text, number or truth value")
        kinds = {scalar_kind(value) for value in self._values()}
        if None in kinds or not isinstance(self.name, str):
            raise self._invalid("text, finite numbers or truth values")
        if self.operator == "between" and (len(self._values()) != 2 or len(kinds) != 1):  # noqa: PLR2004
            raise self._invalid("two values of one kind, the lower one first")
        if self.operator not in ("=", "!=", "in") and "truth" in kinds:
            raise self._invalid("text or a number; truth values have no order")
        for text in (self.name, *self._values()):
            if isinstance(text, str) and has_surrogates(text):
                raise self._invalid("text without lone surrogates")

    def _values(self) -> tuple[Scalar, ...]:
        """Return the value or values as a tuple."""
        return self.value if isinstance(self.value, tuple) else (self.value,)

    def _invalid(self, wanted: str) -> ArgumentInvalid:
        """Say what the operator takes."""
        return ArgumentInvalid(
            f"Property {self.name!r} {self.operator} {self.value!r}: this operator takes {wanted}."
        )

    def matches(self, properties: Mapping[str, Any]) -> bool:
        """Tell whether an item with these properties meets the condition."""
        return self.holds(properties.get(self.name))

    def holds(self, found: object) -> bool:
        """Tell whether a value of the property, None where it is missing, meets the condition."""
        kind = scalar_kind(found)
        if kind is None:
            return False
        if self.operator == "!=":
            return kind != scalar_kind(self.value) or found != self.value
        like = [value for value in self._values() if scalar_kind(value) == kind]
        if self.operator in ("=", "in"):
            return found in like
        if not like:
            return False
        return _ordered(self.operator, found, like)

    def narrow(self) -> tuple[str, list[object]]:
        """Return a necessary condition as SQL on `i.properties`, and its bound values."""
        path = '$."' + column_name(self.name) + '"'
        if self.operator == "!=":
            return "json_type(i.properties, ?) IS NOT NULL", [path]
        values = self._values()
        if self.operator == "between":
            return _between(path, values[0], values[1])
        if self.operator in ("<", "<="):
            return _between(path, None, values[0])
        if self.operator in (">", ">="):
            return _between(path, values[0], None)
        alternatives = [_between(path, value, value) for value in values]
        sql = " OR ".join(text for text, _ in alternatives) or "FALSE"
        return f"({sql})", [bound for _, bounds in alternatives for bound in bounds]


def scalar_kind(value: object) -> Literal["truth", "number", "text"] | None:
    """Name the kind of a scalar; None for what cannot be compared."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return "number"
    return "text" if isinstance(value, str) else None


def has_surrogates(text: str) -> bool:
    """Tell whether text cannot be written as UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _ordered(operator: Operator, found: Any, values: list[Any]) -> bool:
    """Compare by order; `found` and `values` are of one kind."""
    match operator:
        case "<":
            return bool(found < values[0])
        case "<=":
            return bool(found <= values[0])
        case ">":
            return bool(found > values[0])
        case ">=":
            return bool(found >= values[0])
        case _:
            return bool(values[0] <= found <= values[1])


def _between(path: str, low: Scalar | None, high: Scalar | None) -> tuple[str, list[object]]:
    """Narrow to values of the bounds' kind between them; None is unbounded."""
    kind = scalar_kind(low if low is not None else high)
    if kind == "truth":
        return "json_type(i.properties, ?) = ?", [path, "true" if low else "false"]
    sql, bounds = "json_type(i.properties, ?) = 'text'", [path]
    if kind == "number":
        sql = "json_type(i.properties, ?) IN ('integer', 'real')"
    values: list[object] = [*bounds]
    for sign, comparison, bound in ((-1, ">=", low), (1, "<=", high)):
        if bound is not None:
            sql += f" AND json_extract(i.properties, ?) {comparison} ?"
            values += [path, bound if isinstance(bound, str) else widened(bound, sign)]
    return f"({sql})", values


def widened(bound: float, sign: int) -> float:
    """Move a bound outwards by more than SQLite's error in reading a decimal number."""
    try:
        number = float(bound)
    except OverflowError:
        number = math.inf if bound > 0 else -math.inf
    if abs(number) >= _LARGEST:
        outwards = (number > 0) == (sign > 0)
        return math.copysign(math.inf if outwards else _LARGEST / 2, number)
    return number + sign * (abs(number) * 1e-12 + 1e-300)


@lru_cache(4096)
def column_name(name: str) -> str:
    """Return a property's name as the key in the `properties` column.

    The letters that a quoted JSON path cannot hold are written as `%XX`; the empty name as `%`.
    """
    return _UNSAFE.sub(lambda letter: f"%{ord(letter[0]):02X}", name) or "%"


def column_value(value: object) -> Scalar | None:
    """Return a property's value as the `properties` column has it; None where it has none."""
    return value if isinstance(value, str | float | int) and scalar_kind(value) else None


def column_text(properties: Mapping[str, Any]) -> str:
    """Return the comparable properties as the JSON text that `narrow` searches in."""
    return json_text(
        {
            column_name(name): value
            for name, value in properties.items()
            if type(value) in _EXACT or scalar_kind(value)
        }
    ).decode()
