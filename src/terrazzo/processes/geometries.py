"""Geometries of vector cubes: made, moved, compared; nothing here knows the processes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from terrazzo.cube import Cube, Dimension, Geometries, Kind
from terrazzo.errors import (
    ArgumentInvalid,
    IncompatibleDataCubes,
    IncompatibleGeometryTypes,
    UnitMismatch,
)
from terrazzo.geo.crs import is_geographic, is_metric, transformer
from terrazzo.geo.extent import TURN, check_on_earth
from terrazzo.processes.convert import stack_of
from terrazzo.processes.operands import EXACT_INTEGERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.cube import Label, Mask, Values
    from terrazzo.geo.extent import SpatialExtent

    Shapes = NDArray[np.object_]

GEOMETRY = "geometry"
"""Name of the dimension of the geometries, where the user gave it none."""
PROPERTIES = "properties"
"""Name of the dimension that is made of properties."""
SIMPLE = frozenset(
    {"Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"}
)
"""Types of geometries that cubes hold."""


def vector_cube(
    held: Geometries, ids: Sequence[Any] = (), names: Sequence[str] = (), what: str = "The GeoJSON"
) -> Cube:
    """Return a cube of geometries.

    Args:
        held: the geometries.
        ids: what names them, None where nothing does. Each is a label if it is distinct; a
            geometry without one is labelled with its position.
        names: properties that make the values; none makes a cube without values.
        what: where the geometries are from, for messages.

    Returns:
        (geometry,) without a value, or (geometry, properties).

    Raises:
        ArgumentInvalid: a GeometryCollection, degrees beyond the Earth, or properties that
            are no scalars (one alone may hold arrays).
    """
    for position, shape in enumerate(held.shapes):
        if shape.geom_type not in SIMPLE:
            raise ArgumentInvalid(
                f"{what}: geometry {position} is a {shape.geom_type}, which vector cubes do not "
                "hold. Give its parts as features of their own."
            )
    array = shapes_of(held)
    points, owner = shapely.get_coordinates(array, return_index=True)
    lost = ~np.isfinite(points).all(axis=1)
    if lost.any():
        raise ArgumentInvalid(
            f"{what}: a coordinate of geometry {int(owner[lost][0])} is no finite number."
        )
    if not shapely.is_empty(array).all():
        west, south, east, north = (float(edge) for edge in shapely.total_bounds(array))
        check_on_earth((west, south, east, north), held.crs, what)
    dimension = Dimension(GEOMETRY, Kind.GEOMETRY, labels_of(ids, len(held.shapes)))
    if not names:
        count = len(held.shapes)
        nothing = np.zeros(count), np.zeros(count, np.bool_)
        return Cube(*nothing, (dimension,), geometries=replace(held, bare=True))
    labels, values, valid = _property_values(held.properties, names)
    second = Dimension(PROPERTIES, Kind.OTHER, labels)
    return Cube(values, valid, (dimension, second), geometries=held)


def labels_of(ids: Sequence[Any], count: int) -> tuple[Label, ...]:
    """Return ids as labels, positions where there is none; only positions if two were the same.

    A label is a whole number, of whatever type, or text.
    """
    known = [_label_of(value) for value in (ids or [None] * count)]
    labels: tuple[Label, ...] = tuple(
        position if value is None else value for position, value in enumerate(known)
    )
    return labels if len(set(labels)) == count else tuple(range(count))


def _label_of(value: Any) -> Label | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _property_values(
    properties: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> tuple[tuple[Label, ...], Values, Mask]:
    """Return labels, and (geometry, label) values and mask."""
    rows = [[entry.get(name) for name in names] for entry in properties]
    labels: tuple[Label, ...] = tuple(names)
    if len(names) == 1 and any(_is_array(row[0]) for row in rows):
        for row in rows:
            if row[0] is not None and not _is_array(row[0]):
                raise ArgumentInvalid(
                    f"Property {names[0]!r} is an array in some features and {row[0]!r:.40} in "
                    "another. It must be an array in all that have it."
                )
        arrays = [list(row[0] or ()) for row in rows]
        labels = tuple(range(max(map(len, arrays))))
        rows = [[*array, *[None] * (len(labels) - len(array))] for array in arrays]
    flat = [entry for row in rows for entry in row]
    for entry in flat:
        if not (entry is None or isinstance(entry, bool | int | float | str)):
            raise ArgumentInvalid(
                f"A property of {', '.join(names)} is {entry!r:.60}. The values of a cube are "
                "numbers, texts and truth values; one property alone may hold arrays of them."
            )
    stack, shape = stack_of(list(map(_computable, flat))), (len(rows), len(labels))
    return labels, stack.values.reshape(shape), stack.valid.reshape(shape)


def _computable(value: Any) -> Any:
    huge = isinstance(value, int) and abs(value) > EXACT_INTEGERS
    return as_float(value) if huge else value


def _is_array(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def held_by(cube: Cube, what: str = "`data`") -> Geometries:
    """Return the geometries of a cube.

    Raises:
        ArgumentInvalid: it has none.
    """
    if cube.geometries is None or not cube.has(Kind.GEOMETRY):
        raise ArgumentInvalid(
            f"{what} must be a vector cube; the cube given has the dimensions "
            f"{', '.join(cube.names) or 'none'} and no geometries. Load them with `load_geojson`."
        )
    return cube.geometries


def shapes_of(held: Geometries) -> Shapes:
    """Return the geometries as an array."""
    found = np.empty(len(held.shapes), dtype=object)
    found[:] = held.shapes
    return found


def stamp_of(cube: Cube) -> str:
    """Return a digest of the geometries, labels and values of a cube without pixels."""
    held = cube.geometries
    shapes = [] if held is None else [(shape.wkb, held.crs) for shape in held.shapes]
    told = (cube.dimensions, cube.values.tolist(), cube.valid.tolist(), shapes)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def with_shapes(cube: Cube, shapes: Iterable[BaseGeometry], crs: str = "") -> Cube:
    """Return the cube with other geometries, one for each that it has."""
    held = held_by(cube)
    return replace(cube, geometries=replace(held, shapes=tuple(shapes), crs=crs or held.crs))


def in_crs(held: Geometries, crs: str) -> Shapes:
    """Return the geometries in another CRS, vertex by vertex; x and y only.

    Raises:
        ArgumentInvalid: a vertex has no place there.
    """
    shapes = shapes_of(held)
    if held.crs == crs:
        return shapes
    moved: Shapes = shapely.transform(
        shapes, transformer(held.crs, crs).transform, interleaved=False
    )
    points, owner = shapely.get_coordinates(moved, return_index=True)
    lost = ~np.isfinite(points).all(axis=1)
    if lost.any():
        number = int(owner[lost][0])
        raise ArgumentInvalid(
            f"Geometry {number} has a vertex that {crs[:60]!r} has no place for: "
            f"{shapely.get_coordinates(shapes[number])[:1].tolist()} ... in {held.crs[:60]!r}. "
            "Choose a coordinate reference system that holds all geometries."
        )
    return moved


def repaired(shapes: Shapes) -> Shapes:
    """Return geometries that follow Simple Features: rings that cross themselves are mended.

    Lines and points that this leaves beside areas are dropped, and points beside lines.
    """
    broken = np.flatnonzero(~shapely.is_valid(shapes))
    mended = shapes.copy() if broken.size else shapes
    for number in broken:
        made = shapely.make_valid(shapes[number])
        if made.geom_type == "GeometryCollection":
            parts = shapely.get_parts(shapely.get_parts(made))
            dimensions = shapely.get_dimensions(parts)
            made = shapely.union_all(parts[dimensions == dimensions.max()])
        mended[number] = made
    return mended


def as_float(number: float) -> float:
    """Return a floating number; an integer that none can hold is infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def check_metric(held: Geometries) -> None:
    """Refuse coordinates that are not in metres.

    Raises:
        UnitMismatch: they are not.
    """
    if not is_metric(held.crs):
        raise UnitMismatch(
            f"The distance is in metres and the coordinates of {held.crs[:60]!r} are not. Bring "
            "the geometries into a CRS in metres with `vector_reproject`, for example the UTM zone "
            "they lie in (EPSG:326zz north, EPSG:327zz south)."
        )


