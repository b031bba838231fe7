"""Resampling: pixels of a source window to the pixels that a `PixelMap` asks for.

Methods are those of openEO's `resample_spatial`. Two families:

- *Kernels* (near, bilinear, cubic, cubicspline, lanczos) look around the target's centre. Where
  the target is coarser by more than 1/0.95 the kernel is stretched by that scale, as GDAL does.
  A result is valid where the source pixel that contains the target's centre is valid, so the
  valid area is that of `near` and no-data neither grows nor shrinks (GDAL's convention with
  UNIFIED_SRC_NODATA, which gdalwarp and rasterio set). Invalid pixels around it have weight 0
  and the others are renormalised; cubic and lanczos, whose negative weights could make that
  explode, fall back to the (equally stretched) bilinear kernel there, as GDAL's cubic does.
- *Areas* (average, sum, rms, min, max, med, q1, q3, mode) look at the source pixels that overlap
  the target's footprint; average, sum and rms weigh them by the fraction of the pixel that
  overlaps, the others count each once. A result is valid where any of them is valid.

Where both lattices coincide every method but rms copies pixels. The dtype is kept: results are
rounded half away from zero and clamped to integer types, as GDAL clamps; cast first where a sum
would not fit. NaN is data and propagates. Sums are in float64 in a fixed order of pixels: equal
bits for a pixel, whichever window it is computed in.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube.areas import ORDERED, WEIGHTED, order, weigh, weigh_whole
from terrazzo.cube.kernels import KERNELS, RADII, convolve, pick_indexed, pick_separable, taps
from terrazzo.cube.pixels import all_valid, is_all_valid
from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.geo.jit import frozen
from terrazzo.geo.pixelmap import PixelMap
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from terrazzo.cube.kernels import Table
    from terrazzo.cube.pixels import Mask, Values
    from terrazzo.geo.grid import Grid, Window

    Scale = tuple[float, float]
    Floats = NDArray[np.float64]

METHODS = (*RADII, *WEIGHTED, *ORDERED)
"""Every method, as openEO's `resample_spatial` names them."""
SIGNED = frozenset({"cubic", "lanczos"})
"""Kernels with negative weights, which fall back to the bilinear one beside no-data."""
BAND_PIXELS = 1 << 15
"""Target pixels whose coordinates are in memory at once, for maps that are not separable."""
NOT_STRETCHED = 1.0 / 0.95
"""GDAL's tolerance: kernels keep their own width up to this scale."""


def support(method: str, scale: Scale) -> tuple[float, float]:
    """Return (rows, cols), in source pixels, that a method reaches beyond a target's centre.

    For area methods half the nominal footprint: good for planning a halo, while
    `source_window` is exact.

    Args:
        method: one of `METHODS`.
        scale: source pixels per target pixel (rows, cols), of `scale_between`.

    Raises:
        ArgumentInvalid: there is no such method.
    """
    _check_method(method)
    if method not in RADII:
        return scale[0] / 2, scale[1] / 2
    return RADII[method] * _stretch(scale[0]), RADII[method] * _stretch(scale[1])


def source_window(pixel_map: PixelMap, method: str, scale: Scale, within: Window) -> Window:
    """Return the source pixels that `warp` touches for this map and method.

    Args:
        pixel_map: which pixels are wanted.
        method: one of `METHODS`.
        scale: source pixels per target pixel (rows, cols), of `scale_between`.
        within: source pixels that there are.

    Raises:
        ArgumentInvalid: there is no such method.
    """
    if method in RADII:
        return pixel_map.source_window(*support(method, scale), within)
    _check_method(method)
    return pixel_map.footprint_window(within)


