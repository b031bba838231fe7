"""Batch: a plan as a list of independent blocks, computed by threads or processes.

One task per output block. Finished blocks are kept (see `record`), so that a run can be
stopped at any moment and goes on where it was; the results are assembled when all are there.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from terrazzo import logs
from terrazzo.drivers.about import About
from terrazzo.drivers.depot import BucketDepot, FolderDepot
from terrazzo.drivers.described import describe
from terrazzo.drivers.executors import Blockwise, Made, Sent, computed, opened
from terrazzo.drivers.journal import write_journal
from terrazzo.drivers.overheard import name_of
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.record import FAILED, RunRecord, folder_name
from terrazzo.drivers.results import output_format, raster_asset, write_results, write_value
from terrazzo.drivers.sending import send_files, send_run
from terrazzo.drivers.stages import Means, look_at, settled, stage_plans
from terrazzo.drivers.watching.report import Facts, reported
from terrazzo.engine import check_memory, cost, read_version
from terrazzo.engine.bound import Pending
from terrazzo.engine.demand import central_block
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.progress import Progress
from terrazzo.spans import span
from terrazzo.storage.writers.files import begin_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path, PurePosixPath

    import numpy as np
    from numpy.typing import NDArray

    from terrazzo.cube import Cube
    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.results import Asset, OutputFormat
    from terrazzo.drivers.watching.speeds import Outlook
    from terrazzo.engine import Inference
    from terrazzo.storage.writers.zarr_shared import SharedZarr

P = TypeVar("P", "Path", "PurePosixPath", "Depot")


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
    depot: Depot | None = None,
    block: int = 1024,
    pool: Pool | None = None,
    progress: Progress | None = None,
    known: Inference | None = None,
    about: About | None = None,
    outlook: Outlook | None = None,
) -> RunResult:
    """Evaluate a job over its whole extent, one block at a time, in row order.

    How the run is stands in `status.json` in its folder, see `drivers.watching`.

    Args:
        job: the graph and where to run it.
        workspace: where its collections are.
        folder: where the files of results are put together.
        depot: where the run is kept; the same run there, unfinished, is gone on with. It is the
            folder, or a part of a bucket, into which results are then put as well.
        block: edge of a block, pixels.
        pool: who computes; threads on all cores by default.
        progress: told about every block; may raise `Cancelled` to stop.
        known: the job's graph, if its sources are open already.
        about: what is said of the results in their STAC.
        outlook: what it is expected to take; told before, and compared after.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable: bad input, before any read; or the depot is
            another folder.
        PlanTooLarge: a block would need more memory than a worker has; before any read.
        OutputFailed: the results cannot be written; the run can be resumed.
        RunIncomplete: some blocks failed, or a worker was killed; the others are kept.
    """
    pool, progress = pool or Pool(), progress or Progress()
    kept = FolderDepot(folder) if depot is None else depot
    if isinstance(kept, FolderDepot) and kept.path.absolute() != folder.absolute():
        raise ArgumentInvalid(
            f"A run that is kept in the folder {kept} has its results there, and not in {folder}. "
            "Name one folder for both, or keep the run in a bucket."
        )
    with logs.collected() as log:
        inference, said = known or job.infer(workspace), about or About()
        facts = Facts(workspace.home, said.title, pool.kind, pool.size, outlook)
        try:
            with reported(progress, kept, facts) as told:
                means = Means(block, pool, told, kept)
                made = _run(job, workspace, inference, (folder, kept), means)
                size = describe(job, inference, made.assets, folder, said, made.skipped)
                if isinstance(kept, BucketDepot):
                    send_run(folder, kept.destination(told))
        except RunIncomplete:
            write_journal(kept, log.all(), progress)
            raise
        write_journal(kept, log.all(), progress)
    return replace(made, log=log.all(), size_bytes=size)


def _run(
    job: Job, workspace: Workspace, inference: Inference, where: tuple[Path, Depot], means: Means
) -> RunResult:
    """Settle what stages decide, then make every result."""
    outputs = output_nodes(inference)
    for node in outputs:
        if inference.cube(node).result is not Pending.PENDING:
            output_format(inference, node)  # a wrong one is told before anything is read
    looked_at = inspected_nodes(inference)
    folder, run = where
    folders, places = folders_of(outputs, folder), folders_of(outputs, run)
    for node in outputs:  # a stage may take long: what can be refused before it, is
        RunRecord(places[node]).check({"digest": inference.graph.digest, "block": means.block})
    inference, skipped = settled(job, inference, (*outputs, *looked_at), means)
    made = RunResult((), skipped, 0, 0)
    for node in outputs:
        place = places[node]
        output = output_format(inference, node)
        bound = inference.cube(node)
        if bound.grid is None:
            RunRecord(place).note_skipped(skipped)
            begin_folder(folders[node])
            part = RunResult(write_value(bound.result, output, folders[node]), skipped, 0, 0)
        else:
            sent = Sent(
                job, workspace, node, place, run, means.block,
                means.pool.memory_bytes // means.pool.size,
            )  # fmt: skip
            part = _run_raster(inference, sent, output, folders[node], means)
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


def folders_of(outputs: Sequence[str], folder: P) -> dict[str, P]:
    """Return where the results of each node go, below a folder or a depot."""
    return {node: folder / folder_name(node) if len(outputs) > 1 else folder for node in outputs}


def _run_raster(
    inference: Inference, sent: Sent, output: OutputFormat, folder: Path, means: Means
) -> RunResult:
    plan = sent.job.plan(inference, sent.node)
    check_memory(plan, sent.block, sent.memory_bytes)
    work = sent.work(plan, output, ahead=means.pool.size)
    blocks, record = work.blocks, work.record
    begin_folder(folder)
    version = read_version(plan, plan.window)
    finished = record.results(lambda: version)
    if finished is not None:
        for one in finished:
            sent.folder.bring(one["file"], folder)
        assets = tuple(
            raster_asset(plan, output, folder / one["file"], one["time"], _size(sent, output))
            for one in finished
        )
        logs.retell(record.logged(), again=True)
        return RunResult(assets, record.left_out(), len(blocks), len(blocks))
    record.reopen()
    done = _compute(work, sent, means)
    skipped: set[str] = set()
    log = logs.Log()

    def kept() -> Iterator[Cube]:
        for number, window in enumerate(blocks):
            block = record.load(number, int(done.versions[number]), window, plan.probe)
            skipped.update(block.skipped)
            log.extend(block.log)
            yield block.cube

    made: tuple[Asset, ...]
    if record.store is not None:
        record.check_kept(done.versions)
        for _, block in sorted(done.told.items()):
            skipped.update(block.skipped)
            log.extend(block.log)
        sent.folder.tidy(output.file)
        _coarsen(record.store, means)
        path = folder / output.file
        made = (raster_asset(plan, output, path, size=_size(sent, output)),)
    else:
        with span("write"):
            made = write_results(plan, output, folder, kept(), threads=means.pool.size)
    if isinstance(sent.folder, BucketDepot) and not output.in_place:
        send_files(folder, made, sent.folder.destination(means.progress))
    with span("write"):
        record.close([asset.listed() for asset in made], version, sorted(skipped), log.all())
    logs.retell(log.all(), again=True)
    return RunResult(made, tuple(sorted(skipped)), len(blocks), done.resumed)


def _coarsen(store: SharedZarr, means: Means) -> None:
    """Make the overviews of a store that is whole."""
    with means.progress:
        means.progress.start(store.halves, "parts of overviews")
        for _ in store.coarsen(means.pool.size):
            means.progress.advance()


def _size(sent: Sent, output: OutputFormat) -> int | None:
    """Return the bytes of a result that is no single file, once it is there."""
    return sent.folder.size_of(output.file) if output.in_place else None


@dataclass(frozen=True, slots=True)
class _Computed:
    """All blocks of a raster, once they are kept."""

    versions: NDArray[np.uint64]
    """Of the images that they are made of, by number."""
    resumed: int
    """How many were there before."""
    told: dict[int, Made]
    """Of blocks that are in a store: those of which there is something to tell."""


def _compute(work: Blockwise, sent: Sent, means: Means) -> _Computed:
    """Compute the blocks that are missing.

    Raises:
        RunIncomplete: some failed, or a worker was killed.
    """
    progress, count = means.progress, len(work.blocks)
    work.record.forgive()
    versions = work.record.versions(count)
    resumed = failed = 0
    first = Made()
    told: dict[int, Made] = {}
    try:
        with progress, opened(means.pool, work, sent, progress) as executor:
            progress.start(count, "blocks")
            for number, made in computed(executor, work.sweep, versions, progress):
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
                if work.record.store is not None and (made.log or made.skipped):
                    told[number] = made
                if made.log:
                    progress.hear(made.log, name_of(sent.folder, number, made.version))
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
    return _Computed(versions, resumed, told)
