"""The same blocks by xarray and Dask as most people write it: a graph of all chunks and dates."""

from __future__ import annotations

import pickle
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import rasterio
import xarray
from distributed import Client, Future, LocalCluster, SchedulerPlugin
from rasterio.windows import Window
from typing_extensions import override

from bench.contestants.cubes import reflectance
from bench.dataset import NODATA, Dataset
from bench.worker import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Task = Callable[[], dict[str, np.ndarray]]


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Take what to do from `parameters["tasks"]`: `block`, `workers` and `patience_s`.

    What takes longer than that after its first block is ended; `result` has no values then.
    """
    return {name: partial(_run, spec) for name, spec in parameters["tasks"].items()}


class _Watched(SchedulerPlugin):
    """Takes the times of the first task that is done, and of the first and the last block."""

    def __init__(self, blocks: str) -> None:
        self.task = self.first = self.last = 0.0
        self.blocks, self.count = blocks, 0

    @override
    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **more: Any) -> None:
        if finish != "memory":
            return
        self.task = self.task or time.perf_counter()
        if isinstance(key, tuple) and key[0] == self.blocks:
            self.last = time.perf_counter()
            self.first = self.first or self.last
            self.count += 1


def _read(path: str, block_info: Any = None) -> np.ndarray:
    (top, bottom), (left, right) = block_info[None]["array-location"]
    with rasterio.open(path) as file:
        numbers = file.read(1, window=Window(left, top, right - left, bottom - top))
    return reflectance(numbers, numbers == NODATA)


def _run(spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    data = Dataset.of(spec["data"])
    begun, cpu = time.perf_counter(), cpu_seconds()
    with (
        LocalCluster(
            n_workers=spec["workers"],
            threads_per_worker=1,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        sizes = da.core.normalize_chunks(spec["block"], (data.size, data.size))
        bands = [
            da.map_blocks(
                _read, str(data.asset(day, "B04")), chunks=sizes, dtype=np.float32, meta=np.empty(
                    (0, 0), np.float32
                ),
            )
            for day in data.days
        ]  # fmt: skip
        cube = xarray.concat([xarray.DataArray(band, dims=("y", "x")) for band in bands], "time")
        median = cube.chunk({"time": -1}).median("time", skipna=True)
        graph = dict(median.__dask_graph__())
        size = len(pickle.dumps(dict.fromkeys(graph)))
        watched = _Watched(median.data.name)
        cluster.scheduler.add_plugin(watched)
        promise = client.compute(median)
        result = _waited(promise, watched, spec["patience_s"])
        whole = time.perf_counter() - begun
    used = cpu_seconds() - cpu
    blocks = len(sizes[0]) * len(sizes[1])
    return {
        "result": result,
        "times": np.array(
            [whole, watched.first - begun, watched.last - watched.first, used, blocks]
        ),
        "done": np.array([watched.count]),
        "task": np.array([watched.task - begun]),
        "sent": np.array([size]),
        "tasks": np.array([len(graph)]),
    }


def _waited(promise: Future, watched: _Watched, patience_s: float) -> np.ndarray:
    """Return the values; none where they are not there so long after the first block."""
    while not promise.done():
        if watched.first and time.perf_counter() - watched.first > patience_s:
            promise.cancel()
            return np.empty(0, np.float32)
        time.sleep(0.2)
    values: np.ndarray = promise.result().values
    return values
