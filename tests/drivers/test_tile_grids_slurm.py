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
from terrazzo.drivers.shares import Share
from terrazzo.drivers.slurm import Allocation, Slurm
from terrazzo.drivers.tiling import slurmed
from terrazzo.drivers.tiling.slurmed import TileParts, TilesOrder
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.scenes import Scenes


@pytest.fixture(scope="module")
def cluster(shared: Path) -> Iterator[RealSlurm]:
    """A Slurm of two nodes on this machine."""
    with real_slurm(shared) as started:
        yield started


def order_of() -> TilesOrder:
    return TilesOrder(job_of(brightest()), OWN, False, 100, 1, 500_000_000)


def helped(scenes: Scenes, folder: Path, share: str) -> int:
    order = TilesOrder.read(folder)
    return slurmed.help_with(order, scenes.workspace, folder, Share.parsed(share), Progress())


def parts_of(scenes: Scenes, folder: Path, order: TilesOrder) -> TileParts:
    return TileParts(order.prepared(scenes.workspace, folder, Progress()))


def test_shares_make_all_tiles_and_the_last_one_publishes_them(scenes: Scenes, tmp_path: Path):
    on_grid(scenes, tmp_path / "plain", brightest(), OWN)
    folder, order = tmp_path / "shared", order_of()
    order.write(folder)
    parts = parts_of(scenes, folder, order)
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
    folder, order = tmp_path / "shared", order_of()
    order.write(folder)
    missing = own_scenes.file(DATES[0], "B08")
    content = missing.read_bytes()
    missing.unlink()

    with pytest.raises(RunIncomplete, match="4 tiles failed"):
        helped(own_scenes, folder, "0/1")
    parts = parts_of(own_scenes, folder, order)
    assert (parts.there(), parts.aside()) == (0, 4)
    missing.write_bytes(content)
    slurm = Slurm(folder, ["terrazzo"], Allocation(2, 1, 500_000_000))
    slurmed.scripts(order, own_scenes.workspace, slurm, Progress())

    assert parts.aside() == 0
    assert helped(own_scenes, folder, "0/1") == 4


def test_a_damaged_order_is_refused(tmp_path: Path):
    order_of().write(tmp_path)
    assert TilesOrder.read(tmp_path) == order_of()
    (tmp_path / slurmed.FILE).write_text("{}")

    with pytest.raises(ArgumentInvalid, match="damaged"):
        TilesOrder.read(tmp_path)


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

    made = slurmed.by_slurm(order_of(), scenes.workspace, there, Progress())

    assert made is not None
    assert made.resumed == made.blocks == 4  # nothing was left to do here
    assert tiffs(there.folder) == tiffs(tmp_path / "here")
