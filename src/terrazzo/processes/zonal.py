"""Aggregation over geometries: what comes out, and how the pixels of all blocks make it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Dimension, Kind, Mask, Pixels, Stack, Values
from terrazzo.errors import ArgumentInvalid, TargetDimensionExists
from terrazzo.geo.grid import Window
from terrazzo.processes.cube_schemas import (
    GeometriesOrGeoJson,
    TextOrNull,
    VectorCube,
    ZonalReducer,
)
from terrazzo.processes.geometries import held_by, in_crs, vector_cube
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import Context, RasterCube
from terrazzo.processes.spatial import PIXELS, reduced_dtype
from terrazzo.processes.stage import Finding, Pass, found_cube
from terrazzo.processes.vectors import feature_ids, geojson_held
from terrazzo.processes.zones import PolygonPixels, ZonePixels, centred

COUNTS = ("value", "total_count", "valid_count")
"""Labels of `target_dimension`."""


@dataclass(eq=False)
class _Aggregation:
    """`aggregate_spatial` of one run: reduces geometries as they are finished."""

    pixels: ZonePixels
    extent: Window
    reducer: Any
    context: Any
    values: Values
    """(geometry, label, value and counts)."""
    valid: Mask
    shape: tuple[int, ...]
    """Of the result."""
    axes: tuple[Dimension, ...]
    """What the axes of a geometry's pixels are."""
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    needs: int = 0

    def passes(self, memory_bytes: int) -> Iterator[Pass]:
        """Walk over the blocks once."""
        del memory_bytes
        yield self

    def windows(self, edge: int) -> Sequence[Window]:
        """Return the smallest windows of blocks that hold all geometries."""
        return self.pixels.windows(self.extent, edge)

    def part(self, number: int, cube: Cube) -> tuple[Values, Mask]:
        """Return the pixels of a window that are under a geometry."""
        return self.pixels.part(number, cube)

    def add(self, number: int, part: tuple[Values, Mask]) -> None:
        """Reduce the geometries that are whole now."""
        done = self.pixels.take(number, part)
        if done is None:
            return
        for index, geometry in enumerate(done.polygons):
            stack = polygon_stack(done, index, self.axes)
            result = self.reducer(data=stack, context=self.context)
            size = self.values.shape[1]
            self.values[geometry, :, 0], self.valid[geometry, :, 0] = _flat(result, size)
            if self.values.shape[2] > 1:
                self.values[geometry, :, 1] = len(stack)
                self.values[geometry, :, 2] = _countable(stack).sum(axis=0).reshape(size)
                self.valid[geometry, :, 1:] = True

    def finish(self) -> Finding:
        """Return the vector cube."""
        return found_cube(self.values.reshape(self.shape), self.valid.reshape(self.shape))


def _aggregation(
    data: Cube, extent: Window, result: Cube, arguments: Mapping[str, Any]
) -> _Aggregation:
    held = held_by(result)
    if data.grid is None:
        raise TypeError("A stage has a raster.")
    shapes = list(in_crs(held, data.grid.crs))
    numbers = 1 if arguments.get("target_dimension") is None else len(COUNTS)
    labels = result.values.size // max(len(shapes) * numbers, 1)
    flat = (len(shapes), labels, numbers)
    pixels = ZonePixels(centred(shapes, data.grid, extent), len(shapes))
    return _Aggregation(
        pixels,
        extent,
        arguments["reducer"],
        arguments.get("context"),
        np.zeros(flat, result.dtype),
        np.zeros(flat, np.bool_),
        result.values.shape,
        pixel_axes(data),
    )


@process("aggregate_spatial", Role.STAGE, categories=("cubes", "aggregate"), stage=_aggregation)
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
        geometries: vector cube, or GeoJSON (degrees, unless it says otherwise; no
            GeometryCollection). Polygons take the pixels whose centre they hold, points the pixel
            that they lie in, lines those that they run through.
        reducer: called with the values of a geometry as `data`, in row order.
        target_dimension: name of a dimension to add, with the labels `value`, `total_count`
            (pixels, no-data too) and `valid_count` (no no-data, NaN or infinite ones); null adds
            none.
        context: passed on to `reducer`.

    Returns:
        (geometry, ...) vector cube with the labels, properties and CRS of the geometries; no-data
        for geometries without a pixel.

    Raises:
        TargetDimensionExists: a dimension has the name `target_dimension` already.

    Source:
        openEO process `aggregate_spatial` 2.0.0-rc.2.
    """
    if data.grid is None:
        raise ArgumentInvalid("`aggregate_spatial` needs a raster cube; this one has no grid.")
    zones = zones_of(geometries)
    place = zones.only(Kind.GEOMETRY)
    if target_dimension is not None and target_dimension in (*data.names, place.name):
        raise TargetDimensionExists(
            f"There is a dimension {target_dimension!r} already: {', '.join(data.names)}."
        )
    labelled = tuple(d for d in data.dimensions if d.kind is not Kind.SPATIAL)
    dtype = reduced_dtype(reducer, data.dtype, context, pixel_axes(data))
    dimensions: tuple[Dimension, ...] = (place, *labelled)
    if target_dimension is not None:
        dimensions = (*dimensions, Dimension(target_dimension, Kind.OTHER, COUNTS))
        dtype = np.result_type(dtype, np.float64)
    shape = tuple(len(d.labels) for d in dimensions)
    held = replace(held_by(zones), bare=False)
    empty = replace(data, grid=None, window=None, geometries=held, dimensions=dimensions)
    return empty.same_pixels(np.zeros(shape, dtype), np.zeros(shape, np.bool_))


def zones_of(value: Any) -> Cube:
    """Return the geometries of GeoJSON or of a vector cube, one per label of its dimension.

    Raises:
        ArgumentInvalid: it is neither, or GeoJSON that holds none.
    """
    if isinstance(value, Cube):
        held_by(value, "`geometries`")
        return value
    if not isinstance(value, Mapping):
        raise ArgumentInvalid(f"`geometries` is GeoJSON or a vector cube, not {value!r}.")
    held = geojson_held(value)
    if not held.shapes:
        raise ArgumentInvalid("`geometries` holds no geometry. Give at least one.")
    return vector_cube(held, feature_ids(value), what="`geometries`")


def pixel_axes(data: Cube) -> tuple[Dimension, ...]:
    """Return what the axes of a geometry's pixels are: the pixels, and all but x and y."""
    labelled = tuple(d for d in data.dimensions if d.kind is not Kind.SPATIAL)
    return (PIXELS, *labelled) if labelled else ()


def polygon_stack(pixels: PolygonPixels, index: int, axes: tuple[Dimension, ...]) -> Stack:
    """Return the pixels of one of several geometries, with what their axes are."""
    span = slice(pixels.starts[index], pixels.starts[index + 1])
    count = pixels.starts[index + 1] - pixels.starts[index]
    shape = (count, *([len(axis.labels) for axis in axes[1:]] or [1]))
    return Stack(pixels.values[span].reshape(shape), pixels.valid[span].reshape(shape), axes=axes)


def _countable(stack: Stack) -> Mask:
    """Return which values are neither no-data, nor NaN, nor infinite."""
    if stack.values.dtype.kind != "f":
        return stack.valid
    return stack.valid & np.isfinite(stack.values)


def _flat(result: Any, size: int) -> tuple[Any, Any]:
    if isinstance(result, Pixels):
        return result.values.reshape(size), result.valid.reshape(size)
    return (0, False) if result is None else (result, True)
