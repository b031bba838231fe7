"""Parcels by peers, image by image: each library the fastest way that its documents show."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
from rasterio.transform import from_origin

from bench.contestants.decoding import index_of
from bench.dataset import CRS, LEFT, PIXEL, TOP, Dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from geopandas import GeoDataFrame

    Arrays = dict[str, np.ndarray]
    Image = Callable[[np.ndarray], Arrays]
    Prepare = Callable[[Dataset, GeoDataFrame], Image]

STATISTICS = ("mean", "count", "sd")


def contestant(parameters: dict[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Extract the index under the polygons of a file, by the function that `way` names.

    Tasks: `images` does everything; `pixels` begins with the index of one image in memory, and
    with what the library can keep from image to image.
    """
    data, way = Dataset.of(parameters["data"]), globals()[parameters["way"]]()
    if not parameters["pixels"]:
        return {"images": partial(_images, data, parameters["parcels"], way)}
    index, image = index_of(data, data.days[0]), way(data, _frame(parameters["parcels"]))
    return {"pixels": lambda: image(index) | {"images": np.array(1)}}


def _images(data: Dataset, parcels: str, way: Prepare) -> Arrays:
    image = way(data, _frame(parcels))
    tables = [image(index_of(data, day)) for day in data.days]
    return {name: np.stack([table[name] for table in tables]) for name in STATISTICS}


def _frame(parcels: str) -> GeoDataFrame:
    return geopandas.read_parquet(parcels)


def exactextract() -> Prepare:
    """Exact shares of pixels, computed for every image."""
    import pyproj  # noqa: PLC0415 - a way imports what it measures
    from exactextract import exact_extract  # noqa: PLC0415
    from exactextract.raster import NumPyRasterSource  # noqa: PLC0415

    wkt = pyproj.CRS(CRS).to_wkt()

    def prepare(data: Dataset, frame: GeoDataFrame) -> Image:
        def image(index: np.ndarray) -> Arrays:
            raster = NumPyRasterSource(index, *data.bounds, nodata=np.nan, srs_wkt=wkt)
            operations = ["mean", "count", "stdev"]
            table = exact_extract(
                raster, frame, operations, output="pandas", max_cells_in_memory=10**8
            )
            return {
                name: table[there].to_numpy(np.float64)
                for name, there in zip(STATISTICS, operations, strict=True)
            }

        return image

    return prepare


def xvec() -> Prepare:
    """Exact shares by exactextract, which xvec prefers where it is installed."""
    import rioxarray  # noqa: F401, PLC0415 - registers itself
    import xarray as xr  # noqa: PLC0415
    import xvec  # noqa: F401, PLC0415 - registers itself

    operations = ["mean", "count", "stdev"]

    def prepare(data: Dataset, frame: GeoDataFrame) -> Image:
        def image(index: np.ndarray) -> Arrays:
            array = xr.DataArray(index, _coordinates(data), ("y", "x")).rio.write_crs(CRS)
            cube = array.xvec.zonal_stats(
                frame.geometry, "x", "y", stats=operations, method="exactextract"
            )
            return {
                name: cube.sel(zonal_statistics=there).to_numpy().astype(np.float64).ravel()
                for name, there in zip(STATISTICS, operations, strict=True)
            }

        return image

    return prepare


def rasterstats() -> Prepare:
    """Pixels whose centre lies inside, polygon by polygon."""
    from rasterstats import zonal_stats  # noqa: PLC0415

    affine = from_origin(LEFT, TOP, PIXEL, PIXEL)

    def prepare(_data: Dataset, frame: GeoDataFrame) -> Image:
        features = [{"geometry": shape} for shape in frame.geometry]
        vectors = {"type": "FeatureCollection", "features": features}

        def image(index: np.ndarray) -> Arrays:
            rows = zonal_stats(
                vectors, index, affine=affine, nodata=np.nan, stats=["mean", "count", "std"]
            )
            return {
                name: np.array([row[there] for row in rows], np.float64)
                for name, there in zip(STATISTICS, ("mean", "count", "std"), strict=True)
            }

        return image

    return prepare


def geocube() -> Prepare:
    """Pixels whose centre lies inside, labelled once for all images; xarray groups by flox."""
    import rioxarray  # noqa: F401, PLC0415 - registers itself
    import xarray as xr  # noqa: PLC0415
    from geocube.api.core import make_geocube  # noqa: PLC0415
    from xarray.groupers import UniqueGrouper  # noqa: PLC0415

    def prepare(data: Dataset, frame: GeoDataFrame) -> Image:
        shape = (data.size, data.size)
        like = xr.DataArray(np.empty(shape, np.uint8), _coordinates(data), ("y", "x"))
        like = like.rio.write_crs(CRS)
        labels = make_geocube(frame, measurements=["parcel"], like=like, fill=-1)["parcel"]
        labels = labels.astype(np.int32)
        known = UniqueGrouper(labels=np.arange(len(frame)))

        def image(index: np.ndarray) -> Arrays:
            array = xr.DataArray(index, labels.coords, ("y", "x")).assign_coords(parcel=labels)
            groups = array.groupby(parcel=known)
            found = {"mean": groups.mean(), "count": groups.count(), "sd": groups.std()}
            return {name: each.to_numpy().astype(np.float64) for name, each in found.items()}

        return image

    return prepare


def _coordinates(data: Dataset) -> dict[str, np.ndarray]:
    """Return the centres of the pixels."""
    steps = (np.arange(data.size) + 0.5) * PIXEL
    return {"y": TOP - steps, "x": LEFT + steps}
