"""Odc-stac with Dask: what its users write with xarray, and the same tuned by hand."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import odc.stac
import pystac
import rasterio
import rasterio.shutil
import xarray
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from scipy.ndimage import convolve

from bench import graphs
from bench.contestants.cubes import reflectance
from bench.dataset import CRS, NODATA, PIXEL, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Arrays = dict[str, np.ndarray]
    Spec = Mapping[str, Any]


def contestant(parameters: dict[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Do each of `parameters["tasks"]` by the function of this module that `way` names."""
    dask.config.set(scheduler="threads")
    way = globals()[parameters["way"]]
    return {name: partial(way, spec) for name, spec in parameters["tasks"].items()}


def composite(spec: Spec) -> Arrays:
    """Take xarray's median, as its users write it."""
    cube = _load(spec, ("B04", "B08", "SCL"))
    clear = cube.SCL.isin(list(graphs.CLEAR)) & (cube.B04 > 0) & (cube.B08 > 0)
    return {"result": _computed(spec, _index(cube).where(clear).median("time", skipna=True))}


def composite_by_block(spec: Spec) -> Arrays:
    """All maths in one NumPy function per block."""
    return {"result": _medians(spec)}


def composite_to_file(spec: Spec) -> Arrays:
    """Do it by block, then write the COG that our batch driver writes by default."""
    index, data = _medians(spec), Dataset.of(spec["data"])
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
            transform=from_origin(data.bounds[0], data.bounds[3], PIXEL, PIXEL),
            nodata=np.nan,
            tiled=True,
        ) as file:
            file.write(index, 1)
        options = {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "OVERVIEW_RESAMPLING": "AVERAGE"}
        rasterio.shutil.copy(raw, picture, driver="COG", BLOCKSIZE=512, **options)
        with rasterio.open(picture) as file:
            return {"result": file.read(1)}


def monthly(spec: Spec) -> Arrays:
    """Resample in time with xarray, which finds flox."""
    cube = _load(spec, ("B04", "B08"))
    index = _index(cube).where((cube.B04 > 0) & (cube.B08 > 0))
    with xarray.set_options(use_flox=True):
        return {"result": _computed(spec, index.resample(time="MS").median())}


def monthly_by_block(spec: Spec) -> Arrays:
    """Sort the dates of each month in one NumPy function per block."""
    cube = _load(spec, ("B04", "B08"))
    months = cube.time.dt.month.to_numpy()

    def medians(red: np.ndarray, nir: np.ndarray) -> np.ndarray:
        index, valid = _index_of(red, nir)
        return np.stack([median(index[months == m], valid[months == m]) for m in range(1, 13)])

    bands = [cube[name].data for name in ("B04", "B08")]
    chunks = ((12,), *bands[0].chunks[1:])
    return {"result": _computed(spec, da.map_blocks(medians, *bands, dtype="f4", chunks=chunks))}


def coarse(spec: Spec) -> Arrays:
    """Let odc-stac average while it reads."""
    cube = _load(
        spec, ("B04", "B08"), metres=graphs.COARSE_METRES, resampling="average", dtype="float32"
    )
    numbers = _computed(spec, da.stack([cube.B04.data, cube.B08.data], 1))
    return {"result": reflectance(numbers, ~(numbers > NODATA))}


def smooth(spec: Spec) -> Arrays:
    """Convolve blocks that overlap, with SciPy, date by date."""
    kernel = np.array(graphs.KERNEL, np.float32)[None] / np.float32(273)

    def smoothed(red: np.ndarray) -> np.ndarray:
        image = reflectance(red, red == NODATA, 0)
        return convolve(image, kernel, mode="constant", output=np.float32)

    red = _load(spec, ("B04",)).B04.data
    # Beyond the scene there is no data.
    depth, edges = {1: 2, 2: 2}, {1: NODATA, 2: NODATA}
    lazy = da.map_overlap(smoothed, red, depth=depth, boundary=edges, dtype="f4")
    return {"result": _computed(spec, lazy)[:, None]}


def merged(spec: Spec) -> Arrays:
    """Load both collections on one grid and let xarray choose and average."""
    red, classes = _both(spec)
    green = red.astype("float32").where((classes == graphs.VEGETATION) & (red > 0))
    mean = _computed(spec, green.mean("time", skipna=True))
    return {"result": reflectance(mean, np.isnan(mean))}


