"""Jobs that others compute: what an operator chose, and what nodes of a cluster need to know."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from terrazzo.ledger.folders import FOLDER
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

WORKSPACE = ".workspace"
"""File in the folder of a run: the workspace of its owner."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Who computes the blocks of jobs."""

    executor: str = "threads"
    """`threads`, `processes`, `dask` or `slurm`."""
    scheduler: str = ""
    """Of Dask: the address of a scheduler; empty starts workers on the worker's machine."""
    tasks: int = 16
    """Of Slurm: of each job."""
    cores: int = 1
    """Of Slurm: of each task."""
    time: str = ""
    """Of Slurm: longest time of a task."""
    partition: str = ""
    """Of Slurm: where to run."""
    account: str = ""
    """Of Slurm: who pays."""
    command: tuple[str, ...] = ()
    """Of Slurm: `terrazzo` with its options, as nodes are to call it."""


def slurm_name(job: str, run: int) -> str:
    """Return what the jobs of Slurm are called that carry out a job's run."""
    return f"{job}-{run}"


def keep_workspace(folder: Path, workspace: Workspace) -> None:
    """Write down for nodes of a cluster what the owner of a job may see, without the password.

    Raises:
        OutputFailed: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / WORKSPACE) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            pickle.dump(replace(workspace, database=""), file)


def kept_workspace(workspace: Workspace, folder: Path) -> Workspace:
    """Return the workspace for a run: of a job of the server its owner's, else that of who asks.

    Only folders of jobs of the home are believed, and only what this very user wrote there: what
    is read could be any program.

    Args:
        workspace: of who asks.
        folder: of the run.
    """
    path = folder.absolute() / WORKSPACE
    if not path.is_relative_to(workspace.home / FOLDER) or not path.is_file():
        return workspace
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid != os.geteuid():
            return workspace
        known: Workspace = pickle.load(file)  # noqa: S301 - see above
    return replace(known, database=workspace.database)
