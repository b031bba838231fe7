"""Processes that the engine carries out itself: here their arguments are checked and described."""

import math
from collections.abc import Sequence
from typing import Any

from terrazzo.cube import Cube
from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import crs_name
from terrazzo.processes.cube_schemas import (
    ALIGNMENTS,
    RESAMPLING_METHODS,
    Alignment,
    OutputFormat,
    OutputOptions,
    Projection,
    ResamplingMethod,
    Resolution,
    SavedResult,
)
from terrazzo.processes.registry import Role, process
from terrazzo.processes.schemas import AnyCube, RasterCube

_GEOJSON_TYPES = (
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
    "Feature",
    "FeatureCollection",
)


@process("resample_spatial", Role.PLANNED, categories=("cubes", "reproject"))
def resample_spatial(
    data: RasterCube,
    resolution: Resolution = 0,
    projection: Projection = None,
    method: ResamplingMethod = "near",
    align: Alignment = "upper-left",
) -> RasterCube:
    """Bring a raster to another pixel size, another projection, or both.

    Args:
        data: (..., y, x) raster.
        resolution: edge of a pixel in units of the target CRS, one number or x and y; 0 keeps
            it.
        projection: EPSG code or WKT2 of the target CRS; null keeps it.
        method: how a value is made of the pixels around it, in the words of gdalwarp.
        align: corner of the extent on which the new pixels lie.

    Returns:
        (..., y, x) raster on the new grid.

    Source:
        openEO process `resample_spatial` 2.0.0-rc.2.
    """
    _check_raster(data, "resample_spatial")
    numbers = list(resolution) if isinstance(resolution, Sequence) else [resolution]
    if len(numbers) not in {1, 2} or not all(_is_size(number) for number in numbers):
        raise ArgumentInvalid(
            f"A resolution is one number or two (x and y), not negative, and not {resolution!r}."
        )
    if projection is None and not any(numbers):
        raise ArgumentInvalid(
            "`resample_spatial` needs `resolution` or `projection`; without them nothing changes."
        )
    if projection is not None:
        crs_name(projection)
    _check_choice("method", method, RESAMPLING_METHODS)
    _check_choice("align", align, ALIGNMENTS)
    return data


@process("resample_cube_spatial", Role.PLANNED, categories=("cubes", "reproject"))
def resample_cube_spatial(
    data: RasterCube, target: RasterCube, method: ResamplingMethod = "near"
) -> RasterCube:
    """Bring a raster to the grid of another one.

    Args:
        data: (..., y, x) raster.
        target: raster whose grid is taken; its values do not matter.
        method: how a value is made of the pixels around it, in the words of gdalwarp.

    Returns:
        (..., y, x) raster on the grid of `target`.

    Source:
        openEO process `resample_cube_spatial` 2.0.0-rc.2.
    """
    _check_raster(data, "resample_cube_spatial")
    _check_raster(target, "resample_cube_spatial")
    _check_choice("method", method, RESAMPLING_METHODS)
    return data


@process("save_result", Role.PLANNED, categories=("cubes", "export", "stac"))
def save_result(
    data: AnyCube,
    format: OutputFormat,
    options: OutputOptions = {},  # noqa: B006 - the openEO default; never written to
) -> SavedResult:
    """Make a cube the result of the graph, in a file format.

    Args:
        data: any cube.
        format: name of a format, in upper or lower case.
        options: parameters of the format.

    Returns:
        What is written, as STAC.

    Raises:
        FormatUnsupported: there is no such format.
        FormatUnsuitable: the format cannot hold the cube.
        FormatArgumentUnsupported: the format has no such option.
        FormatArgumentInvalid: an option has a value that means nothing.

    Source:
        openEO process `save_result` 2.0.0-rc.2.
    """
    if not str(format).strip():
        raise ArgumentInvalid(f"{format!r} is not the name of a file format.")
    if not hasattr(options, "keys"):
        raise ArgumentInvalid(f"Format options are an object of names and values, not {options!r}.")
    return data


def _is_size(number: Any) -> bool:
    if isinstance(number, bool) or not isinstance(number, int | float):
        return False
    return math.isfinite(number) and number >= 0


def _check_raster(cube: Cube, process_id: str) -> None:
    if cube.grid is None:
        raise ArgumentInvalid(f"`{process_id}` needs a raster cube; this one has no grid.")


def _check_choice(argument: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentInvalid(f"`{argument}` is one of {', '.join(choices)}, not {value!r}.")
