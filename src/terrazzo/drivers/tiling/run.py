"""A run on a tile grid: every tile that its results touch, each by itself, and what joins them."""

from __future__ import annotations

import json
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import PurePosixPath
from sys import intern
from typing import TYPE_CHECKING, Any

from terrazzo import __version__, logs
from terrazzo.cube import Cube
from terrazzo.drivers.about import About
from terrazzo.drivers.batch import RunResult, folders_of, output_nodes
from terrazzo.drivers.cutting import blocks_of
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.executors import computed, opened
from terrazzo.drivers.journal import write_journal
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.programs import programs_of
from terrazzo.drivers.record import FAILED, RunRecord
from terrazzo.drivers.results import Asset, output_format
from terrazzo.drivers.stages import Means, settled
from terrazzo.drivers.tiling.jobs import TileJob, check_outputs, tiles_of
from terrazzo.drivers.tiling.published import Assembly, publish, results_of
from terrazzo.drivers.tiling.work import Once, Tilewise, at_once, held
from terrazzo.drivers.watching.report import Facts, reported
from terrazzo.engine import check_memory
from terrazzo.errors import RunIncomplete
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.described import Results
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.tiling.squares import Squares
    from terrazzo.engine import Inference

_SHORT = 16


def run(
    job: Job,
    workspace: Workspace,
    folder: Path,
    tiles: Squares,
    *,
    depot: Depot | None = None,
    block: int = 1024,
    pool: Pool | None = None,
    progress: Progress | None = None,
    about: About | None = None,
    assemble: bool = False,
) -> RunResult:
    """Evaluate a job on every tile that its results touch; whole tiles, also where --bbox ends.

    Args:
        job: the graph; its bbox chooses tiles.
        workspace: where its collections are.
        folder: where the files of results are put together.
        tiles: the tile grid.
        depot: where the run is kept; the same run there, unfinished, is gone on with. It is the
            folder, or a part of a bucket, to which results go then; in the folder remains only
            what is said of them.
        block: edge of a block of a tile, pixels.
        pool: who makes tiles; threads on all cores by default.
        progress: told about every tile; may raise `Cancelled` to stop.
        about: what the results are called; by default after the graph.
        assemble: whether the tiles of each CRS and date are also made one file.

    Returns:
        The files of all tiles, and those made of them; its blocks are tiles.

    Raises:
        GraphInvalid, ArgumentInvalid, FormatUnsuitable, NoDataAvailable: before any read.
        PlanTooLarge: a block would need more memory than a worker has; before any read.
        RunDiffers: the folder holds another run.
        OutputFailed: the results cannot be written; the run can be resumed.
        RunIncomplete: some tiles failed, and were set aside; the others are kept.
    """
    pool, progress = pool or Pool(), progress or Progress()
    kept = FolderDepot(folder) if depot is None else depot
    with logs.collected() as log:
        means, said = Means(block, pool, progress, kept), about or About()
        work = prepared(job, workspace, (folder, kept), tiles, means, said)
        facts = Facts(workspace.home, work.name, pool.kind, pool.size)
        try:
            with reported(progress, kept, facts) as told:
                resumed = _compute(work, pool, told)
        finally:
            write_journal(kept, log.all(), progress)
    assembly = Assembly(_overviews(work.inference), pool.size) if assemble else None
    results = _described(work, progress)
    with held(folder, progress):  # somebody else may do the same
        joined = publish(work, results, tiles, assembly, progress)
    assets, skipped = _made(work, results)
    return RunResult((*assets, *joined), skipped, len(work.tiles), resumed, log.all())


def prepared(
    job: Job,
    workspace: Workspace,
    where: tuple[Path, Depot],
    tiles: Squares,
    means: Means,
    about: About,
) -> Tilewise:
    """Begin a run, or go on with it: find its tiles, and what stages find.

    Args:
        job: as for `run`.
        workspace: likewise.
        where: the folder in which files are put together, and where the run is kept.
        tiles: likewise.
        means: what stages and tiles are made with.
        about: what the results are called.

    Raises:
        As for `run`, but for RunIncomplete.
    """
    inference = job.infer(workspace)
    check_outputs(job, inference)
    chosen = tiles_of(job, inference, tiles)
    folder, depot = where
    RunRecord.open(depot, _description(inference, tiles, job, means.block))
    inference, _ = settled(job, inference, output_nodes(inference), means)
    own, name = _own_pool(means.pool, len(chosen)), about.id or inference.graph.digest[:_SHORT]
    work = Tilewise(
        job, workspace, inference, chosen, tiles.text, folder, depot, means.block, own, name
    )  # fmt: skip
    _check_first(work)
    return work


