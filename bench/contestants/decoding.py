"""Reading the same pixels with rasterio and doing little or nothing: what nobody can save."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import rasterio
import shapely
from rasterio.windows import Window

from bench import graphs
from bench.contestants.cubes import blocks
from bench.dataset import LEFT, PIXEL, TOP, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

    from bench.contestants.cubes import Place

    Task = Callable[[], dict[str, np.ndarray]]

TILE = 512
"""Edge of an internal tile, pixels."""


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
    """Read the internal tiles of both bands that polygons of a file touch, and no more."""
    data = Dataset.of(parameters["data"])
    windows = touched(data, Path(parameters["parcels"]))

    def task() -> dict[str, np.ndarray]:
        for day in data.days:
            for band in ("B04", "B08"):
                with rasterio.open(data.asset(day, band)) as file:
                    for window in windows:
                        file.read(1, window=window)
        return {"tiles": np.array(len(windows))}

    return {"images": task}


def index_of(data: Dataset, day: date) -> np.ndarray:
    """Return the index of a date, NaN where there is no data."""
    bands = []
    for band in ("B04", "B08"):
        with rasterio.open(data.asset(day, band)) as file:
            bands.append(file.read(1))
    red, nir = (band.astype(np.float32) for band in bands)
    with np.errstate(invalid="ignore", divide="ignore"):
        index = (nir - red) / (nir + red - graphs.TWICE_OFFSET)
    index[(bands[0] == 0) | (bands[1] == 0)] = np.nan
    return index


def touched(data: Dataset, parcels: Path) -> list[Window]:
    """Return the internal tiles that polygons touch, in row order."""
    places = list(blocks(data.size, TILE))
    rows, cols, heights, widths = PIXEL * np.array(places).T
    tiles = shapely.box(LEFT + cols, TOP - rows - heights, LEFT + cols + widths, TOP - rows)
    shapes = geopandas.read_parquet(parcels).geometry.to_numpy()
    found = np.unique(shapely.STRtree(tiles).query(shapes, predicate="intersects")[1])
    return [Window(col, row, width, height) for row, col, height, width in np.array(places)[found]]
