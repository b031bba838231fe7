"""The command that runs a graph: here, on a Dask cluster, or by Slurm."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.cli.cluster_options import (
    Slurmed,
    allocation,
    check_cluster,
    cluster_options,
    group_arguments,
    share_catalogue,
)
from terrazzo.cli.foretold import begun, note
from terrazzo.cli.graphs import Stopped, describe, job_of, tell_skipped
from terrazzo.cli.options import GRAPH, SKIP_BAD, Settings, pool_options, where
from terrazzo.drivers.home import work_folder
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Cancelled, ProgressLine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.drivers.batch import RunResult
    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.job import Job
    from terrazzo.drivers.order import Order
    from terrazzo.drivers.pool import Pool
    from terrazzo.drivers.sending import Destination
    from terrazzo.progress import Progress


@dataclass(frozen=True, slots=True)
class Target:
    """Where a run goes."""

    folder: Path
    """In which its results are put together."""
    depot: Depot
    """Where its blocks and its description are kept."""
    destination: Destination | None = None
    """What results are sent to, where that is another place."""


@click.command()
@GRAPH
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FOLDER|s3://BUCKET/PREFIX",
    help="Folder or part of a bucket for the run and its results; the same unfinished run there "
    "is gone on with.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the blocks of a run whose results go to a bucket.  [default: the bucket]",
)
@where
@pool_options
@cluster_options
@SKIP_BAD
@click.option(
    "--tiles",
    default="",
    metavar="GRID",
    help="Cut results into the tiles of a grid: mgrs, equi7:ZONE, webmercator:ZOOM, "
    "CRS,X,Y,PIXELS,PIXEL SIZE, or own:FILE[:COLUMN] with named boxes.",
)
@click.option(
    "--assemble", is_flag=True, help="Of --tiles: also make one file of all tiles of a CRS."
)
@click.pass_obj
def run(
    settings: Settings,
    /,
    graph: str,
    output: str,
    *,
    work: Path | None,
    block: int,
    workers: int,
    memory: int,
    executor: str,
    scheduler: str,
    slurm: Slurmed,
    skip_bad: bool,
    tiles: str,
    assemble: bool,
    **place: Any,
) -> None:
    """Run a process graph over its whole extent.

    Results go to stdout as one JSON line per written file; progress goes to stderr. Exit status:
    0 done, 2 bad input, 3 some blocks failed. A run that was stopped in any way goes on when the
    same command is given again. The folder `stac` in the output describes the files, with the graph
    and the images that they were made of; see also `terrazzo publish`.

    \b
    Example:
      terrazzo run ndvi.json -o ndvi --bbox 22.15,45.20,22.16,45.21
      terrazzo run ndvi.json -o s3://bucket/ndvi
      terrazzo run ndvi.json -o ndvi --executor dask --scheduler tcp://10.0.0.5:8786
      terrazzo run ndvi.json -o /data/ndvi --executor slurm --workers 200 --memory 4G --time 1:00:00
      terrazzo run ndvi.json -o ndvi --tiles mgrs --resolution 20
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers.places import is_remote  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.pool import Pool  # noqa: PLC0415

    job = job_of(graph, place, skip_bad=skip_bad)
    check_cluster(executor, scheduler, slurm)
    _check_sent(work, slurm)
    share_catalogue(settings)
    if assemble and not tiles:
        raise ArgumentInvalid("--assemble is of --tiles. Name a tile grid, or leave it out.")
    progress = ProgressLine()
    target = _where(settings, output, work, progress)
    try:
        if executor == "slurm":
            order = _order(job, block, slurm["cores"], memory, (tiles, assemble))
            result = _by_slurm(settings, (graph, order), target, workers, slurm, progress)
            if result is None:
                return
        else:
            pool = Pool(executor, workers, memory, scheduler)
            result = _here(settings, (graph, job), target, (tiles, assemble), block, pool, progress)
        if target.destination is not None:
            _send(target.folder, result, target.destination, tiled=bool(tiles))
    except (KeyboardInterrupt, Cancelled) as stop:
        raise Stopped(
            f"Stopped. The finished blocks are kept in {target.depot}: give the same command again "
            "and it goes on with the rest."
        ) from stop
    for asset in result.assets:
        told = describe(asset)
        if is_remote(output):
            name = asset.path.relative_to(target.folder).as_posix()
            told["path"] = f"{output.rstrip('/')}/{name}"
        click.echo(json.dumps(told))
    if result.resumed:
        what = "tiles" if tiles else "blocks"
        click.echo(f"{result.resumed} of {result.blocks} {what} were there already.", err=True)
    tell_skipped(result.skipped)


