"""Points sampled from the geometries of a vector cube, at even distances or at random."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from terrazzo.cube import Cube, Kind
from terrazzo.errors import ArgumentInvalid, CountMismatch
from terrazzo.processes.cube_schemas import (
    CountOrNull,
    PointCube,
    SampleDistance,
    Seed,
    Truth,
    VectorCube,
)
from terrazzo.processes.geometries import (
    as_float,
    check_metric,
    held_by,
    repaired,
    shapes_of,
    with_shapes,
)
from terrazzo.processes.registry import Role, process

Points = NDArray[np.float64]
"""(n, 2) x and y."""

MOST_POINTS = 1_000_000
"""Points, and cells that are looked at, of one call."""
_POLYGONS = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_POINTS = (shapely.GeometryType.POINT, shapely.GeometryType.MULTIPOINT)


@process("vector_to_regular_points", Role.CUBE, categories=("cubes", "vector"), experimental=True)
def vector_to_regular_points(
    data: VectorCube, distance: SampleDistance, group: Truth = True
) -> PointCube:
    """Sample points at even distances from every geometry.

    A polygon is laid out with square cells from the upper left of its bounds; the centres that
    lie in it are its points, or its first vertex where none does. A line gives its first vertex,
    and a point whenever `distance` has been walked along it; every line of several begins anew.
    Points are their own sample.

    Args:
        data: vector cube, in a CRS whose unit is the metre.
        distance: between two points, metres; above 0.
        group: whether the points of a geometry become one MultiPoint under its label; otherwise
            each is a Point of its own, labelled with its position.

    Returns:
        Vector cube of points; each has the properties and values of the geometry that it is from.
        Empty geometries remain, without a point.

    Raises:
        UnitMismatch: the coordinates are not in metres.

    Source:
        openEO process `vector_to_regular_points`, proposal of 2.0.0-rc.2.
    """
    held, step = held_by(data), as_float(distance)
    if not (step > 0 and math.isfinite(step)):
        raise ArgumentInvalid(f"`distance` is a number of metres above 0, not {distance!r:.40}.")
    check_metric(held)
    shapes = repaired(shapes_of(held))
    _check_number(sum(_cells(shape, step) for shape in shapes), step)
    return _sampled(data, [_regular(shape, step) for shape in shapes], grouped=group)


@process("vector_to_random_points", Role.CUBE, categories=("cubes", "vector"), experimental=True)
def vector_to_random_points(
    data: VectorCube,
    geometry_count: CountOrNull = None,
    total_count: CountOrNull = None,
    group: Truth = True,
    seed: Seed = None,
) -> PointCube:
    """Sample points at random from every geometry.

    In a polygon they are spread evenly over its area, on a line over its length, both in the
    plane of the coordinates; of points some are chosen, none of them twice. `total_count` is
    shared out as evenly as `geometry_count`, and what points there are, allow: at least one each,
    and one more for the first ones where it does not come out even.

    Args:
        data: vector cube in any CRS.
        geometry_count: points of a geometry at most; null sets no limit.
        total_count: points of all geometries together at most; null sets no limit. Without
            either, one point is taken of each.
        group: whether the points of a geometry become one MultiPoint under its label; otherwise
            each is a Point of its own, labelled with its position.
        seed: another number gives other points. A graph gives the same answer wherever it runs,
            so null stands for one seed too.

    Returns:
        Vector cube of points; each has the properties and values of the geometry that it is from.
        Empty geometries remain, without a point.

    Raises:
        CountMismatch: `total_count` is less than the number of geometries.

    Source:
        openEO process `vector_to_random_points`, proposal of 2.0.0-rc.2; Osada et al. 2002, ACM
        Transactions on Graphics 21(4), 807-832 (points of a triangle).
    """
    held = held_by(data)
    count = len(held.shapes)
    if total_count is not None and total_count < count:
        raise CountMismatch(
            f"{total_count} points cannot be sampled from {count} geometries, at least one from "
            f"each. Raise `total_count` to {count} or more, or filter the geometries."
        )
    shapes = repaired(shapes_of(held))
    most = np.array([_most_of(shape, geometry_count) for shape in shapes], dtype=np.float64)
    if total_count is None and geometry_count is None:
        most = np.minimum(most, 1)
    total = min(float(most.sum()), math.inf if total_count is None else as_float(total_count))
    if total > MOST_POINTS:
        raise ArgumentInvalid(
            f"{total:,.0f} points are more than the {MOST_POINTS:,} that are sampled at a time. "
            "Lower `geometry_count` or `total_count`."
        )
    shares = _shared_out(most, total)
    key = (0, 0) if seed is None else (1 + (seed < 0), abs(int(seed)))
    points = [
        _random(shape, int(share), np.random.default_rng([*key, number]))
        for number, (shape, share) in enumerate(zip(shapes, shares, strict=True))
    ]
    return _sampled(data, points, grouped=group)


def _sampled(data: Cube, points: Sequence[Points], *, grouped: bool) -> Cube:
    """Return the cube with sampled points in place of its geometries."""
    dimension = data.only(Kind.GEOMETRY)
    if grouped:
        return with_shapes(data, [shapely.MultiPoint(found) for found in points])
    counts = [max(len(found), 1) for found in points]  # an empty geometry remains
    apart = data.take(dimension.name, np.repeat(np.arange(len(points)), counts).tolist())
    shapes = [
        shape
        for found in points
        for shape in (shapely.points(found) if len(found) else [shapely.Point()])
    ]
    positions = replace(dimension, labels=tuple(range(len(shapes))))
    axis = data.axis(dimension.name)
    return with_shapes(replace(apart, dimensions=apart.with_dimension(axis, positions)), shapes)


def _regular(shape: Any, distance: float) -> Points:
    if shape.is_empty:
        return np.empty((0, 2))
    kind = shapely.get_type_id(shape)
    if kind in _POINTS:
        return _distinct(shape)
    if kind in _POLYGONS:
        return _cell_centres(shape, distance)
    walked = [_walked(line, distance) for line in shapely.get_parts(shape)]
    return np.concatenate(walked)


def _walked(line: Any, distance: float) -> Points:
    """Return the first vertex of a line, and the points after every so many metres along it."""
    steps = np.arange(math.floor(line.length / distance * (1 + 1e-12)) + 1) * distance
    if line.is_closed and len(steps) > 1 and steps[-1] >= line.length * (1 - 1e-12):
        steps = steps[:-1]  # it is the first vertex once more
    points: Points = shapely.get_coordinates(shapely.line_interpolate_point(line, steps))
    return points


def _cell_centres(shape: Any, distance: float) -> Points:
    left, bottom, right, top = shape.bounds
    cols, rows = math.ceil((right - left) / distance), math.ceil((top - bottom) / distance)
    x = left + (np.arange(cols) + 0.5) * distance
    y = top - (np.arange(rows) + 0.5) * distance
    across, down = (part.ravel() for part in np.meshgrid(x, y))
    shapely.prepare(shape)
    inside = shapely.intersects_xy(shape, across, down)
    found = np.column_stack([across[inside], down[inside]])
    return found if len(found) else shapely.get_coordinates(shape)[:1]


def _cells(shape: Any, distance: float) -> float:
    """Return about how many points, or cells to look at, the sample of a geometry takes."""
    if shape.is_empty:
        return 0.0
    kind = shapely.get_type_id(shape)
    if kind in _POINTS:
        return float(shapely.get_num_geometries(shape))
    if kind not in _POLYGONS:
        return float(shape.length / distance)
    left, bottom, right, top = shape.bounds
    cols, rows = (max(side / distance, 1.0) for side in (right - left, top - bottom))
    return float(cols * rows)


def _check_number(count: float, distance: float) -> None:
    if not count <= MOST_POINTS:
        raise ArgumentInvalid(
            f"Every {distance:g} m, the geometries would have about {count:,.0f} points (or cells "
            f"to look at); up to {MOST_POINTS:,} are sampled. Choose a larger `distance`."
        )


def _distinct(shape: Any) -> Points:
    """Return the points of a (multi)point, equal ones once, in their order."""
    return np.array(list(dict.fromkeys(map(tuple, shapely.get_coordinates(shape).tolist()))))


def _most_of(shape: Any, limit: int | None) -> float:
    """Return how many points can be sampled from a geometry."""
    if shape.is_empty:
        return 0
    there = math.inf if limit is None else as_float(limit)
    return min(there, len(_distinct(shape))) if shapely.get_type_id(shape) in _POINTS else there


def _shared_out(most: NDArray[np.float64], total: float) -> NDArray[np.int64]:
    """Share points out evenly: all get the same number, unless less is the most they can have."""
    if total >= most.sum():
        return most.astype(np.int64)
    low, high = 0, int(total)
    while low < high:  # the highest level at which the total is not passed
        level = (low + high + 1) // 2
        low, high = (level, high) if np.minimum(most, level).sum() <= total else (low, level - 1)
    shares = np.minimum(most, low)
    more = np.flatnonzero(most > low)[: int(total - shares.sum())]
    shares[more] += 1
    return shares.astype(np.int64)


def _random(shape: Any, count: int, random: np.random.Generator) -> Points:
    kind = shapely.get_type_id(shape)
    if not count:
        return np.empty((0, 2))
    if kind in _POINTS:
        points = _distinct(shape)
        return points[np.sort(random.permutation(len(points))[:count])]
    if kind in _POLYGONS and shape.area > 0:
        return _in_polygon(shape, count, random)
    return _on_lines(shape if kind not in _POLYGONS else shape.boundary, count, random)


def _in_polygon(shape: Any, count: int, random: np.random.Generator) -> Points:
    """Choose a triangle by its area, then a point of it; what rounding put outside goes again."""
    triangles = shapely.get_parts(shapely.constrained_delaunay_triangles(shape))
    corners = shapely.get_coordinates(triangles).reshape(-1, 4, 2)
    ends = np.cumsum(shapely.area(triangles))
    shapely.prepare(shape)

    def draw(number: int) -> Points:
        where, along, beside = random.random((3, number))
        chosen = np.searchsorted(ends, where * ends[-1], side="right").clip(max=len(ends) - 1)
        a, b, c = corners[chosen, 0], corners[chosen, 1], corners[chosen, 2]
        root = np.sqrt(along)[:, np.newaxis]
        share = beside[:, np.newaxis]
        points: Points = (1 - root) * a + root * (1 - share) * b + root * share * c
        return points

    return _until_inside(draw, count, shape)


def _until_inside(draw: Callable[[int], Points], count: int, shape: Any) -> Points:
    points = draw(count)
    for _ in range(100):
        outside = ~shapely.intersects_xy(shape, points[:, 0], points[:, 1])
        if not outside.any():
            break
        points[outside] = draw(int(outside.sum()))
    return points


def _on_lines(shape: Any, count: int, random: np.random.Generator) -> Points:
    """Choose points evenly over the length of all lines together."""
    lines = shapely.get_parts(shape)
    ends = np.cumsum(shapely.length(lines))
    at = random.random(count) * ends[-1]
    chosen = np.searchsorted(ends, at, side="right").clip(max=len(ends) - 1)
    starts = ends - shapely.length(lines)
    points: Points = shapely.get_coordinates(
        shapely.line_interpolate_point(lines[chosen], at - starts[chosen])
    )
    return points
