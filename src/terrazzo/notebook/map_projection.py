"""The projections that a map is drawn in, as browsers are told of them."""

from __future__ import annotations

import warnings
from typing import Any, Final

from pyproj import Transformer

from terrazzo.geo.crs import WGS84, crs_name, crs_object, epsg

KNOWN: Final = ("EPSG:3857", "EPSG:4326")
"""Those that need no word."""


def projection_of(crs: str | int) -> tuple[str, dict[str, Any]]:
    """Return what browsers call a CRS, and what they have to know of it.

    Returns:
        Its name; and `{"projection": ...}` for `extra` of a state, empty if they know it.

    Raises:
        ArgumentInvalid: PROJ does not know it.
    """
    name = crs_name(crs)
    code = epsg(name)
    if f"EPSG:{code}" in KNOWN:
        return f"EPSG:{code}", {}
    held = crs_object(name)
    shown = f"EPSG:{code}" if code else str(held.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that PROJ's text tells less than WKT
        text = held.to_proj4()
    area = held.area_of_use
    degrees = area.bounds if area is not None else (-180.0, -90.0, 180.0, 90.0)
    extent = Transformer.from_crs(WGS84, held, always_xy=True).transform_bounds(*degrees)
    told = {"crs": shown, "proj4": text, "wkt": held.to_wkt(), "extent": list(extent)}
    return shown, {"projection": told}
