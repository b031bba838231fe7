"""Arrays of xarray as datasets that say where they lie, with one variable per band."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from pyproj import CRS

from terrazzo.drivers.xarrays import laid_out
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    import xarray as xr

_KEPT: Final = ("units", "long_name", "flag_values", "flag_meanings")
_MAPPING: Final = "spatial_ref"
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

    laid = laid_out(data, crs)
    held, name = laid.data, laid.crs
    if held.nbytes > MOST_BYTES:
        raise ArgumentInvalid(
            f"The array takes {held.nbytes / 1e9:.1f} GB; {MOST_BYTES / 1e9:.0f} GB may be shown. "
            "Select a part of it, or make a collection of its files: terrazzo ingest."
        )
    made = {key: _plain(one) for key, one in held.data_vars.items()}
    result = xr.Dataset(made, coords={k: held[k].variable for k in laid.dimensions})
    result[_MAPPING] = ((), 0, CRS.from_user_input(name).to_cf())
    _describe(result, geographic=CRS.from_user_input(name).is_geographic)
    return result


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
