"""Which labels of an input a wanted part of the output needs, told by the labels themselves."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from terrazzo.cube import Kind
from terrazzo.errors import ArgumentInvalid, DimensionNotAvailable, TooManyDimensions
from terrazzo.geo.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from terrazzo.cube import Cube, Dimension, Label
    from terrazzo.processes.registry import Labels


def kept_labels(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need of `data` the labels of the same name, and no label that the output lacks."""
    del arguments
    return {"data": found_in(inputs["data"], wanted, output)}


def named_labels(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need of every input the labels of the same name: for cubes that are joined or masked."""
    del arguments
    return {argument: found_in(cube, wanted, output) for argument, cube in inputs.items()}


def without(labels: Labels, *dimensions: str | None) -> Labels:
    """Return what is wanted, with these dimensions wanted whole."""
    return {name: kept for name, kept in labels.items() if name not in dimensions}


def found_in(source: Cube, wanted: Labels, output: Cube) -> dict[str, tuple[int, ...]]:
    """Return positions, in `source`, of the labels of `output` that are wanted.

    Labels that `source` lacks are left out. The n-th of equal labels is the n-th of them in
    `source` too.
    """
    needed: dict[str, tuple[int, ...]] = {}
    for dimension in output.dimensions:
        if dimension.kind is Kind.SPATIAL or dimension.name not in source.names:
            continue
        places = _positions(source.dimension(dimension.name))
        seen: dict[Label, int] = defaultdict(int)
        chosen = wanted.get(dimension.name, tuple(range(len(dimension.labels))))
        asked = set(chosen)
        found = []
        for position, label in enumerate(dimension.labels):
            there = places.get(label, [])
            if position in asked and seen[label] < len(there):
                found.append(there[seen[label]])
            seen[label] += 1
        needed[dimension.name] = tuple(sorted(found))
    return needed


def temporal_dimension(cube: Cube, name: str | None) -> Dimension:
    """Return the temporal dimension of that name, or the only one if no name is given.

    Raises:
        DimensionNotAvailable: there is none of that name or none at all.
        TooManyDimensions: there are several and none is named.
    """
    temporal = [dimension for dimension in cube.dimensions if dimension.kind is Kind.TEMPORAL]
    names = [dimension.name for dimension in temporal]
    if name is not None:
        if name not in names:
            raise DimensionNotAvailable(name, names or cube.names)
        return temporal[names.index(name)]
    if not temporal:
        raise DimensionNotAvailable("(the only temporal one)", cube.names)
    if len(temporal) > 1:
        raise TooManyDimensions(
            f"The temporal dimensions are {', '.join(names)}. Name one of them with `dimension`."
        )
    return temporal[0]


_SEASONS = {"mam": "0", "jja": "1", "son": "2", "djf": "3"}
"""In the order of a year's labels: that of December names the year in which it begins."""
_DAY = len("2020-01-31")


_parsed = lru_cache(maxsize=10_000)(parse_time)


def instant_of(label: Label) -> datetime | None:
    """Return the instant of a temporal label that is a day or a time; None for other labels."""
    if not isinstance(label, str) or len(label) < _DAY:
        return None
    try:
        return _parsed(label)
    except ArgumentInvalid:
        return None


def chronological(labels: Sequence[Label]) -> tuple[Label, ...]:
    """Return temporal labels in the order of time: instants, or names of periods of one kind."""
    try:
        instants = {label: _parsed(str(label)) for label in labels}
    except ArgumentInvalid:
        return tuple(sorted(labels, key=_period_key))
    return tuple(sorted(labels, key=instants.__getitem__))


def _period_key(label: Label) -> str:
    year, _, season = str(label).partition("-")
    return f"{year}-{_SEASONS.get(season, season)}"


def labelled_dimension(data: Cube, name: str) -> Dimension:
    """Return a dimension that has labels of its own.

    Raises:
        DimensionNotAvailable: there is none of that name.
        ArgumentInvalid: it is x or y.
    """
    dimension = data.dimension(name)
    if dimension.kind is Kind.SPATIAL:
        raise ArgumentInvalid(
            f"Dimension {name!r} is spatial: its positions are those of the grid. Use "
            "`filter_bbox` to choose pixels and `resample_spatial` to change their lattice."
        )
    return dimension


def _positions(dimension: Dimension) -> dict[Label, list[int]]:
    places: dict[Label, list[int]] = defaultdict(list)
    for position, label in enumerate(dimension.labels):
        places[label].append(position)
    return places
