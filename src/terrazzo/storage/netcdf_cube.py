"""CF cubes in NetCDF files, for ingestion: what they hold, and one image at a time.

HDF5 can point elsewhere: external links, external storage and virtual datasets make a harmless
file read any other one. Files that have them are refused.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np
import xarray as xr
from pyproj import CRS
from pyproj.exceptions import CRSError

from terrazzo.errors import ArgumentInvalid, AssetForbidden, SourceUnreadable, suggest
from terrazzo.geo.crs import WGS84, crs_name
from terrazzo.geo.grid import Grid
from terrazzo.geo.times import parse_time
from terrazzo.spans import span

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.cube import Values
    from terrazzo.storage.gate import Gate

_X, _Y, _TIME = (
    {"x", "lon", "longitude", "easting"},
    {"y", "lat", "latitude", "northing"},
    {"t", "time", "timestamp", "date"},
)
_UNEVEN = 1e-3
_HDF5, _CLASSIC = b"\x89HDF", b"CDF"


@dataclass(frozen=True, slots=True)
class CfBand:
    """One variable."""

    name: str
    """Name of the variable."""
    dtype: str
    """Type of the numbers, NumPy name."""
    nodata: float | None
    """`_FillValue` or `missing_value`; None where there is none, or one that cannot occur."""
    scale: float
    """Physical value = number * scale + offset."""
    offset: float
    """See `scale`."""
    unit: str
    """Unit of the physical value; empty where it is not said."""
    description: str
    """long_name; empty where it is not said."""


class CfCube:
    """A cube in an open file; close it, or use it in a `with` statement."""

    def __init__(self, name: str, data: xr.Dataset) -> None:
        self._name, self._data = name, data
        try:
            self._x, self._y = _space(name, data)
            self._time = _axis(data, _TIME, "T")
            variables = self._variables()
            self.grid, self._flipped = _grid(name, data, variables, (self._y, self._x))
            self.times = _times(name, data, self._time)
        except BaseException:
            data.close()
            raise
        self.bands = tuple(_band(data[variable]) for variable in variables)

    grid: Grid
    """North-up, also where the file's y ascends; longitudes are those of the file."""
    times: tuple[datetime, ...]
    """Instants in the file's order; empty for a cube without time."""
    bands: tuple[CfBand, ...]
    """Variables over y and x."""

    def read(self, band: str, time_index: int = 0) -> Values:
        """Return (y, x) numbers of one band and date, north-up, neither masked nor scaled.

        Raises:
            ArgumentInvalid: no such band or date.
            SourceUnreadable: the file is damaged.
        """
        names = [known.name for known in self.bands]
        if band not in names:
            raise ArgumentInvalid(
                f"{self._name!r} has no band {band!r}.{suggest(band, names)} Bands: "
                f"{', '.join(names)}."
            )
        if not 0 <= time_index < max(len(self.times), 1):
            raise ArgumentInvalid(f"{self._name!r} has {len(self.times)} dates, not {time_index}.")
        variable = self._data[band]
        chosen: dict[Any, int] = {
            dimension: time_index if dimension == self._time else 0
            for dimension in variable.dims
            if dimension not in {self._x, self._y}
        }
        try:
            with span("decode"):
                found = variable.isel(chosen).transpose(self._y, self._x).to_numpy()
        except (OSError, RuntimeError) as error:
            raise SourceUnreadable(self._name, band, f"damaged ({type(error).__name__})") from None
        found = found.view(found.dtype.str.replace("i", "u")) if _is_unsigned(variable) else found
        native = found.astype(found.dtype.newbyteorder("="), copy=False)
        rows = -1 if self._flipped[0] else 1
        cols = -1 if self._flipped[1] else 1
        return np.ascontiguousarray(native[::rows, ::cols])

    def close(self) -> None:
        """Close the file."""
        self._data.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _variables(self) -> list[str]:
        names = []
        for name, variable in self._data.data_vars.items():
            if not {self._x, self._y} <= set(variable.dims) or variable.dtype.kind not in "iuf":
                continue
            more = [
                str(dimension)
                for dimension in variable.dims
                if dimension not in {self._x, self._y, self._time} and variable.sizes[dimension] > 1
            ]
            if more:
                raise ArgumentInvalid(
                    f"Variable {name!r} of {self._name!r} has the further dimensions "
                    f"{', '.join(more)}. Choose one position of them and save it first."
                )
            names.append(str(name))
        if not names:
            raise ArgumentInvalid(f"{self._name!r} has no variable of numbers over y and x.")
        return names


