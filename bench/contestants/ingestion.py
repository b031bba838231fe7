"""Taking files in: by Terrazzo, and by those who only convert or only look."""

from __future__ import annotations

import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.warp import transform_geom

from bench.ingest import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Arrays = dict[str, np.ndarray]
    Spec = Mapping[str, Any]
    Convert = Callable[[Path, Path], None]


def terrazzo(parameters: dict[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Ingest the files of each task into a new workspace."""
    return {name: partial(_ingested, spec) for name, spec in parameters["tasks"].items()}


def _ingested(spec: Spec) -> Arrays:
    from terrazzo.drivers.ingest import IngestOptions, ingest  # noqa: PLC0415 - peers need none
    from terrazzo.drivers.job import Workspace  # noqa: PLC0415

    options = IngestOptions(copy=spec["copy"], workers=spec["workers"])
    with tempfile.TemporaryDirectory(dir=spec["scratch"]) as home:
        workspace = Workspace.of(Path(home))
        report = ingest([Path(spec["folder"])], "scenes", workspace, options=options)
        made = sorted(workspace.assets.rglob("*.tif"))
        return {"count": np.array(report.made), **_pixels(made)}


def converted(parameters: dict[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Convert the files of each task by the function of this module that `way` names."""
    way = globals()[parameters["way"]]
    return {name: partial(_converted, way, spec) for name, spec in parameters["tasks"].items()}


def _converted(way: Convert, spec: Spec) -> Arrays:
    found = sorted(Path(spec["folder"]).glob("*.tif"))
    with tempfile.TemporaryDirectory(dir=spec["scratch"]) as home:
        made = [Path(home, path.name) for path in found]
        with ThreadPoolExecutor(spec["workers"]) as pool:
            list(pool.map(way, found, made))
        return {"count": np.array(len(made)), **_pixels(made)}


def gdal(source: Path, target: Path) -> None:
    """Convert by GDAL's COG driver in this process, as it is: the floor."""
    rasterio.shutil.copy(source, target, driver="COG", **OPTIONS)


def gdal_translate(source: Path, target: Path) -> None:
    """Convert by GDAL's command, of whichever version is installed."""
    options = [word for pair in OPTIONS.items() for word in ("-co", "=".join(pair))]
    command = ["gdal_translate", "-q", "-of", "COG", *options, str(source), str(target)]
    subprocess.run(command, check=True)


def rio_cogeo(source: Path, target: Path) -> None:
    """Convert by rio-cogeo."""
    from rio_cogeo import cog_profiles, cog_translate  # noqa: PLC0415 - only here

    profile = dict(cog_profiles.get("deflate")) | {"predictor": 2}
    cog_translate(source, target, profile, overview_resampling="average", quiet=True)


def looked_at(parameters: dict[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Make a document of each file, as rio-stac does, and keep it nowhere."""
    return {name: partial(_looked_at, spec) for name, spec in parameters["tasks"].items()}


def _looked_at(spec: Spec) -> Arrays:
    with ThreadPoolExecutor(spec["workers"]) as pool:
        documents = list(pool.map(_document, sorted(Path(spec["folder"]).glob("*.tif"))))
    return {"count": np.array(len(documents))}


def _document(path: Path) -> dict[str, Any]:
    """Return what rio-stac says of a file, without its statistics."""
    with rasterio.open(path) as file:
        left, bottom, right, top = file.bounds
        ring = [[left, bottom], [right, bottom], [right, top], [left, top], [left, bottom]]
        outline = {"type": "Polygon", "coordinates": [ring]}
        return {
            "id": path.stem,
            "geometry": transform_geom(file.crs, "EPSG:4326", outline),
            "proj:code": file.crs.to_epsg(),
            "proj:shape": [file.height, file.width],
            "proj:transform": list(file.transform),
            "bands": [
                {"name": f"b{number}", "data_type": file.dtypes[number - 1], "nodata": file.nodata,
                 "scale": file.scales[number - 1], "offset": file.offsets[number - 1]}
                for number in file.indexes
            ],
            "tags": file.tags(),
        }  # fmt: skip


def _pixels(paths: list[Path]) -> Arrays:
    """Return a checksum of each level of each file."""
    sums = []
    for path in paths:
        with rasterio.open(path) as file:
            levels = len(file.overviews(1))
            sums.append([file.checksum(1), levels])
    return {"pixels": np.array(sums, np.float64)}
