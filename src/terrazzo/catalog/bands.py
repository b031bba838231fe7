"""Bands: one description of pixels, read from every layout that STAC has had.

STAC 1.1 has `bands` with `data_type`, `nodata` and prefixed extension fields; STAC 1.0 had
`eo:bands` and `raster:bands` side by side, one entry of each per band.
"""

from __future__ import annotations

import marshal
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOT_PIXELS: Final = {"thumbnail", "overview", "metadata", "tiles", "index"}
_OWN: Final = frozenset(
    (
        "href", "title", "description", "created", "updated", "alternate", "file:size",
        "file:checksum", "file:local_path", "proj:transform", "proj:bbox", "proj:geometry",
        "proj:centroid", "proj:shape", "terrazzo:header",
    )
)  # fmt: skip
"""What assets say of themselves and not of their bands."""
_EXACT: Final = 2
"""Version of `marshal` in which equal JSON values are equal bytes, and no others."""
_RASTER_TYPES: Final = ("image/tiff", "image/jp2", "image/vnd.stac.geotiff")


@dataclass(frozen=True, slots=True)
class BandInfo:
    """What is known of a band without opening a file; physical value = pixel * scale + offset."""

    name: str
    """Name by which graphs address it, for example `B04`."""
    dtype: str = ""
    """Type of the stored pixels in NumPy's words, for example `uint16`; empty if unknown."""
    nodata: float | None = None
    """Stored value that means no data; may be NaN; None if there is none."""
    scale: float = 1.0
    """Factor from stored to physical values."""
    offset: float = 0.0
    """Added after scaling."""
    common_name: str = ""
    """STAC common name, for example `nir`; empty if there is none."""
    wavelength_um: float | None = None
    """Centre wavelength, micrometres."""
    gsd_m: float | None = None
    """Ground sample distance, metres."""
    description: str = ""
    """For people; empty if there is none."""
    unit: str = ""
    """Unit of the physical values, for example `K`; empty if none is stated."""


def band_document(band: BandInfo) -> dict[str, Any]:
    """Write a band as a STAC 1.1 `bands` entry; what is unknown or neutral is left out."""
    found: dict[str, Any] = {"name": band.name}
    if band.description:
        found["description"] = band.description
    if band.dtype:
        found["data_type"] = band.dtype
    if band.nodata is not None:
        found["nodata"] = _written(band.nodata)
    if band.unit:
        found["unit"] = band.unit
    if band.scale != 1.0 or band.offset != 0.0:
        found["raster:scale"] = _written(band.scale)
        found["raster:offset"] = _written(band.offset)
    if band.common_name:
        found["eo:common_name"] = band.common_name
    if band.wavelength_um is not None and math.isfinite(band.wavelength_um):
        found["eo:center_wavelength"] = band.wavelength_um
    if band.gsd_m is not None and math.isfinite(band.gsd_m):
        found["gsd"] = band.gsd_m
    return found


def _written(number: float) -> float | str:
    """Return a number, or the text that stands for one that JSON lacks."""
    return number if math.isfinite(number) else str(float(number))


def read_bands(document: Mapping[str, Any], key: str = "") -> tuple[BandInfo, ...]:
    """Read the bands of a collection, an item or an asset, in order, each name once.

    Of bands with one name the first counts, and what it leaves open is filled from later ones. An
    asset that is a raster but describes no band is one band, named by the asset's key.

    Args:
        document: STAC 1.0 or 1.1 collection, item, asset, or entry of `item_assets`.
        key: the asset's key, if `document` is an asset; names bands that have no name.

    Returns:
        The bands; empty if there are none.

    Raises:
        ArgumentInvalid: a number or list in a band description is none.
    """
    if document.get("type") == "Collection" or "extent" in document:
        return _collection_bands(document)
    if "assets" in document:
        found = _of_assets(_mapping(document, "assets"))
        own = document.get("properties")
        if not found and isinstance(own, Mapping):
            return _described(own, "")
        return found
    return _asset_bands(document, key)


def asset_bands(asset: Mapping[str, Any], key: str) -> tuple[BandInfo, ...]:
    """Read the bands of an asset like `read_bands`; those that are alike are read once.

    Args:
        asset: of a STAC item.
        key: its key.

    Raises:
        ArgumentInvalid: see `read_bands`.
    """
    told = {name: value for name, value in asset.items() if name not in _OWN}
    try:
        return _alike(marshal.dumps(told, _EXACT), key)
    except ValueError:  # deeper than is worth a thought
        return _asset_bands(asset, key)


@lru_cache(maxsize=4096)
def _alike(text: bytes, key: str) -> tuple[BandInfo, ...]:
    return _asset_bands(marshal.loads(text), key)  # noqa: S302 - written above