def open_cf(path: Path | str, gate: Gate) -> CfCube:
    """Open a CF cube: NetCDF-4 or classic NetCDF.

    Raises:
        AssetForbidden: outside the gate's roots, or the file points to other files.
        SourceUnreadable: gone, damaged or another format.
        ArgumentInvalid: it has no regular grid, no dates that can be read, or further dimensions.
    """
    real = gate.local_path(str(path))
    try:
        with real.open("rb") as file:
            start = file.read(4)
        if start.startswith(_HDF5):
            _refuse_pointers(real)
            engine: Any = "h5netcdf"
        elif start.startswith(_CLASSIC):
            engine = "scipy"
        else:
            raise SourceUnreadable(real.stem, "cube", "it is no NetCDF file")
        with span("open"):
            data = xr.open_dataset(
                real, engine=engine, mask_and_scale=False, decode_times=False, cache=False
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, IndexError) as error:
        raise SourceUnreadable(
            real.stem, "cube", f"gone, damaged or another format ({type(error).__name__})"
        ) from None
    return CfCube(real.stem, data)


def _refuse_pointers(path: Path) -> None:
    """Walk an HDF5 file without following links, and refuse what points out of it."""

    def walk(group: Any) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise AssetForbidden(f"{path.name!r} links to other files; that is not opened.")
            if isinstance(link, h5py.SoftLink):
                continue
            thing = group[name]
            if isinstance(thing, h5py.Group):
                walk(thing)
            elif isinstance(thing, h5py.Dataset) and (thing.external or thing.is_virtual):
                raise AssetForbidden(
                    f"{path.name!r} keeps its numbers in other files; that is not opened."
                )

    with h5py.File(path, "r") as file:
        walk(file)


def _axis(data: xr.Dataset, names: set[str], axis: str) -> str:
    """Return the dimension that is an axis, by name, else by CF attributes; empty if none."""
    words = {"X": ("longitude", "x_coordinate"), "Y": ("latitude", "y_coordinate"), "T": ("time",)}
    for dimension in map(str, data.sizes):
        if dimension.lower() in names and dimension in data.variables:
            return dimension
    for dimension in map(str, data.sizes):
        attributes = data.variables[dimension].attrs if dimension in data.variables else {}
        standard = str(attributes.get("standard_name", ""))
        if attributes.get("axis") == axis or standard.endswith(words[axis]):
            return dimension
        if axis == "T" and " since " in str(attributes.get("units", "")):
            return dimension
    return ""


def _space(name: str, data: xr.Dataset) -> tuple[str, str]:
    x, y = _axis(data, _X, "X"), _axis(data, _Y, "Y")
    if not (x and y):
        raise ArgumentInvalid(
            f"{name!r} has no coordinate variables of x and y. Its dimensions: "
            f"{', '.join(map(str, data.sizes))}."
        )
    return x, y


def _grid(
    name: str, data: xr.Dataset, variables: list[str], axes: tuple[str, str]
) -> tuple[Grid, tuple[bool, bool]]:
    """Return the north-up grid, and whether (rows, columns) are stored the other way."""
    mapping = _mapping(data, variables)
    transform = [float(v) for v in str(mapping.get("GeoTransform", "")).split()]
    steps = [_step(name, axis, data[axis].to_numpy()) for axis in axes]
    if steps[0][1] == 0.0 and len(transform) == 6:  # noqa: PLR2004 - an affine transform
        steps[0] = steps[0][0], transform[5]
    if steps[1][1] == 0.0 and len(transform) == 6:  # noqa: PLR2004
        steps[1] = steps[1][0], transform[1]
    (y, step_y), (x, step_x) = steps
    told = abs(_number(data.attrs.get("resolution"), 0.0))
    step_y, step_x = step_y or -abs(step_x) or -told, step_x or abs(step_y) or told
    if not step_x or not step_y:
        raise ArgumentInvalid(f"{name!r} has a single pixel, no GeoTransform and no resolution.")
    height, width = data.sizes[axes[0]], data.sizes[axes[1]]
    top = y - step_y / 2 if step_y < 0 else y + step_y * (height - 0.5)
    left = x - step_x / 2 if step_x > 0 else x + step_x * (width - 0.5)
    crs = _crs(name, data, mapping, axes)
    return Grid(crs, left, top, abs(step_x), abs(step_y), height, width), (step_y > 0, step_x < 0)


