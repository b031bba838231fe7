"""Stages: nodes that need all pixels, carried out block by block before what follows them.

A stage on which pixels depend looks at everything that the graph selects, on the grid of its own
raster, whatever part of the result is wanted and however finely: else a tile, a run over a
smaller box and the whole run would not agree. A stage that only makes a table is confined like
the run that makes it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from terrazzo import __version__, logs
from terrazzo.drivers.findings import Findings, Found
from terrazzo.drivers.programs import programs_of
from terrazzo.drivers.walk import walked
from terrazzo.engine import check_memory, cost, make_plan, pending_stages, read_version, settle
from terrazzo.engine.bound import Pending
from terrazzo.engine.infer import needs
from terrazzo.errors import PlanTooLarge
from terrazzo.geo.blocks import Blocks
from terrazzo.progress import watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from terrazzo.cube import Cube
    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.job import Job
    from terrazzo.drivers.pool import Pool
    from terrazzo.engine import Bound, Inference, Plan
    from terrazzo.geo.grid import Window
    from terrazzo.processes.registry import Labels
    from terrazzo.progress import Progress

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Means:
    """What stages are carried out with."""

    block: int
    """Edge of a block, pixels."""
    pool: Pool
    """Threads and memory."""
    progress: Progress
    """Told about every block."""
    depot: Depot | None = None
    """Where what was found is kept, and looked for before; None = nowhere."""


def settled(
    job: Job, inference: Inference, nodes: Sequence[str], means: Means, *, most_reads: int = 0
) -> tuple[Inference, tuple[str, ...]]:
    """Carry out the stages that nodes need; return what is known then, and items left out.

    Args:
        job: where the graph is run.
        inference: the graph.
        nodes: what is wanted of it.
        means: with what.
        most_reads: pixels that a stage may read, all files, bands and dates; 0 = any number.

    Raises:
        PlanTooLarge: a block, or what a stage holds, needs more memory than there is, or it reads
            more than `most_reads`; before the stage reads anything.
        SourceUnreadable: a file is corrupt, and `skip_bad` is off.
        OutputFailed: what was found cannot be kept.
    """
    skipped: set[str] = set()
    while pending := [stage for node in nodes for stage in pending_stages(inference, node)]:
        stage = pending[0]
        whole = stage in _under_pixels(inference, nodes)
        found = _found(_Stage(job, inference, stage, whole=whole), means, most_reads)
        logs.retell(found.log, again=True)
        skipped.update(found.skipped)
        inference = settle(inference, {stage: found.finding})
    return inference, tuple(sorted(skipped))


def stage_plans(job: Job, inference: Inference, node: str) -> dict[str, Plan]:
    """Return what the stages that a node needs will look at, as far as it is known before."""
    under = _under_pixels(inference, (node,))
    plans = {}
    for name in pending_stages(inference, node):
        source = inference.nodes[next(iter(inference.nodes[name].inputs.values()))]
        if source.grid is not None:
            plans[name] = _Stage(job, inference, name, whole=name in under).plan({})
    return plans


def look_at(job: Job, inference: Inference, node: str, means: Means) -> None:
    """Compute a raster for what is logged meanwhile only; does nothing for other nodes.

    Raises:
        PlanTooLarge: a block needs more memory than there is.
    """
    if inference.cube(node).grid is None:
        return
    plan = job.plan(inference, node)

    def looked() -> Found:
        check_memory(plan, means.block, means.pool.memory_bytes // means.pool.size)
        windows = Blocks(plan.window, means.block)
        with logs.collected() as log:
            for _ in _walked(plan, windows, lambda *_: None, means):
                pass
        return Found({}, plan.bad_items, log.all())

    logs.retell(_once(job, inference.nodes[node], plan, means, looked).log, again=True)


def _under_pixels(inference: Inference, nodes: Sequence[str]) -> set[str]:
    """Return the nodes on which pixels, or which nodes there are, depend."""
    under: set[str] = set()
    seen: set[tuple[str, bool]] = set()
    waiting = [(node, False) for node in nodes]
    while waiting:
        name, below = waiting.pop()
        bound = inference.nodes[name]
        if bound.settled or (name, below) in seen:
            continue
        seen.add((name, below))
        if below or bound.grid is not None:  # it gives a raster itself
            under.add(name)
        inputs = needs(inference.graph[name], inference.nodes)
        pixels = bound.grid is not None or any(
            inference.nodes[one].grid is not None for one in inputs
        )
        decides = bound.process.id == "if" and bound.result is Pending.PENDING
        waiting += [(one, below or pixels or decides) for one in inputs]
    return under


@dataclass(frozen=True, slots=True)
class _Stage:
    """A stage that is to be carried out."""

    job: Job
    inference: Inference
    node: str
    whole: bool
    """Whether it looks at everything, on its own grid, wherever the job is."""

    @property
    def bound(self) -> Bound:
        return self.inference.nodes[self.node]

    def plan(self, labels: Labels) -> Plan:
        """Plan the raster that it looks at."""
        source = next(iter(self.bound.inputs.values()))
        if self.whole:
            return make_plan(self.inference, node=source, labels=labels, exact=self.job.exact)
        return self.job.plan(self.inference, source, labels=labels)


def _found(stage: _Stage, means: Means, most_reads: int) -> Found:
    """Return what a stage finds, or has found before in the same images."""
    plan = stage.plan({})
    if most_reads:
        _check_reads(stage, plan, most_reads)
    return _once(stage.job, stage.bound, plan, means, lambda: _carried_out(stage, plan, means))


def _once(job: Job, bound: Bound, plan: Plan, means: Means, make: Callable[[], Found]) -> Found:
    """Return what is found in all pixels of a plan for a node, if it is kept; else find it."""
    if means.depot is None:
        return make()
    kept = Findings(means.depot)
    place = (bound.id, plan.digest, plan.grid, plan.window, plan.exact, job.skip_bad)
    programs = programs_of((*(step.bound for step in plan.steps), bound))
    told = f"{__version__} {programs} {place} {read_version(plan, plan.window)}"
    version = hashlib.sha256(told.encode()).hexdigest()[:32]
    found = kept.load(version)
    if found is None:
        found = make()
        kept.save(version, found)
    return found


def _carried_out(stage: _Stage, plan: Plan, means: Means) -> Found:
    bound, pool = stage.bound, means.pool
    begin = bound.process.stage
    if begin is None:
        raise TypeError(f"{bound.process.id} is a stage and does not say how it is done.")
    work = begin(plan.probe, plan.window, bound.result, bound.arguments)
    skipped: set[str] = set()
    with logs.collected() as log:
        for walk in work.passes(pool.memory_bytes):
            part = stage.plan(walk.labels) if walk.labels else plan
            check_memory(part, means.block, (pool.memory_bytes - walk.needs) // pool.size)
            windows = walk.windows(means.block)
            for number, kept in _walked(part, windows, walk.part, means):
                walk.add(number, kept)
            skipped.update(part.bad_items)
        with watched(means.progress):
            finding = work.finish()
    return Found(finding, tuple(sorted(skipped)), log.all())


def _walked(
    plan: Plan, windows: Sequence[Window], part: Callable[[int, Cube], T], means: Means
) -> Iterator[tuple[int, T]]:
    return walked(plan, windows, part, workers=means.pool.size, progress=means.progress)


def _check_reads(stage: _Stage, plan: Plan, most: int) -> None:
    pixels = cost(plan, plan.window).read_pixels
    if pixels > most:
        raise PlanTooLarge(
            f"Node {stage.node!r} ({stage.bound.process.id}) must read {pixels:,} pixels before "
            f"the first tile can be shown; a map reads at most {most:,} for that. Narrow the "
            "extents that the graph loads, or compute the graph once, with `terrazzo run "
            "GRAPH.json -o RESULT`, and show what `terrazzo ingest RESULT --collection ID` makes."
        )
