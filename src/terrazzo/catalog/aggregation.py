"""Aggregations: what the items of a search have in common, counted as they stream by.

Memory is bounded however many items there are: values beyond `MOST_KEYS` different ones, and long
texts, count as overflow. Names, types and buckets are those of the STAC API aggregation extension
0.3 as servers in use have them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import shapely
from shapely import affinity
from typing_extensions import override

from terrazzo.catalog.cells import geohash, geotile
from terrazzo.catalog.cql2_operators import Period
from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.geo.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

    from terrazzo.catalog.cells import Place
    from terrazzo.catalog.cql2_operators import Facts

DataType: TypeAlias = Literal["integer", "numeric", "datetime", "string"]

MOST_KEYS: Final = 100_000
"""Different values that are told apart while counting."""
MOST_BUCKETS: Final = 10_000
"""Buckets of an answer, the most frequent ones; the rest is overflow."""
LONGEST_KEY: Final = 200
"""Letters of a value that is told apart; longer ones are overflow."""
_AUTOMATIC: Final = 100
"""Slots of time at most where the interval is found automatically."""
PROPERTIES: Final[Mapping[str, str]] = {
    "cloud_cover": "eo:cloud_cover",
    "sun_elevation": "view:sun_elevation",
    "sun_azimuth": "view:sun_azimuth",
    "off_nadir": "view:off_nadir",
    "grid_code": "grid:code",
}
"""Short names that other servers have for properties."""
RANGES: Final[Mapping[str, tuple[float, ...]]] = {
    "cloud_cover": (5, 15, 40),
    "sun_elevation": tuple(range(-85, 90, 5)),
    "sun_azimuth": tuple(range(5, 360, 5)),
    "off_nadir": tuple(range(5, 90, 5)),
}
"""Where the ranges of numbers are cut unless the request says so."""
INTERVALS: Final = ("second", "minute", "hour", "day", "month", "year")
"""Slots of time, each of which holds whole ones of the kind before; `week` stands beside them."""
CHOICES: Final = ("auto", *INTERVALS, "week")
GRIDS: Final[Mapping[str, tuple[Callable[[Place, int], str], int]]] = {
    "centroid_geohash_grid_frequency": (geohash, 12),
    "centroid_geotile_grid_frequency": (geotile, 29),
}
"""How a place becomes a cell, and the finest precision."""
PLAIN: Final[Mapping[str, DataType]] = {
    "total_count": "integer",
    "datetime_min": "datetime",
    "datetime_max": "datetime",
}
_HALF: Final = 180.0
"""Degrees of half the Earth."""
_COUNTED = ("string", "number", "integer", "boolean")
"""Types of properties whose values can be counted."""
_SINGLES = ("min", "max", "mean")


def _midnight(instant: datetime) -> datetime:
    return instant.replace(hour=0, minute=0, second=0, microsecond=0)


def _week(instant: datetime) -> datetime:
    """Return the Monday before; the first days of year 1 belong to its first day, a Monday."""
    return _midnight(instant) - timedelta(days=instant.weekday())


_BEGINNINGS: Final[Mapping[str, Callable[[datetime], datetime]]] = {
    "second": lambda t: t.replace(microsecond=0),
    "minute": lambda t: t.replace(second=0, microsecond=0),
    "hour": lambda t: t.replace(minute=0, second=0, microsecond=0),
    "day": _midnight,
    "week": _week,
    "month": lambda t: _midnight(t).replace(day=1),
    "year": lambda t: _midnight(t).replace(day=1, month=1),
}


@dataclass(frozen=True, slots=True)
class Options:
    """How to count, where a name alone does not say it."""

    interval: str = "auto"
    """Slots of `datetime_frequency`, one of `CHOICES`."""
    precisions: Mapping[str, int] = field(default_factory=dict)
    """Of grids, by the names of their aggregations."""
    ranges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Where to cut numbers, by the names of their aggregations."""


