"""Test data: Sentinel-2-like COGs with a catalogue and parcels, made once and kept.

Everything lies in `FOLDER/s2-<size>-seed<seed>/`; dates are added when more are asked for.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from bench.dataset import (
    COLLECTION,
    CRS,
    LEFT,
    NODATA,
    OFFSET,
    PIXEL,
    QUANTIFICATION,
    TOP,
    Dataset,
)
from bench.landscape import Landscape, Scene
from terrazzo.catalog import BandInfo, Catalog, make_asset, make_collection, make_item

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent / "data"
VERSION = 2
"""Of what is generated: data of another version is made anew."""
STRIP = 512
GREEN_DATES = 1
"""Only so many dates have B03, which the three-band tile needs."""


def dataset(
    size: int,
    dates: int,
    *,
    seed: int = 1,
    folder: Path = FOLDER,
    say: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Return the data of these parameters, making what is missing."""
    if size % 4 or size < STRIP:
        raise ValueError(f"The size must be a multiple of 4 and at least {STRIP}, not {size}.")
    made = Dataset((folder / f"s2-{size}-seed{seed}-v{VERSION}").resolve(), size, dates)
    made.home.mkdir(parents=True, exist_ok=True)
    land = Landscape(size, seed)
    if not made.parcels.exists():
        _write_parcels(land, made.parcels)
    for number, day in enumerate(made.days):
        if not (made.folder(day) / "item.json").exists():
            say(f"making {size} x {size} pixels of {day}")
            _write_scene(Scene(land, number, day), made)
    with Catalog(made.home / "catalog.sqlite") as catalog:
        bands = [_band(name) for name in ("B03", "B04", "B08", "SCL")]
        box = transform_bounds(CRS, "EPSG:4326", *made.bounds)
        catalog.put_collection(make_collection(COLLECTION, bands=bands, bbox=box))
        catalog.put_items(made.items)
    return made


def _band(name: str) -> BandInfo:
    common = {"B03": "green", "B04": "red", "B08": "nir"}
    if name not in common:
        return BandInfo(name, "uint8", NODATA, gsd_m=20.0)
    scale, offset = 1 / QUANTIFICATION, -OFFSET / QUANTIFICATION
    return BandInfo(name, "uint16", NODATA, scale, offset, common[name], gsd_m=10.0)


def _write_parcels(land: Landscape, path: Path) -> None:
    table = {"parcel": np.arange(len(land.fields)), "crop": land.crops}
    beside = path.with_suffix(f".{os.getpid()}.part")
    geopandas.GeoDataFrame(table, geometry=land.fields, crs=CRS).to_parquet(beside)
    beside.replace(path)


def _write_scene(scene: Scene, made: Dataset) -> None:
    """Write the COGs of a date, and last its item: a date with an item is complete."""
    folder = made.folder(scene.day)
    folder.mkdir(exist_ok=True)
    names = ["B04", "B08"] + ["B03"] * (scene.number < GREEN_DATES)
    with tempfile.TemporaryDirectory(dir=made.home) as aside:
        raw = {name: Path(aside) / f"{name}.tif" for name in (*names, "SCL")}
        with ExitStack() as stack:
            files = {n: stack.enter_context(_plain(p, n, made.size)) for n, p in raw.items()}
            for row in range(0, made.size, STRIP):
                height = min(STRIP, made.size - row)
                bands, classes = scene.strip(row, height)
                for name in names:
                    files[name].write(bands[name], 1, window=Window(0, row, made.size, height))
                half = Window(0, row // 2, made.size // 2, height // 2)
                files["SCL"].write(classes, 1, window=half)
        for name, path in raw.items():
            _write_cog(path, folder / f"{name}.tif", name)
    item = folder / "item.json"
    item.with_suffix(".part").write_text(json.dumps(_item(scene, made, raw)))
    item.with_suffix(".part").replace(item)


def _resolution(name: str) -> tuple[float, int]:
    return (2 * PIXEL, 2) if name == "SCL" else (PIXEL, 1)


def _plain(path: Path, name: str, size: int) -> Any:
    pixel, factor = _resolution(name)
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=_band(name).dtype,
        count=1,
        height=size // factor,
        width=size // factor,
        crs=CRS,
        transform=from_origin(LEFT, TOP, pixel, pixel),
        nodata=NODATA,
        tiled=True,
    )


def _write_cog(source: Path, target: Path, name: str) -> None:
    with rasterio.Env(GDAL_CACHEMAX=128):
        rasterio.shutil.copy(
            source,
            target,
            driver="COG",
            BLOCKSIZE=512,
            COMPRESS="DEFLATE",
            PREDICTOR="NO" if name == "SCL" else "YES",
            OVERVIEW_RESAMPLING="MODE" if name == "SCL" else "AVERAGE",
        )


def _item(scene: Scene, made: Dataset, files: dict[str, Path]) -> dict[str, Any]:
    assets = {}
    for name in files:
        pixel, factor = _resolution(name)
        assets[name] = make_asset(
            str(made.asset(scene.day, name)),
            bands=[_band(name)],
            crs=CRS,
            shape=(made.size // factor, made.size // factor),
            transform=(pixel, 0.0, LEFT, 0.0, -pixel, TOP),
        )
    return make_item(
        made.folder(scene.day).name,
        COLLECTION,
        bbox=transform_bounds(CRS, "EPSG:4326", *made.bounds),
        datetime=f"{scene.day}T10:00:00Z",
        assets=assets,
    )
