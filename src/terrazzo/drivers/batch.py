"""Batch: a plan as a list of independent blocks, computed by threads or processes.

One task per output block. Finished blocks are kept (see `record`), so that a run can be
stopped at any moment and goes on where it was; the results are assembled when all are there.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from terrazzo import logs
from terrazzo.drivers.about import About
from terrazzo.drivers.described import describe
from terrazzo.drivers.executors import Blockwise, Made, Sent, computed, describe_run, opened
from terrazzo.drivers.journal import write_journal
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.record import FAILED, RunRecord, folder_name
from terrazzo.drivers.results import output_format, raster_asset, write_results, write_value
from terrazzo.drivers.stages import Means, look_at, settled, stage_plans
from terrazzo.engine import Plan, check_memory, cost, read_version
from terrazzo.engine.bound import Pending
from terrazzo.engine.demand import central_block, cube_bytes, size_text
from terrazzo.errors import PlanTooLarge, RunIncomplete
from terrazzo.geo.blocks import Blocks
from terrazzo.progress import Progress
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from terrazzo.cube import Cube
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.results import Asset, OutputFormat
    from terrazzo.engine import Inference

MOST_BLOCKS = 100_000_000
"""Blocks of one run: 8 bytes are kept of each."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run made."""

    assets: tuple[Asset, ...]
    """The files, in the order in which they were written."""
    skipped: tuple[str, ...]
    """Items that could not be read and were left out (`skip_bad`)."""
    blocks: int
    """Blocks of the run."""
    resumed: int
    """Blocks that an earlier run had finished."""
    log: tuple[logs.Entry, ...] = ()
    """What the graph logged."""
    size_bytes: int = 0
    """Of the files."""


def run(
    job: Job,
    workspace: Workspace,
    folder: Path,
    *,
    block: int = 1024,
    pool: Pool | None = None,
    progress: Progress | None = None,
    known: Inference | None = None,
    about: About | None = None,
) -> RunResult:
    """Evaluate a job over its whole extent, one block at a time, in row order.

    Args:
        job: the graph and where to run it.
        workspace: where its collections are.
        folder: where results go; a folder with the same run, unfinished, is gone on with.
        block: edge of a block, pixels.
        pool: who computes; threads on all cores by default.
        progress: told about every block; may raise `Cancelled` to stop.
        known: the job's graph, if its sources are open already.
        about: what is said of the results in their STAC.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable: bad input, before any read.
        PlanTooLarge: a block would need more memory than a worker has; before any read.
        OutputFailed: the results cannot be written; the run can be resumed.
        RunIncomplete: some blocks failed, or a worker was killed; the others are kept.
    """
    pool, progress = pool or Pool(), progress or Progress()
    with logs.collected() as log:
        try:
            inference = known or job.infer(workspace)
            means = Means(block, pool, progress, folder)
            made = _run(job, workspace, inference, folder, means)
            said = about or About()
            size = describe(job, inference, made.assets, folder, said, made.skipped)
        except RunIncomplete:
            write_journal(folder, log.all(), progress)
            raise
        write_journal(folder, log.all(), progress)
    return replace(made, log=log.all(), size_bytes=size)


def _run(
    job: Job, workspace: Workspace, inference: Inference, folder: Path, means: Means
) -> RunResult:
    """Settle what stages decide, then make every result."""
    outputs = output_nodes(inference)
    for node in outputs:
        if inference.cube(node).result is not Pending.PENDING:
            output_format(inference, node)  # a wrong one is told before anything is read
    looked_at = inspected_nodes(inference)
    places = folders_of(outputs, folder)
    for node in outputs:  # a stage may take long: what can be refused before it, is
        place = places[node]
        RunRecord(place).check({"digest": inference.graph.digest, "block": means.block})
    inference, skipped = settled(job, inference, (*outputs, *looked_at), means)
    made = RunResult((), skipped, 0, 0)
    for node in outputs:
        place = places[node]
        output = output_format(inference, node)
        bound = inference.cube(node)
        if bound.grid is None:
            RunRecord(place).note_skipped(skipped)
            part = RunResult(write_value(bound.result, output, place), skipped, 0, 0)
        else:
            sent = Sent(
                job, workspace, node, place, folder, means.block,
                means.pool.memory_bytes // means.pool.size,
            )  # fmt: skip
            part = _run_raster(inference, sent, output, means)
        made = RunResult(
            made.assets + part.assets,
            tuple(sorted({*made.skipped, *part.skipped})),
            made.blocks + part.blocks,
            made.resumed + part.resumed,
        )
    for node in looked_at:
        look_at(job, inference, node, means)
    return made