def _step(name: str, axis: str, positions: NDArray[Any]) -> tuple[float, float]:
    """Return first position and step, 0 for a single one.

    Coordinates in float32 are decimal numbers cut off; their step is rounded to what they hold.
    """
    values = positions.astype(np.float64)
    if values.size == 1:
        return float(values[0]), 0.0
    step = float(values[-1] - values[0]) / (values.size - 1)
    exact = positions.dtype.itemsize > 4  # noqa: PLR2004 - float32
    slack = abs(step) * _UNEVEN + (0 if exact else float(np.abs(values).max()) * 2.0**-22)
    if not np.isfinite(values).all() or not step or np.abs(np.diff(values) - step).max() > slack:
        raise ArgumentInvalid(
            f"The {axis!r} coordinates of {name!r} are not evenly spaced. Resample it to a "
            "regular grid first, for example with `cdo remapbil`."
        )
    return float(values[0]), step if exact else float(f"{step:.6g}")


def _mapping(data: xr.Dataset, variables: list[str]) -> dict[str, Any]:
    """Return the attributes of the grid mapping variable, those of the file where there is none."""
    named = [data[name].attrs.get("grid_mapping") for name in variables]
    named += [data[name].encoding.get("grid_mapping") for name in variables]
    named += [data.attrs.get("grid_mapping"), "spatial_ref", "crs"]
    for text in named:
        key = str(text or "").split(":")[0].strip()
        if key in data.variables:
            return {str(k): v for k, v in data.variables[key].attrs.items()}
    return {}


def _crs(name: str, data: xr.Dataset, mapping: dict[str, Any], axes: tuple[str, str]) -> str:
    told = [mapping.get(key) for key in ("crs_wkt", "spatial_ref", "epsg_code", "proj4")]
    told += [data.attrs.get(key) for key in ("crs_wkt", "spatial_ref", "crs", "epsg")]
    for text in told:
        if text is None or not str(text).strip():
            continue
        plain = str(text).strip().removeprefix("+init=")
        with contextlib.suppress(ArgumentInvalid):
            return crs_name(plain)
    if "grid_mapping_name" in mapping:
        with contextlib.suppress(CRSError, KeyError, ArgumentInvalid):
            return crs_name(CRS.from_cf(mapping).to_wkt())
    units = [str(data[axis].attrs.get("units", "")) for axis in axes]
    if units[0].startswith("degree") and units[1].startswith("degree"):
        return WGS84
    raise ArgumentInvalid(
        f"{name!r} does not say in which coordinate reference system it is. Add a grid mapping "
        "with crs_wkt, for example with rioxarray's `write_crs`."
    )


def _times(name: str, data: xr.Dataset, axis: str) -> tuple[datetime, ...]:
    if not axis:
        return ()
    values, attributes = data[axis].to_numpy(), data[axis].attrs
    if values.dtype.kind in "OUS":
        texts = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
        return tuple(_instant(text) for text in texts)
    units = str(attributes.get("units", ""))
    try:
        calendar = str(attributes.get("calendar", "standard"))
        decoded = xr.coding.times.decode_cf_datetime(values, units, calendar, use_cftime=True)
        return tuple(_instant(moment.isoformat()) for moment in np.atleast_1d(decoded))
    except (ValueError, OverflowError, AttributeError) as error:
        raise ArgumentInvalid(
            f"The times of {name!r} (units {units!r}) cannot be read: {error}. CF units look "
            "like 'days since 2015-08-01'."
        ) from None


def _instant(text: str) -> datetime:
    """Read an instant; CF times without a zone are UTC."""
    try:
        return parse_time(text)
    except ArgumentInvalid:
        return parse_time(text + "Z").astimezone(UTC)


def _band(variable: xr.DataArray) -> CfBand:
    attributes = variable.attrs
    dtype = (
        np.dtype(variable.dtype.str.replace("i", "u")) if _is_unsigned(variable) else variable.dtype
    )
    return CfBand(
        name=str(variable.name),
        dtype=dtype.newbyteorder("=").name,
        nodata=_nodata(attributes, dtype),
        scale=_number(attributes.get("scale_factor"), 1.0),
        offset=_number(attributes.get("add_offset"), 0.0),
        unit=str(attributes.get("units", "")),
        description=str(attributes.get("long_name", "")),
    )


def _nodata(attributes: Any, dtype: np.dtype[Any]) -> float | None:
    for key in ("_FillValue", "missing_value"):
        value = attributes.get(key)
        if value is None:
            continue
        number = _number(value, np.nan)
        if dtype.kind == "f":
            return number
        if dtype.kind == "u" and number < 0:
            number += 2.0 ** (8 * dtype.itemsize)
        info = np.iinfo(dtype)
        if number == number // 1 and info.min <= number <= info.max:
            return number
    return None


def _is_unsigned(variable: xr.DataArray) -> bool:
    return variable.dtype.kind == "i" and str(variable.attrs.get("_Unsigned", "")).lower() == "true"


def _number(value: Any, default: float) -> float:
    try:
        return float(np.asarray(value).ravel()[0])
    except (TypeError, ValueError, IndexError):
        return default
