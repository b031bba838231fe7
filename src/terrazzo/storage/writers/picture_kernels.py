"""Compiled loops of pictures; `picture` and `png` are their only callers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Layers = NDArray[Any]
    Masks = NDArray[np.bool_]

LARGEST = 255


@jit
def shade(  # noqa: C901 - loops, one after the other
    values: Layers, valid: Masks, low: Layers, scale: Layers, out: Bytes
) -> tuple[int, int]:
    """Write (value - low) scale, clipped to 0..255 and rounded half up.

    Args:
        values: (band, y, x) numbers; NaN is no data.
        valid: (band, y, x) mask.
        low: (shown,) value that becomes 0, in the type that is computed in.
        scale: (shown,) factors, of the same type.
        out: (y, x, channel) output, 0 where a band has no data. Channels after the shown ones
            are 255 elsewhere.

    Returns:
        How many pixels have data in all bands, and how many of these are 0 in all of them.
    """
    count, height, width = values.shape
    shown, channels = low.size, out.shape[2]
    zero, half, top = low.dtype.type(0), low.dtype.type(0.5), low.dtype.type(LARGEST)
    # Row by row and band by band without branches, so that the compiler makes vectors of it.
    there, row = np.empty(width, np.uint8), np.empty((channels, width), np.uint8)
    lit = np.empty(width, np.uint8)
    whole = bright = 0
    for y in range(height):
        there[:] = 1
        lit[:] = 0
        for band in range(count):
            for x in range(width):
                value = values[band, y, x]
                there[x] &= np.uint8(valid[band, y, x]) & np.uint8(value == value)  # noqa: PLR0124 - NaN
        for band in range(shown):
            for x in range(width):
                unit = (low.dtype.type(values[band, y, x]) - low[band]) * scale[band]
                unit = unit if unit > zero else zero  # noqa: FURB136 - and 0 for NaN
                unit = unit if unit < top else top  # noqa: FURB136 - numba's min is slower
                row[band, x] = np.uint8(np.int32(unit + half)) * there[x]
                lit[x] |= row[band, x]
        for band in range(shown, channels):
            for x in range(width):
                row[band, x] = there[x] * np.uint8(LARGEST)
        for x in range(width):
            whole += there[x]
            bright += lit[x] > 0
        for x in range(width):
            for band in range(channels):
                out[y, x, band] = row[band, x]
    return whole, whole - bright


@jit
def paeth(pixels: Bytes, out: Bytes) -> None:
    """Write what is left of each byte when a neighbour has told it: PNG's filter 4 in every row.

    Args:
        pixels: (y, x, channel) bytes.
        out: (y, 1 + x channels) output: the filter's number, then the row.

    Source:
        W3C, Portable Network Graphics 3, section 9.4.
    """
    height, width, channels = pixels.shape
    rows = pixels.reshape(height, width * channels)
    for y in range(height):
        out[y, 0] = 4
        for i in range(width * channels):
            left = np.int32(rows[y, i - channels]) if i >= channels else np.int32(0)
            above = np.int32(rows[y - 1, i]) if y > 0 else np.int32(0)
            corner = np.int32(rows[y - 1, i - channels]) if y > 0 and i >= channels else np.int32(0)
            to_left, to_above = abs(above - corner), abs(left - corner)
            to_corner = abs(left + above - corner - corner)
            told = above if to_above <= to_corner else corner
            if to_left <= to_above and to_left <= to_corner:
                told = left
            out[y, i + 1] = np.uint8(np.int32(rows[y, i]) - told)
