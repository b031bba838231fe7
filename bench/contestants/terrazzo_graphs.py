"""Terrazzo's engine, block by block, into one array in memory, as the peers do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import graphs
from bench.dataset import CRS, PIXEL, Dataset
from terrazzo.drivers.job import Job, Workspace
from terrazzo.engine import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Task = Callable[[], dict[str, np.ndarray]]


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Take what to do from `parameters["tasks"]`: a specification by name of the task."""
    return {name: partial(_run, spec) for name, spec in parameters["tasks"].items()}


def job_of(spec: Mapping[str, Any]) -> Job:
    """Make the job: a function of `bench.graphs`, and the edge of the window of made-up data."""
    if "home" in spec:
        return Job.of(getattr(graphs, spec["graph"])())
    data, edge = Dataset.of(spec["data"]), PIXEL * spec["window"]
    graph = getattr(graphs, spec["graph"])(data, **spec.get("options", {}))
    left, _, _, top = data.bounds
    return Job.of(graph, bbox=(left, top - edge, left + edge, top), bbox_crs=CRS)


def home_of(spec: Mapping[str, Any]) -> Path:
    """Return the workspace of real or made-up data."""
    return Path(spec["home"]) if "home" in spec else Dataset.of(spec["data"]).home


def _run(spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    job = job_of(spec)
    plan = job.plan(job.infer(Workspace(home_of(spec))))
    labels = (len(dimension.labels) for dimension in plan.probe.dimensions[:-2])
    shape = (*labels, plan.window.height, plan.window.width)
    out = np.full(shape, np.nan, np.float32)

    def fill(window: Any) -> None:
        cube = evaluate(plan, window)
        rows, cols = plan.window.slices(window)
        np.copyto(out[..., rows, cols], cube.values, where=cube.valid)

    with ThreadPoolExecutor(spec["threads"]) as pool:
        list(pool.map(fill, plan.window.blocks(spec["block"])))
    return {"result": out}
