"""A composite: the median NDVI of clear pixels over all dates, beside odc-stac with Dask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.comparison import (
    DECODE,
    OURS,
    Comparison,
    Rival,
    agreement,
    begun,
    cells_of,
    columns,
    contestants,
)
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.dataset import Dataset
    from bench.measure import Outcome
    from bench.options import Options

ODC, ODC_BLOCKS = "odc-stac + Dask", "odc-stac + Dask, one function per block"
OURS_FILE, ODC_FILE = "Terrazzo, `batch.run` to a COG", "odc-stac + Dask, the same to a COG"
OVER_DECODING, UNDER_ODC = 1.2, 5
TOLERANCE = Rival.tolerance
"""Of the index, float32: the peers compute with stored numbers, we with reflectances."""
COMPOSITE = Comparison(
    "composite",
    "Composite",
    "Median over time of the NDVI of clear pixels (scene classes 4 to 7 and 11, 20 m, nearest), on "
    "the files' own grid.",
    "`batch.run` also keeps its blocks on disk, so that a run can be resumed; no peer does. Both "
    "COGs are deflate with a predictor and averaged overviews, and are read again for the "
    "comparison; their rows are compared with each other. xarray's median uses NumPy, as neither "
    "bottleneck nor numbagg is among the requirements of odc-stac or Dask; the row below it sorts "
    "instead, and the faster of the two counts as the peer. Of a scene of 10980 pixels the row of "
    "xarray is a single run, without one to warm up.",
    "composite",
    {
        ODC: Rival("odc_cubes", "composite", slow=True),
        ODC_BLOCKS: Rival("odc_cubes", "composite_by_block"),
    },
    bands=("B04", "B08", "SCL"),
)


def run(data: Dataset, options: Options) -> Section:
    """Race the composite and compare the pictures."""
    spec = COMPOSITE.specification(data, options)
    to_file = {"tasks": {COMPOSITE.name: spec | {"pool": "threads"}}}
    batch = "bench.contestants.terrazzo_batch:contestant"
    odc = "bench.contestants.odc_cubes:contestant"
    everyone = [
        *contestants(COMPOSITE, spec, quick=options.quick),
        Contestant(OURS_FILE, batch, to_file),
        Contestant(ODC_FILE, odc, to_file | {"way": "composite_to_file"}),
    ]
    outcome = race(everyone, [COMPOSITE.name], options.runs, options.say)
    section = begun(COMPOSITE, spec)
    section.tables.append(_table(outcome, spec))
    cpu = {name: timing.cpu for (_, name), timing in outcome.timings.items()}
    edge = f"{spec['window']} x {spec['window']} pixels"
    over, under = cpu[OURS] / cpu[DECODE], cpu[ODC] / cpu[OURS]
    section.targets += [
        Target.at_most(f"Composite of {edge}: CPU / decoding alone", OVER_DECODING, over),
        Target.at_least(f"Composite of {edge}: CPU of odc-stac + Dask / ours", UNDER_ODC, under),
    ]
    return section


def _table(outcome: Outcome, spec: Mapping[str, Any]) -> Table:
    table = Table(f"Masked NDVI median, {spec['data']['dates']} dates", columns(COMPOSITE))
    times = {name: timing for (_, name), timing in outcome.timings.items()}
    best = min(times[ODC].cpu, times[ODC_BLOCKS].cpu)
    for name, timing in times.items():
        peer = times[ODC_FILE].cpu if name in {OURS_FILE, ODC_FILE} else best
        agrees = ""
        if name not in {OURS, DECODE}:
            mine, theirs = (outcome.arrays[COMPOSITE.name, who]["result"] for who in (OURS, name))
            agrees = agreement(mine, theirs, TOLERANCE, name, table)
        ratio = timing.cpu / peer if name in {OURS, OURS_FILE} else None
        table.rows.append(Row(name, (*cells_of(timing, peer, times[DECODE]), agrees), ratio=ratio))
    return table
