"""The work of a run: one raster as blocks that are computed and kept, each by itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from terrazzo import __version__, logs
from terrazzo.drivers.cutting import blocks_of, store_of
from terrazzo.drivers.executors.swept import grown, swept
from terrazzo.drivers.named import named_items
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.programs import programs_of
from terrazzo.drivers.record import RunRecord
from terrazzo.drivers.results import output_format
from terrazzo.drivers.stages import Means, settled
from terrazzo.drivers.watching.pulse import Outcome, Part
from terrazzo.engine import evaluate, read_version
from terrazzo.engine.demand import prefetch
from terrazzo.errors import OutputFailed, TerrazzoError
from terrazzo.progress import Progress
from terrazzo.storage.remote.transport import RemoteFailed

if TYPE_CHECKING:
    from concurrent.futures import Future

    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.executors.stints import Parts, Stint
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.results import OutputFormat
    from terrazzo.engine import Plan
    from terrazzo.geo.blocks import Blocks, Sweep
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
    skipped: tuple[str, ...] = ()
    """Items that were left out of it because they are bad; kept likewise."""


def lost(number: int, reason: str) -> Made:
    """Return what became of a block whose worker was lost: another may make it."""
    del number  # it is the same for all
    return Made(error=reason, passing=True)


class Executor(Protocol):
    """Who computes blocks."""

    @property
    def reissues(self) -> bool:
        """Whether a block that takes very long is worth giving to somebody else, too."""

    def size(self) -> int:
        """Return how many blocks can be computed at a time, now."""

    def submit(self, parts: Parts[int]) -> Future[Stint[Made]]:
        """Have blocks computed that are not kept with the version that they have now."""


@dataclass(frozen=True, slots=True)
class Blockwise:
    """A plan as blocks, and where they are kept."""

    plan: Plan
    sweep: Sweep
    """The blocks, and in which order they are computed."""
    record: RunRecord
    ahead: int = 0
    """How many blocks further on the pixels are that sources may begin to fetch; 0 = none."""
    part: Part | None = None
    """To whom it is told what is at hand; None = nobody."""

    @property
    def blocks(self) -> Blocks:
        """The blocks by number, in row order."""
        return self.sweep.blocks

    def make(self, number: int, kept: int) -> Made:
        """Compute and keep one block, unless it was kept with the version that it has now.

        Raises:
            OutputFailed: it cannot be kept; the whole run stops, for the next would fail too.
        """
        if self.part is None:
            return self._make(number, kept)
        with self.part.at(number) as became:
            made = self._make(number, kept)
            became(_outcome(made))
            return made

    def _make(self, number: int, kept: int) -> Made:
        plan, window = self.plan, self.blocks[number]
        with logs.collected() as log:
            made = self._made(plan, window, number, kept, log)
        return made if made.resumed else replace(made, log=log.all())

    def _made(self, plan: Plan, window: Window, number: int, kept: int, log: logs.Log) -> Made:
        try:
            version = int(read_version(plan, window), 16)
            known = self.record.told_of(number, kept) if kept == version else None
            if known is not None:
                return Made(version, resumed=True, skipped=known.skipped, log=known.log)
            if kept and kept != version:
                self.record.drop(number, kept)
            self._prefetch(number)
            cube = evaluate(plan, window)
            skipped = plan.bad_items
            self.record.save(number, cube, version, skipped, log.all())
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
            if kept:
                self.record.drop(number, kept)  # it was damaged, and must not be taken for done
            reason = error if isinstance(error, TerrazzoError) else None
            told = f"{type(error).__name__}: {error}"
            return Made(error=told, reason=reason, passing=_passing(error))
        return Made(version, skipped=skipped)

    def _prefetch(self, number: int) -> None:
        following = self.sweep.place(number) + self.ahead
        if self.ahead and following < len(self.sweep):
            prefetch(self.plan, self.blocks[self.sweep[following]])


def _outcome(made: Made) -> Outcome:
    if made.resumed:
        return Outcome.KEPT
    return Outcome.FAILED if made.error else Outcome.MADE


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
    folder: Depot
    """Where its blocks are kept."""
    run: Depot
    """Where the whole run is kept, with what its stages have found."""
    block: int
    """Edge of a block, pixels."""
    memory_bytes: int
    """That it may use."""

    def elsewhere(self) -> Sent:
        """Return it with paths that mean the same in every folder."""
        return replace(self, folder=self.folder.absolute(), run=self.run.absolute())

    def opened(self, *, ahead: int = 0) -> Blockwise:
        """Open the sources and make the plan; what stages have found is taken from the run.

        Args:
            ahead: as for `work`.

        Raises:
            RunDiffers: what is seen here is not what the folder's run is made of.
        """
        means = Means(self.block, Pool("threads", 1, self.memory_bytes), Progress(), self.run)
        inference, _ = settled(self.job, self.job.infer(self.workspace), (self.node,), means)
        plan = self.job.plan(inference, self.node)
        return self.work(plan, output_format(inference, self.node), ahead=ahead)

    def work(self, plan: Plan, output: OutputFormat, *, ahead: int = 0) -> Blockwise:
        """Return the work, where its plan is made already.

        Args:
            plan: of it.
            output: the format of its result.
            ahead: as `Blockwise` has it; of workers that share what is fetched.

        Raises:
            RunDiffers: the folder holds another run.
            PlanTooLarge: it would have too many blocks.
            ArgumentInvalid: the format cannot be written in such blocks.
            OutputFailed: the folder cannot be written to.
        """
        blocks = blocks_of(plan, self.block, output)
        store = store_of(plan, self.block, output, self.folder)
        record = RunRecord.open(self.folder, describe_run(plan, self.job, blocks), store)
        room = grown(
            plan, blocks, self.workspace.cache_bytes, self.memory_bytes, max(ahead, 1)
        )  # fmt: skip
        sweep = swept(plan, blocks, room)
        return Blockwise(plan, sweep, record, ahead, Part.of(self.run, self.folder))


def describe_run(plan: Plan, job: Job, blocks: Blocks) -> dict[str, Any]:
    """Return everything that decides the pixels of a run and their layout, as JSON values."""
    grid = plan.grid
    return {
        "terrazzo": __version__,
        "programs": programs_of(step.bound for step in plan.steps),
        "digest": plan.digest,
        "process_graph": job.document,
        "grid": [grid.crs, grid.left, grid.top, grid.pixel_x, grid.pixel_y],
        "window": [plan.window.row, plan.window.col, plan.window.height, plan.window.width],
        "block": blocks.edge,
        "origin": list(blocks.origin),
        "skip_bad": job.skip_bad,
        "exact": plan.exact,
        "items": {
            step.bound.id: named_items(step.bound.source.items)
            for step in plan.steps
            if step.bound.source is not None
        },
    }
