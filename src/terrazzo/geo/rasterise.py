"""Compiled loops that find the pixels of shapes; `terrazzo.geo.runs` is their only caller.

Shares are computed by accumulating signed areas along edges, as font rasterisers do, row by
row, in pixels of the grid and relative to the polygon itself. A row depends only on the edges
that cross it and is always summed from the polygon's (or the grid's) first column, so that a
pixel has the same weight, to the bit, whichever window it is asked in.
"""

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
    Bytes = NDArray[np.uint8]
    Shorts = NDArray[np.uint16]

T = TypeVar("T", bound=np.generic)

SHIFT = 8
EDGE = 1 << SHIFT
"""Edge of a lattice square, pixels."""
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
def _ordered(array: NDArray[T], begin: int, order: Longs) -> None:
    """Put the elements from `begin` on in the given order."""
    array[begin : begin + order.size] = array[begin + order]


@jit
def _by_square(
    begin: int, count: int, out: tuple[Ints, Longs, Bytes, Bytes, Shorts, Floats]
) -> None:
    """Put the runs of one shape, those from `begin` to `count`, in the order of their squares."""
    _, square, row, col, length, weight = out
    if count == begin or square[begin:count].min() == square[begin:count].max():
        return
    order = np.argsort(square[begin:count], kind="mergesort")
    _ordered(square, begin, order)
    _ordered(row, begin, order)
    _ordered(col, begin, order)
    _ordered(length, begin, order)
    _ordered(weight, begin, order)


@jit
def _scan(
    sums: Floats,
    place: tuple[int, int, int, int, int],
    whole: float,
    least: float,
    count: int,
    out: tuple[Ints, Longs, Bytes, Bytes, Shorts, Floats],
) -> int:
    """Write the runs of one row of a shape after `count` others; return how many there are now.

    Args:
        sums: what edges add to each pixel.
        place: shape, row, first column of `sums`, first column that is wanted, squares across.
        whole: shares above this weigh 1.
        least: shares up to this count as none.
        count: runs that there are.
        out: shape, square, row, column, length and weight of the runs.
    """
    shape, at, c0, first, across = place
    owner, square, row, col, length, weight = out
    share, following = 0.0, -1
    # Shifts and masks: a division takes longer than all else that is done for a pixel.
    line, inner = (at >> SHIFT) * across, at & (EDGE - 1)
    for c in range(sums.size - 2):
        share += sums[c]
        x = c0 + c
        if share <= least or x < first:
            continue
        if share > whole and x == following and x & (EDGE - 1):
            length[count - 1] += 1
            following += 1
            continue
        owner[count] = shape
        square[count] = line + (x >> SHIFT)
        row[count], col[count], length[count] = inner, x & (EDGE - 1), 1
        weight[count] = 1.0 if share > whole else share
        following = x + 1 if share > whole else -1
        count += 1
    return count


