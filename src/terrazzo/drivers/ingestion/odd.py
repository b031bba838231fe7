"""Images that are not what a reader expects: what is made of them, or why they are left out."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pyproj.exceptions import ProjError

from terrazzo.errors import ArgumentInvalid, SourceUnreadable
from terrazzo.geo.crs import WGS84, crs_name, crs_object, is_geographic, transformer
from terrazzo.storage.straighten import Straightened, georeference_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.catalog import BandInfo
    from terrazzo.drivers.ingestion.items import FoundFile, IngestOptions
    from terrazzo.geo.grid import Grid
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.headers import RasterInfo
    from terrazzo.storage.image_facts import FileFacts

CLASSIFICATION: Final = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
"""The extension by which an item says what numbers stand for."""
CLASSES: Final = "classification:classes"
"""Field of an asset that says what its numbers stand for."""
_BEGINNINGS: Final = (
    (re.compile(rb"(II[*+]\0|MM\0[*+])"), "TIFF", ".tif"),
    (re.compile(rb"(\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)", re.DOTALL), "JPEG 2000", ".jp2"),
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?<VRTDataset"), "a GDAL VRT", ".vrt"),
    (re.compile(rb"\x89HDF\r\n\x1a\n"), "HDF5 or NetCDF 4", ".nc"),
    (re.compile(rb"CDF[\x01\x02\x05]"), "NetCDF", ".nc"),
    (re.compile(rb"\x89PNG\r\n"), "PNG", ""),
    (re.compile(rb"\xff\xd8\xff"), "JPEG", ""),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WebP", ""),
    (re.compile(rb"GIF8"), "GIF", ""),
    (re.compile(rb"PK\x03\x04"), "a ZIP archive", ""),
    (re.compile(rb"\x1f\x8b"), "a gzip archive", ""),
    (re.compile(rb"GRIB"), "GRIB", ".grib"),
    (re.compile(rb"SQLite format 3"), "SQLite (GeoPackage)", ".gpkg"),
    (re.compile(rb"\s*<"), "XML or HTML", ""),
    (re.compile(rb"\s*[{\[]"), "JSON", ""),
)
"""How files begin, what they are then, and how their names should end."""
_FITTING: Final = {"GTiff": "TIFF", "JP2OpenJPEG": "JPEG 2000"}
_HEAD_BYTES: Final = 512
_WORLD_FILES: Final = (".tfw", ".tifw", ".tiffw", ".j2w", ".jp2w", ".wld")
_LONGEST: Final = 20_000
_FAR_DEGREES: Final = 40.0
_HALF_TURN, _TURN, _POLE = 180.0, 360.0, 90.0
_EDGE: Final = 5


def check_content(opened: AssetName, path: Path) -> None:
    """Refuse a file that is of another kind than its name says, before GDAL sees it.

    Raises:
        SourceUnreadable: says what it is and how to name it.
    """
    if opened.is_remote:
        return
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return  # the reader says that it is gone
    reason = ""
    if not head.strip(b"\0"):
        reason = "it is empty" if not head else "it begins with zeros only"
    else:
        found = next((one for one in _BEGINNINGS if one[0].match(head)), None)
        if found is None:
            reason = f"it is neither TIFF nor JPEG 2000 (it begins with {head[:8].hex(' ')})"
        elif found[1] != _FITTING[opened.driver]:
            advice = f"name it *{found[2]}" if found[2] else "make a GeoTIFF of it"
            reason = f"it is {found[1]} inside; {advice}"
    if reason:
        raise SourceUnreadable(opened.item, opened.asset, reason)


def check_image(info: RasterInfo) -> None:
    """Refuse numbers that no process computes with, and places that are none.

    Raises:
        ArgumentInvalid: says which.
    """
    for dtype in info.dtypes:
        if np.dtype(dtype).kind == "c":
            raise ArgumentInvalid(
                f"its numbers are complex ({dtype}), and no process computes with those. Store "
                "real and imaginary part, or amplitude and phase, as bands of their own."
            )
    check_place(info.grid)


@lru_cache(maxsize=1024)
def check_place(grid: Grid) -> None:
    """Refuse a grid whose coordinates cannot be of its CRS.

    Images outside the area of use of their CRS are common (a country in one UTM zone) and right;
    what is far from it, or where the projection does not lead back, is not.

    Raises:
        ArgumentInvalid: says where it would lie.
    """
    left, bottom, right, top = grid.bounds
    where = f"({left:.10g} to {right:.10g}, {bottom:.10g} to {top:.10g})"
    shown = grid.crs if len(grid.crs) < 40 else crs_object(grid.crs).name  # noqa: PLR2004
    advice = "The file states a wrong CRS; mend it with `gdal_edit -a_srs EPSG:n FILE`."
    try:
        ways = transformer(grid.crs, WGS84)
    except ProjError:
        raise ArgumentInvalid(f"its CRS {shown} is of no known place on Earth. {advice}") from None
    if is_geographic(grid.crs):
        slack = max(grid.pixel_x, grid.pixel_y)
        fits = (
            max(abs(bottom), abs(top)) <= _POLE + slack
            and left >= -_TURN - slack
            and right <= _TURN + _HALF_TURN + slack
            and right - left <= _TURN + 2 * slack
        )
        if not fits:
            raise ArgumentInvalid(
                f"its coordinates {where} are no degrees, as its CRS {shown} has them. {advice}"
            )
        return
    area = crs_object(grid.crs).area_of_use
    xs, ys = (one.ravel() for one in np.meshgrid(
        np.linspace(left, right, _EDGE), np.linspace(bottom, top, _EDGE)))  # fmt: skip
    try:
        longitudes, latitudes = ways.transform(xs, ys)
        back_x, back_y = ways.transform(longitudes, latitudes, direction="INVERSE")
    except ProjError:
        longitudes = np.full(xs.shape, np.inf)
        latitudes = back_x = back_y = longitudes
    with np.errstate(invalid="ignore"):
        lost = np.hypot(back_x - xs, back_y - ys) > max(right - left, top - bottom)
    known = np.isfinite(longitudes) & np.isfinite(latitudes) & ~lost
    if not known.any():
        raise ArgumentInvalid(f"its coordinates {where} are nowhere in its CRS {shown}. {advice}")
    if area is None:
        return
    apart = _degrees_apart(area.bounds, longitudes[known], latitudes[known])
    as_degrees = max(map(abs, (left, right))) <= _TURN and max(map(abs, (bottom, top))) <= _POLE
    if apart > _FAR_DEGREES or (apart > 0 and as_degrees):
        hint = " They look like degrees." if as_degrees else ""
        raise ArgumentInvalid(
            f"its coordinates {where} in its CRS {shown} lie at longitude "
            f"{longitudes[known][0]:.4g}, latitude {latitudes[known][0]:.4g}, and that "
            f"CRS is for longitudes {area.west:g} to {area.east:g}, latitudes {area.south:g} to "
            f"{area.north:g}.{hint} {advice}"
        )


def _degrees_apart(
    area: Sequence[float], longitudes: np.ndarray[Any, Any], latitudes: np.ndarray[Any, Any]
) -> float:
    """Return how far the nearest of some places is from an area, degrees."""
    west, south, east, north = area
    east += _TURN * (west > east)
    beside = np.min(
        [
            np.maximum(np.maximum(west - x, x - east), 0.0)
            for x in (longitudes, longitudes + _TURN, longitudes - _TURN)
        ],
        axis=0,
    )
    above = np.maximum(np.maximum(south - latitudes, latitudes - north), 0.0)
    return float(np.maximum(beside, above).min())


def straightened(
    opened: AssetName, found: FoundFile, options: IngestOptions
) -> tuple[Straightened, tuple[str, ...]]:
    """Return how an image without a regular grid in a known CRS gets one, and what to say of it.

    Raises:
        SourceUnreadable: it cannot be opened.
        ArgumentInvalid: it has no place at all, states no CRS and none was stated, or must be
            warped and is not to be copied.
    """
    stated = georeference_of(opened)
    crs = stated.crs
    transform: tuple[float, ...] = ()
    notes: list[str] = []
    if not stated.has_transform and not stated.points:
        transform, prj = _beside(found)
        if not transform:
            raise ArgumentInvalid(_nowhere(has_rpcs=stated.has_rpcs))
        crs = crs or prj
        notes.append("its place is taken from the world file beside it")
    if not crs:
        if not options.crs:
            raise ArgumentInvalid(
                "it states no CRS. State it, for example with --crs EPSG:32633; it is then copied "
                "into the home folder as a COG that does."
            )
        crs = crs_name(options.crs)
    else:
        notes += crs_notes(crs, options)
    turned = stated.turned or (bool(stated.points) and not stated.has_transform)
    turned = turned or bool(transform and (transform[1] or transform[3] or transform[0] < 0))
    if (turned or transform) and not options.copy:
        what = (
            f"it is placed by {stated.points} ground control points"
            if stated.points and not stated.has_transform
            else "its pixels are rotated, sheared or mirrored"
            if turned
            else "its place is in a world file beside it, which nobody else reads"
        )
        raise ArgumentInvalid(
            f"{what}. Ingest it with --copy, which makes a north-up COG of it (nearest pixel)."
        )
    return Straightened(opened, crs, transform), tuple(notes)


def _nowhere(*, has_rpcs: bool) -> str:
    """Say that an image has no place, and what to do."""
    if has_rpcs:
        return (
            "it has no georeference but the coefficients of its sensor (RPC), which need a terrain "
            "model. Orthorectify it first, for example with `gdalwarp -rpc -to RPC_DEM=dem.tif "
            "-t_srs EPSG:32633 in.tif out.tif`."
        )
    return (
        "it has no georeference. Give it one first, for example with `gdal_translate -a_srs "
        "EPSG:32633 -a_ullr LEFT TOP RIGHT BOTTOM in.tif out.tif`."
    )


def _beside(found: FoundFile) -> tuple[tuple[float, ...], str]:
    """Return the affine of a world file beside an image, and the CRS of a `.prj`; empty if none."""
    numbers: tuple[float, ...] = ()
    for ending in _WORLD_FILES:
        text = _text_beside(found, ending)
        try:
            a, d, b, e, c, f = (float(word.replace(",", ".")) for word in text.split())
        except ValueError:
            continue
        # A world file tells the centre of the first pixel.
        numbers = (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2)
        break
    text = _text_beside(found, ".prj")
    return numbers, crs_name(text) if numbers and text else ""


def mask_notes(found: FoundFile) -> tuple[str, ...]:
    """Return what to say of a mask in a file of its own, which is not read."""
    beside = found.path.with_name(f"{found.path.name}.msk")
    if not beside.is_file():
        return ()
    return (
        (
            f"its mask in {beside.name} is not read; put it inside with `gdal_translate --config "
            "GDAL_TIFF_INTERNAL_MASK YES in.tif out.tif`"
        ),
    )


def _text_beside(found: FoundFile, ending: str) -> str:
    """Return the text of a small file beside an image, empty if there is none."""
    for name in (ending, ending.upper()):
        path = found.path.with_suffix(name)
        if path.is_file():
            real = found.gate.local_path(str(path))
            if real.stat().st_size <= _LONGEST:
                return real.read_text("utf-8", errors="replace").strip()
    return ""


def crs_notes(stated: str, options: IngestOptions) -> tuple[str, ...]:
    """Return what to say where a file states another CRS than the user does."""
    if not options.crs or crs_name(options.crs) == stated:
        return ()
    name = stated if stated.startswith("EPSG:") else crs_object(stated).name
    return (f"it states the CRS {name}, which is believed, and not --crs {options.crs}",)


def class_fields(facts: FileFacts, bands: Sequence[BandInfo]) -> dict[str, Any]:
    """Return the fields of an asset that say what its numbers stand for; none if nothing does."""
    if len(bands) != 1 or not facts.classes:
        return {}
    found: list[dict[str, Any]] = []
    for one in facts.classes:
        name = re.sub(r"[^0-9A-Za-z_-]+", "-", one.name).strip("-")
        found.append({"value": one.value, "name": name or f"class-{one.value}"})
        if one.name:
            found[-1]["description"] = one.name
        if one.colour:
            found[-1]["color_hint"] = one.colour
    return {CLASSES: found}
