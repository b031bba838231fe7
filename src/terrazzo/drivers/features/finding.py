"""Features that meet a place, a time and a filter, in the order of their files.

That order does not change while a file does not, so that a page can go on behind any feature.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely

from terrazzo.catalog.narrowing import hints_of
from terrazzo.drivers.features.conditions import (
    FeatureFacts,
    instants,
    names_in,
    narrowed,
    uses_geometry,
)
from terrazzo.engine.vector_collections import boxes_in
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, transformer
from terrazzo.geo.extent import SpatialExtent
from terrazzo.storage.vectors.feature_rows import FeatureBatch, open_rows
from terrazzo.storage.vectors.feature_table import touching
from terrazzo.storage.writers.geojson import in_degrees

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from numpy.typing import NDArray

    from terrazzo.catalog.cql2 import Filter
    from terrazzo.drivers.features.tables import FeatureTable
    from terrazzo.geo.grid import Bounds
    from terrazzo.storage.gate import Gate
    from terrazzo.storage.vectors.feature_rows import FeatureRows

    Shapes = NDArray[np.object_]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What features have to meet."""

    extent: SpatialExtent | None = None
    """Boxes of which they have a point in common with one."""
    period: tuple[datetime | None, datetime | None] | None = None
    """First and last instant, both included, of which they have one; None is open."""
    condition: Filter | None = None
    """A filter of attributes and geometry."""
    crs: str = WGS84
    """In which they are given."""
    properties: tuple[str, ...] | None = None
    """Attributes that they are given with; None for all."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Features of one table."""

    table: FeatureTable
    """Where they are."""
    features: FeatureBatch
    """What they are; in the CRS that is wanted, empty where a geometry has no place there."""

    def name(self, number: int) -> str:
        """Return the id of one of them within the collection."""
        return feature_name(self.table.item, int(self.features.rows[number]))


def feature_name(item: str, row: int) -> str:
    """Return the id of a feature: its item's, and the row of the source that it was."""
    return f"{item}.{row}"


def named_row(name: str) -> tuple[str, int] | None:
    """Return the item and the row of a feature's id; None if it is no such id."""
    item, _, row = name.rpartition(".")
    plain = row.isascii() and row.isdecimal() and len(row) < 16 and (row == "0" or row[0] != "0")  # noqa: PLR2004 - digits of 2^53
    return (item, int(row)) if item and plain else None


def found(
    tables: Iterable[FeatureTable],
    gate: Gate,
    wanted: Wanted,
    *,
    start: tuple[str, int] = ("", 0),
    check: Callable[[], None] = lambda: None,
) -> Iterator[Found]:
    """Yield the features of tables that are wanted.

    Args:
        tables: where to look.
        gate: what may be read.
        wanted: which.
        start: an item, and the position in its file with which to begin.
        check: called now and then; what it raises ends the search.

    Raises:
        SourceUnreadable: a table is damaged.
    """
    for table in tables:
        check()
        if not _may_meet(table.period, wanted.period):
            continue
        with open_rows(table.path, gate, table.item, table.asset) as rows:
            if wanted.period is not None and not rows.facts.date:
                wanted_here = replace(wanted, period=None)
            else:
                wanted_here = wanted
            begin = start[1] if table.item == start[0] else 0
            for features in _of_table(table, rows, wanted_here, begin, check):
                yield Found(table, features)


def one(table: FeatureTable, gate: Gate, row: int, crs: str = WGS84) -> Found | None:
    """Return the feature that was a row of a table's source; None if there is no such one.

    Raises:
        SourceUnreadable: the table is damaged.
    """
    with open_rows(table.path, gate, table.item, table.asset) as rows:
        batch = rows.of_row(row)
        if batch is None:
            return None
        shapes = placed(batch.shapes, rows.facts.crs, crs)
    return Found(table, _part(batch, shapes, np.ones(1, np.bool_)))


def _of_table(
    table: FeatureTable,
    rows: FeatureRows,
    wanted: Wanted,
    begin: int,
    check: Callable[[], None],
) -> Iterator[FeatureBatch]:
    places = [boxes for boxes in _places(wanted, rows.facts.crs) if boxes is not None]
    keep = None
    if wanted.condition is not None:
        condition = wanted.condition

        def keep(part: Any) -> Mask:
            return narrowed(condition, part)

    groups = rows.groups(places[0] if places else None, start=begin)
    for group in groups:
        check()
        first = int(rows.starts[group])
        mask: Mask | None = None
        if places or begin > first:
            mask = np.arange(first, int(rows.starts[group + 1])) >= begin
            for boxes in places:
                mask &= touching(rows.boxes(group), boxes)
            if not mask.any():
                continue
        for batch in rows.features(group, mask, columns=_columns(rows, wanted), keep=keep):
            check()
            part = _meeting(table, rows, batch, wanted, check)
            if len(part.rows):
                yield part


