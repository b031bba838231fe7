"""A small Sentinel-2-like collection of files, for tests of drivers, oracles and traps."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import Affine

from terrazzo.catalog import BandInfo, make_asset, make_collection, make_item
from terrazzo.drivers.job import Job, Workspace
from terrazzo.geo.grid import Grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

COLLECTION = "scenes"
CRS = "EPSG:32633"
LEFT, TOP, HEIGHT, WIDTH = 600_000.0, 5_100_000.0, 600, 700
DATES = ("2020-05-12", "2020-07-01", "2020-09-09", "2021-06-03")
SHIFTED = DATES[-1]
"""The date whose B04 and B08 are stored with 1000 added (baseline 04.00)."""
CLOUDY = (3, 8, 9)
"""Classes of SCL that are shadows and clouds."""

Callback = dict[str, Any]
Nodes = dict[str, Any]


def grid_of(pixel: float = 10.0) -> Grid:
    """Return the lattice of all bands of one resolution."""
    rows, cols = round(HEIGHT * 10 / pixel), round(WIDTH * 10 / pixel)
    return Grid.of(CRS, LEFT, TOP, pixel, rows, cols)


def surface(height: int, width: int, seed: int, low: int, high: int) -> NDArray[np.uint16]:
    """Smooth hills with texture, `low`..`high`."""
    rows, cols = np.mgrid[0:height, 0:width]
    wave = np.sin(rows / 31 + seed) * np.cos(cols / 43 - seed) * 0.35 + 0.5
    noise = np.random.default_rng(seed).uniform(-0.15, 0.15, (height, width))
    return (low + (wave + noise).clip(0, 1) * (high - low)).astype(np.uint16)


def physical(band: str, day: int) -> NDArray[Any]:
    """Return the pixels of a band as users mean them; 0 is no-data."""
    if band == "SCL":
        rows, cols = np.mgrid[0 : HEIGHT // 2, 0 : WIDTH // 2]
        clouds = np.sin(rows / 25 + 2 * day) + np.cos(cols / 31 + day)
        classes = np.where(clouds > 1.0, 9, np.where(clouds > 0.8, 3, 4 + (rows + cols) % 3))
        classes[:10, : 20 + 10 * day] = 0
        return classes.astype(np.uint8)
    low, high = {"B04": (200, 3000), "B08": (1500, 6000)}[band]
    pixels = surface(HEIGHT, WIDTH, 10 * day + len(band) + ord(band[-1]), low, high)
    pixels[:20, : 40 + 20 * day] = 0
    pixels[300:310, 350 + day : 380] = 0
    return pixels


def write_cog(path: Path, pixels: NDArray[Any], grid: Grid, **options: Any) -> Path:
    """Write (y, x) or (band, y, x) pixels as a COG with overviews."""
    bands = pixels if pixels.ndim == 3 else pixels[np.newaxis]
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "dtype": bands.dtype,
        "count": bands.shape[0],
        "height": grid.height,
        "width": grid.width,
        "crs": grid.crs,
        "transform": Affine(grid.pixel_x, 0, grid.left, 0, -grid.pixel_y, grid.top),
        "nodata": options.pop("nodata", 0),
    }
    settings = {"BLOCKSIZE": 256, "COMPRESS": "DEFLATE", "OVERVIEW_RESAMPLING": "AVERAGE"}
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(bands)
        with rasterio.open(memory.name) as file:
            copy(file, path, driver="COG", **{**settings, **options})
    return path


def asset_of(path: Path, bands: Sequence[BandInfo], grid: Grid) -> dict[str, Any]:
    """Describe a file on a grid."""
    transform = (grid.pixel_x, 0.0, grid.left, 0.0, -grid.pixel_y, grid.top)
    shape = (grid.height, grid.width)
    return make_asset(str(path), bands=bands, crs=grid.crs, shape=shape, transform=transform)


def register(
    home: Path,
    collection: str,
    items: Mapping[str, tuple[str, Mapping[str, dict[str, Any]]]],
    grid: Grid,
    *,
    bbox: Sequence[float] = (),
) -> Workspace:
    """Put items, `{id: (time, assets)}`, into the catalogue of a home folder."""
    workspace = Workspace.of(home)
    box = list(bbox or grid.to_bounds(grid.window, "EPSG:4326"))
    with workspace.catalog(create=True) as catalog:
        assets = [asset for _, found in items.values() for asset in found.values()]
        bands = {b["name"]: BandInfo(b["name"]) for a in assets for b in a["bands"]}
        catalog.put_collection(make_collection(collection, bands=tuple(bands.values()), bbox=box))
        for name, (time, found) in items.items():
            item = make_item(name, collection, bbox=box, datetime=time, assets=found)
            catalog.put_items([item])
    return workspace


@dataclass(frozen=True)
class Scenes:
    """The collection, and where its files are."""

    workspace: Workspace
    """Its home."""
    folder: Path
    """Files `DATE_BAND.tif`."""

    def file(self, date: str, band: str) -> Path:
        """Return the file of a band."""
        return self.folder / f"{date}_{band}.tif"

    def stack(self, band: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return (date, y, x) physical values read by rasterio at 10 m, and what is valid."""
        values = []
        for date in DATES:
            with rasterio.open(self.file(date, band)) as file:
                values.append(file.read(1))
        pixels = np.stack(values)
        valid = pixels != 0
        if band == "SCL":
            return pixels.repeat(2, 1).repeat(2, 2), valid.repeat(2, 1).repeat(2, 2)
        pixels = pixels.astype(np.float32)
        pixels[-1] -= 1000
        return pixels, valid


