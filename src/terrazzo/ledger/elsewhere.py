"""Jobs that others compute: what an operator chose, and what nodes of a cluster need to know."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.places import Place
from terrazzo.errors import ArgumentInvalid
from terrazzo.ledger.folders import FOLDER, JobFolders
from terrazzo.ledger.own import OwnResults
from terrazzo.ledger.own_uploads import OwnUploads
from terrazzo.sandbox import Limits, Mode, UdfRules
from terrazzo.storage.remote.stores import Store
from terrazzo.storage.writers.files import whole_file

if TYPE_CHECKING:
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
    """Write down for nodes of a cluster what the owner of a job may see, without any secret.

    Raises:
        OutputFailed: the folder cannot be written.
    """
    own = workspace.uploads
    told = {
        "roots": [str(root) for root in workspace.roots],
        "hosts": workspace.hosts,
        "places": [asdict(place) for place in workspace.places],
        "cache_bytes": workspace.cache_bytes,
        "udf": asdict(workspace.udf),
        "owner": workspace.owner,
        "hidden": sorted(workspace.hidden),
        "quota": own.quota if isinstance(own, OwnUploads) else None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / WORKSPACE) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(told, file)


def kept_workspace(workspace: Workspace, folder: Path) -> Workspace:
    """Return the workspace of the owner of a job of the server.

    Only folders of jobs of the home are believed, and only what this very user wrote there for
    nobody else: from the workspace of who asks, the operator, nothing is hidden.

    Args:
        workspace: of who asks: where the home is, and the password of the catalogue.
        folder: of the run.

    Raises:
        ArgumentInvalid: it is not there, or cannot be believed.
    """
    path = folder.resolve() / WORKSPACE
    try:
        if not path.is_relative_to((workspace.home / FOLDER).resolve()):
            raise ValueError(f"it is not in the folder of jobs of {workspace.home}")  # noqa: TRY301
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor) as file:
            held = os.fstat(descriptor)
            if not stat.S_ISREG(held.st_mode) or held.st_uid != os.geteuid() or held.st_mode & 0o77:
                raise ValueError("it is not a file of this user alone")  # noqa: TRY301
            return _of_owner(workspace, json.load(file))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArgumentInvalid(
            f"{folder} is of a job of a server, and what its owner may see cannot be read from "
            f"{path}: {error}. Run it as the user of the server, with the same --home; what has "
            "ended has no such file any more."
        ) from error


def _of_owner(workspace: Workspace, told: dict[str, Any]) -> Workspace:
    """Return the workspace that was written down, in the home of who asks."""
    udf, home, owner = told["udf"], workspace.home, str(told["owner"])
    environments = tuple((str(name), str(path)) for name, path in udf["environments"])
    rules = UdfRules(Mode(udf["mode"]), Limits(**udf["limits"]), environments)
    known = replace(
        workspace,
        roots=tuple(Path(root) for root in told["roots"]),
        hosts=tuple(told["hosts"]),
        places=tuple(
            Place(one["url"], Store(**one["store"]) if one["store"] else None)
            for one in told["places"]
        ),
        cache_bytes=int(told["cache_bytes"]),
        udf=rules,
        owner=owner,
        hidden=frozenset(told["hidden"]),
    )
    if told["quota"] is None:
        return known
    own = OwnResults(JobFolders(home), owner)
    return replace(known, own=own, uploads=OwnUploads(home, owner, told["quota"], rules.mode))
