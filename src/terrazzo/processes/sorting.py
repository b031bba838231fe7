"""Order of arrays: ranks, sorting, rearranging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from terrazzo.cube import Stack, all_valid
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.processes.convert import as_stack, entries_of, index_dtype, is_list
from terrazzo.processes.kernels import where
from terrazzo.processes.registry import Role, Rules, process
from terrazzo.processes.schemas import Schema
from terrazzo.processes.series import arranged, taken

if TYPE_CHECKING:
    from terrazzo.cube import Mask, Values

_SORTING = ("arrays", "sorting")
_RULES = Rules(scratch=4.0)
"""Sorting gives numbers, positions and masks, whichever of them is wanted."""
_SORTABLE: dict[str, Any] = {
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "number"},
            {"type": "null"},
            {"type": "string", "format": "date-time", "subtype": "date-time"},
            {"type": "string", "format": "date", "subtype": "date"},
        ]
    },
}

Flag = Annotated[bool, Schema({"type": "boolean"})]
FlagOrNone = Annotated[bool | None, Schema({"type": ["boolean", "null"]})]
Sortable = Annotated[Stack, Schema(_SORTABLE)]
AnyArray = Annotated[Stack, Schema({"type": "array", "items": {"description": "Any data type."}})]
Positions = Annotated[Stack, Schema({"type": "array", "items": {"type": "integer", "minimum": 0}})]


@process("order", Role.SCALAR, categories=_SORTING, rules=_RULES)
def order(data: Sortable, asc: Flag = True, nodata: FlagOrNone = None) -> Positions:
    """Positions of the entries in sorted order, so that data[order[i]] <= data[order[i + 1]].

    Args:
        data: (n, ...) numbers, or dates and times as RFC 3339 text.
        asc: whether the smallest comes first.
        nodata: true puts no-data last, false first; by default it is left out.

    Returns:
        (n, ...) positions from 0; equal entries keep their order, NaN follows the numbers. An
        array per pixel stays as long as it is: where no-data is left out, no-data ends it.

    Raises:
        ProcessParameterInvalid: an entry is neither number, date nor time.

    Source:
        openEO process `order` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    _, positions, kept = _arranged(stack, ascending=asc, nodata=nodata)
    if is_list(stack):
        return Stack(positions[kept].astype(np.float64), all_valid((int(kept.sum()),)), exact=True)
    return Stack(positions, kept)


@process("sort", Role.SCALAR, categories=_SORTING, rules=_RULES)
def sort(data: Sortable, asc: Flag = True, nodata: FlagOrNone = None) -> Sortable:
    """Entries in sorted order, data[order[0]], data[order[1]], ...

    Args:
        data: (n, ...) numbers, or dates and times as RFC 3339 text.
        asc: whether the smallest comes first.
        nodata: true puts no-data last, false first; by default it is left out.

    Returns:
        (n, ...) in the dtype of `data`, without labels; equal entries keep their order, NaN
        follows the numbers. An array per pixel stays as long as it is: where no-data is left
        out, no-data ends it.

    Raises:
        ProcessParameterInvalid: an entry is neither number, date nor time.

    Source:
        openEO process `sort` 2.0.0-rc.2.
    """
    stack = as_stack(data)
    values, positions, kept = _arranged(stack, ascending=asc, nodata=nodata)
    if is_list(stack):
        chosen = positions[kept]
        return Stack(stack.values[chosen], stack.valid[chosen], exact=True)
    return Stack(values, kept if nodata is None else taken(stack.valid, positions))


@process("rearrange", Role.SCALAR, categories=_SORTING)
def rearrange(data: AnyArray, order: Positions) -> AnyArray:
    """Entries in a given order, data[order[0]], data[order[1]], ...

    Args:
        data: (n, ...) values of any kind.
        order: (m, ...) positions from 0, for all pixels or per pixel.

    Returns:
        (m, ...) in the dtype of `data`; with labels if one order serves all pixels. No-data
        where the position is.

    Raises:
        ProcessParameterInvalid: a position is no whole number or not in the array.

    Source:
        openEO process `rearrange` 2.0.0-rc.2.
    """
    stack, places = as_stack(data), as_stack(order)
    if not is_list(places):
        if is_list(stack):
            raise ArgumentInvalid("One array for all pixels cannot be rearranged per pixel.")
        if not len(stack):
            nothing = np.zeros(places.values.shape, stack.values.dtype)
            return Stack(nothing, np.zeros(nothing.shape, np.bool_))
        inside = places.valid & (places.values >= 0) & (places.values < len(stack))
        positions = where(inside, places.values, places.values.dtype.type(0))
        values, valid = (taken(part, positions) for part in (stack.values, stack.valid))
        return Stack(values, valid & inside)
    chosen = [_checked(entry, len(stack)) for entry in entries_of(places)]
    labels = None if stack.labels is None else tuple(stack.labels[index] for index in chosen)
    return Stack(stack.values[chosen], stack.valid[chosen], labels, exact=stack.exact)


def _arranged(data: Stack, *, ascending: bool, nodata: bool | None) -> tuple[Values, Values, Mask]:
    """Return entries in sorted order, their positions, and where one is that is to be kept."""
    keys, dtype = _keys(data), index_dtype(len(data))
    values, positions, there = arranged(
        keys, data.valid, dtype, ascending=ascending, first=nodata is False
    )
    return values, positions, there if nodata is None else all_valid(np.shape(positions))


def _keys(data: Stack) -> Values:
    """Return what to sort by: numbers themselves, seconds for dates and times."""
    if data.values.dtype != np.object_:
        return data.values
    return np.array([_key(entry) for entry in entries_of(data)], np.float64)


def _key(entry: Any) -> float:
    if entry is None:
        return 0.0
    if isinstance(entry, (int, float)):
        return float(entry)
    if isinstance(entry, str):
        return parse_time(entry).timestamp()
    raise ArgumentInvalid(f"{entry!r} has no order. Numbers, dates and times have.")


def _checked(entry: Any, length: int) -> int:
    if type(entry) not in {int, float} or entry % 1 != 0 or not 0 <= entry < length:
        raise ArgumentInvalid(f"{entry!r} is no position in an array of {length} entries.")
    return int(entry)