def make_scenes(home: Path, dates: Sequence[str] = DATES) -> Scenes:
    """Write the files and register them."""
    folder = home / "assets"
    items: dict[str, Any] = {}
    for day, date in enumerate(dates):
        offset = -1000.0 if date == SHIFTED else 0.0
        assets = {}
        for name in ("B04", "B08", "SCL"):
            grid = grid_of(20.0 if name == "SCL" else 10.0)
            stored = physical(name, day)
            band = BandInfo(name, stored.dtype.name, 0.0)
            if name != "SCL" and offset:
                stored = np.where(stored > 0, stored + 1000, 0).astype(np.uint16)
                band = replace(band, offset=offset)
            way = "NEAREST" if name == "SCL" else "AVERAGE"
            path = write_cog(folder / f"{date}_{name}.tif", stored, grid, OVERVIEW_RESAMPLING=way)
            assets[name] = asset_of(path, (band,), grid)
        items[f"S2_{date}"] = (f"{date}T10:30:00Z", assets)
    return Scenes(register(home, COLLECTION, items, grid_of()), folder)


def node(process_id: str, result: bool = False, /, **arguments: Any) -> dict[str, Any]:
    """Return a node of a graph."""
    made = {"process_id": process_id, "arguments": arguments}
    return {**made, "result": True} if result else made


def ref(name: str) -> dict[str, str]:
    """Return the result of a node as an argument."""
    return {"from_node": name}


def load(bands: Sequence[str], *, collection: str = COLLECTION, **arguments: Any) -> dict[str, Any]:
    """Return a node that loads bands, everywhere and always unless told."""
    extents = {"spatial_extent": None, "temporal_extent": None}
    return node(
        "load_collection", **{"id": collection, "bands": list(bands), **extents, **arguments}
    )


def callback(process_id: str, **arguments: Any) -> Callback:
    """Return a callback of one node; it gets `data` unless told."""
    given = arguments or {"data": {"from_parameter": "data"}}
    return {"process_graph": {"only": node(process_id, True, **given)}}


def of_x(process_id: str, **arguments: Any) -> Callback:
    """Return a callback over `x`."""
    return callback(process_id, x={"from_parameter": "x"}, **arguments)


