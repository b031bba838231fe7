"""Terrazzo's extract driver."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from bench import graphs
from bench.dataset import Dataset
from terrazzo.drivers.extract import extract
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    Task = Callable[[], dict[str, np.ndarray]]

STATISTICS = ("mean", "count", "sd")


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Extract from the GeoParquet of polygons to the Parquet table."""
    data = Dataset.of(parameters)
    pool = Pool("threads", 1, 8_000_000_000)

    def task() -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder:
            made = extract(
                Job.of(graphs.ndvi(data)),
                Workspace(data.home),
                data.parcels,
                Path(folder),
                statistics=STATISTICS,
                id_column="parcel",
                pool=pool,
            )
            table = pq.read_table(made.table).to_pandas()
        ids = np.unique(table["id"])
        row, date = table["id"].to_numpy(), np.unique(table["t"], return_inverse=True)[1]
        arrays = {}
        for name in STATISTICS:
            arrays[name] = np.full((data.dates, ids.max() + 1), np.nan)
            arrays[name][date, row] = table[name]
        return arrays

    return {"parcels": task}
