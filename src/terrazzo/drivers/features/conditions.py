"""What a feature must meet: CQL2 on its attributes, its geometry and its time.

`Filter.holds` decides. `narrowed` looks at whole columns first and lets through too much, never
too little, so that a filter over a million features makes few of them into Python objects.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from typing_extensions import override

from terrazzo.catalog.cql2 import Call, Constant, Property
from terrazzo.catalog.cql2_operators import Facts, Geometry, Period
from terrazzo.errors import ArgumentInvalid, FilterInvalid, suggest
from terrazzo.storage.vectors.reading import plain_value
from terrazzo.storage.vectors.stored import as_instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.catalog.cql2 import Expression, Filter
    from terrazzo.catalog.cql2_operators import Value

GEOMETRY, TIME, NAME = "geometry", "datetime", "id"
"""Properties of every feature, unless an attribute has the name."""
_NOWHERE: Final = shapely.Point()
_EXACT: Final = 2.0**52
"""Numbers up to here are the same as a float of 64 bits."""
_DAY_LETTERS: Final = 10
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "="}
_ARROW: Final = {
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
    "=": pc.equal,
}


class FeatureFacts(Facts):
    """What a filter may ask of a feature."""

    def __init__(
        self,
        name: str,
        properties: Mapping[str, Any],
        shape: BaseGeometry,
        period: tuple[datetime, datetime] | None,
    ) -> None:
        """Take what is known of a feature; its geometry is in longitude and latitude."""
        super().__init__({"id": name, "properties": properties})
        self._name, self._properties, self._shape, self._period = name, properties, shape, period

    @override
    def get(self, name: str) -> Value:
        if name == GEOMETRY:
            return None if self._shape.is_empty else self.footprint
        if name in self._properties:
            return self._properties[name]
        if name == TIME:
            return None if self._period is None else self._period[0]
        return self._name if name == NAME else None

    @cached_property
    @override
    def footprint(self) -> Geometry:
        """Where the feature lies."""
        return Geometry(self._shape, is_footprint=True)

    @cached_property
    @override
    def period(self) -> Period | datetime:
        """When it was."""
        first, last = self._period or (None, None)
        return Period(first, last)


def instants(value: Any) -> tuple[datetime, datetime] | None:
    """Return first and last instant of the value of an attribute of dates; None where none is."""
    if value is None:
        return None
    try:
        first = as_instant(value)
    except ArgumentInvalid:
        return None
    if len(str(value)) > _DAY_LETTERS:
        return first, first
    end = datetime.max.replace(tzinfo=UTC)
    day = timedelta(days=1) - timedelta(microseconds=1)
    return first, first + day if first <= end - day else end


def check_names(condition: Filter, types: Mapping[str, str]) -> None:
    """Refuse a filter of attributes that there are not.

    Raises:
        FilterInvalid: lists those that there are.
    """
    known = {*types, GEOMETRY, TIME, NAME}
    for name in names_in(condition):
        if name not in known:
            raise FilterInvalid(
                f"The filter has the property {name[:80]!r}, which no feature has."
                f"{suggest(name, tuple(known))} They have {', '.join(sorted(known))[:500]}."
            )


def names_in(condition: Filter) -> set[str]:
    """Return the properties that a filter asks for."""
    return _names(condition.expression)


def uses_geometry(condition: Filter) -> bool:
    """Tell whether a filter looks at geometries."""
    return GEOMETRY in names_in(condition)


def _names(expression: Expression) -> set[str]:
    if isinstance(expression, Property):
        return {TIME if expression.whole else expression.name}
    if isinstance(expression, Call):
        return {name for one in expression.operands for name in _names(one)}
    return set()


def narrowed(condition: Filter, table: Any) -> NDArray[np.bool_]:
    """Return which rows of an Arrow table may meet a filter; others do not."""
    kept = np.ones(len(table), np.bool_)
    for part in _parts(condition.expression):
        mask = _mask(part, table)
        if mask is not None:
            kept &= pc.fill_null(mask, fill_value=False).to_numpy(zero_copy_only=False)
        else:
            kept &= _by_value(part, table, kept)
    return kept


def _by_value(part: Call, table: Any, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows meet a condition on one attribute; each of its values is looked at once."""
    names = _names(part)
    name = min(names, default="")
    if len(names) != 1 or name == GEOMETRY or name not in table.column_names or not kept.any():
        return kept
    column = table.column(name).combine_chunks()
    if isinstance(column.type, pa.JsonType) or pa.types.is_nested(column.type):
        return kept
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = [*map(plain_value, coded.dictionary.to_pylist()), None]
    meets = np.array([
        part.value(FeatureFacts("", {name: value}, _NOWHERE, None)) is True
        for value in values
    ])  # fmt: skip
    codes = pc.fill_null(coded.indices, len(values) - 1).to_numpy(zero_copy_only=False)
    found: NDArray[np.bool_] = meets[codes]
    return found


def _parts(expression: Expression) -> Iterator[Call]:
    """Yield what must all be true."""
    if not isinstance(expression, Call):
        return
    if expression.name == "and":
        for one in expression.operands:
            yield from _parts(one)
    else:
        yield expression


def _mask(part: Call, table: Any) -> Any:
    """Return which rows may meet a comparison with constants; None where that is not told."""
    name, operands = part.name, part.operands
    if name == "between":
        low, high = (_compared(">=", operands[0], operands[1], table),
                     _compared("<=", operands[0], operands[2], table))  # fmt: skip
        return low if high is None else high if low is None else pc.and_kleene(low, high)
    if name == "in":
        return _among(operands, table)
    if name not in _ARROW:
        return None
    left, right = operands
    if isinstance(left, Constant):
        return _compared(_MIRRORED[name], right, left, table)
    return _compared(name, left, right, table)


def _among(operands: Sequence[Expression], table: Any) -> Any:
    values = operands[1].given if isinstance(operands[1], Constant) else None
    masks = [
        _compared("=", operands[0], Constant(value, "any"), table)
        for value in (values if isinstance(values, list) and len(values) <= len(table) else [])
    ]
    if not masks or any(mask is None for mask in masks):
        return None
    found = masks[0]
    for mask in masks[1:]:
        found = pc.or_kleene(found, mask)
    return found


def _compared(name: str, left: Expression, right: Expression, table: Any) -> Any:
    if not isinstance(left, Property) or not isinstance(right, Constant):
        return None
    if left.whole or left.name == GEOMETRY or left.name not in table.column_names:
        return None
    column, value = table.column(left.name), right.given
    kind = column.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if isinstance(value, str) and is_text:
        return _ARROW[name](column, pa.scalar(value, kind))
    is_number = pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind)
    if type(value) in {int, float} and is_number and abs(value) <= _EXACT:
        return _ARROW[name](column.cast(pa.float64(), safe=False), pa.scalar(float(value)))
    return None
