"""The coordinate reference system of CF variables: grid mappings, and what people write instead."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from pyproj import CRS
from pyproj.exceptions import CRSError

from terrazzo.errors import ArgumentInvalid
from terrazzo.geo.crs import WGS84, crs_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import xarray as xr

_IN_MAPPING: Final = (
    "crs_wkt", "spatial_ref", "epsg_code", "EPSG_code", "epsg", "proj4", "proj4_params",
    "proj4text", "proj4_string",
)  # fmt: skip
_IN_ATTRIBUTES: Final = (
    "crs_wkt", "spatial_ref", "proj:code", "proj:wkt2", "proj:projjson", "proj:epsg", "crs",
    "epsg", "esri_pe_string",
)  # fmt: skip
_METRES: Final = {
    "m": 1.0, "metre": 1.0, "metres": 1.0, "meter": 1.0, "meters": 1.0,
    "km": 1000.0, "kilometre": 1000.0, "kilometres": 1000.0, "kilometer": 1000.0,
    "kilometers": 1000.0,
}  # fmt: skip
_RADIANS: Final = {
    "rad": 1.0, "radian": 1.0, "radians": 1.0, "microradian": 1e-6, "microradians": 1e-6,
    "urad": 1e-6,
}  # fmt: skip
_EPSG: Final = re.compile(r"(?:\+init=)?epsg:{1,2}(\d+)", re.IGNORECASE)


def mapping_of(data: xr.Dataset, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a variable's grid mapping; empty where there is none."""
    named = [attributes.get("grid_mapping"), data.attrs.get("grid_mapping"), "spatial_ref", "crs"]
    for text in named:
        # The extended form, `crs: x y`, names several; the first one is that of x and y.
        key = str(text or "").split(":")[0].strip()
        if key in data.variables:
            return {str(k): v for k, v in data.variables[key].attrs.items()}
    return {}


def crs_of(
    name: str,
    mapping: Mapping[str, Any],
    attributes: Mapping[str, Any],
    coordinates: Sequence[Mapping[str, Any]],
    *,
    otherwise: str = "",
) -> str:
    """Return the canonical name of a variable's CRS.

    Args:
        name: of the file, for messages.
        mapping: attributes of the grid mapping.
        attributes: of the variable and its groups.
        coordinates: attributes of the coordinate variables of y and x; none if there are none.
        otherwise: what the user says of files that state none; empty if nothing.

    Raises:
        ArgumentInvalid: none is stated, or one that images cannot have.
    """
    if str(mapping.get("grid_mapping_name", "")).startswith("rotated_"):
        raise ArgumentInvalid(
            f"{name!r} has a rotated pole, which maps do not know. Resample it to a regular grid "
            "first, for example with `cdo remapbil`."
        )
    told = [mapping.get(key) for key in _IN_MAPPING]
    told += [attributes.get(key) for key in _IN_ATTRIBUTES]
    for value in told:
        with contextlib.suppress(ArgumentInvalid):
            found = _stated(value)
            if found:
                return found
    if "grid_mapping_name" in mapping:
        with contextlib.suppress(CRSError, KeyError, ArgumentInvalid, TypeError, ValueError):
            return crs_name(CRS.from_cf(dict(mapping)).to_wkt())
    units = [str(one.get("units", "")).lower() for one in coordinates]
    if units and all(text.startswith("degree") for text in units):
        return WGS84
    if otherwise:
        return crs_name(otherwise)
    raise ArgumentInvalid(
        f"{name!r} does not say in which coordinate reference system it is. State it with --crs, "
        "or add a grid mapping with crs_wkt, for example with rioxarray's `write_crs`."
    )


def _stated(value: Any) -> str:
    """Return the canonical name of what an attribute states; empty if it states nothing."""
    if value is None or isinstance(value, bytes):
        return ""
    if isinstance(value, dict):
        return crs_name(json.dumps(value))
    text = str(value).strip()
    code = _EPSG.fullmatch(text)
    return crs_name(f"EPSG:{code[1]}" if code else text) if text else ""


def metres_per_unit(units: str, mapping: Mapping[str, Any]) -> float | None:
    """Return the metres of a unit of projected coordinates; None where it does not say.

    Angles are those of a geostationary view, whose coordinates are angles times the height.
    """
    plain = units.strip().lower()
    if plain in _METRES:
        return _METRES[plain]
    if plain in _RADIANS:
        try:
            return _RADIANS[plain] * float(mapping["perspective_point_height"])
        except (KeyError, TypeError, ValueError):
            return None
    return None
