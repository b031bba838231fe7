"""What Terrazzo does before the first pixel: plans of a tile, and of ten million blocks."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.warp import transform_bounds
from typing_extensions import override

from bench import graphs
from bench.dataset import CRS, PIXEL, Dataset
from bench.worker import peak_mb
from terrazzo.drivers.batch import run
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.engine import make_plan
from terrazzo.geo.grid import Grid
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Task = Callable[[], Mapping[str, np.ndarray]]

FIRST, TILE, BLOCKS = "first plan of a graph", "plan of a tile", "plan of a run"
FIRST_PLANS, PLANS = 20, 100
"""Each on a grid of its own."""
BLOCK, ALONG = 1024, 3163
"""Edge of a block, pixels; blocks along a side of the run."""


class _Stop(Progress):
    """Ends a run where its first block would begin."""

    @override
    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        raise Cancelled


def contestant(parameters: dict[str, Any]) -> dict[str, Task]:
    """Do each once to see that it works, as imports and caches are no part of a plan."""
    data = Dataset.of(parameters)
    workspace, composite = Workspace(data.home), graphs.composite(data)
    left, _, _, top = transform_bounds(CRS, "EPSG:3857", *data.bounds)
    grids = [Grid.of(3857, left, top, metres, 256, 256) for metres in np.linspace(10, 1000, PLANS)]
    inference = Job.of(composite).infer(workspace)

    def first() -> dict[str, np.ndarray]:
        for grid in grids[:FIRST_PLANS]:
            make_plan(Job.of(composite).infer(workspace), grid)
        return {}

    def tile() -> dict[str, np.ndarray]:
        for grid in grids:
            make_plan(inference, grid)
        return {}

    def blocks() -> dict[str, np.ndarray]:
        job = Job.of(composite, resolution=data.size * PIXEL / (ALONG * BLOCK))
        pool, progress = Pool("threads", 1, 8_000_000_000), _Stop()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        with (
            tempfile.TemporaryDirectory(prefix="terrazzo-bench-") as folder,
            suppress(Cancelled),
        ):
            run(job, workspace, Path(folder), pool=pool, progress=progress)
        grown = peak_mb() - pages * 4096 / 1e6
        return {"blocks": np.array([progress.total]), "grown_mb": np.array([grown])}

    tile()
    blocks()
    return {FIRST: first, TILE: tile, BLOCKS: blocks}
