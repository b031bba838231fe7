"""A small farm: fields of two crops on eight dates, one of which is not what it is said to be."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

from terrazzo.drivers.extract import extract
from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Job, Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LEFT, TOP, PIXEL, EDGE = 500_000.0, 5_000_000.0, 10.0, 80
DATES = (
    "2023-11-20", "2024-03-05", "2024-03-20", "2024-04-04",
    "2024-05-09", "2024-06-13", "2024-07-18", "2024-09-01",
)  # fmt: skip
ACROSS, FIELD, STEP = 5, 10, 16
"""Fields in a row, and the pixels of a field and from one to the next."""
ODD = 7
"""The wheat that is maize."""


def crops() -> list[str | None]:
    """Return the crop of every field, as it was declared."""
    return [None if n == 24 else "maize" if n % 3 == 2 else "wheat" for n in range(ACROSS**2)]


def field_box(number: int) -> tuple[float, float, float, float]:
    """Return left, bottom, right and top of a field; its edges are those of pixels."""
    row, col = divmod(number, ACROSS)
    left = LEFT + (col * STEP + 3) * PIXEL
    top = TOP - (row * STEP + 3) * PIXEL
    return left, top - FIELD * PIXEL, left + FIELD * PIXEL, top


def reflectances(number: int) -> NDArray[np.uint16]:
    """Return (band, y, x) red and near infrared of a date; no-data is 0."""
    rng = np.random.default_rng(number)
    red = rng.integers(900, 1100, (EDGE, EDGE))
    nir = rng.integers(1500, 1700, (EDGE, EDGE))
    for field, crop in enumerate(crops()):
        row, col = (3 + STEP * at for at in divmod(field, ACROSS))
        grown = "maize" if field == ODD else crop
        peak = 3 if grown == "wheat" else 6
        nir[row : row + FIELD, col : col + FIELD] += 600 * max(0, 4 - abs(number - peak))
    return np.stack([red, nir]).astype(np.uint16)


def write_image(folder: Path, number: int, date: str, pixels: NDArray[np.uint16]) -> Path:
    """Write the image of a date."""
    path = folder / f"farm_{date.replace('-', '')}.tif"
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": 2, "height": EDGE, "width": EDGE,
        "nodata": 0, "crs": "EPSG:32633",
        "transform": rasterio.Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP),
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
        file.update_tags(number=number)
    return path


def node(process: str, /, **arguments: Any) -> dict[str, Any]:
    """Return a node of a process graph."""
    return {"process_id": process, "arguments": arguments}


GRAPH = {
    "load": node("load_collection", id="farm", spatial_extent=None, temporal_extent=None),
    "ndvi": node("ndvi", data={"from_node": "load"}, nir="nir", red="red") | {"result": True},
}


@dataclass(frozen=True)
class Farm:
    """Where everything is."""

    folder: Path
    """Of the test."""
    extraction: Path
    """Mean and median NDVI, and the valid share, by date."""

    @property
    def workspace(self) -> Workspace:
        """The catalogue."""
        return Workspace.of(self.folder / "home")

    def take_in(self, images: Path) -> None:
        """Ingest images."""
        options = IngestOptions(bands=("red", "nir"))
        ingest([images], "farm", self.workspace, options=options)

    def extract(self, folder: Path, graph: Any = None, **options: Any) -> Path:
        """Extract the fields."""
        job, polygons = Job.of(graph or GRAPH), self.folder / "fields.geojson"
        options = {"statistics": ("mean", "median", "valid_share"), "id_column": "name"} | options
        extract(job, self.workspace, polygons, folder, **options)
        return folder


def make_farm(folder: Path) -> Farm:
    """Make images, fields, a catalogue and an extraction."""
    images = folder / "images"
    images.mkdir(parents=True)
    for number, date in enumerate(DATES):
        pixels = reflectances(number)
        if number == 2:
            pixels[:, : EDGE // 2] = 0
        write_image(images, number, date, pixels)
    features = [
        {
            "type": "Feature",
            "properties": {"name": f"f{number}", "crop": crop},
            "geometry": {"type": "Polygon", "coordinates": [ring(*field_box(number))]},
        }
        for number, crop in enumerate(crops())
    ]
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    document = {"type": "FeatureCollection", "crs": crs, "features": features}
    (folder / "fields.geojson").write_text(json.dumps(document))
    farm = Farm(folder, folder / "extraction")
    farm.take_in(images)
    farm.extract(farm.extraction)
    return farm


def ring(left: float, bottom: float, right: float, top: float) -> list[list[float]]:
    """Return the ring of a box."""
    return [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
