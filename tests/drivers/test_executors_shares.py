"""What a worker of a share makes: its own blocks, then those that nobody else has made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from terrazzo.drivers.block_jobs import _numbers
from terrazzo.drivers.block_names import kept_name
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.record import RunRecord
from terrazzo.drivers.shares import Share
from terrazzo.geo.blocks import Blocks, Sweep
from terrazzo.geo.grid import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from terrazzo.drivers.executors import Blockwise

ACROSS, DOWN, ROWS = 25, 40, 3
COUNT = ACROSS * DOWN
SWEEP = Sweep(Blocks(Window(0, 0, DOWN, ACROSS), 1), ROWS)


@dataclass
class Work:
    """As much of a run as decides who makes what."""

    sweep: Sweep
    record: RunRecord


def handed_out(folder: Path, share: Share) -> Iterator[int]:
    record = RunRecord(FolderDepot(folder))
    work = cast("Blockwise", Work(SWEEP, record))
    return _numbers(work, share, record.versions(COUNT))


def keep(folder: Path, numbers: Iterable[int]) -> None:
    """Let blocks be there."""
    depot = FolderDepot(folder)
    for number in numbers:
        depot.write(kept_name(number, 1), b"")


@pytest.mark.parametrize("share", [Share(0, 1), Share(0, 7), Share(6, 7), Share(3, 7)])
def test_a_worker_that_is_alone_makes_every_block_once(tmp_path: Path, share: Share):
    handed = list(handed_out(tmp_path, share))

    own = share.numbers(COUNT)
    assert sorted(handed) == list(range(COUNT))
    assert handed[: len(own)] == SWEEP[own.start : own.stop]


def test_what_is_there_is_not_made_again(tmp_path: Path):
    there = set(range(0, COUNT, 3))
    keep(tmp_path, there)

    handed = list(handed_out(tmp_path, Share(1, 4)))

    assert sorted(handed) == sorted(set(range(COUNT)) - there)


def test_what_others_make_meanwhile_is_left_to_them(tmp_path: Path):
    share = Share(0, 2)
    numbers = handed_out(tmp_path, share)
    mine = [next(numbers) for _ in share.numbers(COUNT)]
    others = sorted(set(range(COUNT)) - set(mine))

    keep(tmp_path, others[:-5])
    rest = list(numbers)

    assert sorted(rest) == others[-5:]


def test_helpers_begin_at_blocks_that_lie_apart(tmp_path: Path):
    """Of ten shares, eight are done; those who made them help with the last 200 blocks."""
    helpers = 8
    done = {number for n in range(helpers) for number in SWEEP[slice(*_ends(Share(n, 10)))]}
    keep(tmp_path, done)
    missing = sorted(set(range(COUNT)) - done)

    first = [next(handed_out(tmp_path, Share(n, 10))) for n in range(helpers)]
    places = sorted(missing.index(number) for number in first)

    assert len(set(first)) == helpers
    assert np.diff(places).min() >= len(missing) // helpers // 3


def _ends(share: Share) -> tuple[int, int]:
    own = share.numbers(COUNT)
    return own.start, own.stop
