"""The command that runs jobs of a server, on its machine or another one."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING

import click

from terrazzo.cli.options import DATABASE, Bytes, open_ledger
from terrazzo.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from terrazzo.cli.options import Settings


@click.command()
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
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
@DATABASE
@click.pass_obj
def worker(
    settings: Settings,
    folder: Path | None,
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
    options = WorkerOptions(jobs, threads, memory, most_pixels, quota)
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


def _help(settings: Settings, folder: Path, share: str, *, prepare: bool, finish: bool) -> None:
    """Help with a run; whoever comes when all is done does not even load the engine."""
    if not (prepare or finish) and _is_done(folder):
        return
    from terrazzo.drivers import batch, shares  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.order import Order  # noqa: PLC0415

    order, workspace, progress = Order.read(folder), settings.workspace(), ProgressLine()
    if prepare:
        shares.prepare(order, workspace, folder, progress)
    elif finish:
        batch.run(
            order.job, workspace, folder, block=order.block, pool=order.pool, progress=progress,
            about=order.about,
        )  # fmt: skip
    else:
        part = shares.Share.parsed(share or _of_array(os.environ))
        shares.help_with(order, workspace, folder, part, progress)


_ENDS = (".block", ".failed")


def _is_done(folder: Path) -> bool:
    """Tell, by names of files alone, whether every block of a run was made or set aside."""
    try:
        held = json.loads((folder / "order.json").read_text())["blocks"]
        return bool(held) and all(_ended(folder / place) >= count for place, count in held.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # whoever reads it whole says what is wrong


def _ended(place: Path) -> float:
    """Return how many blocks were made or set aside; all of those of a result."""
    if (place / "results.json").exists():
        return math.inf
    names = [path.name for path in (place / ".blocks").iterdir()]
    return len({re.split(r"[_.]", name)[0] for name in names if name.endswith(_ENDS)} - {""})


def _of_array(environment: Mapping[str, str]) -> str:
    """Return the share of a task of a Slurm array; everything elsewhere."""
    task = environment.get("SLURM_ARRAY_TASK_ID", "")
    if not task:
        return "0/1"
    first = environment.get("SLURM_ARRAY_TASK_MIN", "0")
    return f"{int(task) - int(first)}/{environment.get('SLURM_ARRAY_TASK_COUNT', '1')}"