def _collection_bands(collection: Mapping[str, Any]) -> tuple[BandInfo, ...]:
    """Read a collection: its own bands, else its item assets, summaries or cube dimension."""
    summaries = _mapping(collection, "summaries")
    for found in (
        _described(collection, ""),
        _of_assets(_mapping(collection, "item_assets")),
        _described(summaries, ""),
        _of_assets(_mapping(collection, "assets")),
    ):
        if found:
            return found
    for dimension in _mapping(collection, "cube:dimensions").values():
        if isinstance(dimension, Mapping) and dimension.get("type") == "bands":
            return tuple(BandInfo(str(name)) for name in dimension.get("values") or ())
    return ()


def _of_assets(assets: Mapping[str, Any]) -> tuple[BandInfo, ...]:
    """Read all assets of an item or collection."""
    return _merged(
        band
        for key, asset in assets.items()
        if isinstance(asset, Mapping)
        for band in _asset_bands(asset, key)
    )


def _asset_bands(asset: Mapping[str, Any], key: str) -> tuple[BandInfo, ...]:
    """Read one asset."""
    roles = set(asset.get("roles") or ())
    if roles & _NOT_PIXELS and "data" not in roles:
        return ()
    found = _described(asset, key)
    if found or not key or not str(asset.get("type") or "").startswith(_RASTER_TYPES):
        return found
    return (_band({}, asset, key),)


def _described(owner: Mapping[str, Any], key: str) -> tuple[BandInfo, ...]:
    """Read the band lists of an object; fields of the object itself hold for all its bands."""
    bands = _list(owner, "bands")
    if bands is None:
        electro, raster = _list(owner, "eo:bands"), _list(owner, "raster:bands")
        count = max(len(electro or ()), len(raster or ()))
        pad: list[Mapping[str, Any]] = [{}] * count
        pairs = zip((electro or []) + pad, (raster or []) + pad, strict=False)
        bands = [{**rest, **first} for (first, rest), _ in zip(pairs, pad, strict=False)]
    several = len(bands) > 1
    names = [
        f"{key or 'band'}_{n}" if several or not key else key for n in range(1, len(bands) + 1)
    ]
    return _merged(_band(one, owner, name) for one, name in zip(bands, names, strict=True))


def _band(band: Mapping[str, Any], owner: Mapping[str, Any], name: str) -> BandInfo:
    """Read one band; `owner` holds what it inherits, `name` names it if nothing else does."""

    def number(*fields: str) -> float | None:
        for source in (band, owner):
            for field in fields:
                if source.get(field) is not None and not isinstance(source[field], (list, dict)):
                    return _number(source[field], field, name)
        return None

    scale, offset = number("raster:scale", "scale"), number("raster:offset", "offset")
    gsd = number("gsd", "raster:spatial_resolution", "spatial_resolution")
    own = band.get("name") or name
    return BandInfo(
        name=str(own),
        dtype=str(band.get("data_type") or owner.get("data_type") or ""),
        nodata=number("nodata"),
        scale=1.0 if scale is None else scale,
        offset=0.0 if offset is None else offset,
        common_name=str(band.get("eo:common_name") or band.get("common_name") or ""),
        wavelength_um=number("eo:center_wavelength", "center_wavelength"),
        gsd_m=gsd,
        description=str(band.get("description") or ""),
        unit=str(band.get("unit") or owner.get("unit") or ""),
    )


def _number(value: object, field: str, band: str) -> float:
    """Read a number, or the text `nan`, `inf` or `-inf` that JSON needs for those."""
    try:
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return float(value)
    except (ValueError, OverflowError):
        pass
    raise ArgumentInvalid(f"Band {band!r}: {field} {value!r} is not a number, 'nan' or 'inf'.")


def _list(owner: Mapping[str, Any], field: str) -> list[Mapping[str, Any]] | None:
    """Return a list of objects, None where it is missing or not one (seen in the wild)."""
    value = owner.get(field)
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        return None
    return value


def _mapping(owner: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """Return an object, empty where it is missing or not one."""
    value = owner.get(field)
    return value if isinstance(value, Mapping) else {}


def _merged(bands: Iterable[BandInfo]) -> tuple[BandInfo, ...]:
    """Keep each name once; the first counts and later ones fill what it leaves open."""
    found: dict[str, BandInfo] = {}
    for band in bands:
        first = found.setdefault(band.name, band)
        if first is not band:
            plain = (first.scale, first.offset) == (1.0, 0.0) and not first.dtype
            found[band.name] = replace(
                first,
                dtype=first.dtype or band.dtype,
                nodata=band.nodata if first.nodata is None else first.nodata,
                scale=band.scale if plain else first.scale,
                offset=band.offset if plain else first.offset,
                common_name=first.common_name or band.common_name,
                wavelength_um=first.wavelength_um or band.wavelength_um,
                gsd_m=first.gsd_m or band.gsd_m,
                description=first.description or band.description,
                unit=first.unit or band.unit,
            )
    return tuple(found.values())


def merge_bands(*several: Iterable[BandInfo]) -> tuple[BandInfo, ...]:
    """Join lists of bands: each name once, in order of first appearance."""
    return _merged(band for bands in several for band in bands)
