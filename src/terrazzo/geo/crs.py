"""Coordinate reference systems by a canonical name: `EPSG:n`, or WKT2 where there is no code.

Names are compared as text, which is fast, hashable and survives pickling; a CRS that PROJ
recognises as an EPSG one gets that code, so that files which spell it differently share grids.
"""

from __future__ import annotations

import json
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

WGS84 = "EPSG:4326"
WEB_MERCATOR = "EPSG:3857"


def crs_name(crs: str | int | Mapping[str, Any]) -> str:
    """Return the canonical name of a CRS given as EPSG code, `EPSG:n`, WKT or PROJJSON.

    Raises:
        ArgumentInvalid: PROJ does not know it, or it is not something a user may name
            (file names and pipelines are refused before PROJ sees them).
    """
    if isinstance(crs, bool):
        raise ArgumentInvalid(f"{crs!r} is no coordinate reference system. Use an EPSG code.")
    if isinstance(crs, int):
        return _canonical(f"EPSG:{crs}")
    text = crs if isinstance(crs, str) else json.dumps(dict(crs))
    return _canonical(text.strip())


@lru_cache(maxsize=512)
def _canonical(text: str) -> str:
    looks_known = text.isdigit() or text[:1] == "{" or "[" in text
    authority = text.split(":", 1)[0].upper() in {"EPSG", "OGC", "ESRI", "IAU", "URN", "IGNF"}
    if not (looks_known or authority or "+proj=" in text):
        raise ArgumentInvalid(
            f"{text[:80]!r} is no coordinate reference system. Use an EPSG code such as 32633 "
            "or 'EPSG:3035', WKT2, or PROJJSON."
        )
    try:
        crs = CRS.from_user_input(int(text) if text.isdigit() else text)
    except (CRSError, ValueError) as error:
        raise ArgumentInvalid(
            f"{text[:80]!r} is no coordinate reference system that PROJ knows. Use an EPSG code "
            "such as 32633 or 'EPSG:3035', WKT2, or PROJJSON."
        ) from error
    code = crs.to_epsg()
    if code is not None and _same_projection(crs, CRS.from_epsg(code)):
        return f"EPSG:{code}"
    return str(crs.to_wkt("WKT2_2019"))


def _same_projection(one: CRS, other: CRS) -> bool:
    with warnings.catch_warnings():
        # pyproj warns that PROJ strings lose the datum's name; the EPSG match has judged that.
        warnings.simplefilter("ignore", UserWarning)
        return bool(one.equals(other, ignore_axis_order=True) or one.to_dict() == other.to_dict())


@lru_cache(maxsize=256)
def crs_object(name: str) -> CRS:
    """Return the PROJ object of a canonical name."""
    return CRS.from_user_input(name)


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """Return the coordinate operation between two canonical names, always in x, y order."""
    return Transformer.from_crs(crs_object(source), crs_object(target), always_xy=True)


@lru_cache(maxsize=256)
def is_geographic(name: str) -> bool:
    """Tell whether coordinates are degrees of longitude and latitude."""
    return bool(crs_object(name).is_geographic)


def epsg(name: str) -> int | None:
    """Return the EPSG code of a canonical name, or None where it has none."""
    return int(name.removeprefix("EPSG:")) if name.startswith("EPSG:") else None
