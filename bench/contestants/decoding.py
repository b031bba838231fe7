"""Reading the same pixels with rasterio and doing nothing: what nobody can save."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.windows import Window

from bench.contestants.cubes import blocks
from bench.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from bench.contestants.cubes import Place

    Task = Callable[[], dict[str, np.ndarray]]


def by_block(parameters: dict[str, Any]) -> dict[str, Task]:
    """Read the bands of each of `parameters["tasks"]`, each thread with its own open files."""
    return {name: partial(_read, spec) for name, spec in parameters["tasks"].items()}


def _read(spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    data, files = Dataset.of(spec["data"]), threading.local()

    def block(place: Place) -> None:
        opened = vars(files)
        for day in data.days:
            for band in spec["bands"]:
                path, factor = str(data.asset(day, band)), 2 if band == "SCL" else 1
                if path not in opened:
                    opened[path] = rasterio.open(path)
                row, col, height, width = (number // factor for number in place)
                opened[path].read(1, window=Window(col, row, width, height))

    with ThreadPoolExecutor(spec["threads"]) as pool:
        list(pool.map(block, blocks(spec["window"], spec["block"])))
    return {}


def parcels(parameters: dict[str, Any]) -> dict[str, Task]:
    """Read both bands of all images and no more."""
    data = Dataset.of(parameters)

    def task() -> dict[str, np.ndarray]:
        for day in data.days:
            for band in ("B04", "B08"):
                with rasterio.open(data.asset(day, band)) as file:
                    file.read(1)
        return {}

    return {"parcels": task}
