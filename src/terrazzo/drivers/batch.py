"""Batch: a plan as a list of independent blocks, computed by threads or processes.

One task per output block. Finished blocks are kept (see `record`), so that a run can be
stopped at any moment and goes on where it was; the results are assembled when all are there.
"""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from terrazzo import __version__, logs
from terrazzo.drivers.about import About
from terrazzo.drivers.described import describe
from terrazzo.drivers.journal import write_journal
from terrazzo.drivers.pool import Pool, end_with_parent, one_thread_each
from terrazzo.drivers.record import RunRecord, folder_name
from terrazzo.drivers.results import output_format, raster_asset, write_results, write_value
from terrazzo.drivers.stages import Means, look_at, settled, stage_plans
from terrazzo.engine import Plan, check_memory, cost, evaluate, read_version, settle
from terrazzo.engine.bound import Pending
from terrazzo.engine.demand import central_block, cube_bytes, prefetch, size_text
from terrazzo.errors import OutputFailed, PlanTooLarge, RunIncomplete, TerrazzoError
from terrazzo.geo.blocks import Blocks
from terrazzo.progress import Progress
from terrazzo.spans import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Executor
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from terrazzo.cube import Cube
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.results import Asset, OutputFormat
    from terrazzo.engine import Inference
    from terrazzo.geo.grid import Window
    from terrazzo.processes.stage import Finding

MOST_BLOCKS = 100_000_000
"""Blocks of one run: 8 bytes are kept of each."""
WAITING_PER_WORKER = 3
"""Blocks handed to the pool ahead of the workers; bounds memory, whatever the run's size."""


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
    places = {node: folder / folder_name(node) if len(outputs) > 1 else folder for node in outputs}
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
            task = _Task(job, workspace, inference, node, place, means.block)
            part = _run_raster(task, output, means.pool, means.progress)
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


@dataclass(frozen=True, slots=True)
class _Task:
    """One raster result of a run."""

    job: Job
    workspace: Workspace
    inference: Inference
    node: str
    folder: Path
    block: int


def _run_raster(task: _Task, output: OutputFormat, pool: Pool, progress: Progress) -> RunResult:
    plan = task.job.plan(task.inference, task.node)
    check_memory(plan, task.block, pool.memory_bytes // pool.size)
    blocks = _blocks(plan, task.block)
    record = RunRecord.open(task.folder, describe_run(plan, task.job, task.block))
    version = read_version(plan, plan.window)
    finished = record.results(version)
    if finished is not None:
        assets = tuple(
            raster_asset(plan, output, task.folder / one["file"], one["time"]) for one in finished
        )
        logs.retell(record.logged(), again=True)
        return RunResult(assets, record.left_out(), len(blocks), len(blocks))
    versions, resumed = _compute(_Blockwise(plan, blocks, record), task, pool, progress)
    skipped: set[str] = set()
    log = logs.Log()

    def kept() -> Iterator[Cube]:
        for number, window in enumerate(blocks):
            made = record.load(number, int(versions[number]), window, plan.probe)
            skipped.update(made.skipped)
            log.extend(made.log)
            yield made.cube

    with span("write"):
        assets = write_results(plan, output, task.folder, kept(), threads=pool.size)
        record.close([asset.listed() for asset in assets], version, sorted(skipped), log.all())
    logs.retell(log.all(), again=True)
    return RunResult(assets, tuple(sorted(skipped)), len(blocks), resumed)


def _compute(
    work: _Blockwise, task: _Task, pool: Pool, progress: Progress
) -> tuple[NDArray[np.uint64], int]:
    """Compute the blocks that are missing; return the versions of all, and how many there were.

    Raises:
        RunIncomplete: some failed, or a worker was killed.
    """
    count = len(work.blocks)
    versions = work.record.versions(count)
    resumed = failed = 0
    first = _Made()
    try:
        with progress, _executor(pool, task, work) as (executor, compute):
            progress.start(count, "blocks")
            for number, made in _computed(executor, compute, versions, pool.size):
                if made.error:
                    failed, first = failed + 1, first if failed else made
                    logs.retell(made.log)
                    window = work.blocks[number]
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
            f"out. Finished blocks are kept in {task.folder}. Run the same command again, with "
            "fewer --workers, to compute only what is missing."
        ) from error
    if failed:
        raise RunIncomplete(
            f"{failed} of {count} blocks failed; {count - failed} are kept in {task.folder}. First "
            f"reason: {first.error} Run the same command again to compute only what is missing.",
            first.reason,
        )
    return versions, resumed


def _blocks(plan: Plan, edge: int) -> Blocks:
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


