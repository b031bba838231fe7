"""The work of a run: one raster as blocks that are computed and kept, each by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from terrazzo import __version__, logs
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.record import RunRecord
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import evaluate, read_version
from terrazzo.engine.demand import prefetch
from terrazzo.errors import OutputFailed, TerrazzoError
from terrazzo.geo.blocks import Blocks
from terrazzo.progress import Progress
from terrazzo.storage.remote.transport import RemoteFailed

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.engine import Plan
    from terrazzo.geo.grid import Window


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a block."""

    version: int = 0
    """Of the images that it is made of."""
    resumed: bool = False
    """Whether an earlier run had made it of these images."""
    error: str = ""
    """Why it could not be computed; empty as a rule."""
    reason: TerrazzoError | None = None
    """The same, where it is an error of ours."""
    passing: bool = False
    """Whether it may succeed another time: a server did not answer, a worker died."""
    log: tuple[logs.Entry, ...] = ()
    """What was logged; that of a block that is kept is also kept with it."""


class Executor(Protocol):
    """Who computes blocks."""

    @property
    def reissues(self) -> bool:
        """Whether a block that takes very long is worth giving to somebody else, too."""

    def size(self) -> int:
        """Return how many blocks can be computed at a time, now."""

    def submit(self, number: int, kept: int) -> Future[Made]:
        """Have a block computed, unless it is kept with the version that it has now."""


@dataclass(frozen=True, slots=True)
class Blockwise:
    """A plan as blocks, and where they are kept."""

    plan: Plan
    blocks: Blocks
    record: RunRecord
    ahead: int = 0
    """How many blocks further on the pixels are that sources may begin to fetch; 0 = none."""

    def make(self, number: int, kept: int) -> Made:
        """Compute and keep one block, unless it was kept with the version that it has now.

        Raises:
            OutputFailed: it cannot be kept; the whole run stops, for the next would fail too.
        """
        plan, window = self.plan, self.blocks[number]
        with logs.collected() as log:
            made = self._made(plan, window, number, kept, log)
        return replace(made, log=self.record.logged_of(number, kept) if made.resumed else log.all())

    def _made(self, plan: Plan, window: Window, number: int, kept: int, log: logs.Log) -> Made:
        try:
            version = int(read_version(plan, window), 16)
            if kept == version:
                return Made(version, resumed=True)
            if kept:
                self.record.drop(number, kept)
            if self.ahead and number + self.ahead < len(self.blocks):
                prefetch(plan, self.blocks[number + self.ahead])
            cube = evaluate(plan, window)
            self.record.save(number, cube, version, plan.bad_items, log.all())
        except OutputFailed:
            raise
        except (
            TerrazzoError,
            ArithmeticError,
            LookupError,
            MemoryError,
            TypeError,
            ValueError,
        ) as error:
            reason = error if isinstance(error, TerrazzoError) else None
            told = f"{type(error).__name__}: {error}"
            return Made(error=told, reason=reason, passing=_passing(error))
        return Made(version)


def _passing(error: BaseException | None) -> bool:
    """Tell whether what failed may succeed another time."""
    while error is not None:
        if isinstance(error, (MemoryError, ConnectionError, TimeoutError)):
            return True
        if isinstance(error, RemoteFailed):
            return error.again
        error = error.__cause__ or error.__context__
    return False


@dataclass(frozen=True, slots=True)
class Sent:
    """What another process, here or elsewhere, needs to do the same work."""

    job: Job
    workspace: Workspace
    node: str
    """Whose result it is."""
    folder: Path
    """Where its blocks are kept."""
    run: Path
    """The folder of the whole run, which holds what its stages have found."""
    block: int
    """Edge of a block, pixels."""
    memory_bytes: int
    """That it may use."""

    def elsewhere(self) -> Sent:
        """Return it with paths that mean the same in every folder."""
        return replace(self, folder=self.folder.absolute(), run=self.run.absolute())

    def opened(self) -> Blockwise:
        """Open the sources and make the plan; what stages have found is taken from the run.

        Raises:
            RunDiffers: what is seen here is not what the folder's run is made of.
        """
        means = Means(self.block, Pool("threads", 1, self.memory_bytes), Progress(), self.run)
        inference, _ = settled(self.job, self.job.infer(self.workspace), (self.node,), means)
        plan = self.job.plan(inference, self.node)
        record = RunRecord.open(self.folder, describe_run(plan, self.job, self.block))
        return Blockwise(plan, Blocks(plan.window, self.block), record)


def describe_run(plan: Plan, job: Job, block: int) -> dict[str, Any]:
    """Return everything that decides the pixels of a run and their layout, as JSON values."""
    grid = plan.grid
    return {
        "terrazzo": __version__,
        "digest": plan.digest,
        "process_graph": job.document,
        "grid": [grid.crs, grid.left, grid.top, grid.pixel_x, grid.pixel_y],
        "window": [plan.window.row, plan.window.col, plan.window.height, plan.window.width],
        "block": block,
        "skip_bad": job.skip_bad,
        "exact": plan.exact,
        "items": {
            step.bound.id: list(step.bound.source.items)
            for step in plan.steps
            if step.bound.source is not None
        },
    }
