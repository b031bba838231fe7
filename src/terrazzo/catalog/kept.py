"""What a catalogue keeps of an item beside its document, so that searches need not read that."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from terrazzo.catalog.cql2 import Call, Constant, Property, Words
from terrazzo.catalog.cql2_operators import Facts, Geometry, Period
from terrazzo.catalog.filters import column_name
from terrazzo.catalog.footprints import shape_of

if TYPE_CHECKING:
    from terrazzo.catalog.cql2 import Expression
    from terrazzo.catalog.cql2_operators import Value

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OWN: Final = frozenset({"id", "collection", "geometry", "datetime"})


@dataclass(frozen=True, slots=True)
class Kept:
    """An item without its document."""

    collection: str
    """Id of its collection."""
    id: str
    """Its own id."""
    start: int
    """Its instant, or the start of its period, microseconds since 1970."""
    stop: int
    """The end of its period."""
    footprint: bytes
    """Where it lies, see `footprints`."""
    properties: str
    """Its comparable properties as JSON, see `filters.column_text`."""


class KeptFacts(Facts):
    """What a filter may ask of an item, from what is kept of it; lists and objects lack."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    @override
    def get(self, name: str) -> Value:
        if name == "id":
            return self._kept.id
        if name == "collection":
            return self._kept.collection
        if name == "geometry":
            return self.footprint
        if name == "datetime":
            return _instant(self._kept.start)
        return self.properties.get(column_name(name))

    @cached_property
    def properties(self) -> dict[str, Any]:
        """The comparable properties, by the names of columns."""
        found: dict[str, Any] = json.loads(self._kept.properties)
        return found

    @cached_property
    @override
    def footprint(self) -> Geometry:
        return Geometry(shape_of(self._kept.footprint), is_footprint=True)

    @cached_property
    @override
    def period(self) -> Period | datetime:
        first, last = self._kept.start, self._kept.stop
        return _instant(first) if first == last else Period(_instant(first), _instant(last))


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def needs_document(expression: Expression) -> bool:
    """Tell whether an expression looks at what is not kept: a property's list, or that it is none.

    Words are looked for in lists, too.

    Everywhere else a list or an object is as good as a missing value: the result is unknown.
    """
    if isinstance(expression, Words):
        return True
    if not isinstance(expression, Call):
        return False
    name, operands = expression.name, expression.operands
    if name == "in":
        among = operands[1]
        whole = not isinstance(among, Constant) or not among.given
    else:
        whole = name == "isNull" or name.startswith("a_")
    if whole and any(isinstance(one, Property) and one.name not in _OWN for one in operands):
        return True
    return any(needs_document(operand) for operand in operands)