def cloud_callback() -> Callback:
    """Return True where the class is a cloud or its shadow."""
    return {
        "process_graph": {
            **{f"is{code}": node("eq", x={"from_parameter": "x"}, y=code) for code in CLOUDY},
            "any": node("any", True, data=[ref(f"is{code}") for code in CLOUDY]),
        }
    }


def cloudless_ndvi() -> Nodes:
    """Return nodes up to `ndvi`: load, mask by SCL, index."""
    return {
        "load": load(["B04", "B08"]),
        "scl": load(["SCL"]),
        "cloud": node("apply", data=ref("scl"), process=cloud_callback()),
        "flat": node(
            "reduce_dimension", data=ref("cloud"), dimension="bands", reducer=callback("first")
        ),
        "clear": node("mask", data=ref("load"), mask=ref("flat")),
        "ndvi": node("ndvi", data=ref("clear"), nir="B08", red="B04"),
    }


def composite(period: str = "year") -> Nodes:
    """Return the median NDVI of each year without clouds."""
    median = node(
        "aggregate_temporal_period",
        True,
        data=ref("ndvi"),
        period=period,
        reducer=callback("median"),
    )
    return {**cloudless_ndvi(), "median": median}


def smoothed() -> Nodes:
    """Return a 5 x 5 kernel over the brightest date."""
    kernel = [[float((r * 3 + c) % 5 + 1) for c in range(5)] for r in range(5)]
    return {
        "load": load(["B08"]),
        "smooth": node(
            "apply_kernel", data=ref("load"), kernel=kernel, factor=1 / 64, border="reflect"
        ),
        "top": node(
            "reduce_dimension", True, data=ref("smooth"), dimension="t", reducer=callback("max")
        ),
    }


def neighbours() -> Nodes:
    """Return a kernel inside chunks of 64 pixels that overlap by 4."""
    inner = callback("apply_kernel", data={"from_parameter": "data"}, kernel=[[1.0, 2.0, 1.0]])
    axes = ("x", "y")
    return {
        "load": load(["B04"], temporal_extent=["2020-05-01", "2020-08-01"]),
        "near": node(
            "apply_neighborhood", True, data=ref("load"), process=inner,
            size=[{"dimension": d, "value": 64, "unit": "px"} for d in axes],
            overlap=[{"dimension": d, "value": 4, "unit": "px"} for d in axes],
        ),
    }  # fmt: skip


def resampled(resolution: float, method: str, projection: int | None = None) -> Nodes:
    """Return the mean of all dates, resampled."""
    arguments = {"resolution": resolution, "method": method}
    if projection:
        arguments["projection"] = projection
    return {
        "load": load(["B04", "B08"]),
        "mean": node("reduce_dimension", data=ref("load"), dimension="t", reducer=callback("mean")),
        "coarse": node("resample_spatial", True, data=ref("mean"), **arguments),
    }


def merged() -> Nodes:
    """Return a 10 m band and the 20 m classes in one cube."""
    return {
        "fine": load(["B08"]),
        "coarse": load(["SCL"]),
        "both": node("merge_cubes", cube1=ref("fine"), cube2=ref("coarse")),
        "last": node(
            "reduce_dimension", True, data=ref("both"), dimension="t", reducer=callback("last")
        ),
    }


GRAPHS: dict[str, Nodes] = {
    "composite": composite(),
    "smoothed": smoothed(),
    "neighbours": neighbours(),
    "20 m bilinear": resampled(20, "bilinear"),
    "60 m average": resampled(60, "average"),
    "25 m cubic in LAEA": resampled(25, "cubic", 3035),
    "merged": merged(),
}
"""Representative graphs by name."""


def job_of(nodes: Nodes, **options: Any) -> Job:
    """Return a job of nodes."""
    return Job.of(json.dumps(nodes), **options)
