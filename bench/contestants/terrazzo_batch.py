"""Terrazzo's batch driver: blocks kept for resuming, then one COG."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

from bench.contestants.terrazzo_graphs import home_of, job_of
from terrazzo.drivers.batch import run
from terrazzo.drivers.job import Workspace
from terrazzo.drivers.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Task = Callable[[], dict[str, np.ndarray]]

MEMORY_BYTES = 8_000_000_000


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Take what to do from `parameters["tasks"]`, beside its graph who computes: `pool`."""
    return {name: partial(_run, spec) for name, spec in parameters["tasks"].items()}


def _run(spec: Mapping[str, Any]) -> dict[str, np.ndarray]:
    workspace = Workspace(home_of(spec))
    pool = Pool(spec["pool"], spec["threads"], MEMORY_BYTES)
    with tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder:
        made = run(job_of(spec), workspace, Path(folder), block=spec["block"], pool=pool)
        picture = next(a.path for a in made.assets if a.path.suffix in {".tif", ".tiff"})
        with rasterio.open(picture) as file:
            return {"result": file.read(1, masked=True).filled(np.nan)}
