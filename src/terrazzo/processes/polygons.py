"""Processes on the pixels of one polygon at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from terrazzo.cube import Cube, Pixels
from terrazzo.errors import ArgumentInvalid, DataCubePropertiesImmutable, GeometriesOverlap
from terrazzo.geo.crs import transformer
from terrazzo.geo.extent import SpatialExtent, check_on_earth, geojson_crs, geojson_features
from terrazzo.geo.grid import Grid, Window
from terrazzo.processes.cube_schemas import PolygonReplacement, Polygons, SubCubeProcess
from terrazzo.processes.masks import replaced
from terrazzo.processes.registry import Place, Role, Rules, process
from terrazzo.processes.returned import Mosaic
from terrazzo.processes.schemas import Callback, Context, RasterCube

_AREAS = frozenset({"Polygon", "MultiPolygon"})


@dataclass(frozen=True, slots=True, eq=False)
class Zones:
    """Polygons, one by one."""

    shapes: tuple[Any, ...]
    """shapely polygons, valid and not empty."""
    crs: str
    """Canonical CRS name."""


def zones_of(value: Any) -> Zones:
    """Return the polygons of a vector cube or of GeoJSON; empty ones are ignored.

    Raises:
        ArgumentInvalid: it is neither, or one is no polygon, or there is none.
    """
    if isinstance(value, Zones):
        return value
    if isinstance(value, Cube) and value.geometries is not None:
        shapes, crs = value.geometries.shapes, value.geometries.crs
    elif isinstance(value, Mapping):
        shapes = tuple(shape for shape, _ in geojson_features(value))
        crs = geojson_crs(value)
    else:
        raise ArgumentInvalid(
            "`geometries` must be a vector cube of polygons. Load them with `load_geojson`."
        )
    for shape in shapes:
        if shape.geom_type not in _AREAS:
            raise ArgumentInvalid(
                f"`geometries` holds a {shape.geom_type}. Give polygons; turn points and lines "
                "into polygons with `vector_buffer`."
            )
    kept = tuple(shapely.make_valid(shape) for shape in shapes if shape.area > 0.0)
    if not kept:
        raise ArgumentInvalid("`geometries` holds no polygon with an area. Give at least one.")
    check_on_earth(tuple(shapely.total_bounds(kept).tolist()), crs, "`geometries`")
    return Zones(kept, crs)


def _windows_of_polygons(
    wanted: Window, extent: Window, arguments: Mapping[str, Any], argument: str
) -> Window:
    """Need all of every polygon that may have a wanted pixel."""
    del argument
    place: Place = arguments["place"]
    zones = zones_of(arguments["geometries"])
    if wanted.is_empty or place.grid is None:
        return wanted
    window = wanted
    for number in _touched(zones, place.grid, wanted.intersection(extent)):
        window = window.union(_window(zones, place.grid, number, extent))
    return window


@process(
    "apply_polygon",
    Role.CUBE,
    categories=("cubes",),
    rules=Rules(window=_windows_of_polygons, once={"geometries": zones_of}, scratch=3.0),
)
def apply_polygon(
    data: RasterCube,
    geometries: Polygons,
    process: SubCubeProcess,
    mask_value: PolygonReplacement = None,
    context: Context = None,
    *,
    place: Place,
) -> RasterCube:
    """Compute a cube polygon by polygon: each one's pixels as a cube of their own.

    A pixel belongs to a polygon that holds its centre, on its edge too.

    Args:
        data: (..., y, x) raster.
        geometries: polygons; empty ones are ignored.
        process: called with the pixels of a polygon as `data`: the cube, cropped to the pixels
            that the bounding box of the polygon touches. Returns a cube of the same dimensions
            and as many labels, or pixels of the same shape.
        mask_value: number or truth value that stands for pixels that do not belong to the
            polygon, in what `process` gets, and in the result for those that belong to none;
            null makes them no-data.
        context: passed on to `process`.
        place: the pixels that are wanted and all that there are.

    Returns:
        The dimensions and labels of `data`, `mask_value` for pixels that belong to no polygon. On
        another grid than that of `data`, as a map tile has it, a pixel may belong to several;
        there the first one has it.

    Raises:
        GeometriesOverlap: a pixel belongs to several polygons.
        DataCubePropertiesImmutable: `process` returns other dimensions or another shape.

    Source:
        openEO process `apply_polygon` 2.0.0-rc.2; OGC Simple Features.
    """
    if data.grid is None or data.window is None:
        raise ArgumentInvalid("`apply_polygon` needs a raster cube; this one has no grid.")
    zones, wanted = zones_of(geometries), place.wanted.intersection(place.extent)
    if data.window.is_empty:
        _check_overlap(zones, data.grid, place.extent)
    shape = (*data.values.shape[:-2], place.wanted.height, place.wanted.width)
    made, free = Mosaic(shape, data.dtype), np.ones(shape[-2:], np.bool_)
    for number in _touched(zones, data.grid, wanted):
        window = _window(zones, data.grid, number, place.extent)
        inside = _extents(zones, data.grid.crs)[number].mask(data.grid, window)
        if inside.any():
            cut = replaced(data.crop(window), ~inside, mask_value)
            result = _called(process, cut, context)
            _put(made, place.wanted, window, inside, free, result)
    if free.all():  # the process decides the type all the same
        cut = replaced(
            data.crop(Window(data.window.row, data.window.col, 0, 0)),
            np.zeros((0, 0), np.bool_),
            mask_value,
        )
        made.put((..., slice(0), slice(0)), _called(process, cut, context))
    whole = made.whole()
    mosaic = replace(data, values=whole.values, valid=whole.valid, window=place.wanted)
    return replaced(mosaic, free, mask_value)


def _called(callback: Callback, cut: Cube, context: Any) -> Pixels:
    result = callback(data=cut, context=context)
    if isinstance(result, Pixels) and result.values.shape == cut.values.shape:
        return result
    if isinstance(result, Cube):
        kept = [(d.name, d.kind) for d in result.dimensions]
        same = kept == [(d.name, d.kind) for d in cut.dimensions]
        if same and result.values.shape == cut.values.shape and result.grid == cut.grid:
            return Pixels(result.values, result.valid)
    told = type(result).__name__
    if isinstance(result, Cube):
        told = f"{', '.join(result.names)}: {' x '.join(map(str, result.values.shape))}"
    raise DataCubePropertiesImmutable(
        "The process of `apply_polygon` must return a cube with the dimensions and as many labels "
        f"as it gets ({', '.join(cut.names)}: {' x '.join(map(str, cut.values.shape))}), and it "
        f"returns {told}."
    )


def _put(
    made: Mosaic,
    wanted: Window,
    window: Window,
    inside: NDArray[np.bool_],
    free: NDArray[np.bool_],
    result: Pixels,
) -> None:
    """Put a polygon's pixels into the wanted window where they are free, and take them."""
    shared = window.intersection(wanted)
    there, here = window.slices(shared), wanted.slices(shared)
    mine = inside[there] & free[here]
    free[here] &= ~mine
    source = (..., *there)
    made.put((..., *here), Pixels(result.values[source], result.valid[source]), mine)


