"""Reading the same pixels with rasterio and doing nothing: what nobody can save."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import rasterio
from rasterio.windows import Window

from bench.contestants import composites
from bench.contestants.composites import BLOCK, THREADS
from bench.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

    Task = Callable[[], dict[str, np.ndarray]]


def _blocks(edge: int) -> Iterator[tuple[int, int, int, int]]:
    for row in range(0, edge, BLOCK):
        for col in range(0, edge, BLOCK):
            yield row, col, min(BLOCK, edge - row), min(BLOCK, edge - col)


def composite(parameters: dict[str, Any]) -> dict[str, Task]:
    """Read the blocks of the composite, each thread with its own open files."""
    data, edge = Dataset.of(parameters), parameters["window"]

    def block(files: threading.local, place: tuple[int, int, int, int]) -> None:
        opened = vars(files)
        for day in data.days:
            for band, factor in (("B04", 1), ("B08", 1), ("SCL", 2)):
                path = str(data.asset(day, band))
                if path not in opened:
                    opened[path] = rasterio.open(path)
                row, col, height, width = (number // factor for number in place)
                opened[path].read(1, window=Window(col, row, width, height))

    def task() -> dict[str, np.ndarray]:
        files = threading.local()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda place: block(files, place), _blocks(edge)))
        return {}

    return {composites.TASK: task}


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
