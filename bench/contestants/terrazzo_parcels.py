"""Terrazzo's extract driver."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from bench import graphs
from bench.contestants.decoding import index_of
from bench.dataset import CRS, LEFT, PIXEL, TOP, Dataset
from bench.worker import cpu_seconds
from terrazzo.cube import Cube, Dimension, Kind, empty_cube
from terrazzo.drivers.extract import extract
from terrazzo.drivers.extraction.statistics import Reduction
from terrazzo.drivers.extraction.weights import Weights
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.geo.grid import Grid, Window
from terrazzo.spans import recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.drivers.extract import ExtractResult

    Arrays = dict[str, np.ndarray]

STATISTICS = ("mean", "count", "sd")
MEMORY_BYTES = 1_000_000_000


def images(parameters: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Extract from the GeoParquet of polygons to the table, which is read only to be compared."""
    return {"images": partial(_images, parameters)}


def traced(parameters: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Do the same and return the CPU seconds of each span, and of all."""
    return {"traced": partial(_traced, parameters)}


def weights(parameters: dict[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Compute the weights of all parcels for the grid of the images, and write them."""
    grid, shapes = _grid(parameters), _shapes(parameters)

    def task() -> Arrays:
        with tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder:
            made = Weights.of(Path(folder), shapes, grid, grid.window, how=parameters["how"])
            return {"pixels": made.pixels}

    return {"weights": task}


def pixels(parameters: dict[str, Any]) -> dict[str, Callable[[], Arrays]]:
    """Reduce one image of the index, in memory, as often as there are dates."""
    grid, data = _grid(parameters), Dataset.of(parameters["data"])
    folder = Path(tempfile.mkdtemp(prefix="terrazzo-bench-"))
    atexit.register(shutil.rmtree, folder)  # what is mapped is read as long as this lives
    made = Weights.of(folder, _shapes(parameters), grid, grid.window, how=parameters["how"])
    made.keep()  # as an extraction does
    time = Dimension("t", Kind.TEMPORAL, (data.days[0].isoformat(),))
    space = (Dimension(name, Kind.SPATIAL) for name in ("y", "x"))
    axes = (time, *space)
    index = index_of(data, data.days[0])[np.newaxis]
    pieces = [index[:, rows, cols].copy() for rows, cols in map(grid.window.slices, made.cells)]
    cells = [
        Cube(piece, ~np.isnan(piece), axes, grid, cell)
        for piece, cell in zip(pieces, made.cells, strict=True)
    ]
    probe = empty_cube(axes, index.dtype, grid, Window(0, 0, 0, 0))

    def task() -> Arrays:
        rows = 0
        for _ in range(data.dates):
            reduction = Reduction(STATISTICS, probe, made)
            for number, cube in enumerate(cells):
                taken = reduction.take(number, reduction.part(number, cube))
                rows += 0 if taken is None else len(taken.polygon)
        return {"images": np.array(data.dates), "rows": np.array(rows)}

    return {"pixels": task}


def _grid(parameters: dict[str, Any]) -> Grid:
    size = parameters["data"]["size"]
    return Grid.of(CRS, LEFT, TOP, PIXEL, size, size)


def _shapes(parameters: dict[str, Any]) -> Any:
    return geopandas.read_parquet(parameters["parcels"]).geometry.to_numpy()


def _extracted(parameters: dict[str, Any], folder: str) -> ExtractResult:
    data = Dataset.of(parameters["data"])
    return extract(
        Job.of(graphs.ndvi(data)),
        Workspace(data.home),
        Path(parameters["parcels"]),
        Path(folder),
        statistics=STATISTICS,
        how=parameters["how"],
        id_column="parcel",
        pool=Pool("threads", parameters["threads"], MEMORY_BYTES),
    )


def _images(parameters: dict[str, Any]) -> Callable[[], Arrays]:
    # It lives as long as what is returned.
    folder = tempfile.TemporaryDirectory(prefix="terrazzo-bench-")
    made = _extracted(parameters, folder.name)

    def read() -> Arrays:
        with folder:
            dates = parameters["data"]["dates"]
            wanted = Path(parameters["sample"] or parameters["parcels"])
            beside = {"outside": np.array(len(made.outside))}
            return _read(made.table, dates, wanted) | beside

    return read


def _read(table: Path, dates: int, parcels: Path) -> Arrays:
    """Return (date, parcel) statistics of the parcels of a file, and how many rows there are."""
    wanted = pq.read_table(parcels, columns=["parcel"])["parcel"].to_numpy()
    whole = ds.dataset(table)
    columns = ["id", "t", *STATISTICS]
    found = whole.to_table(columns, filter=ds.field("id").isin(wanted)).to_pandas()
    row = np.searchsorted(wanted, found["id"])
    date = np.unique(found["t"], return_inverse=True)[1]
    arrays = {"rows": np.array(whole.count_rows())}
    for name in STATISTICS:
        arrays[name] = np.full((dates, len(wanted)), np.nan)
        arrays[name][date, row] = found[name]
    return arrays


def _traced(parameters: dict[str, Any]) -> Arrays:
    begun = cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder, recorded() as recorder:
        _extracted(parameters, folder)
    spent = {name: np.array(one.cpu_seconds) for name, one in recorder.spent.items()}
    return {"all": np.array(cpu_seconds() - begun), **spent}
