"""Arrays of xarray as datasets that say where they lie, with one variable per band."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pyproj import CRS

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, crs_name

if TYPE_CHECKING:
    from collections.abc import Hashable

    import xarray as xr

_X: Final = ("x", "lon", "longitude", "easting", "projection_x_coordinate")
_Y: Final = ("y", "lat", "latitude", "northing", "projection_y_coordinate")
_DEGREES: Final = ("lon", "lat", "longitude", "latitude")
_BANDS: Final = ("band", "bands", "variable", "channel", "wavelength")
_KEPT: Final = ("units", "long_name", "flag_values", "flag_meanings")
_MAPPING: Final = "spatial_ref"
_TIME: Final = "t"
MOST_BYTES: Final = 4_000_000_000
"""What an array may take; larger ones belong into a collection."""


def as_dataset(data: xr.DataArray | xr.Dataset, crs: str = "") -> xr.Dataset:
    """Return variables of dimensions (t, y, x) or (y, x) with their CRS, as CF writes it.

    Args:
        data: with coordinates of its x and y, of pixel centres; dates, if it has any, in a
            dimension of its own. The bands of an array may be a dimension, too.
        crs: of its coordinates, where the data do not say (`.rio.crs`, a variable with a grid
            mapping, an attribute `crs`, or dimensions called lon and lat).

    Raises:
        ArgumentInvalid: it has no x, y or CRS, a dimension that is neither, or is too large.
    """
    import xarray as xr  # noqa: PLC0415 - slow to load

    held = data if isinstance(data, xr.Dataset) else _variables(data)
    x, y = _one(held, _X, "x"), _one(held, _Y, "y")
    name = crs_name(crs) if crs else _crs_of(data, held, str(x))
    held = held[[key for key, one in held.data_vars.items() if {x, y} <= set(one.dims)]]
    if not held.data_vars:
        raise ArgumentInvalid(f"No variable of the dataset has the dimensions {y} and {x}.")
    if held.nbytes > MOST_BYTES:
        raise ArgumentInvalid(
            f"The array takes {held.nbytes / 1e9:.1f} GB; {MOST_BYTES / 1e9:.0f} GB may be shown. "
            "Select a part of it, or make a collection of its files: terrazzo ingest."
        )
    renamed = held.rename({x: "x", y: "y", **_time(held, {x, y})})
    order = [_TIME, "y", "x"] if _TIME in renamed.dims else ["y", "x"]
    made = {key: _plain(one.transpose(*(d for d in order if d in one.dims)))
            for key, one in renamed.data_vars.items()}  # fmt: skip
    coordinates = {key: renamed[key].variable for key in order}
    result = xr.Dataset(made, coords={k: v.copy(deep=False) for k, v in coordinates.items()})
    result[_MAPPING] = ((), 0, CRS.from_user_input(name).to_cf())
    _describe(result, geographic=CRS.from_user_input(name).is_geographic)
    return result


def _variables(data: xr.DataArray) -> xr.Dataset:
    """Return an array as a dataset of its bands."""
    bands = [dimension for dimension in data.dims if str(dimension) in _BANDS]
    if not bands:
        return data.to_dataset(name="value" if data.name is None else str(data.name))
    labels = [str(one) for one in data[bands[0]].to_numpy()]
    named = [f"band{one}" if one.isdigit() else one for one in labels]
    return data.assign_coords({bands[0]: named}).to_dataset(dim=bands[0])


def _one(data: xr.Dataset, names: tuple[str, ...], what: str) -> Hashable:
    """Return the dimension that is x, or y."""
    found = [dimension for dimension in data.dims if str(dimension).lower() in names]
    if not found or found[0] not in data.coords or data[found[0]].size < 2:  # noqa: PLR2004 - a step
        raise ArgumentInvalid(
            f"The array has no dimension {what!r} with coordinates of two pixels or more; it has "
            f"{', '.join(map(str, data.dims)) or 'none'}. Name it {' or '.join(names[:3])}."
        )
    return found[0]


def _crs_of(data: Any, held: xr.Dataset, x: str) -> str:
    """Return the CRS that the data state.

    Raises:
        ArgumentInvalid: they state none.
    """
    if "rioxarray" in sys.modules and data.rio.crs is not None:
        return crs_name(data.rio.crs.to_wkt())
    for key in held.variables:
        stated = held[key].attrs
        for attribute in ("crs_wkt", "spatial_ref"):
            if stated.get(attribute):
                return crs_name(str(stated[attribute]))
    if data.attrs.get("crs"):
        return crs_name(str(data.attrs["crs"]))
    if x.lower() in _DEGREES:
        return WGS84
    raise ArgumentInvalid(
        "The array does not say in which CRS its coordinates are. Give it: "
        "m.add(array, crs='EPSG:32633')."
    )


def _time(data: xr.Dataset, space: set[Hashable]) -> dict[Hashable, str]:
    """Return how the dimension of dates is to be called.

    Raises:
        ArgumentInvalid: there is another dimension.
    """
    others = [dimension for dimension in data.dims if dimension not in space]
    dates = [d for d in others if d in data.coords and data[d].dtype.kind == "M"]
    rest = [dimension for dimension in others if dimension not in dates[:1]]
    if rest:
        raise ArgumentInvalid(
            f"A map shows x, y, bands and dates, and the array has a dimension {rest[0]!r} besides."
            f" Select one of it, e.g. array.isel({rest[0]}=0), or give it coordinates of dates."
        )
    return dict.fromkeys(dates, _TIME)


def _plain(array: xr.DataArray) -> xr.Variable:
    """Return values in a type that every reader knows, without what only xarray knows."""
    kept = {key: array.attrs[key] for key in _KEPT if key in array.attrs}
    packed = array.encoding
    # That of scaled values is of the numbers in the file, and has become NaN in these.
    unscaled = packed if not {"scale_factor", "add_offset"} & packed.keys() else {}
    nodata = unscaled.get("_FillValue", array.attrs.get("_FillValue"))
    made = array.variable.copy(deep=False)
    made.attrs, made.encoding = kept, {}
    if made.dtype.kind == "b":
        return made.astype(np.uint8)
    if made.dtype.kind in "iu" and made.dtype.itemsize > 4:  # noqa: PLR2004 - bytes of int32
        made = made.astype(np.float64)
    if made.dtype.kind not in "iuf":
        raise ArgumentInvalid(f"Values of type {made.dtype} cannot be shown; numbers can.")
    if nodata is not None:
        made.encoding["_FillValue"] = nodata
    return made


def _describe(data: xr.Dataset, *, geographic: bool) -> None:
    """Say what the coordinates are."""
    for key in ("x", "y"):
        data[key].attrs = {
            "axis": key.upper(),
            "standard_name": {"x": "longitude", "y": "latitude"}[key]
            if geographic
            else f"projection_{key}_coordinate",
            "units": {"x": "degrees_east", "y": "degrees_north"}[key] if geographic else "m",
        }
    for name in data.data_vars:
        if name != _MAPPING:
            data[name].attrs["grid_mapping"] = _MAPPING
