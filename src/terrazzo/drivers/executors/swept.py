"""The order of a run's blocks, chosen so that decoded tiles are used while they are kept."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakSet

from terrazzo.engine.demand import central_block, cost, demand, nothing_wanted
from terrazzo.geo.blocks import Sweep
from terrazzo.geo.grid import Window
from terrazzo.storage.needed import needed
from terrazzo.storage.source import RasterSource

if TYPE_CHECKING:
    from terrazzo.engine import Plan
    from terrazzo.geo.blocks import Blocks
    from terrazzo.storage.blocks import BlockCache

SHARE = 2
"""Of the cache, a column of blocks may take one part in so many; the next needs some, too."""
MOST_ROWS = 64
"""Of a band: what is decoded twice is no more than a few hundredths then."""


def swept(plan: Plan, blocks: Blocks, cache_bytes: int) -> Sweep:
    """Return the blocks of a plan in bands as high as the cache of decoded tiles has room for.

    The middle of the plan is taken for all. Where a row of blocks fits as a whole, or not even a
    few below each other, as with strips as wide as an image, they go row by row.

    Args:
        plan: what is computed.
        blocks: of its window.
        cache_bytes: bound of the cache.
    """
    across, room = blocks.across, cache_bytes // SHARE
    down = len(blocks) // max(across, 1)
    if across * down <= 1:
        return Sweep(blocks)
    middle = central_block(plan, blocks.edge)
    least = cost(plan, middle).read_bytes  # asked first, as it does not ask every file

    def fits(rows: int, cols: int) -> bool:
        if rows * cols * least > room:
            return False
        return _tile_bytes(plan, _around(middle, rows, cols, plan.window)) <= room

    if fits(1, across):
        return Sweep(blocks)
    rows = 1
    while 2 * rows <= min(down, MOST_ROWS) and fits(2 * rows, 1):
        rows *= 2
    return Sweep(blocks, rows)


def grown(plan: Plan, blocks: Blocks, cache_bytes: int, memory_bytes: int, at_a_time: int) -> int:
    """Let sources keep decoded tiles in memory that blocks leave; return how many bytes at most.

    Half of what is left is taken, and no more than the tiles of a row of blocks: the next row
    reads them once more, and nobody after it. Sources of plans before this one go back to
    `cache_bytes`: the memory is there once.

    Args:
        plan: what is computed.
        blocks: of its window.
        cache_bytes: what they may keep anyway.
        memory_bytes: for each block that is computed at a time.
        at_a_time: how many those are.
    """
    room = max(cache_bytes, _spare(plan, blocks, cache_bytes, memory_bytes * at_a_time, at_a_time))
    sources = [step.bound.source for step in plan.steps]
    caches = {one.reader.cache for one in sources if isinstance(one, RasterSource)}
    with _growing:
        for cache in [one for one in _grown if one not in caches]:
            cache.resize(cache_bytes)
            _grown.discard(cache)
        for cache in caches:
            cache.resize(room)
            _grown.add(cache)
    return room


def _spare(plan: Plan, blocks: Blocks, cache_bytes: int, memory_bytes: int, at_a_time: int) -> int:
    """Return the bytes that are worth keeping; 0 where there are no more than are kept anyway."""
    if not len(blocks):
        return 0
    middle = central_block(plan, blocks.edge)
    left = (memory_bytes - at_a_time * cost(plan, middle).memory_bytes) // 2
    return 0 if left <= cache_bytes else min(left, blocks.across * _tile_bytes(plan, middle))


_grown: WeakSet[BlockCache] = WeakSet()
"""Caches that keep more than they may anyway."""
_growing = threading.Lock()


def _around(block: Window, rows: int, cols: int, whole: Window) -> Window:
    """Return a window of so many rows and columns of blocks about one, inside the whole."""
    height, width = min(rows * block.height, whole.height), min(cols * block.width, whole.width)
    row, col = min(block.row, whole.row_stop - height), min(block.col, whole.col_stop - width)
    return Window(row, col, height, width)


def _tile_bytes(plan: Plan, window: Window) -> int:
    """Return the bytes of all internal tiles that a window is made of, decoded."""
    wanted, total = demand(plan, window), 0
    for number, step in enumerate(plan.steps):
        here, source = wanted.windows[number], step.bound.source
        if not step.reads or step.grid is None or nothing_wanted(step, here):
            continue
        if isinstance(source, RasterSource):
            total += needed(source, step.grid, here, step.wanted, step.method).tile_bytes
    return total