def _overviews(inference: Inference) -> dict[str, str]:
    """Return how overviews of each result are made, by its folder in that of a tile."""
    found = {}
    for node, place in folders_of(output_nodes(inference), PurePosixPath()).items():
        result = inference.cube(node).result
        plain = "average" if isinstance(result, Cube) and result.dtype.kind == "f" else "nearest"
        options = output_format(inference, node).options
        found[place.as_posix()] = str(options.get("overviews", plain)).lower()
    return found


def _description(inference: Inference, tiles: Squares, job: Job, block: int) -> dict[str, Any]:
    """Return what decides the tiles of a run; `--bbox` may be widened."""
    return {
        "terrazzo": __version__,
        "programs": programs_of(inference.nodes.values()),
        "digest": inference.graph.digest,
        "process_graph": job.document,
        "tiles": tiles.told,
        "block": block,
        "skip_bad": job.skip_bad,
        "exact": job.exact,
    }


def _own_pool(pool: Pool, count: int) -> Pool:
    """Return the threads and the memory of a tile: several where tiles are fewer than threads."""
    threads = max(pool.size // count, 1) if pool.kind == "threads" else 1
    return Pool("threads", threads, pool.memory_bytes // pool.size * threads)


def _check_first(work: Tilewise) -> None:
    """Refuse what does not fit into memory, before anything is read."""
    job = TileJob.on(work.job, work.tiles[0].grid)
    for node in output_nodes(work.inference):
        plan = job.plan(work.inference, node)
        blocks_of(plan, work.block)
        check_memory(plan, work.block, work.pool.memory_bytes // work.pool.size)


def _compute(work: Tilewise, pool: Pool, progress: Progress) -> int:
    """Make the tiles that are missing; returns how many there were.

    Raises:
        RunIncomplete: some failed, or a worker was killed.
    """
    count, resumed = len(work.tiles), 0
    failed: list[dict[str, str]] = []
    first = None
    try:
        with progress, opened(pool, work, work.sent(), progress) as executor:
            progress.start(count, "tiles")
            try:
                alone, kept = Once(executor), [0] * count
                for number, made in computed(alone, range(count), kept, progress, most=1):
                    name = work.tiles[number].name
                    progress.hear(made.log)
                    if made.error:
                        first = first or made
                        failed.append({"tile": name, "reason": made.error})
                        progress.fail(f"tile {name}", made.error, made.reason)
                    elif made.resumed:
                        resumed += 1
                        progress.resume()
                    else:
                        progress.advance()
            except BaseException:
                work.stopped.set()
                raise
    except BrokenExecutor as error:
        raise RunIncomplete(
            "A worker process ended unexpectedly; most likely the system killed it as memory ran "
            f"out, or the scheduler is gone. Finished tiles are kept in {work.depot}. Run the "
            "same command again, perhaps with fewer --workers, to make only what is missing."
        ) from error
    _note_failed(work.depot, failed)
    if first is not None:
        raise RunIncomplete(
            f"{len(failed)} of {count} tiles failed; {count - len(failed)} are kept in "
            f"{work.depot}, which lists the others in {FAILED}. First reason: {first.error} Run "
            "the same command again to make only what is missing.",
            first.reason,
        )
    return resumed


def _described(work: Tilewise, progress: Progress) -> list[Results]:
    """Return what each tile was described as.

    Their graph, of which they tell alike, and the names of images are held once.

    Raises:
        As for `results_of`.
    """
    shared: dict[str, Any] = {}

    def described(number: int) -> Results:
        found = results_of(work, number)
        told = {name: _held_once(value) for name, value in found.told["provenance"].items()}
        for name, value in told.items():
            if shared.setdefault(name, value) == value:
                told[name] = shared[name]
        return replace(found, told={**found.told, "provenance": told})

    return at_once(described, len(work.tiles), "tiles described", progress)


def _held_once(value: Any) -> Any:
    """Return JSON values whose texts are held once, however often they are read."""
    if isinstance(value, dict):
        return {name: _held_once(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_held_once(one) for one in value]
    return intern(value) if isinstance(value, str) else value


def _note_failed(depot: Depot, failed: list[dict[str, str]]) -> None:
    if failed:
        depot.write(FAILED, "".join(json.dumps(one) + "\n" for one in failed).encode())
    else:
        depot.delete([FAILED])


def _made(work: Tilewise, results: Sequence[Results]) -> tuple[tuple[Asset, ...], tuple[str, ...]]:
    """Return the files of all tiles, and the items that were left out of any."""
    assets: list[Asset] = []
    skipped: set[str] = set()
    for tile, made in zip(work.tiles, results, strict=True):
        skipped.update(made.told["skipped"])
        assets += (
            Asset(made.folder / one["file"], one["type"], part["label"], {}, tile.grid)
            for part in made.told["parts"]
            for one in part["assets"].values()
        )
    return tuple(assets), tuple(sorted(skipped))