class Tally(ABC):
    """One aggregation, while items are added to it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def add(self, item: Facts) -> None:
        """Count an item."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """Return the aggregation as STAC API has it."""


def tally_of(name: str, options: Options) -> Tally:
    """Return an empty aggregation.

    Args:
        name: one of `PLAIN` and `GRIDS`, `datetime_frequency`, `collection_frequency`, or that of a
            property (or its short name in `PROPERTIES`) with `_frequency`, `_min`, `_max` or
            `_mean` behind it.
        options: how to count.

    Raises:
        ArgumentInvalid: there is no such aggregation; lists what there is.
    """
    stem, _, kind = name.rpartition("_")
    known = PROPERTIES.get(stem, stem)
    if name in _MAKERS:
        return _MAKERS[name](name, options)
    if stem and kind == "frequency":
        return _frequency(name, known, options.ranges.get(name, RANGES.get(stem)))
    if stem and kind in _SINGLES:
        return _Single(name, known, kind)
    raise ArgumentInvalid(
        f"There is no aggregation {name[:80]!r}.{suggest(name, tuple(_MAKERS))} Known are "
        f"{', '.join(_MAKERS)}, and PROPERTY_frequency, PROPERTY_min, PROPERTY_max, PROPERTY_mean."
    )


def aggregated(items: Iterable[Facts], tallies: Sequence[Tally]) -> list[dict[str, Any]]:
    """Count items, as `Catalog.facts` streams them, in several ways."""
    for item in items:
        for tally in tallies:
            tally.add(item)
    return [tally.result() for tally in tallies]


def advertised(queryables: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return which aggregations there are for items with some properties.

    Args:
        queryables: JSON Schemas of the properties by name.
    """
    found = [{"name": name, "data_type": kind} for name, kind in PLAIN.items()]
    found += [
        _distribution("datetime_frequency", "datetime"),
        _distribution("collection_frequency", "string"),
        *(_distribution(name, "string") for name in GRIDS),
    ]
    short = {known: stem for stem, known in PROPERTIES.items()}
    for known, schema in queryables.items():
        stem, kind = short.get(known, known), schema.get("type")
        if known in {"id", "collection"} or kind not in _COUNTED or "format" in schema:
            continue
        numeric = kind in ("number", "integer")
        cut = "numeric" if stem in RANGES else "string"
        found.append(_distribution(f"{stem}_frequency", cut))
        if numeric:
            found += [{"name": f"{stem}_{one}", "data_type": "numeric"} for one in _SINGLES]
    return found


def _distribution(name: str, kind: str) -> dict[str, str]:
    return {
        "name": name,
        "data_type": "frequency_distribution",
        "frequency_distribution_data_type": kind,
    }


class _Count(Tally):
    """How many items there are."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._count = 0

    @override
    def add(self, item: Facts) -> None:
        self._count += 1

    @override
    def result(self) -> dict[str, Any]:
        return {"name": self.name, "data_type": "integer", "value": self._count}


class _Extreme(Tally):
    """The first beginning or the last end of an item."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._last = name.endswith("max")
        self._found: datetime | None = None

    @override
    def add(self, item: Facts) -> None:
        start, end = _ends(item)
        if self._last:
            self._found = end if self._found is None else max(self._found, end)
        else:
            self._found = start if self._found is None else min(self._found, start)

    @override
    def result(self) -> dict[str, Any]:
        value = None if self._found is None else format_time(self._found)
        return {"name": self.name, "data_type": "datetime", "value": value}


