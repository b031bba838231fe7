"""Geometries as vector tiles have them: simple, cut, valid, on whole units, of bounded work.

What GEOS puts on whole units takes it much longer than in proportion to its corners and parts. So
all is done part by part, of many small parts few stay, and what has very many corners loses some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from terrazzo.storage.vectors.mvt import BUFFER, EXTENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Shapes = NDArray[np.object_]
    Whole = NDArray[np.int64]
    Numbers = NDArray[np.float64]

PARTS: Final = 4096
"""Parts of a geometry; of more of them the small ones are thinned."""
CORNERS: Final = 8192
"""Corners of a part; of more of them those go that are close to the one before."""
_LOW, _HIGH = -float(BUFFER), float(EXTENT + BUFFER)
_AROUND: Final = 1024.0
"""Units around a tile outside of which parts of very many corners are cut first."""
_MENDED: Final = 512
"""Corners of a part that may be mended: where edges cross, their pairs count."""
_AT_ONCE: Final = 20_000
"""Corners between two questions whether somebody still waits."""
_COARSER: Final = 4
"""How many times the distance of corners that are one may double."""
_WIDEST: Final = 4.0 * EXTENT
_FAR: Final = 2**19
_AREA, _LINE = 2, 1
_NOTHING: Final = shapely.Polygon()


def in_units(shapes: Shapes, tolerance: float, check: Callable[[], None] = lambda: None) -> Shapes:
    """Return geometries as a tile has them: simpler, cut, valid, on whole units.

    Args:
        shapes: in units of the tile, y down.
        tolerance: how far a line may move, units.
        check: called now and then; what it raises ends the work.

    Returns:
        Of the dimension that they had; empty where nothing is left. Outer rings run as the
        specification has it: clockwise as one sees them.
    """
    dimensions = shapely.get_dimensions(shapes)
    parts, owner = _parts(shapely.force_2d(shapes), np.arange(len(shapes)))
    parts, owner = _chosen(parts, owner, shapely.get_dimensions(parts) == dimensions[owner])
    several = (np.bincount(owner, minlength=len(shapes)) > 1)[owner]
    bounds = shapely.bounds(parts)
    near = (bounds[:, :2] <= _HIGH).all(axis=1) & (bounds[:, 2:] >= _LOW).all(axis=1)
    parts, owner, several, bounds = parts[near], owner[near], several[near], bounds[near]
    kept, cell = _fewer(owner, bounds, several, tolerance * 2)
    parts, owner, bounds, cell = parts[kept], owner[kept], bounds[kept], cell[kept]
    small = several[kept] & (_extent(bounds) < cell)
    large, whose = _simple(parts[~small], owner[~small], dimensions, tolerance, check)
    marks = _marks(parts[small], bounds[small], cell[small])
    found = _together(
        np.concatenate([large, marks]), np.concatenate([whose, owner[small]]), dimensions, check
    )
    # With y down an outer ring that runs against the clock on paper runs with it on the screen.
    oriented: Shapes = shapely.orient_polygons(found)
    return oriented


def _parts(shapes: Shapes, owner: Whole) -> tuple[Shapes, Whole]:
    """Return what geometries consist of, however deep it lies, and whose part each is."""
    while (shapely.get_type_id(shapes) >= shapely.GeometryType.MULTIPOINT).any():
        shapes, index = shapely.get_parts(shapes, return_index=True)
        owner = owner[index]
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    return shapes[there], owner[there]


def _chosen(parts: Shapes, owner: Whole, which: NDArray[np.bool_]) -> tuple[Shapes, Whole]:
    return parts[which], owner[which]


def _extent(bounds: Numbers) -> Numbers:
    """Return the longer side of boxes."""
    longer: Numbers = np.maximum(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    return longer


def _fewer(
    owner: Whole, bounds: Numbers, several: NDArray[np.bool_], least: float
) -> tuple[Whole, Numbers]:
    """Return which parts stay, and the edge of the cells of each one's geometry.

    Of the parts of a geometry that are smaller than a cell the largest in each stays. Cells are
    those of the world, and as small as the number of parts permits.
    """
    extent = _extent(bounds)
    order = np.lexsort((-extent, owner))
    middle = (bounds[:, :2] + bounds[:, 2:]) / 2
    edge = np.full(int(owner.max(initial=-1)) + 1, least)
    while True:
        cell = edge[owner]
        place = np.floor(middle / cell[:, None]).clip(-_FAR, _FAR - 1).astype(np.int64) + _FAR
        key = owner * (4 * _FAR * _FAR) + place[:, 1] * (2 * _FAR) + place[:, 0]
        key = np.where(several & (extent < cell), key, -1 - np.arange(len(key)))
        _, first = np.unique(key[order], return_index=True)
        kept = order[np.sort(first)]
        many = np.bincount(owner[kept], minlength=len(edge)) > PARTS
        if not many.any() or edge[many].max() > _WIDEST:
            break
        edge[many] *= 2
    # The largest ones of each, as they are in order.
    held = owner[kept]
    rank = np.arange(len(kept)) - np.searchsorted(held, held)
    return kept[rank < PARTS], cell


def _marks(parts: Shapes, bounds: Numbers, cell: Numbers) -> Shapes:
    """Draw small parts: points as such, areas as squares inside of their cells, lines as dashes."""
    middle = (bounds[:, :2] + bounds[:, 2:]) / 2
    centre = np.floor((np.floor(middle / cell[:, None]) + 0.5) * cell[:, None])
    # Three quarters of a cell at most, so that squares of neighbours do not touch.
    half = np.floor(np.clip(_extent(bounds) / 2, cell * 0.25, cell * 0.375)).clip(1)[:, None]
    low, high = centre - half, centre + half
    found = np.empty(len(parts), dtype=object)
    dimensions = shapely.get_dimensions(parts)
    areas, lines, points = (dimensions == one for one in (_AREA, _LINE, 0))
    found[areas] = shapely.box(*low[areas].T, *high[areas].T)
    found[lines] = shapely.linestrings(np.stack([low[lines], high[lines]], axis=1))
    found[points] = shapely.points(np.round(middle[points]))
    return found


def _simple(
    parts: Shapes,
    owner: Whole,
    dimensions: NDArray[np.int32],
    tolerance: float,
    check: Callable[[], None],
) -> tuple[Shapes, Whole]:
    """Return what is left of parts on whole units, and whose part each is."""
    done: list[Shapes] = [np.zeros(0, dtype=object)]
    whose: list[Whole] = [np.zeros(0, np.int64)]
    counts = shapely.get_num_coordinates(parts)
    ends = np.flatnonzero(np.diff(np.cumsum(counts) // _AT_ONCE)) + 1
    for these in np.split(np.arange(len(parts)), ends):
        check()
        found = parts[these]
        for number in np.flatnonzero(counts[these] > CORNERS).tolist():
            check()
            found[number] = _fewer_corners(found[number], tolerance)
        found = _clipped(_simplified(found, tolerance))
        check()
        pieces, index = _parts(_snapped(found), owner[these])
        pieces, index = _chosen(pieces, index, shapely.get_dimensions(pieces) == dimensions[index])
        done.append(pieces)
        whose.append(index)
    return np.concatenate(done), np.concatenate(whose)


def _fewer_corners(part: Any, tolerance: float) -> Any:
    """Return a part of very many corners with few, as it is about the tile; it may be invalid."""
    low, high = _LOW - _AROUND, _HIGH + _AROUND
    pieces = shapely.get_parts(shapely.clip_by_rect(part, low, low, high, high))
    pieces = pieces[shapely.get_dimensions(pieces) == shapely.get_dimensions(part)]
    if shapely.get_num_coordinates(pieces).sum() <= CORNERS:
        return _one_of(pieces)
    areas = shapely.get_dimensions(part) == _AREA
    room, found = CORNERS, []
    for piece in pieces[np.argsort(-_extent(shapely.bounds(pieces)))]:
        rings = shapely.get_rings(piece) if areas else np.array([piece], dtype=object)
        order = 1 + np.argsort(-_extent(shapely.bounds(rings[1:])), kind="stable")
        held: list[Numbers] = []
        for number in (0, *order.tolist()):
            if room <= 0:
                break
            line = _line(shapely.get_coordinates(rings[number]), tolerance, room, ring=areas)
            room -= max(1, len(line))
            if len(line) > (3 if areas else 1):
                held.append(line)
            elif number == 0:
                break
        if held:
            found.append(
                shapely.Polygon(held[0], held[1:]) if areas else shapely.LineString(held[0])
            )
    return _one_of(np.array([*found, None], dtype=object)[:-1])


def _one_of(pieces: Shapes) -> Any:
    """Return pieces as one geometry."""
    if len(pieces) <= 1:
        return pieces[0] if len(pieces) else _NOTHING
    areas = shapely.get_dimensions(pieces[0]) == _AREA
    return shapely.multipolygons(pieces) if areas else shapely.multilinestrings(pieces)


def _line(points: Numbers, tolerance: float, most: int, *, ring: bool) -> Numbers:
    """Return corners without those that are in the same cell as the one before, `most` at most."""
    for doubled in range(_COARSER + 1):
        cells = np.floor(points / (tolerance * 2**doubled))
        kept = np.ones(len(points), np.bool_)
        kept[1:] = (cells[1:] != cells[:-1]).any(axis=1)
        kept[-1] = True
        if kept.sum() <= most:
            break
    found = points[kept]
    if len(found) > most:
        found = found[np.linspace(0, len(found) - 1, max(most, 4 if ring else 2)).astype(np.int64)]
    return found


def _simplified(parts: Shapes, tolerance: float) -> Shapes:
    """Return parts with fewer corners, valid."""
    parts = parts.copy()
    areas = shapely.get_dimensions(parts) == _AREA
    many = np.flatnonzero(areas & (shapely.get_num_coordinates(parts) > _MENDED))
    for number in many[~shapely.is_valid(parts[many])].tolist():
        shells = shapely.get_exterior_ring(shapely.get_parts(parts[number]))
        points = shapely.get_coordinates(shells[np.argmax(shapely.get_num_coordinates(shells))])
        parts[number] = shapely.Polygon(_line(points, tolerance, _MENDED, ring=True))
    found = shapely.simplify(parts, tolerance, preserve_topology=False)
    lost = shapely.is_empty(found)
    found[lost] = shapely.simplify(parts[lost], tolerance)
    wrong = ~shapely.is_valid(found)
    found[wrong] = shapely.make_valid(found[wrong])
    simplified: Shapes = found
    return simplified


def _clipped(shapes: Shapes) -> Shapes:
    """Return what is in a tile and a little around it."""
    bounds = shapely.bounds(shapes)
    across = (bounds[:, :2] < _LOW).any(axis=1) | (bounds[:, 2:] > _HIGH).any(axis=1)
    shapes[across] = shapely.clip_by_rect(shapes[across], _LOW, _LOW, _HIGH, _HIGH)
    return shapes


def _snapped(shapes: Shapes) -> Shapes:
    """Return geometries on whole units; what GEOS cannot put there is mended first, or left out."""
    try:
        snapped: Shapes = shapely.set_precision(shapes, 1.0)
    except shapely.errors.GEOSException:
        snapped = np.array([*map(_snapped_alone, shapes), None], dtype=object)[:-1]
    return snapped


def _snapped_alone(shape: Any) -> Any:
    try:
        return shapely.set_precision(shapely.make_valid(shape), 1.0)
    except shapely.errors.GEOSException:
        return _NOTHING


def _together(
    parts: Shapes, owner: Whole, dimensions: NDArray[np.int32], check: Callable[[], None]
) -> Shapes:
    """Return geometries of the parts of each."""
    found = np.full(len(dimensions), _NOTHING, dtype=object)
    order = np.argsort(owner, kind="stable")
    parts, owner = parts[order], owner[order]
    counts = np.bincount(owner, minlength=len(dimensions))
    alone = counts[owner] == 1
    found[owner[alone]] = parts[alone]
    makers = {0: shapely.multipoints, _LINE: shapely.multilinestrings, _AREA: shapely.multipolygons}
    for dimension, made in makers.items():
        several = np.flatnonzero((counts > 1) & (dimensions == dimension))
        mine = np.isin(owner, several)
        if not len(several):
            continue
        found[several] = made(parts[mine], indices=np.searchsorted(several, owner[mine]))
        if dimension == 0:
            found[several] = shapely.extract_unique_points(found[several])
        elif dimension == _AREA:
            for number in several[~shapely.is_valid(found[several])].tolist():
                check()
                found[number] = _united(shapely.get_parts(found[number]))
    return found


def _united(parts: Shapes) -> Any:
    """Return one valid area of parts that touch each other on whole units."""
    try:
        union = shapely.union_all(parts, grid_size=1.0)
    except shapely.errors.GEOSException:
        return parts[np.argmax(shapely.area(parts))]
    return union
