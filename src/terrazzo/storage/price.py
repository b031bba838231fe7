"""What a read takes, from what items say of their files: without a pixel."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import ReadCost
from terrazzo.storage.headers import level_factors
from terrazzo.storage.target import level_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from terrazzo.geo.grid import Grid
    from terrazzo.storage.gathered import Integers, Scenes
    from terrazzo.storage.target import Reach

ASSUMED_SMALLEST = 512
"""For costs, a file of unknown overviews has halves down to this size, as a COG does."""


def cost_of(
    scenes: Scenes,
    places: Integers,
    bands: Sequence[int],
    reach: Reach,
    method: str,
    unknown: tuple[Grid, np.dtype[Any]],
) -> ReadCost:
    """Say what a read takes; opens nothing.

    Args:
        scenes: the images of a source.
        places: those of them that may have pixels there, by their positions in reading order.
        bands: positions of the bands that are read.
        reach: the pixels that are wanted.
        method: how they are resampled.
        unknown: lattice and type of bands of which nothing is known.
    """
    native, dtype = unknown
    files = 0
    alike: Counter[tuple[Grid, tuple[int, ...], int]] = Counter()
    numbers, counts = np.unique(scenes.kind[places], return_counts=True)
    for kind, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        slots = set()
        for band in bands:
            form = scenes.kinds.form(kind, band)
            if form is None or (form.grid and not reach.touches((form.grid.bounds, form.grid.crs))):
                continue
            slots.add(scenes.kinds.slots[kind, band])
            source = form.grid or native
            size = np.dtype(form.dtype or dtype).itemsize
            alike[source, _overviews(form.overviews, source), size] += count
        files += count * len(slots)
    pixels = total = 0
    for (source, overviews, size), several in alike.items():
        level = level_for(reach.grid, source, overviews, method)
        count = several * _pixels_of(reach, source, level_factors(source, overviews)[level])
        pixels += count
        total += count * size
    return ReadCost(files, pixels, total)


def _overviews(known: tuple[int, ...] | None, source: Grid) -> tuple[int, ...]:
    if known is not None:
        return known
    edge = max(source.height, source.width) / ASSUMED_SMALLEST
    return tuple(2**n for n in range(1, max(math.ceil(math.log2(max(edge, 1.0))), 0) + 1))


def _pixels_of(reach: Reach, source: Grid, factors: tuple[float, float]) -> int:
    """Estimate the pixels of an overview that a read of one band takes."""
    same = source.crs == reach.grid.crs
    here = reach.grid.bounds_of(reach.window) if same else reach.bounds_in(source.crs)
    needed = source.window
    if here is not None:
        touched = source.window_of(here).intersection(source.window)
        needed = touched if same or not touched.is_empty else needed
    return math.ceil(needed.height / factors[0]) * math.ceil(needed.width / factors[1])
