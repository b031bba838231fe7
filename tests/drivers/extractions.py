"""A small extraction of made-up images, for tests of what reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import rasterio
import shapely
from tests.drivers.scenes import job_of, node

from terrazzo.drivers.extract import extract
from terrazzo.drivers.ingest import ingest
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.pool import Pool

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.extract import ExtractResult
    from terrazzo.drivers.job import Job

DAYS = ("2024-04-01", "2024-04-11", "2024-04-16", "2024-05-01", "2024-05-16", "2024-06-15")
BANDS = ("B04", "B08")
EDGE = 100
"""Pixels of an image, each 10 m."""
ACROSS = 6
STATISTICS = ("count", "valid_share", "mean", "median", "sd")


@dataclass(frozen=True)
class Extracted:
    """Images, parcels and what was extracted."""

    workspace: Workspace
    job: Job
    parcels: Path
    folder: Path
    images: Path


def add_images(folder: Path, days: tuple[str, ...]) -> None:
    """Write an image per day and band, of which clouds hide one third, which one by the day."""
    folder.mkdir(exist_ok=True)
    for day in days:
        number = int(day[5:7]) * 31 + int(day[8:])
        noise = np.random.default_rng(number)
        for band in BANDS:
            pixels = (1000 + 7 * number + noise.integers(0, 90, (EDGE, EDGE))).astype(np.uint16)
            if number % 4:
                pixels[EDGE * (number % 4 - 1) // 3 : EDGE * (number % 4) // 3] = 0
            with rasterio.open(
                folder / f"S2_{day.replace('-', '')}_{band}.tif",
                "w",
                driver="COG",
                dtype="uint16",
                count=1,
                height=EDGE,
                width=EDGE,
                nodata=0,
                crs="EPSG:32633",
                transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
            ) as file:
                file.write(pixels, 1)


def parcels() -> geopandas.GeoDataFrame:
    """Return 36 parcels with a crop, and one that lies beside the images; ids are not in order."""
    corners = [(500_013 + 160 * (n % ACROSS), 4_999_847 - 160 * (n // ACROSS)) for n in range(36)]
    shapes = [shapely.box(x, y, x + 123, y + 131) for x, y in (*corners, (600_000, 4_999_000))]
    names = [f"P{(n * 17) % 37:02}" for n in range(37)]
    crops = ["rye <&>" if n % 3 else None for n in range(37)]
    return geopandas.GeoDataFrame({"parcel": names, "crop": crops}, geometry=shapes, crs=32633)


def take(work: Extracted, folder: Path, **options: Any) -> ExtractResult:
    """Extract the parcels into a folder."""
    options = {"statistics": STATISTICS, "pool": Pool("threads", workers=2), **options}
    return extract(work.job, work.workspace, work.parcels, folder, id_column="parcel", **options)


def made(folder: Path) -> Extracted:
    """Make images and parcels in a folder, and extract them."""
    add_images(folder / "images", DAYS)
    home = folder / "home"
    ingest([folder / "images"], "s2", Workspace.of(home))
    parcels().to_file(folder / "parcels.gpkg")
    everything = {"id": "s2", "spatial_extent": None, "temporal_extent": None}
    job = job_of({"load": node("load_collection", True, **everything)})
    work = Extracted(
        Workspace.of(home), job, folder / "parcels.gpkg", folder / "table", folder / "images"
    )
    take(work, work.folder)
    return work
