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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from terrazzo.drivers.depot import Depot
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
    of_a_job: bool = False
    """Whether it is of a job of the server: with the workspace of its owner, or not at all."""

    @property
    def pool(self) -> Pool:
        """What a worker works with."""
        return Pool("threads", self.threads, self.memory_bytes)

    def sent(self, workspace: Workspace, run: Depot, node: str, place: Depot) -> Sent:
        """Return the work of one raster of it, whose blocks are kept in `place`."""
        memory = self.memory_bytes // self.threads
        return Sent(self.job, workspace, node, place, run, self.block, memory)

    def write(self, run: Depot) -> None:
        """Write it where its run is kept.

        Raises:
            OutputFailed: it cannot be written.
        """
        told = {
            "job": asdict(self.job),
            "block": self.block,
            "threads": self.threads,
            "memory_bytes": self.memory_bytes,
            "about": asdict(self.about),
            "blocks": dict(self.blocks),
            "of_a_job": self.of_a_job,
        }
        run.write(ORDER, json.dumps(told, indent=1, sort_keys=True).encode())

    @classmethod
    def read(cls, run: Depot) -> Order:
        """Read that of a run.

        Raises:
            ArgumentInvalid: there is none, or a damaged one.
            OutputFailed: it cannot be read.
        """
        content = run.read(ORDER)
        if content is None:
            raise ArgumentInvalid(
                f"There is no run to help with in {run}: it has no {ORDER}. Begin one with "
                f"`terrazzo run GRAPH.json -o {run} --executor slurm`."
            )
        try:
            told: dict[str, Any] = json.loads(content)
            job = Job.read(told["job"])
            about = About(**told["about"])
            return cls(
                job, told["block"], told["threads"], told["memory_bytes"], about, told["blocks"],
                bool(told["of_a_job"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArgumentInvalid(
                f"{run}/{ORDER} is damaged ({error}). Give the command that began the run once "
                "more."
            ) from error
