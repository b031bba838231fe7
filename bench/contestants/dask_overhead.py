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
from distributed import Client, LocalCluster, SchedulerPlugin
from rasterio.windows import Window
from typing_extensions import override

from bench.contestants.cubes import reflectance
from bench.dataset import NODATA, Dataset
from bench.worker import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Task = Callable[[], dict[str, np.ndarray]]


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Take what to do from `parameters["tasks"]`: `block` and `workers`."""
    return {name: partial(_run, spec) for name, spec in parameters["tasks"].items()}


class _First(SchedulerPlugin):
    """Takes the time of the first task that is done."""

    at = 0.0

    @override
    def transition(self, key: Any, start: Any, finish: Any, *args: Any, **more: Any) -> None:
        if finish == "memory" and not self.at:
            self.at = time.perf_counter()


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
        watched = _First()
        cluster.scheduler.add_plugin(watched)
        result = client.compute(median).result()
        whole = time.perf_counter() - begun
    used = cpu_seconds() - cpu
    first = watched.at - begun
    blocks = len(sizes[0]) * len(sizes[1])
    return {
        "result": result.values,
        "times": np.array([whole, first, whole - first, used, blocks]),
        "sent": np.array([size]),
        "tasks": np.array([len(graph)]),
    }
