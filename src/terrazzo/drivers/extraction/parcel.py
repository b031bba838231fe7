"""One parcel of an extraction: where it lies and its dates, for pictures and profiles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely

from terrazzo import logs
from terrazzo.cube import Kind
from terrazzo.drivers.extraction.polygons import GEOMETRY, ID, REPAIRED, in_grid
from terrazzo.engine import cost
from terrazzo.errors import ArgumentInvalid, NoDataAvailable, suggest
from terrazzo.geo.times import parse_time
from terrazzo.processes.labels import instant_of
from terrazzo.progress import watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from shapely.geometry.base import BaseGeometry

    from terrazzo.cube import Cube, Dimension
    from terrazzo.drivers.extraction.polygons import Polygons
    from terrazzo.drivers.pool import Pool
    from terrazzo.engine import Plan
    from terrazzo.geo.grid import Grid, Window
    from terrazzo.geo.times import Interval
    from terrazzo.graph import Graph
    from terrazzo.processes.registry import Labels
    from terrazzo.progress import Progress

T = TypeVar("T")

DATES_AT_ONCE: Final = 16
"""Dates that are computed together, where computing them apart reads no more."""
_FEW: Final = 10
_YEAR, _MONTH = len("2021"), len("2021-05")


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """One parcel of an extraction."""

    id: Any
    """Its id."""
    position: int
    """Its place in the order of the file."""
    shape: BaseGeometry | None
    """As it was extracted, but for a buffer; None where there is no geometry."""
    crs: str
    """Of its coordinates."""
    attributes: Mapping[str, Any]
    """What else is known of it."""


def parcel_of(polygons: Polygons, name: str) -> Parcel:
    """Return a parcel by its id, as text.

    Raises:
        ArgumentInvalid: there is none.
    """
    position = position_of(polygons, name)
    found = polygons.ids[position]
    rows = pq.read_table(polygons.path, filters=pc.field(ID) == found)
    (row,) = rows.to_pylist()
    shape = shapely.from_wkb(row[GEOMETRY])
    left = {key: value for key, value in row.items() if key not in {ID, GEOMETRY, REPAIRED}}
    return Parcel(row[ID], position, shape, polygons.crs, left)


def position_of(polygons: Polygons, name: str) -> int:
    """Return the position of a parcel by its id, as text.

    Raises:
        ArgumentInvalid: there is none.
    """
    texts = polygons.ids.cast(pa.string())
    position = int(pc.index(texts, pa.scalar(name)).as_py())
    if position < 0:
        few = texts.slice(0, _FEW).to_pylist()
        more = ", ..." if len(texts) > _FEW else ""
        raise ArgumentInvalid(
            f"There is no parcel {name!r}.{suggest(name, few)} There are {len(texts)}: "
            f"{', '.join(few)}{more}."
        )
    return position


def placed_on(grid: Grid, shape: BaseGeometry | None, crs: str) -> BaseGeometry:
    """Return a parcel in the CRS of a grid.

    Raises:
        ArgumentInvalid: it has no geometry, or none there.
    """
    placed: BaseGeometry | None = in_grid([shape], crs, grid)[0]
    if placed is None or placed.is_empty:
        raise ArgumentInvalid(
            "The parcel has no geometry, or none that the CRS of the images can express. Choose "
            "another parcel, or check the CRS of the polygons."
        )
    return placed


def dated(probe: Cube) -> Dimension | None:
    """Return the first temporal dimension of a cube, if it has one."""
    return next((d for d in probe.dimensions if d.kind is Kind.TEMPORAL), None)


def has_months(graph: Graph) -> bool:
    """Tell whether labels such as 2021-05 are months in what a graph gives: weeks look alike."""
    made = {
        node.arguments.get("period")
        for node in graph
        if node.process_id == "aggregate_temporal_period"
    }
    return made == {"month"}


def instants(labels: Sequence[object], *, months: bool = False) -> list[datetime | None]:
    """Return the instants that labels name; None for those that name none.

    A day or a time is one. Where all labels are years, or months, they are their first instants.

    Args:
        labels: of a temporal dimension.
        months: whether names such as 2021-05 are months, not weeks or ten days.
    """
    texts = [str(label) for label in labels]
    lengths = (_YEAR, _MONTH) if months else (_YEAR,)
    if any(all(len(text) == length for text in texts) for length in lengths):
        return [_first_instant(text) for text in texts]
    return [instant_of(text) for text in texts]


def _first_instant(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except ArgumentInvalid:
        return None


def within(labels: Sequence[object], interval: Interval, *, months: bool = False) -> list[bool]:
    """Tell which dates lie in an interval; labels that are no dates do in an unbounded one.

    Args:
        labels: of the dates.
        interval: which.
        months: see `instants`.
    """
    first, last = interval
    if first is None and last is None:
        return [True] * len(labels)
    return [
        moment is not None
        and (first is None or moment >= first)
        and (last is None or moment < last)
        for moment in instants(labels, months=months)
    ]


def chosen_labels(
    probe: Cube, bands: Sequence[Any], interval: Interval, *, months: bool = False
) -> dict[str, Any]:
    """Return the positions of the dates in an interval, of bands, and of the last of all else.

    Args:
        probe: the cube without pixels.
        bands: labels; empty is the first one.
        interval: of the dates.
        months: see `instants`.

    Raises:
        BandNotFound: there is no such band.
        NoDataAvailable: there is no date in the interval.
    """
    dates = dated(probe)
    labels: dict[str, tuple[int, ...]] = {}
    for dimension in probe.dimensions:
        if dimension is dates:
            labels[dimension.name] = _dates(dimension, interval, months)
        elif dimension.kind is Kind.BANDS:
            positions = {dimension.index(band) for band in bands} or {0}
            labels[dimension.name] = tuple(sorted(positions))
        elif dimension.kind is not Kind.SPATIAL:
            labels[dimension.name] = (len(dimension.labels) - 1,)
    return labels


def _dates(dates: Dimension, interval: Interval, months: bool) -> tuple[int, ...]:
    inside = within(dates.labels, interval, months=months)
    chosen = tuple(n for n, taken in enumerate(inside) if taken)
    if not chosen:
        known = [str(label) for label in dates.labels]
        if known and not any(instants(known, months=months)):
            raise NoDataAvailable(
                f"The {len(known)} dates are named {known[0]} to {known[-1]}, which are no days, "
                "so none of them is in that time. Choose all of them, without --datetime, or let "
                "the graph choose (`filter_temporal` before periods are made)."
            )
        there = f": {min(known)} to {max(known)}" if known else ""
        raise NoDataAvailable(
            f"There is no image in that time. There are {len(known)}{there}. Choose another one "
            "with --datetime."
        )
    return chosen


def in_groups(
    plan: Callable[[Labels], Plan], labels: Labels, probe: Cube, window: Window
) -> list[Plan]:
    """Return plans of a few dates each; one plan where dates need the images of others."""
    dates = dated(probe)
    whole = plan(labels)
    if dates is None or len(labels[dates.name]) <= DATES_AT_ONCE:
        return [whole]
    every = labels[dates.name]
    alone = cost(plan({**labels, dates.name: every[:1]}), window).read_items
    if alone * len(every) > 2 * max(1, cost(whole, window).read_items):
        return [whole]
    return [
        plan({**labels, dates.name: every[first : first + DATES_AT_ONCE]})
        for first in range(0, len(every), DATES_AT_ONCE)
    ]


def each(
    plans: Sequence[Plan], work: Callable[[Plan], T], pool: Pool, progress: Progress
) -> Iterator[T]:
    """Do something with each plan, several at a time; yield what comes out, in order.

    What graphs log meanwhile is told to whoever listens here.
    """

    def done(plan: Plan) -> tuple[T, tuple[logs.Entry, ...]]:
        with logs.collected() as log, watched(progress):
            return work(plan), log.all()

    dates = [dated(plan.probe) for plan in plans]
    counts = [1 if one is None else len(one.labels) for one in dates]
    with progress, ThreadPoolExecutor(pool.size, thread_name_prefix="parcel") as threads:
        progress.start(sum(counts), "dates")
        try:
            for count, (made, told) in zip(counts, threads.map(done, plans), strict=True):
                logs.retell(told)
                progress.advance(count)
                yield made
        finally:  # whoever was told to stop does not wait for what has not begun
            threads.shutdown(wait=False, cancel_futures=True)
