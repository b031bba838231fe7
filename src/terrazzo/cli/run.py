"""The command that runs a graph: here, on a Dask cluster, or by Slurm."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import click

from terrazzo.cli.graphs import Stopped, describe, job_of, tell_skipped
from terrazzo.cli.options import GRAPH, SKIP_BAD, Settings, pool_options, where
from terrazzo.cli.udf import udf_arguments
from terrazzo.drivers.home import CATALOG_VARIABLE
from terrazzo.errors import ArgumentInvalid
from terrazzo.progress import Cancelled, ProgressLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.drivers.batch import RunResult
    from terrazzo.drivers.order import Order
    from terrazzo.drivers.sending import Destination
    from terrazzo.progress import Progress

EXECUTORS = ("threads", "processes", "dask", "slurm")
TASKS = 16
"""Of a Slurm array, unless told."""


class Slurmed(TypedDict):
    """What the options of Slurm say."""

    time: str
    partition: str
    account: str
    cores: int
    script_only: bool
    detach: bool


def slurm_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `--executor slurm`, which the command gets as one argument."""

    @functools.wraps(command)
    def called(*arguments: Any, **given: Any) -> None:
        names = list(Slurmed.__annotations__)
        slurm = {name: given.pop(name) for name in names}
        command(*arguments, slurm=slurm, **given)

    options = (
        click.option("--detach", is_flag=True, help="Of Slurm: submit, and do not wait."),
        click.option(
            "--script-only", is_flag=True, help="Of Slurm: print the scripts, and submit nothing."
        ),
        click.option("--account", default="", help="Of Slurm: who pays."),
        click.option("--partition", default="", help="Of Slurm: where to run."),
        click.option(
            "--time", default="", metavar="H:MM:SS", help="Of Slurm: longest time of a task."
        ),
        click.option(
            "--cores",
            default=1,
            show_default=True,
            type=click.IntRange(1),
            help="Of Slurm: of each task. --workers are tasks, and --memory is for each, then.",
        ),
    )
    decorated: Callable[..., None] = called
    for option in options:
        decorated = option(decorated)
    return decorated


@click.command()
@GRAPH
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FOLDER|s3://BUCKET/PREFIX",
    help="Folder for the results; the same unfinished run in it is gone on with. Or a part of a "
    "bucket, which the results are sent to when they are done.",
)
@click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a run whose results go to a bucket.  [default: one in the home folder]",
)
@where
@pool_options
@click.option(
    "--executor",
    type=click.Choice(EXECUTORS),
    default="threads",
    show_default=True,
    help="Who computes the blocks.",
)
@click.option(
    "--scheduler",
    default="",
    metavar="tcp://HOST:PORT",
    help="Of --executor dask: a cluster that runs.  [default: one is started on this machine]",
)
@slurm_options
@SKIP_BAD
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
    """  # noqa: D301 - \b is click's mark, not an escape
    from terrazzo.drivers import batch  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.order import Order  # noqa: PLC0415
    from terrazzo.drivers.pool import Pool  # noqa: PLC0415
    from terrazzo.drivers.sending import send_run  # noqa: PLC0415

    job = job_of(graph, place, skip_bad=skip_bad)
    if scheduler and executor != "dask":
        raise ArgumentInvalid("--scheduler is of --executor dask. Add that, or leave it out.")
    if settings.catalog:  # it has a password, which is for no file, message or command line
        os.environ[CATALOG_VARIABLE] = settings.catalog
    progress = ProgressLine()
    folder, destination = _where(settings, output, work, progress)
    try:
        if executor == "slurm":
            order = Order(job, block, slurm["cores"], memory)
            result = _by_slurm(settings, order, folder, workers, slurm, progress)
            if result is None:
                return
        else:
            _refuse_slurm(slurm)
            pool = Pool(executor, workers, memory, scheduler)
            result = batch.run(
                job, settings.workspace(), folder, block=block, pool=pool, progress=progress
            )
        if destination is not None:
            send_run(folder, destination)
    except (KeyboardInterrupt, Cancelled) as stop:
        raise Stopped(
            f"Stopped. The finished blocks are kept in {folder}: give the same command again and "
            "it goes on with the rest."
        ) from stop
    for asset in result.assets:
        told = describe(asset)
        if destination is not None:
            told["path"] = destination.url(asset.path.relative_to(folder).as_posix())
        click.echo(json.dumps(told))
    if result.resumed:
        click.echo(f"{result.resumed} of {result.blocks} blocks were there already.", err=True)
    tell_skipped(result.skipped)


def _refuse_slurm(slurm: Slurmed) -> None:
    """Refuse options of Slurm where somebody else computes.

    Raises:
        ArgumentInvalid: names one.
    """
    plain = Slurmed(time="", partition="", account="", cores=1, script_only=False, detach=False)
    for name, value in slurm.items():
        if value != plain[name]:  # type: ignore[literal-required] # they have the same names
            option = name.replace("_", "-")
            raise ArgumentInvalid(f"--{option} is of --executor slurm. Add that, or leave it out.")


def _by_slurm(
    settings: Settings,
    order: Order,
    folder: Path,
    workers: int,
    wanted: Slurmed,
    progress: Progress,
) -> RunResult | None:
    """Have Slurm do a run; None where its results are not waited for."""
    from terrazzo.drivers import slurm as slurms  # noqa: PLC0415 - loads the engine

    asked = slurms.Allocation(
        workers or TASKS,
        order.threads,
        order.memory_bytes,
        wanted["time"],
        wanted["partition"],
        wanted["account"],
    )
    command = [sys.executable, "-m", "terrazzo", *_arguments(settings)]
    slurm = slurms.Slurm(folder, command, asked)
    if wanted["script_only"]:
        for path in slurms.scripts(order, settings.workspace(), slurm).values():
            click.echo(f"# {path}\n{path.read_text()}")
        return None
    made = slurms.run(order, settings.workspace(), slurm, progress, follow=not wanted["detach"])
    if made is None:
        click.echo(json.dumps({"folder": str(slurm.folder), "jobs": list(slurm.jobs)}))
    return made


def _arguments(settings: Settings) -> list[str]:
    """Return the options that say the same to another process, but for the catalogue's URL."""
    told = ["--home", str(settings.home), *udf_arguments(settings.udf)]
    for root in settings.roots:
        told += ["--root", str(root)]
    for host in settings.hosts:
        told += ["--allow-host", host]
    return told


def _where(
    settings: Settings, output: str, work: Path | None, progress: Progress
) -> tuple[Path, Destination | None]:
    """Return the folder of a run, and the bucket that its results go to, if they do.

    Raises:
        ArgumentInvalid: --work is given and the output is a folder itself.
        OutputFailed: the bucket cannot be written.
    """
    from terrazzo.drivers.places import is_remote  # noqa: PLC0415 - loads the engine
    from terrazzo.drivers.sending import Destination  # noqa: PLC0415

    if not is_remote(output):
        if work is not None:
            raise ArgumentInvalid("--work is for results that go to a bucket. Leave it out.")
        return Path(output), None
    name = hashlib.sha256(output.rstrip("/").encode()).hexdigest()[:16]
    return work or settings.home / "runs" / name, Destination.of(output, progress)
