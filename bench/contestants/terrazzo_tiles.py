"""Terrazzo's tile layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench import graphs
from bench.contestants.tiles import BLACK, EDGE, WHITE, tasks
from bench.dataset import Dataset
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.tile import MERCATOR, TileLayer, View, shown
from terrazzo.storage.writers.picture import Style, encode_picture

if TYPE_CHECKING:
    from bench.contestants.tiles import Task


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Make the layer anew for every tile if `cold`: graph, search, plan, empty cache."""
    data = Dataset.of(parameters)
    view = View(Style(((BLACK, WHITE),)), graphs.THREE_BANDS)
    known: dict[str, TileLayer] = {}

    def layer(suite: str) -> TileLayer:
        graph = graphs.three_bands(data) if suite == "rgb" else graphs.ndvi_median(data)
        if suite not in known or parameters["cold"]:
            known[suite] = TileLayer(Job.of(graph).infer(Workspace(data.home)), tile=EDGE)
        return known[suite]

    def rgb(zoom: int, x: int, y: int) -> np.ndarray:
        cube = layer("rgb").cube(MERCATOR, zoom, x, y)
        encode_picture(shown(cube, view), view.style, "png")
        return np.where(cube.valid, cube.values, np.nan)[0]

    def median(zoom: int, x: int, y: int) -> np.ndarray:
        cube = layer("median").cube(MERCATOR, zoom, x, y)
        return np.where(cube.valid, cube.values, np.nan)

    return tasks(parameters, {"rgb": rgb, "median": median})
