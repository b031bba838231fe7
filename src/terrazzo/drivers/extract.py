"""Extract: polygons x images to a table.

Every graph that gives a raster can be extracted: its pixels are reduced under each polygon, for
each date and band, weighted by the exact share of each pixel that the polygon covers; or by code
of a user, which gets the pixels whose centres are in the polygon.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from terrazzo import logs
from terrazzo.drivers.about import About
from terrazzo.drivers.described import checksum, describe
from terrazzo.drivers.journal import write_journal
from terrazzo.drivers.parcel_code import coded_rows
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.result_facts import degrees_box, table_facts
from terrazzo.drivers.results import MEDIA_TYPES, Asset
from terrazzo.drivers.stages import Means, settled
from terrazzo.drivers.statistics import DEFAULT, check_statistics, polygon_statistics
from terrazzo.drivers.zonal import label_rows, polygon_pixels
from terrazzo.engine import check_memory
from terrazzo.errors import SpatialExtentEmpty
from terrazzo.geo.crs import transformer
from terrazzo.progress import Progress
from terrazzo.storage.gate import Gate
from terrazzo.storage.vectors.reading import read_polygons
from terrazzo.storage.writers.files import output_failed
from terrazzo.storage.writers.table import write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.parcel_code import ParcelCode
    from terrazzo.engine import Plan
    from terrazzo.processes.zones import PolygonPixels
    from terrazzo.storage.vectors.reading import Polygons

    Rows = Callable[[PolygonPixels], dict[str, NDArray[Any]]]

TABLE = "polygons.parquet"
POLYGONS = "terrazzo:polygons"
"""Property of the table's item that names the file of the polygons."""


@dataclass(frozen=True, slots=True)
class ExtractResult:
    """What an extraction made."""

    table: Path
    """The table: one row per polygon, date and band."""
    rows: int
    """Rows of the table."""
    polygons: int
    """Polygons that were read."""
    outside: tuple[Any, ...]
    """Ids of the polygons that cover no pixel of the result; they have no rows."""
    repaired: tuple[Any, ...]
    """Ids of the polygons with invalid rings, which were repaired first."""
    skipped: tuple[str, ...]
    """Items that could not be read and were left out (`skip_bad`)."""
    log: tuple[logs.Entry, ...] = ()
    """What the graph logged."""


