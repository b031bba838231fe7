"""Compiled loops over footprints; `terrazzo.cube.warp` is their only caller.

Layers and results are as in `terrazzo.cube.kernels`. Footprints come as their edges: one entry
per target row and per target column where the map is separable, otherwise one per target pixel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.cube.kernels import FAR
from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from terrazzo.cube.kernels import Floats, Ints, Layers, Masks

FEW = 40
"""Up to so many values sorting by insertion is the faster."""
DISTINCT = 16
"""Up to so many different values are tallied to find the mode; of more it is sorted for."""

AVERAGE, SUM, RMS = range(3)
MIN, MAX, Q1, MED, Q3, MODE = range(6)

WEIGHTED = {"average": AVERAGE, "sum": SUM, "rms": RMS}
ORDERED = {"min": MIN, "max": MAX, "q1": Q1, "med": MED, "q3": Q3, "mode": MODE}


@jit
def _store(value: float, low: float, high: float) -> float:
    """Return a value as an integer type takes it; `low` > `high` for floating types.

    Word for word as in `terrazzo.cube.kernels`: a kernel's cache watches its own file only.
    """
    if low > high:
        return value
    whole: float = np.floor(abs(value) + 0.5)  # math.floor would overflow int64
    return min(max(whole if value >= 0 else -whole, low), high)


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
) -> int:
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

    Returns:
        How many results are valid.
    """
    masked, filled = valid.shape[1] > 0, 0
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
                filled += _settle(total, mass, kind, limits, n, i, j, out, out_valid)
    return filled


@jit
def _settle(
    total: float,
    mass: float,
    kind: int,
    limits: tuple[float, float],
    n: int,
    i: int,
    j: int,
    out: Layers,
    out_valid: Masks,
) -> bool:
    """Write one result from the sum of its pixels and of their weights; tell if it is valid."""
    if not mass > 0.0:
        return False
    if kind != SUM:
        total /= mass
    if kind == RMS:
        total = math.sqrt(total)
    out[n, i, j] = _store(total, limits[0], limits[1])
    out_valid[n, i, j] = True
    return True


@jit
def weigh_whole(
    layers: Layers,
    valid: Masks,
    start: tuple[int, int],
    rows: tuple[Floats, Floats],
    cols: tuple[Floats, Floats],
    kind: int,
    limits: tuple[float, float],
    out: Layers,
    out_valid: Masks,
) -> int:
    """Do what `weigh` does where all footprints are whole pixels, edges per row and per column.

    The weights are 1, and each sum runs in the same order: equal bits. A row of sums grows
    together, so that none waits for its own last addition.
    """
    masked, filled, width = valid.shape[1] > 0, 0, out.shape[2]
    totals, masses = np.empty(width), np.empty(width)
    firsts, stops = np.empty(width, np.int64), np.empty(width, np.int64)
    for j in range(width):
        firsts[j], stops[j] = _span(cols[0][j], cols[1][j], start[1], layers.shape[2])
    for i in range(out.shape[1]):
        row, row_stop = _span(rows[0][i], rows[1][i], start[0], layers.shape[1])
        for n in range(layers.shape[0]):
            totals[:], masses[:] = 0.0, 0.0
            for y in range(row, row_stop):
                for j in range(width):
                    total, mass = totals[j], masses[j]
                    for x in range(firsts[j], stops[j]):
                        value = float(layers[n, y, x])
                        there = not masked or valid[n, y, x]
                        total += (value * value if kind == RMS else value) if there else 0.0
                        mass += 1.0 if there else 0.0
                    totals[j], masses[j] = total, mass
            for j in range(width):
                filled += _settle(totals[j], masses[j], kind, limits, n, i, j, out, out_valid)
    return filled


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
def _ranked(values: Layers, count: int, kind: int) -> int:
    """Return the index, in sorted values with NaN last, of a quantile or the mode."""
    last = values[count - 1]
    if kind != MODE:
        if last != last:  # noqa: PLR0124 - NaN
            return count - 1
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
def _outermost(values: Layers, count: int, kind: int) -> int:
    """Return the index of the least or greatest of some values, or of a NaN if there is one."""
    best = 0
    for k in range(count):
        value = values[k]
        if value != value:  # noqa: PLR0124 - NaN
            return k
        if value < values[best] if kind == MIN else value >= values[best]:
            best = k
    return best


@jit
def _tallied(values: Layers, count: int, seen: Layers, tallies: Ints) -> int:
    """Gather different values with how often they are there, and return the index of the mode.

    Of equally frequent values the smallest, NaN last; -1 where `seen` has no room for them all.
    """
    distinct = 0
    for k in range(count):
        value, at = values[k], 0
        nan = value != value  # noqa: PLR0124 - NaN
        while at < distinct and not (seen[at] == value or (nan and seen[at] != seen[at])):
            at += 1
        if at == seen.size:
            return -1
        if at == distinct:
            tallies[at] = 0
            distinct += 1
        seen[at] = value
        tallies[at] += 1
    best = 0
    for k in range(1, distinct):
        smaller = seen[k] < seen[best] or seen[best] != seen[best]
        if tallies[k] > tallies[best] or (tallies[k] == tallies[best] and smaller):
            best = k
    return best


@jit
def _choose(values: Layers, count: int, kind: int, seen: Layers, tallies: Ints) -> tuple[bool, int]:
    """Return whether the wanted value is in `seen`, not in `values`, and its index."""
    if kind in (MIN, MAX):
        return False, _outermost(values, count, kind)
    if kind == MODE:
        best = _tallied(values, count, seen, tallies)
        if best >= 0:
            return True, best
    _sort(values, count)
    return False, _ranked(values, count, kind)


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
) -> int:
    """Choose one of the values that each footprint overlaps; arguments as `weigh`.

    `kind` is an entry of `ORDERED`. Quantile q of n sorted values is number ceil(q * n), as GDAL
    has it; the mode is the most frequent value, of equally frequent ones the smallest. Returns
    how many results are valid.
    """
    masked, filled = valid.shape[1] > 0, 0
    buffer, tallies = np.empty(64, layers.dtype), np.empty(DISTINCT, np.int64)
    seen = np.empty(DISTINCT, layers.dtype)
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
                    gathered, at = _choose(buffer, count, kind, seen, tallies)
                    out[n, i, j] = seen[at] if gathered else buffer[at]
                    out_valid[n, i, j] = True
                    filled += 1
    return filled
