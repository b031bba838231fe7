"""Places of a window that runs of pixels touch: all that has to be computed for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from terrazzo.geo.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.geo.grid import Window
    from terrazzo.geo.runs import Runs

    Longs = NDArray[np.int64]

HEIGHT, WIDTH = 16, 32
"""Rows and columns of the smallest spot."""
LONGEST = 256
"""Columns of the largest: an edge of the lattice, so that none reaches into two internal tiles."""


def spots_of(runs: Runs, window: Window) -> Longs:
    """Return the rectangles of a window that runs touch.

    They are cut at multiples of their edges, counted on the grid, and none overlaps another.

    Args:
        runs: pixels in the window.
        window: of the runs' grid.

    Returns:
        (spot, 4) first row, first column, height and width, in the grid.
    """
    rows, cols = runs.corners
    top, left = window.row // HEIGHT, window.col // WIDTH
    shape = -(-window.row_stop // HEIGHT) - top, -(-window.col_stop // WIDTH) - left
    marked = np.zeros(shape, np.bool_)
    _mark(marked, rows, cols, runs.starts, runs.row, runs.col, runs.length, (top, left))
    bounds = window.row, window.row_stop, window.col, window.col_stop
    return _gathered(marked, (top, left), bounds)


@jit
def _mark(
    marked: NDArray[np.bool_],
    rows: Longs,
    cols: Longs,
    starts: Longs,
    row: NDArray[np.uint8],
    col: NDArray[np.uint8],
    length: NDArray[np.uint16],
    corner: tuple[int, int],
) -> None:
    """Mark the spots that runs touch."""
    for fragment in range(rows.size):
        for run in range(starts[fragment], starts[fragment + 1]):
            y = (rows[fragment] + row[run]) // HEIGHT - corner[0]
            first = (cols[fragment] + col[run]) // WIDTH - corner[1]
            last = (cols[fragment] + col[run] + length[run] - 1) // WIDTH - corner[1]
            for x in range(first, last + 1):
                marked[y, x] = True


@jit
def _gathered(
    marked: NDArray[np.bool_], corner: tuple[int, int], bounds: tuple[int, int, int, int]
) -> Longs:
    """Return marked spots as rectangles, neighbours beside each other as one."""
    out, count = np.empty((marked.sum(), 4), np.int64), 0
    for y in range(marked.shape[0]):
        top = max((corner[0] + y) * HEIGHT, bounds[0])
        high = min((corner[0] + y + 1) * HEIGHT, bounds[1]) - top
        stop = -1
        for x in range(marked.shape[1]):
            if not marked[y, x]:
                continue
            left = max((corner[1] + x) * WIDTH, bounds[2])
            right = min((corner[1] + x + 1) * WIDTH, bounds[3])
            if left == stop and left % LONGEST:
                out[count - 1, 3] += right - left
            else:
                out[count, 0], out[count, 1] = top, left
                out[count, 2], out[count, 3] = high, right - left
                count += 1
            stop = right
    return out[:count].copy()


@jit
def spots_within(spots: Longs, row: int, col: int, height: int, width: int) -> Longs:
    """Return what of some spots lies in a window, counted from its corner."""
    out, count = np.empty(spots.shape, np.int64), 0
    for k in range(spots.shape[0]):
        top, left = spots[k, 0] - row, spots[k, 1] - col
        base, right = min(top + spots[k, 2], height), min(left + spots[k, 3], width)
        top, left = max(top, 0), max(left, 0)
        if top < base and left < right:
            out[count, 0], out[count, 1] = top, left
            out[count, 2], out[count, 3] = base - top, right - left
            count += 1
    return out[:count]
