"""Code of users: what a block of it costs beside NumPy in the process, and on map tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.contestants.codes import BANDS, CODES
from bench.contestants.udfs import ONE, PLAIN, USERS
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, Target, figure, ms
from bench.tile import tiles

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.measure import Outcome
    from bench.options import Options

OURS, NUMPY = "UDF", "NumPy"
EDGE, ZOOM = 512, 12
OVERHEAD_MS, TILE_MS = 10.0, 50.0
TOLERANCE = 1e-6


def run(data: Dataset, options: Options) -> Section:
    """Race blocks in memory, then tiles."""
    count = 3 if options.quick else 40
    section = Section(
        "udf",
        "Code of users",
        f"*Blocks*: {len(BANDS)} x {EDGE} x {EDGE} float32 with a mask, in memory, through a "
        "closed worker process that knows the code, beside the same function in NumPy in this "
        "process, which makes no-data NaN first; one at a time. *Overhead* is the difference, "
        "*GB/s* the bytes that go there and come back, by the whole time. *Tiles*: 256 px Web "
        f"Mercator PNG tiles of zoom {ZOOM}, warm, with an index of two bands computed by an "
        "`ndvi` node or by a script of the user; of several users each has code, workers and a "
        "thread of their own. Wall times, because workers are processes of their own.",
        "the first call of a code, which takes a new worker (tens of milliseconds) and, for the "
        "first of all, an interpreter that loads the libraries (a second).",
    )
    parameters = {"edge": EDGE, "count": count, "seed": 5}
    outcome = race(
        [
            Contestant(OURS, "bench.contestants.udfs:blocks", parameters),
            Contestant(NUMPY, "bench.contestants.codes:numpy_contestant", parameters),
        ],
        [*CODES],
        options.runs,
        options.say,
    )
    section.tables.append(_blocks(outcome, count, section))
    places = tiles(data, ZOOM, 2 if options.quick else 6)
    drawn = data.parameters | {"tiles": places, "zoom": ZOOM}
    contestant = Contestant("tiles", "bench.contestants.udfs:tiles", drawn)
    outcome = race([contestant], [*USERS], options.runs, options.say)
    section.tables.append(_tiles(outcome, len(places), section))
    return section


def _blocks(outcome: Outcome, count: int, section: Section) -> Table:
    table = Table(
        f"Blocks of {len(BANDS)} x {EDGE} x {EDGE} float32",
        ("ms", "NumPy ms", "overhead ms", "GB/s", "agrees"),
    )
    overheads = []
    for name in CODES:
        ours, numpy = (outcome.timings[name, one].wall / count for one in (OURS, NUMPY))
        mine, theirs = (outcome.arrays[name, one]["values"] for one in (OURS, NUMPY))
        same = mine.shape == theirs.shape and bool(
            np.allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        )
        if not same:
            table.problems.append(f"{name}: the pixels are not those of NumPy.")
        moved = len(BANDS) * EDGE**2 * 4 + mine.nbytes
        overheads.append(1e3 * (ours - numpy))
        cells = (ms(ours), ms(numpy), figure(overheads[-1]), figure(moved / ours / 1e9))
        table.rows.append(Row(name, (*cells, "yes" if same else "no")))
    text = f"UDF: overhead per block of {len(BANDS)} x {EDGE} x {EDGE} float32, worst: ms"
    section.targets.append(Target.at_most(text, OVERHEAD_MS, max(overheads)))
    return table


def _tiles(outcome: Outcome, count: int, section: Section) -> Table:
    table = Table("Warm map tiles with code of users", ("ms per tile", "tiles/s", "agrees"))
    plain = outcome.arrays[PLAIN, "tiles"]["values"]
    for name, users in USERS.items():
        wall = outcome.timings[name, "tiles"].wall
        found = outcome.arrays[name, "tiles"]["values"]
        same = bool(np.allclose(found, plain, rtol=1e-5, atol=1e-6, equal_nan=True))
        if not same:
            table.problems.append(f"{name}: the pixels are not those without code.")
        cells = (ms(wall / count), figure(users * count / wall), "yes" if same else "no")
        table.rows.append(Row(name, cells))
    took = 1e3 * outcome.timings[ONE, "tiles"].wall / count
    section.targets.append(Target.at_most(f"Warm tile, {ONE}: ms", TILE_MS, took))
    return table
