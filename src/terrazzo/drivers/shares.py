"""Shares of a run: several workers, each begins with its own part and helps with the others'.

They know nothing of each other but the folder of the run. Two that make one block do no harm: both
write the same bytes, and a block is either whole or not there.
"""

from __future__ import annotations

import time
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terrazzo.drivers.batch import folders_of, inspected_nodes, output_nodes
from terrazzo.drivers.executors import computed, opened
from terrazzo.drivers.stages import Means, settled
from terrazzo.engine import read_version
from terrazzo.errors import ArgumentInvalid, RunIncomplete

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from terrazzo.drivers.executors import Blockwise, Sent
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.order import Order
    from terrazzo.drivers.record import RunRecord
    from terrazzo.engine import Inference
    from terrazzo.progress import Progress

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

    def numbers(self, count: int) -> range:
        """Return its blocks of a run of `count`, which lie beside each other."""
        return range(self.index * count // self.of, (self.index + 1) * count // self.of)


def help_with(
    order: Order, workspace: Workspace, folder: Path, share: Share, progress: Progress
) -> int:
    """Compute the blocks of a share, then those that are missing of others; return how many.

    What fails is set aside with its reason, and the rest goes on.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable, PlanTooLarge: the run cannot be made.
        OutputFailed: blocks cannot be kept.
        RunIncomplete: blocks failed.
    """
    made = failed = 0
    inference = prepare(order, workspace, folder, progress)
    for node, place in folders_of(output_nodes(inference), folder).items():
        if inference.cube(node).grid is None:
            continue
        sent = order.sent(workspace, folder, node, place)
        work = sent.opened()
        if work.record.results(read_version(work.plan, work.plan.window)) is not None:
            continue
        more, less = _help(work, sent, order, share, progress)
        made, failed = made + more, failed + less
    if failed:
        raise RunIncomplete(
            f"{failed} blocks failed and were set aside; {made} were made. The reasons are in "
            f"{folder}. When they are mended, give the command that began the run once more."
        )
    return made


def prepare(order: Order, workspace: Workspace, folder: Path, progress: Progress) -> Inference:
    """Carry out the stages of a run, unless its folder has what they find; return what is known.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable, PlanTooLarge: the run cannot be made.
        OutputFailed: what was found cannot be kept.
    """
    inference = order.job.infer(workspace)
    wanted = (*output_nodes(inference), *inspected_nodes(inference))
    means = Means(order.block, order.pool, progress, folder)
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
            for number, block in computed(
                executor, _numbers(work.record, share, versions), versions
            ):
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


def _numbers(record: RunRecord, share: Share, versions: NDArray[np.uint64]) -> Iterator[int]:
    """Yield the missing blocks of a share in order, then those of others from the end.

    So whoever is helped, and begins at the front, and whoever helps meet late.
    """
    count = len(versions)
    for number in share.numbers(count):
        if not versions[number]:
            yield number
    handed: set[int] = set()
    while True:
        looked = time.monotonic()
        there = record.versions(count)
        aside = record.aside()
        ours = share.numbers(count)
        missing = [
            number
            for number in (*reversed(range(ours.stop, count)), *reversed(range(ours.start)))
            if not there[number] and number not in handed and number not in aside
        ]
        if not missing:
            return
        for number in missing:
            handed.add(number)
            yield number
            if time.monotonic() - looked > LOOK_S:
                break