@jit
def rasterise(
    xs: Floats,
    ys: Floats,
    ring_starts: Longs,
    ring_signs: Floats,
    shape_starts: Longs,
    ids: Longs,
    bounds: tuple[int, int, int, int],
    across: int,
    touched: bool,
) -> tuple[Ints, Longs, Bytes, Bytes, Shorts, Floats]:
    """Return shape, square, row, column, length and weight of every run of covered pixels.

    They are sorted by shape, square, row and column; rows and columns are counted in the square.
    Neighbours of weight 1 in a row of a square are one run, and every other pixel is one.

    Args:
        xs: (p,) columns of all vertices, pixels of the grid, 0 = its left edge.
        ys: (p,) rows, 0 = its upper edge.
        ring_starts: (r + 1,) where each closed ring begins.
        ring_signs: (r,) 1 = shell, -1 = hole; the direction of a ring does not matter.
        shape_starts: (s + 1,) where each shape's rings begin.
        ids: (s,) what to call each shape.
        bounds: first row, stop row, first column, stop column of the window, inside the grid.
        across: how many squares lie beside each other in the grid.
        touched: whether every pixel that is covered at all weighs 1.
    """
    count, room = 0, 1024
    owner, square = np.empty(room, np.int32), np.empty(room, np.int64)
    row, col = np.empty(room, np.uint8), np.empty(room, np.uint8)
    length, weight = np.empty(room, np.uint16), np.empty(room, np.float64)
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
        begin = count
        for band in range(int(top) - origin, int(base) - origin, step):
            rows = min(step, int(base) - origin - band)
            sums = _accumulate(x, y, starts, signs, band, rows, width)
            if count + sums.size > room:
                room = 2 * room + sums.size
                owner, square = _grown(owner, room), _grown(square, room)
                row, col = _grown(row, room), _grown(col, room)
                length, weight = _grown(length, room), _grown(weight, room)
            for r in range(rows):
                count = _scan(
                    sums[r],
                    (ids[shape], origin + band + r, c0, bounds[2], across),
                    1.0 - SHARE if not touched else least,
                    least,
                    count,
                    (owner, square, row, col, length, weight),
                )
        _by_square(begin, count, (owner, square, row, col, length, weight))
    return (
        owner[:count].copy(),
        square[:count].copy(),
        row[:count].copy(),
        col[:count].copy(),
        length[:count].copy(),
        weight[:count].copy(),
    )


@jit
def trace(
    xs: Floats, ys: Floats, line: Longs, bounds: tuple[int, int, int, int]
) -> tuple[Longs, Longs, Longs, Floats]:
    """Return line, row, column and share of the segment of every piece of lines in a pixel.

    Args:
        xs: (p,) columns of all vertices, pixels of the grid.
        ys: (p,) rows.
        line: (p,) which part each vertex belongs to.
        bounds: first row, stop row, first column, stop column of the window.

    Returns:
        Segment (position of its first vertex), row, column and share of the segment's length, in
        the order of the lines.
    """
    count, room = 0, 1024
    segment, row = np.empty(room, np.int64), np.empty(room, np.int64)
    col, share = np.empty(room, np.int64), np.empty(room, np.float64)
    for i in range(xs.size - 1):
        if line[i] != line[i + 1]:
            continue
        dx, dy = xs[i + 1] - xs[i], ys[i + 1] - ys[i]
        if dx == 0.0 and dy == 0.0:
            continue
        begin, end = _clipped(xs[i], dx, float(bounds[2]), float(bounds[3]), 0.0, 1.0)
        begin, end = _clipped(ys[i], dy, float(bounds[0]), float(bounds[1]), begin, end)
        at = begin
        while at < end:
            following = min(_crossing(xs[i], dx, at), _crossing(ys[i], dy, at), end)
            middle = 0.5 * (at + following)
            if count == room:
                room *= 2
                segment, row = _grown(segment, room), _grown(row, room)
                col, share = _grown(col, room), _grown(share, room)
            segment[count], share[count] = i, following - at
            row[count], col[count] = (
                math.floor(ys[i] + middle * dy),
                math.floor(xs[i] + middle * dx),
            )
            count += 1
            at = following
    return segment[:count].copy(), row[:count].copy(), col[:count].copy(), share[:count].copy()


@jit
def _clipped(
    start: float, step: float, low: float, high: float, begin: float, end: float
) -> tuple[float, float]:
    """Return the part of begin..end in which start + t * step lies in low..high."""
    if step == 0.0:
        return (begin, end) if low <= start < high else (1.0, 0.0)
    one, other = (low - start) / step, (high - start) / step
    return max(begin, min(one, other)), min(end, max(one, other))


@jit
def _crossing(start: float, step: float, after: float) -> float:
    """Return the first t beyond `after` at which start + t * step is a whole number."""
    if step == 0.0:
        return np.inf
    place = start + after * step
    following = math.floor(place) + 1.0 if step > 0 else math.ceil(place) - 1.0
    t = (following - start) / step
    # Where rounding has not moved on, the next border is the one.
    return t if t > after else (following + np.sign(step) - start) / step
