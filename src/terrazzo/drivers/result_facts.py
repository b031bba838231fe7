"""What STAC is told of a result: of rasters where they lie, of tables what their columns are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely

from terrazzo.catalog import make_asset
from terrazzo.cube import Kind
from terrazzo.drivers.ingestion.items import IngestOptions, band_info, transform_of
from terrazzo.errors import SpatialExtentEmpty
from terrazzo.geo.crs import WGS84
from terrazzo.geo.grid import transform_bounds
from terrazzo.storage.writers.files import stored_dtype, stored_nodata
from terrazzo.storage.writers.netcdf import raster_probe, variable_names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

    from terrazzo.cube import Cube, Dimension
    from terrazzo.geo.grid import Bounds, Grid

_CUBES: Final = frozenset({"NETCDF", "ZARR"})
_COLUMN_TYPES: Final = {"b": "boolean", "U": "string", "S": "string", "M": "datetime"}


def raster_facts(
    probe: Cube, grid: Grid, bands: Sequence[str], *, name: str, nodata: float | None
) -> dict[str, Any]:
    """Return what is said of a raster's file.

    Args:
        probe: a cube of its dimensions, labels and type.
        grid: its pixels.
        bands: their names; none for a picture, which shows colours.
        name: of the format, upper case.
        nodata: the value that marks no-data, as the writer was told.
    """
    dtype = stored_dtype(probe.dtype)
    mark = stored_nodata(probe.dtype, nodata)
    described = [
        band_info(band, grid, IngestOptions(), dtype=dtype.name, nodata=mark, scale=1.0, offset=0.0)
        for band in bands
    ]
    told = make_asset(
        "",
        bands=described,
        crs=grid.crs,
        shape=(grid.height, grid.width),
        transform=transform_of(grid),
        roles=("data",) if bands else ("data", "visual"),
    )
    del told["href"], told["type"]
    return told | (_cube_facts(probe, grid, name) if name in _CUBES else {})


def _cube_facts(probe: Cube, grid: Grid, name: str) -> dict[str, Any]:
    """Return the dimensions and variables of a file that holds a whole cube."""
    named = raster_probe(probe, name)
    variables = variable_names(named)
    left, bottom, right, top = grid.bounds
    extents = ((bottom, top, "y", -grid.pixel_y), (left, right, "x", grid.pixel_x))
    dimensions = {
        one.name: _labelled(one)
        for one in named.dimensions
        if one.kind not in {Kind.SPATIAL, Kind.BANDS}
    }
    code = grid.crs.removeprefix("EPSG:")
    for one, (low, high, axis, step) in zip(named.dimensions[-2:], extents, strict=True):
        dimensions[one.name] = {
            "type": "spatial",
            "axis": axis,
            "extent": [low, high],
            "step": step,
            "reference_system": int(code) if code.isdigit() else grid.crs,
        }
    kind = stored_dtype(probe.dtype).name
    told = {"dimensions": list(dimensions), "type": "data", "data_type": kind}
    return {
        "cube:dimensions": dimensions,
        "cube:variables": {variable: dict(told) for variable in variables},
    }


def _labelled(dimension: Dimension) -> dict[str, Any]:
    labels = list(dimension.labels)
    if dimension.kind is not Kind.TEMPORAL:
        return {"type": dimension.name, "values": labels}
    texts = [str(label) for label in labels]
    return {"type": "temporal", "extent": [min(texts), max(texts)], "values": texts}


def table_facts(
    columns: Mapping[str, Any], rows: int, *, geometry: str = "", crs: str = ""
) -> dict[str, Any]:
    """Return what is said of the file of a table.

    Args:
        columns: of equal length, by name, without geometries.
        rows: their length.
        geometry: name of the column of geometries; empty if it has none.
        crs: of the geometries as the file has them.
    """
    described = [{"name": name, "type": _column_type(one)} for name, one in columns.items()]
    if geometry:
        described.append({"name": geometry, "type": "geometry"})
    told: dict[str, Any] = {}
    if crs:
        told = make_asset("", crs=crs)
        del told["href"], told["type"]
    told["roles"] = ["data"]
    if described:
        told["table:columns"] = described
        told["table:row_count"] = rows
    if geometry:
        told["table:primary_geometry"] = geometry
    return told


def _column_type(values: Any) -> str:
    """Name the type of a column's values."""
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return _COLUMN_TYPES.get(values.dtype.kind, str(values.dtype.name))
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {str}:
        return "string"
    if kinds == {bool}:
        return "boolean"
    if kinds <= {int, float} or all(issubclass(kind, np.number) for kind in kinds):
        return "int64" if kinds == {int} else "float64"
    return "json"


def degrees_box(shapes: Sequence[BaseGeometry], crs: str) -> Bounds | None:
    """Return the bounds of geometries in degrees; None if they have none."""
    bounds = tuple(shapely.total_bounds(np.array(shapes, dtype=object)).tolist())
    try:
        box = bounds if crs == WGS84 else transform_bounds(bounds, crs, WGS84)
    except SpatialExtentEmpty:
        return None
    west, south, east, north = box
    placed = max(west, -180.0), max(south, -90.0), min(east, 180.0), min(north, 90.0)
    return placed if all(map(math.isfinite, box)) else None
