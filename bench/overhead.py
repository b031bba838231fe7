"""What executors add to a block: many small blocks, by each of them and by Dask alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contestants.terrazzo_overhead import BARE
from bench.data import dataset
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, Target, figure, seconds

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.measure import Outcome
    from bench.options import Options

DATES = 12
EDGE, BLOCK, QUICK_EDGE, QUICK_BLOCK = 2000, 20, 512, 26
"""10 000 blocks, and 400."""
OURS, NAIVE = "Terrazzo", "xarray and Dask"
THREADS, PROCESSES, DASK = "threads", "processes", "Dask"
LOCAL_MS, DASK_MS = 5.0, 10.0
PATIENCE_S = 120.0
"""After its first block, a peer that has not ended by then is ended."""
TABLE_COLUMNS = (
    "overhead, ms per block", "first block after, s", "whole, s", "CPU s", "MB of who hands out",
)  # fmt: skip


def run(data: Dataset, options: Options) -> Section:
    """Race our executors, one worker each, and a graph of Dask of the same blocks."""
    edge, block = (QUICK_EDGE, QUICK_BLOCK) if options.quick else (EDGE, BLOCK)
    dates = 4 if options.quick else DATES
    small = dataset(edge, dates, folder=data.home.parent, say=options.say)
    spec: dict[str, Any] = {
        "data": small.parameters, "block": block, "workers": 1, "graph": "bands_median",
        "options": {"bands": ["B04"]},
    }  # fmt: skip
    pools = {BARE: "", THREADS: "threads", PROCESSES: "processes", DASK: "dask"}
    ours = {name: spec | {"pool": pool} for name, pool in pools.items()}
    module = "bench.contestants"
    mine = Contestant(OURS, f"{module}.terrazzo_overhead:contestant", {"tasks": ours}, once=True)
    peer = Contestant(
        NAIVE,
        f"{module}.dask_overhead:contestant",
        {"tasks": {DASK: spec | {"patience_s": PATIENCE_S}}},
        True,
    )
    local = race([mine], [BARE, THREADS, PROCESSES], 0, options.say)
    far = race([mine, peer], [DASK], 0, options.say)
    return _section(local, far, dates)


def _section(local: Outcome, far: Outcome, dates: int) -> Section:
    bare = local.arrays[BARE, OURS]
    whole, *_, count = bare["times"]
    table = Table(f"{int(count):,} small blocks of {dates} dates, one worker", TABLE_COLUMNS)
    table.rows.append(Row(BARE, ("", "", seconds(whole), seconds(bare["times"][3]), "")))
    found = {}
    for outcome, name, who in (
        (local, THREADS, OURS), (local, PROCESSES, OURS), (far, DASK, OURS), (far, DASK, NAIVE),
    ):  # fmt: skip
        arrays = outcome.arrays[name, who]
        wall, first, between, cpu, _ = arrays["times"]
        done = int(arrays["done"][0]) if "done" in arrays else int(count)
        added = 1e3 * (between / max(done - 1, 1) - whole / (count - 1))
        label = NAIVE if who == NAIVE else f"{OURS}, {name}"
        found[label] = added
        memory = figure(outcome.timings[name, who].peak_mb)
        ended = done == count
        cells = (
            figure(added), seconds(first), seconds(wall) if ended else f"ended at {seconds(wall)}",
            seconds(cpu), memory,
        )  # fmt: skip
        table.rows.append(Row(label if ended else f"{label}: {done:,} blocks", cells))
        if ended and not np.allclose(arrays["result"], bare["result"], atol=2e-6, equal_nan=True):
            table.problems.append(f"{label}: other values than those of blocks computed alone")
    ours, theirs = far.arrays[DASK, OURS], far.arrays[DASK, NAIVE]
    section = Section(
        "overhead",
        "Overhead of a block",
        f"The median of {dates} dates in blocks so small that little is computed. *Overhead* is "
        "the time from the first block that is finished to the last, without that of the same "
        "blocks computed one after the other in a loop, per block; a block is kept in a file, "
        "flushed to the disk. *Whole* has the start of the workers in it, and the result put "
        "together, which those who keep nothing spare. *MB* is the most that the process took "
        "which hands out the work, the scheduler of Dask in it. A task of ours carries "
        f"{int(ours['sent'][0]):,} bytes, whatever the number of blocks; the graph of Dask has "
        f"{int(theirs['tasks'][0]):,} tasks, whose names alone are {int(theirs['sent'][0]):,} "
        f"bytes, and the first of which is done after {seconds(theirs['task'][0])} s. Who has not "
        f"ended {PATIENCE_S:g} s after the first block is ended: what is told is of the blocks "
        "until then.",
        "xarray and Dask keep the result in memory; ours is a file, and goes on when it is killed.",
        [table],
    )
    for name, limit in ((THREADS, LOCAL_MS), (PROCESSES, LOCAL_MS), (DASK, DASK_MS)):
        text = f"Overhead per block, {name}, ms"
        section.targets.append(Target.at_most(text, limit, found[f"{OURS}, {name}"]))
    return section
