"""NetCDF (CF-1.8) of cubes without pixels: discrete samples, with their geometries where there are.

One variable per band, as for rasters. Geometries are kept as CF has them, in a container of one
type: nodes in their own CRS, and for every geometry a point inside it in degrees.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import h5netcdf
import numpy as np
import shapely

from terrazzo import __version__
from terrazzo.cube import Kind
from terrazzo.errors import FormatUnsuitable
from terrazzo.geo.crs import WGS84, is_geographic, transformer
from terrazzo.spans import span
from terrazzo.storage.writers.files import stored, stored_dtype, stored_nodata, whole_file
from terrazzo.storage.writers.netcdf import (
    GRID_MAPPING,
    fits_int64,
    open_sink,
    texts_of,
    variable_name,
    variable_names,
    with_free_names,
    write_crs,
    write_labels,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.cube import Cube, Geometries

    Shapes = NDArray[np.object_]

CONTAINER = "geometry_container"
"""The variable that says how the geometries are kept."""
_TYPES = {0: "point", 1: "line", 2: "polygon"}
_OWN = frozenset(
    {
        CONTAINER,
        GRID_MAPPING,
        "lat",
        "lon",
        "node_x",
        "node_y",
        "node_count",
        "part_node_count",
        "interior_ring",
        "node",
        "part",
    }
)
"""Names that no other variable may have."""


def write_vector_netcdf(
    path: Path,
    cube: Cube,
    *,
    nodata: float | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a cube without pixels as one NetCDF-4 file; returns its path.

    Args:
        path: where to; replaced if there.
        cube: (geometry, ...), or a cube without geometries.
        nodata: `_FillValue`; None = NaN for floats, 255 for booleans, none for integers.
        metadata: global attributes, for example provenance.

    Raises:
        FormatUnsuitable: the geometries are points and lines or polygons at a time.
        FormatUnsupported: no-data cannot be written.
        OutputFailed: disk full or folder not writable; nothing is left behind.
    """
    cube = with_free_names(cube, _OWN)
    held = cube.geometries if cube.has(Kind.GEOMETRY) else None
    kind = _type_of(held) if held is not None else ""
    with (
        whole_file(path) as part,
        open_sink(part) as sink,
        h5netcdf.File(sink, "w") as file,
        span("encode"),
    ):
        file.attrs.update(
            {"Conventions": "CF-1.8", "source": f"terrazzo {__version__}", **(metadata or {})}
        )
        for dimension in cube.dimensions:
            if dimension.kind is not Kind.BANDS:
                write_labels(file, dimension)
        attributes: dict[str, str] = {}
        if held is not None:
            name = cube.only(Kind.GEOMETRY).name
            _write_geometries(file, held, name, kind)
            _write_properties(file, held, cube, name)
            attributes = {
                "coordinates": "lat lon",
                "geometry": CONTAINER,
                "grid_mapping": GRID_MAPPING,
            }
            series = {d.kind for d in cube.dimensions} - {Kind.BANDS}
            if series == {Kind.GEOMETRY, Kind.TEMPORAL}:
                file.attrs["featureType"] = "timeSeries"
                file.variables[name].attrs["cf_role"] = "timeseries_id"
        if held is None or not held.bare or cube.valid.any():
            _write_values(file, cube, nodata, attributes)
        sink.check()
    return path


def _write_values(
    file: Any, cube: Cube, nodata: float | None, attributes: Mapping[str, str]
) -> None:
    values, valid = cube.values[np.newaxis], cube.valid[np.newaxis]
    dimensions = [d.name for d in cube.dimensions]
    if cube.has(Kind.BANDS):
        axis = cube.axis(cube.only(Kind.BANDS).name)
        values, valid = np.moveaxis(cube.values, axis, 0), np.moveaxis(cube.valid, axis, 0)
        del dimensions[axis]
    for name, numbers, mask in zip(variable_names(cube), values, valid, strict=True):
        free = _free(file, name)
        if numbers.dtype == object:
            texts: Any = np.where(mask, numbers, None)
            _write_texts(file, free, tuple(dimensions), texts.ravel().tolist(), texts.shape)
            continue
        mark, kind = stored_nodata(cube.dtype, nodata), stored_dtype(cube.dtype)
        variable = file.create_variable(
            free,
            tuple(dimensions),
            kind,
            fillvalue=None if mark is None else kind.type(mark),
        )
        variable[...] = stored(numbers, mask, cube.dtype, nodata)
        variable.attrs.update(attributes)
        if cube.dtype.kind == "b":
            variable.attrs["flag_values"] = np.array([0, 1], np.uint8)
            variable.attrs["flag_meanings"] = "false true"


