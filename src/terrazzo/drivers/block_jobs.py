"""A run as jobs elsewhere: each takes its share of the blocks, and then helps others.

They know nothing of each other but where the run is kept. Two that make one block do no harm: both
write the same bytes, and a block is either whole or not there.
"""

from __future__ import annotations

import time
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from terrazzo.drivers import batch
from terrazzo.drivers.batch import folders_of, inspected_nodes, output_nodes
from terrazzo.drivers.executors import computed, opened
from terrazzo.drivers.helped import counted
from terrazzo.drivers.overheard import Overheard, speaks
from terrazzo.drivers.results import output_format
from terrazzo.drivers.stages import Means, settled, stage_plans
from terrazzo.engine import check_memory, read_version
from terrazzo.engine.bound import Pending
from terrazzo.errors import RunIncomplete

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from terrazzo.drivers.batch import RunResult
    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.executors import Blockwise, Made, Sent
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.order import Order, Where
    from terrazzo.drivers.record import RunRecord
    from terrazzo.drivers.shares import Share
    from terrazzo.drivers.tally import Tally
    from terrazzo.engine import Inference, Plan
    from terrazzo.geo.blocks import Blocks
    from terrazzo.progress import Progress


LOOK_S: Final = 2.0
"""For so long it is believed which blocks are missing, when others are helped."""
TOGETHER: Final = 8
"""Blocks that are handed out at once at most: what waits, others may make meanwhile."""


@dataclass(frozen=True, slots=True)
class BlockParts:
    """The blocks of a run."""

    tallies: Sequence[Tally]
    """Of each raster."""
    heard: Sequence[Overheard] = ()
    """What those of each log; none where they are silent."""
    unit: str = "blocks"

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(tally.count for tally in self.tallies)

    def there(self) -> int:
        """Return how many have been made."""
        for tally in self.tallies:
            tally.look()
        return sum(tally.done for tally in self.tallies)

    def aside(self) -> int:
        """Return how many were set aside."""
        for tally in self.tallies:
            tally.look()
        return sum(int((tally.aside & ~tally.kept).sum()) for tally in self.tallies)

    def tell(self, progress: Progress) -> None:
        """Tell what was logged in those that were there at the last look, and were not told of."""
        for one in self.heard if progress.listens else ():
            one.tell(progress)


