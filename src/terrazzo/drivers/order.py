"""The order of a run: what whoever helps with it is told, as a file in its folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.about import About
from terrazzo.drivers.executors import Sent
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.errors import ArgumentInvalid
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from terrazzo.drivers.job import Workspace

ORDER = "order.json"


@dataclass(frozen=True, slots=True)
class Order:
    """What is run, and how much of its machine a worker may use."""

    job: Job
    block: int
    """Edge of a block, pixels."""
    threads: int = 1
    """Of each worker."""
    memory_bytes: int = 2_000_000_000
    """Of each worker, for the blocks of its threads."""
    about: About = field(default_factory=About)
    """What is said of the results."""
    blocks: Mapping[str, int] = field(default_factory=dict)
    """How many blocks there are, by the folder in which they are kept, from that of the run."""

    @property
    def pool(self) -> Pool:
        """What a worker works with."""
        return Pool("threads", self.threads, self.memory_bytes)

    def sent(self, workspace: Workspace, folder: Path, node: str, place: Path) -> Sent:
        """Return the work of one raster of it, whose blocks are kept in `place`."""
        memory = self.memory_bytes // self.threads
        return Sent(self.job, workspace, node, place, folder, self.block, memory)

    def write(self, folder: Path) -> None:
        """Write it into the folder of its run.

        Raises:
            OutputFailed: the folder cannot be written to.
        """
        path = folder / ORDER
        told = {
            "job": asdict(self.job),
            "block": self.block,
            "threads": self.threads,
            "memory_bytes": self.memory_bytes,
            "about": asdict(self.about),
            "blocks": dict(self.blocks),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(path, error) from error
        with whole_file(path) as part:
            part.write_text(json.dumps(told, indent=1, sort_keys=True))

    @classmethod
    def read(cls, folder: Path) -> Order:
        """Read that of a run.

        Raises:
            ArgumentInvalid: the folder holds none, or a damaged one.
        """
        path = folder / ORDER
        try:
            told: dict[str, Any] = json.loads(path.read_text())
            bbox = told["job"].pop("bbox")
            job = Job(**told["job"], bbox=None if bbox is None else tuple(bbox))
            about = About(**told["about"])
            return cls(
                job, told["block"], told["threads"], told["memory_bytes"], about, told["blocks"]
            )
        except FileNotFoundError as error:
            raise ArgumentInvalid(
                f"There is no run to help with in {folder}: it has no {ORDER}. Begin one with "
                f"`terrazzo run GRAPH.json -o {folder} --executor slurm`."
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise ArgumentInvalid(
                f"{path} is damaged ({error}). Give the command that began the run once more."
            ) from error