def _write_properties(file: Any, held: Geometries, cube: Cube, dimension: str) -> None:
    """Write a variable per attribute: numbers, NaN where one is missing, and the rest as text."""
    taken = {*cube.names, *(variable_names(cube) if not held.bare else ())}
    for name in dict.fromkeys(name for entry in held.properties for name in entry):
        values: list[Any] = [entry.get(name) for entry in held.properties]
        free = _free(file, variable_name(str(name), "property"), taken)
        kinds = {type(value) for value in values} - {type(None)}
        if kinds and kinds <= {int, float} and all(fits_int64(value) for value in values):
            whole = kinds == {int} and None not in values
            numbers = [math.nan if value is None else value for value in values]
            data = np.array(numbers, np.int64 if whole else np.float64)
            variable = file.create_variable(free, (dimension,), data=data)
        else:
            variable = _write_texts(file, free, (dimension,), values, (len(values),))
        variable.attrs["long_name"] = str(name).replace("\0", "_")


def _write_texts(
    file: Any, name: str, dimensions: tuple[str, ...], values: list[Any], shape: tuple[int, ...]
) -> Any:
    """Write text, JSON of what is none, and nothing where there is no value."""
    import h5py  # noqa: PLC0415 - only for texts

    texts = texts_of([value if isinstance(value, str) else _told(value) for value in values])
    return file.create_variable(name, dimensions, h5py.string_dtype(), data=texts.reshape(shape))


def _told(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _free(file: Any, name: str, taken: Collection[str] = ()) -> str:
    while name in file.variables or name in _OWN or name in taken:
        name += "_"
    return name


def _type_of(held: Geometries) -> str:
    """Return what CF calls the geometries.

    Raises:
        FormatUnsuitable: they are of several types.
    """
    kinds = {_TYPES[shapely.get_dimensions(s)] for s in held.shapes if not s.is_empty}
    if len(kinds) > 1:
        told = " and ".join(f"{kind}s" for kind in sorted(kinds))
        raise FormatUnsuitable(
            f"A NetCDF file holds geometries of one type, and these are {told}. Save as GeoParquet "
            "or GeoJSON."
        )
    return next(iter(kinds), "point")


def _write_geometries(file: Any, held: Geometries, dimension: str, kind: str) -> None:
    shapes = np.empty(len(held.shapes), dtype=object)
    shapes[:] = held.shapes
    places = shapely.point_on_surface(shapes)
    if held.crs != WGS84:
        places = shapely.transform(
            places, transformer(held.crs, WGS84).transform, interleaved=False
        )
    at = shapely.bounds(places)  # NaN for what is empty
    for name, long_name, unit, column in (
        ("lat", "latitude", "degrees_north", 1),
        ("lon", "longitude", "degrees_east", 0),
    ):
        variable = file.create_variable(name, (dimension,), data=at[:, column])
        variable.attrs.update({"standard_name": long_name, "units": unit})
    nodes, counts, parts, interior = _nodes(shapes)
    file.dimensions["node"] = len(nodes)
    container = file.create_variable(CONTAINER, (), data=np.int32(0))
    container.attrs["geometry_type"] = kind
    container.attrs["grid_mapping"] = GRID_MAPPING
    container.attrs["coordinates"] = "lat lon"
    container.attrs["node_coordinates"] = "node_x node_y"
    container.attrs["node_count"] = "node_count"
    file.create_variable("node_count", (dimension,), data=counts)
    if kind != "point":
        file.dimensions["part"] = len(parts)
        container.attrs["part_node_count"] = "part_node_count"
        file.create_variable("part_node_count", ("part",), data=parts)
    if kind == "polygon":
        container.attrs["interior_ring"] = "interior_ring"
        file.create_variable("interior_ring", ("part",), data=interior)
    degrees = is_geographic(held.crs)
    for axis, (name, place, unit) in enumerate(
        (("node_x", "longitude", "degrees_east"), ("node_y", "latitude", "degrees_north"))
    ):
        variable = file.create_variable(name, ("node",), data=nodes[:, axis])
        letter = "xy"[axis]
        variable.attrs["axis"] = letter.upper()
        variable.attrs["standard_name"] = place if degrees else f"projection_{letter}_coordinate"
        variable.attrs["units"] = unit if degrees else "m"
    write_crs(file, held.crs)


def _nodes(
    shapes: Shapes,
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32], NDArray[np.int8]]:
    """Return all nodes, nodes per geometry and per part, and which parts are holes.

    A polygon's parts are its rings: outer ones counter-clockwise, holes the other way.
    """
    counts = shapely.get_num_coordinates(shapes).astype(np.int32)
    parts: list[Any] = []
    holes: list[bool] = []
    for part in shapely.get_parts(shapely.orient_polygons(shapes)):
        if shapely.get_dimensions(part) < 2:  # noqa: PLR2004 - points and lines
            parts.append(part)
            holes.append(False)
            continue
        parts += [part.exterior, *part.interiors]
        holes += [False, *[True] * len(part.interiors)]
    return (
        shapely.get_coordinates(parts),
        counts,
        shapely.get_num_coordinates(parts).astype(np.int32),
        np.array(holes, np.int8),
    )
