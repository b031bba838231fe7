"""Pixels under polygons: the map-reduce beneath `extract` and `aggregate_spatial`.

Images are walked block by block, each block once; a polygon is finished as soon as its last
block has been, with its pixels in row order, so that its numbers do not depend on the blocks
and memory holds only the polygons that the current blocks cut.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.cube import Kind
from terrazzo.engine import evaluate
from terrazzo.geo.blocks import Blocks
from terrazzo.geo.coverage import coverage
from terrazzo.geo.grid import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.cube import Cube, Mask, Values
    from terrazzo.engine import Plan
    from terrazzo.progress import Progress


@dataclass(frozen=True, slots=True)
class PolygonPixels:
    """The pixels of some polygons, one polygon after the other, each in row order."""

    polygons: NDArray[np.int64]
    """Positions of the polygons."""
    starts: NDArray[np.int64]
    """Where each polygon's pixels start; one more entry than `polygons`."""
    weights: NDArray[np.float64]
    """(pixel,) share of the pixel that the polygon covers, 0..1."""
    values: Values
    """(pixel, label) values; the labels of all dimensions but space, flattened."""
    valid: Mask
    """(pixel, label) True = valid."""


@dataclass(frozen=True, slots=True)
class _Entries:
    """Covered pixels: one entry per polygon and pixel."""

    polygon: NDArray[np.int64]
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    weight: NDArray[np.float64]

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> _Entries:
        return _Entries(self.polygon[index], self.row[index], self.col[index], self.weight[index])


def polygon_pixels(
    plan: Plan,
    shapes: Sequence[BaseGeometry],
    *,
    block: int,
    workers: int,
    progress: Progress,
    keep: Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]]
    | None = None,
) -> Iterator[PolygonPixels]:
    """Evaluate a plan under polygons and yield them as they are finished.

    Args:
        plan: the raster that is reduced.
        shapes: polygons in the CRS of `plan.grid`; those that cover no pixel are never yielded.
        block: edge of a block, pixels.
        workers: threads that compute blocks.
        progress: told about every block.
        keep: chooses entries by (polygon, row, col) before any pixel is computed; by default
            every pixel that a polygon touches is kept, weighted by its exact coverage.
    """
    entries = _entries(plan, shapes)
    if keep is not None:
        entries = entries.take(keep(entries.polygon, entries.row, entries.col))
    rows, cols = entries.row // block, entries.col // block
    number = rows * Blocks(plan.window, block).across + cols - plan.window.col // block
    order = np.argsort(number, kind="stable")
    entries, number = entries.take(order), number[order]
    blocks, starts = np.unique(number, return_index=True)
    parts = [
        entries.take(slice(start, stop))
        for start, stop in zip(starts, [*starts[1:], len(number)], strict=True)
    ]
    last = np.full(len(shapes), -1, np.int64)
    np.maximum.at(last, entries.polygon, np.searchsorted(blocks, number))
    pending: list[tuple[_Entries, Values, Mask]] = []
    with progress:
        progress.start(len(parts), "blocks")
        for index, sampled in enumerate(_in_order(plan, parts, workers)):
            pending.append((parts[index], *sampled))
            finished = last == index
            if finished.any():
                done, pending = _split(pending, finished)
                yield done
            progress.advance()


def _entries(plan: Plan, shapes: Sequence[BaseGeometry]) -> _Entries:
    covered = coverage(shapes, plan.grid, plan.window)
    return _Entries(
        covered.polygon.astype(np.int64),
        covered.row.astype(np.int64),
        covered.col.astype(np.int64),
        covered.weight,
    )


def _in_order(plan: Plan, parts: Sequence[_Entries], workers: int) -> Iterator[tuple[Values, Mask]]:
    """Compute blocks with a few threads, ahead of whoever takes the results in order."""
    with ThreadPoolExecutor(workers, thread_name_prefix="block") as pool:
        running: deque[Future[tuple[Values, Mask]]] = deque()
        upcoming = iter(parts)
        try:
            while True:
                while len(running) < 2 * workers:
                    part = next(upcoming, None)
                    if part is None:
                        break
                    running.append(pool.submit(_sample, plan, part))
                if not running:
                    return
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def _sample(plan: Plan, part: _Entries) -> tuple[Values, Mask]:
    """Evaluate the smallest window that holds the entries and take their pixels."""
    row, col = int(part.row.min()), int(part.col.min())
    window = Window(row, col, int(part.row.max()) - row + 1, int(part.col.max()) - col + 1)
    cube = evaluate(plan, window)
    index = (..., part.row - row, part.col - col)
    size = len(part.row)
    values = cube.values[index].reshape(-1, size).T
    valid = cube.valid[index].reshape(-1, size).T
    return np.ascontiguousarray(values), np.ascontiguousarray(valid)


def _split(
    pending: list[tuple[_Entries, Values, Mask]], finished: NDArray[np.bool_]
) -> tuple[PolygonPixels, list[tuple[_Entries, Values, Mask]]]:
    """Take the finished polygons out of what is pending."""
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


def label_rows(probe: Cube) -> dict[str, list[object]]:
    """Return, by dimension, the label of every flattened column of `PolygonPixels.values`."""
    labelled = [d for d in probe.dimensions if d.kind is not Kind.SPATIAL]
    rows: dict[str, list[object]] = {d.name: [] for d in labelled}
    for position in np.ndindex(*(len(d.labels) for d in labelled)):
        for dimension, index in zip(labelled, position, strict=True):
            rows[dimension.name].append(dimension.labels[index])
    return rows
