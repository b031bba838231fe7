"""How cubes are cut into chunks: by pixels, labels, metres and durations."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from terrazzo.cube import Dimension, Kind
from terrazzo.errors import ArgumentInvalid, DimensionNotAvailable
from terrazzo.geo.crs import is_geographic, is_metric
from terrazzo.geo.durations import Duration, parse_duration
from terrazzo.geo.grid import METRES_PER_DEGREE, Grid
from terrazzo.geo.times import parse_time

_MOST_LENGTH = 1 << 31
Length = int | Duration
"""Pixels or labels, or a length of time."""


@dataclass(frozen=True, slots=True)
class Span:
    """How one axis is cut into chunks."""

    size: Length | None
    """Of a chunk; None for one chunk of all."""
    overlap: Length
    """What a chunk has on each side beside its own; 0 where `size` is None."""

    @property
    def is_single(self) -> bool:
        """Whether a chunk is sure to be one pixel or label."""
        return self.size == 1 and self.overlap == 0

    @property
    def halo(self) -> int:
        """Pixels of the overlap."""
        return self.overlap if isinstance(self.overlap, int) else 0

    def chunks(self, start: int, stop: int, origin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of the chunks of origin..end that touch start..stop."""
        if not isinstance(self.size, int):
            yield origin, end
            return
        first = origin + (start - origin) // self.size * self.size
        stop = min(stop, end)
        for begin in range(first, stop, self.size):
            yield begin, begin + self.size


def spans_of(
    arguments: Mapping[str, Any], names: tuple[str, ...], grid: Grid | None, *, strict: bool
) -> dict[str, Span]:
    """Read `size` and `overlap`; not `strict`, leave out other dimensions than these."""
    lengths: dict[str, dict[str, Length | None]] = {"size": {}, "overlap": {}}
    for key, found in lengths.items():
        for entry in arguments.get(key) or ():
            name = entry["dimension"]
            if name in names:
                found[name] = _length(entry, name, names, grid)
            elif strict:
                raise DimensionNotAvailable(name, names)
    spans = {}
    for name in names:
        size, overlap = lengths["size"].get(name), lengths["overlap"].get(name) or 0
        if size == 0:
            raise ArgumentInvalid(f"The size of a chunk along {name!r} is less than a pixel.")
        spans[name] = Span(size, 0 if size is None else overlap)
    return spans


def _length(
    entry: Mapping[str, Any], name: str, names: tuple[str, ...], grid: Grid | None
) -> Length | None:
    """Read one length."""
    value, unit = entry.get("value"), entry.get("unit")
    if value is None:
        return None
    if isinstance(value, str) and name not in names[-2:]:
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ArgumentInvalid(
            f"The length {value!r} along {name!r} is no number. Give a number of pixels or labels "
            "with the unit 'px'; only dates take durations."
        )
    length = value / _pixel_of(name, names, grid, unit)
    if value < 0 or (unit == "px" and length != round(length)):
        raise ArgumentInvalid(f"The length {value!r} along {name!r} is no number of pixels.")
    if length > _MOST_LENGTH:
        raise ArgumentInvalid(
            f"The length {value!r} along {name!r} is more than {_MOST_LENGTH} pixels or labels. "
            "Give null as the value to have all of them."
        )
    return round(length)


def _pixel_of(name: str, names: tuple[str, ...], grid: Grid | None, unit: str | None) -> float:
    """Return what a position of a dimension measures in a unit; 1 for pixels and labels."""
    if unit == "px" or (unit is None and name not in names[-2:]):
        return 1.0
    if unit not in {None, "m"} or name not in names[-2:] or grid is None:
        raise ArgumentInvalid(f"Unit {unit!r} does not fit dimension {name!r}. Use 'px'.")
    along_x = name == names[-1]
    pixel = grid.pixel_x if along_x else grid.pixel_y
    if unit is None or is_metric(grid.crs):
        return pixel
    if not is_geographic(grid.crs):
        raise ArgumentInvalid(
            f"Sizes along {name!r} cannot be told in metres: {grid.crs[:40]} is in other units. "
            "Give a number of pixels with the unit 'px'."
        )
    middle = min(abs(grid.top - grid.height * grid.pixel_y / 2), 89.0)
    return pixel * METRES_PER_DEGREE * (math.cos(math.radians(middle)) if along_x else 1.0)


def label_cuts(span: Span, dimension: Dimension) -> list[tuple[slice, slice]]:
    """Return, for each chunk of labels, those it computes and those it sees.

    Raises:
        ArgumentInvalid: a duration, and the labels are no dates in order.
    """
    count = len(dimension.labels)
    if not isinstance(span.size, Duration) and not isinstance(span.overlap, Duration):
        return [
            (
                slice(start, min(stop, count)),
                slice(max(start - span.halo, 0), min(stop + span.halo, count)),
            )
            for start, stop in span.chunks(0, count, 0, count)
        ]
    instants = [parse_time(str(label)) for label in dimension.labels]
    if dimension.kind is not Kind.TEMPORAL or instants != sorted(instants):
        raise ArgumentInvalid(
            f"Dimension {dimension.name!r} is not cut by durations: its labels are no dates, or "
            "not in order. Give a number of labels with the unit 'px'."
        )
    cuts = []
    for start, stop, begin, end in _periods(span, instants):
        if isinstance(span.overlap, Duration):
            first = bisect_left(instants, span.overlap.after(begin, -1))
            after = bisect_left if isinstance(span.size, Duration) else bisect_right
            last = after(instants, span.overlap.after(end))
        else:
            first, last = max(start - span.overlap, 0), min(stop + span.overlap, count)
        cuts.append((slice(start, stop), slice(first, last)))
    return cuts


def _periods(
    span: Span, instants: Sequence[datetime]
) -> Iterator[tuple[int, int, datetime, datetime]]:
    """Yield first and stop position of the dates of each chunk, and from when to when it lasts."""
    if not isinstance(span.size, Duration):
        for start, stop in span.chunks(0, len(instants), 0, len(instants)):
            held = instants[start:stop]
            yield start, start + len(held), held[0], held[-1]
        return
    start, number = 0, 0
    while start < len(instants):
        number = _last_begun(span.size, instants[0], instants[start], number)
        begin, end = (span.size.after(instants[0], n) for n in (number, number + 1))
        stop = bisect_left(instants, end)
        yield start, stop, begin, end
        start = stop


def _last_begun(size: Duration, first: datetime, instant: datetime, known: int) -> int:
    """Return the number of the last period that begins by an instant; `known` does.

    Periods may be seconds, and dates years apart: they are not walked through.
    """

    def begins(number: int) -> bool:
        try:
            return size.after(first, number) <= instant
        except ArgumentInvalid:  # after the year 9999
            return False

    step = 1
    while begins(known + step):
        step *= 2
    return known + bisect_left(range(1, step), True, key=lambda ahead: not begins(known + ahead))
