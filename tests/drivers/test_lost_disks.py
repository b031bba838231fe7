"""Runs whose disk becomes full or may not be written any more: they say so, and go on later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.drivers.scenes import composite, job_of
from tests.drivers.test_shared_zarr import shared
from tests.drivers.test_survival import assert_way_out, digests, mounted, remount
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.pool import Pool
from terrazzo.errors import OutputFailed
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

BLOCK = 100
ROOM = "64m"


@pytest.mark.parametrize("nodes", [composite(), shared()], ids=["cogs", "zarr"])
def test_a_disk_that_may_not_be_written_any_more_stops_the_run_which_goes_on_later(
    scenes: Scenes, tmp_path: Path, nodes
):
    calm, job, one = tmp_path / "calm", job_of(nodes), Pool("threads", 1)
    batch.run(job, scenes.workspace, calm, block=BLOCK)

    with mounted(tmp_path / "disk", ROOM) as disk:

        class Locking(Progress):
            @override
            def advance(self, count: int = 1) -> None:
                super().advance(count)
                if self.done == 5:
                    remount(disk, "ro")

        with pytest.raises(OutputFailed, match="its folder may not be written"):
            batch.run(
                job, scenes.workspace, disk / "out", block=BLOCK, pool=one, progress=Locking()
            )
        remount(disk, "rw")
        made = batch.run(job, scenes.workspace, disk / "out", block=BLOCK)

        assert made.resumed >= 5
        assert digests(disk / "out") == digests(calm)


def test_a_full_disk_stops_writers_of_one_store_which_complete_it_once_there_is_room(
    scenes: Scenes, tmp_path: Path
):
    calm, job = tmp_path / "calm", job_of(shared())
    batch.run(job, scenes.workspace, calm, block=BLOCK)

    with mounted(tmp_path / "disk", "700k") as disk:
        with pytest.raises(OutputFailed) as caught:
            batch.run(job, scenes.workspace, disk / "out", block=BLOCK)
        assert_way_out(str(caught.value))
        assert not list((disk / "out").rglob("*.part"))
        remount(disk, f"size={ROOM}")
        made = batch.run(job, scenes.workspace, disk / "out", block=BLOCK)

        assert 0 < made.resumed < made.blocks
        assert digests(disk / "out") == digests(calm)