@dataclass(frozen=True, slots=True)
class ByBlocks:
    """Results that are a file or a store each, made of blocks."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """How many blocks there are, by the folder in which they are kept, from that of the run."""
    kind: str = "blocks"

    def told(self) -> dict[str, int]:
        """Return it as JSON values."""
        return dict(self.counts)

    def begun(
        self, order: Order[Any], workspace: Workspace, where: Where, progress: Progress
    ) -> tuple[BlockParts, bool]:
        """Begin a run where it is kept, or go on with it.

        Raises:
            As for `begun`.
        """
        del progress  # what stages find is found by a job of its own
        return begun(order, workspace, where.run)

    def help_with(
        self,
        order: Order[Any],
        workspace: Workspace,
        where: Where,
        share: Share,
        progress: Progress,
    ) -> int:
        """Compute the blocks of a share, then those that are missing of others.

        Raises:
            As for `help_with`.
        """
        return help_with(order, workspace, where.run, share, progress)

    def finished(
        self, order: Order[Any], workspace: Workspace, where: Where, progress: Progress
    ) -> RunResult:
        """Compute what is left, and write the results.

        Raises:
            As for `batch.run`.
        """
        return batch.run(
            order.job, workspace, where.folder, depot=where.run, block=order.block,
            pool=order.pool, progress=progress, about=order.about,
        )  # fmt: skip


def begun(order: Order[Any], workspace: Workspace, run: Depot) -> tuple[BlockParts, bool]:
    """Begin a run where it is kept, or go on with it.

    Returns:
        Its blocks, and whether something is to be found in all pixels before.

    Raises:
        ArgumentInvalid: the format does not hold the result, or the folder holds another run.
        PlanTooLarge: a block needs more memory than a task has.
        OutputFailed: the folder cannot be written to.
    """
    inference = order.job.infer(workspace)
    outputs = output_nodes(inference)
    tallies, heard = {}, []
    for node, place in folders_of(outputs, run).items():
        if inference.nodes[node].grid is None or inference.cube(node).result is Pending.PENDING:
            continue
        output = output_format(inference, node)
        plan = order.job.plan(inference, node)
        check_memory(plan, order.block, order.memory_bytes // order.threads)
        work = order.sent(workspace, run, node, place).work(plan, output)
        record, blocks = work.record, work.blocks
        record.forgive()
        tallies[node] = record.tally(len(blocks))
        if record.results(partial(read_version, plan, plan.window)) is None:
            record.reopen()  # those that are there are of images that have changed since
            _drop_changed(plan, blocks, record)
        if speaks(inference.graph):
            heard.append(Overheard(record, tallies[node]))
    names = folders_of(outputs, PurePosixPath())
    held = {str(names[node]): tally.count for node, tally in tallies.items()}
    replace(order, by=ByBlocks(held)).write(run)
    stages = any(stage_plans(order.job, inference, node) for node in outputs)
    return BlockParts(tuple(tallies.values()), heard), stages


def _drop_changed(plan: Plan, blocks: Blocks, record: RunRecord) -> None:
    """Delete the blocks of a run whose images have changed: those that are there count as done."""
    versions = record.versions(len(blocks))
    for number in versions.nonzero()[0]:
        kept = int(versions[number])
        if kept != int(read_version(plan, blocks[int(number)]), 16):
            record.drop(int(number), kept)


def help_with(
    order: Order[Any], workspace: Workspace, run: Depot, share: Share, progress: Progress
) -> int:
    """Compute the blocks of a share, then those that are missing of others; return how many.

    What fails is set aside with its reason, and the rest goes on.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable, PlanTooLarge: the run cannot be made.
        OutputFailed: blocks cannot be kept.
        RunIncomplete: blocks failed.
    """
    return counted(_made(order, workspace, run, share, progress), "blocks", run, progress)


def _made(
    order: Order[Any], workspace: Workspace, run: Depot, share: Share, progress: Progress
) -> Generator[tuple[str, Made]]:
    """Compute blocks, and yield those that are made or set aside."""
    inference = prepare(order, workspace, run, progress)
    for node, place in folders_of(output_nodes(inference), run).items():
        if inference.cube(node).grid is None:
            continue
        sent = order.sent(workspace, run, node, place)
        work = sent.opened(ahead=order.threads)
        if work.record.results(partial(read_version, work.plan, work.plan.window)) is not None:
            continue
        yield from _help(work, sent, order, share, progress)


def prepare(order: Order[Any], workspace: Workspace, run: Depot, progress: Progress) -> Inference:
    """Carry out the stages of a run, unless it keeps what they find; return what is known.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable, PlanTooLarge: the run cannot be made.
        OutputFailed: what was found cannot be kept.
    """
    inference = order.job.infer(workspace)
    wanted = (*output_nodes(inference), *inspected_nodes(inference))
    means = Means(order.block, order.pool, progress, run)
    return settled(order.job, inference, wanted, means)[0]


def _help(
    work: Blockwise, sent: Sent, order: Order[Any], share: Share, progress: Progress
) -> Generator[tuple[str, Made]]:
    count = len(work.blocks)
    versions, made = work.record.versions(count), np.zeros(count, np.bool_)
    try:
        with progress, opened(order.pool, work, sent, progress) as executor:
            progress.start(count, "blocks")
            progress.resume(int((versions != 0).sum()))
            numbers = _numbers(work, share, versions)
            for number, block in computed(executor, numbers, versions, progress, most=TOGETHER):
                window = work.blocks[number]
                if block.error:
                    work.record.set_aside(number, window, block.error, block.log)
                else:
                    versions[number] = block.version
                    made[number] = True
                    progress.advance()
                yield f"block at row {window.row}, column {window.col}", block
    except BrokenExecutor as error:
        raise RunIncomplete("The threads of this worker have ended.") from error
    # A task that Slurm took for lost works on, and may come last.
    work.record.leave((int(number), int(versions[number])) for number in np.flatnonzero(made))


def _numbers(work: Blockwise, share: Share, versions: NDArray[np.uint64]) -> Iterator[int]:
    """Yield the missing blocks of a share in the order of work, then those of others backwards.

    So whoever is helped, and begins at the front, and whoever helps meet late. Helpers begin at
    places that lie apart: if all of them began at the same, they would make the same blocks.
    """
    count = len(versions)
    tally, handed = work.record.tally(count), np.zeros(count, np.bool_)
    looked = time.monotonic()
    for number in (work.sweep[place] for place in share.numbers(count)):
        if time.monotonic() - looked > LOOK_S:
            looked = time.monotonic()
            if work.record.is_closed:  # others have made all of it
                return
        handed[number] = True
        if not versions[number]:
            yield number
    while True:
        looked = time.monotonic()
        tally.look()
        missing = np.flatnonzero(~(tally.kept | tally.aside | handed))[::-1]
        if not len(missing):
            return
        for number in np.roll(missing, -int(len(missing) * share.start)):
            handed[number] = True
            yield int(number)
            if time.monotonic() - looked > LOOK_S:
                break
