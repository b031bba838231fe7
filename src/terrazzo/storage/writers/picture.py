"""Pictures for screens: PNG, WebP and JPEG of one or three bands, and NumPy arrays."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from terrazzo.cube import Kind
from terrazzo.errors import ArgumentInvalid, FormatUnsupported, suggest
from terrazzo.storage.writers.files import planes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.cube import Cube, Mask, Values

_ANCHORS = {
    "gray": ("000000", "ffffff"),
    "viridis": (
        "440154", "482777", "3f4a8a", "31678e", "26838f", "1f9d8a", "6cce5a", "b6de2b", "fee825",
    ),
    "rdylgn": ("a50026", "f46d43", "fee08b", "ffffbf", "d9ef8b", "66bd63", "006837"),
}  # fmt: skip
COLORMAPS = tuple(_ANCHORS)
"""Names of the colour maps, which are linear between a few anchor colours."""
FORMATS = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
    "npy": "application/x-npy",
}
"""Formats and their media types."""
_WHITE = 255
TINY = 1e-30
"""Width of a stretch without width: all above it is white."""


@dataclass(frozen=True, slots=True)
class Style:
    """How numbers become colours."""

    stretch: tuple[tuple[float, float], ...] = ()
    """(lowest, highest) value shown, one for all bands or one each; empty = 0..255 as it is for
    8 bit, else the band's own range in the picture, which differs from tile to tile."""
    colormap: str = "gray"
    """For one band: one of `COLORMAPS`."""


def encode_picture(cube: Cube, style: Style, format_name: str = "png") -> bytes:
    """Encode a cube of (bands, y, x) or (y, x) for a screen, or as an array.

    Args:
        cube: one band, three (red, green, blue) or four (with alpha 0..255).
        style: stretch and colours; not used by `npy`.
        format_name: one of `FORMATS`.

    Returns:
        A picture that is transparent where any of its bands has no data (JPEG: white); for `npy`
        the bytes of an array in the cube's own dtype: bands first, then 255 where valid (1 for
        booleans, 127 for int8), else 0.

    Raises:
        FormatUnsupported: no such format, or a number of bands that is no picture.
        ArgumentInvalid: the stretch does not fit the bands, or no such colour map.
    """
    if any(d.kind is Kind.TEMPORAL and len(d.labels) > 1 for d in cube.dimensions):
        raise FormatUnsupported("A picture shows one date. Choose one, or reduce over time first.")
    values, valid = planes(cube)
    return encode(values[0], valid[0], style, format_name)


def encode(values: Values, valid: Mask, style: Style, format_name: str = "png") -> bytes:
    """Encode (band, y, x) values and their mask; see `encode_picture`."""
    name = {"jpg": "jpeg"}.get(format_name.lower(), format_name.lower())
    if name not in FORMATS:
        raise FormatUnsupported(
            f"There is no picture format {format_name!r}.{suggest(name, tuple(FORMATS))} There "
            f"are {', '.join(FORMATS)}."
        )
    if name == "npy":
        return _npy(values, valid)
    rgba = to_rgba(values, valid, style)
    image = Image.fromarray(rgba)
    out = io.BytesIO()
    if name == "jpeg":
        rgba[rgba[..., 3] == 0] = _WHITE
        Image.fromarray(np.ascontiguousarray(rgba[..., :3])).save(out, "JPEG", quality=85)
    elif name == "webp":
        image.save(out, "WEBP", lossless=True, method=1)
    else:
        image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def to_rgba(values: Values, valid: Mask, style: Style) -> NDArray[np.uint8]:
    """Return (y, x, 4) colours of (band, y, x) values; alpha 0 where any band has no data.

    Raises:
        FormatUnsupported: a number of bands other than 1, 3 and 4.
        ArgumentInvalid: the stretch does not fit the bands, or no such colour map.
    """
    count = values.shape[0]
    if count not in {1, 3, 4}:
        raise FormatUnsupported(f"A picture has 1, 3 or 4 bands, not {count}. Choose `bands`.")
    shown = 3 if count == 4 else count  # noqa: PLR2004 - the fourth is alpha
    ranges = style.stretch * shown if len(style.stretch) == 1 else style.stretch
    if ranges and len(ranges) != shown:
        raise ArgumentInvalid(f"{shown} bands need 1 or {shown} ranges, not {len(style.stretch)}.")
    scaled = [
        _scaled(values[band], valid[band], ranges[band] if ranges else None)
        for band in range(shown)
    ]
    whole = valid.all(axis=0)
    if values.dtype.kind == "f":
        whole = whole & ~np.isnan(values).any(axis=0)
    rgba = np.empty((*values.shape[1:], 4), np.uint8)
    if shown == 1:
        rgba[..., :3] = _table(style.colormap)[scaled[0]]
    else:
        rgba[..., :3] = np.stack(scaled, axis=-1)
    alpha = values[3].astype(np.uint8) if count == 4 else np.uint8(_WHITE)  # noqa: PLR2004
    rgba[..., 3] = np.where(whole, alpha, np.uint8(0))
    rgba[~whole] = 0
    return rgba


def _scaled(band: Values, valid: Mask, limits: tuple[float, float] | None) -> NDArray[np.uint8]:
    """Return 0..255; equal limits show what is above them as 255."""
    if limits is None:
        if band.dtype == np.uint8:
            return np.asarray(band, dtype=np.uint8)
        seen = band[valid & np.isfinite(band)] if band.dtype.kind == "f" else band[valid]
        limits = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    low, high = limits
    if not (np.isfinite(low) and np.isfinite(high)) or high < low:
        raise ArgumentInvalid(f"A stretch goes from low to high, not from {low} to {high}.")
    wide = band.dtype.kind in "iu" and band.dtype.itemsize > 2  # noqa: PLR2004 - bytes
    numbers: NDArray[Any] = band.astype(np.float64 if wide else np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        unit = (numbers - numbers.dtype.type(low)) * numbers.dtype.type(
            _WHITE / (high - low or TINY)
        )
        clipped = np.nan_to_num(np.clip(unit, 0, _WHITE), nan=0.0)
    rounded: NDArray[np.uint8] = np.asarray(clipped + numbers.dtype.type(0.5), dtype=np.uint8)
    return rounded


@lru_cache(maxsize=16)
def _table(name: str) -> NDArray[np.uint8]:
    """Return the 256 colours of a map, linear between its anchors."""
    if name not in _ANCHORS:
        raise ArgumentInvalid(
            f"There is no colour map {name!r}.{suggest(name, COLORMAPS)} There are "
            f"{', '.join(COLORMAPS)}."
        )
    anchors = np.array([list(bytes.fromhex(text)) for text in _ANCHORS[name]], np.float64)
    at = np.linspace(0, len(anchors) - 1, 256)
    places = np.arange(len(anchors))
    table = np.stack([np.interp(at, places, anchors[:, i]) for i in range(3)], axis=-1)
    return np.round(table).astype(np.uint8)


def _npy(values: Values, valid: Mask) -> bytes:
    """Return the bands and, last, 255 (1 for booleans) where all of them are valid."""
    mark = np.array(1 if values.dtype.kind == "b" else 127 if values.dtype == np.int8 else _WHITE)
    last = np.where(valid.all(axis=0), mark, 0).astype(values.dtype)
    out = io.BytesIO()
    np.save(out, np.concatenate([np.where(valid, values, values.dtype.type(0)), last[None]]))
    return out.getvalue()
