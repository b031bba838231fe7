"""Where items lie: boxes on a round Earth and the exact test of geometries.

Longitudes are cyclic. A bbox with west > east crosses the antimeridian and becomes two boxes;
coordinates beyond 180 degrees (0..360, or a polygon drawn across the line) are compared modulo
360. Borders count: what only touches intersects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor, isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import shape

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shapely.geometry.base import BaseGeometry

Box: TypeAlias = tuple[float, float, float, float]
"""West, south, east, north in degrees."""

_POLE = 90.0 + 1e-6
_NUMBERS = frozenset({float, int})
_NOT_GEOJSON = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
    shapely.errors.ShapelyError,
)


def check_bbox(bbox: Sequence[float], subject: str) -> Box:
    """Read a bbox of 4 numbers, or of 6 with heights, which are dropped.

    Args:
        bbox: west, south, east, north in degrees (EPSG:4326); west > east crosses the
            antimeridian.
        subject: what the bbox belongs to; begins the error message.

    Raises:
        ArgumentInvalid: wrong number of values, not finite, or beyond the Earth.
    """
    if type(bbox) is list and len(bbox) == 4 and _NUMBERS.issuperset(map(type, bbox)):  # noqa: PLR2004
        west, south, east, north = map(float, bbox)
        if -180.0 <= west <= 180.0 and -180.0 <= east <= 180.0 and -90.0 <= south <= north <= 90.0:  # noqa: PLR2004
            return west, south, east, north
    wanted = "Valid is [west, south, east, north] in degrees, for example [11.0, 46.0, 12.0, 47.0]."
    numbers = list(bbox) if isinstance(bbox, (list, tuple)) else []
    if len(numbers) == 6:  # noqa: PLR2004 - with heights
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4 or not all(_is_finite(n) for n in numbers):  # noqa: PLR2004
        raise ArgumentInvalid(f"{subject}: bbox {bbox!r} is not four finite numbers. {wanted}")
    west, south, east, north = (float(n) for n in numbers)
    if not -_POLE <= south <= north <= _POLE:
        raise ArgumentInvalid(
            f"{subject}: bbox {bbox!r} has latitudes {south!r}, {north!r}; they must ascend "
            f"within -90..90. {wanted}"
        )
    if max(abs(west), abs(east)) > 360:  # noqa: PLR2004 - degrees of a circle
        raise ArgumentInvalid(f"{subject}: bbox {bbox!r} has a longitude beyond 360. {wanted}")
    return west, south, east, north


def _is_finite(value: object) -> bool:
    """Tell whether a JSON value is a number and finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e9 if isinstance(value, int) else isfinite(value)  # noqa: PLR2004


def split(bbox: Box) -> tuple[Box, ...]:
    """Cut a bbox at the antimeridian into one or two boxes within -180..180.

    >>> split((170.0, -10.0, -170.0, 10.0))
    ((170.0, -10.0, 180.0, 10.0), (-180.0, -10.0, -170.0, 10.0))
    """
    west, south, east, north = bbox
    if -180.0 <= west <= east <= 180.0:  # noqa: PLR2004
        return (bbox,)
    if -180.0 <= east < west <= 180.0:  # noqa: PLR2004
        return (west, south, 180.0, north), (-180.0, south, east, north)
    if west > east:
        east += 360.0
    if east - west >= 360.0:  # noqa: PLR2004
        return ((-180.0, south, 180.0, north),)
    turns = 360.0 * floor((west + 180.0) / 360.0)
    west, east = west - turns, east - turns
    if east <= 180.0:  # noqa: PLR2004
        return ((west, south, east, north),)
    return (west, south, 180.0, north), (-180.0, south, east - 360.0, north)


def box_geometry(box: Box) -> BaseGeometry:
    """Return the polygon of a box, or the line or point that it has shrunk to."""
    west, south, east, north = box
    if west == east and south == north:
        return shapely.Point(west, south)
    if west == east or south == north:
        return shapely.LineString([(west, south), (east, north)])
    return shapely.box(west, south, east, north)