def _check_sent(work: Path | None, slurm: Slurmed) -> None:
    """Refuse to leave a run to Slurm whose results only this command would send.

    Raises:
        ArgumentInvalid: says what to leave out.
    """
    for option in ("detach", "script_only"):
        if work is not None and slurm[option]:
            raise ArgumentInvalid(
                f"With --work this command sends the results, and with --{option.replace('_', '-')}"
                " it does not wait for them. Leave out --work: the blocks are kept in the bucket "
                "then, and the last job sends the results."
            )


def _send(folder: Path, result: RunResult, destination: Destination, *, tiled: bool) -> None:
    """Send the results of a run that is kept in a folder."""
    from terrazzo.drivers.sending import send_run  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.tiling.published import send_published  # noqa: PLC0415 - as above

    if tiled:
        send_published(folder, result.assets, destination)
    else:
        send_run(folder, destination)


def _order(
    job: Job, block: int, cores: int, memory: int, tiled: tuple[str, bool]
) -> Order[RunResult]:
    """Return the order of a run, by blocks or by tiles."""
    from terrazzo.drivers.block_jobs import ByBlocks  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.order import Order  # noqa: PLC0415 - as above
    from terrazzo.drivers.tiling.slurmed import ByTiles  # noqa: PLC0415 - as above
    from terrazzo.drivers.tiling.squares import squares_of  # noqa: PLC0415 - as above

    tiles, assemble = tiled
    by = ByTiles(squares_of(tiles, job.resolution).text, assemble) if tiles else ByBlocks()
    return Order(job, block, cores, memory, by=by)


def _here(
    settings: Settings,
    asked: tuple[str, Job],
    target: Target,
    tiled: tuple[str, bool],
    block: int,
    pool: Pool,
    progress: Progress,
) -> RunResult:
    """Do a run without Slurm; `tiled` is its tile grid, and whether tiles are assembled."""
    (graph, job), (tiles, assemble) = asked, tiled
    if tiles:
        from terrazzo.drivers.tiling.run import run as run_on_tiles  # noqa: PLC0415 - as above
        from terrazzo.drivers.tiling.squares import squares_of  # noqa: PLC0415 - as above

        note(settings, graph, target.depot)
        return run_on_tiles(
            job, settings.workspace(), target.folder, squares_of(tiles, job.resolution),
            depot=target.depot, block=block, pool=pool, progress=progress, assemble=assemble,
        )  # fmt: skip
    from terrazzo.drivers import batch  # noqa: PLC0415 - as above

    known, foretold = begun(settings, asked, target.depot, block, pool.kind, pool.size)
    return batch.run(
        job, settings.workspace(), target.folder, depot=target.depot, block=block, pool=pool,
        progress=progress, known=known, outlook=foretold,
    )  # fmt: skip


def _by_slurm(
    settings: Settings,
    asked: tuple[str, Order[RunResult]],
    target: Target,
    workers: int,
    wanted: Slurmed,
    progress: Progress,
) -> RunResult | None:
    """Have Slurm do a run; None where its results are not waited for."""
    from terrazzo.drivers import slurm as slurms  # noqa: PLC0415 - loads the engine

    graph, order = asked
    command = [sys.executable, "-m", "terrazzo", *group_arguments(settings)]
    room = allocation(workers, order.memory_bytes, wanted)
    slurm = slurms.Slurm(target.folder, command, room, run=target.depot)
    workspace, follow, foretold = settings.workspace(), not wanted["detach"], None
    if wanted["script_only"] or order.by.kind != "blocks":
        note(settings, graph, target.depot)
    else:
        named = graph, order.job
        _, foretold = begun(settings, named, target.depot, order.block, "slurm", slurm.tasks)
    if wanted["script_only"]:
        _tell(slurms.scripts(order, workspace, slurm, progress))
        return None
    made = slurms.run(order, workspace, slurm, progress, follow=follow, outlook=foretold)
    if made is None:
        click.echo(json.dumps({"folder": str(slurm.folder), "jobs": list(slurm.jobs)}))
    return made


def _tell(scripts: Mapping[str, Path]) -> None:
    """Print scripts that were written."""
    for path in scripts.values():
        click.echo(f"# {path}\n{path.read_text()}")


def _where(settings: Settings, output: str, work: Path | None, progress: Progress) -> Target:
    """Return where a run goes.

    Raises:
        ArgumentInvalid: --work is given and the output is a folder itself.
        OutputFailed: the bucket cannot be written.
    """
    from terrazzo.drivers.depot import BucketDepot, FolderDepot  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.places import is_remote  # noqa: PLC0415
    from terrazzo.drivers.sending import Destination  # noqa: PLC0415

    if not is_remote(output):
        if work is not None:
            raise ArgumentInvalid("--work is for results that go to a bucket. Leave it out.")
        folder = Path(output).absolute()
        return Target(folder, FolderDepot(folder))
    sent = Destination.of(output, progress)
    if work is not None:
        return Target(work, FolderDepot(work.absolute()), sent)
    return Target(work_folder(settings.home, output), BucketDepot(sent.place, sent.bucket))
