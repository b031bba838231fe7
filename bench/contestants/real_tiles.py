"""A tile of the real series: Terrazzo's tile layer, and the mosaic reader of rio-tiler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import graphs
from bench.contestants.tiles import EDGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Arrays = dict[str, np.ndarray]

TASK = "real tile"


def terrazzo(parameters: Mapping[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Ask a layer for its tile again, with an empty block cache if `state` is cold."""
    from bench.contestants.terrazzo_tiles import block_cache  # noqa: PLC0415 - as below
    from terrazzo.drivers.job import Job, Workspace  # noqa: PLC0415
    from terrazzo.drivers.tile import MERCATOR, TileLayer  # noqa: PLC0415

    job = Job.of(graphs.real_median())
    tiles = TileLayer(job.infer(Workspace(Path(parameters["home"]))), tile=EDGE)
    zoom, x, y = parameters["tile"]

    def task() -> Arrays:
        plan = tiles.plan(MERCATOR, zoom)
        if parameters["state"] == "cold" and plan is not None:
            block_cache(plan).clear()
        cube = tiles.cube(MERCATOR, zoom, x, y)
        return {"result": np.where(cube.valid, cube.values, np.nan)}

    return {TASK: task}


def rio_tiler(parameters: Mapping[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Read every item's tile and take the median."""
    import pystac  # noqa: PLC0415 - the other contestant must not pay for these
    from rio_tiler.io import STACReader  # noqa: PLC0415
    from rio_tiler.mosaic.methods.defaults import MedianMethod  # noqa: PLC0415
    from rio_tiler.mosaic.reader import mosaic_reader  # noqa: PLC0415

    found = json.loads(Path(parameters["items"]).read_text())
    items = [pystac.Item.from_dict(item) for item in found]
    zoom, x, y = parameters["tile"]
    options = {"tilesize": EDGE, "assets": ["B8", "B4"], "expression": "(b1-b2)/(b1+b2)"}

    def read(item: Any, *place: int, **_: Any) -> Any:
        with STACReader(None, item=item) as reader:
            return reader.tile(*place, threads=1, **options)

    def task() -> Arrays:
        method = MedianMethod()
        image, _ = mosaic_reader(items, read, x, y, zoom, pixel_selection=method, threads=1)
        return {"result": image.array.astype(np.float32).filled(np.nan)[0]}

    return {TASK: task}
