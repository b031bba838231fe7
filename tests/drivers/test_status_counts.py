"""What the status of a run counts: its blocks, and nothing that comes after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.drivers.scenes import job_of
from tests.drivers.test_shared_zarr import shared
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.watching.pulse import now
from terrazzo.drivers.watching.report import Facts, reported
from terrazzo.drivers.watching.status import STATUS, State, Status
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes


def test_only_blocks_count_as_blocks(scenes: Scenes, tmp_path: Path):
    class Units(Progress):
        seen: tuple[str, ...] = ()

        @override
        def start(self, total: int, unit: str) -> None:
            super().start(total, unit)
            self.seen += (unit,)

    units, depot = Units(), FolderDepot(tmp_path)
    made = batch.run(job_of(shared()), scenes.workspace, tmp_path, block=64, progress=units)
    end = Status.read(depot)
    batch.run(job_of(shared()), scenes.workspace, tmp_path, block=64)

    assert units.seen == ("blocks", "parts of overviews")
    assert end is not None
    assert (end.unit, end.done, end.total, end.kept) == ("blocks", made.blocks, made.blocks, 0)
    assert end.took is not None
    assert end.took.blocks == made.blocks
    assert Status.read(depot) == end


@pytest.mark.parametrize("state", [State.FINISHED, State.RUNNING, None])
def test_what_is_sent_after_a_run_leaves_its_blocks_as_they_were(
    tmp_path: Path, state: State | None
):
    depot, known = FolderDepot(tmp_path), None
    if state is not None:
        known = Status(state, begun=now(), seen=now(), done=7, total=7, kept=3)
        depot.write(STATUS, known.content())

    with reported(Progress(), depot, Facts(tmp_path)) as told, told:
        told.start(5, "MB sent")
        told.resume(1)
        told.advance(4)
    after = Status.read(depot)

    assert after is not None
    assert after.state is State.FINISHED
    if state is State.FINISHED:
        assert after == known
    else:
        counts = (0, 0, 0) if known is None else (7, 7, 3)
        assert (after.unit, (after.done, after.total, after.kept)) == ("blocks", counts)
        assert after.took is not None
        assert after.took.blocks == 0
