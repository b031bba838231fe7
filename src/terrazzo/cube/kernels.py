"""Compiled loops of resampling; `terrazzo.cube.warp` is their only caller.

All take layers of one source window as (layer, row, column) and write layers of one target
block. Rows and columns of the map are flat tables: `separable` ones have an entry per target
row and per target column, others one entry per target pixel.
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
    Masks = NDArray[np.bool_]
    Layers = NDArray[Any]

FEW = 40
"""Up to so many values sorting by insertion is the faster."""
NOWHERE = -(1 << 62)
"""The source index of a coordinate that is not finite."""

BILINEAR, CUBIC, SPLINE, LANCZOS = range(4)
AVERAGE, SUM, RMS = range(3)
MIN, MAX, Q1, MED, Q3, MODE = range(6)

FAR = 1e15
"""Pixels: whole numbers up to here are exact in float64 and fit int64."""

KERNELS = {"bilinear": BILINEAR, "cubic": CUBIC, "cubicspline": SPLINE, "lanczos": LANCZOS}
RADII = {"near": 0.0, "bilinear": 1.0, "cubic": 2.0, "cubicspline": 2.0, "lanczos": 3.0}
WEIGHTED = {"average": AVERAGE, "sum": SUM, "rms": RMS}
ORDERED = {"min": MIN, "max": MAX, "q1": Q1, "med": MED, "q3": Q3, "mode": MODE}


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
    at: Floats, kind: int, reach: float, stretch: float, first: Ints, centre: Ints, weights: Floats
) -> None:
    """Tabulate the source pixels around each coordinate and their weights, which sum to 1.

    Args:
        at: (n,) coordinates, integer + 0.5 = a pixel's centre.
        kind: which kernel, an entry of `KERNELS`.
        reach: its radius times `stretch`, source pixels.
        stretch: how much it is widened, at least 1.
        first: (n,) output: index of the first tap.
        centre: (n,) output: index of the containing pixel, `NOWHERE` if not finite.
        weights: (n, k) output: weight of tap `first + j`.
    """
    for i in range(at.size):
        if not abs(at[i]) < FAR:
            first[i] = centre[i] = NOWHERE
            continue
        middle = at[i] - 0.5
        first[i] = math.floor(middle - reach) + 1
        centre[i] = math.floor(at[i])
        total = 0.0
        for j in range(weights.shape[1]):
            weights[i, j] = _weight(kind, reach / stretch, (first[i] + j - middle) / stretch)
            total += weights[i, j]
        for j in range(weights.shape[1]):
            weights[i, j] /= total


@jit
def _gather(
    layers: Layers,
    valid: Masks,
    n: int,
    rows: tuple[Ints, Floats],
    r: int,
    cols: tuple[Ints, Floats],
    c: int,
) -> tuple[float, float, bool]:
    """Return weighted sum, sum of weights, and whether no tap was missing.

    Entry r of the row table (first tap, weights) and c of the column table, layer n.
    """
    masked = valid.shape[1] > 0
    total, mass, complete = 0.0, 0.0, True
    for a in range(rows[1].shape[1]):
        row_weight, y = rows[1][r, a], rows[0][r] + a
        if row_weight == 0.0:
            continue
        if y < 0 or y >= layers.shape[1]:
            complete = False
            continue
        for b in range(cols[1].shape[1]):
            weight, x = row_weight * cols[1][c, b], cols[0][c] + b
            if weight == 0.0:
                continue
            if x < 0 or x >= layers.shape[2] or (masked and not valid[n, y, x]):
                complete = False
                continue
            total += weight * layers[n, y, x]
            mass += weight
    return total, mass, complete


@jit
def _store(value: float, low: float, high: float) -> float:
    """Return a value as an integer type takes it; `low` > `high` for floating types."""
    if low > high:
        return value
    whole: float = np.floor(abs(value) + 0.5)  # math.floor would overflow int64
    return min(max(whole if value >= 0 else -whole, low), high)


@jit
def convolve(
    layers: Layers,
    valid: Masks,
    rows: tuple[Ints, Ints, Floats, Ints, Floats],
    cols: tuple[Ints, Ints, Floats, Ints, Floats],
    separable: bool,
    signed: bool,
    limits: tuple[float, float],
    out: Layers,
    out_valid: Masks,
) -> None:
    """Convolve each target pixel's surroundings.

    Args:
        layers: (n, h, w) source pixels.
        valid: (n, h, w) mask, or (n, 0, 0) where all are valid.
        rows: centre, first tap and weights; then first tap and weights of the bilinear kernel.
            Indices are counted from the source window's first row.
        cols: likewise.
        separable: whether tables are per row and per column, not per pixel.
        signed: whether the kernel has negative weights and falls back to bilinear.
        limits: least and greatest value of an integer type; (1, 0) for floating types.
        out: (n, H, W) output.
        out_valid: (n, H, W) output, False at first.
    """
    height, width = layers.shape[1], layers.shape[2]
    masked = valid.shape[1] > 0
    row_taps, row_spare, col_taps, col_spare = rows[1:3], rows[3:], cols[1:3], cols[3:]
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            r = i if separable else i * out.shape[2] + j
            c = j if separable else r
            row, col = rows[0][r], cols[0][c]
            if row < 0 or row >= height or col < 0 or col >= width:
                continue
            for n in range(layers.shape[0]):
                if masked and not valid[n, row, col]:
                    continue
                total, mass, complete = _gather(layers, valid, n, row_taps, r, col_taps, c)
                if not complete:
                    if signed:
                        total, mass, _ = _gather(layers, valid, n, row_spare, r, col_spare, c)
                    total /= mass
                out[n, i, j] = _store(total, limits[0], limits[1])
                out_valid[n, i, j] = True


@jit
def pick(
    layers: Layers,
    valid: Masks,
    rows: Ints,
    cols: Ints,
    separable: bool,
    out: Layers,
    out_valid: Masks,
) -> None:
    """Copy the source pixel that contains each target pixel's centre; shapes as `convolve`."""
    height, width = layers.shape[1], layers.shape[2]
    masked = valid.shape[1] > 0
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            r = i if separable else i * out.shape[2] + j
            c = j if separable else r
            row, col = rows[r], cols[c]
            if row < 0 or row >= height or col < 0 or col >= width:
                continue
            for n in range(layers.shape[0]):
                if not masked or valid[n, row, col]:
                    out[n, i, j] = layers[n, row, col]
                    out_valid[n, i, j] = True


