"""Dates of one cube for those of another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, Label, Stack
from terrazzo.errors import ArgumentInvalid, DimensionMismatch, DimensionNotAvailable
from terrazzo.geo.times import parse_time
from terrazzo.processes.cube_schemas import TemporalCube, TextOrNull
from terrazzo.processes.kernels import where
from terrazzo.processes.registry import Labels, Role, Rules, process, same_labels
from terrazzo.processes.schemas import Schema

DaysOrNull = Annotated[float | None, Schema({"type": ["number", "null"]})]


def _dates_near(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need the dates that those wanted may be taken from, and no other."""
    data, target = inputs["data"], arguments["target"]
    needed = dict(wanted)
    for name in _shared(data, target, arguments.get("dimension")):
        labels = target.dimension(name).labels
        candidates = _candidates(data.dimension(name).labels, labels, arguments.get("valid_within"))
        chosen = wanted.get(name, tuple(range(len(labels))))
        needed[name] = tuple(sorted({date for one in chosen for date in candidates[one]}))
    return same_labels(needed, output, inputs, arguments)


@process(
    "resample_cube_temporal",
    Role.CUBE,
    categories=("cubes", "reproject"),
    rules=Rules(labels=_dates_near, labels_of=frozenset({"target"}), scratch=2.0),
)
def resample_cube_temporal(
    data: TemporalCube,
    target: TemporalCube,
    dimension: TextOrNull = None,
    valid_within: DaysOrNull = None,
) -> TemporalCube:
    """Give every date of another cube the pixels of the nearest date of this one.

    Args:
        data: cube with one or more temporal dimensions.
        target: cube that has the dates; its pixels do not count and are not read.
        dimension: a temporal dimension of both cubes; null takes all those of equal names, one
            after the other.
        valid_within: days, 0 or more. Take, pixel by pixel, the nearest valid number (see
            `is_valid`) less than so many days before or after, or of that very time, and no-data
            if there is none. Null takes the nearest date, whatever it has.

    Returns:
        The cube with the labels of `target` in place of its dates. Of two dates equally near the
        earlier one is taken.

    Raises:
        DimensionNotAvailable: a cube has no dimension of that name.
        DimensionMismatch: the dimension is not temporal in both cubes, or no temporal dimension
            of the two has the same name.
        ProcessParameterInvalid: a label is no time, or `valid_within` is negative.

    Source:
        openEO process `resample_cube_temporal` 2.0.0-rc.2.
    """
    for name in _shared(data, target, dimension):
        labels = target.dimension(name).labels
        candidates = _candidates(data.dimension(name).labels, labels, valid_within)
        if valid_within is None and data.dimension(name).labels:
            picked = data.take(name, [candidate for (candidate,) in candidates])
        else:
            picked = _first_valid(data, name, candidates)
        axis = picked.axis(name)
        renamed = Dimension(name, Kind.TEMPORAL, labels)
        data = replace(picked, dimensions=picked.with_dimension(axis, renamed))
    return data


def _shared(data: Cube, target: Cube, dimension: str | None) -> tuple[str, ...]:
    """Return the names of the dimensions to resample."""
    if dimension is not None:
        for cube in (data, target):
            if dimension not in cube.names:
                raise DimensionNotAvailable(dimension, cube.names)
        kinds = [cube.dimension(dimension).kind for cube in (data, target)]
        if kinds != [Kind.TEMPORAL, Kind.TEMPORAL]:
            raise DimensionMismatch(
                f"Dimension {dimension!r} is of type {kinds[0].value} in `data` and "
                f"{kinds[1].value} in `target`. Both must be temporal."
            )
        return (dimension,)
    first, second = (
        [d.name for d in cube.dimensions if d.kind is Kind.TEMPORAL] for cube in (data, target)
    )
    names = tuple(name for name in first if name in second)
    if not names:
        raise DimensionMismatch(
            "The cubes have no temporal dimension of the same name: `data` has "
            f"{', '.join(first) or 'none'} and `target` {', '.join(second) or 'none'}. Rename one "
            "with `rename_dimension`."
        )
    return names


def _candidates(
    labels: Sequence[Label], targets: Sequence[Label], valid_within: float | None
) -> list[list[int]]:
    """Return, for every target, the positions of the dates to take, the nearest first."""
    if valid_within is not None and not valid_within >= 0:
        raise ArgumentInvalid(f"`valid_within` is {valid_within} days; it must not be negative.")
    instants = [parse_time(str(label)) for label in labels]
    found = []
    for label in targets:
        target = parse_time(str(label))
        ranked = sorted(range(len(instants)), key=lambda n: (*_rank(instants[n], target), n))
        if valid_within is None:
            found.append(ranked[:1])
            continue
        near = [n for n in ranked if _is_within(instants[n] - target, valid_within)]
        found.append(near)
    return found


def _rank(instant: datetime, target: datetime) -> tuple[timedelta, datetime]:
    """Say how near an instant is; the earlier of two comes first."""
    return abs(instant - target), instant


def _is_within(distance: timedelta, days: float) -> bool:
    return not distance or abs(distance) / timedelta(days=1) < days


def _first_valid(data: Cube, name: str, candidates: Sequence[Sequence[int]]) -> Cube:
    """Return, for every list of dates, the first valid number of every pixel."""
    stack, axis = data.stack(name), data.axis(name)
    planes = [_first_of(stack, positions) for positions in candidates]
    shape = stack.values.shape[1:]
    if not planes:
        values, valid = np.zeros((0, *shape), data.dtype), np.zeros((0, *shape), np.bool_)
    else:
        values = np.stack([plane[0] for plane in planes])
        valid = np.stack([plane[1] for plane in planes])
    return replace(data, values=np.moveaxis(values, 0, axis), valid=np.moveaxis(valid, 0, axis))


def _first_of(stack: Stack, positions: Sequence[int]) -> tuple[Any, Any]:
    shape = stack.values.shape[1:]
    values: Any = np.zeros(shape, stack.values.dtype)
    valid: Any = np.zeros(shape, np.bool_)
    for position in reversed(positions):
        good = stack.valid[position]
        if stack.values.dtype.kind == "f":
            good = good & np.isfinite(stack.values[position])
        values = where(good, stack.values[position], values)
        valid = valid | good
    return values, valid
