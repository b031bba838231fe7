"""What a read takes, and of which versions of which files: from what items say, without a pixel."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from terrazzo.cube import ReadCost
from terrazzo.storage.fetching import side_by_side
from terrazzo.storage.headers import level_factors
from terrazzo.storage.target import level_for, outline_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from terrazzo.geo.grid import Grid
    from terrazzo.storage.gate import AssetName
    from terrazzo.storage.scenes import AssetBand, SceneItem
    from terrazzo.storage.target import Reach

    Batches = Iterable[Sequence[SceneItem]]

ASSUMED_SMALLEST = 512
"""For costs, a file of unknown overviews has halves down to this size, as a COG does."""


def cost_of(
    batches: Batches,
    names: Sequence[str],
    reach: Reach,
    method: str,
    unknown: tuple[Grid, np.dtype[Any]],
) -> ReadCost:
    """Say what a read takes; opens nothing.

    Args:
        batches: images that may have pixels there.
        names: the bands that are read.
        reach: the pixels that are wanted.
        method: how they are resampled.
        unknown: lattice and type of bands of which nothing is known.
    """
    files: set[tuple[str, str]] = set()
    alike: Counter[tuple[Grid, tuple[int, ...], int]] = Counter()
    native, dtype = unknown
    for item, band in _touched(batches, names, reach):
        files.add((item.id, band.asset.key))
        source = band.grid or native
        size = np.dtype(band.dtype or dtype).itemsize
        alike[source, _overviews(band, source), size] += 1
    pixels = total = 0
    for (source, overviews, size), bands in alike.items():
        level = level_for(reach.grid, source, overviews, method)
        count = bands * _pixels_of(reach, source, level_factors(source, overviews)[level])
        pixels += count
        total += count * size
    return ReadCost(len(files), pixels, total)


def version_of(batches: Batches, names: Sequence[str], reach: Reach) -> str:
    """Return a digest of what a read takes, and of its files as they are now.

    Args:
        batches: images that may have pixels there, in reading order.
        names: the bands that are read.
        reach: the pixels that are wanted.
    """
    digest = hashlib.sha256()
    for items in batches:
        touched = list(_touched((items,), names, reach))
        stamps = _stamps({band.asset for _, band in touched})
        for item, band in touched:
            facts = band.index, band.nodata, band.scale, band.offset
            told = repr((item.id, band.band_name, band.asset.key, *facts))
            digest.update(told.encode() + stamps[band.asset])
    return digest.hexdigest()[:16]


def _touched(
    batches: Batches, names: Sequence[str], reach: Reach
) -> Iterator[tuple[SceneItem, AssetBand]]:
    for items in batches:
        for item in items:
            for band in map(item.band, names):
                if band is not None and reach.touches(outline_of(item, band)):
                    yield item, band


def _stamps(files: Collection[AssetName]) -> dict[AssetName, bytes]:
    """Return what files are known by now; servers are asked side by side."""
    remote = [file for file in files if file.is_remote]
    found = dict(zip(remote, side_by_side(_stamp, remote), strict=True))
    return found | {file: _stamp(file) for file in files if not file.is_remote}


def _stamp(file: AssetName) -> bytes:
    return repr(file.stamp).encode()


def _overviews(band: AssetBand, source: Grid) -> tuple[int, ...]:
    if band.overviews is not None:
        return band.overviews
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
