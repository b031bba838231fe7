"""Pixels under geometries, out of blocks: the map-reduce of `extract` and `aggregate_spatial`.

Images are walked block by block, each block once; a geometry is finished as soon as its last
block has been, with its pixels in row order, so that its numbers do not depend on the blocks
and memory holds only the pixels of geometries that the current blocks cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.geo.blocks import Blocks
from terrazzo.geo.grid import Window
from terrazzo.geo.runs import runs_of
from terrazzo.geo.shapes import mended

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.cube import Cube, Mask, Values
    from terrazzo.geo.grid import Grid

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PolygonPixels:
    """The pixels of some geometries, one geometry after the other, each in row order."""

    polygons: Ints
    """Positions of the geometries."""
    starts: Ints
    """Where each geometry's pixels start; one more entry than `polygons`."""
    weights: NDArray[np.float64]
    """(pixel,) share of the pixel that the polygon covers, 0..1; 1 for points and lines."""
    values: Values
    """(pixel, label) values; the labels of all dimensions but space, flattened."""
    valid: Mask
    """(pixel, label) True = valid."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Pixels under geometries: one entry per geometry and pixel."""

    polygon: Ints
    row: Ints
    col: Ints
    weight: NDArray[np.float64]

    def take(self, index: Ints | Mask | slice) -> Entries:
        """Return some of them."""
        return Entries(self.polygon[index], self.row[index], self.col[index], self.weight[index])

    @property
    def window(self) -> Window:
        """The smallest window that holds them."""
        row, col = int(self.row.min()), int(self.col.min())
        return Window(row, col, int(self.row.max()) - row + 1, int(self.col.max()) - col + 1)


def centred(shapes: Sequence[BaseGeometry], grid: Grid, window: Window) -> Entries:
    """Return the pixels that openEO counts to geometries, all with weight 1.

    Polygons have the pixels whose centre they hold or touch, points the pixel that they lie in,
    lines those that they run through.
    """
    geometries, _ = mended(shapes)
    found = runs_of(geometries, grid, window, "centre").pixels
    polygon, row, col = (a.astype(np.int64) for a in (found.polygon, found.row, found.col))
    return Entries(polygon, row, col, found.weight)


@dataclass(eq=False)
class ZonePixels:
    """Brings the pixels of geometries together, window by window."""

    entries: Entries
    """What is wanted."""
    count: int
    """How many geometries there are."""
    _parts: list[Entries] = field(default_factory=list, init=False)
    _last: Ints = field(init=False)
    _pending: list[tuple[Entries, Values, Mask]] = field(default_factory=list, init=False)

    def windows(self, extent: Window, edge: int) -> list[Window]:
        """Return the smallest windows of blocks that hold all that is wanted, in row order."""
        entries = self.entries
        rows, cols = entries.row // edge, entries.col // edge
        number = rows * Blocks(extent, edge).across + cols - extent.col // edge
        order = np.argsort(number, kind="stable")
        entries, number = entries.take(order), number[order]
        blocks, starts = np.unique(number, return_index=True)
        self._parts = [
            entries.take(slice(start, stop))
            for start, stop in zip(starts, np.append(starts, len(number))[1:], strict=True)
        ]
        self._last = np.full(self.count, -1, np.int64)
        np.maximum.at(self._last, entries.polygon, np.searchsorted(blocks, number))
        return [part.window for part in self._parts]

    def part(self, number: int, cube: Cube) -> tuple[Values, Mask]:
        """Return the wanted pixels of a window: (pixel, label)."""
        entries = self._parts[number]
        window = entries.window
        index = (..., entries.row - window.row, entries.col - window.col)
        size = len(entries.row)
        values = cube.values[index].reshape(-1, size).T
        valid = cube.valid[index].reshape(-1, size).T
        return np.ascontiguousarray(values), np.ascontiguousarray(valid)

    def take(self, number: int, part: tuple[Values, Mask]) -> PolygonPixels | None:
        """Take the pixels of a window, in their order; return the geometries that are whole now."""
        self._pending.append((self._parts[number], *part))
        finished = self._last == number
        if not finished.any():
            return None
        done, self._pending = split(self._pending, finished)
        return done


def split(
    pending: list[tuple[Entries, Values, Mask]], finished: Mask
) -> tuple[PolygonPixels, list[tuple[Entries, Values, Mask]]]:
    """Take the finished geometries out of what is pending.

    Args:
        pending: entries, and (pixel, label) values and masks of them, in any order.
        finished: (geometry,) whether it is whole.

    Returns:
        The finished geometries, each with its pixels in row order; and what is left.
    """
    taken, left = [], []
    for part, values, valid in pending:
        done = finished[part.polygon]
        if done.any():
            taken.append((part.take(done), values[done], valid[done]))
        if not done.all():
            left.append((part.take(~done), values[~done], valid[~done]))
    polygon = np.concatenate([part.polygon for part, _, _ in taken])
    row = np.concatenate([part.row for part, _, _ in taken])
    col = np.concatenate([part.col for part, _, _ in taken])
    weight = np.concatenate([part.weight for part, _, _ in taken])
    order = np.lexsort((col, row, polygon))
    polygons, starts = np.unique(polygon[order], return_index=True)
    return (
        PolygonPixels(
            polygons,
            np.append(starts, len(order)),
            weight[order],
            np.concatenate([values for _, values, _ in taken])[order],
            np.concatenate([valid for _, _, valid in taken])[order],
        ),
        left,
    )
