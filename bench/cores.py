"""What a second worker brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import links, plots
from bench.comparison import DECODE, OURS
from bench.contestants.cubes import BLOCK
from bench.measure import Contestant, race
from bench.report import Picture, Row, Section, Table, Target, seconds
from bench.scaling import DECODING, GRAPHS, MOST_RUNS, composite

if TYPE_CHECKING:
    from bench.dataset import Dataset
    from bench.measure import Outcome
    from bench.options import Options

BATCH = "bench.contestants.terrazzo_batch:contestant"
SPEED_UP = 1.7
DATES, QUICK_DATES = 50, 6
"""So many that starting, which a second worker does not make faster, is little beside them."""


def run(data: Dataset, options: Options) -> Section:
    """Compare one worker with two: time on the clock, so on a quiet machine."""
    edge = min(data.size, options.window)
    dates = QUICK_DATES if options.quick else DATES
    spec = composite(links.long(data).short(dates), edge, block=min(BLOCK, edge // 2))
    section = Section(
        "cores",
        "Two workers",
        f"The masked NDVI median of {dates} dates by one worker and by two: in memory, and as a "
        "run whose blocks are kept in files; beside rasterio, which only decodes the same blocks, "
        "in as many threads: what the machine itself gives.",
        "the start of workers that are processes is in the time of a run.",
    )
    memory = {f"{n} in memory": spec | {"threads": n} for n in (1, 2)}
    batch = {
        f"{n} {kind}": spec | {"threads": n, "pool": kind}
        for kind in ("threads", "processes")
        for n in (1, 2)
    }
    say, runs = options.say, min(options.runs, MOST_RUNS)
    pair = [Contestant(n, f, {"tasks": memory}) for n, f in ((OURS, GRAPHS), (DECODE, DECODING))]
    inside = race(pair, list(memory), runs, say)
    files = race([Contestant(OURS, BATCH, {"tasks": batch})], list(batch), runs, say)
    columns = ("one: wall s", "two: wall s", "one: CPU s", "two: CPU s", "speed-up")
    table = Table(f"One worker and two, window of {edge} pixels", columns)
    kinds: dict[str, tuple[Outcome, str, str]] = {
        "threads, in memory": (inside, OURS, "{} in memory"),
        "threads, batch": (files, OURS, "{} threads"),
        "processes, batch": (files, OURS, "{} processes"),
        "threads, rasterio alone": (inside, DECODE, "{} in memory"),
    }
    gains = {}
    for kind, (outcome, name, task) in kinds.items():
        one, two = (outcome.timings[task.format(n), name] for n in (1, 2))
        gains[kind] = one.wall / two.wall
        walls = (seconds(one.wall), seconds(two.wall), seconds(one.cpu), seconds(two.cpu))
        table.rows.append(Row(kind, (*walls, f"{gains[kind]:.2f}")))
        if name == OURS:
            text = f"Two workers, {kind}, window of {edge} pixels: one's wall time / two's"
            section.targets.append(Target.at_least(text, SPEED_UP, gains[kind]))
    section.tables.append(table)
    path = options.images / "bench-cores.svg"
    line = (f"target, {SPEED_UP}", SPEED_UP)
    labels = ("wall time of one / of two", "Two workers instead of one")
    bars = {kind.replace(", ", ",\n"): gain for kind, gain in gains.items()}
    plots.bars(path, bars, line, labels)
    text = "How much faster two workers are than one"
    section.pictures.append(Picture(f"{options.images.name}/{path.name}", text))
    return section
