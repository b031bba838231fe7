"""Our executors over many small blocks, and the same blocks computed without any executor."""

from __future__ import annotations

import pickle
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from typing_extensions import override

from bench import graphs
from bench.dataset import CRS, Dataset
from bench.worker import cpu_seconds
from terrazzo.drivers.batch import run
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.executors import Sent
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.engine import evaluate
from terrazzo.geo.blocks import Blocks
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Task = Callable[[], dict[str, np.ndarray]]

BARE = "evaluate alone"
MEMORY_BYTES = 2_000_000_000


class _Watched(Progress):
    """Takes the time of the first block and of the last."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.last = 0.0

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        self.last = time.perf_counter()
        self.first = self.first or self.last


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Take what to do from `parameters["tasks"]`: `pool` (or none), `block` and `workers`."""
    return {name: partial(_run, spec) for name, spec in parameters["tasks"].items()}


def _job(spec: Mapping[str, Any]) -> tuple[Job, Workspace]:
    data = Dataset.of(spec["data"])
    graph = getattr(graphs, spec["graph"])(data, **spec.get("options", {}))
    resolution = spec.get("resolution", 0.0)
    bounds = data.bounds
    return Job.of(graph, bbox=bounds, bbox_crs=CRS, resolution=resolution), Workspace(data.home)


def _run(spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    job, workspace = _job(spec)
    if not spec["pool"]:
        return _alone(job, workspace, spec["block"])
    pool, told = Pool(spec["pool"], spec["workers"], MEMORY_BYTES), _Watched()
    begun, cpu = time.perf_counter(), cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder:
        made = run(job, workspace, Path(folder), block=spec["block"], pool=pool, progress=told)
        whole, used = time.perf_counter() - begun, cpu_seconds() - cpu
        with rasterio.open(made.assets[0].path) as file:
            pixels = file.read(1, masked=True).filled(np.nan)
    times = [whole, told.first - begun, told.last - told.first, used, made.blocks]
    return {"result": pixels, "times": np.array(times), "sent": np.array([_sent_bytes(spec)])}


def _alone(job: Job, workspace: Workspace, block: int) -> dict[str, np.ndarray]:
    plan = job.plan(job.infer(workspace))
    first = evaluate(plan, Blocks(plan.window, block)[0])
    out = np.full(
        (*first.values.shape[:-2], plan.window.height, plan.window.width), np.nan, np.float32
    )
    blocks = Blocks(plan.window, block)
    begun, cpu = time.perf_counter(), cpu_seconds()
    for window in blocks:
        cube = evaluate(plan, window)
        values = np.where(cube.valid, cube.values, np.nan)
        out[(..., *plan.window.slices(window))] = values
    whole, used = time.perf_counter() - begun, cpu_seconds() - cpu
    return {
        "result": out.reshape(-1, *out.shape[-2:])[0],
        "times": np.array([whole, 0, whole, used, len(blocks)]),
    }


def _sent_bytes(spec: Mapping[str, Any]) -> int:
    """Return the bytes that a task on Dask carries, whatever the number of blocks."""
    job, workspace = _job(spec)
    depot = FolderDepot(Path("/data/run"))
    sent = Sent(job, workspace, "median", depot, depot, spec["block"], MEMORY_BYTES)
    return len(pickle.dumps(sent))
