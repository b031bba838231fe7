"""Climate normals, and how far a time is above or below them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Pixels
from terrazzo.cube.pixels import compute_dtype
from terrazzo.errors import (
    ArgumentInvalid,
    DimensionLabelCountMismatch,
    LabelNotAvailable,
    TemporalExtentEmpty,
)
from terrazzo.geo.times import parse_time
from terrazzo.processes.arithmetic import subtract
from terrazzo.processes.cube_schemas import TemporalCube
from terrazzo.processes.labels import found_in, temporal_dimension, without
from terrazzo.processes.masks import aligned
from terrazzo.processes.operands import nothing
from terrazzo.processes.periods import PERIODS, SEASONS, TROPICAL_SEASONS
from terrazzo.processes.reduce import aggregated
from terrazzo.processes.registry import Labels, Role, Rules, process, same_labels
from terrazzo.processes.schemas import Schema
from terrazzo.processes.statistics import mean

_ONE_PERIOD = ("climatology-period", "single-period")
_NORMALS = {
    "day": tuple(f"{day:03d}" for day in range(1, 366)),
    "month": tuple(f"{month:02d}" for month in range(1, 13)),
    "season": SEASONS,
    "tropical-season": TROPICAL_SEASONS,
    "climatology-period": ("climatology-period",),
}
"""Labels of the normals, by period."""
_BEFORE = {"season": (12,), "tropical-season": (11, 12)}
"""Months that count to a season of the next year."""
_LABELS = {
    "hour": r"\d{4}-\d{2}-\d{2}-(\d{2})",
    "day": r"\d{4}-(\d{3})",
    "week": r"\d{4}-(\d{2})",
    "dekad": r"\d{4}-(\d{2})",
    "month": r"\d{4}-(\d{2})",
    "season": rf"\d{{4}}-({'|'.join(SEASONS)})",
    "tropical-season": rf"\d{{4}}-({'|'.join(TROPICAL_SEASONS)})",
    "year": r"(\d{4})",
    "decade": r"(\d{3}0)",
    "decade-ad": r"(\d{3}1)",
}
"""What times are called in data of a period; the group is what their normal is called."""
_NOT_EVERY_YEAR = {("day", "366"), ("week", "53")}
"""Days and weeks that normals need not have."""

NormalPeriod = Annotated[str, Schema({"type": "string", "enum": list(_NORMALS)})]
AnomalyPeriod = Annotated[str, Schema({"type": "string", "enum": [*PERIODS, *_ONE_PERIOD]})]
Years = Annotated[
    Sequence[int],
    Schema(
        {
            "type": "array",
            "uniqueItems": True,
            "minItems": 2,
            "maxItems": 2,
            "items": {"type": "integer", "subtype": "year"},
        }
    ),
]


def _dates_of_normals(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    """Need the dates that the wanted normals are made of, and no other."""
    temporal = temporal_dimension(inputs["data"], None)
    years = arguments.get("climatology_period", (1981, 2010))
    groups = _groups(temporal, arguments["period"], years)
    chosen = wanted.get(temporal.name, tuple(range(len(groups))))
    dates = tuple(sorted({date for number in chosen for date in groups[number]}))
    return same_labels({**wanted, temporal.name: dates}, output, inputs, arguments)


@process(
    "climatological_normal",
    Role.CUBE,
    categories=("cubes", "climatology"),
    rules=Rules(labels=_dates_of_normals, makes_all=True, scratch=1.0),
)
def climatological_normal(
    data: TemporalCube,
    period: NormalPeriod,
    climatology_period: Years = [1981, 2010],  # noqa: B006 - the openEO default; never written to
) -> TemporalCube:
    """Average all that was observed on a day of the year, in a month or season, over many years.

    Args:
        data: cube with one temporal dimension, whose dates (UTC) reach from the first to the last
            year of the climatology.
        period: `day` (of the year, 1 to 365: the 366th of a leap year counts to none), `month`,
            `season` (December to February and so on), `tropical-season` (November to April, May
            to October) or `climatology-period`, which is all.
        climatology_period: its first and its last year, both included. A season counts to the
            year in which it ends. The first one that begins in the year before is left out if
            `data` lacks one of its months there; one that ends after the last year always is.

    Returns:
        The cube with one label per normal in place of the dates: `001` to `365`, `01` to `12`,
        `djf`, `mam`, `jja`, `son`, `ndjfma`, `mjjaso` or `climatology-period`. The mean of all
        valid values of all dates; no-data where there is none.

    Raises:
        DimensionNotAvailable: there is no temporal dimension.
        TooManyDimensions: there are several.
        TemporalExtentEmpty: the last year is before the first.
        ProcessParameterInvalid: the dates do not reach from the first to the last year.

    Source:
        openEO process `climatological_normal` 2.0.0-rc.2; WMO-No. 1203, Guidelines on the
        Calculation of Climate Normals, 2017.
    """
    temporal = temporal_dimension(data, None)
    if data.has_all_labels:
        _check_span(temporal, climatology_period)
    groups = _groups(temporal, period, climatology_period)
    return aggregated(data, temporal, groups, _NORMALS[period], _mean, None)


def _mean(**arguments: Any) -> Any:
    return mean(arguments["data"])


def _check_span(temporal: Dimension, years: Sequence[int]) -> None:
    first, last = years
    if last < first:
        raise TemporalExtentEmpty(
            f"The climatology period {first} to {last} holds no year. Its last year comes second."
        )
    there = [parse_time(str(label)).year for label in temporal.labels]
    if not there or min(there) > first or max(there) < last:
        held = f"from {min(there)} to {max(there)}" if there else "of no year"
        raise ArgumentInvalid(
            f"Normals of {first} to {last} need dates of all these years, and {temporal.name!r} "
            f"has dates {held}. Name other years with `climatology_period`, or load more."
        )


def _groups(temporal: Dimension, period: str, years: Sequence[int]) -> list[list[int]]:
    """Return the positions of the dates that each normal is made of."""
    instants = [parse_time(str(label)) for label in temporal.labels]
    first, last = years
    late = _BEFORE.get(period, ())
    whole = set(late) <= {instant.month for instant in instants if instant.year == first - 1}
    groups: list[list[int]] = [[] for _ in _NORMALS[period]]
    for position, instant in enumerate(instants):
        number = _number(period, instant)
        year = instant.year + (instant.month in late)
        begun_before = bool(late) and number == 0 and year == first
        if first <= year <= last and number < len(groups) and (whole or not begun_before):
            groups[number].append(position)
    return groups


def _number(period: str, instant: datetime) -> int:
    """Return which of the normals an instant counts to, were it in the climatology period."""
    if period == "day":
        return instant.timetuple().tm_yday - 1
    if period == "month":
        return instant.month - 1
    if period == "season":
        return instant.month % 12 // 3
    return (instant.month + 1) % 12 // 6 if period == "tropical-season" else 0


def _labels_and_normals(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    data, normals = inputs["data"], inputs["normals"]
    temporal, normal = temporal_dimension(data, None), temporal_dimension(normals, None)
    places = _places(arguments["period"], temporal, normal, strict=False)
    times = wanted.get(temporal.name, tuple(range(len(places))))
    found = found_in(normals, without(wanted, temporal.name), output)
    needed = {place for place in (places[time] for time in times) if place is not None}
    if arguments["period"] in _ONE_PERIOD:  # a single normal is looked at in any case
        needed = {0}
    found[normal.name] = tuple(sorted(needed))
    return {**same_labels(wanted, output, inputs, arguments), "normals": found}


@process(
    "anomaly",
    Role.CUBE,
    categories=("climatology", "cubes", "math"),
    rules=Rules(labels=_labels_and_normals, scratch=2.0),
)
def anomaly(data: TemporalCube, normals: TemporalCube, period: AnomalyPeriod) -> TemporalCube:
    """Subtract from every time the normal of its hour, day, month, season ...

    Args:
        data: cube with one temporal dimension, whose labels are those of
            `aggregate_temporal_period` for the same period: `2020-06-01-23`, `2020-153`,
            `2020-23`, `2020-06`, `2020-djf`, `2020`. Any labels for `single-period` and
            `climatology-period`.
        normals: cube with one temporal dimension, whose labels are those of `data` without the
            year (`23`, `153`, `06`, `djf`), or years. One label of any name for `single-period`
            and `climatology-period`. Its other dimensions are among those of `data`, with their
            labels; along those that it lacks it holds for all labels.
        period: what the normals are of.

    Returns:
        The shape and labels of `data`. No-data where either is, and for a 366th day or a 53rd
        week of which there is no normal.

    Raises:
        DimensionNotAvailable: a cube has no temporal dimension.
        TooManyDimensions: a cube has several temporal dimensions.
        ProcessParameterInvalid: a label of `data` names no such period.
        LabelNotAvailable: there is no normal for a time.
        DimensionLabelCountMismatch: a single normal is needed, and there are several or none.
        IncompatibleDataCubes: a dimension or label of both does not fit.

    Source:
        openEO process `anomaly` 2.0.0-rc.2.
    """
    temporal, normal = temporal_dimension(data, None), temporal_dimension(normals, None)
    places = _places(period, temporal, normal, strict=data.has_all_labels)
    known = np.array([place is not None for place in places], np.bool_)
    if not known.any():
        dtype = np.result_type(compute_dtype(data.dtype), compute_dtype(normals.dtype))
        pixels = nothing(data.values.shape, dtype)
        return data.same_pixels(pixels.values, pixels.valid)
    matched = normals.take(normal.name, [place or 0 for place in places])
    axis = matched.axis(normal.name)
    if not known.all():
        there = known.reshape([-1 if n == axis else 1 for n in range(matched.values.ndim)])
        matched = matched.same_pixels(matched.values, matched.valid & there)
    matched = replace(matched, dimensions=matched.with_dimension(axis, temporal))
    matched, data = aligned(matched, data, "normals cube")
    pixels = _difference(data, matched)
    return data.same_pixels(pixels.values, pixels.valid)


def _difference(data: Cube, normals: Cube) -> Pixels:
    found = subtract(Pixels(data.values, data.valid), Pixels(normals.values, normals.valid))
    if not isinstance(found, Pixels):
        raise TypeError("The difference of pixels is pixels.")
    return found


def _places(
    period: str, temporal: Dimension, normal: Dimension, *, strict: bool
) -> list[int | None]:
    """Return the position of the normal of every time, None where there is none.

    Args:
        period: what the normals are of.
        temporal: the times.
        normal: the normals.
        strict: whether a normal that is missing is a mistake; a block may lack those of times
            that nobody wants.
    """
    if period in _ONE_PERIOD:
        if len(normal.labels) != 1:
            raise DimensionLabelCountMismatch(
                f"Normals of a {period} have one label, and dimension {normal.name!r} has "
                f"{len(normal.labels)}. Choose one with `filter_labels`, or name another `period`."
            )
        return [0] * len(temporal.labels)
    positions = {str(label): position for position, label in enumerate(normal.labels)}
    places: list[int | None] = []
    for label in temporal.labels:
        match = re.fullmatch(_LABELS[period], str(label), re.ASCII)
        if match is None:
            raise ArgumentInvalid(
                f"The label {label!r} of {temporal.name!r} names no {period}. Aggregate the data "
                f"with `aggregate_temporal_period` (period {period!r}) first."
            )
        name = match[1]
        if strict and name not in positions and (period, name) not in _NOT_EVERY_YEAR:
            raise LabelNotAvailable(
                f"There is no normal {name!r} for {label!r}. Normals here: "
                f"{', '.join(list(positions)[:40]) or 'none'}."
            )
        places.append(positions.get(name))
    return places
