"""Rasterio (GDAL) and SciPy, by hand, in threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from scipy.ndimage import convolve

from bench import graphs
from bench.contestants.cubes import blocks, reflectance
from bench.dataset import NODATA, PIXEL, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bench.contestants.cubes import Place

    Arrays = dict[str, np.ndarray]
    Spec = Mapping[str, Any]


def contestant(parameters: dict[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Do each of `parameters["tasks"]` by the function of this module that `way` names."""
    way = globals()[parameters["way"]]
    return {name: partial(way, spec) for name, spec in parameters["tasks"].items()}


def coarse_warped(spec: Spec) -> Arrays:
    """Average with GDAL's warper, which chooses the overview."""
    data = Dataset.of(spec["data"])
    count = -(-spec["window"] * int(PIXEL) // graphs.COARSE_METRES)
    metres = float(graphs.COARSE_METRES)
    grid = from_origin(data.bounds[0], data.bounds[3], metres, metres)
    size = {"transform": grid, "width": count, "height": count, "dtype": "float32"}

    def read(file: Any) -> np.ndarray:
        with WarpedVRT(file, resampling=Resampling.average, **size) as warped:
            return warped.read(1)

    return _coarse(spec, count, read)


def coarse_read(spec: Spec) -> Arrays:
    """Average with a decimated read, which chooses the overview, too."""
    edge = spec["window"]
    count = -(-edge * int(PIXEL) // graphs.COARSE_METRES)

    def read(file: Any) -> np.ndarray:
        shape, method = (count, count), Resampling.average
        # Into float32: else GDAL rounds the averages.
        out = np.empty(shape, np.float32)
        return file.read(1, window=Window(0, 0, edge, edge), out=out, resampling=method)

    return _coarse(spec, count, read)


def _coarse(spec: Spec, count: int, read: Callable[[Any], np.ndarray]) -> Arrays:
    data, bands = Dataset.of(spec["data"]), ("B04", "B08")
    out = np.empty((data.dates, len(bands), count, count), np.float32)

    def one(place: tuple[tuple[int, Any], tuple[int, str]]) -> None:
        (t, day), (b, band) = place
        with rasterio.open(data.asset(day, band)) as file:
            numbers = read(file)
        out[t, b] = reflectance(numbers, ~(numbers > NODATA))

    with ThreadPoolExecutor(spec["threads"]) as pool:
        list(pool.map(one, product(enumerate(data.days), enumerate(bands))))
    return {"result": out}


def smooth(spec: Spec) -> Arrays:
    """Read each block with half a kernel around it and convolve it with SciPy."""
    data, edge = Dataset.of(spec["data"]), spec["window"]
    kernel = np.array(graphs.KERNEL, np.float32) / np.float32(273)
    out = np.empty((data.dates, 1, edge, edge), np.float32)
    opened = threading.local()

    def one(place: Place) -> None:
        row, col, height, width = place
        top, left = max(row - 2, 0), max(col - 2, 0)
        stop = min(row + height + 2, data.size), min(col + width + 2, data.size)
        window = Window(left, top, stop[1] - left, stop[0] - top)
        own = np.s_[row - top : row - top + height, col - left : col - left + width]
        for number, day in enumerate(data.days):
            path = str(data.asset(day, "B04"))
            file = vars(opened).setdefault(path, None) or rasterio.open(path)
            vars(opened)[path] = file
            red = file.read(1, window=window)
            image = reflectance(red, red == NODATA, 0)
            smoothed = convolve(image, kernel, mode="constant", output=np.float32)
            out[number, 0, row : row + height, col : col + width] = smoothed[own]

    with ThreadPoolExecutor(spec["threads"]) as pool:
        list(pool.map(one, blocks(edge, spec["block"])))
    return {"result": out}
