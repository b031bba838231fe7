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
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube.kernels import (
    FAR,
    KERNELS,
    NOWHERE,
    ORDERED,
    RADII,
    WEIGHTED,
    convolve,
    order,
    pick,
    taps,
    weigh,
)
from terrazzo.cube.pixels import is_all_valid
from terrazzo.errors import ArgumentInvalid, suggest
from terrazzo.geo.jit import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from terrazzo.cube.pixels import Mask, Values
    from terrazzo.geo.grid import Window
    from terrazzo.geo.pixelmap import PixelMap

    Scale = tuple[float, float]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Taps = tuple[Ints, Ints, Floats, Ints, Floats]

METHODS = (*RADII, *WEIGHTED, *ORDERED)
"""Every method, as openEO's `resample_spatial` names them."""
TABLE_PIXELS = 1 << 16
"""Target pixels whose kernel weights are in memory at once, for maps that are not separable."""
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
    if pixel_map.offset is not None and method != "rms":
        return _cut(values, valid, source, pixel_map.window.shifted(*pixel_map.offset))
    *outer, height, width = values.shape
    shape = (*outer, pixel_map.window.height, pixel_map.window.width)
    count = math.prod(outer)
    layers = frozen(_computable(values).reshape(count, height, width))
    mask = np.empty((count, 0, 0), dtype=np.bool_)
    if not is_all_valid(valid):
        mask = np.broadcast_to(valid, values.shape).reshape(count, height, width)
    mask = frozen(mask)
    out = np.zeros((count, *shape[-2:]), dtype=layers.dtype)
    out_valid = np.zeros(out.shape, dtype=np.bool_)
    if out.size and layers.size:
        if method == "near" or (pixel_map.coincident and method != "rms"):
            _near(layers, mask, source, pixel_map, out, out_valid)
        elif method in KERNELS:
            _kernel(layers, mask, source, pixel_map, method, scale, out, out_valid)
        else:
            _area(layers, mask, source, pixel_map, method, out, out_valid)
    return out.astype(values.dtype, copy=False).reshape(shape), out_valid.reshape(shape)


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


def _near(
    layers: Values, mask: Mask, source: Window, pixel_map: PixelMap, out: Values, out_valid: Mask
) -> None:
    rows, cols = pixel_map.centres
    indices = _containing(rows, source.row), _containing(cols, source.col)
    pick(layers, mask, *indices, pixel_map.separable, out, out_valid)


def _containing(at: Floats, start: int) -> Ints:
    with np.errstate(invalid="ignore"):
        near = np.abs(at) < FAR
    return (
        np.where(near, np.floor(np.where(near, at, 0.0)) - start, NOWHERE).astype(np.int64).ravel()
    )


def _kernel(
    layers: Values,
    mask: Mask,
    source: Window,
    pixel_map: PixelMap,
    method: str,
    scale: Scale,
    out: Values,
    out_valid: Mask,
) -> None:
    rows, cols = pixel_map.centres
    height, width = out.shape[1:]
    signed = method in {"cubic", "lanczos"}
    limits = _limits(layers.dtype)
    if pixel_map.separable:
        tables = (
            _tables(rows, method, scale[0], source.row),
            _tables(cols, method, scale[1], source.col),
        )
        convolve(layers, mask, *tables, True, signed, limits, out, out_valid)
        return
    for band in _bands(height, width):
        tables = (
            _tables(rows[band].ravel(), method, scale[0], source.row),
            _tables(cols[band].ravel(), method, scale[1], source.col),
        )
        parts = out[:, band], out_valid[:, band]
        convolve(layers, mask, *tables, False, signed, limits, *parts)


def _bands(height: int, width: int) -> Iterator[slice]:
    step = max(TABLE_PIXELS // max(width, 1), 1)
    for row in range(0, height, step):
        yield slice(row, min(row + step, height))


def _tables(at: Floats, method: str, scale: float, start: int) -> Taps:
    stretch = _stretch(scale)
    first, centre, weights = _taps(at, method, stretch)
    shift = np.where(centre == NOWHERE, 0, start)
    fallback = (first, weights)
    if method in {"cubic", "lanczos"}:
        fallback = _taps(at, "bilinear", stretch)[::2]
    return centre - shift, first - shift, weights, fallback[0] - shift, fallback[1]


def _taps(at: Floats, method: str, stretch: float) -> tuple[Ints, Ints, Floats]:
    reach = RADII[method] * stretch
    first, centre = np.empty(at.size, dtype=np.int64), np.empty(at.size, dtype=np.int64)
    weights = np.zeros((at.size, math.ceil(2 * reach)), dtype=np.float64)
    taps(frozen(at), KERNELS[method], reach, stretch, first, centre, weights)
    return first, centre, weights


def _area(
    layers: Values,
    mask: Mask,
    source: Window,
    pixel_map: PixelMap,
    method: str,
    out: Values,
    out_valid: Mask,
) -> None:
    area = pixel_map.footprints
    start = (source.row, source.col)
    rows = (frozen(area.row_lo.ravel()), frozen(area.row_hi.ravel()))
    cols = (frozen(area.col_lo.ravel()), frozen(area.col_hi.ravel()))
    where = (layers, mask, start, rows, cols, pixel_map.separable)
    if method in WEIGHTED:
        weigh(*where, WEIGHTED[method], _limits(layers.dtype), out, out_valid)
    else:
        order(*where, ORDERED[method], out, out_valid)


def _stretch(scale: float) -> float:
    return scale if scale > NOT_STRETCHED else 1.0


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return least and greatest float64 that a dtype holds; (1, 0) for floating types."""
    if dtype.kind == "f":
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