def extract(
    job: Job,
    workspace: Workspace,
    polygons: Path,
    folder: Path,
    *,
    statistics: Sequence[str] = DEFAULT,
    code: ParcelCode | None = None,
    id_column: str = "",
    crs: str = "",
    block: int = 1024,
    pool: Pool | None = None,
    progress: Progress | None = None,
) -> ExtractResult:
    """Reduce a job's raster under polygons and write a tidy Parquet table.

    Args:
        job: the graph and where to run it.
        workspace: where its collections are.
        polygons: GeoParquet, GeoPackage, Shapefile or GeoJSON.
        folder: where the table goes.
        statistics: which statistics, out of `drivers.statistics.STATISTICS`.
        code: reduces the pixels of a polygon in place of statistics.
        id_column: attribute that names the polygons; their position otherwise.
        crs: CRS of the polygons where the file has none.
        block: edge of a block, pixels.
        pool: threads and memory.
        progress: told about every block.

    Raises:
        GraphInvalid, ArgumentInvalid: bad input, before any read.
        PlanTooLarge: a block would need more memory than is allowed; before any read.
        SpatialExtentEmpty: no polygon covers a pixel.
        SourceUnreadable: a file is corrupt, and `skip_bad` is off.
        OutputFailed: the table cannot be written.
        UdfFailed, UdfInvalid, UdfRefused: the code cannot be run, or returns what does not fit.
    """
    pool, progress = pool or Pool(), progress or Progress()
    names = check_statistics(statistics)
    source = polygons.absolute()
    read = read_polygons(source, Gate((source.parent,)), crs=crs, id_column=id_column)
    with logs.collected() as log:
        inference = job.infer(workspace)
        inference, skipped = settled(
            job, inference, (inference.graph.result,), Means(block, pool, progress)
        )
        plan = job.plan(inference)
        check_memory(plan, block, pool.memory_bytes // pool.size)
        ids = read.ids
        rows: Rows = partial(_rows, plan, ids, names)
        if code is not None:
            rows = coded_rows(code, workspace, plan, ids, pool.size)
        invalid = ~shapely.is_valid(np.array(read.shapes, dtype=object))
        shapes = in_grid(plan, read.shapes, read.crs)
        with logs.collected() as walk:
            pixels = polygon_pixels(
                plan, shapes, block=block, workers=pool.size, progress=progress,
                centres=code is not None,
            )  # fmt: skip
            parts = [rows(done) for done in pixels]
        logs.retell(walk.all(), again=True)
    if not parts:
        raise _beside(plan, len(shapes), polygons.name)
    seen = np.unique(np.concatenate([part["_polygon"] for part in parts]))
    table = _joined(parts)
    path = _written(folder / TABLE, table)
    skipped = tuple(sorted({*skipped, *plan.bad_items}))
    told = {POLYGONS: {"file": polygons.name, "file:checksum": checksum(source)}}
    describe(job, inference, (_asset(path, table, read),), folder, About(), skipped, told)
    write_journal(folder, log.all(), progress)
    outside = np.setdiff1d(np.arange(len(shapes)), seen)
    return ExtractResult(
        path,
        len(next(iter(table.values()))),
        len(shapes),
        tuple(ids[i] for i in outside),
        tuple(ids[i] for i in np.flatnonzero(invalid)),
        skipped,
        log.all(),
    )


def _asset(path: Path, table: Mapping[str, NDArray[Any]], read: Polygons) -> Asset:
    """Return the table with what STAC is told of it."""
    box = degrees_box(read.shapes, read.crs)
    return Asset(path, MEDIA_TYPES["parquet"], facts=table_facts(table, len(table["id"])), box=box)


def _beside(plan: Plan, count: int, name: str) -> SpatialExtentEmpty:
    return SpatialExtentEmpty(
        f"None of the {count} polygons of {name} covers a pixel of the result, which covers "
        f"{plan.grid.bounds_of(plan.window)} of {plan.grid.crs[:40]}. Check the polygons' CRS "
        "(--crs) and the extent of the graph."
    )


def _written(path: Path, table: Mapping[str, NDArray[Any]]) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_failed(path, error) from error
    return write_table(path, table)


def in_grid(plan: Plan, shapes: Sequence[BaseGeometry], crs: str) -> list[BaseGeometry]:
    """Return geometries in the CRS of a plan's grid, vertex by vertex, made valid first."""
    repaired = [shape if shape.is_valid else shapely.make_valid(shape) for shape in shapes]
    if crs == plan.grid.crs:
        return repaired
    into = transformer(crs, plan.grid.crs).transform
    found: NDArray[np.object_] = shapely.transform(
        np.array(repaired, dtype=object), into, interleaved=False
    )
    return list(found)


def _rows(
    plan: Plan, ids: Sequence[Any], names: Sequence[str], pixels: PolygonPixels
) -> dict[str, NDArray[Any]]:
    """Return the rows of finished polygons: every label of every polygon."""
    labels = label_rows(plan.probe)
    size = pixels.values.shape[1]
    rows: dict[str, NDArray[Any]] = {"_polygon": np.repeat(pixels.polygons, size)}
    rows["id"] = np.array([ids[i] for i in pixels.polygons])[:, None].repeat(size, 1).ravel()
    for name, column in labels.items():
        rows[name] = np.tile(np.array(column), len(pixels.polygons))
    for name, numbers in polygon_statistics(pixels, names).items():
        rows[name] = numbers.ravel()
    return rows


def _joined(parts: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return all rows in the order of the polygons' file."""
    order = np.argsort(np.concatenate([part["_polygon"] for part in parts]), kind="stable")
    return {
        name: np.concatenate([part[name] for part in parts])[order]
        for name in parts[0]
        if name != "_polygon"
    }