def _places(wanted: Wanted, crs: str) -> Iterator[Sequence[Bounds] | None]:
    """Yield boxes in a CRS: of the first, and of the second, features touch one; None is any."""
    if wanted.extent is not None:
        yield boxes_in(wanted.extent, crs)
    region = None
    if wanted.condition is not None:
        region = hints_of(wanted.condition.expression).region
    if region is not None:
        parts = [boxes_in(SpatialExtent(box, WGS84), crs) for box in region.boxes]
        if all(part is not None for part in parts):
            yield [box for part in parts for box in part or ()]


def _meeting(
    table: FeatureTable,
    rows: FeatureRows,
    batch: FeatureBatch,
    wanted: Wanted,
    check: Callable[[], None],
) -> FeatureBatch:
    """Return those features of a batch that meet everything."""
    crs, date = rows.facts.crs, rows.facts.date
    kept = np.ones(len(batch.rows), np.bool_)
    if wanted.extent is not None:
        own = placed(batch.shapes, crs, wanted.extent.crs)
        kept &= _inside(own, wanted.extent)
    whens = [instants(one.get(date)) for one in batch.properties] if date else (
        [table.period] * len(kept)
    )  # fmt: skip
    if wanted.period is not None:
        kept &= np.array([w is not None and _may_meet(w, wanted.period) for w in whens], np.bool_)
    if wanted.condition is not None:
        degrees = np.full(len(kept), shapely.Point(), dtype=object)
        if uses_geometry(wanted.condition):
            degrees = mended(placed(batch.shapes, crs, WGS84))
        for n in np.flatnonzero(kept).tolist():
            check()
            name = feature_name(table.item, int(batch.rows[n]))
            facts = FeatureFacts(name, batch.properties[n], degrees[n], whens[n])
            kept[n] = wanted.condition.holds(facts)
    shapes = placed(batch.shapes[kept], crs, wanted.crs)
    return _part(batch, shapes, kept, wanted.properties)


def _columns(rows: FeatureRows, wanted: Wanted) -> list[str] | None:
    """Return the attributes that have to be read; None for all."""
    if wanted.properties is None:
        return None
    asked = {*wanted.properties, rows.facts.date}
    if wanted.condition is not None:
        asked |= names_in(wanted.condition)
    return [one["name"] for one in rows.facts.columns[:-1] if one["name"] in asked]


def _part(
    batch: FeatureBatch, shapes: Shapes, kept: Mask, only: tuple[str, ...] | None = None
) -> FeatureBatch:
    properties: list[Mapping[str, Any]] = [batch.properties[n] for n in np.flatnonzero(kept)]
    if only is not None:
        properties = [{name: one[name] for name in only if name in one} for one in properties]
    return FeatureBatch(batch.positions[kept], batch.rows[kept], shapes, tuple(properties))


def _may_meet(
    own: tuple[datetime, datetime], asked: tuple[datetime | None, datetime | None] | None
) -> bool:
    """Tell whether two closed periods have an instant in common."""
    if asked is None:
        return True
    first, last = asked
    return (last is None or own[0] <= last) and (first is None or own[1] >= first)


def _inside(shapes: Shapes, extent: SpatialExtent) -> Mask:
    """Tell which geometries have a point in common with an extent; empty ones have none."""
    bounds = shapely.bounds(shapes)
    kept = np.zeros(len(shapes), np.bool_)
    for left, bottom, right, top in extent.boxes:
        near = touching(bounds, [(left, bottom, right, top)])
        within = (
            (bounds[:, 0] >= left)
            & (bounds[:, 2] <= right)
            & (bounds[:, 1] >= bottom)
            & (bounds[:, 3] <= top)
        )
        kept |= near & within
        unsure = near & ~kept
        if unsure.any():
            box = shapely.box(left, bottom, right, top)
            shapely.prepare(box)
            kept[unsure] = shapely.intersects(box, mended(shapes[unsure]))
    return kept


def mended(shapes: Shapes) -> Shapes:
    """Return geometries that can be asked for relations: what crosses itself is mended."""
    wrong = ~shapely.is_valid(shapes)
    if not wrong.any():
        return shapes
    found = shapes.copy()
    found[wrong] = shapely.make_valid(shapes[wrong])
    return found


def placed(shapes: Shapes, crs: str, to: str) -> Shapes:
    """Return geometries in another CRS; in degrees they are cut at the antimeridian.

    A geometry that is missing, or has no place there, is an empty one.
    """
    given = shapes.copy()
    given[shapely.is_missing(given)] = shapely.Polygon()
    if not len(given):
        return given
    found = np.empty(len(given), dtype=object)
    if to == WGS84:
        try:
            found[:] = in_degrees(given.tolist(), crs)
        except (ArgumentInvalid, ValueError, TypeError, shapely.errors.ShapelyError):
            found[:] = [_alone(shape, crs) for shape in given]
        return found
    if crs == to:
        return given
    moved: Shapes = shapely.transform(given, transformer(crs, to).transform, interleaved=False)
    points, owner = shapely.get_coordinates(moved, return_index=True)
    moved[np.unique(owner[~np.isfinite(points).all(axis=1)])] = shapely.Polygon()
    return moved


def _alone(shape: Any, crs: str) -> Any:
    with suppress(ArgumentInvalid, ValueError, TypeError, shapely.errors.ShapelyError):
        return in_degrees([shape], crs)[0]
    return shapely.Polygon()
