"""The command that runs jobs of a server, on its machine or another one."""

from __future__ import annotations

import json
import os
import signal
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from terrazzo.cli.job_cluster import elsewhere_of, job_cluster_options
from terrazzo.cli.options import DATABASE, Bytes, open_ledger
from terrazzo.drivers.block_names import all_ended
from terrazzo.drivers.home import work_folder
from terrazzo.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from terrazzo.cli.options import Settings


@click.command()
@click.argument("folder", required=False, metavar="[FOLDER|s3://BUCKET/PREFIX]")
@click.option(
    "--share",
    default="",
    metavar="I/N",
    help="Of the run in FOLDER: begin with the blocks of this share, counted from 0.  [default: "
    "that of the Slurm array's task, or all]",
)
@click.option(
    "--prepare", is_flag=True, help="Of the run in FOLDER: only what comes before blocks."
)
@click.option("--finish", is_flag=True, help="Of the run in FOLDER: what is left, and the results.")
@click.option(
    "--jobs", default=1, show_default=True, type=click.IntRange(1), help="Jobs at a time."
)
@click.option(
    "--threads",
    default=0,
    type=click.IntRange(0),
    help="Threads that compute each job.  [default: the cores, shared among the jobs]",
)
@click.option(
    "--memory", default="2G", show_default=True, type=Bytes(), help="For the blocks of each job."
)
@click.option(
    "--most-pixels",
    default="1T",
    show_default=True,
    type=Bytes(),
    help="Pixels that the results of a job may have.",
)
@click.option(
    "--quota",
    default="20G",
    show_default=True,
    type=Bytes(),
    help="Room for files of a user, unless their account says otherwise; as that of the server.",
)
@job_cluster_options
@DATABASE
@click.pass_obj
def worker(
    settings: Settings,
    folder: str | None,
    *,
    share: str,
    prepare: bool,
    finish: bool,
    jobs: int,
    threads: int,
    memory: int,
    most_pixels: int,
    quota: int,
    database: str,
    cluster: dict[str, Any],
) -> None:
    """Run the jobs of a server until Ctrl-C or SIGTERM, or help with the run in FOLDER.

    `terrazzo serve` runs jobs by itself. Further workers share its database and its home folder;
    on other machines both must be reachable. A job that is interrupted goes on elsewhere.

    With FOLDER, that of a run which was begun with `terrazzo run --executor slurm`, blocks of it
    are computed until none is missing. Exit status: 0 done, 2 bad input, 3 some blocks failed.

    \b
    Example:
      terrazzo --home /data worker --jobs 4 --database postgresql://me:secret@db/terrazzo
      terrazzo --home /data worker /data/runs/ndvi --share 3/200
    """  # noqa: D301 - \b is click's mark, not an escape
    if folder is not None:
        _help(settings, folder, share, prepare=prepare, finish=finish)
        return
    if share or prepare or finish:
        raise click.UsageError(
            "--share, --prepare and --finish are of a run: name its FOLDER, too."
        )
    from terrazzo.ledger.folders import JobFolders  # noqa: PLC0415 - loads the database
    from terrazzo.ledger.worker import Worker, WorkerOptions  # noqa: PLC0415 - as above

    workspace = settings.workspace()
    elsewhere = elsewhere_of(settings, cluster)
    options = WorkerOptions(jobs, threads, memory, most_pixels, quota, elsewhere)
    stopped, stop = Pipe(duplex=False)

    def end(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.close()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with open_ledger(settings, database) as ledger:
        click.echo(f"Running jobs of {settings.home}  (Ctrl-C stops)", err=True)
        Worker(ledger, workspace, JobFolders(workspace.home), options).run(stopped)
    click.echo("Stopped. Jobs that were not finished go on elsewhere, or later.", err=True)


def _help(settings: Settings, named: str, share: str, *, prepare: bool, finish: bool) -> None:
    """Help with a run; whoever comes when all is done does not even load the engine."""
    folder = Path(named)
    if not (prepare or finish) and _is_done(folder):
        return
    from terrazzo.drivers.block_jobs import prepare as prepare_run  # noqa: PLC0415 - the engine
    from terrazzo.drivers.depot import FolderDepot, depot_of  # noqa: PLC0415
    from terrazzo.drivers.order import Where  # noqa: PLC0415
    from terrazzo.drivers.ordered import read_order  # noqa: PLC0415
    from terrazzo.drivers.shares import Share  # noqa: PLC0415
    from terrazzo.drivers.watching.report import leave  # noqa: PLC0415

    run = depot_of(named)
    order, workspace, progress = read_order(run), settings.workspace(), ProgressLine()
    where = Where(
        folder if isinstance(run, FolderDepot) else work_folder(settings.home, named), run
    )
    if order.of_a_job:  # of the server: the workspace of its owner
        from terrazzo.ledger.elsewhere import kept_workspace  # noqa: PLC0415 - loads the database

        workspace = kept_workspace(workspace, folder)
    if prepare:
        if order.by.kind != "blocks":
            raise click.UsageError(
                f"--prepare is of blocks; nothing comes before the {order.by.kind} of this run."
            )
        prepare_run(order, workspace, run, progress)
    elif finish:
        order.by.finished(order, workspace, where, progress)
    else:
        part = Share.parsed(share or _of_array(os.environ))
        try:
            order.by.help_with(order, workspace, where, part, progress)
        finally:
            leave(run)


def _is_done(folder: Path) -> bool:
    """Tell, by names of files alone, whether every block of a run was made or set aside."""
    try:
        held = json.loads((folder / "order.json").read_text())["blocks"]
        return bool(held) and all(_ended(folder / place, count) for place, count in held.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # whoever reads it whole says what is wrong


def _ended(place: Path, count: int) -> bool:
    """Tell whether all blocks of a result were made or set aside."""
    return (place / "results.json").exists() or all_ended(place, count)


def _of_array(environment: Mapping[str, str]) -> str:
    """Return the share of a task of a Slurm array; everything elsewhere."""
    task = environment.get("SLURM_ARRAY_TASK_ID", "")
    if not task:
        return "0/1"
    first = environment.get("SLURM_ARRAY_TASK_MIN", "0")
    return f"{int(task) - int(first)}/{environment.get('SLURM_ARRAY_TASK_COUNT', '1')}"
