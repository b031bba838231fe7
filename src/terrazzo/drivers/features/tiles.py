"""Vector tiles of a collection of geometries, as maps ask for them by zoom, column and row.

What is smaller than a few pixels is thinned: of each cell of a lattice that is the same for all
tiles the largest one stays, drawn as a small square. So a tile of a million parcels has no more of
them than one can see, no tile has another choice than its neighbour, and geometries are decoded of
what is drawn only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from terrazzo.engine.vector_collections import boxes_in
from terrazzo.geo.crs import WGS84, is_geographic
from terrazzo.geo.extent import SpatialExtent
from terrazzo.storage.vectors.feature_rows import open_rows
from terrazzo.storage.vectors.mvt import BUFFER, EXTENT, attributes, encode
from terrazzo.storage.vectors.tile_shapes import in_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from terrazzo.drivers.features.squares import Square
    from terrazzo.drivers.features.tables import FeatureTable
    from terrazzo.geo.grid import Bounds
    from terrazzo.storage.gate import Gate
    from terrazzo.storage.vectors.feature_rows import FeatureRows

    Numbers = NDArray[np.float64]
    Shapes = NDArray[np.object_]

LARGEST: Final = 1_000_000
"""Bytes of a tile; where it would have more, cells become larger."""
MOST: Final = 20_000
"""Features of a tile, the largest ones."""
CELLS: Final = (32, 64, 128, 256, 512)
"""Edges of the cells in which one of several small features stays, units of a tile."""
ATTRIBUTES: Final = 32
"""Attributes of a tile's features: the first ones, unless others are asked for."""
ITEM: Final = "_item"
"""Attribute of a tile's features: the item that they are of."""
_TOLERANCE: Final = 4.0
"""How far a line may move, units: half a pixel of a map."""
_COARSE: Final = (16.0, 64.0, 256.0)
"""How far lines may move of a feature that would fill a tile alone, one after the other."""
_AHEAD: Final = 8
"""How many times more than fits is looked at for what fits."""
_SQUARE: Final = 16.0
"""Below this areas are drawn as squares, units."""
_SMALLEST: Final = 4.0
"""Half the edge of the smallest square, units."""
_WIDEST: Final = 5.0
"""Degrees: of wider boxes a few corners do not tell where they are in another plane."""
_SLACK: Final = 0.02
"""By which part of its longer side a box may reach beyond its corners in another plane."""
_RADIUS: Final = 6_371_000.0
_DEGREE: Final = 111_000.0
"""Metres."""
_EVERYWHERE: Final = 16.0
"""How many times larger than a continent something is that may be in any tile."""
_BENT: Final = 100_000
"""Corners that an outline may get, so that its edges are where they would be straight."""
_FAR: Final = 2**20
"""More cells than there are from a tile to either side; what is farther away is large."""
_AREA: Final = 2
_POINTS: Final = frozenset({"Point", "MultiPoint"})
_AREAS: Final = frozenset({"Polygon", "MultiPolygon"})


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Features that a tile may show."""

    table: NDArray[np.int64]
    """Which table."""
    group: NDArray[np.int64]
    """Row group of it."""
    number: NDArray[np.int64]
    """Row within the group."""
    centre: Numbers
    """(n, 2) middle of the box, units of the tile."""
    size: Numbers
    """(n, 2) width and height of the box, units."""

    @property
    def extent(self) -> Numbers:
        """The longer side of each."""
        found: Numbers = self.size.max(axis=1, initial=0.0)
        return found

    def __len__(self) -> int:
        return len(self.table)

    def of(self, which: Any) -> _Seen:
        """Return some of them, in an order."""
        return _Seen(
            self.table[which],
            self.group[which],
            self.number[which],
            self.centre[which],
            self.size[which],
        )

    def with_more(self, other: _Seen) -> _Seen:
        """Return both."""
        pairs = zip(
            (self.table, self.group, self.number, self.centre, self.size),
            (other.table, other.group, other.number, other.centre, other.size),
            strict=True,
        )
        return _Seen(*(np.concatenate(pair) for pair in pairs))


_NOTHING = _Seen(
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros((0, 2)),
    np.zeros((0, 2)),
)


def vector_tile(
    layer: str,
    tables: Iterable[FeatureTable],
    gate: Gate,
    square: Square,
    names: Sequence[str] | None = None,
    check: Callable[[], None] = lambda: None,
) -> bytes | None:
    """Return a tile with the features of tables; None if it shows none.

    Args:
        layer: name of the layer.
        tables: that may touch the tile.
        gate: what may be read.
        square: which tile.
        names: of the attributes that features have; None for the first ones of their table.
        check: called now and then; what it raises ends the work.

    Raises:
        SourceUnreadable: a table is damaged.
    """
    known: list[FeatureTable] = []
    seen = _NOTHING
    for table in tables:
        check()
        with open_rows(table.path, gate, table.item, table.asset) as rows:
            for group in rows.groups(_places(square, rows)):
                check()
                seen = seen.with_more(_touching(rows, group, len(known), square))
                if len(seen) > MOST * 2:
                    seen = _fewest(seen, CELLS[0])
        known.append(table)
    seen = _fewest(seen, CELLS[0])
    if not len(seen):
        return None
    drawn = _drawn(known, gate, square, seen, names, check)
    content = drawn.within(LARGEST, layer)
    if content is None:
        drawn = drawn.coarser(LARGEST // 4, layer, check)
        for cell in CELLS:
            chosen = drawn if cell == CELLS[0] else drawn.of(_thinned(drawn.seen, cell))
            check()
            content = chosen.within(LARGEST, layer)
            if content is not None:
                break
        else:
            # The largest ones that there is room for: outlines of what cannot be thinned.
            content = chosen.fitting(LARGEST, layer, check)
    return content or None


def _places(square: Square, rows: FeatureRows) -> list[Bounds] | None:
    """Return boxes in the CRS of a table that hold a tile; None where that is not told."""
    if square.bounds is None:
        return []
    found = boxes_in(SpatialExtent(square.bounds, WGS84), rows.facts.crs)
    return None if found is None else list(found)


def _touching(rows: FeatureRows, group: int, table: int, square: Square) -> _Seen:
    """Return the features of a row group whose boxes touch a tile."""
    boxes = rows.boxes(group)
    numbers = np.flatnonzero(~np.isnan(boxes).any(axis=1))
    centre, size = _in_tile(boxes[numbers], rows.facts.crs, square)
    half = size / 2
    low, high = -float(BUFFER), float(EXTENT + BUFFER)
    found = _NOTHING
    for turn in sorted({-square.turn, 0.0, square.turn}):
        moved = centre + np.array([turn, 0.0])
        near = (moved + half >= low).all(axis=1) & (moved - half <= high).all(axis=1)
        if near.any():
            count = int(near.sum())
            found = found.with_more(
                _Seen(
                    np.full(count, table),
                    np.full(count, group),
                    numbers[near],
                    moved[near],
                    size[near],
                )
            )
    return found


def _in_tile(boxes: Numbers, crs: str, square: Square) -> tuple[Numbers, Numbers]:
    """Return middles and sizes of (n, 4) boxes, units; larger ones where edges bend."""
    if square.along(crs):
        one, other = square.units(boxes[:, :2], crs), square.units(boxes[:, 2:], crs)
        return (one + other) / 2, np.abs(other - one)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    xs, ys = ((boxes[:, n], middle[:, n], boxes[:, n + 2]) for n in (0, 1))
    around = [np.stack([x, y], axis=1) for x in xs for y in ys]
    points = np.stack([square.units(one, crs) for one in around])
    points[..., 0] = square.beside(points[..., 0], points[0, :, 0])
    with np.errstate(invalid="ignore"):
        low, high = points.min(axis=0), points.max(axis=0)
        longer = (high - low).max(axis=1, initial=0.0)
    # Of what is as large as a continent nine points do not tell where it is.
    lost = ~(longer < square.far)
    if is_geographic(crs):
        lost |= (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0.0) > _WIDEST
    low[lost], high[lost], longer[lost] = 0.0, 0.0, 0.0
    centre, size = (low + high) / 2, high - low + _SLACK * longer[:, None]
    centre[lost], size[lost] = EXTENT / 2, square.far * _EVERYWHERE
    return centre, size


def _fewest(seen: _Seen, cell: int) -> _Seen:
    """Return what is drawn of features, the largest first."""
    return seen.of(_thinned(seen, cell)[:MOST])


def _thinned(seen: _Seen, cell: int) -> NDArray[np.int64]:
    """Return which features stay where cells have an edge, the largest first.

    Of the smaller ones it is the largest in each cell, and the first one of several that are.
    """
    order = np.lexsort((seen.number, seen.group, seen.table, -seen.extent))
    small = seen.extent[order] < cell
    lattice = np.floor(seen.centre[order] / cell).astype(np.int64)
    key = (lattice[:, 1] + _FAR) * (2 * _FAR) + lattice[:, 0] + _FAR
    _, first = np.unique(np.where(small, key, -1 - np.arange(len(key))), return_index=True)
    found: NDArray[np.int64] = order[np.sort(first)]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """Features as a tile has them."""

    seen: _Seen
    """Where they are."""
    shapes: Shapes
    """In units of the tile; empty for nothing."""
    ids: NDArray[np.int64]
    """Rows of their source."""
    properties: NDArray[np.object_]
    """Attributes."""

    def of(self, which: NDArray[np.int64]) -> _Drawn:
        """Return some of them, in an order."""
        return _Drawn(
            self.seen.of(which), self.shapes[which], self.ids[which], self.properties[which]
        )

    def within(self, most: int, layer: str) -> bytes | None:
        """Return the tile; None where it has more bytes: each corner takes one at least."""
        if shapely.get_num_coordinates(self.shapes).sum() > most:
            return None
        content = self.encoded(layer)
        return content if len(content) <= most else None

    def coarser(self, most: int, layer: str, check: Callable[[], None]) -> _Drawn:
        """Return them with fewer corners of each that would fill more bytes than that alone."""
        shapes = self.shapes.copy()
        for number in np.flatnonzero(shapely.get_num_coordinates(shapes) * 20 > most).tolist():
            one = self.of(np.array([number]))
            for tolerance in _COARSE:
                check()
                if one.within(most, layer) is not None:
                    break
                one = replace(one, shapes=in_units(one.shapes, tolerance, check))
            if one.shapes[0].is_empty or one.within(most, layer) is None:
                one = replace(one, shapes=_boxes(self.shapes[[number]]))
            shapes[number] = one.shapes[0]
        return replace(self, shapes=shapes)

    def fitting(self, most: int, layer: str, check: Callable[[], None]) -> bytes:
        """Return a tile of those that fit into so many bytes, the largest first."""
        sizes: list[int] = []
        whole = 0
        while len(sizes) < len(self.seen) and whole <= _AHEAD * most:
            check()
            sizes.append(len(self.of(np.array([len(sizes)])).encoded(layer)))
            whole += sizes[-1]
        # What features share, as the names of attributes, is there once.
        together = len(self.of(np.arange(len(sizes))).encoded(layer))
        room = most * max(1.0, whole / max(1, together))
        while True:
            check()
            chosen = _fits(sizes, room)
            content = self.of(chosen).encoded(layer)
            if len(content) <= most or len(chosen) <= 1:
                return content
            room *= 0.8

    def encoded(self, layer: str) -> bytes:
        """Return the tile; empty for one that shows nothing."""
        if shapely.is_empty(self.shapes).all():
            return b""
        return encode(layer, self.shapes, self.ids.tolist(), self.properties.tolist())


def _fits(sizes: Sequence[int], room: float) -> NDArray[np.int64]:
    """Return which of several are taken, one after the other, while there is room for each."""
    found = []
    for number, size in enumerate(sizes):
        if size <= room or number == 0:
            found.append(number)
            room -= size
    return np.array(found, np.int64)


def _boxes(shapes: Shapes) -> Shapes:
    """Return the boxes of areas, the diagonals of those of lines, and one of several points."""
    low, high = np.split(np.round(shapely.bounds(shapes)), 2, axis=1)
    found: Shapes = shapely.linestrings(np.stack([low, high], axis=1))
    dimensions = shapely.get_dimensions(shapes)
    areas, points = dimensions == _AREA, dimensions == 0
    found[areas] = shapely.box(*low[areas].T, *high[areas].T)
    found[points] = shapely.points(low[points])
    return found


def _drawn(
    tables: Sequence[FeatureTable],
    gate: Gate,
    square: Square,
    seen: _Seen,
    names: Sequence[str] | None,
    check: Callable[[], None],
) -> _Drawn:
    """Read geometries and attributes of features."""
    count = len(seen)
    found = _Drawn(
        seen,
        np.full(count, shapely.Polygon(), dtype=object),
        np.zeros(count, np.int64),
        np.full(count, None, dtype=object),
    )
    for number in np.unique(seen.table).tolist():
        table = tables[number]
        with open_rows(table.path, gate, table.item, table.asset) as rows:
            for group in np.unique(seen.group[seen.table == number]).tolist():
                check()
                here = np.flatnonzero((seen.table == number) & (seen.group == group))
                _read(table, rows, group, here, square, found, names, check)
    return found


def _read(
    table: FeatureTable,
    rows: FeatureRows,
    group: int,
    here: NDArray[np.int64],
    square: Square,
    found: _Drawn,
    names: Sequence[str] | None,
    check: Callable[[], None],
) -> None:
    """Read the features of a row group that are drawn; `here` says which they are."""
    start, stop = rows.starts[group : group + 2].tolist()
    wanted = np.zeros(stop - start, np.bool_)
    wanted[found.seen.number[here]] = True
    small = found.seen.extent[here] < _SQUARE
    kinds = {kind.removesuffix(" Z") for kind in rows.facts.types}
    alike = _POINTS if kinds <= _POINTS else _AREAS if kinds <= _AREAS else None
    known = [column["name"] for column in rows.facts.columns[:-1]]
    columns = known[:ATTRIBUTES] if names is None else [name for name in known if name in names]
    geometry = alike is None or not small.all()
    for batch in rows.features(group, wanted, columns=columns, geometry=geometry):
        check()
        places = {int(position) - start: n for n, position in enumerate(batch.positions)}
        mine = [(n, places[k]) for n in here.tolist() if (k := int(found.seen.number[n])) in places]
        target, source = np.array(mine, np.int64).T
        tiny = found.seen.extent[target] < _SQUARE
        found.ids[target] = batch.rows[source]
        told = [{**attributes(batch.properties[n]), ITEM: table.item} for n in source.tolist()]
        found.properties[target] = np.array([*told, None], dtype=object)[:-1]
        large = target[~tiny]
        if len(large):
            centre = found.seen.centre[large]
            shapes = _units(batch.shapes[source[~tiny]], rows.facts.crs, square, centre)
            found.shapes[large] = in_units(shapes, _TOLERANCE, check)
        if alike is None:
            areas = shapely.get_dimensions(batch.shapes[source]) == _AREA
            points = shapely.get_dimensions(batch.shapes[source]) == 0
        else:
            areas, points = (np.full(len(target), alike is one) for one in (_AREAS, _POINTS))
        _put_small(found, target[tiny], areas[tiny], points[tiny])


def _put_small(
    found: _Drawn,
    target: NDArray[np.int64],
    areas: NDArray[np.bool_],
    points: NDArray[np.bool_],
) -> None:
    """Draw small features: points as such, areas as squares, lines as dashes."""
    centre = np.round(found.seen.centre[target])
    half = np.round(np.maximum(found.seen.size[target] / 2, _SMALLEST))
    low, high = centre - half, centre + half
    found.shapes[target] = shapely.linestrings(np.stack([low, high], axis=1))
    found.shapes[target[points]] = shapely.points(centre[points])
    found.shapes[target[areas]] = shapely.box(*low[areas].T, *high[areas].T)


def _units(shapes: Shapes, crs: str, square: Square, centre: Numbers) -> Shapes:
    """Return geometries in units of a tile, in the turn of the world in which their centre is."""
    given = shapely.force_2d(shapes)
    if not square.along(crs):
        given = _bent(given, crs, square)
    points, owner = shapely.get_coordinates(given, return_index=True)
    units = square.units(points, crs)
    lost = np.unique(owner[~np.isfinite(units).all(axis=1)])
    if not square.along(crs):
        # Around the first point: an edge across the antimeridian would go around the world.
        units[:, 0] = square.beside(units[:, 0], units[np.searchsorted(owner, owner), 0])
    moved: Shapes = shapely.set_coordinates(given, units)
    moved[lost] = shapely.Polygon()
    bounds = shapely.bounds(moved)
    middle = (bounds[:, 0] + bounds[:, 2]) / 2
    shifts = np.nan_to_num(square.beside(middle, centre[:, 0]) - middle)
    for number in np.flatnonzero(shifts).tolist():
        shift = np.array([shifts[number], 0.0])
        moved[number] = shapely.transform(moved[number], lambda xy, by=shift: xy + by)
    return moved


def _bent(shapes: Shapes, crs: str, square: Square) -> Shapes:
    """Return geometries with more corners where straight edges are none in the plane of a tile.

    An edge of length L bulges by L^2 / 8r about, on a sphere of radius r; half of the tolerance is
    left for it.
    """
    if crs == square.plane.crs:
        return shapes
    length = math.sqrt(4 * _TOLERANCE * square.metres * _RADIUS)
    step = length / _DEGREE if is_geographic(crs) else length
    with np.errstate(invalid="ignore", over="ignore"):
        few = shapely.length(shapes) < step * _BENT
    found = shapes.copy()
    found[few] = shapely.segmentize(shapes[few], step)
    return found
