"""Pixels under polygons, for `extract`: evaluated block by block, yielded as they are finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from terrazzo.cube import Kind
from terrazzo.drivers.walk import walked
from terrazzo.processes.zones import ZonePixels, centred, covered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shapely.geometry.base import BaseGeometry

    from terrazzo.cube import Cube
    from terrazzo.engine import Plan
    from terrazzo.processes.zones import PolygonPixels
    from terrazzo.progress import Progress


def polygon_pixels(
    plan: Plan,
    shapes: Sequence[BaseGeometry],
    *,
    block: int,
    workers: int,
    progress: Progress,
    centres: bool = False,
) -> Iterator[PolygonPixels]:
    """Evaluate a plan under polygons and yield them as they are finished.

    Args:
        plan: the raster that is reduced.
        shapes: polygons in the CRS of `plan.grid`; those that cover no pixel are never yielded.
            Every pixel that one touches counts, weighted by its exact coverage.
        centres: whether only pixels count whose centre a polygon holds, and all alike.
        block: edge of a block, pixels.
        workers: threads that compute blocks.
        progress: told about every block.
    """
    entries = (centred if centres else covered)(shapes, plan.grid, plan.window)
    zones = ZonePixels(entries, len(shapes))
    windows = zones.windows(plan.window, block)
    for number, part in walked(plan, windows, zones.part, workers=workers, progress=progress):
        done = zones.take(number, part)
        if done is not None:
            yield done


def label_rows(probe: Cube) -> dict[str, list[object]]:
    """Return, by dimension, the label of every flattened column of `PolygonPixels.values`."""
    labelled = [d for d in probe.dimensions if d.kind is not Kind.SPATIAL]
    rows: dict[str, list[object]] = {d.name: [] for d in labelled}
    for position in np.ndindex(*(len(d.labels) for d in labelled)):
        for dimension, index in zip(labelled, position, strict=True):
            rows[dimension.name].append(dimension.labels[index])
    return rows
