"""The order of a run or an extraction: what whoever helps with it is told, as a file in its depot.

Orders differ in what is made: blocks, tiles or scenes. That is their `by`, which also knows how it
is begun, how somebody helps, and how the results are put together. See `ordered` for reading them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from terrazzo.drivers.about import About
from terrazzo.drivers.executors import Sent
from terrazzo.drivers.pool import Pool

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.shares import Share
    from terrazzo.progress import Progress

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

ORDER = "order.json"


@dataclass(frozen=True, slots=True)
class Where:
    """Where a run is."""

    folder: Path
    """In which its files are put together."""
    run: Depot
    """Where it is kept; the same folder, or a part of a bucket."""


class Parts(Protocol):
    """What a run is made of, as far as its depot tells."""

    @property
    def unit(self) -> str:
        """What they are called, in the plural."""

    @property
    def count(self) -> int:
        """How many there are; 0 where that is not known yet."""

    def there(self) -> int:
        """Return how many have been made."""

    def aside(self) -> int:
        """Return how many were set aside, as they fail for good."""

    def tell(self, progress: Progress) -> None:
        """Tell what was logged in those that were made since it was asked last, if anybody reads.

        What is not told here is when the results are put together.
        """


class Steps(Protocol[R_co]):
    """What is made by an order, and how."""

    @property
    def kind(self) -> str:
        """What it is made of, in the plural, which is also its name in the file."""

    def told(self) -> Any:
        """Return it as JSON values."""

    def begun(
        self, order: Order[Any], workspace: Workspace, where: Where, progress: Progress
    ) -> tuple[Parts, bool]:
        """Begin, or go on, and write the order; what failed or has changed counts as missing.

        Returns:
            What it is made of, and whether something is to be found in all pixels before.
        """

    def help_with(
        self,
        order: Order[Any],
        workspace: Workspace,
        where: Where,
        share: Share,
        progress: Progress,
    ) -> int:
        """Make the parts of a share, then those of others that are missing; return how many."""

    def finished(
        self, order: Order[Any], workspace: Workspace, where: Where, progress: Progress
    ) -> R_co:
        """Make what is left, which says what is wrong with what fails, and the results."""


@dataclass(frozen=True, slots=True)
class Order(Generic[R]):
    """What is run, and how much of its machine a worker may use."""

    job: Job
    """The graph and where to run it."""
    block: int
    """Edge of a block, pixels."""
    threads: int = 1
    """Of each worker."""
    memory_bytes: int = 2_000_000_000
    """Of each worker, for the blocks of its threads."""
    about: About = field(default_factory=About)
    """What is said of the results."""
    by: Steps[R] = field(kw_only=True)
    """What is made, and how."""
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
            "of_a_job": self.of_a_job,
            self.by.kind: self.by.told(),
        }
        run.write(ORDER, json.dumps(told, indent=1, sort_keys=True).encode())
