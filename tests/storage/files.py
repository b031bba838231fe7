"""Small image files that tests write, and the sources made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine

from terrazzo.storage.blocks import BlockCache
from terrazzo.storage.gate import Gate
from terrazzo.storage.handles import HandlePool
from terrazzo.storage.raster import RasterReader
from terrazzo.storage.source import AssetBand, SceneItem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NOON = datetime(2020, 6, 1, 10, 30, tzinfo=UTC)
UTM33 = "EPSG:32633"
SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"


def field(height: int, width: int, seed: int = 0, top: int = 10_000) -> NDArray[np.uint16]:
    """Smooth numbers 1..top with some noise: no zero, so that 0 can be no-data."""
    rows, cols = np.mgrid[0:height, 0:width]
    wave = np.sin(rows / 17 + seed) * np.cos(cols / 23) * 0.4 + 0.5
    noise = np.random.default_rng(seed).uniform(0, 0.1, (height, width))
    return (1 + (wave + noise) / 1.01 * (top - 2)).clip(1, top).astype(np.uint16)


def write_tif(path: Path, pixels: NDArray[Any], **options: Any) -> Path:
    """Write (band, y, x) or (y, x) pixels as a tiled GeoTIFF at 10 m in UTM 33, unless told."""
    bands = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    overviews = options.pop("overviews", ())
    resampling = options.pop("resampling", Resampling.average)
    mask = options.pop("mask", None)
    profile = {
        "driver": "GTiff",
        "dtype": bands.dtype,
        "count": bands.shape[0],
        "height": bands.shape[1],
        "width": bands.shape[2],
        "crs": UTM33,
        "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
        **options,
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "w", **profile) as file:
        file.write(bands)
        if mask is not None:
            file.write_mask(mask)
        if overviews:
            file.build_overviews(list(overviews), resampling)
    return path


def fresh_reader(cache_bytes: int = 64 * 2**20, handles: int = 16) -> RasterReader:
    return RasterReader(BlockCache(cache_bytes), HandlePool(handles))


def scene(path: Path, bands: Sequence[str] = ("B",), **options: Any) -> SceneItem:
    """Make an item of one file, its bands in the file's order."""
    name = options.pop("name", path.stem)
    day = options.pop("day", 0)
    time = options.pop("time", NOON + timedelta(days=day))
    bbox = options.pop("bbox", None)
    asset = Gate((path.parent,)).open_name(str(path), item=name, asset="image")
    found = tuple(AssetBand(b, asset, i, **options) for i, b in enumerate(bands, 1))
    return SceneItem(name, time, found, bbox)