class _Single(Tally):
    """The least, the largest or the mean number of a property."""

    def __init__(self, name: str, known: str, kind: str) -> None:
        super().__init__(name)
        self._known, self._kind = known, kind
        self._count, self._sum = 0, _Sum()
        self._least, self._largest = math.inf, -math.inf

    @override
    def add(self, item: Facts) -> None:
        value = _number(item.get(self._known))
        if value is not None:
            self._count += 1
            self._sum.add(float(value))
            self._least, self._largest = min(self._least, value), max(self._largest, value)

    @override
    def result(self) -> dict[str, Any]:
        value: float | None = None
        if self._count:
            known: dict[str, float | None] = {"min": self._least, "max": self._largest}
            mean = self._sum.total / self._count
            value = known.get(self._kind, mean if math.isfinite(mean) else None)
        return {"name": self.name, "data_type": "numeric", "value": value}


class _Sum:
    """A sum that many small numbers do not spoil (Neumaier 1974)."""

    def __init__(self) -> None:
        self._sum = self._lost = 0.0

    def add(self, value: float) -> None:
        whole = self._sum + value
        larger, smaller = (self._sum, value) if abs(self._sum) >= abs(value) else (value, self._sum)
        self._lost += (larger - whole) + smaller
        self._sum = whole

    @property
    def total(self) -> float:
        return self._sum + self._lost


class _Terms(Tally):
    """How many items have each text."""

    def __init__(self, name: str, told: Callable[[Facts], str | None]) -> None:
        super().__init__(name)
        self._told = told
        self._counts = Counter[str]()
        self._overflow = 0

    @override
    def add(self, item: Facts) -> None:
        key = self._told(item)
        if key is None:
            return
        if key in self._counts or (len(self._counts) < MOST_KEYS and len(key) <= LONGEST_KEY):
            self._counts[key] += 1
        else:
            self._overflow += 1

    @override
    def result(self) -> dict[str, Any]:
        ordered = sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))
        rest = sum(count for _, count in ordered[MOST_BUCKETS:])
        buckets = [_bucket(key, "string", count) for key, count in ordered[:MOST_BUCKETS]]
        return _frequencies(self.name, buckets, self._overflow + rest)


class _Ranges(Tally):
    """How many items have a number in each range: from its beginning to before its end."""

    def __init__(self, name: str, known: str, edges: Sequence[float]) -> None:
        super().__init__(name)
        self._known, self._edges = known, tuple(edges)
        self._counts = [0] * (len(self._edges) + 1)

    @override
    def add(self, item: Facts) -> None:
        value = _number(item.get(self._known))
        if value is not None:
            self._counts[bisect_right(self._edges, value)] += 1

    @override
    def result(self) -> dict[str, Any]:
        buckets = []
        for low, high, count in zip(
            (None, *self._edges), (*self._edges, None), self._counts, strict=True
        ):
            ends = [("from", low), ("to", high)]
            key = "-".join("*" if end is None else str(float(end)) for _, end in ends)
            told = {side: end for side, end in ends if end is not None}
            buckets.append(_bucket(key, "numeric", count) | told)
        return _frequencies(self.name, buckets, 0)


class _Slots(Tally):
    """How many items begin in each slot of time; empty slots are left out.

    Automatic slots are the shortest of which at most `_AUTOMATIC` cover all items. They get
    coarser as the time that is covered grows, whatever the order of the items.
    """

    def __init__(self, name: str, interval: str) -> None:
        super().__init__(name)
        if interval not in CHOICES:
            raise ArgumentInvalid(
                f"{name}_interval {interval[:40]!r} is none of {', '.join(CHOICES)}."
            )
        self._automatic = interval == "auto"
        self._interval = INTERVALS[0] if self._automatic else interval
        self._counts = Counter[datetime]()
        self._overflow = 0

    @override
    def add(self, item: Facts) -> None:
        slot = _BEGINNINGS[self._interval](_ends(item)[0])
        if slot in self._counts:
            self._counts[slot] += 1
        elif self._automatic:
            self._counts[slot] = 1
            self._coarsen()
        elif len(self._counts) < MOST_KEYS:
            self._counts[slot] = 1
        else:
            self._overflow += 1

    def _coarsen(self) -> None:
        while self._interval != INTERVALS[-1]:
            first, last = min(self._counts), max(self._counts)
            if _slots_between(first, last, self._interval) <= _AUTOMATIC:
                return
            self._interval = INTERVALS[INTERVALS.index(self._interval) + 1]
            finer, self._counts = self._counts, Counter[datetime]()
            for slot, count in finer.items():
                self._counts[_BEGINNINGS[self._interval](slot)] += count

    @override
    def result(self) -> dict[str, Any]:
        most = sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))
        rest = sum(count for _, count in most[MOST_BUCKETS:])
        buckets = [
            _bucket(format_time(slot), "datetime", count)
            for slot, count in sorted(most[:MOST_BUCKETS])
        ]
        told = _frequencies(self.name, buckets, self._overflow + rest)
        return told | {"interval": self._interval}


