"""Batch: a plan as a list of independent blocks, computed by threads or processes.

One task per output block. Finished blocks are kept (see `record`), so that a run can be
stopped at any moment and goes on where it was; the results are assembled when all are there.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from terrazzo import __version__
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.record import RunRecord
from terrazzo.drivers.results import Asset, output_format, write_results, write_value
from terrazzo.drivers.stages import compute_result
from terrazzo.engine import Plan, check_memory, evaluate, read_version
from terrazzo.engine.demand import cube_bytes, size_text
from terrazzo.errors import OutputFailed, PlanTooLarge, RunIncomplete, TerrazzoError
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor
    from pathlib import Path

    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.results import OutputFormat
    from terrazzo.engine import Inference
    from terrazzo.geo.grid import Window

MOST_BLOCKS = 4_000_000
"""Blocks of one run: what a list of them may take, about 1 GB."""
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


def run(
    job: Job,
    workspace: Workspace,
    folder: Path,
    *,
    block: int = 1024,
    pool: Pool | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Evaluate a job over its whole extent, one block at a time, in row order.

    Args:
        job: the graph and where to run it.
        workspace: where its collections are.
        folder: where results go; a folder with the same run, unfinished, is gone on with.
        block: edge of a block, pixels.
        pool: who computes; threads on all cores by default.
        progress: told about every block; may raise `Cancelled` to stop.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable: bad input, before any read.
        PlanTooLarge: a block would need more memory than a worker has; before any read.
        OutputFailed: the results cannot be written; the run can be resumed.
        RunIncomplete: some blocks failed, or a worker was killed; the others are kept.
    """
    pool, progress = pool or Pool(), progress or Progress()
    inference = job.infer(workspace)
    made = RunResult((), (), 0, 0)
    outputs = output_nodes(inference)
    for node in outputs:
        place = folder / node if len(outputs) > 1 else folder
        output = output_format(inference, node)
        if inference.cube(node).grid is None:
            value, skipped = compute_result(
                job, inference, node, block=block, pool=pool, progress=progress
            )
            RunRecord(place).note_skipped(skipped)
            part = RunResult(write_value(value, output, place), skipped, 0, 0)
        else:
            task = _Task(job, workspace, inference, node, place, block)
            part = _run_raster(task, output, pool, progress)
        made = RunResult(
            made.assets + part.assets,
            tuple(sorted({*made.skipped, *part.skipped})),
            made.blocks + part.blocks,
            made.resumed + part.resumed,
        )
    return made


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
            Asset(task.folder / one["file"], one["media_type"], one["time"]) for one in finished
        )
        return RunResult(assets, record.left_out(), len(blocks), len(blocks))
    now = partial(read_version, plan)
    waiting = [window for window in blocks if not record.has(window, now)]
    failed: dict[Window, str] = {}
    try:
        with progress, _executor(pool, task, plan, record) as (executor, compute):
            progress.start(len(blocks), "blocks", done=len(blocks) - len(waiting))
            for window, error in _computed(executor, compute, waiting, pool.size):
                if error is None:
                    progress.advance()
                else:
                    failed[window] = error
                    progress.note(f"block at row {window.row}, column {window.col} failed: {error}")
    except BrokenExecutor as error:
        raise RunIncomplete(
            "A worker process ended unexpectedly; most likely the system killed it as memory ran "
            f"out. Finished blocks are kept in {task.folder}. Run the same command again, with "
            "fewer --workers, to compute only what is missing."
        ) from error
    if failed:
        raise RunIncomplete(
            f"{len(failed)} of {len(blocks)} blocks failed; {len(blocks) - len(failed)} are kept "
            f"in {task.folder}. First reason: {next(iter(failed.values()))} Run the same command "
            "again to compute only what is missing."
        )
    skipped = sorted({name for window in blocks for name in record.skipped(window)})
    assets = write_results(plan, output, record, blocks)
    record.close([asset.listed() for asset in assets], version, skipped)
    return RunResult(assets, tuple(skipped), len(blocks), len(blocks) - len(waiting))


def _blocks(plan: Plan, edge: int) -> list[Window]:
    """Return the blocks of a run in row order.

    Raises:
        PlanTooLarge: there are more than one run can keep a list of.
    """
    count = -(-plan.window.height // edge) * -(-plan.window.width // edge)
    if count > MOST_BLOCKS:
        size = size_text(cube_bytes(plan.probe, plan.window))
        raise PlanTooLarge(
            f"The run would have {count:,} blocks of {edge} x {edge} pixels and a result of "
            f"{size}; one run has at most {MOST_BLOCKS:,} blocks. Choose a coarser --resolution, a "
            "smaller --bbox or a larger --block."
        )
    return list(plan.window.blocks(edge))


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
        "items": {
            step.bound.id: list(step.bound.source.items)
            for step in plan.steps
            if step.bound.source is not None
        },
    }


def _computed(
    executor: Executor,
    task: Callable[[Window], str | None],
    windows: list[Window],
    size: int,
) -> Iterator[tuple[Window, str | None]]:
    """Yield blocks as they are done, keeping only a few ahead of the workers."""
    running: dict[Future[str | None], Window] = {}
    upcoming = iter(windows)
    try:
        while True:
            while len(running) < size * WAITING_PER_WORKER:
                window = next(upcoming, None)
                if window is None:
                    break
                running[executor.submit(task, window)] = window
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
    pool: Pool, task: _Task, plan: Plan, record: RunRecord
) -> Iterator[tuple[Executor, Callable[[Window], str | None]]]:
    """Open the pool and give it with the task that it runs; at the end the queue is dropped."""
    if pool.kind == "processes":
        executor: Executor = ProcessPoolExecutor(
            pool.size,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(task.job, task.workspace, task.node, record),
        )
        compute: Callable[[Window], str | None] = _block_in_worker
    else:
        executor = ThreadPoolExecutor(pool.size, thread_name_prefix="block")
        compute = partial(compute_block, plan, record)
    try:
        yield executor, compute
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


_worker: dict[str, Any] = {}
"""What a worker process keeps between blocks: its plan, made once."""


def _start_worker(job: Job, workspace: Workspace, node: str, record: RunRecord) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker["plan"], _worker["record"] = job.plan(job.infer(workspace), node), record


def _end_with_parent() -> None:
    """End when the run is killed: workers of a pool would wait for its next block for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _block_in_worker(window: Window) -> str | None:
    return compute_block(_worker["plan"], _worker["record"], window)


def compute_block(plan: Plan, record: RunRecord, window: Window) -> str | None:
    """Compute and keep one block; return the reason where that fails.

    Raises:
        OutputFailed: the block cannot be kept; the whole run stops, for the next would fail too.
    """
    try:
        version = read_version(plan, window)
        record.save(evaluate(plan, window), version, plan.bad_items)
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
        return f"{type(error).__name__}: {error}"
    return None
