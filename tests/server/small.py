"""A small collection whose pixels are known numbers, for the faces."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine

from terrazzo.drivers.ingest import IngestOptions, ingest
from terrazzo.drivers.job import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.testclient import TestClient

LEFT, TOP, PIXEL, EDGE = 500_000.0, 5_000_000.0, 10.0, 300
DATES = ("2018-05-01", "2018-06-01", "2019-05-01")
COLLECTION = "small"


def red(year: int) -> np.ndarray:
    """Rise from west to east; a corner of 40 pixels has no data (0)."""
    values = np.tile(np.arange(EDGE, dtype=np.uint16) + 100, (EDGE, 1)) + np.uint16(year % 10)
    values[:40, :40] = 0
    return values


def nir(year: int) -> np.ndarray:
    """Rise from north to south."""
    values = np.tile((np.arange(EDGE, dtype=np.uint16) * 3 + 500)[:, None], (1, EDGE))
    values[:40, :40] = 0
    return values + np.uint16(100 * (year % 10))


def write_images(folder: Path) -> list[Path]:
    """Write one two-band GeoTIFF per date."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for date in DATES:
        path = folder / f"scene_{date.replace('-', '')}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=EDGE, height=EDGE, count=2, dtype="uint16",
            crs="EPSG:32634", transform=Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP), nodata=0,
            tiled=True, blockxsize=128, blockysize=128,
        ) as file:  # fmt: skip
            file.write(red(int(date[:4])), 1)
            file.write(nir(int(date[:4])), 2)
            file.descriptions = ("red", "nir")
        paths.append(path)
    return paths


def make_home(home: Path) -> Workspace:
    """Ingest the images into a home folder."""
    write_images(home / "images")
    options = IngestOptions(bands=("red", "nir"), title="Small")
    ingest([home / "images"], COLLECTION, Workspace.of(home), options=options)
    return Workspace.of(home)


def graph(
    collection: str = COLLECTION, *, bands: tuple[str, ...] = ("red", "nir"), save: bool = False
) -> dict[str, Any]:
    """Return NDVI per date as a process graph."""
    nodes: dict[str, Any] = {
        "load": {
            "process_id": "load_collection",
            "arguments": {
                "id": collection,
                "spatial_extent": None,
                "temporal_extent": None,
                "bands": list(bands),
            },
        },
        "ndvi": {
            "process_id": "ndvi",
            "arguments": {"data": {"from_node": "load"}, "nir": "nir", "red": "red"},
            "result": not save,
        },
    }
    if save:
        nodes["save"] = {
            "process_id": "save_result",
            "arguments": {"data": {"from_node": "ndvi"}, "format": "GTiff"},
            "result": True,
        }
    return {"process_graph": nodes}


def write_graph(path: Path, **options: Any) -> Path:
    """Write the graph as a file."""
    path.write_text(json.dumps(graph(**options)))
    return path


def made_service(
    client: TestClient,
    process: Mapping[str, Any],
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> str:
    """Make a service; returns its id."""
    body = {"type": "XYZ", "process": process, **members}
    answer = client.post("/services", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.headers["OpenEO-Identifier"]