def fitting_block(job: Job, inference: Inference, pool: Pool, edge: int = 1024) -> int:
    """Return the edge of the largest blocks that fit into a pool's memory, at most `edge`.

    Where not even one pixel fits it is 1, and the run is refused with the number that says why.
    """
    plans = [
        job.plan(inference, node)
        for node in output_nodes(inference)
        if inference.nodes[node].grid is not None
    ]
    for node in output_nodes(inference):
        plans += stage_plans(job, inference, node).values()
    allowed = pool.memory_bytes // pool.size
    while edge > 1 and any(
        cost(plan, central_block(plan, edge)).memory_bytes > allowed for plan in plans
    ):
        edge //= 2
    return edge


def inspected_nodes(inference: Inference) -> tuple[str, ...]:
    """Return the nodes that only tell about their data, and whose result nobody uses."""
    graph = inference.graph
    return tuple(n for n in graph.sinks if graph[n].process_id == "inspect" and n != graph.result)


def output_nodes(inference: Inference) -> tuple[str, ...]:
    """Return the nodes whose results are written: the graph's result, and other `save_result`s."""
    graph = inference.graph
    others = [n for n in graph.sinks if graph[n].process_id == "save_result" and n != graph.result]
    return (graph.result, *others)


def folders_of(outputs: Sequence[str], folder: Path) -> dict[str, Path]:
    """Return where the results of each node go."""
    return {node: folder / folder_name(node) if len(outputs) > 1 else folder for node in outputs}


def _run_raster(inference: Inference, sent: Sent, output: OutputFormat, means: Means) -> RunResult:
    plan = sent.job.plan(inference, sent.node)
    check_memory(plan, sent.block, sent.memory_bytes)
    blocks = blocks_of(plan, sent.block)
    record = RunRecord.open(sent.folder, describe_run(plan, sent.job, sent.block))
    version = read_version(plan, plan.window)
    finished = record.results(version)
    if finished is not None:
        assets = tuple(
            raster_asset(plan, output, sent.folder / one["file"], one["time"]) for one in finished
        )
        logs.retell(record.logged(), again=True)
        return RunResult(assets, record.left_out(), len(blocks), len(blocks))
    versions, resumed = _compute(Blockwise(plan, blocks, record), sent, means)
    skipped: set[str] = set()
    log = logs.Log()

    def kept() -> Iterator[Cube]:
        for number, window in enumerate(blocks):
            made = record.load(number, int(versions[number]), window, plan.probe)
            skipped.update(made.skipped)
            log.extend(made.log)
            yield made.cube

    with span("write"):
        assets = write_results(plan, output, sent.folder, kept(), threads=means.pool.size)
        record.close([asset.listed() for asset in assets], version, sorted(skipped), log.all())
    logs.retell(log.all(), again=True)
    return RunResult(assets, tuple(sorted(skipped)), len(blocks), resumed)


def _compute(work: Blockwise, sent: Sent, means: Means) -> tuple[NDArray[np.uint64], int]:
    """Compute the blocks that are missing; return the versions of all, and how many there were.

    Raises:
        RunIncomplete: some failed, or a worker was killed.
    """
    progress, count = means.progress, len(work.blocks)
    work.record.forgive()
    versions = work.record.versions(count)
    resumed = failed = 0
    first = Made()
    try:
        with progress, opened(means.pool, work, sent) as executor:
            progress.start(count, "blocks")
            for number, made in computed(executor, range(count), versions):
                if made.error:
                    failed, first = failed + 1, first if failed else made
                    logs.retell(made.log)
                    window = work.blocks[number]
                    work.record.set_aside(number, window, made.error, made.log)
                    progress.hear(made.log)
                    unit = f"block at row {window.row}, column {window.col}"
                    progress.fail(unit, made.error, made.reason)
                    continue
                versions[number] = made.version
                progress.hear(made.log)
                if made.resumed:
                    resumed += 1
                    progress.resume()
                else:
                    progress.advance()
    except BrokenExecutor as error:
        raise RunIncomplete(
            "A worker process ended unexpectedly; most likely the system killed it as memory ran "
            f"out, or the scheduler is gone. Finished blocks are kept in {sent.folder}. Run the "
            "same command again, perhaps with fewer --workers, to compute only what is missing."
        ) from error
    if failed:
        work.record.list_failed()
        raise RunIncomplete(
            f"{failed} of {count} blocks failed; {count - failed} are kept in {sent.folder}, which "
            f"lists the others in {FAILED}. First reason: {first.error} Run the same command again "
            "to compute only what is missing.",
            first.reason,
        )
    return versions, resumed


def blocks_of(plan: Plan, edge: int) -> Blocks:
    """Return the blocks of a run in row order.

    Raises:
        PlanTooLarge: there are more than one run can keep account of.
    """
    blocks = Blocks(plan.window, edge)
    if len(blocks) > MOST_BLOCKS:
        size = size_text(cube_bytes(plan.probe, plan.window))
        raise PlanTooLarge(
            f"The run would have {len(blocks):,} blocks of {edge} x {edge} pixels and a result of "
            f"{size}; one run has at most {MOST_BLOCKS:,} blocks. Choose a coarser --resolution, a "
            "smaller --bbox or a larger --block."
        )
    return blocks
