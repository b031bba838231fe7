"""Test data: Sentinel-2-like COGs with a catalogue and parcels, made once and kept.

Everything lies in `FOLDER/s2-<size>-seed<seed>/`; dates are added when more are asked for.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import rasterio
import rasterio.shutil
from rasterio.transform import from_origin
from rasterio.windows import Window

from bench.catalogue import band, resolution, write_catalogue, write_item
from bench.dataset import CRS, LEFT, NODATA, TOP, Dataset
from bench.landscape import Landscape, Scene

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent / "data"
VERSION = 2
"""Of what is generated: data of another version is made anew."""
STRIP = 512
PROCESSES = min(2, len(os.sched_getaffinity(0)))
"""That make data; each takes 2 GB for a scene of 10980 pixels."""
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
    _write_missing(made, seed, say)
    write_catalogue(made, ("B03", "B04", "B08", "SCL"))
    return made


def _write_missing(made: Dataset, seed: int, say: Callable[[str], None]) -> None:
    """Write the dates that are not there, by as many processes as there are cores."""
    days = enumerate(made.days)
    missing = [n for n, day in days if not (made.folder(day) / "item.json").exists()]
    if not missing:
        return
    say(f"making {len(missing)} dates of {made.size} x {made.size} pixels")
    # Spawned: threads of GDAL do not survive a fork.
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(_write_date, made, seed, n): made.days[n] for n in missing}
        for done in as_completed(running):
            done.result()
            say(f"made {running[done]}")


def _write_date(made: Dataset, seed: int, number: int) -> None:
    _write_scene(Scene(Landscape(made.size, seed), number, made.days[number]), made)


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
    write_item(made, scene.day, list(raw))


def _plain(path: Path, name: str, size: int) -> Any:
    pixel, factor = resolution(name)
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        dtype=band(name).dtype,
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
