"""Compiled loops of polygon coverage; `terrazzo.geo.coverage` is their only caller."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float64]

T = TypeVar("T", bound=np.generic)

BAND_PIXELS = 1 << 20
"""Pixels of a polygon's bounding box that are accumulated at once: 8 MB."""
SHARE = 1e-9
"""A share of a pixel less than this is rounding."""


@jit
def _add_cell(sums: Floats, cell: int, x: float, cover: float) -> None:
    """Add an edge piece of height `cover` at mean position `x` inside column `cell`.

    The running sum along a row is then what lies right of all edges: the part of the cell
    itself that is right of x, and the whole of every later cell.
    """
    right = cover * (x - cell)
    sums[cell] += cover - right
    sums[cell + 1] += right


@jit
def _add_piece(sums: Floats, x0: float, x1: float, cover: float, width: int) -> None:
    """Add the piece of an edge that lies in one row, from x0 to x1, to the row's `sums`."""
    low, high = min(x0, x1), max(x0, x1)
    if low >= width:
        return
    if high <= 0.0:
        sums[0] += cover
        return
    first, stop = math.floor(max(low, 0.0)), math.ceil(min(high, float(width)))
    # Whether it is one cell must not depend on `width`: the window ends there, not the grid.
    if low >= 0.0 and high <= first + 1.0:
        _add_cell(sums, first, 0.5 * (low + high), cover)
        return
    per_column = cover / (high - low)
    if low < 0.0:
        sums[0] += per_column * -low
    for cell in range(first, stop):
        begin, end = max(low, float(cell)), min(high, cell + 1.0)
        _add_cell(sums, cell, 0.5 * (begin + end), per_column * (end - begin))


@jit
def _add_edge(
    sums: Floats, x0: float, y0: float, x1: float, y1: float, sign: float, row: int, width: int
) -> None:
    """Add an edge to the rows `row`, `row + 1`, ... that `sums` holds; y goes down."""
    if y0 == y1:
        return
    if y0 > y1:
        x0, y0, x1, y1, sign = x1, y1, x0, y0, -sign
    slope = (x1 - x0) / (y1 - y0)
    low, high = min(x0, x1), max(x0, x1)
    first = max(math.floor(y0), row)
    stop = min(math.ceil(y1), row + sums.shape[0])
    for r in range(first, stop):
        upper, lower = max(y0, float(r)), min(y1, r + 1.0)
        at_upper = x0 if upper == y0 else min(max(x0 + (upper - y0) * slope, low), high)
        at_lower = x1 if lower == y1 else min(max(x0 + (lower - y0) * slope, low), high)
        _add_piece(sums[r - row], at_upper, at_lower, sign * (lower - upper), width)


@jit
def _twice_area(xs: Floats, ys: Floats) -> float:
    """Return twice the signed area of a closed ring, about its first point."""
    total = 0.0
    for k in range(1, xs.size - 1):
        total += (xs[k] - xs[0]) * (ys[k + 1] - ys[0]) - (xs[k + 1] - xs[0]) * (ys[k] - ys[0])
    return total


@jit
def _grown(array: NDArray[T], size: int) -> NDArray[T]:
    larger = np.empty(size, array.dtype)
    larger[: array.size] = array
    return larger


@jit
def _oriented(x: Floats, y: Floats, starts: Longs, ring_signs: Floats) -> tuple[Floats, float]:
    """Return the sign that makes each ring add or take area, and the shape's area."""
    signs, area = np.empty(ring_signs.size), 0.0
    for k in range(ring_signs.size):
        twice = _twice_area(x[starts[k] : starts[k + 1]], y[starts[k] : starts[k + 1]])
        signs[k] = -np.sign(twice) * ring_signs[k]
        area += 0.5 * abs(twice) * ring_signs[k]
    return signs, area


