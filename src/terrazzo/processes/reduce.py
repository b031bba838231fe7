"""Reducers and callbacks along a dimension or over every value; aggregation over time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, Label, Pixels, Stack
from terrazzo.errors import (
    ArgumentInvalid,
    DistinctDimensionLabelsRequired,
    LabelMismatch,
    TemporalExtentEmpty,
)
from terrazzo.geo.times import contains, parse_filter, parse_time
from terrazzo.processes.cube_schemas import (
    ArrayProcess,
    NewLabels,
    Period,
    PixelProcess,
    Reducer,
    TemporalCube,
    TemporalIntervals,
    Text,
    TextOrNull,
)
from terrazzo.processes.labels import labelled_dimension, temporal_dimension, without
from terrazzo.processes.periods import label_of, ordinal_of
from terrazzo.processes.registry import Labels, Role, Rules, process, same_labels
from terrazzo.processes.returned import as_pixels, as_stack, stacked
from terrazzo.processes.schemas import AnyCube, Callback, Context


@process("apply", Role.CUBE, categories=("cubes",), rules=Rules(labels=same_labels, scratch=2.0))
def apply(data: AnyCube, process: PixelProcess, context: Context = None) -> AnyCube:
    """Compute every value anew from itself.

    Args:
        data: any cube.
        process: called with all values as `x`; returns one for each.
        context: passed on to `process`.

    Returns:
        A cube of the same shape and labels; type and no-data as `process` returns them.

    Source:
        openEO process `apply` 2.0.0-rc.2.
    """
    result = process(x=Pixels(data.values, data.valid, data.dimensions), context=context)
    pixels = as_pixels(result, data.values.shape, data.dtype)
    return data.same_pixels(pixels.values, pixels.valid)


@process(
    "reduce_dimension",
    Role.CUBE,
    categories=("cubes", "reducer"),
    rules=Rules(labels=same_labels, scratch=1.0),
)
def reduce_dimension(
    data: AnyCube, reducer: Reducer, dimension: Text, context: Context = None
) -> AnyCube:
    """Collapse a dimension: one value from all those along it.

    Args:
        data: any cube.
        reducer: called with the values along the dimension as `data`; returns one per pixel.
        dimension: name of a dimension that has labels; x and y are collapsed by
            `aggregate_spatial`.
        context: passed on to `reducer`.

    Returns:
        The cube without that dimension; type and no-data as `reducer` returns them.

    Raises:
        DimensionNotAvailable: no dimension has that name.

    Source:
        openEO process `reduce_dimension` 2.0.0-rc.2.
    """
    labelled_dimension(data, dimension)
    stack = data.stack(dimension)
    axis = data.axis(dimension)
    result = reducer(data=stack, context=context)
    pixels = as_pixels(result, stack.values.shape[1:], data.dtype)
    return replace(
        data,
        values=pixels.values,
        valid=pixels.valid,
        dimensions=data.dimensions[:axis] + data.dimensions[axis + 1 :],
        geometries=None if data.dimensions[axis].kind is Kind.GEOMETRY else data.geometries,
    )


def _labels_across(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    crossed = without(wanted, arguments["dimension"], arguments.get("target_dimension"))
    return same_labels(crossed, output, inputs, arguments)


@process(
    "apply_dimension",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(labels=_labels_across, scratch=2.0),
)
def apply_dimension(
    data: AnyCube,
    process: ArrayProcess,
    dimension: Text,
    target_dimension: TextOrNull = None,
    context: Context = None,
) -> AnyCube:
    """Compute the values along a dimension anew, all of them at once.

    Args:
        data: any cube.
        process: called with the values along `dimension` as `data`; returns an array of any
            length but 0.
        dimension: name of a dimension that has labels.
        target_dimension: where the computed values go, in place of `dimension`: another
            dimension, or a new name, which makes a dimension of type other. Null keeps
            `dimension`. From another dimension with several labels `process` gets the values of
            all of them, in one array without labels, and what it returns replaces them.
        context: passed on to `process`.

    Returns:
        The cube with the computed array along the target. Labels are those that code of a user
        gives it (`run_udf`); without any they are kept if the target is `dimension` and the
        number of values stays, and else 0, 1, 2, ...

    Raises:
        DimensionNotAvailable: no dimension has the name `dimension`.
        ProcessParameterInvalid: the values would be those of other geometries, or there is none.

    Source:
        openEO process `apply_dimension` 2.0.0-rc.2.
    """
    source = labelled_dimension(data, dimension)
    stack = data.stack(dimension)
    axis, rest = data.axis(dimension), [d for d in data.dimensions if d.name != dimension]
    target = None
    if target_dimension != dimension and target_dimension in data.names:
        target = labelled_dimension(data, target_dimension)
        axis = rest.index(target)
        stack = _joined(stack, axis + 1)
        del rest[axis]
    result = as_stack(process(data=stack, context=context), stack.values.shape[1:], data.dtype)
    named = _own_labels(result)
    labels = tuple(range(len(result))) if named is None else named
    if target_dimension is None or target_dimension == dimension:
        same = len(result) == len(source.labels) if named is None else named == source.labels
        return _with_stack(data, result, rest, axis, source if same else _labelled(source, labels))
    if target is None:
        made = Dimension(target_dimension, Kind.OTHER, labels)
        return _with_stack(data, result, rest, axis, made)
    return _with_stack(data, result, rest, axis, _labelled(target, labels))


def _joined(stack: Stack, axis: int) -> Stack:
    """Return the entries along another axis as entries of the array, too, if there are several."""
    count = stack.values.shape[axis]
    if count == 1:
        return replace(
            stack,
            values=stack.values.squeeze(axis),
            valid=stack.valid.squeeze(axis),
            axes=stack.axes[:axis] + stack.axes[axis + 1 :],
        )
    values, valid = (np.moveaxis(part, axis, 1) for part in (stack.values, stack.valid))
    shape = (len(stack) * count, *values.shape[2:])
    return Stack(values.reshape(shape), valid.reshape(shape), exact=stack.exact)


def _own_labels(stack: Stack) -> tuple[Label, ...] | None:
    """Return the labels that code of a user has given to an array, or that it had all along."""
    if not stack.axes or len(stack.axes[0].labels) != len(stack):
        return None
    return stack.axes[0].labels


def _labelled(dimension: Dimension, labels: tuple[Label, ...]) -> Dimension:
    """Return a dimension with other labels; geometries cannot be made up."""
    if dimension.kind is Kind.GEOMETRY:
        raise ArgumentInvalid(
            f"The callback returns {len(labels)} values for the geometries of {dimension.name!r}, "
            "which they do not belong to. Give them a new `target_dimension`."
        )
    return replace(dimension, labels=labels)


def _with_stack(
    data: Cube, stack: Stack, rest: Sequence[Dimension], axis: int, dimension: Dimension
) -> Cube:
    """Put the first axis of a stack at `axis` among the other dimensions."""
    dimensions = (*rest[:axis], dimension, *rest[axis:])
    return replace(
        data,
        values=np.moveaxis(stack.values, 0, axis),
        valid=np.moveaxis(stack.valid, 0, axis),
        dimensions=dimensions,
        geometries=data.geometries if any(d.kind is Kind.GEOMETRY for d in dimensions) else None,
    )


def _dates_of_intervals(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need the dates in the wanted intervals, and no other."""
    temporal = temporal_dimension(inputs["data"], arguments.get("dimension"))
    if temporal.name not in wanted:
        return same_labels(wanted, output, inputs, arguments)
    groups = _intervals(temporal, arguments["intervals"])
    dates = {date for number in wanted[temporal.name] for date in groups[number]}
    kept = {**wanted, temporal.name: tuple(sorted(dates))}
    return same_labels(kept, output, inputs, arguments)


