"""Coordinate reference systems by a canonical name: `EPSG:n`, or WKT2 where there is no code.

Names are compared as text, which is fast, hashable and survives pickling; a CRS that PROJ
recognises as an EPSG one gets that code, so that files which spell it differently share grids.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from terrazzo.errors import ArgumentInvalid

WGS84 = "EPSG:4326"
WEB_MERCATOR = "EPSG:3857"
LONGEST = 20_000
"""Characters of a CRS that a user may give; WKT2 of EPSG codes has about 2 000."""
_LONGITUDE_FIRST = {"authority": "OGC", "code": "CRS84"}
"""EPSG:4326 with its axes the other way round; here x always comes first."""
_OPENS_FILES = re.compile(
    r"proj\s*=\s*pipeline|\b(init|nadgrids|geoidgrids|grids|file|xy_grids|z_grids)\s*=\s*(?!@null\b)",
    re.IGNORECASE,
)
"""What makes PROJ look for a file, or compute something else than a CRS; also inside of WKT."""


def crs_name(crs: str | int | Mapping[str, Any]) -> str:
    """Return the canonical name of a CRS given as EPSG code, `EPSG:n`, WKT or PROJJSON.

    Raises:
        ArgumentInvalid: PROJ does not know it, or it is not something a user may name
            (file names and pipelines are refused before PROJ sees them).
    """
    if isinstance(crs, int) and not isinstance(crs, bool):
        return _canonical(f"EPSG:{crs}")
    if not isinstance(crs, (str, Mapping)):
        raise ArgumentInvalid(
            f"{crs!r:.80} is no coordinate reference system. Use an EPSG code such as 32633."
        )
    try:
        text = crs if isinstance(crs, str) else json.dumps(dict(crs))
    except (TypeError, ValueError) as error:
        raise ArgumentInvalid(f"The PROJJSON is no JSON: {error}.") from error
    return _canonical(text.strip())


@lru_cache(maxsize=512)
def _canonical(text: str) -> str:
    looks_known = text.isdigit() or text[:1] == "{" or "[" in text
    authority = text.split(":", 1)[0].upper() in {"EPSG", "OGC", "ESRI", "IAU", "URN", "IGNF"}
    if len(text) > LONGEST or _OPENS_FILES.search(text):
        reason = f"has {len(text)} characters" if len(text) > LONGEST else "names files or steps"
        raise ArgumentInvalid(
            f"{text[:80]!r} is refused as a coordinate reference system, because it {reason}. Use "
            "an EPSG code such as 32633 or 'EPSG:3035', or WKT2."
        )
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
    if crs.is_bound and crs.source_crs is not None:
        # A datum shift written into old WKT (TOWGS84): PROJ has better ones, so it is left out.
        crs = crs.source_crs
    code = crs.to_epsg() or _stated_code(crs)
    if code is not None and _is_of(crs, code):
        return f"EPSG:{code}"
    return str(crs.to_wkt("WKT2_2019"))


def _stated_code(crs: CRS) -> int | None:
    """Return the EPSG code that a definition states of itself, which may be wrong."""
    stated = crs.to_json_dict().get("id") or {}
    if stated == _LONGITUDE_FIRST:
        return 4326
    code = str(stated.get("code"))
    known = stated.get("authority") == "EPSG" and re.fullmatch("[0-9]{1,6}", code)
    return int(code) if known else None


def _is_of(crs: CRS, code: int) -> bool:
    try:
        return _same_projection(crs, CRS.from_epsg(code))
    except CRSError:  # what a definition states need not exist
        return False


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
    """Return the coordinate operation between two canonical names, always in x, y order.

    Raises:
        ArgumentInvalid: none is known, as from the plan of a building to degrees.
    """
    try:
        return Transformer.from_crs(crs_object(source), crs_object(target), always_xy=True)
    except ProjError:
        named = " to ".join(crs_object(name).name or "an unnamed one" for name in (source, target))
        raise ArgumentInvalid(
            f"No way is known from one coordinate reference system to the other, {named}. Use one "
            "that is bound to the earth."
        ) from None


@lru_cache(maxsize=256)
def is_geographic(name: str) -> bool:
    """Tell whether coordinates are degrees of longitude and latitude."""
    return bool(crs_object(name).is_geographic)


@lru_cache(maxsize=256)
def is_projected(name: str) -> bool:
    """Tell whether coordinates are those of a map projection."""
    return bool(crs_object(name).is_projected)


@lru_cache(maxsize=256)
def is_metric(name: str) -> bool:
    """Tell whether both coordinates are metres."""
    axes = crs_object(name).axis_info[:2]
    return bool(axes) and all(axis.unit_name in {"metre", "meter"} for axis in axes)


def epsg(name: str) -> int | None:
    """Return the EPSG code of a canonical name, or None where it has none."""
    return int(name.removeprefix("EPSG:")) if name.startswith("EPSG:") else None
