"""Compiled loops of resampling; `terrazzo.cube.warp` is their only caller.

All take layers of one source window as (layer, row, column), write layers of one target block,
and return how many results are valid. Where a map is separable it comes as tables of an entry
per target row and per target column, otherwise as coordinates of each target pixel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Ints32 = NDArray[np.int32]
    Table = tuple[Ints, Ints, Floats]
    Width = tuple[float, float]
    Kernel = tuple[int, Width, Width, bool]
    Masks = NDArray[np.bool_]
    Layers = NDArray[Any]

NOWHERE = -(1 << 62)
"""The source index of a coordinate that is not finite."""

BILINEAR, CUBIC, SPLINE, LANCZOS = range(4)

FAR = 1e15
"""Pixels: whole numbers up to here are exact in float64 and fit int64."""

KERNELS = {"bilinear": BILINEAR, "cubic": CUBIC, "cubicspline": SPLINE, "lanczos": LANCZOS}
RADII = {"near": 0.0, "bilinear": 1.0, "cubic": 2.0, "cubicspline": 2.0, "lanczos": 3.0}


@jit
def _cubic(x: float) -> float:
    """Keys 1981 with a = -0.5."""
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0


@jit
def _spline(x: float) -> float:
    """Cubic B-spline: smooths, does not interpolate."""
    if x < 1.0:
        return (0.5 * x - 1.0) * x * x + 2.0 / 3.0
    left = 2.0 - x
    return left * left * left / 6.0


@jit
def _lanczos(x: float) -> float:
    """sinc(x) sinc(x / 3), exactly 0 at whole numbers."""
    if x == 0.0 or x == np.floor(x):
        return 1.0 if x == 0.0 else 0.0
    angle = math.pi * x
    return 3.0 * math.sin(angle) * math.sin(angle / 3.0) / (angle * angle)


@jit
def _weight(kind: int, reach: float, x: float) -> float:
    """Return the kernel at distance x from its centre, 0 from `reach` on, unstretched pixels."""
    x = abs(x)
    if x >= reach:
        return 0.0
    if kind == BILINEAR:
        return 1.0 - x
    if kind == CUBIC:
        return _cubic(x)
    return _spline(x) if kind == SPLINE else _lanczos(x)


@jit
def taps(
    at: Floats, kind: int, width: Width, which: int, inside: Ints, first: Ints, weights: Floats
) -> None:
    """Tabulate the source pixels around each coordinate and their weights, which sum to 1.

    Args:
        at: (n,) coordinates, integer + 0.5 = a pixel's centre.
        kind: which kernel, an entry of `KERNELS`.
        width: its radius, source pixels, and how much it is stretched for that, at least 1.
        which: 0 for the kernel itself, 1 for what it falls back to.
        inside: (n,) output: index of the containing pixel, `NOWHERE` if not finite.
        first: (2, n) output: index of the first tap.
        weights: (2, n, k) output: weight of tap `first + j`; 0 from the kernel's width on.
    """
    radius, stretch = width
    count = math.ceil(2.0 * radius)
    for i in range(at.size):
        if not abs(at[i]) < FAR:
            inside[i] = first[which, i] = NOWHERE
            continue
        inside[i] = math.floor(at[i])
        middle, total = at[i] - 0.5, 0.0
        begin = math.floor(middle - radius) + 1
        first[which, i] = begin
        for j in range(count):
            away = begin + j - middle
            if stretch == 1.0:  # dividing takes longer than all the rest
                weight = _weight(kind, radius, away)
            else:
                weight = _weight(kind, radius / stretch, away / stretch)
            weights[which, i, j] = weight
            total += weight
        if total != 1.0:
            for j in range(count):
                weights[which, i, j] /= total


@jit
def _store(value: float, low: float, high: float) -> float:
    """Return a value as an integer type takes it; `low` > `high` for floating types."""
    if low > high:
        return value
    whole: float = np.floor(abs(value) + 0.5)  # math.floor would overflow int64
    return min(max(whole if value >= 0 else -whole, low), high)


@jit
def _line(  # noqa: C901, PLR0912 - a call with arrays would cost more than a pixel
    layers: Layers,
    valid: Masks,
    start: tuple[int, int],
    rows: Table,
    fixed: int,
    cols: Table,
    signed: bool,
    limits: tuple[float, float],
    i: int,
    out: Layers,
    out_valid: Masks,
) -> int:
    """Convolve one row of targets; arguments as `convolve`.

    Entry `fixed` of the row table is for all of them, or where that is -1, each has its own.
    """
    row_in, row_first, row_weights = rows
    col_in, col_first, col_weights = cols
    down, across = row_weights.shape[2], col_weights.shape[2]
    height, width, masked, count = layers.shape[1], layers.shape[2], valid.shape[1] > 0, 0
    for j in range(out.shape[2]):
        r = fixed if fixed >= 0 else j
        row, col = row_in[r] - start[0], col_in[j] - start[1]
        if row < 0 or row >= height or col < 0 or col >= width:
            continue
        for n in range(layers.shape[0]):
            if masked and not valid[n, row, col]:
                continue
            y, x = row_first[0, r] - start[0], col_first[0, j] - start[1]
            total, mass, missing = 0.0, 1.0, False
            if not masked and y >= 0 and x >= 0 and y + down <= height and x + across <= width:
                for a in range(down):
                    row_weight = row_weights[0, r, a]
                    if row_weight != 0.0:
                        for b in range(across):
                            weight = row_weight * col_weights[0, j, b]
                            if weight != 0.0:
                                total += weight * layers[n, y + a, x + b]
            else:
                for spare in range(2 if signed else 1):
                    y, x = row_first[spare, r] - start[0], col_first[spare, j] - start[1]
                    total, mass, missing = 0.0, 0.0, False
                    for a in range(down):
                        row_weight, there = row_weights[spare, r, a], 0 <= y + a < height
                        for b in range(across):
                            weight = row_weight * col_weights[spare, j, b]
                            if weight == 0.0:
                                continue
                            seen = there and 0 <= x + b < width
                            if seen and (not masked or valid[n, y + a, x + b]):
                                total += weight * layers[n, y + a, x + b]
                                mass += weight
                            else:
                                missing = True
                    if not missing:
                        break
                if missing or spare > 0:
                    total /= mass
            out[n, i, j] = _store(total, limits[0], limits[1])
            out_valid[n, i, j] = True
            count += 1
    return count


@jit
def convolve(
    layers: Layers,
    valid: Masks,
    start: tuple[int, int],
    at: tuple[Floats, Floats],
    rows: Table,
    cols: Table,
    kernel: Kernel,
    limits: tuple[float, float],
    out: Layers,
    out_valid: Masks,
) -> int:
    """Convolve each target pixel's surroundings, and return how many results are valid.

    Args:
        layers: (n, h, w) source pixels.
        valid: (n, h, w) mask, or (n, 0, 0) where all are valid.
        start: first row and column of the source window.
        at: (H, W) rows and columns of the targets' centres; (0, 0) where `rows` has an entry for
            each target row and `cols` one for each target column.
        rows: containing row, first tap and weights of the kernel and of the one that it falls
            back to (`taps`). Where `at` says the places, W entries to compute with.
        cols: likewise for columns.
        kernel: entry of `KERNELS`; radius and stretch in rows, then in columns; whether it has
            negative weights and falls back to the bilinear one.
        limits: least and greatest value of an integer type; (1, 0) for floating types.
        out: (n, H, W) output.
        out_valid: (n, H, W) output, False at first.
    """
    kind, down, across, signed = kernel
    tabled, count = at[0].shape[1] == 0, 0
    for i in range(out.shape[1]):
        if not tabled:
            for places, table, width in ((at[0][i], rows, down), (at[1][i], cols, across)):
                taps(places, kind, width, 0, table[0], table[1], table[2])
                if signed:
                    reach = width[1], width[1]
                    taps(places, BILINEAR, reach, 1, table[0], table[1], table[2])
        fixed = i if tabled else -1
        count += _line(layers, valid, start, rows, fixed, cols, signed, limits, i, out, out_valid)
    return count


@jit
def pick_separable(
    layers: Layers, valid: Masks, rows: Ints32, cols: Ints32, out: Layers, out_valid: Masks
) -> int:
    """Copy the pixels of chosen rows and columns, and return how many are valid.

    Args:
        layers: (n, h, w) source pixels, as unsigned integers of their size.
        valid: (n, h, w) mask, or (n, 0, 0) where all are valid.
        rows: (H,) row of each target row, -1 = none.
        cols: (W,) column of each target column, -1 = none.
        out: (n, H, W) output, 0 at first.
        out_valid: (n, H, W) output, False at first.
    """
    masked, count = valid.shape[1] > 0, 0
    for n in range(layers.shape[0]):
        for i in range(out.shape[1]):
            row = rows[i]
            for j in range(out.shape[2]):
                col = cols[j]
                if row >= 0 and col >= 0 and (not masked or valid[n, row, col]):
                    out[n, i, j] = layers[n, row, col]
                    out_valid[n, i, j] = True
                    count += 1
    return count


@jit
def pick_indexed(layers: Layers, valid: Masks, index: Ints32, out: Layers, out_valid: Masks) -> int:
    """Copy chosen pixels, and return how many are valid; as `pick_separable`.

    `layers` and `valid` are (n, h * w) and (n, h * w) or (n, 0); `index` is (H, W), -1 = none.
    """
    masked, count = valid.shape[1] > 0, 0
    for n in range(layers.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                k = index[i, j]
                if k >= 0 and (not masked or valid[n, k]):
                    out[n, i, j] = layers[n, k]
                    out_valid[n, i, j] = True
                    count += 1
    return count