def _slots_between(first: datetime, last: datetime, interval: str) -> int:
    """Return how many slots there are from one to another, both included."""
    if interval == "year":
        return last.year - first.year + 1
    if interval == "month":
        return 12 * (last.year - first.year) + last.month - first.month + 1
    length = timedelta(**{f"{interval}s": 1})
    return (last - first) // length + 1


def _frequency(name: str, known: str, edges: Sequence[float] | None) -> Tally:
    if edges is not None:
        return _Ranges(name, known, edges)
    return _Terms(name, lambda item: _text(item.get(known)))


def _cells(name: str, options: Options) -> Tally:
    (cell, finest), precision = GRIDS[name], options.precisions.get(name)
    wanted = (1 if cell is geohash else 0) if precision is None else precision
    if not (0 if cell is geotile else 1) <= wanted <= finest:
        raise ArgumentInvalid(
            f"{name}_precision {wanted} is not from {0 if cell is geotile else 1} to {finest}."
        )
    return _Terms(name, lambda item: cell(centre(item), wanted))


def centre(item: Facts) -> Place:
    """Return the longitude and latitude of the centroid of an item's footprint."""
    shape = item.footprint.shape
    parts = shapely.get_parts(shape)
    if len(parts) > 1 and _width(shape) > _HALF and all(_width(part) <= _HALF for part in parts):
        # On both sides of the antimeridian: the western part goes a turn further east.
        moved = [affinity.translate(p, 360.0) if p.bounds[0] < 0 else p for p in parts]
        shape = shapely.GeometryCollection(moved)
    point = shape.centroid
    return (point.x + 180.0) % 360.0 - 180.0, min(max(point.y, -90.0), 90.0)


def _width(shape: BaseGeometry) -> float:
    west, _, east, _ = shape.bounds
    return float(east - west)


def _ends(item: Facts) -> tuple[datetime, datetime]:
    """Return when an item begins and ends; an instant does both at once."""
    period = item.period
    return period.ends if isinstance(period, Period) else (period, period)


def _text(value: object) -> str | None:
    """Return what a bucket for a value is called; None where there is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def _bucket(key: str, kind: DataType, count: int) -> dict[str, Any]:
    return {"key": key, "data_type": kind, "frequency": count}


def _frequencies(name: str, buckets: list[dict[str, Any]], overflow: int) -> dict[str, Any]:
    return {
        "name": name,
        "data_type": "frequency_distribution",
        "overflow": overflow,
        "buckets": buckets,
    }


_MAKERS: Final[Mapping[str, Callable[[str, Options], Tally]]] = {
    "total_count": lambda name, _: _Count(name),
    "datetime_min": lambda name, _: _Extreme(name),
    "datetime_max": lambda name, _: _Extreme(name),
    "datetime_frequency": lambda name, options: _Slots(name, options.interval),
    "collection_frequency": lambda name, _: _Terms(name, lambda item: item.get("collection")),
    **dict.fromkeys(GRIDS, _cells),
}
"""The aggregations that do not depend on what properties the items have."""