def inside_box(cube: Cube, extent: SpatialExtent) -> Cube:
    """Return the geometries that lie within a bounding box, in the sense of Simple Features.

    They are looked at in the CRS of the box. Empty ones lie nowhere.
    """
    kept = positions_inside(held_by(cube), extent)
    return cube.take(cube.only(Kind.GEOMETRY).name, kept)


def positions_inside(held: Geometries, extent: SpatialExtent) -> list[int]:
    """Return the positions of the geometries that lie within a box, or within polygons."""
    shapes, box = shapes_of(held), extent.geometry()
    if held.crs != extent.crs:
        to = transformer(held.crs, extent.crs).transform
        shapes = shapely.transform(shapes, to, interleaved=False)
    if is_geographic(extent.crs):  # longitudes may run beyond 180
        turned = [shapely.transform(box, _turn(turn)) for turn in (-TURN, 0.0, TURN)]
        box = shapely.union_all(turned)
    shapely.prepare(box)
    bounds = shapely.bounds(shapes)  # NaN where a geometry is empty or has no place there
    return [
        number
        for number, shape in enumerate(shapes)
        if np.isfinite(bounds[number]).all() and box.contains(shape)
    ]


def _turn(degrees: float) -> Any:
    return lambda points: points + np.array([degrees, 0.0])


