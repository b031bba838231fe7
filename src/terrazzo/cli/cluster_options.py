"""Options of commands that others may compute: threads, processes, a Dask cluster, or Slurm."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, TypedDict

import click

from terrazzo.cli.udf import udf_arguments
from terrazzo.drivers.home import CATALOG_VARIABLE
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.cli.options import Settings
    from terrazzo.drivers.slurm import Allocation

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


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say who computes; those of Slurm the command gets as `slurm`."""

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
        click.option(
            "--scheduler",
            default="",
            metavar="tcp://HOST:PORT",
            help="Of --executor dask: a cluster that runs.  [default: one is started on this "
            "machine]",
        ),
        click.option(
            "--executor",
            type=click.Choice(EXECUTORS),
            default="threads",
            show_default=True,
            help="Who computes the blocks.",
        ),
    )
    decorated: Callable[..., None] = called
    for option in options:
        decorated = option(decorated)
    return decorated


def check_cluster(executor: str, scheduler: str, slurm: Slurmed) -> None:
    """Refuse options of somebody else than who computes.

    Raises:
        ArgumentInvalid: names one.
    """
    if scheduler and executor != "dask":
        raise ArgumentInvalid("--scheduler is of --executor dask. Add that, or leave it out.")
    if executor == "slurm":
        return
    plain = Slurmed(time="", partition="", account="", cores=1, script_only=False, detach=False)
    for name, value in slurm.items():
        if value != plain[name]:  # type: ignore[literal-required] # they have the same names
            option = name.replace("_", "-")
            raise ArgumentInvalid(f"--{option} is of --executor slurm. Add that, or leave it out.")


def allocation(workers: int, memory_bytes: int, slurm: Slurmed) -> Allocation:
    """Return what is asked of Slurm.

    Args:
        workers: tasks of the array; 0 = `TASKS`.
        memory_bytes: of each task.
        slurm: the options.

    Raises:
        ArgumentInvalid: a time, partition or account that means nothing to Slurm.
    """
    from terrazzo.drivers.slurm import Allocation  # noqa: PLC0415 - loads the engine

    return Allocation(
        workers or TASKS,
        slurm["cores"],
        memory_bytes,
        slurm["time"],
        slurm["partition"],
        slurm["account"],
    )


def share_catalogue(settings: Settings) -> None:
    """Tell processes that this one starts of a catalogue in a database, by the environment.

    Its URL has a password, which is for no file, message or command line.
    """
    if settings.catalog:
        os.environ[CATALOG_VARIABLE] = settings.catalog


def group_arguments(settings: Settings) -> list[str]:
    """Return the options that say the same to another process, but for the catalogue's URL."""
    told = ["--home", str(settings.home), *udf_arguments(settings.udf)]
    for root in settings.roots:
        told += ["--root", str(root)]
    for host in settings.hosts:
        told += ["--allow-host", host]
    return told
