"""Pixels read for each pixel needed: a target that depends on no machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import Transformer
from rasterio.features import rasterize
from rasterio.transform import from_origin

from bench import graphs
from bench.contestants.terrazzo_tiles import block_cache
from bench.dataset import CRS, LEFT, PIXEL, TOP
from bench.overviews import overview
from bench.report import Row, Section, Table, Target
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.tile import MERCATOR, NATIVE, TileLayer
from terrazzo.engine import cost, evaluate
from terrazzo.geo.grid import Window

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.options import Options
    from terrazzo.engine import Plan
    from terrazzo.geo.grid import Grid
    from terrazzo.storage.blocks import BlockCache

EDGE = 256
MOST = 1.3
"""Pixels that may be asked of the files for each pixel needed."""
BYTES = 2
"""Of a stored pixel: B04 and B08 are uint16."""
ZOOMS = {MERCATOR: range(9, 18), NATIVE: range(3)}
"""Web Mercator zooms; for the files' own grid: how often it is halved."""


@dataclass
class Count:
    """What some windows took; pixels, all bands and dates."""

    windows: int = 0
    needed: int = 0
    requested: int = 0
    decoded: int = 0
    planned: int = 0
    shown: int = 0
    worst: float = 0.0

    def add(self, other: Count) -> None:
        """Add another count."""
        for name in ("windows", "needed", "requested", "decoded", "planned", "shown"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.worst = max(self.worst, other.worst)


def run(data: Dataset, options: Options) -> Section:
    """Read windows at random places and count."""
    count = 4 if options.quick else 25
    layer = TileLayer(Job.of(graphs.ndvi_median(data)).infer(Workspace(data.home)), tile=EDGE)
    rng = np.random.default_rng(7)
    columns = (
        "windows",
        "requested",
        "worst window",
        "planned",
        "decoded",
        "requested per result pixel",
    )
    table = Table("Pixels per pixel needed", columns)
    total = Count()
    ratios: dict[str, float] = {}
    for matrix, zooms in ZOOMS.items():
        for step in zooms:
            zoom = step if matrix == MERCATOR else layer.matrix(NATIVE).base_zoom - step
            counted = _at(layer, data, (matrix, zoom), rng, count)
            utm = f"UTM, {PIXEL * 2**step:.0f} m"
            name = f"Web Mercator z{zoom}" if matrix == MERCATOR else utm
            table.rows.append(Row(name, _cells(counted)))
            total.add(counted)
            ratios[name] = counted.requested / max(counted.needed, 1)
            options.say(f"pixels, {name}: {ratios[name]:.2f}")
    table.rows.append(Row("**all**", _cells(total)))
    section = Section(
        "pixels",
        "Pixels read",
        f"{EDGE} px windows at random places (NDVI, median of {data.dates} dates), cache emptied "
        "before each. *Needed* are the pixels that the window touches in the overview just finer "
        "than the screen (or the coarsest that the files have), found by rasterising the window's "
        "projected outline; *requested* is what our source asks of the files, *planned* what the "
        "plan's cost says beforehand, *decoded* what GDAL unpacks because files are made of tiles "
        "of 512 pixels; each for a pixel needed, all bands and dates. A warm block cache makes "
        "*decoded* smaller.",
        "There is no peer here: none counts what it reads.",
    )
    section.tables.append(table)
    worst = max(ratios, key=lambda name: ratios[name])
    text = f"Pixels requested / needed, {EDGE} px windows, worst zoom ({worst})"
    section.targets.append(Target.at_most(text, MOST, ratios[worst], timed=False))
    return section


def _cells(count: Count) -> tuple[str, ...]:
    needed = max(count.needed, 1)
    return (
        str(count.windows),
        f"{count.requested / needed:.2f}",
        f"{count.worst:.2f}",
        f"{count.planned / needed:.2f}",
        f"{count.decoded / needed:.2f}",
        f"{count.requested / max(count.shown, 1):.2f}",
    )


def _at(
    layer: TileLayer, data: Dataset, level: tuple[str, int], rng: np.random.Generator, count: int
) -> Count:
    """Count windows of one zoom level whose centres lie somewhere in the data."""
    plan, total = layer.plan(*level), Count()
    if plan is None:
        return total
    cache = block_cache(plan)
    left, bottom, right, top = data.bounds
    for _ in range(count):
        x, y = rng.uniform(left, right), rng.uniform(bottom, top)
        window = _around(plan.grid, x, y)
        total.add(_one(plan, window, cache, data))
    return total


def _around(grid: Grid, x: float, y: float) -> Window:
    x, y = Transformer.from_crs(CRS, grid.crs, always_xy=True).transform(x, y)
    col, row = int((x - grid.left) / grid.pixel_x), int((grid.top - y) / grid.pixel_y)
    return Window(row - EDGE // 2, col - EDGE // 2, EDGE, EDGE)


def _one(plan: Plan, window: Window, cache: BlockCache, data: Dataset) -> Count:
    planned = cost(plan, window).read_pixels
    cache.clear()
    before = cache.counts
    evaluate(plan, window)
    after = cache.counts
    layers = 2 * data.dates
    needed = layers * needed_pixels(plan.grid, window, data.size)
    requested = after.pixels_requested - before.pixels_requested
    return Count(
        windows=1,
        needed=needed,
        requested=requested,
        decoded=(after.bytes_decoded - before.bytes_decoded) // BYTES,
        planned=planned,
        shown=layers * window.intersection(plan.window).pixels,
        worst=requested / max(needed, 1),
    )


def needed_pixels(grid: Grid, window: Window, size: int) -> int:
    """Return how many pixels of one file a window touches, in the overview just finer than it."""
    bounds = grid.bounds_of(window)
    outline = shapely.segmentize(shapely.box(*bounds), grid.pixel_x * 8)
    if grid.crs != CRS:
        into = Transformer.from_crs(grid.crs, CRS, always_xy=True)
        outline = shapely.transform(outline, into.transform, interleaved=False)
    factor = overview(grid, window, size)
    pixel = PIXEL * factor
    rows = math.ceil(size / factor)
    scene = shapely.box(LEFT, TOP - size * PIXEL, LEFT + size * PIXEL, TOP)
    inside = shapely.intersection(outline, scene)
    if inside.is_empty:
        return 0
    touched = rasterize(
        [(inside.buffer(-1e-6 * pixel), 1)],
        out_shape=(rows, rows),
        transform=from_origin(LEFT, TOP, pixel, pixel),
        all_touched=True,
        dtype="uint8",
    )
    return int(touched.sum())
