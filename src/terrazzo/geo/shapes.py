"""Geometries as pixels can be found under them: checked, valid, of one kind each."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import shapely

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Geometries: TypeAlias = NDArray[np.object_]

POINTS = (shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT)
LINES = (
    shapely.GeometryType.LINESTRING,
    shapely.GeometryType.LINEARRING,
    shapely.GeometryType.MULTILINESTRING,
)
POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_AREA = 2
_AT_ONCE = 65_536
"""Shapes whose coordinates are held at a time."""
MIXED = shapely.GeometryType.GEOMETRYCOLLECTION


def mended(
    shapes: Sequence[Any] | Geometries, *, valid: bool = False
) -> tuple[Geometries, tuple[int, ...]]:
    """Return shapes as valid points, lines or polygons, and which of them had to be repaired.

    Invalid polygons go through `shapely.make_valid`, of which only areas are kept: what a repair
    leaves besides has none. Of a collection the parts of the highest dimension are kept. None and
    empty shapes become empty polygons.

    Args:
        shapes: shapely geometries or None.
        valid: whether they are known to be, so that it is not looked at again.

    Raises:
        ArgumentInvalid: not a geometry, or coordinates that are not finite.
    """
    geometries = np.empty(len(shapes), dtype=object)
    geometries[:] = shapes
    wrong = ~(shapely.is_geometry(geometries) | shapely.is_missing(geometries))
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise ArgumentInvalid(
            f"Shape {index} is {type(geometries[index]).__name__}, no shapely geometry."
        )
    geometries[shapely.is_missing(geometries) | shapely.is_empty(geometries)] = shapely.Polygon()
    for start in range(0, len(geometries), _AT_ONCE):
        some = geometries[start : start + _AT_ONCE]
        coordinates, owner = shapely.get_coordinates(some, return_index=True)
        wrong = ~np.isfinite(coordinates).all(axis=1)
        if wrong.any():
            index = start + int(owner[wrong][0])
            raise ArgumentInvalid(f"Shape {index} has coordinates that are not finite.")
    broken = np.flatnonzero(~shapely.is_valid(geometries)) if not valid else np.zeros(0, np.int64)
    for index in broken.tolist():
        areas = bool(shapely.get_dimensions(geometries[index]) == _AREA)
        geometries[index] = highest(shapely.make_valid(geometries[index]), areas=areas)
    for index in np.flatnonzero(shapely.get_type_id(geometries) == MIXED).tolist():
        geometries[index] = highest(geometries[index])
    return geometries, tuple(broken.tolist())


def content_digest(shapes: Geometries) -> bytes:
    """Return a digest of geometries: of their kinds, parts and coordinates in the plane.

    Args:
        shapes: shapely geometries or None.
    """
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    kinds = shapely.get_type_id(shapes)
    counts = np.bincount(owner, minlength=len(shapes))
    digest = hashlib.sha256(kinds.astype(np.int64).tobytes())
    digest.update(counts.astype(np.int64).tobytes())
    digest.update(np.ascontiguousarray(points).data)
    # Of most shapes the kind says how their points hang together.
    simple = (kinds == shapely.GeometryType.POLYGON) & (shapely.get_num_interior_rings(shapes) == 0)
    simple |= kinds < shapely.GeometryType.POLYGON
    for document in shapely.to_wkb(shapes[~simple], output_dimension=2):
        digest.update(document)
    return digest.digest()


def highest(shape: shapely.Geometry, *, areas: bool = False) -> shapely.Geometry:
    """Return the parts of the highest dimension, as one geometry.

    Args:
        shape: may be a collection of collections; its parts are valid.
        areas: keep areas only; an empty polygon where there are none.
    """
    parts = np.array([shape], dtype=object)
    while (shapely.get_type_id(parts) >= shapely.GeometryType.MULTIPOINT).any():
        parts = shapely.get_parts(parts)
    dimensions = shapely.get_dimensions(parts)
    kept = parts[dimensions == (_AREA if areas else dimensions.max(initial=0))]
    if not kept.size:
        return shapely.Polygon()
    return shapely.union_all(kept)
