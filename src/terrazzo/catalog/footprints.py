"""Footprints of items as a few bytes, so that a place is found without reading a document.

A footprint that is a box is kept as four doubles, another as WKB (no WKB has 32 bytes).
"""

from __future__ import annotations

import struct
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from terrazzo.catalog.space import Box, box_geometry, footprint, read_geometry, split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

    from terrazzo.catalog.space import Region

_BOX: Final = struct.Struct("<4d")
_POLYGON: Final = struct.Struct("<BIII")
_CORNERS: Final = 4
_HUGE: Final = 1e9
_NUMBERS: Final = frozenset({float, int})


def kept_footprint(
    item: Mapping[str, Any], bbox: Box, subject: str
) -> tuple[bytes, tuple[Box, ...]]:
    """Return an item's footprint as it is kept, and the one or two boxes that hold it.

    Args:
        item: its geometry, or else its bbox, is its footprint.
        bbox: its bbox, checked.
        subject: begins the error message.

    Raises:
        ArgumentInvalid: see `read_geometry`.
    """
    geometry = item.get("geometry")
    plain = -180.0 <= bbox[0] <= bbox[2] <= 180.0  # noqa: PLR2004 - degrees
    if geometry is None and plain:
        return _BOX.pack(*bbox), (bbox,)
    ring = _ring(geometry) if bbox[0] <= bbox[2] else None
    if ring is not None:
        xs, ys = ring
        bounds = float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))
        if _is_box(xs, ys) and -180.0 <= bounds[0] <= bounds[2] <= 180.0:  # noqa: PLR2004
            return _BOX.pack(*bounds), (bounds,)
        flat = [number for point in zip(xs, ys, strict=True) for number in point]
        head = _POLYGON.pack(1, 3, 1, len(xs))
        return head + struct.pack(f"<{len(flat)}d", *flat), split(bounds)
    if geometry is not None:
        read_geometry(geometry, subject)
    shape = footprint(item)
    whole = (shape,) if bbox[0] <= bbox[2] else tuple(shapely.get_parts(shape))
    boxes = [box for part in whole for box in split(part.bounds)]
    return shapely.to_wkb(shape), tuple(boxes) if len(boxes) == 1 else _halves(boxes)


def _ring(geometry: object) -> tuple[Sequence[float], Sequence[float]] | None:
    """Return x and y of a polygon with one ring; None for other geometries."""
    if type(geometry) is not dict or geometry.get("type") != "Polygon":
        return None
    rings = geometry.get("coordinates")
    if type(rings) is not list or len(rings) != 1 or type(rings[0]) is not list:
        return None
    points = rings[0]
    if len(points) < _CORNERS or points[0] != points[-1] or set(map(type, points)) != {list}:
        return None
    if set(map(len, points)) != {2}:
        return None
    xs, ys = zip(*points, strict=True)
    numbers = xs + ys
    if not _NUMBERS.issuperset(map(type, numbers)) or max(map(abs, numbers)) >= _HUGE:
        return None
    return (xs, ys) if isfinite(sum(numbers)) else None  # NaN is no maximum


def _is_box(xs: Sequence[float], ys: Sequence[float]) -> bool:
    """Tell whether a closed ring goes once round a box."""
    if len(xs) != _CORNERS + 1 or len(set(xs)) != 2 or len(set(ys)) != 2:  # noqa: PLR2004
        return False
    turns = [(xs[n] != xs[n + 1], ys[n] != ys[n + 1]) for n in range(_CORNERS)]
    return turns in ([(True, False), (False, True)] * 2, [(False, True), (True, False)] * 2)


def _halves(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Return a box round those of each half of the Earth."""
    west = [box for box in boxes if box[0] + box[2] < 0]
    east = [box for box in boxes if box[0] + box[2] >= 0]
    return tuple(
        (
            min(box[0] for box in half),
            min(box[1] for box in half),
            max(box[2] for box in half),
            max(box[3] for box in half),
        )
        for half in (west, east)
        if half
    )


def shape_of(kept: bytes) -> BaseGeometry:
    """Return a footprint."""
    if len(kept) == _BOX.size:
        return box_geometry(_BOX.unpack(kept))
    return shapely.from_wkb(kept)


def met(region: Region, kept: Sequence[bytes]) -> list[bool]:
    """Tell of each footprint whether it and a region have a point in common."""
    are_boxes = [len(one) == _BOX.size for one in kept]
    found = np.zeros(len(kept), bool)
    boxes = np.frombuffer(b"".join([one for one in kept if len(one) == _BOX.size])).reshape(-1, 4)
    if region.rectangular:
        west, south, east, north = boxes.T
        inside = np.zeros(len(boxes), bool)
        for w, s, e, n in region.boxes:
            inside |= (west <= e) & (east >= w) & (south <= n) & (north >= s)
        found[are_boxes] = inside
    else:
        shapes = shapely.box(*boxes.T)
        for index in np.flatnonzero((boxes[:, :2] == boxes[:, 2:]).any(axis=1)):
            shapes[index] = box_geometry(tuple(boxes[index].tolist()))  # a line or a point
        found[are_boxes] = _intersect(region, shapes)
    others = [one for one in kept if len(one) != _BOX.size]
    found[np.logical_not(are_boxes)] = _intersect(region, shapely.from_wkb(others))
    return found.tolist()


def _intersect(region: Region, shapes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Test many footprints at once; those beyond 180 degrees one by one."""
    found = np.zeros(len(shapes), bool)
    for mine in region.shapes:
        found |= shapely.intersects(mine, shapes)
    west, _, east, _ = shapely.bounds(shapes).reshape(-1, 4).T
    for index in np.flatnonzero(~found & ((west < -180.0) | (east > 180.0))):  # noqa: PLR2004
        found[index] = region.meets_shape(shapes[index])
    return found
