"""What a plan costs before the first pixel is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.contestants.terrazzo_planning import BLOCKS, FIRST, FIRST_PLANS, PLANS, TILE
from bench.measure import Contestant, race
from bench.report import Row, Section, Table, Target, figure

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.options import Options

TILE_MS, RUN_SECONDS, RUN_MB = 2.0, 1.0, 200.0


def run(data: Dataset, options: Options) -> Section:
    """Plan tiles, and a run of ten million blocks."""
    one = Contestant("Terrazzo", "bench.contestants.terrazzo_planning:contestant", data.parameters)
    outcome = race([one], [FIRST, TILE, BLOCKS], options.runs, options.say)
    first, tile, batch = (outcome.timings[k, one.name].cpu for k in (FIRST, TILE, BLOCKS))
    facts = outcome.arrays[BLOCKS, one.name]
    count, grown = int(facts["blocks"][0]), float(facts["grown_mb"][0])
    tile_ms = 1e3 * tile / PLANS
    table = Table("Before the first pixel", ("CPU ms", "memory MB"))
    table.rows += [
        Row("plan of a map tile, graph new", (figure(1e3 * first / FIRST_PLANS), "")),
        Row("plan of a map tile, graph known", (figure(tile_ms), "")),
        Row(f"`batch.run` of {count:,} blocks", (figure(1e3 * batch), figure(max(grown, 0)))),
    ]
    section = Section(
        "planning",
        "Planning",
        f"The masked NDVI median of {data.dates} dates: its plan on a grid of its own, with and "
        "without parsing the graph and searching the catalogue first, and a run up to its first "
        "block (graph parsed, catalogue searched, memory checked, run folder made). *Memory* is "
        "what the process grows by.",
        "there is no peer: none plans a run without making all of its tasks.",
        [table],
    )
    section.targets += [
        Target.at_most("Plan of a map tile, graph known: CPU ms", TILE_MS, tile_ms),
        Target.at_most(f"Plan of {count:,} blocks: CPU s", RUN_SECONDS, batch),
        Target.at_most(f"Plan of {count:,} blocks: MB", RUN_MB, max(grown, 0)),
    ]
    return section
