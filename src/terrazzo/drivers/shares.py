"""Shares of a run: several workers, each begins with its own part and helps with the others'.

They know nothing of each other but the folder of the run. Two that make one block do no harm: both
write the same bytes, and a block is either whole or not there.
"""

from __future__ import annotations

import time
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from terrazzo.drivers.batch import folders_of, inspected_nodes, output_nodes
from terrazzo.drivers.executors import computed, opened
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import read_version
from terrazzo.errors import ArgumentInvalid, RunIncomplete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.executors import Blockwise, Sent
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.order import Order
    from terrazzo.engine import Inference
    from terrazzo.progress import Progress

GOLDEN = (5**0.5 - 1) / 2
LOOK_S = 2.0
"""For so long it is believed which blocks are missing, when others are helped."""


@dataclass(frozen=True, slots=True)
class Share:
    """One of `of` equal parts of the blocks of a run."""

    index: int
    of: int

    @classmethod
    def parsed(cls, text: str) -> Share:
        """Read `3/200`, the fourth of 200: they are counted from 0.

        Raises:
            ArgumentInvalid: it is no share.
        """
        index, _, of = text.partition("/")
        if not (index.isdecimal() and of.isdecimal()) or int(index) >= int(of):
            raise ArgumentInvalid(
                f"{text!r} is no share of a run. Give one like 0/200: which one, counted from 0, "
                "of how many."
            )
        return cls(int(index), int(of))

    @property
    def start(self) -> float:
        """Where it begins to help, 0..1; the starts of any few shares lie far apart."""
        return self.index * GOLDEN % 1

    def numbers(self, count: int) -> range:
        """Return its part of the order of work of `count` blocks, which lie beside each other."""
        return range(self.index * count // self.of, (self.index + 1) * count // self.of)


def help_with(
    order: Order, workspace: Workspace, run: Depot, share: Share, progress: Progress
) -> int:
    """Compute the blocks of a share, then those that are missing of others; return how many.

    What fails is set aside with its reason, and the rest goes on.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable, PlanTooLarge: the run cannot be made.
        OutputFailed: blocks cannot be kept.
        RunIncomplete: blocks failed.
    """
    made = failed = 0
    inference = prepare(order, workspace, run, progress)
    for node, place in folders_of(output_nodes(inference), run).items():
        if inference.cube(node).grid is None:
            continue
        sent = order.sent(workspace, run, node, place)
        work = replace(sent.opened(), ahead=order.threads)
        if work.record.results(partial(read_version, work.plan, work.plan.window)) is not None:
            continue
        more, less = _help(work, sent, order, share, progress)
        made, failed = made + more, failed + less
    if failed:
        raise RunIncomplete(
            f"{failed} blocks failed and were set aside; {made} were made. The reasons are in "
            f"{run}. When they are mended, give the command that began the run once more."
        )
    return made


def prepare(order: Order, workspace: Workspace, run: Depot, progress: Progress) -> Inference:
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
    work: Blockwise, sent: Sent, order: Order, share: Share, progress: Progress
) -> tuple[int, int]:
    count = len(work.blocks)
    versions = work.record.versions(count)
    made = failed = 0
    try:
        with progress, opened(order.pool, work, sent) as executor:
            progress.start(count, "blocks")
            progress.resume(int((versions != 0).sum()))
            for number, block in computed(executor, _numbers(work, share, versions), versions):
                if block.error:
                    failed += 1
                    work.record.set_aside(number, work.blocks[number], block.error, block.log)
                    progress.fail(_named(work, number), block.error, block.reason)
                else:
                    versions[number] = block.version
                    made += 1
                    progress.advance()
    except BrokenExecutor as error:
        raise RunIncomplete("The threads of this worker have ended.") from error
    return made, failed


def _named(work: Blockwise, number: int) -> str:
    window = work.blocks[number]
    return f"block at row {window.row}, column {window.col}"


def _numbers(work: Blockwise, share: Share, versions: NDArray[np.uint64]) -> Iterator[int]:
    """Yield the missing blocks of a share in the order of work, then those of others backwards.

    So whoever is helped, and begins at the front, and whoever helps meet late. Helpers begin at
    places that lie apart: if all of them began at the same, they would make the same blocks.
    """
    count = len(versions)
    tally, handed = work.record.tally(count), np.zeros(count, np.bool_)
    for number in (work.sweep[place] for place in share.numbers(count)):
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
