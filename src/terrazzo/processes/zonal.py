"""Aggregation over geometries: what comes out, and which geometries there are.

The pixels are reduced by the driver, block by block; the function here is what inference calls
to learn dimensions, labels and type of the vector cube.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Geometries, Kind, Pixels, Stack
from terrazzo.errors import ArgumentInvalid, TargetDimensionExists
from terrazzo.geo.extent import geojson_crs, geojson_features
from terrazzo.processes.cube_schemas import (
    GeometriesOrGeoJson,
    TextOrNull,
    VectorCube,
    ZonalReducer,
)
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Context, RasterCube

GEOMETRY = "geometry"
_COUNTED = frozenset({"Polygon", "MultiPolygon", "Point", "MultiPoint"})
COUNTS = ("value", "total_count", "valid_count")
"""Labels of `target_dimension`."""


@process("aggregate_spatial", Role.STAGE, categories=("cubes", "aggregate"))
def aggregate_spatial(
    data: RasterCube,
    geometries: GeometriesOrGeoJson,
    reducer: ZonalReducer,
    target_dimension: TextOrNull = None,
    context: Context = None,
) -> VectorCube:
    """Collapse the pixels of each geometry to one value, for every date and band.

    Args:
        data: (..., y, x) raster.
        geometries: GeoJSON (degrees, unless it says otherwise) or vector cube. Polygons take the
            pixels whose centre they hold, points the pixel they lie in.
        reducer: called with the values of a geometry as `data`, in row order.
        target_dimension: name of a dimension to add, with the labels `value`, `total_count` and
            `valid_count`; null adds none.
        context: passed on to `reducer`.

    Returns:
        (geometry, ...) vector cube; no-data for geometries without a pixel.

    Raises:
        TargetDimensionExists: a dimension has the name `target_dimension` already.

    Source:
        openEO process `aggregate_spatial` 2.0.0-rc.2.
    """
    if data.grid is None:
        raise ArgumentInvalid("`aggregate_spatial` needs a raster cube; this one has no grid.")
    if target_dimension is not None and target_dimension in (*data.names, GEOMETRY):
        raise TargetDimensionExists(
            f"There is a dimension {target_dimension!r} already: {', '.join(data.names)}."
        )
    found = zones(geometries)
    labelled = tuple(d for d in data.dimensions if d.kind is not Kind.SPATIAL)
    size = math.prod(len(d.labels) for d in labelled)
    nothing = Stack(np.zeros((0, size), data.dtype), np.zeros((0, size), np.bool_))
    dtype = result_dtype(reducer(data=nothing, context=context))
    dimensions = (
        Dimension(GEOMETRY, Kind.GEOMETRY, tuple(range(len(found.shapes)))),
        *labelled,
    )
    if target_dimension is not None:
        dimensions = (*dimensions, Dimension(target_dimension, Kind.OTHER, COUNTS))
        dtype = np.result_type(dtype, np.float64)
    shape_ = tuple(len(d.labels) for d in dimensions)
    empty = replace(data, grid=None, window=None, geometries=found, dimensions=dimensions)
    return empty.same_pixels(np.zeros(shape_, dtype), np.zeros(shape_, np.bool_))


def result_dtype(result: Any) -> np.dtype[Any]:
    """Return the type of what a reducer gives."""
    if isinstance(result, Pixels):
        return result.dtype
    return np.dtype(np.bool_ if isinstance(result, bool) else np.float64)


def zones(value: Any) -> Geometries:
    """Return the geometries of GeoJSON or of a vector cube, one by one, with their attributes.

    Raises:
        ArgumentInvalid: it is neither, or holds none, or a line (which covers no pixel's centre).
    """
    if isinstance(value, Cube):
        if value.geometries is None:
            raise ArgumentInvalid("`geometries` is a cube without geometries. Give GeoJSON.")
        return value.geometries
    if not isinstance(value, Mapping):
        raise ArgumentInvalid(f"`geometries` is GeoJSON or a vector cube, not {value!r}.")
    found = geojson_features(value)
    if not found:
        raise ArgumentInvalid("`geometries` holds no geometry. Give at least one polygon or point.")
    for geometry, _ in found:
        if geometry.geom_type not in _COUNTED:
            raise ArgumentInvalid(
                f"A {geometry.geom_type} covers no area. Give polygons or points; buffer lines "
                "first."
            )
    shapes, properties = zip(*found, strict=True)
    return Geometries(shapes, geojson_crs(value), properties)