def matched(first: Cube, second: Cube) -> Cube:
    """Return the second cube with the labels that the first one has for the same geometries.

    Geometries are the same if they are equal in the sense of Simple Features; empty ones if
    their labels are. The others keep their label, or get a new number if the first cube has
    that label for something else.

    Raises:
        IncompatibleDataCubes: the geometries are in different CRS.
        IncompatibleGeometryTypes: they are points here and lines or polygons there.
    """
    one, two = held_by(first, "`cube1`"), held_by(second, "`cube2`")
    if one.crs != two.crs:
        raise IncompatibleDataCubes(
            f"The geometries of the two cubes are in {one.crs[:60]!r} and {two.crs[:60]!r}. Bring "
            "them into one with `vector_reproject`."
        )
    bases = {
        shape.geom_type.removeprefix("Multi")
        for shape in (*one.shapes, *two.shapes)
        if not shape.is_empty
    }
    if len(bases) > 1:
        raise IncompatibleGeometryTypes(
            f"The geometries are {' and '.join(sorted(bases))}. Merge cubes of one type only."
        )
    here, there = first.only(Kind.GEOMETRY), second.only(Kind.GEOMETRY)
    same = _equal_to(one, two)
    taken = {*here.labels, *(there.labels[number] for number in range(len(two.shapes)))}
    fresh = (number for number in range(len(taken) + len(there.labels)) if number not in taken)
    labels: list[Label] = []
    for number, label in enumerate(there.labels):
        if number in same:
            labels.append(here.labels[same[number]])
        elif label not in here.labels or (
            two.shapes[number].is_empty and one.shapes[here.labels.index(label)].is_empty
        ):
            labels.append(label)
        else:
            labels.append(next(fresh))
    axis = second.axis(there.name)
    return replace(
        second, dimensions=second.with_dimension(axis, replace(there, labels=tuple(labels)))
    )


def _equal_to(one: Geometries, two: Geometries) -> dict[int, int]:
    """Return, by position in `two`, the position of the equal geometry in `one`."""
    first, second = repaired(shapes_of(one)), repaired(shapes_of(two))
    pairs = shapely.STRtree(first).query(second, predicate="intersects")
    found: dict[int, int] = {}
    used: set[int] = set()
    for mine, other in sorted(zip(*pairs.tolist(), strict=True)):
        if mine in found or other in used or not shapely.equals(second[mine], first[other]):
            continue
        found[mine] = other
        used.add(other)
    return found
