"""Workers that come last: somebody else has finished the run, and they leave nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.drivers.test_slurm import calm, order_of, pixels
from typing_extensions import override

from terrazzo.drivers import block_jobs
from terrazzo.drivers.block_jobs import begun, help_with
from terrazzo.drivers.block_names import BLOCKS
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.order import Where
from terrazzo.drivers.shares import Share
from terrazzo.drivers.watching import pulse
from terrazzo.drivers.watching.report import leave
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.drivers.order import Order


class Overtaken(Progress):
    """Somebody else finishes the run after the first block."""

    def __init__(self, order: Order, scenes: Scenes, there: Path) -> None:
        super().__init__()
        self.order, self.scenes, self.there = order, scenes, there

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.done == 1:
            where = Where(self.there, FolderDepot(self.there))
            self.order.by.finished(self.order, self.scenes.workspace, where, Progress())


@pytest.mark.parametrize("look_s", [0.0, 1000.0])
def test_a_worker_that_is_overtaken_stops_and_tidies(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look_s: float
):
    """Whether it hears of the end at once, or has made all of its share by then."""
    monkeypatch.setattr(block_jobs, "LOOK_S", look_s)
    order, there = order_of(block=40), tmp_path / "there"
    here = calm(scenes, tmp_path / "here", order)
    parts, _ = begun(order, scenes.workspace, FolderDepot(there))
    overtaken = Overtaken(order, scenes, there)

    made = help_with(order, scenes.workspace, FolderDepot(there), Share(0, 2), overtaken)
    leave(FolderDepot(there))

    assert 0 < made < parts.count
    assert not (there / BLOCKS).exists()
    assert not (there / pulse.FOLDER).exists()
    assert pixels(there) == pixels(here)


def test_what_workers_tell_stays_while_a_run_is_not_finished(tmp_path: Path):
    depot = FolderDepot(tmp_path)
    depot.write(f"{pulse.FOLDER}/other.json", b"{}")

    leave(depot)

    assert depot.has(f"{pulse.FOLDER}/other.json")
