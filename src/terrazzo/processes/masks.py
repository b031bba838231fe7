"""Masks: pixels replaced where another cube, or polygons, say so."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from terrazzo.cube import Cube, Kind, Mask, Pixels
from terrazzo.cube.pixels import compute_dtype, known_everywhere
from terrazzo.errors import ArgumentInvalid, IncompatibleDataCubes
from terrazzo.processes.cube_schemas import (
    MaskReplacement,
    PolygonReplacement,
    PolygonsOrGeoJson,
    Truth,
)
from terrazzo.processes.filters import extent_of
from terrazzo.processes.kernels import where
from terrazzo.processes.labels import found_in
from terrazzo.processes.logic import where_true
from terrazzo.processes.operands import all_of
from terrazzo.processes.registry import Labels, Role, Rules, process, same_labels
from terrazzo.processes.schemas import RasterCube


def _labels_of_both(
    wanted: Labels, output: Cube, inputs: Mapping[str, Cube], arguments: Mapping[str, Any]
) -> Mapping[str, Labels]:
    own = same_labels(wanted, output, inputs, arguments)
    return {**own, "mask": found_in(inputs["mask"], wanted, output)}


@process(
    "mask",
    Role.CUBE,
    categories=("cubes", "masks"),
    rules=Rules(labels=_labels_of_both, scratch=1.0),
)
def mask(data: RasterCube, mask: RasterCube, replacement: MaskReplacement = None) -> RasterCube:
    """Replace the pixels where a mask is true or not zero.

    Args:
        data: (..., y, x) raster.
        mask: raster whose dimensions are among those of `data`, with the labels of `data`; along
            dimensions that it lacks it holds for all labels. Its no-data pixels mask nothing.
        replacement: number or truth value for masked pixels; null makes them no-data.

    Returns:
        The shape and labels of `data`; a wider type only where `replacement` needs one.

    Raises:
        IncompatibleDataCubes: a dimension or label of `data` and `mask` does not fit.

    Source:
        openEO process `mask` 2.0.0-rc.2.
    """
    marked, data = aligned(mask, data)
    return replaced(data, where_true(Pixels(marked.values, marked.valid)), replacement)


@process(
    "mask_polygon",
    Role.CUBE,
    categories=("cubes", "masks"),
    rules=Rules(labels=same_labels, once={"mask": extent_of}, scratch=1.0),
)
def mask_polygon(
    data: RasterCube,
    mask: PolygonsOrGeoJson,
    replacement: PolygonReplacement = None,
    inside: Truth = False,
) -> RasterCube:
    """Replace the pixels whose centre lies in no polygon, or with `inside` those in one.

    Args:
        data: (..., y, x) raster.
        mask: polygons as GeoJSON (degrees, unless it says otherwise) or as vector cube.
        replacement: number or truth value for masked pixels; null makes them no-data.
        inside: mask inside of the polygons instead of outside.

    Returns:
        The shape and labels of `data`; no-data pixels stay no-data. The extent is not cropped.

    Raises:
        SpatialExtentEmpty: there is no polygon with an area.

    Source:
        openEO process `mask_polygon` 2.0.0-rc.2; OGC Simple Features.
    """
    if data.grid is None or data.window is None:
        raise ArgumentInvalid("`mask_polygon` needs a raster cube; this one has no grid.")
    held = extent_of(mask).mask(data.grid, data.window)
    hidden = held if inside else ~held
    if replacement is not None:  # what is no-data already stays so
        hidden = all_of(data.values.shape, hidden, data.valid)
    return replaced(data, hidden, replacement)


def aligned(mask: Cube, data: Cube, what: str = "mask") -> tuple[Cube, Cube]:
    """Return a mask with the axes and labels of `data`, and `data`.

    Axes that the mask lacks have length 1. A block may bring labels of `data` that only others
    want: those that the mask does not bring too are left out of both. Errors call it `what`.

    Raises:
        IncompatibleDataCubes: the mask has a dimension that `data` lacks, or lacks a label.
    """
    for dimension in mask.dimensions:
        mine = next((d for d in data.dimensions if d.name == dimension.name), None)
        if mine is None or mine.kind is not dimension.kind:
            raise IncompatibleDataCubes(
                f"The {what} has the dimension {dimension.name!r} ({dimension.kind}) and the data "
                f"{', '.join(f'{d.name} ({d.kind})' for d in data.dimensions)}. Drop or reduce it, "
                "or rename it with `rename_dimension`."
            )
        if mine.kind is Kind.SPATIAL or mine.labels == dimension.labels:
            continue
        missing = [label for label in mine.labels if label not in dimension.labels]
        if missing and data.has_all_labels:
            raise IncompatibleDataCubes(
                f"The {what} lacks the labels {', '.join(map(repr, missing[:5]))} of the dimension "
                f"{dimension.name!r}. Filter both to the same labels."
            )
        shared = [label for label in mine.labels if label in dimension.labels]
        mask = mask.take(dimension.name, [dimension.labels.index(label) for label in shared])
        data = data.take(dimension.name, [mine.labels.index(label) for label in shared])
    order = [mask.axis(name) for name in data.names if name in mask.names]
    shape = iter(mask.values.transpose(order).shape)
    spread = tuple(next(shape) if name in mask.names else 1 for name in data.names)
    marked = Cube(
        mask.values.transpose(order).reshape(spread),
        mask.valid.transpose(order).reshape(spread),
        data.dimensions,
        data.grid,
        data.window,
    )
    return marked, data


def replaced(data: Cube, hidden: Mask, replacement: float | bool | str | None) -> Cube:
    """Return the cube with hidden pixels replaced, by no-data for None.

    Args:
        data: (..., y, x).
        hidden: what can be broadcast to it; True where a pixel is replaced.
        replacement: number or truth value; None for no-data.

    Raises:
        ArgumentInvalid: the replacement is text.
    """
    if replacement is None:
        return data.same_pixels(data.values, all_of(data.values.shape, data.valid, ~hidden))
    if isinstance(replacement, str):
        raise ArgumentInvalid(f"Pixels cannot hold the text {replacement!r}. Give a number.")
    with np.errstate(over="ignore"):
        number = np.asarray(replacement).astype(_dtype_with(data.dtype, replacement))[()]
    valid = data.valid
    if not known_everywhere(valid):
        valid = valid | hidden
    return data.same_pixels(where(hidden, number, data.values), valid)


def _dtype_with(dtype: np.dtype[Any], number: float | bool) -> np.dtype[Any]:
    """Return the smallest type that holds both pixels and a number."""
    if dtype.kind == "f" or (dtype.kind == "b" and isinstance(number, bool)):
        return dtype
    if float(number).is_integer():
        found = np.result_type(dtype, np.min_scalar_type(int(number)))
        return found if found.kind != "O" else compute_dtype(dtype)
    return compute_dtype(dtype)