def _check_overlap(zones: Zones, grid: Grid, extent: Window) -> None:
    """Refuse polygons that share a pixel of a grid.

    Raises:
        GeometriesOverlap: names two of them.
    """
    shapes = [known.geometry() for known in _extents(zones, grid.crs)]
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    for one, two in zip(first[first < second], second[first < second], strict=True):
        shared = _window(zones, grid, one, extent).intersection(_window(zones, grid, two, extent))
        both = np.ones((shared.height, shared.width), np.bool_)
        for number in (one, two):
            both &= _extents(zones, grid.crs)[number].mask(grid, shared)
        if both.any():
            row, col = (int(index[0]) for index in np.nonzero(both))
            pixel = Window(shared.row + row, shared.col + col, 1, 1)
            x, y = float(grid.xs(pixel)[0]), float(grid.ys(pixel)[0])
            raise GeometriesOverlap(
                f"Polygons {one} and {two} both hold the pixel at x={x}, y={y} ({grid.crs[:40]}). "
                "Give polygons that do not overlap, or use one `apply_polygon` after the other."
            )


@lru_cache(maxsize=64)
def _extents(zones: Zones, crs: str) -> tuple[SpatialExtent, ...]:
    """Return the polygons in a CRS, one by one; in their own where that has no place for them."""
    into = transformer(zones.crs, crs).transform
    found = []
    for shape in zones.shapes:
        drawn, named = shape, zones.crs
        if zones.crs != crs:
            moved = shapely.transform(shape, into, interleaved=False)
            if np.isfinite(shapely.get_coordinates(moved)).all():
                drawn, named = moved, crs
        found.append(SpatialExtent(drawn.bounds, named, drawn))
    return tuple(found)


@lru_cache(maxsize=64)
def _windows(zones: Zones, grid: Grid) -> NDArray[np.int64]:
    """Return (n, 4) the first and last row and column that each polygon touches, stops excluded."""
    windows = [known.window(grid) for known in _extents(zones, grid.crs)]
    return np.array([(w.row, w.row_stop, w.col, w.col_stop) for w in windows], np.int64)


def _window(zones: Zones, grid: Grid, number: int, extent: Window) -> Window:
    """Return the pixels of a polygon's sub-cube: the smallest window of the cube that covers it."""
    row, row_stop, col, col_stop = (int(edge) for edge in _windows(zones, grid)[number])
    return Window(row, col, row_stop - row, col_stop - col).intersection(extent)


def _touched(zones: Zones, grid: Grid, window: Window) -> list[int]:
    """Return the numbers of the polygons whose windows share a pixel with this one."""
    if window.is_empty:
        return []
    row, row_stop, col, col_stop = _windows(zones, grid).T
    shared = (row < window.row_stop) & (row_stop > window.row)
    shared &= (col < window.col_stop) & (col_stop > window.col)
    return [int(number) for number in np.flatnonzero(shared)]
