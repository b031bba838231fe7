"""Tiles that several processes share, which know each other by their folder alone."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from tests.drivers.scenes import DATES, job_of
from tests.drivers.slurm_cluster import RealSlurm, real_slurm
from tests.drivers.test_tile_grids import OWN, brightest, on_grid, tiffs

from terrazzo.cli import main
from terrazzo.drivers import slurm
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.order import ORDER, Order, Where
from terrazzo.drivers.ordered import read_order
from terrazzo.drivers.shares import Share
from terrazzo.drivers.slurm import Allocation, Slurm
from terrazzo.drivers.tiling.slurmed import ByTiles
from terrazzo.drivers.tiling.tallied import ASIDE
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes

    from terrazzo.drivers.batch import RunResult
    from terrazzo.drivers.order import Parts


@pytest.fixture(scope="module")
def cluster(shared: Path) -> Iterator[RealSlurm]:
    """A Slurm of two nodes on this machine."""
    with real_slurm(shared) as started:
        yield started


def order_of() -> Order[RunResult]:
    return Order(job_of(brightest()), 100, 1, 500_000_000, by=ByTiles(OWN))


def at(folder: Path) -> Where:
    return Where(folder, FolderDepot(folder))


def begun(scenes: Scenes, folder: Path) -> Parts:
    order = order_of()
    parts, stages = order.by.begun(order, scenes.workspace, at(folder), Progress())
    assert not stages
    return parts


def helped(scenes: Scenes, folder: Path, share: str) -> int:
    order = read_order(FolderDepot(folder))
    part = Share.parsed(share)
    return order.by.help_with(order, scenes.workspace, at(folder), part, Progress())


def test_shares_make_all_tiles_and_the_last_one_publishes_them(scenes: Scenes, tmp_path: Path):
    on_grid(scenes, tmp_path / "plain", brightest(), OWN)
    folder = tmp_path / "shared"
    parts = begun(scenes, folder)
    assert (parts.count, parts.there(), parts.aside()) == (4, 0, 0)

    assert helped(scenes, folder, "1/2") == 4  # its own, and those that nobody makes
    assert helped(scenes, folder, "0/2") == 0
    assert parts.there() == 4
    told = CliRunner().invoke(
        main, ["--home", str(scenes.workspace.home), "worker", str(folder), "--finish"]
    )

    assert told.exit_code == 0, told.output
    assert tiffs(folder) == tiffs(tmp_path / "plain")
    collection = json.loads((folder / "stac" / "collection.json").read_text())
    assert sum(link["rel"] == "item" for link in collection["links"]) == 4


def test_tiles_that_fail_are_set_aside_and_tried_again(own_scenes: Scenes, tmp_path: Path):
    folder = tmp_path / "shared"
    parts = begun(own_scenes, folder)
    missing = own_scenes.file(DATES[0], "B08")
    content = missing.read_bytes()
    missing.unlink()

    with pytest.raises(RunIncomplete, match="4 tiles failed"):
        helped(own_scenes, folder, "0/1")
    assert (parts.there(), parts.aside()) == (0, 4)
    missing.write_bytes(content)
    begun(own_scenes, folder)

    assert parts.aside() == 0
    assert helped(own_scenes, folder, "0/1") == 4


def test_a_tile_that_is_made_after_all_is_said_to_have_failed_no_more(
    own_scenes: Scenes, tmp_path: Path
):
    begun(own_scenes, tmp_path)
    missing = own_scenes.file(DATES[0], "B08")
    content = missing.read_bytes()
    missing.unlink()
    with pytest.raises(RunIncomplete):
        helped(own_scenes, tmp_path, "0/1")
    assert len(list(tmp_path.rglob(ASIDE))) == 4
    missing.write_bytes(content)

    made = on_grid(own_scenes, tmp_path, brightest(), OWN)

    assert made.blocks == 4
    assert not list(tmp_path.rglob(ASIDE))


def test_a_damaged_order_is_refused(tmp_path: Path):
    folder = FolderDepot(tmp_path)
    order_of().write(folder)
    assert read_order(folder) == order_of()
    told = json.loads((tmp_path / ORDER).read_text())
    (tmp_path / ORDER).write_text(json.dumps({**told, "tiles": ["mgrs"]}))

    with pytest.raises(ArgumentInvalid, match="damaged"):
        read_order(folder)


def test_scripts_are_told_and_nothing_is_submitted(scenes: Scenes, tmp_path: Path):
    graph = tmp_path / "graph.json"
    graph.write_text(job_of(brightest()).document)

    told = CliRunner().invoke(
        main,
        ["--home", str(scenes.workspace.home), "run", str(graph), "-o", str(tmp_path / "out"),
         "--tiles", OWN, "--executor", "slurm", "--workers", "9", "--script-only"],
    )  # fmt: skip

    assert told.exit_code == 0, told.output
    assert "#SBATCH --array=0-3" in told.stdout  # no more tasks than tiles
    assert not list(tmp_path.rglob("*.tif"))


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_real_slurm_makes_the_bytes_of_threads(scenes: Scenes, tmp_path: Path):
    on_grid(scenes, tmp_path / "here", brightest(), OWN)
    command = [sys.executable, "-m", "terrazzo", "--home", str(scenes.workspace.home)]
    there = Slurm(tmp_path / "there", command, Allocation(2, 1, 500_000_000, "0:10:00"))

    made = slurm.run(order_of(), scenes.workspace, there, Progress())

    assert made is not None
    assert made.resumed == made.blocks == 4  # nothing was left to do here
    assert tiffs(there.folder) == tiffs(tmp_path / "here")
