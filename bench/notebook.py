"""A notebook that others measured: the median of a year of one Sentinel-2 tile, at 60 m.

On terrabyte the German Aerospace Center computes it with Dask, from 53 dates of a tile, two bands
and their NDVI, in 155 s on 16 workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contestants.cubes import THREADS
from bench.contestants.terrazzo_overhead import BARE
from bench.data import dataset
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, Target, figure, seconds

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.options import Options

DATES, QUICK_DATES = 53, 6
EDGE, QUICK_EDGE = 2748, 512
"""Pixels of the files: a read at 60 m takes the overview of 40 m of a tile, which has so many."""
METRES = 15.0
"""Pixel of the result: that of the files is 10 m here, so what is read and made is as with 40 m."""
BLOCK = 1024
"""Pixels: what `terrazzo run` takes unless it is told."""
THEIRS_S, THEIR_WORKERS = 155.0, 16
OURS = "Terrazzo"


def run(data: Dataset, options: Options) -> Section:
    """Run it with one worker and with two."""
    edge, dates = (QUICK_EDGE, QUICK_DATES) if options.quick else (EDGE, DATES)
    year = dataset(edge, dates, folder=data.home.parent, say=options.say)
    spec: dict[str, Any] = {
        "data": year.parameters, "block": BLOCK, "graph": "yearly_bands", "resolution": METRES,
    }  # fmt: skip
    tasks = {
        f"{count} {kind}": spec | {"pool": kind, "workers": count}
        for kind in ("threads", "processes")
        for count in (1, THREADS)
    }
    tasks[BARE] = spec | {"pool": ""}
    module = "bench.contestants.terrazzo_overhead:contestant"
    one = Contestant(OURS, module, {"tasks": tasks})
    outcome = race([one], list(tasks), 1 if options.quick else min(options.runs, 3), options.say)
    pixels = round(edge * 10 / METRES)
    table = Table(f"{dates} dates to {pixels} x {pixels} pixels", ("wall s", "CPU s", "memory MB"))
    for name in tasks:
        timing = outcome.timings[name, OURS]
        cells = (seconds(timing.wall), seconds(timing.cpu), figure(timing.peak_mb))
        table.rows.append(Row(name, cells))
    first = outcome.arrays["1 threads", OURS]["result"]
    table.problems += [
        f"{name}: other pixels than with one thread"
        for name in tasks
        if name != BARE and not np.array_equal(
            outcome.arrays[name, OURS]["result"], first, equal_nan=True
        )
    ]  # fmt: skip
    two = outcome.timings[f"{THREADS} threads", OURS]
    alone = outcome.timings["1 threads", OURS]
    section = Section(
        "notebook",
        "A year of a tile in a notebook",
        f"Red and near infrared of {dates} dates, their medians and the NDVI of these, as one COG: "
        f"what a notebook of DLR computes with Dask on terrabyte in {THEIRS_S:g} s with "
        f"{THEIR_WORKERS} workers. Our data are made up; their files have as many pixels as the "
        "overview which is read of a tile.",
        "theirs is another machine, reads from its disks, and masks clouds: only the order of "
        "magnitude can be compared.",
        [table],
    )
    if not options.quick:
        section.targets += [
            Target.at_most("The year of a tile, two workers: wall s", THEIRS_S, two.wall),
            Target.at_least("One worker's wall time / two's", 1.7, alone.wall / two.wall),
        ]
    return section
