"""Options of the commands that run jobs of a server: who computes the blocks of those."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

import click

from terrazzo.cli.cluster_options import (
    EXECUTORS,
    TASKS,
    Slurmed,
    allocation,
    check_cluster,
    group_arguments,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from terrazzo.cli.options import Settings
    from terrazzo.ledger.elsewhere import Elsewhere

_NAMES = ("executor", "scheduler", "tasks", "cores", "time", "partition", "account")


def _option(name: str, **given: Any) -> Callable[..., Any]:
    variable = f"TERRAZZO_{name.removeprefix('--').upper()}"
    return click.option(name, envvar=variable, show_envvar=True, **given)


def job_cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options, which the command gets as one argument, `cluster`."""

    @functools.wraps(command)
    def called(*arguments: Any, **given: Any) -> None:
        cluster = {name: given.pop(name) for name in _NAMES}
        command(*arguments, cluster=cluster, **given)

    options = (
        _option("--account", default="", help="Of Slurm: who pays."),
        _option("--partition", default="", help="Of Slurm: where to run."),
        _option("--time", default="", metavar="H:MM:SS", help="Of Slurm: longest time of a task."),
        _option(
            "--cores", default=1, show_default=True, type=click.IntRange(1),
            help="Of Slurm: of each task.",
        ),
        _option(
            "--tasks", default=TASKS, show_default=True, type=click.IntRange(1),
            help="Of Slurm: of each job.",
        ),
        _option(
            "--scheduler", default="", metavar="tcp://HOST:PORT",
            help="Of --executor dask: a cluster that runs.  [default: one is started]",
        ),
        _option(
            "--executor", type=click.Choice(EXECUTORS), default="threads", show_default=True,
            help="Who computes the blocks of jobs.",
        ),
    )  # fmt: skip
    decorated: Callable[..., None] = called
    for option in options:
        decorated = option(decorated)
    return decorated


def elsewhere_of(settings: Settings, cluster: dict[str, Any]) -> Elsewhere:
    """Return who computes the blocks of jobs.

    Raises:
        ArgumentInvalid: options do not belong together, or mean nothing to Slurm.
    """
    from terrazzo.ledger.elsewhere import Elsewhere  # noqa: PLC0415 - loads the database

    slurm = Slurmed(
        time=cluster["time"],
        partition=cluster["partition"],
        account=cluster["account"],
        cores=cluster["cores"],
        script_only=False,
        detach=False,
    )
    check_cluster(cluster["executor"], cluster["scheduler"], slurm)
    if cluster["executor"] == "slurm":
        allocation(cluster["tasks"], 1, slurm)  # refuses what Slurm would refuse for each job
    command = (sys.executable, "-m", "terrazzo", *group_arguments(settings))
    return Elsewhere(**cluster, command=command)