@jit
def _span(low: float, high: float, start: int, size: int) -> tuple[int, int]:
    """Return first and stop of the source pixels that [low, high] overlaps, cut to the window."""
    if not (abs(low) < FAR and abs(high) < FAR):
        return 0, 0
    return max(math.floor(low) - start, 0), min(math.ceil(high) - start, size)


@jit
def weigh(
    layers: Layers,
    valid: Masks,
    start: tuple[int, int],
    rows: tuple[Floats, Floats],
    cols: tuple[Floats, Floats],
    separable: bool,
    kind: int,
    limits: tuple[float, float],
    out: Layers,
    out_valid: Masks,
) -> None:
    """Average, sum or take the root mean square over each footprint, weighted by overlap.

    Args:
        layers: (n, h, w) source pixels.
        valid: (n, h, w) mask, or (n, 0, 0) where all are valid.
        start: first row and column of the source window.
        rows: upper and lower edges of the footprints, source rows.
        cols: left and right edges, source columns.
        separable: whether edges are per row and per column, not per pixel.
        kind: an entry of `WEIGHTED`.
        limits: as for `convolve`.
        out: (n, H, W) output.
        out_valid: (n, H, W) output, False at first.
    """
    masked = valid.shape[1] > 0
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            r = i if separable else i * out.shape[2] + j
            c = j if separable else r
            row_lo, row_hi, col_lo, col_hi = rows[0][r], rows[1][r], cols[0][c], cols[1][c]
            row, row_stop = _span(row_lo, row_hi, start[0], layers.shape[1])
            col, col_stop = _span(col_lo, col_hi, start[1], layers.shape[2])
            for n in range(layers.shape[0]):
                total, mass = 0.0, 0.0
                for y in range(row, row_stop):
                    at = float(start[0] + y)
                    across = min(at + 1.0, row_hi) - max(at, row_lo)
                    for x in range(col, col_stop):
                        if masked and not valid[n, y, x]:
                            continue
                        at = float(start[1] + x)
                        weight = across * (min(at + 1.0, col_hi) - max(at, col_lo))
                        value = float(layers[n, y, x])
                        total += weight * (value * value if kind == RMS else value)
                        mass += weight
                if mass > 0.0:
                    if kind != SUM:
                        total /= mass
                    if kind == RMS:
                        total = math.sqrt(total)
                    out[n, i, j] = _store(total, limits[0], limits[1])
                    out_valid[n, i, j] = True


