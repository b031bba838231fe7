"""Terrazzo's tile layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench import graphs
from bench.contestants.tiles import BLACK, EDGE, HIGHEST, LOWEST, WHITE, tasks
from bench.dataset import Dataset
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.tile import MERCATOR, TileLayer, View, shown
from terrazzo.storage.writers.picture import Style, encode_picture

if TYPE_CHECKING:
    from bench.contestants.tiles import Task
    from terrazzo.engine import Plan
    from terrazzo.storage.blocks import BlockCache

VIEWS = {
    "rgb": View(Style(((BLACK, WHITE),)), graphs.THREE_BANDS),
    "median": View(Style(((LOWEST, HIGHEST),), "viridis")),
}


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Make the layer anew for every tile if `state` is new; empty its block cache if cold."""
    data, state = Dataset.of(parameters), parameters["state"]
    known: dict[str, TileLayer] = {}

    def layer(suite: str) -> TileLayer:
        if suite not in known or state == "new":
            graph = graphs.three_bands(data) if suite == "rgb" else graphs.ndvi_median(data)
            known[suite] = TileLayer(Job.of(graph).infer(Workspace(data.home)), tile=EDGE)
        return known[suite]

    def picture(suite: str, zoom: int, x: int, y: int) -> np.ndarray:
        tiles = layer(suite)
        plan = tiles.plan(MERCATOR, zoom)
        if state == "cold" and plan is not None:
            block_cache(plan).clear()
        cube = tiles.cube(MERCATOR, zoom, x, y)
        encode_picture(shown(cube, VIEWS[suite]), VIEWS[suite].style, "png")
        pixels = np.where(cube.valid, cube.values, np.nan)
        return pixels[0] if suite == "rgb" else pixels

    return tasks(parameters, picture)


def block_cache(plan: Plan) -> BlockCache:
    """Return the cache of decoded tiles that a plan's sources share."""
    source = next(step.bound.source for step in plan.steps if step.reads)
    return source.reader.cache  # type: ignore[union-attr]