def warp(
    values: Values,
    valid: Mask,
    source: Window,
    pixel_map: PixelMap,
    method: str,
    scale: Scale = (1.0, 1.0),
) -> tuple[Values, Mask]:
    """Resample pixels of a source window to the target window of a map.

    Args:
        values: (..., h, w) pixels of `source`, boolean, integer or floating.
        valid: (..., h, w) mask, True = valid.
        source: which window of the map's source grid they are; what lies outside is missing,
            so give at least `source_window` of it.
        pixel_map: which pixels are wanted.
        method: one of `METHODS`; booleans only know near, min, max, med, q1, q3 and mode.
        scale: source pixels per target pixel (rows, cols), of `scale_between`.

    Returns:
        (..., H, W) values of the same dtype, 0 where invalid, and their mask. Both may be views
        of the arguments where the lattices coincide.

    Raises:
        ArgumentInvalid: no such method, or one that the dtype does not know.
    """
    _check_method(method)
    _check_dtype(values.dtype, method)
    with span("warp"):
        if pixel_map.offset is not None and method != "rms":
            return _cut(values, valid, source, pixel_map.window.shifted(*pixel_map.offset))
        if method == "near" or (pixel_map.coincident and method != "rms"):
            return _near(values, valid, source, pixel_map)
        *outer, height, width = values.shape
        shape = (*outer, pixel_map.window.height, pixel_map.window.width)
        layers = frozen(_computable(values).reshape(math.prod(outer), height, width))
        mask = _layered(valid, values.shape)
        out = np.zeros((layers.shape[0], *shape[-2:]), dtype=layers.dtype)
        out_valid = np.zeros(out.shape, dtype=np.bool_)
        filled = 0
        if out.size and layers.size:
            resample = _kernel if method in KERNELS else _area
            filled = resample(layers, mask, source, pixel_map, method, scale, out, out_valid)
        out = out.astype(values.dtype, copy=False).reshape(shape)
        everywhere = bool(out.size) and filled == out.size
        return out, all_valid(shape) if everywhere else out_valid.reshape(shape)


def _layered(valid: Mask, shape: tuple[int, ...]) -> Mask:
    """Return a mask as (n, h, w), or (n, 0, 0) where all is valid."""
    count = math.prod(shape[:-2])
    if is_all_valid(valid):
        return frozen(np.empty((count, 0, 0), dtype=np.bool_))
    return frozen(np.broadcast_to(valid, shape).reshape(count, *shape[-2:]))


def _cut(values: Values, valid: Mask, source: Window, wanted: Window) -> tuple[Values, Mask]:
    shared = source.intersection(wanted)
    inside = (..., *source.slices(shared))
    if shared == wanted and not shared.is_empty:
        return values[inside], valid[inside]
    shape = (*values.shape[:-2], wanted.height, wanted.width)
    out, out_valid = np.zeros(shape, dtype=values.dtype), np.zeros(shape, dtype=np.bool_)
    if not shared.is_empty:
        at = (..., *wanted.slices(shared))
        out_valid[at] = valid[inside]
        out[at] = np.where(valid[inside], values[inside], np.zeros((), dtype=values.dtype))
    return out, out_valid


def _near(values: Values, valid: Mask, source: Window, pixel_map: PixelMap) -> tuple[Values, Mask]:
    """Copy the pixels that contain the targets' centres; a view where they all are as they are."""
    lookup = pixel_map.lookup(source)
    needed = (..., *source.slices(lookup.window))
    if lookup.direct and is_all_valid(valid[needed]):
        return values[needed], valid[needed]
    *outer, _, _ = values.shape
    shape = (*outer, pixel_map.window.height, pixel_map.window.width)
    out, out_valid = np.zeros(shape, dtype=values.dtype), np.zeros(shape, dtype=np.bool_)
    if not out.size or lookup.window.is_empty:
        return out, out_valid
    count, bits = math.prod(outer), np.dtype(f"u{values.dtype.itemsize}")
    # Numbers are only moved, so those of a size share a kernel.
    there = np.ascontiguousarray(values[needed]).view(bits)
    layers = frozen(there.reshape(count, *there.shape[-2:]))
    mask = _layered(valid[needed], there.shape)
    parts = out.view(bits).reshape(count, *shape[-2:]), out_valid.reshape(count, *shape[-2:])
    if pixel_map.separable:
        filled = pick_separable(layers, mask, lookup.rows, lookup.cols, *parts)
    else:
        flat = layers.reshape(count, -1), mask.reshape(count, mask[:1].size)
        filled = pick_indexed(*flat, lookup.index, *parts)
    return out, all_valid(shape) if filled == out.size else out_valid


