"""The command that runs jobs of a server, on its machine or another one."""

from __future__ import annotations

import signal
from multiprocessing import Pipe
from typing import TYPE_CHECKING

import click

from terrazzo.cli.options import DATABASE, Bytes, open_ledger

if TYPE_CHECKING:
    from types import FrameType

    from terrazzo.cli.options import Settings


@click.command()
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
    jobs: int,
    threads: int,
    memory: int,
    most_pixels: int,
    quota: int,
    database: str,
) -> None:
    """Run the jobs of a server until Ctrl-C or SIGTERM.

    `terrazzo serve` runs jobs by itself. Further workers share its database and its home folder;
    on other machines both must be reachable. A job that is interrupted goes on elsewhere.

    \b
    Example:
      terrazzo --home /data worker --jobs 4 --database postgresql://me:secret@db/terrazzo
    """  # noqa: D301 - \b is click's mark, not an escape
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
