"""Vector cubes: made of GeoJSON, filtered by geometries, buffered, brought into another CRS."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely

from terrazzo.cube import Geometries, Kind
from terrazzo.errors import ArgumentInvalid, DimensionNotAvailable
from terrazzo.geo.crs import crs_name
from terrazzo.geo.extent import geojson_crs, geojson_features
from terrazzo.processes.cube_schemas import (
    BufferDistance,
    GeoJson,
    PropertyNames,
    Relation,
    TargetCrs,
    TextOrNull,
    VectorCube,
)
from terrazzo.processes.geometries import (
    as_float,
    check_metric,
    held_by,
    in_crs,
    repaired,
    shapes_of,
    vector_cube,
    with_shapes,
)
from terrazzo.processes.registry import Role, process

_RELATIONS = {
    "intersects": shapely.intersects,
    "disjoint": shapely.disjoint,
    "equals": shapely.equals,
    "touches": shapely.touches,
    "crosses": shapely.crosses,
    "overlaps": shapely.overlaps,
    "contains": shapely.within,
    "within": shapely.contains,
}
"""Asked of (base geometries, candidate): the prepared one comes first, so two are turned round."""
_QUARTER = 16
"""Segments in which a quarter of a circle is drawn; a buffer is at most 0.13 % too narrow."""
_WIDEST = 1e9
"""Metres; more than any coordinate reference system of the Earth has."""


@process("load_geojson", Role.CUBE, categories=("import", "vector"), experimental=True)
def load_geojson(
    data: GeoJson,
    properties: PropertyNames = [],  # noqa: B006 - the openEO default; never written to
) -> VectorCube:
    """Make a vector cube of GeoJSON.

    Every geometry becomes a label of the dimension `geometry`: the `id` of its Feature if all
    labels are then different, else its position from 0. All properties stay with their geometry,
    whatever `properties` names. A Feature without geometry has an empty one.

    Args:
        data: GeoJSON in degrees (RFC 7946), or in the CRS that an old `crs` member names; no
            GeometryCollection.
        properties: names of properties whose values the cube shall hold, numbers, texts or truth
            values: they become the labels of a second dimension, `properties`. A single one may
            hold arrays, whose positions become the labels. A value that is missing is no-data.

    Returns:
        (geometry, properties) vector cube; (geometry), without values, where no property is named
        or the GeoJSON is a bare geometry.

    Raises:
        ProcessParameterInvalid: it is no GeoJSON, or a property holds something else.

    Source:
        openEO process `load_geojson`, proposal of 2.0.0-rc.2; RFC 7946.
    """
    held = geojson_held(data)
    named = data.get("type") in {"Feature", "FeatureCollection"}
    return vector_cube(held, feature_ids(data), tuple(properties) if named else ())


@process("filter_vector", Role.CUBE, categories=("cubes", "filter", "vector"), experimental=True)
def filter_vector(
    data: VectorCube, geometries: VectorCube, relation: Relation = "intersects"
) -> VectorCube:
    """Keep the geometries that stand in a relation to other ones.

    The relation is that of Simple Features, asked in the plane of the coordinates of `data`:
    `within` keeps what lies within the other geometries. Of those the union counts, brought into
    the CRS of `data` vertex by vertex. Rings that cross themselves are mended for the question.

    Args:
        data: vector cube whose geometries are chosen from.
        geometries: vector cube whose geometries are compared with; its values have no effect.
        relation: `intersects`, `disjoint`, `equals`, `touches`, `crosses`, `overlaps`,
            `contains` or `within`.

    Returns:
        The cube with fewer geometries, or none; empty ones are never kept.

    Source:
        openEO process `filter_vector`, proposal of 2.0.0-rc.2; OGC Simple Features.
    """
    held, others = held_by(data), held_by(geometries, "`geometries`")
    if relation not in _RELATIONS:
        raise ArgumentInvalid(
            f"{relation!r} is no relation of geometries. There are {', '.join(_RELATIONS)}."
        )
    base = shapely.union_all(repaired(in_crs(others, held.crs)))
    shapely.prepare(base)
    shapes = repaired(shapes_of(held))
    kept = _RELATIONS[relation](base, shapes) & ~shapely.is_empty(shapes)
    return data.take(data.only(Kind.GEOMETRY).name, np.flatnonzero(kept).tolist())


@process("vector_buffer", Role.CUBE, categories=("vector",), experimental=True)
def vector_buffer(geometries: VectorCube, distance: BufferDistance) -> VectorCube:
    """Grow or shrink every geometry by a distance.

    Corners are round, a quarter of a circle in 16 segments. Distances are those of the plane of
    the coordinates.

    Args:
        geometries: vector cube of points, lines or polygons, in a CRS whose unit is the metre.
        distance: metres; below 0 shrinks, which leaves nothing of points and lines. Not 0.

    Returns:
        The cube with polygons in place of its geometries, some of them perhaps empty. Empty
        geometries stay as they are; labels, properties and values are kept.

    Raises:
        UnitMismatch: the coordinates are not in metres.

    Source:
        openEO process `vector_buffer`, proposal of 2.0.0-rc.2.
    """
    held = held_by(geometries, "`geometries`")
    width = as_float(distance)
    if width == 0 or not abs(width) <= _WIDEST:
        raise ArgumentInvalid(
            f"`distance` is a number of metres other than 0, at most {_WIDEST:,.0f}, and not "
            f"{distance!r:.40}."
        )
    check_metric(held)
    shapes = repaired(shapes_of(held))
    grown = shapely.buffer(shapes, width, quad_segs=_QUARTER)
    return with_shapes(geometries, np.where(shapely.is_empty(shapes), shapes, grown))


@process(
    "vector_reproject",
    Role.CUBE,
    categories=("cubes", "reproject", "vector"),
    experimental=True,
)
def vector_reproject(
    data: VectorCube, projection: TargetCrs, dimension: TextOrNull = None
) -> VectorCube:
    """Bring the geometries into another coordinate reference system, vertex by vertex.

    Edges stay straight between their vertices, and heights are dropped.

    Args:
        data: vector cube.
        projection: EPSG code, or WKT2.
        dimension: name of the dimension of the geometries; null takes the one that there is.

    Returns:
        The cube with its geometries in that CRS; labels, properties and values are kept.

    Raises:
        DimensionNotAvailable: no dimension of geometries has that name.

    Source:
        openEO process `vector_reproject`, proposal of 2.0.0-rc.2.
    """
    held = held_by(data)
    known = [d.name for d in data.dimensions if d.kind is Kind.GEOMETRY]
    if dimension is not None and dimension not in known:
        raise DimensionNotAvailable(dimension, known)
    target = crs_name(projection)
    return with_shapes(data, in_crs(held, target), target)


def geojson_held(data: Mapping[str, Any]) -> Geometries:
    """Return the geometries of GeoJSON with all properties.

    Raises:
        ArgumentInvalid: it is no GeoJSON.
    """
    features = geojson_features(data)
    return Geometries(
        tuple(shape for shape, _ in features),
        geojson_crs(data),
        tuple(attributes for _, attributes in features),
    )


def feature_ids(data: Mapping[str, Any]) -> list[Any]:
    """Return the ids of the Features of GeoJSON, None where there is none."""
    members = data["features"] if data.get("type") == "FeatureCollection" else [data]
    return [member.get("id") if member.get("type") == "Feature" else None for member in members]