def _kernel(
    layers: Values,
    mask: Mask,
    source: Window,
    pixel_map: PixelMap,
    method: str,
    scale: Scale,
    out: Values,
    out_valid: Mask,
) -> int:
    start, limits = (source.row, source.col), _limits(layers.dtype)
    height, width = out.shape[1:]
    widths = [(RADII[method] * _stretch(s), _stretch(s)) for s in scale]
    kernel = (KERNELS[method], widths[0], widths[1], method in SIGNED)
    if pixel_map.separable:
        key = pixel_map.target, pixel_map.window, pixel_map.source
        tables = _tables(*key, method, scale)
        nowhere = np.empty((0, 0)), np.empty((0, 0))
        return convolve(layers, mask, start, nowhere, *tables, kernel, limits, out, out_valid)
    filled = 0
    tables = _blank(width, method, scale[0]), _blank(width, method, scale[1])
    for first, stop in _bands(height, width):
        at = pixel_map.centres_of(first, stop)
        parts = out[:, first:stop], out_valid[:, first:stop]
        filled += convolve(layers, mask, start, at, *tables, kernel, limits, *parts)
    return filled


def _bands(height: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(BAND_PIXELS // max(width, 1), 1)
    for row in range(0, height, step):
        yield row, min(row + step, height)


@lru_cache(maxsize=32)
def _tables(
    target: Grid, window: Window, source: Grid, method: str, scale: Scale
) -> tuple[Table, Table]:
    """Return the taps of each row and of each column of a separable map.

    Each has about 8 bytes x the diameter of the kernel x the source pixels across the window.
    """
    rows, cols = PixelMap.between(target, window, source).centres
    return _taps(rows, method, scale[0]), _taps(cols, method, scale[1])


def _taps(at: Floats, method: str, scale: float) -> Table:
    stretch = _stretch(scale)
    table = _blank(at.size, method, scale)
    taps(at, KERNELS[method], (RADII[method] * stretch, stretch), 0, *table)
    if method in SIGNED:
        taps(at, KERNELS["bilinear"], (stretch, stretch), 1, *table)
    return table


def _blank(size: int, method: str, scale: float) -> Table:
    """Return room for the taps of a kernel and of the one that it falls back to."""
    count = math.ceil(2 * RADII[method] * _stretch(scale))
    inside, first = np.empty(size, dtype=np.int64), np.empty((2, size), dtype=np.int64)
    return inside, first, np.zeros((2, size, count), dtype=np.float64)


def _area(
    layers: Values,
    mask: Mask,
    source: Window,
    pixel_map: PixelMap,
    method: str,
    _scale: Scale,
    out: Values,
    out_valid: Mask,
) -> int:
    start, limits = (source.row, source.col), _limits(layers.dtype)
    height, width = out.shape[1:]
    separable, filled = pixel_map.separable, 0
    for first, stop in [(0, height)] if separable else _bands(height, width):
        area = pixel_map.footprints_of(first, stop)
        rows = frozen(area.row_lo.ravel()), frozen(area.row_hi.ravel())
        cols = frozen(area.col_lo.ravel()), frozen(area.col_hi.ravel())
        where = layers, mask, start, rows, cols
        parts = out[:, first:stop], out_valid[:, first:stop]
        if method in ORDERED:
            filled += order(*where, separable, ORDERED[method], *parts)
        elif separable and all(_is_whole(edge) for edge in (*rows, *cols)):
            filled += weigh_whole(*where, WEIGHTED[method], limits, *parts)
        else:
            filled += weigh(*where, separable, WEIGHTED[method], limits, *parts)
    return filled


def _is_whole(edges: Floats) -> bool:
    return bool((np.isfinite(edges) & (edges == np.floor(edges))).all())


def _stretch(scale: float) -> float:
    return scale if scale > NOT_STRETCHED else 1.0


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return least and greatest float64 that an integer type holds; (1, 0) for other types."""
    if dtype.kind not in "iu":
        return 1.0, 0.0
    low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    too_high = int(high) > np.iinfo(dtype).max
    return low, math.nextafter(high, 0.0) if too_high else high


def _computable(values: Values) -> Values:
    """Return values in a dtype that kernels know: float16 computes as float32."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise ArgumentInvalid(
            f"{method!r} is no resampling method.{suggest(method, METHODS)} "
            f"Use one of: {', '.join(METHODS)}."
        )


def _check_dtype(dtype: np.dtype[Any], method: str) -> None:
    if dtype.kind in "iuf" or (dtype.kind == "b" and (method == "near" or method in ORDERED)):
        return
    fit = (
        ", ".join(("near", *ORDERED)) if dtype.kind == "b" else "none; cast to a number type first"
    )
    raise ArgumentInvalid(
        f"{method!r} does not know values of type {dtype}. Methods for them: {fit}."
    )
