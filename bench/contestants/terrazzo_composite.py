"""Terrazzo's engine and its batch driver."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

from bench import graphs
from bench.contestants.composites import BLOCK, TASK, THREADS
from bench.dataset import CRS, Dataset
from terrazzo.drivers.batch import run
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.engine import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable

    Task = Callable[[], dict[str, np.ndarray]]


def _job(data: Dataset, edge: int) -> Any:

    left, _, _, top = data.bounds
    box = (left, top - 10.0 * edge, left + 10.0 * edge, top)
    return Job.of(graphs.composite(data), bbox=box, bbox_crs=CRS)


def in_memory(parameters: dict[str, Any]) -> dict[str, Task]:
    """Run the engine block by block into one array in memory, as the peers do."""
    data, edge = Dataset.of(parameters), parameters["window"]

    def task() -> dict[str, np.ndarray]:
        job = _job(data, edge)
        plan = job.plan(job.infer(Workspace(data.home)))
        out = np.full((plan.window.height, plan.window.width), np.nan, np.float32)

        def fill(window: Any) -> None:
            cube = evaluate(plan, window)
            rows, cols = plan.window.slices(window)
            np.copyto(out[rows, cols], cube.values, where=cube.valid)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(fill, plan.window.blocks(BLOCK)))
        return {"index": out}

    return {TASK: task}


def to_file(parameters: dict[str, Any]) -> dict[str, Task]:
    """Run the batch driver: blocks kept for resuming, then one COG."""
    data = Dataset.of(parameters)

    def task() -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder:
            pool = Pool("threads", THREADS, 8_000_000_000)
            job = _job(data, parameters["window"])
            made = run(job, Workspace(data.home), Path(folder), block=BLOCK, pool=pool)
            picture = next(a.path for a in made.assets if str(a.path).endswith((".tif", ".tiff")))
            with rasterio.open(picture) as file:
                return {"index": file.read(1, masked=True).filled(np.nan)}

    return {TASK: task}