@jit
def _accumulate(
    x: Floats, y: Floats, starts: Longs, signs: Floats, row: int, rows: int, width: int
) -> Floats:
    """Return what all edges add to `rows` rows from `row`: running sums give the shares."""
    sums = np.zeros((rows, width + 2))
    for k in range(signs.size):
        for i in range(starts[k], starts[k + 1] - 1):
            _add_edge(sums, x[i], y[i], x[i + 1], y[i + 1], signs[k], row, width)
    return sums


@jit
def rasterise(
    xs: Floats,
    ys: Floats,
    ring_starts: Longs,
    ring_signs: Floats,
    shape_starts: Longs,
    ids: Longs,
    bounds: tuple[int, int, int, int],
) -> tuple[Ints, Ints, Ints, Floats]:
    """Return polygon, row, column and share of every covered pixel, in that order.

    Args:
        xs: (p,) columns of all vertices, pixels of the grid, 0 = its left edge.
        ys: (p,) rows, 0 = its upper edge.
        ring_starts: (r + 1,) where each closed ring begins.
        ring_signs: (r,) 1 = shell, -1 = hole; the direction of a ring does not matter.
        shape_starts: (s + 1,) where each shape's rings begin.
        ids: (s,) what to call each shape.
        bounds: first row, stop row, first column, stop column of the window, inside the grid.
    """
    count, room = 0, 1024
    polygon, row = np.empty(room, np.int32), np.empty(room, np.int32)
    col, weight = np.empty(room, np.int32), np.empty(room, np.float64)
    for shape in range(ids.size):
        rings = slice(shape_starts[shape], shape_starts[shape + 1])
        first, stop = ring_starts[rings.start], ring_starts[rings.stop]
        if first == stop:
            continue
        x, y = xs[first:stop], ys[first:stop]
        # Columns are cut where the grid begins, not the window: a row sums from there.
        left, right = max(math.floor(x.min()), 0.0), min(math.ceil(x.max()), float(bounds[3]))
        top, base = max(math.floor(y.min()), bounds[0]), min(math.ceil(y.max()), bounds[1])
        if left >= right or right <= bounds[2] or top >= base:
            continue
        c0, width, origin = int(left), int(right - left), math.floor(y.min())
        x, y, starts = x - left, y - origin, ring_starts[rings.start : rings.stop + 1] - first
        signs, area = _oriented(x, y, starts, ring_signs[rings])
        least, step = min(SHARE, 1e-4 * area), max(BAND_PIXELS // (width + 2), 1)
        for band in range(int(top - origin), int(base - origin), step):
            sums = _accumulate(
                x, y, starts, signs, band, min(step, int(base - origin) - band), width
            )
            if count + sums.size > room:
                room = 2 * room + sums.size
                polygon, row = _grown(polygon, room), _grown(row, room)
                col, weight = _grown(col, room), _grown(weight, room)
            for r in range(sums.shape[0]):
                share = 0.0
                for c in range(width):
                    share += sums[r, c]
                    if share > least and c0 + c >= bounds[2]:
                        polygon[count], row[count] = ids[shape], int(origin) + band + r
                        col[count] = c0 + c
                        weight[count] = 1.0 if share > 1.0 - SHARE else share
                        count += 1
    return polygon[:count].copy(), row[:count].copy(), col[:count].copy(), weight[:count].copy()


@jit
def select(
    runs: Longs, starts: Longs, row: Ints, col: Ints, bounds: tuple[int, int, int, int]
) -> Longs:
    """Return the entries of some runs (rows ascending in each) that lie in a window."""
    row_start, row_stop, col_start, col_stop = bounds
    room = 0
    spans = np.empty((runs.size, 2), np.int64)
    for k in range(runs.size):
        first, stop = starts[runs[k]], starts[runs[k] + 1]
        spans[k, 0] = first + np.searchsorted(row[first:stop], row_start)
        spans[k, 1] = first + np.searchsorted(row[first:stop], row_stop)
        room += spans[k, 1] - spans[k, 0]
    entries, count = np.empty(room, np.int64), 0
    for k in range(runs.size):
        for entry in range(spans[k, 0], spans[k, 1]):
            if col_start <= col[entry] < col_stop:
                entries[count] = entry
                count += 1
    return entries[:count].copy()
