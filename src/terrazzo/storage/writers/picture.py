"""Pictures for screens: PNG, WebP and JPEG of one or three bands, and NumPy arrays."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.cube import Kind
from terrazzo.errors import ArgumentInvalid, FormatUnsupported, suggest
from terrazzo.geo.jit import frozen
from terrazzo.spans import span
from terrazzo.storage.writers.colors import (
    Colors,
    Stops,
    class_table,
    stop_table,
    table_of,
)
from terrazzo.storage.writers.files import planes
from terrazzo.storage.writers.picture_kernels import shade
from terrazzo.storage.writers.png import COLOURS, png

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.cube import Cube, Mask, Values

    Bytes = NDArray[np.uint8]
    Ranges = tuple[tuple[float, float], ...]

FORMATS = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
    "npy": "application/x-npy",
}
"""Formats and their media types."""
LEAST_GAMMA, MOST_GAMMA = 0.05, 20.0
_WHITE = 255
TINY = 1e-30
"""Width of a stretch without width: all above it is white."""


@dataclass(frozen=True, slots=True)
class Style:
    """How numbers become colours."""

    stretch: tuple[tuple[float, float], ...] = ()
    """(lowest, highest) value shown, one for all bands or one each; empty = 0..255 as it is for
    8 bit, else the band's own range in the picture, which differs from tile to tile."""
    colormap: Colors = "gray"
    """For one band: a name that `colors.colormap` knows, stops, or classes."""
    gamma: float = 1.0
    """Of the stretch: its middle is brighter above 1, darker below. Stops and classes have none."""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ArgumentInvalid: gamma is no factor that can be seen.
        """
        if not LEAST_GAMMA <= self.gamma <= MOST_GAMMA:
            raise ArgumentInvalid(
                f"gamma goes from {LEAST_GAMMA} to {MOST_GAMMA}, and is not {self.gamma}."
            )


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
    with span("encode"):
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
    if name == "png":
        return _png(values, valid, style)
    rgba = to_rgba(values, valid, style)
    return _webp(rgba) if name == "webp" else _jpeg(rgba)


@lru_cache(maxsize=16)
def empty_picture(format_name: str, height: int, width: int) -> bytes:
    """Return a wholly transparent picture, `png` or `webp`, or a white one, `jpeg`."""
    if format_name == "png":
        return png(np.zeros((height, width, 1), np.uint8), np.zeros((1, 3), np.uint8), 0)
    rgba = np.zeros((height, width, 4), np.uint8)
    return _webp(rgba) if format_name == "webp" else _jpeg(rgba)


def to_rgba(values: Values, valid: Mask, style: Style) -> Bytes:
    """Return (y, x, 4) colours of (band, y, x) values; alpha 0 where any band has no data.

    A value becomes (value - low) 255 / (high - low), clipped to 0..255 and rounded half up, in
    float32, or in float64 for integers of more than 16 bit; with gamma the part of the range that
    it is at is raised to 1 / gamma before. Stops and classes say themselves what a value becomes.

    Raises:
        FormatUnsupported: a number of bands other than 1, 3 and 4.
        ArgumentInvalid: the stretch does not fit the bands, or no such colour map.
    """
    if values.shape[0] == 1:
        indices, _, _ = _shaded(values, valid, style, 2)
        opaque = np.full((COLOURS, 4), _WHITE, np.uint8)
        opaque[:, :3] = table_of(style.colormap)
        colours = np.where(indices[..., 1] > 0, opaque.view(np.uint32)[indices[..., 0], 0], 0)
        return colours[..., np.newaxis].astype(np.uint32, copy=False).view(np.uint8)
    rgba, _, _ = _shaded(values, valid, style, 4)
    if values.shape[0] == 4:  # noqa: PLR2004 - the fourth is alpha
        with np.errstate(invalid="ignore"):
            alpha = values[3].astype(np.uint8)
        rgba[..., 3] = np.where(rgba[..., 3] > 0, alpha, np.uint8(0))
    return rgba


def _shaded(values: Values, valid: Mask, style: Style, channels: int) -> tuple[Bytes, int, int]:
    """Return (y, x, channel) bytes, how many pixels are whole, and how many of these all 0.

    Whole is what has data in all bands. The channels are the bands, 0..255, and then 255; what is
    not whole is 0.
    """
    count = values.shape[0]
    if count not in {1, 3, 4}:
        raise FormatUnsupported(f"A picture has 1, 3 or 4 bands, not {count}. Choose `bands`.")
    shown = min(count, 3)
    values, valid, style = _placed(values, valid, style)
    ranges = style.stretch * shown if len(style.stretch) == 1 else style.stretch
    if ranges and len(ranges) != shown:
        raise ArgumentInvalid(f"{shown} bands need 1 or {shown} ranges, not {len(style.stretch)}.")
    ranges = ranges or tuple(_range(values[band], valid[band]) for band in range(shown))
    for low, high in ranges:
        if not (math.isfinite(low) and math.isfinite(high)) or high < low:
            raise ArgumentInvalid(f"A stretch goes from low to high, not from {low} to {high}.")
    if style.gamma != 1.0:
        values = _bent(values, ranges, style.gamma)
        ranges = ((0.0, 1.0),) * shown
    wide = values.dtype.kind in "iu" and values.dtype.itemsize > 2  # noqa: PLR2004 - bytes
    kind = np.dtype(np.float64 if wide else np.float32)
    with np.errstate(over="ignore"):
        lows = np.array([low for low, _ in ranges]).astype(kind)
        scales = np.array([_WHITE / (high - low or TINY) for low, high in ranges]).astype(kind)
    known = values.astype(np.float32) if values.dtype == np.float16 else values
    out = np.empty((*values.shape[1:], channels), np.uint8)
    whole, black = shade(frozen(known), frozen(valid), lows, scales, out)
    return out, whole, black


def _placed(values: Values, valid: Mask, style: Style) -> tuple[Values, Mask, Style]:
    """Return positions in the table of colours in place of values that stops or classes colour."""
    colors, whole = style.colormap, ((0.0, float(_WHITE)),)
    if len(values) > 1 or isinstance(colors, str):
        return values, valid, style
    if isinstance(colors, Stops):
        at, positions, _ = stop_table(colors)
        placed = np.interp(values.astype(np.float64), at, positions).astype(np.float32)
        return placed, valid, Style(whole, colors)
    known, _ = class_table(colors)
    found = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return found.astype(np.uint8), valid & (known[found] == values), Style(whole, colors)


def _bent(values: Values, ranges: Ranges, gamma: float) -> Values:
    """Return ((value - low) / (high - low)) ** (1 / gamma) of the bands that are shown."""
    out = values.astype(np.float32)
    for band, (low, high) in enumerate(ranges):
        unit = (values[band].astype(np.float64) - low) / (high - low or TINY)
        out[band] = np.clip(unit, 0.0, 1.0) ** (1.0 / gamma)
    return out


def _range(band: Values, valid: Mask) -> tuple[float, float]:
    """Return the range of a band that was given none: 0..255 of 8 bit, else its own."""
    if band.dtype == np.uint8:
        return 0.0, float(_WHITE)
    seen = band[valid & np.isfinite(band)] if band.dtype.kind == "f" else band[valid]
    return (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)


def _png(values: Values, valid: Mask, style: Style) -> bytes:
    """Return a PNG of as few channels as have the same colours as `to_rgba`."""
    count, height, width = values.shape
    if count == 4:  # noqa: PLR2004 - with alpha
        return png(to_rgba(values, valid, style))
    pixels, whole, black = _shaded(values, valid, style, 2 if count == 1 else 3)
    if whole == 0:
        return empty_picture("png", height, width)
    if count == 1:
        table, clear = table_of(style.colormap).copy(), None
        indices = pixels[..., :1]
        if whole < height * width:
            free = np.flatnonzero(np.bincount(indices.ravel(), minlength=COLOURS) == 0)
            if black == 0:
                clear = 0
            elif free.size:
                clear = int(free[0])
                indices = np.where(pixels[..., 1:] > 0, indices, np.uint8(clear))
            else:
                return png(to_rgba(values, valid, style))
            table[clear] = 0
        return png(indices, table, clear)
    if whole == height * width:
        return png(pixels)
    return png(pixels, clear=0) if black == 0 else png(to_rgba(values, valid, style))


def _webp(rgba: Bytes) -> bytes:
    from PIL import Image  # noqa: PLC0415 - loads for longer than a tile takes

    out = io.BytesIO()
    Image.fromarray(rgba).save(out, "WEBP", lossless=True, method=1)
    return out.getvalue()


def _jpeg(rgba: Bytes) -> bytes:
    from PIL import Image  # noqa: PLC0415 - as above

    rgba[rgba[..., 3] == 0] = _WHITE
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgba[..., :3])).save(out, "JPEG", quality=85)
    return out.getvalue()


def _npy(values: Values, valid: Mask) -> bytes:
    """Return the bands and, last, 255 (1 for booleans) where all of them are valid."""
    mark = np.array(1 if values.dtype.kind == "b" else 127 if values.dtype == np.int8 else _WHITE)
    last = np.where(valid.all(axis=0), mark, 0).astype(values.dtype)
    out = io.BytesIO()
    np.save(out, np.concatenate([np.where(valid, values, values.dtype.type(0)), last[None]]))
    return out.getvalue()
