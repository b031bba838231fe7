"""Exact coordinates: points of one grid's CRS as fractional rows and columns of another grid.

Convention: integer + 0.5 is a pixel's centre, in rows and columns of the source grid; so the
pixel that contains a coordinate is its floor.

A coordinate within 1e-6 pixel of a pixel's border or centre counts as on it. Without that, the
last bits of a division decide which of two pixels a lattice of half or double the size takes.

A geographic source repeats every 360 degrees: columns are moved by whole turns to where the
source lies, so that 0 to 360 grids and targets across the antimeridian work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.geo.crs import is_geographic, transformer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from terrazzo.geo.grid import Grid, Window

    Floats = NDArray[np.float64]

SNAP = 1e-6
"""Pixels: nearer than this to a border or centre is on it, as in `Grid.window_of`."""


@dataclass(frozen=True, slots=True, eq=False)
class Footprints:
    """The rectangle of source rows and columns that each target pixel covers."""

    row_lo: Floats
    """Upper edges: (h,) where the map is separable, else (h, w); NaN where there is none."""
    row_hi: Floats
    """Lower edges, same shape."""
    col_lo: Floats
    """Left edges: (w,) where the map is separable, else (h, w); NaN where there is none."""
    col_hi: Floats
    """Right edges, same shape."""


def project(
    xs: Floats, ys: Floats, target: Grid, source: Grid, *, snap: bool = True
) -> tuple[Floats, Floats]:
    """Return (rows, cols) of points of the target's CRS in the source; NaN where undefined."""
    x, y = transformer(target.crs, source.crs).transform(xs, ys)
    with np.errstate(invalid="ignore"):
        rows = (source.top - np.asarray(y, dtype=np.float64)) / source.pixel_y
        cols = wrapped((np.asarray(x, dtype=np.float64) - source.left) / source.pixel_x, source)
        lost = ~(np.isfinite(rows) & np.isfinite(cols))
    rows[lost] = cols[lost] = np.nan
    return (snapped(rows), snapped(cols)) if snap else (rows, cols)


def edges(target: Grid, window: Window) -> tuple[Floats, Floats]:
    """Return x of the column edges and y of the row edges of a window, one more than pixels."""
    cols = np.arange(window.col, window.col_stop + 1, dtype=np.float64)
    rows = np.arange(window.row, window.row_stop + 1, dtype=np.float64)
    return target.left + cols * target.pixel_x, target.top - rows * target.pixel_y


def exact_centres(target: Grid, window: Window, source: Grid) -> tuple[Floats, Floats]:
    """Return (rows, cols), both (h, w), of the pixel centres of a window of another CRS."""
    xs, ys = np.meshgrid(target.xs(window), target.ys(window))
    return project(xs, ys, target, source)


def exact_boxes(
    target: Grid, window: Window, source: Grid, nominal: tuple[float, float]
) -> Footprints:
    """Return the bounding box of the four transformed corners of each pixel of a window.

    Args:
        target: grid of the window, in another CRS than the source.
        window: which pixels.
        source: grid that rows and columns are of.
        nominal: size (rows, cols) of the box around a pixel's centre where a corner has no
            place, or the projection is torn within the pixel.
    """
    rows, cols = exact_centres(target, window, source)
    corner_rows, corner_cols = project(*np.meshgrid(*edges(target, window)), target, source)
    box = [
        np.stack([c[:-1, :-1], c[:-1, 1:], c[1:, :-1], c[1:, 1:]])
        for c in (corner_rows, corner_cols)
    ]
    with np.errstate(invalid="ignore"):
        if is_geographic(source.crs):
            turn = 360.0 / source.pixel_x
            box[1] = snapped(box[1] + np.round((cols - box[1]) / turn) * turn)
        lows, highs = [b.min(axis=0) for b in box], [b.max(axis=0) for b in box]
        whole = np.isfinite(rows) & np.isfinite(cols)
        for b, low, high, centre in zip(box, lows, highs, (rows, cols), strict=True):
            # In a smooth map the corners' mean is the centre; a tear moves it away.
            whole &= np.abs(b.mean(axis=0) - centre) <= 0.2 * (high - low) + SNAP
    torn = np.flatnonzero(~whole)
    for low, high, centre, size in zip(lows, highs, (rows, cols), nominal, strict=True):
        middle = np.where(np.isfinite(rows) & np.isfinite(cols), centre, np.nan).flat[torn]
        low.flat[torn], high.flat[torn] = middle - size / 2, middle + size / 2
    return Footprints(lows[0], highs[0], lows[1], highs[1])


def turn_of(source: Grid) -> int:
    """Return the whole columns of 360 degrees, 0 where the source is not geographic."""
    return round(360.0 / source.pixel_x) if is_geographic(source.crs) else 0


def turns(cols: Floats, source: Grid) -> Floats:
    """Return how many turns each column lies right of the one that the source lies in.

    That one begins at the source's left edge, or half of what the source lacks to 360 degrees
    before it, so that pixels just outside a regional grid stay beside it on either side.
    """
    if not is_geographic(source.crs):
        return np.zeros_like(cols)
    turn = 360.0 / source.pixel_x
    begin = min(0.0, (source.width - turn) / 2)
    with np.errstate(invalid="ignore"):
        counted: Floats = np.floor((cols - begin + SNAP) / turn)
    return counted


def wrapped(cols: Floats, source: Grid) -> Floats:
    """Return columns moved by whole turns to where the source lies."""
    counted = turns(cols, source)
    if not counted.any():
        return cols
    with np.errstate(invalid="ignore"):
        return cols - counted * (360.0 / source.pixel_x)


def snapped(values: Floats) -> Floats:
    """Return coordinates, those within 1e-6 of a pixel's border or centre moved onto it."""
    with np.errstate(invalid="ignore"):
        halves = np.round(values * 2.0) / 2.0
        return np.where(np.abs(values - halves) <= SNAP, halves, values)
