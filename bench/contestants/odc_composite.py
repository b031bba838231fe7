"""Odc-stac with Dask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import odc.stac
import pystac
from odc.geo.geobox import GeoBox

from bench import graphs
from bench.contestants.composites import BLOCK, TASK, THREADS
from bench.dataset import CRS, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    Task = Callable[[], dict[str, np.ndarray]]


def with_xarray(parameters: dict[str, Any]) -> dict[str, Task]:
    """Load into Dask arrays, then xarray's median: what its users write."""
    load = _loader(parameters)

    def task() -> dict[str, np.ndarray]:
        cube = load()
        red, nir = cube.B04.astype("float32"), cube.B08.astype("float32")
        clear = cube.SCL.isin(list(graphs.CLEAR)) & (cube.B04 > 0) & (cube.B08 > 0)
        index = ((nir - red) / (nir + red - graphs.TWICE_OFFSET)).where(clear)
        return {"index": index.median("time", skipna=True).compute().values}

    return {TASK: task}


def by_block(parameters: dict[str, Any]) -> dict[str, Task]:
    """Load into Dask arrays, all maths in one NumPy function per block: tuned by hand."""
    load = _loader(parameters)

    def task() -> dict[str, np.ndarray]:
        cube = load()
        arrays = [cube[name].data for name in ("B04", "B08", "SCL")]
        return {"index": da.map_blocks(clear_median, *arrays, drop_axis=0, dtype="f4").compute()}

    return {TASK: task}


def _loader(parameters: dict[str, Any]) -> Callable[[], Any]:

    data, edge = Dataset.of(parameters), parameters["window"]
    dask.config.set(scheduler="threads", num_workers=THREADS)
    items = [pystac.Item.from_dict(item) for item in data.items]
    left, _, _, top = data.bounds
    box = GeoBox.from_bbox((left, top - 10 * edge, left + 10 * edge, top), CRS, resolution=10)

    def load() -> Any:
        return odc.stac.load(
            items,
            bands=["B04", "B08", "SCL"],
            geobox=box,
            chunks={"x": BLOCK, "y": BLOCK, "time": -1},
            groupby="solar_day",
            resampling="nearest",
        )

    return load


def clear_median(red: np.ndarray, nir: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the median over the first axis of the index of clear pixels, by sorting."""
    clear = np.isin(classes, graphs.CLEAR) & (red > 0) & (nir > 0)
    low, high = red.astype("f4"), nir.astype("f4")
    with np.errstate(invalid="ignore", divide="ignore"):
        index = (high - low) / (high + low - graphs.TWICE_OFFSET)
    index[~clear] = np.nan
    index.sort(axis=0)
    count = clear.sum(axis=0)
    pair = [np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(index) - 1)]
    first, second = (np.take_along_axis(index, at[None], 0)[0] for at in pair)
    return (first + second) / 2