@jit
def _sort(values: Layers, count: int) -> None:
    """Sort the first values in place, NaN last; by insertion where there are few."""
    if count > FEW:
        values[:count] = np.sort(values[:count])
        return
    for k in range(1, count):
        value, at = values[k], k
        while at > 0 and (
            value < values[at - 1] or (values[at - 1] != values[at - 1] and value == value)  # noqa: PLR0124 - NaN
        ):
            values[at] = values[at - 1]
            at -= 1
        values[at] = value


@jit
def _chosen(values: Layers, count: int, kind: int) -> int:
    """Return the index, in sorted values with NaN last, of the wanted order statistic."""
    last = values[count - 1]
    if kind != MODE and last != last:  # noqa: PLR0124 - NaN
        return count - 1
    if kind in (MIN, MAX):
        return 0 if kind == MIN else count - 1
    if kind != MODE:
        return max(math.ceil(0.25 * (kind - MAX) * count) - 1, 0)
    best, most, run = 0, 0, 0
    for k in range(count):
        here, before = values[k], values[k - 1]
        both_nan = here != here and before != before  # noqa: PLR0124 - NaN
        run = run + 1 if k > 0 and (here == before or both_nan) else 1
        if run > most:
            best, most = k, run
    return best


@jit
def order(
    layers: Layers,
    valid: Masks,
    start: tuple[int, int],
    rows: tuple[Floats, Floats],
    cols: tuple[Floats, Floats],
    separable: bool,
    kind: int,
    out: Layers,
    out_valid: Masks,
) -> None:
    """Choose one of the values that each footprint overlaps; arguments as `weigh`.

    `kind` is an entry of `ORDERED`. Quantile q of n sorted values is number ceil(q * n), as GDAL
    has it; the mode is the most frequent value, of equally frequent ones the smallest.
    """
    masked = valid.shape[1] > 0
    buffer = np.empty(64, layers.dtype)
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            r = i if separable else i * out.shape[2] + j
            c = j if separable else r
            row, row_stop = _span(rows[0][r], rows[1][r], start[0], layers.shape[1])
            col, col_stop = _span(cols[0][c], cols[1][c], start[1], layers.shape[2])
            room = max(row_stop - row, 0) * max(col_stop - col, 0)
            if room > buffer.size:
                buffer = np.empty(2 * room, layers.dtype)
            for n in range(layers.shape[0]):
                count = 0
                for y in range(row, row_stop):
                    for x in range(col, col_stop):
                        if not masked or valid[n, y, x]:
                            buffer[count] = layers[n, y, x]
                            count += 1
                if count:
                    _sort(buffer, count)
                    out[n, i, j] = buffer[_chosen(buffer, count, kind)]
                    out_valid[n, i, j] = True
