"""Order of arrays: ranks, sorting, rearranging."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from terrazzo.cube import Pixels, Stack
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.times import parse_time
from terrazzo.processes.convert import as_stack, entries_of, index_dtype, is_list
from terrazzo.processes.registry import Role, Rules, process
from terrazzo.processes.schemas import Schema

if TYPE_CHECKING:
    from terrazzo.cube import Mask, Values

_SORTING = ("arrays", "sorting")
_RULES = Rules(scratch=12.0)
"""Ranks are 64 bit numbers, whatever the type of what is ranked."""
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
    ranks, valid = _ranked(stack, ascending=asc, nodata=nodata)
    return Stack(ranks, valid, exact=stack.exact)


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
    ranks, valid = _ranked(stack, ascending=asc, nodata=nodata)
    taken = _taken(stack, ranks)
    return Stack(taken.values, taken.valid & valid, exact=stack.exact)


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
        positions = places.values.astype(np.int64)
        held = np.where(places.valid & (positions < len(stack)), positions, 0)
        taken = _taken(stack, held)
        return Stack(taken.values, taken.valid & places.valid & (held == positions))
    chosen = [_checked(entry, len(stack)) for entry in entries_of(places)]
    labels = None if stack.labels is None else tuple(stack.labels[index] for index in chosen)
    return Stack(stack.values[chosen], stack.valid[chosen], labels, exact=stack.exact)


def _ranked(data: Stack, *, ascending: bool, nodata: bool | None) -> tuple[Values, Mask]:
    """Return positions in sorted order and where they stand for an entry that is to be kept."""
    keys = _keys(data)
    group = np.where(data.valid, np.isnan(keys), -1 if nodata is False else 2)
    if ascending is False:
        keys = -keys
    # lexsort is a stable merge sort: one answer per pixel, whatever lies around it.
    ranks = np.lexsort((keys, group), axis=0) if keys.size else np.zeros(keys.shape, np.int64)
    kept = np.take_along_axis(data.valid, ranks, 0) if nodata is None else np.ones_like(data.valid)
    if is_list(data):
        return ranks[kept].astype(np.float64), np.ones(int(kept.sum()), np.bool_)
    return ranks.astype(index_dtype(len(data))), kept


def _keys(data: Stack) -> Values:
    """Return what to sort by, in float64: numbers themselves, seconds for dates and times."""
    if data.values.dtype != np.object_:
        return data.values.astype(np.float64)
    return np.array([_key(entry) for entry in entries_of(data)], np.float64)


def _key(entry: Any) -> float:
    if entry is None:
        return 0.0
    if isinstance(entry, (int, float)):
        return float(entry)
    if isinstance(entry, str):
        return parse_time(entry).timestamp()
    raise ArgumentInvalid(f"{entry!r} has no order. Numbers, dates and times have.")


def _taken(data: Stack, ranks: Values) -> Pixels:
    places = ranks.astype(np.int64)
    if is_list(data):
        return Pixels(data.values[places], data.valid[places])
    if not len(data):
        return Pixels(data.values, data.valid)
    return Pixels(
        np.take_along_axis(data.values, places, 0), np.take_along_axis(data.valid, places, 0)
    )


def _checked(entry: Any, length: int) -> int:
    if type(entry) not in {int, float} or entry != int(entry) or not 0 <= entry < length:
        raise ArgumentInvalid(f"{entry!r} is no position in an array of {length} entries.")
    return int(entry)
