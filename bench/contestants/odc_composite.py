"""Odc-stac with Dask."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import odc.stac
import pystac
import rasterio
import rasterio.shutil
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

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
    return {TASK: lambda: {"index": _medians(load())}}


def to_file(parameters: dict[str, Any]) -> dict[str, Task]:
    """Do `by_block`, then write the COG that our batch driver writes by default."""
    data, load = Dataset.of(parameters), _loader(parameters)

    def task() -> dict[str, np.ndarray]:
        index = _medians(load())
        with tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder:
            raw, picture = Path(folder) / "raw.tif", Path(folder) / "index.tif"
            with rasterio.open(
                raw,
                "w",
                driver="GTiff",
                dtype="float32",
                count=1,
                height=index.shape[0],
                width=index.shape[1],
                crs=CRS,
                transform=from_origin(data.bounds[0], data.bounds[3], 10, 10),
                nodata=np.nan,
                tiled=True,
            ) as file:
                file.write(index, 1)
            options = {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "OVERVIEW_RESAMPLING": "AVERAGE"}
            rasterio.shutil.copy(raw, picture, driver="COG", BLOCKSIZE=512, **options)
            with rasterio.open(picture) as file:
                return {"index": file.read(1)}

    return {TASK: task}


def _medians(cube: Any) -> np.ndarray:
    arrays = [cube[name].data for name in ("B04", "B08", "SCL")]
    return da.map_blocks(clear_median, *arrays, drop_axis=0, dtype="f4").compute()


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
