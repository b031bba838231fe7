"""A composite: the median NDVI of clear pixels over all dates, beside odc-stac with Dask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.contestants.composites import BLOCK, TASK, THREADS
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, seconds

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.measure import Outcome
    from bench.options import Options

OURS, DECODE = "Terrazzo", "decoding alone (rasterio)"
ODC, ODC_BLOCKS = "odc-stac + Dask", "odc-stac + Dask, one function per block"
OURS_FILE, ODC_FILE = "Terrazzo, `batch.run` to a COG", "odc-stac + Dask, the same to a COG"
TOLERANCE = 2e-6
"""Of the index, float32: the peers compute with stored numbers, we with reflectances."""


def run(data: Dataset, options: Options) -> Section:
    """Race the composite and compare the pictures."""
    edge = min(data.size, options.window)
    functions = {
        OURS: "terrazzo_composite:in_memory",
        ODC: "odc_composite:with_xarray",
        ODC_BLOCKS: "odc_composite:by_block",
        OURS_FILE: "terrazzo_composite:to_file",
        ODC_FILE: "odc_composite:to_file",
        DECODE: "decoding:composite",
    }
    shared = data.parameters | {"window": edge}
    contestants = [Contestant(k, f"bench.contestants.{v}", shared) for k, v in functions.items()]
    outcome = race(contestants, [TASK], options.runs, options.say)
    section = Section(
        "composite",
        "Composite",
        f"Median over {data.dates} dates of the NDVI of clear pixels (scene classes 4 to 7 and 11, "
        f"20 m, nearest), {edge} x {edge} pixels of 10 m on the files' own grid, blocks of "
        f"{BLOCK}, {THREADS} threads, files opened anew in each run, result in memory.",
        "`batch.run` also keeps its blocks on disk, so that a run can be resumed; no peer does. "
        "Both COGs are deflate with a predictor and averaged overviews, and are read again for the "
        "comparison; their rows are compared with each other. xarray's median uses NumPy, as "
        "neither bottleneck nor numbagg is among the requirements of odc-stac or Dask; the row "
        "below it sorts instead, and the faster of the two counts as the peer.",
    )
    section.tables.append(_table(outcome, data))
    return section


def _table(outcome: Outcome, data: Dataset) -> Table:
    columns = ("CPU s", "wall s", "peak MB", "CPU / peer", "CPU / decoding", "agrees")
    table = Table(f"Masked NDVI median, {data.dates} dates", columns)
    timings = {name: timing for (_, name), timing in outcome.timings.items()}
    best = min(timings[ODC].cpu, timings[ODC_BLOCKS].cpu)
    mine = outcome.arrays[TASK, OURS]["index"]
    for name, timing in timings.items():
        peer = timings[ODC_FILE].cpu if name in (OURS_FILE, ODC_FILE) else best
        agrees = ""
        if name not in (OURS, DECODE):
            share = alike(mine, outcome.arrays[TASK, name]["index"])
            agrees = f"{share:.2%}"
            if share < 1:
                table.problems.append(f"{name}: only {share:.4%} of the pixels are as ours.")
        cells = (
            seconds(timing.cpu),
            seconds(timing.wall),
            f"{timing.peak_mb:.0f}",
            f"{timing.cpu / peer:.2f}",
            f"{timing.cpu / timings[DECODE].cpu:.2f}",
            agrees,
        )
        table.rows.append(
            Row(name, cells, ratio=timing.cpu / peer if name in (OURS, OURS_FILE) else None)
        )
    return table


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of pixels that are NaN in both or differ by no more than the tolerance."""
    same = np.isclose(one, other, rtol=0, atol=TOLERANCE, equal_nan=True)
    return float(same.mean())
