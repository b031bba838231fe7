"""The page about the simulation, docs/continent.md, and its plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench import plots
from bench.simulate_continent import HOUR_S

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from bench.simulate_continent import Chance, Costs, Outcome, Planned

MINUTE_S = 60.0
COLUMNS = (
    "workers", "by", "until all are made", "of the workers' time", "again", "twice", "requests",
    "per second", "busy",
)  # fmt: skip


def page(plans: Sequence[Planned], chance: Chance, asked: argparse.Namespace) -> str:
    """Return the page; draws its plot beside it."""
    picture = asked.out.parent / "images" / "continent.svg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(picture, plans)
    costs = plans[0].costs
    parts = [_head(costs, chance, asked)]
    for plan in plans:
        parts.append(f"## A unit is {plan.unit}: {plan.blocks:,} units\n")
        parts.append(_table(plan.outcomes))
    parts.append(
        f"![Hours until everything is made, against workers](images/{picture.name})\n\n"
        "*Again* are attempts that failed, or whose worker died; *twice* those which somebody else "
        "had made meanwhile; *requests* what the process that hands out has served, "
        "*per second* in its busiest second, *busy* its share of the time. "
        f"{_aside(plans)}\n"
    )
    parts.append(_told(plans, chance))
    return "\n".join(parts)


def _aside(plans: Sequence[Planned]) -> str:
    aside = sum(one.aside for plan in plans for one in plan.outcomes)
    if not aside:
        return "Everything was made in every one of these runs."
    return f"{aside} units of all these runs failed three times and were set aside."


def _head(costs: Costs, chance: Chance, asked: argparse.Namespace) -> str:
    block = np.array(costs.block_s)
    return f"""# A continent

EcoDataCube made {asked.tiles:,} tiles of Europe for {asked.quarters} quarters with arrays of Slurm jobs.
What would that be here, on more cores than we have? A simulation says, from what was measured on one machine
and the rules by which [blocks are handed out](clusters.md); it is made by `python -m bench.simulate_continent`,
and the same seed gives the same numbers.

| measured | |
|---|---|
| a block: masked NDVI median of 10 dates, 1024 x 1024 pixels, kept in a file | {np.median(block):.2f} s of CPU ({block.min():.2f} to {block.max():.2f}) |
| start of a worker: libraries, catalogue, plan | {costs.start_s:.1f} s of CPU |
| handing out a block by Dask, scheduler and run together | {1e3 * costs.handed_s:.2f} ms of CPU |

| assumed | |
|---|---|
| attempts that fail by what passes | {100 * chance.failing:g} % |
| workers that die in an hour | {100 * chance.dying_per_hour:g} %; another is there after {chance.back_s:g} s |
| attempts that take {chance.slower:g} times as long | {100 * chance.slow:g} % |
| workers that the batch system starts | {chance.starts_per_s:g} in a second |

Not simulated is what all workers share: the disks and the network that images come from. A block reads
about 60 MB of decoded pixels; ten thousand workers want what few stores give. Nor is what a look at the
folder of the run takes: by Slurm a worker learns for nothing what others have made, where a real one lists
the files of a shared file system.
"""  # noqa: E501 - rows of tables


def _table(outcomes: Sequence[Outcome]) -> str:
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    for one in outcomes:
        asks = one.way == "Dask"
        cells = (
            f"{one.workers:,}", one.way, duration(one.makespan_s), f"{100 * one.efficiency:.0f} %",
            f"{one.failures + one.deaths:,}", f"{one.twice:,}",
            f"{one.requests:,}" if asks else "-", f"{one.most_per_s:,.0f}" if asks else "-",
            f"{100 * one.busy_s / one.makespan_s:.0f} %" if asks else "-",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def duration(seconds: float) -> str:
    """Write a duration for people."""
    if seconds >= HOUR_S:
        return f"{seconds / HOUR_S:.1f} h"
    return f"{seconds / MINUTE_S:.1f} min" if seconds >= MINUTE_S else f"{seconds:.0f} s"


def _told(plans: Sequence[Planned], chance: Chance) -> str:
    """Say what follows, from the numbers."""
    fine, whole = plans[0], plans[1]
    rate = 1 / fine.costs.handed_s
    each = float(np.mean(fine.costs.block_s))
    lasting = duration(float(np.mean(whole.costs.block_s)))
    return f"""## What follows

- A process that hands out blocks manages {rate:,.0f} of them a second at most, so blocks of {each:.2f} s
  keep about {rate * each:,.0f} workers busy by Dask. Larger blocks, or whole tiles as units (of {lasting}
  here), move that limit up.
- By Slurm nobody hands out anything, so the number of blocks does not matter; workers only look at
  the folder when their own share is made.
- Where each worker has little to do, their start is what takes the time: ten thousand are only all
  there after {duration(10_000 / chance.starts_per_s)}.
"""  # noqa: E501 - numbers take less room


def draw(path: Path, plans: Sequence[Planned]) -> None:
    """Draw hours against workers."""
    series = {}
    for plan in plans:
        for way in dict.fromkeys(one.way for one in plan.outcomes):
            series[f"{way}, {plan.unit}"] = {
                float(one.workers): one.makespan_s / HOUR_S
                for one in plan.outcomes
                if one.way == way
            }
    needed = plans[0].outcomes[0].needed_s / HOUR_S
    workers = sorted({float(one.workers) for one in plans[0].outcomes})
    ideal = {many: needed / many for many in workers}
    labels = ("workers", "hours until everything is made")
    plots.falling(path, series, ideal, labels, "23 116 tiles x 84 quarters")