def describe_run(plan: Plan, job: Job, block: int) -> dict[str, Any]:
    """Return everything that decides the pixels of a run and their layout, as JSON values."""
    grid = plan.grid
    return {
        "terrazzo": __version__,
        "digest": plan.digest,
        "process_graph": job.document,
        "grid": [grid.crs, grid.left, grid.top, grid.pixel_x, grid.pixel_y],
        "window": [plan.window.row, plan.window.col, plan.window.height, plan.window.width],
        "block": block,
        "skip_bad": job.skip_bad,
        "exact": plan.exact,
        "items": {
            step.bound.id: list(step.bound.source.items)
            for step in plan.steps
            if step.bound.source is not None
        },
    }


@dataclass(frozen=True, slots=True)
class _Made:
    """What became of a block."""

    version: int = 0
    """Of the images that it is made of."""
    resumed: bool = False
    """Whether an earlier run had made it of these images."""
    error: str = ""
    """Why it could not be computed; empty as a rule."""
    reason: TerrazzoError | None = None
    """The same, where it is an error of ours."""
    log: tuple[logs.Entry, ...] = ()
    """What was logged; that of a block that is kept is also kept with it."""


@dataclass(frozen=True, slots=True)
class _Blockwise:
    """A plan as blocks, and where they are kept."""

    plan: Plan
    blocks: Blocks
    record: RunRecord
    ahead: int = 0
    """How many blocks further on the pixels are that sources may begin to fetch; 0 = none."""

    def make(self, number: int, kept: int) -> _Made:
        """Compute and keep one block, unless it was kept with the version that it has now.

        Raises:
            OutputFailed: it cannot be kept; the whole run stops, for the next would fail too.
        """
        plan, window = self.plan, self.blocks[number]
        with logs.collected() as log:
            made = self._made(plan, window, number, kept, log)
        return replace(made, log=self.record.logged_of(number, kept) if made.resumed else log.all())

    def _made(self, plan: Plan, window: Window, number: int, kept: int, log: logs.Log) -> _Made:
        try:
            version = int(read_version(plan, window), 16)
            if kept == version:
                return _Made(version, resumed=True)
            if kept:
                self.record.drop(number, kept)
            if self.ahead and number + self.ahead < len(self.blocks):
                prefetch(plan, self.blocks[number + self.ahead])
            cube = evaluate(plan, window)
            self.record.save(number, cube, version, plan.bad_items, log.all())
        except OutputFailed:
            raise
        except (
            TerrazzoError,
            ArithmeticError,
            LookupError,
            MemoryError,
            TypeError,
            ValueError,
        ) as error:
            reason = error if isinstance(error, TerrazzoError) else None
            return _Made(error=f"{type(error).__name__}: {error}", reason=reason)
        return _Made(version)


def _computed(
    executor: Executor,
    compute: Callable[[int, int], _Made],
    versions: NDArray[np.uint64],
    size: int,
) -> Iterator[tuple[int, _Made]]:
    """Yield blocks by number as they are done, keeping only a few ahead of the workers."""
    running: dict[Future[_Made], int] = {}
    upcoming = iter(range(len(versions)))
    try:
        while True:
            while len(running) < size * WAITING_PER_WORKER:
                number = next(upcoming, None)
                if number is None:
                    break
                running[executor.submit(compute, number, int(versions[number]))] = number
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
    finally:
        for future in running:
            future.cancel()


@contextmanager
def _executor(
    pool: Pool, task: _Task, work: _Blockwise
) -> Iterator[tuple[Executor, Callable[[int, int], _Made]]]:
    """Open the pool and give it with the task that it runs; at the end the queue is dropped."""
    with ExitStack() as stack:
        if pool.kind == "processes":
            stack.enter_context(one_thread_each())
            executor: Executor = ProcessPoolExecutor(
                pool.size,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(
                    task.job,
                    task.workspace,
                    task.node,
                    dict(task.inference.found),
                    work.blocks,
                    work.record,
                ),
            )
            compute: Callable[[int, int], _Made] = _block_in_worker
        else:
            executor = ThreadPoolExecutor(pool.size, thread_name_prefix="block")
            # Workers share what is fetched: the block after those in work is the next one needed.
            compute = replace(work, ahead=pool.size).make
        stack.callback(executor.shutdown, wait=True, cancel_futures=True)
        yield executor, compute


_worker: list[_Blockwise] = []
"""What a worker process keeps between blocks: its plan, made once."""


def _start_worker(
    job: Job,
    workspace: Workspace,
    node: str,
    found: Mapping[str, Finding],
    blocks: Blocks,
    record: RunRecord,
) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    inference = settle(job.infer(workspace), found) if found else job.infer(workspace)
    _worker.append(_Blockwise(job.plan(inference, node), blocks, record))


def _block_in_worker(number: int, kept: int) -> _Made:
    return _worker[-1].make(number, kept)