def merged_by_block(spec: Spec) -> Arrays:
    """Load both collections on one grid, all maths in one NumPy function per block."""

    def mean(red: np.ndarray, classes: np.ndarray) -> np.ndarray:
        used = (classes == graphs.VEGETATION) & (red > 0)
        count = used.sum(0)
        total = np.where(used, red, 0).sum(0, dtype=np.uint32)
        with np.errstate(invalid="ignore"):
            return reflectance((total / count).astype("f4"), count == 0)

    arrays = [cube.data for cube in _both(spec)]
    return {"result": _computed(spec, da.map_blocks(mean, *arrays, drop_axis=0, dtype="f4"))}


def _both(spec: Spec) -> tuple[Any, Any]:
    data = Dataset.of(spec["data"])
    return _load(spec, ("B04",)).B04, _load(spec, ("SCL",), items=data.coarse_items).SCL


def _load(
    spec: Spec,
    bands: tuple[str, ...],
    *,
    items: list[dict[str, Any]] | None = None,
    metres: float = PIXEL,
    resampling: str = "nearest",
    dtype: str | None = None,
) -> Any:
    data, edge = Dataset.of(spec["data"]), PIXEL * spec["window"]
    left, _, _, top = data.bounds
    block = spec["block"]
    return odc.stac.load(
        [pystac.Item.from_dict(item) for item in items or data.items],
        bands=list(bands),
        geobox=GeoBox.from_bbox((left, top - edge, left + edge, top), CRS, resolution=metres),
        chunks={"x": block, "y": block, "time": -1},
        groupby="solar_day",
        resampling=resampling,
        dtype=dtype,
    )


def _computed(spec: Spec, lazy: Any) -> np.ndarray:
    return np.asarray(lazy.compute(num_workers=spec["threads"]))


def _index(cube: Any) -> Any:
    red, nir = cube.B04.astype("float32"), cube.B08.astype("float32")
    return (nir - red) / (nir + red - graphs.TWICE_OFFSET)


def _index_of(red: np.ndarray, nir: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = red.astype("f4"), nir.astype("f4")
    with np.errstate(invalid="ignore", divide="ignore"):
        index = (high - low) / (high + low - graphs.TWICE_OFFSET)
    return index, (red > 0) & (nir > 0)


def _medians(spec: Spec) -> np.ndarray:
    cube = _load(spec, ("B04", "B08", "SCL"))
    arrays = [cube[name].data for name in ("B04", "B08", "SCL")]
    return _computed(spec, da.map_blocks(clear_median, *arrays, drop_axis=0, dtype="f4"))


def clear_median(red: np.ndarray, nir: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the median over the first axis of the index of clear pixels."""
    index, valid = _index_of(red, nir)
    return median(index, valid & np.isin(classes, graphs.CLEAR))


def real_composite(spec: Spec) -> Arrays:
    """Take xarray's median of the real series, from the COGs that we read."""
    return {"result": _clear(_real_items(spec), spec)}


def real_from_netcdf(spec: Spec) -> Arrays:
    """Do it from the file that the COGs were made of, without Dask."""
    with xarray.open_dataset(spec["netcdf"]) as cube:
        return {"result": _clear(cube[["B4", "B8", "SCL"]].load(), spec)}


def _real_items(spec: Spec) -> Any:
    items = [pystac.Item.from_dict(item) for item in json.loads(Path(spec["items"]).read_text())]
    chunks = {"x": spec["block"], "y": spec["block"], "time": -1}
    return odc.stac.load(items, bands=["B4", "B8", "SCL"], chunks=chunks, groupby="time")


def _clear(cube: Any, spec: Spec) -> np.ndarray:
    red, nir = cube.B4.astype("float32"), cube.B8.astype("float32")
    clear = cube.SCL.isin(list(graphs.CLEAR)) & (red > 0) & (nir > 0)
    return _computed(spec, ((nir - red) / (nir + red)).where(clear).median("time"))


def median(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the median over the first axis by sorting, which no library does faster here."""
    values[~valid] = np.nan
    values.sort(axis=0)
    count = valid.sum(axis=0)
    pair = [np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)]
    first, second = (np.take_along_axis(values, at[None], 0)[0] for at in pair)
    return (first + second) / 2
