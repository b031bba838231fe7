"""Cubes of vectors: from their JSON to cubes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from terrazzo.cube import Cube, Dimension, Geometries, Kind
from terrazzo.geo.crs import WGS84, crs_name
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Document = Mapping[str, Any]

_WHOLE = np.int64
REGULAR = 1e-6
"""How much distances between pixels may differ, relatively."""


class CubeMalformed(Exception):
    """The JSON of a cube contradicts itself, or describes none that the engine can hold."""


def is_cube(value: Any) -> bool:
    """Tell whether a JSON value is a cube."""
    return isinstance(value, dict) and value.get("type") == "datacube"


def spatial_names(document: Document) -> tuple[str, str] | None:
    """Return the names of the y and the x dimension of a cube; None where it has neither.

    Where dimensions do not state their `axis` it is their name, or else the later one is x.

    Raises:
        CubeMalformed: one of them stands alone.
    """
    order: Sequence[str] = document["order"]
    described = {name: document["dimensions"][name] for name in order}
    spatial = [name for name in order if described[name]["type"] == "spatial"]
    axes = {name: described[name].get("axis", name) for name in spatial}
    names = {axis: name for name, axis in axes.items()}
    if {"x", "y"} <= set(names):
        return names["y"], names["x"]
    flat = [name for name in spatial if axes[name] != "z"]
    if not flat:
        return None
    if len(flat) != 2:  # noqa: PLR2004 - y and x
        raise CubeMalformed(f"A raster has y and x; the horizontal dimensions are {flat}.")
    first, second = flat
    turned = axes[first] == "x" or axes[second] == "y"
    return (second, first) if turned else (first, second)


def read_cube(document: Document) -> Cube:
    """Return the cube that a JSON document describes.

    The last two axes become y, from north to south, and x, whatever the document's order is.

    Raises:
        CubeMalformed: names, labels and data do not fit together, or pixels lie on no lattice.
    """
    order: tuple[str, ...] = tuple(document["order"])
    described = document["dimensions"]
    if set(order) != set(described):
        raise CubeMalformed(f"order {list(order)} and dimensions {list(described)} differ")
    labels = {name: described[name]["values"] for name in order}
    values, valid = pixels_of(document, tuple(len(labels[name]) for name in order))
    spatial = spatial_names(document)
    shape = None if spatial is None else tuple(len(labels[name]) for name in spatial)
    if spatial is not None:
        last = [order.index(name) for name in spatial]
        values, valid = (np.moveaxis(array, last, (-2, -1)) for array in (values, valid))
        order = (*(name for name in order if name not in spatial), *spatial)
        if _ascends(labels[spatial[0]]):
            values, valid = values[..., ::-1, :], valid[..., ::-1, :]
    dimensions = tuple(_dimension(name, described[name], spatial or ()) for name in order)
    geometries = next(
        (_geometries(described[d.name]) for d in dimensions if d.kind is Kind.GEOMETRY), None
    )
    if spatial is None or shape is None:
        return Cube(values, valid, dimensions, geometries=geometries)
    y, x = (described[name] for name in spatial)
    grid = _grid(y, x)
    return Cube(np.ascontiguousarray(values), valid, dimensions, grid, grid.window, geometries)


def pixels_of(document: Document, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return values and mask of a cube's nested lists; null, or its no-data value, is no-data.

    Raises:
        CubeMalformed: the lists do not have that shape.
    """
    flat = flat_entries(document["data"], shape)
    missing = [is_missing(entry, document.get("nodata")) for entry in flat]
    kinds = {type(entry) for entry, hole in zip(flat, missing, strict=True) if not hole}
    dtype: Any = np.object_
    if kinds <= {int, float}:
        dtype = _WHOLE if kinds == {int} else np.float64
    elif kinds == {bool}:
        dtype = np.bool_
    values = np.zeros(len(flat), dtype)
    for position, (entry, hole) in enumerate(zip(flat, missing, strict=True)):
        if not hole:
            values[position] = entry
    if dtype is _WHOLE and np.array_equal(values, values.astype(np.int32)):
        values = values.astype(np.int32)  # which can be fused; both are computed in float64
    return values.reshape(shape), ~np.array(missing, np.bool_).reshape(shape)


def flat_entries(data: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return the entries of nested lists in row order; none at all stands for no-data.

    Raises:
        CubeMalformed: the lists do not have that shape.
    """
    if data is None:
        return [None] * math.prod(shape)
    level = [data]
    for depth, length in enumerate(shape):
        if not level:
            break
        if not all(isinstance(entry, list) for entry in level):
            raise CubeMalformed(f"data has fewer levels than its {len(shape)} dimensions")
        lengths = {len(entry) for entry in level}
        if lengths != {length}:
            raise CubeMalformed(f"level {depth} of data has {lengths} entries, not {length}")
        level = [inner for entry in level for inner in entry]
    if any(isinstance(entry, list) for entry in level):
        raise CubeMalformed(f"data has more levels than its {len(shape)} dimensions")
    return level


def is_missing(entry: Any, nodata: Any) -> bool:
    """Tell whether an entry of a cube is no-data."""
    if entry is None or (isinstance(entry, dict) and entry.get("type") == "nodata"):
        return True
    if isinstance(entry, bool) or isinstance(nodata, bool) or not isinstance(nodata, int | float):
        return False
    if not isinstance(entry, int | float):
        return False
    return math.isnan(entry) if math.isnan(nodata) else entry == nodata


def _dimension(name: str, given: Document, spatial: Sequence[str]) -> Dimension:
    kind = Kind(given["type"])
    if name in spatial:
        return Dimension(name, Kind.SPATIAL)
    if kind is Kind.GEOMETRY:
        return Dimension(name, kind, tuple(range(len(given["values"]))))
    if kind is Kind.SPATIAL:
        return Dimension(name, Kind.OTHER, tuple(given["values"]), axis=given.get("axis", "z"))
    return Dimension(name, kind, tuple(given["values"]))


def _geometries(given: Document) -> Geometries:
    shapes = tuple(shapely.from_wkt(text) for text in given["values"])
    crs = crs_name(given.get("reference_system") or WGS84)
    return Geometries(shapes, crs, tuple({} for _ in shapes))


def _ascends(labels: Sequence[float]) -> bool:
    return len(labels) > 1 and labels[1] > labels[0]


def _grid(y: Document, x: Document) -> Grid:
    """Return the lattice whose pixel centres are these labels."""
    ys = sorted(y["values"], reverse=True)
    xs = x["values"]
    pixel_x, pixel_y = _step(xs), _step(ys[::-1])
    pixel_x, pixel_y = pixel_x or pixel_y or 1.0, pixel_y or pixel_x or 1.0
    given = x.get("reference_system", y.get("reference_system"))
    if given is None:
        degrees = all(abs(value) <= 180 for value in (*xs, *ys))  # noqa: PLR2004 - of longitude
        given = WGS84 if degrees else "EPSG:3857"
    left = xs[0] - pixel_x / 2 if xs else 0.0
    top = ys[0] + pixel_y / 2 if ys else 0.0
    return Grid.of(crs_name(given), left, top, (pixel_x, pixel_y), len(ys), len(xs))


def _step(labels: Sequence[float]) -> float:
    """Return the distance of ascending labels; 0 where there are not two."""
    steps = np.diff(np.array(labels, np.float64))
    if not steps.size:
        return 0.0
    step = float(steps[0])
    if step <= 0 or np.abs(steps - step).max() > REGULAR * step:
        raise CubeMalformed(f"pixels at {list(labels)} lie on no lattice from west to east")
    return step