def _intervals(temporal: Dimension, intervals: Sequence[Any]) -> list[list[int]]:
    """Return the positions of the dates in each interval."""
    tests = [_interval_test(start, end) for start, end in intervals]
    instants = [parse_time(str(label)) for label in temporal.labels]
    return [[i for i, instant in enumerate(instants) if test(instant)] for test in tests]


def _dates_of_periods(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need the dates in the wanted periods; of one without dates those next to it on both sides.

    Those are why it is there: labels run from the first date to the last.
    """
    temporal = temporal_dimension(inputs["data"], arguments.get("dimension"))
    if temporal.name not in wanted:
        return same_labels(wanted, output, inputs, arguments)
    ordinals = [
        ordinal_of(arguments["period"], parse_time(str(label))) for label in temporal.labels
    ]
    dates: set[int] = set()
    for number in wanted[temporal.name]:
        asked = min(ordinals) + number
        there = {date for date, one in enumerate(ordinals) if one == asked}
        below = max((one, date) for date, one in enumerate(ordinals) if one <= asked)
        above = min((one, date) for date, one in enumerate(ordinals) if one >= asked)
        dates |= there or {below[1], above[1]}
    kept = {**wanted, temporal.name: tuple(sorted(dates))}
    return same_labels(kept, output, inputs, arguments)


@process(
    "aggregate_temporal",
    Role.CUBE,
    categories=("cubes", "aggregate"),
    rules=Rules(labels=_dates_of_intervals, makes_all=True, scratch=2.0),
)
def aggregate_temporal(
    data: TemporalCube,
    intervals: TemporalIntervals,
    reducer: Reducer,
    labels: NewLabels = [],  # noqa: B006 - the openEO default; never written to
    dimension: TextOrNull = None,
    context: Context = None,
) -> TemporalCube:
    """Collapse the dates of each interval to one value.

    Args:
        data: cube with a temporal dimension.
        intervals: pairs of start and end, the end excluded: instants or dates (null is
            unbounded), or times of the day in UTC, which may pass midnight. They may overlap.
        reducer: called with the values of an interval as `data`, in the order of the cube; with
            an empty array where there is no date.
        labels: one per interval; by default their starts.
        dimension: the temporal dimension; null means the only one.
        context: passed on to `reducer`.

    Returns:
        The cube with one label per interval in place of the dates.

    Raises:
        TooManyDimensions: there are several temporal dimensions and none is named.
        DimensionNotAvailable: no temporal dimension has that name, or there is none.
        DistinctDimensionLabelsRequired: two labels are equal, or an interval without a start
            has no label.
        TemporalExtentEmpty: an interval's end is not after its start.
        LabelMismatch: there are not as many labels as intervals.

    Source:
        openEO process `aggregate_temporal` 2.0.0-rc.2.
    """
    temporal = temporal_dimension(data, dimension)
    groups = _intervals(temporal, intervals)
    if labels and len(labels) != len(groups):
        raise LabelMismatch(f"There are {len(groups)} intervals and {len(labels)} labels.")
    named: tuple[Label | None, ...] = tuple(labels) or tuple(start for start, _ in intervals)
    if None in named or len(set(named)) < len(named):
        raise DistinctDimensionLabelsRequired(
            f"The labels {', '.join(map(repr, named))} are not distinct texts or numbers. Give "
            "one label per interval with `labels`."
        )
    kept: tuple[Label, ...] = tuple(label for label in named if label is not None)
    return aggregated(data, temporal, groups, kept, reducer, context)


@process(
    "aggregate_temporal_period",
    Role.CUBE,
    categories=("aggregate", "climatology", "cubes"),
    rules=Rules(labels=_dates_of_periods, scratch=2.0),
)
def aggregate_temporal_period(
    data: TemporalCube,
    period: Period,
    reducer: Reducer,
    dimension: TextOrNull = None,
    context: Context = None,
) -> TemporalCube:
    """Collapse the dates of each hour, day, week, dekad, month, season, year or decade.

    Args:
        data: cube with a temporal dimension.
        period: `hour`, `day`, `week` (ISO 8601), `dekad` (days 1-10, 11-20 and the rest of a
            month), `month`, `season` (from December, March, June, September),
            `tropical-season` (from November, May), `year`, `decade` (from a year ending in 0),
            `decade-ad` (from a year ending in 1). UTC.
        reducer: called with the values of a period as `data`, in the order of the cube; with an
            empty array where there is no date.
        dimension: the temporal dimension; null means the only one.
        context: passed on to `reducer`.

    Returns:
        The cube with one label per period, without a gap from the first date to the last:
        `2020-06-01-23`, `2020-153`, `2020-23` (week), `2020-16` (dekad), `2020-06`, `2020-jja`,
        `2020-mjjaso`, `2020`, `2020`, `2011`. Seasons are named by the year in which they begin.

    Raises:
        TooManyDimensions: there are several temporal dimensions and none is named.
        DimensionNotAvailable: no temporal dimension has that name, or there is none.

    Source:
        openEO process `aggregate_temporal_period` 2.0.0-rc.2; ISO 8601 (weeks).
    """
    temporal = temporal_dimension(data, dimension)
    ordinals = [ordinal_of(period, parse_time(str(label))) for label in temporal.labels]
    spanned = range(min(ordinals), max(ordinals) + 1) if ordinals else range(0)
    groups: list[list[int]] = [[] for _ in spanned]
    for index, ordinal in enumerate(ordinals):
        groups[ordinal - spanned.start].append(index)
    labels = tuple(label_of(period, ordinal) for ordinal in spanned)
    return aggregated(data, temporal, groups, labels, reducer, context)


def aggregated(
    data: Cube,
    temporal: Dimension,
    groups: Sequence[Sequence[int]],
    labels: tuple[Label, ...],
    reducer: Callback,
    context: Any,
) -> Cube:
    """Return a cube with one label per group of dates, whose values a reducer makes of theirs.

    Args:
        data: any cube.
        temporal: its dimension that is aggregated.
        groups: positions along it; may be empty, and may share dates.
        labels: one per group.
        reducer: called with the values of a group as `data`.
        context: passed on to `reducer`.
    """
    shape = data.stack(temporal.name).values.shape[1:]
    done: dict[tuple[int, ...], Pixels] = {}
    for group in map(tuple, groups):
        if group not in done:
            stack = data.take(temporal.name, group).stack(temporal.name)
            # An empty array has labels too: none of them.
            stack = replace(stack, labels=stack.labels or ())
            done[group] = as_pixels(reducer(data=stack, context=context), shape, data.dtype)
    result = stacked([done[tuple(group)] for group in groups], shape, data.dtype)
    axis = data.axis(temporal.name)
    rest = [dimension for dimension in data.dimensions if dimension.name != temporal.name]
    return _with_stack(data, result, rest, axis, replace(temporal, labels=labels))


def _interval_test(start: str | None, end: str | None) -> Callable[[datetime], bool]:
    """Return the question whether an instant lies in an interval of instants or times of day."""
    if not any(isinstance(edge, str) and edge[2:3] == ":" for edge in (start, end)):
        interval = parse_filter(start, end)
        return lambda instant: contains(interval, instant)
    first, stop = _second_of_day(start, 0), _second_of_day(end, 86_400)
    if first == stop:
        raise TemporalExtentEmpty(f"The interval [{start}, {end}) holds no time of the day.")

    def test(instant: datetime) -> bool:
        second = (
            instant.hour * 3600 + instant.minute * 60 + instant.second + instant.microsecond / 1e6
        )
        if first < stop:
            return first <= second < stop
        return second >= first or second < stop

    return test


def _second_of_day(text: str | None, default: int) -> int:
    if text is None:
        return default
    parts = text.split(":")
    if len(parts) != 3 or not all(len(p) == 2 and p.isdecimal() for p in parts):  # noqa: PLR2004 - HH:MM:SS
        raise ArgumentInvalid(f"{text!r} is not a time of the day. Write HH:MM:SS, in UTC.")
    hour, minute, second = map(int, parts)
    total = hour * 3600 + minute * 60 + second
    if minute > 59 or second > 59 or total > 86_400:  # noqa: PLR2004 - the clock
        raise ArgumentInvalid(f"{text!r} is not a time of the day (00:00:00 to 24:00:00).")
    return total
