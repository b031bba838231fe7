"""Collections of geometries that a server has: fields in UTM, and fields about the antimeridian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas
import numpy as np
import shapely
from tests.server.small import make_home

from terrazzo.drivers.ingest import IngestOptions, ingest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.drivers.job import Workspace

ROOT = "/features/collections"
SIDE, STEP = 40, 200.0
"""Fields along an edge, and metres from one to the next."""


def fields() -> geopandas.GeoDataFrame:
    """Return 1600 fields in UTM zone 33, with holes and second parts among them."""
    rng = np.random.default_rng(1)
    rows, cols = np.divmod(np.arange(SIDE * SIDE), SIDE)
    count = len(rows)
    centres = shapely.points(500_000 + cols * STEP, 5_000_000 + rows * STEP)
    shapes = shapely.buffer(centres, rng.uniform(30, 80, count), quad_segs=3)
    shapes[::7] = shapely.difference(shapes[::7], shapely.buffer(centres[::7], 15))
    aside = shapely.transform(shapely.buffer(centres[::11], 5), _aside)
    shapes[::11] = shapely.union(shapes[::11], aside)
    tonnes = rng.uniform(1, 9, count)
    tonnes[rng.uniform(size=count) < 0.1] = np.nan
    return geopandas.GeoDataFrame(
        {
            "name": [f"field {number:04d}" for number in range(count)],
            "crop": rng.choice(["rye", "wheat", "grass"], count),
            "tonnes": tonnes,
            "year": rng.integers(2015, 2025, count),
            "organic": rng.uniform(size=count) < 0.2,
        },
        geometry=shapes,
        crs=32633,
    )


def _aside(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points + np.array([90.0, 0.0])


def islands() -> geopandas.GeoDataFrame:
    """Return three fields in UTM zone 60 (south): west of the antimeridian, across it, east."""
    line = 819_450.0  # 180 degrees at 17 degrees south
    boxes = [
        shapely.box(line + x, 8_117_000, line + x + 2000, 8_119_000) for x in (-9000, -1000, 9000)
    ]
    when = ["2020-03-01", "2021-03-01", "2022-03-01"]
    return geopandas.GeoDataFrame(
        {"name": ["west", "across", "east"], "sown": when}, geometry=boxes, crs=32760
    )


def make_fields(folder: Path) -> Workspace:
    """Return a workspace with the collections `fields`, of one file, `islands`, and of images."""
    workspace = make_home(folder)
    fields().to_parquet(folder / "fields.parquet")
    islands().to_file(folder / "islands.gpkg")
    ingest(
        [folder / "fields.parquet"],
        "fields",
        workspace,
        options=IngestOptions(datetime="2024", id="name", title="Fields of the valley"),
    )
    dated = IngestOptions(date="sown", title="Islands")
    ingest([folder / "islands.gpkg"], "islands", workspace, options=dated)
    return workspace
