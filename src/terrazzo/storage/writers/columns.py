"""Cubes without pixels as columns: one row per geometry, or one row per value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.cube import Cube, Geometries, Label

JOINER = "~"
"""Between the labels that name a column."""
VALUE = "value"
"""Name of the column of values where no label names it."""
IDENTIFIER = "id"
"""Name of the column of the geometries' labels."""
PROPERTIES = "properties"
"""Name of the dimension whose labels are the names of properties."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A cube as a table."""

    ids: tuple[Label, ...] | None
    """The label of the geometry of each row; None for a cube without geometries."""
    geometry: NDArray[np.int64]
    """The position of the geometry of each row; empty for a cube without geometries."""
    properties: Mapping[str, Sequence[Any]]
    """Attributes of the geometries; None where a geometry lacks one."""
    values: Mapping[str, np.ma.MaskedArray[Any, Any] | Sequence[Any]]
    """Labels and values of the cube, masked where there are no data."""

    def columns(self, *taken: str, named: bool = True) -> dict[str, Any]:
        """Return all columns: what names the geometries if wanted, their properties, the values.

        A name that is taken already, by `taken` too, gets `_` behind it.
        """
        columns: dict[str, Any] = {}
        first = {IDENTIFIER: self.ids} if named and self.ids is not None else {}
        for part in (first, self.properties, self.values):
            for name, values in part.items():
                columns[_free(name, (*columns, *taken))] = values
        return columns


def rows_of(cube: Cube, *, long: bool) -> Rows:
    """Return a cube without pixels as a table.

    Args:
        cube: (geometry, ...), or a cube without geometries, which is always written long.
        long: one row per value, with a column per dimension; otherwise one row per geometry,
            with a column per value, named by its labels: `2020-06-01T00:00:00Z~red`.
    """
    if not cube.has(Kind.GEOMETRY):
        return Rows(None, np.zeros(0, np.int64), {}, _long(cube))
    first = cube.axis(cube.only(Kind.GEOMETRY).name)
    dimension, others = cube.dimensions[first], _others(cube, first)
    count, width = len(dimension.labels), math.prod(len(d.labels) for d in others)
    values = np.moveaxis(cube.values, first, 0).reshape(count, width)
    valid = np.moveaxis(cube.valid, first, 0).reshape(count, width)
    held = cube.geometries
    if held is not None and held.bare and not valid.any():
        values, valid, width, long = values[:, :0], valid[:, :0], 0, False
    repeats = width if long else 1
    named: dict[str, Any] = {}
    if long:
        named = {name: list(column) * count for name, column in _labels(others).items()}
        named[_free(VALUE, named)] = _masked(values.ravel(), valid.ravel())
    else:
        for column, name in enumerate(_names(others)[:width]):
            named[_free(name, named)] = _masked(values[:, column], valid[:, column])
    own = {} if long or [d.name for d in others] != [PROPERTIES] else named
    return Rows(
        tuple(label for label in dimension.labels for _ in range(repeats)),
        np.repeat(np.arange(count), repeats),
        {
            name: [value for value in column for _ in range(repeats)]
            for name, column in _attributes(held).items()
            if name not in own
        },
        named,
    )


def _long(cube: Cube) -> dict[str, Any]:
    columns: dict[str, Any] = dict(_labels(cube.dimensions))
    columns[_free(VALUE, columns)] = _masked(cube.values.ravel(), cube.valid.ravel())
    return columns


def _others(cube: Cube, first: int) -> tuple[Any, ...]:
    return tuple(d for axis, d in enumerate(cube.dimensions) if axis != first)


def _labels(dimensions: Sequence[Any]) -> dict[str, list[Label]]:
    """Return, by dimension, its label at every position, the last dimension running fastest."""
    sizes = [len(dimension.labels) for dimension in dimensions]
    places = np.indices(sizes).reshape(len(sizes), math.prod(sizes))
    return {
        dimension.name: [dimension.labels[place] for place in row]
        for dimension, row in zip(dimensions, places.tolist(), strict=True)
    }


def _names(dimensions: Sequence[Any]) -> list[str]:
    if not dimensions:
        return [VALUE]
    return [JOINER.join(map(str, one)) for one in zip(*_labels(dimensions).values(), strict=True)]


def _attributes(held: Geometries | None) -> dict[str, list[Any]]:
    if held is None:
        return {}
    names = dict.fromkeys(name for entry in held.properties for name in entry)
    return {name: [entry.get(name) for entry in held.properties] for name in names}


def _masked(values: Any, valid: Any) -> np.ma.MaskedArray[Any, Any]:
    return np.ma.MaskedArray(values, ~valid)


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name += "_"
    return name