def read_geometry(geometry: object, subject: str) -> BaseGeometry:
    """Read a GeoJSON geometry.

    Raises:
        ArgumentInvalid: it is no GeoJSON geometry, is empty, or has coordinates that are not
            finite.
    """
    if not isinstance(geometry, Mapping):
        raise ArgumentInvalid(
            f"{subject}: geometry {geometry!r:.80} is not a GeoJSON object such as "
            '{"type": "Point", "coordinates": [11.0, 46.0]}.'
        )
    try:
        found = shape(geometry)
        bounds: tuple[float, ...] = found.bounds
    except _NOT_GEOJSON as problem:
        raise ArgumentInvalid(f"{subject}: geometry is not valid GeoJSON: {problem!r}.") from None
    if found.is_empty or not all(isfinite(number) for number in bounds):
        raise ArgumentInvalid(
            f"{subject}: geometry is empty or not finite. Give null to have the bbox stand for it."
        )
    return found


def _unwrapped(geometry: BaseGeometry) -> BaseGeometry:
    """Mend parts that were drawn the long way round because they cross the antimeridian."""
    parts = []
    for part in shapely.get_parts(geometry):
        west, _, east, _ = part.bounds
        parts.append(shapely.transform(part, _eastwards) if east - west > 180.0 else part)  # noqa: PLR2004
    return shapely.GeometryCollection(parts)


def _eastwards(coordinates: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Add a turn to western longitudes."""
    x = coordinates[:, 0]
    return np.column_stack([np.where(x < 0, x + 360.0, x), coordinates[:, 1]])


def _turns(geometry: BaseGeometry) -> tuple[BaseGeometry, ...]:
    """Return the geometry, and its copies a turn away if it reaches beyond -180..180."""
    west, _, east, _ = geometry.bounds
    if west >= -180.0 and east <= 180.0:  # noqa: PLR2004
        return (geometry,)
    return geometry, affinity.translate(geometry, -360.0), affinity.translate(geometry, 360.0)


def footprint(item: Mapping[str, Any]) -> BaseGeometry:
    """Return where an item lies: its geometry, or its bbox where the geometry is null."""
    bbox = check_bbox(item["bbox"], "Item")
    if item.get("geometry") is None:
        return shapely.GeometryCollection([box_geometry(box) for box in split(bbox)])
    geometry: BaseGeometry = shapely.force_2d(shape(item["geometry"]))
    return _unwrapped(geometry) if bbox[0] > bbox[2] else geometry


@dataclass(frozen=True, slots=True)
class Region:
    """What a search asks for in space."""

    boxes: tuple[Box, ...]
    """Boxes within -180..180 that together hold the region; they propose candidates."""
    shapes: tuple[BaseGeometry, ...] = field(compare=False)
    """The region itself, prepared, and its copies a turn away if it needs them."""
    rectangular: bool
    """Whether the boxes are the region, so that a box needs no test of geometries."""

    @classmethod
    def of_bbox(cls, bbox: Sequence[float]) -> Region:
        """Make the region of a bbox in EPSG:4326.

        Raises:
            ArgumentInvalid: see `check_bbox`.
        """
        boxes = split(check_bbox(bbox, "Search"))
        return cls(boxes, _prepared(tuple(box_geometry(box) for box in boxes)), rectangular=True)

    @classmethod
    def of_geometry(cls, geometry: Mapping[str, Any]) -> Region:
        """Make the region of a GeoJSON geometry in EPSG:4326.

        Raises:
            ArgumentInvalid: see `read_geometry`.
        """
        found = read_geometry(geometry, "Search")
        check_bbox(found.bounds, "Search")
        parts = shapely.get_parts(found)
        east = [p for p in parts if p.bounds[0] + p.bounds[2] >= 0]
        west = [p for p in parts if p.bounds[0] + p.bounds[2] < 0]
        boxes = tuple(
            box
            for half in (west, east)
            if half
            for box in split(shapely.GeometryCollection(half).bounds)
        )
        return cls(boxes, _prepared(_turns(found)), rectangular=False)

    def meets(self, item: Mapping[str, Any]) -> bool:
        """Tell whether the item's footprint and the region have a point in common."""
        return self.meets_shape(footprint(item))

    def meets_shape(self, shape: BaseGeometry) -> bool:
        """Tell whether a footprint and the region have a point in common."""
        return any(mine.intersects(theirs) for theirs in _turns(shape) for mine in self.shapes)


def _prepared(shapes: tuple[BaseGeometry, ...]) -> tuple[BaseGeometry, ...]:
    """Index the shapes for many tests."""
    for one in shapes:
        shapely.prepare(one)
    return shapes
