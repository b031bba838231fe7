"""Tiles in a bucket of a real store (Ceph), by way of a proxy that fails: the bytes of a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import distributed
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from tests.drivers.scenes import DATES, composite, job_of
from tests.drivers.test_bucket_runs import PATIENCE_S, fetched, kill_at, there
from tests.drivers.test_bucket_runs import prefix as bucket_prefix
from tests.drivers.test_bucket_runs import proxy as store_proxy
from tests.drivers.test_bucket_runs import store as ceph_store
from tests.drivers.test_slurm import cluster as slurm_cluster
from tests.drivers.test_survival import digests
from tests.drivers.test_tile_grids import OWN, Stopping, brightest, on_grid
from tests.drivers.test_tile_grids_growing import SMALL, one_year_less, two_years, yearly
from tests.drivers.test_tile_grids_growing import growing as growing_collection
from tests.storage.ceph import content_of
from tests.storage.failing import FAULTS, Proxy
from typing_extensions import override

from terrazzo.cli import main
from terrazzo.drivers import named, slurm
from terrazzo.drivers.block_names import BLOCKS
from terrazzo.drivers.depot import BucketDepot
from terrazzo.drivers.order import ORDER, Order, Where
from terrazzo.drivers.ordered import read_order
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.shares import Share
from terrazzo.drivers.tiling import mosaics
from terrazzo.drivers.tiling.slurmed import ByTiles
from terrazzo.errors import OutputFailed
from terrazzo.progress import Cancelled, Progress

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes
    from tests.drivers.slurm_cluster import RealSlurm

store, proxy, prefix, cluster = ceph_store, store_proxy, bucket_prefix, slurm_cluster
growing = growing_collection
BLOCK = 100
BLOCKS_OF_A_TILE = 36
pytestmark = pytest.mark.slow


def in_folder(folder: Path) -> dict[str, str]:
    """Return the digests of a run in a folder, but for locks and the time in an index."""
    return {name: told for name, told in digests(folder).items() if _counts(name)}


def in_bucket(store: dict[str, str], prefix: str, folder: Path) -> dict[str, str]:
    """Return the digests of what a bucket holds, likewise."""
    found = fetched(store, prefix, folder)
    return {name: told for name, told in found.items() if _counts(name)}


def _counts(name: str) -> bool:
    return not name.endswith((".lock", ".gti.gpkg")) and ".workers/" not in name


def tiled(document: dict[str, Any], folder: Path) -> str:
    path = folder / "graph.json"
    path.write_text(job_of(document).document)
    return str(path)


def order_of() -> Order[Any]:
    return Order(job_of(brightest()), BLOCK, 1, 500_000_000, by=ByTiles(OWN))


def test_tiles_by_way_of_a_failing_store_are_those_of_a_folder(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    here, work = tmp_path / "here", tmp_path / "work"
    plain = on_grid(scenes, here, composite(), OWN, assemble=True)
    proxy.every = 12

    made = on_grid(
        scenes, work, composite(), OWN, assemble=True, depot=there(prefix),
        pool=Pool("threads", 2),
    )  # fmt: skip

    assert set(proxy.failed) == set(FAULTS)
    assert in_bucket(store, prefix, tmp_path / "there") == in_folder(here)
    names = [asset.path.relative_to(work) for asset in made.assets]
    assert names == [asset.path.relative_to(here) for asset in plain.assets]
    assert not list(work.rglob("*.tif"))  # a continent would fill the disk


def test_a_stopped_run_goes_on_from_another_machine(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    on_grid(scenes, tmp_path / "here", brightest(), OWN)
    proxy.every = 12

    with pytest.raises(Cancelled):
        on_grid(
            scenes, tmp_path / "one", brightest(), OWN, depot=there(prefix),
            pool=Pool("threads", 2), progress=Stopping(1),
        )  # fmt: skip
    made = on_grid(
        scenes, tmp_path / "two", brightest(), OWN, depot=there(prefix),
        pool=Pool("processes", 2),
    )  # fmt: skip
    again = on_grid(scenes, tmp_path / "three", brightest(), OWN, depot=there(prefix))

    assert 1 <= made.resumed < 4
    assert not list((tmp_path / "two").rglob("*.tif"))
    assert again.resumed == again.blocks == 4
    assert in_bucket(store, prefix, tmp_path / "there") == in_folder(tmp_path / "here")


def test_a_store_that_is_gone_is_one_clear_error_and_the_tiles_go_on(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    class Cutting(Progress):
        @override
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            proxy.go()

    with pytest.raises(OutputFailed, match="give the same command again"):
        on_grid(
            scenes, tmp_path / "one", brightest(), OWN, depot=there(prefix),
            pool=Pool("threads", 1), progress=Cutting(),
        )  # fmt: skip
    proxy.come()
    made = on_grid(scenes, tmp_path / "one", brightest(), OWN, depot=there(prefix))
    on_grid(scenes, tmp_path / "here", brightest(), OWN)

    assert made.resumed >= 1
    assert in_bucket(store, prefix, tmp_path / "there") == in_folder(tmp_path / "here")


def test_a_killed_command_goes_on_and_is_watched(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    url, home = f"s3://images/{prefix}", ["--home", str(scenes.workspace.home)]
    command = [
        sys.executable, "-m", "terrazzo", *home, "run", tiled(brightest(), tmp_path), "-o", url,
        "--tiles", OWN, "--assemble", "--block", str(BLOCK), "--workers", "2",
    ]  # fmt: skip

    for puts in (5, BLOCKS_OF_A_TILE + 9):
        kill_at(command, proxy, puts)
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    assert done.returncode == 0, done.stderr
    told = {json.loads(line)["path"] for line in done.stdout.splitlines()}
    assert f"{url}/assembled/EPSG32633_result.tif" in told
    assert len(told) == 5
    on_grid(scenes, tmp_path / "here", brightest(), OWN, assemble=True)
    assert in_bucket(store, prefix, tmp_path / "there") == in_folder(tmp_path / "here")
    listed = CliRunner().invoke(main, [*home, "jobs", "--json"])
    (look,) = [one for one in map(json.loads, listed.stdout.splitlines()) if one["where"] == url]
    assert (look["state"], look["done"], look["total"]) == ("finished", 4, 4)


def test_shares_on_other_machines_know_the_run_by_its_bucket(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    assert proxy.url
    on_grid(scenes, tmp_path / "here", brightest(), OWN)
    order, where = order_of(), Where(tmp_path / "begun", there(prefix))
    parts, _ = order.by.begun(order, scenes.workspace, where, Progress())
    root, worker = str(scenes.workspace.home), ["worker", f"s3://images/{prefix}"]

    for machine, more in enumerate((("--share", "1/2"), ("--share", "0/2"), ("--finish",))):
        home = tmp_path / f"machine{machine}"
        home.mkdir()
        shutil.copy(scenes.workspace.catalog_path, home)
        done = CliRunner().invoke(main, ["--home", str(home), "--root", root, *worker, *more])
        assert done.exit_code == 0, done.stderr

    assert (parts.there(), parts.aside()) == (4, 0)
    found = in_bucket(store, prefix, tmp_path / "there")
    assert found.pop(ORDER)
    assert found == in_folder(tmp_path / "here")


def test_nobody_helps_with_a_tile_that_is_begun_elsewhere(
    scenes: Scenes, proxy: Proxy, prefix: str, tmp_path: Path
):
    assert proxy.url
    order, run = order_of(), there(prefix)
    where = Where(tmp_path / "one", run)
    parts, _ = order.by.begun(order, scenes.workspace, where, Progress())
    (run / "tiles" / "E000S001").write("run.json", b"{}")  # the first, of another share

    told = read_order(run)
    helped = told.by.help_with(told, scenes.workspace, where, Share(1, 2), Progress())

    assert helped == parts.there() == 3


def test_two_that_make_one_tile_at_once_do_no_harm(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    """The second one makes the last block, and deletes all; then the first would need them."""
    on_grid(scenes, tmp_path / "here", brightest(), OWN)
    puts: list[str] = []

    def meanwhile(method: str, path: str) -> None:
        if method != "PUT" or f"/{BLOCKS}/" not in path:
            return
        puts.append(path)
        if len(puts) == BLOCKS_OF_A_TILE:
            proxy.watch = None
            on_grid(
                scenes, tmp_path / "second", brightest(), OWN, depot=there(prefix),
                pool=Pool("threads", 1),
            )  # fmt: skip

    proxy.watch = meanwhile
    made = on_grid(
        scenes, tmp_path / "first", brightest(), OWN, depot=there(prefix), pool=Pool("threads", 1)
    )

    assert len(puts) == BLOCKS_OF_A_TILE
    assert (made.blocks, made.resumed) == (4, 3)
    assert in_bucket(store, prefix, tmp_path / "there") == in_folder(tmp_path / "here")


def test_a_dask_cluster_fills_a_bucket_through_a_failing_store(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    on_grid(scenes, tmp_path / "here", brightest(), OWN)
    proxy.every = 12

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=None,
        env={name: value for name, value in os.environ.items() if name.startswith("AWS_")},
    ) as cluster:  # fmt: skip
        on_grid(
            scenes, tmp_path / "work", brightest(), OWN, depot=there(prefix),
            pool=Pool("dask", scheduler=cluster.scheduler_address),
        )  # fmt: skip

    assert set(proxy.failed) == set(FAULTS)
    assert in_bucket(store, prefix, tmp_path / "there") == in_folder(tmp_path / "here")


def test_a_real_slurm_fills_a_bucket(
    scenes: Scenes, cluster: RealSlurm, store: dict[str, str], proxy: Proxy, prefix: str,
    tmp_path: Path,
):  # fmt: skip
    assert cluster
    assert proxy.url
    on_grid(scenes, tmp_path / "here", brightest(), OWN)
    command = [sys.executable, "-m", "terrazzo", "--home", str(scenes.workspace.home)]
    wanted = slurm.Allocation(2, 1, 500_000_000, "0:10:00")
    jobs = slurm.Slurm(tmp_path / "work", command, wanted, run=there(prefix))

    made = slurm.run(order_of(), scenes.workspace, jobs, Progress())

    assert made is not None
    assert made.resumed == made.blocks == 4  # nothing was left to do here
    found = in_bucket(store, prefix, tmp_path / "there")
    assert found.pop(ORDER)
    assert found == in_folder(tmp_path / "here")


def test_a_run_in_a_folder_of_its_own_is_sent_when_it_is_done(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path
):
    here, work = tmp_path / "here", tmp_path / "work"
    on_grid(scenes, here, brightest(), OWN, assemble=True)
    stale = "stac/gone.json"
    there(prefix).write(stale, b"{}")
    assert stale in content_of(store, prefix)
    proxy.every = 12

    done = CliRunner().invoke(
        main,
        ["--home", str(scenes.workspace.home), "run", tiled(brightest(), tmp_path), "-o",
         f"s3://images/{prefix}", "--work", str(work), "--tiles", OWN, "--assemble", "--block",
         str(BLOCK)],
    )  # fmt: skip

    assert done.exit_code == 0, done.output
    assert stale not in content_of(store, prefix)
    expected = {
        name: told for name, told in in_folder(here).items()
        if name.endswith((".tif", ".vrt", ".mosaics.json")) or name.startswith("stac/")
    }  # fmt: skip
    assert in_bucket(store, prefix, tmp_path / "there") == expected


def test_the_images_of_all_tiles_are_listed_once_in_the_bucket(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    assert proxy.url
    monkeypatch.setattr(named, "MOST_NAMED", 1)
    there(prefix).write(named.IMAGES, b"of somebody else")

    on_grid(scenes, tmp_path / "work", brightest(), OWN, depot=there(prefix))

    found = [name for name in content_of(store, prefix) if name.endswith(named.IMAGES)]
    assert found == [named.IMAGES, f"stac/{named.IMAGES}"]
    monkeypatch.setattr(named, "MOST_NAMED", len(DATES))
    on_grid(scenes, tmp_path / "other", brightest(), OWN, depot=there(prefix))
    found = content_of(store, prefix)
    assert [name for name in found if name.endswith(named.IMAGES)] == [named.IMAGES]
    assert found[named.IMAGES] == b"of somebody else"


def test_what_is_assembled_in_the_bucket_is_neither_fetched_nor_made_again(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    first = on_grid(scenes, tmp_path / "one", brightest(), OWN, assemble=True, depot=there(prefix))
    before = in_bucket(store, prefix, tmp_path / "before")
    fetched = []
    bring = BucketDepot.bring
    monkeypatch.setattr(
        BucketDepot, "bring", lambda self, *which: (fetched.append(which[0]), bring(self, *which))
    )

    again = on_grid(scenes, tmp_path / "two", brightest(), OWN, assemble=True, depot=there(prefix))

    assert proxy.url
    assert [one.path.relative_to(tmp_path / "two") for one in again.assets] == [
        one.path.relative_to(tmp_path / "one") for one in first.assets
    ]
    assert len(fetched) == 1  # to see what tiles look like
    assert "assembled/EPSG32633_result.tif" in before
    assert in_bucket(store, prefix, tmp_path / "after") == before


class StopsFetching(Progress):
    """Stops a run when it has fetched some of the tiles that it assembles."""

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if (self.unit, self.total, self.done) == ("tiles fetched", 4, 2):
            raise Cancelled


@pytest.mark.parametrize("when", ["fetching", "assembling", "killed"])
def test_what_was_fetched_to_be_assembled_does_not_stay(
    scenes: Scenes, proxy: Proxy, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    when: str,
):  # fmt: skip
    assert proxy.url
    work, run = tmp_path / "work", there(f"{prefix}/{when}")
    mine = work / "tiles" / "mine.tif"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"of somebody else")
    seen: list[str] = []

    def stopped(*_: object, **__: object) -> None:
        seen.extend(fetched_in(work))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if when == "killed":
            patch.setattr(mosaics.Mosaics, "leave", lambda _: None)
        patch.setattr(mosaics, "assemble", stopped)
        with pytest.raises(Cancelled if when == "fetching" else KeyboardInterrupt):
            on_grid(
                scenes, work, brightest(), OWN, assemble=True, depot=run,
                progress=StopsFetching() if when == "fetching" else Progress(),
            )  # fmt: skip
    assert bool(seen) == (when != "fetching")
    if when == "killed":
        assert fetched_in(work)
        on_grid(scenes, tmp_path / "other", brightest(), OWN, assemble=True, depot=run)
        on_grid(scenes, work, brightest(), OWN, depot=run)

    assert fetched_in(work) == []
    assert mine.read_bytes() == b"of somebody else"


def fetched_in(folder: Path) -> list[str]:
    """Return the files of a run in a folder, and what is known of those that were fetched."""
    found = [*folder.rglob("*.tif"), *folder.rglob("*.vrt"), *folder.rglob(".fetched/*")]
    return [path.relative_to(folder).as_posix() for path in found if path.name != "mine.tif"]


@pytest.mark.parametrize("how", ["there", "sent"])
def test_mosaics_without_tiles_leave_the_bucket_and_nothing_of_others_does(
    growing: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path, how: str
):
    assert proxy.url
    url, work = f"s3://images/{prefix}/{how}", tmp_path / "work"
    sent = ["--work", str(work)] if how == "sent" else []
    command = [
        "--home", str(growing.workspace.home), "run", tiled(yearly(), tmp_path), "-o", url,
        "--tiles", SMALL, "--assemble", "--block", str(BLOCK), *sent,
    ]  # fmt: skip
    two_years(growing)
    theirs = ("tiles/EPSG32633_result_2019.vrt", "assembled/mine.tif")
    for name in theirs:
        there(f"{prefix}/{how}").write(name, b"of somebody else")
    (work / "tiles").mkdir(parents=True)
    (work / "tiles" / "mine.vrt").write_bytes(b"of somebody else")
    first = CliRunner().invoke(main, command)
    before = content_of(store, f"{prefix}/{how}")
    one_year_less(growing)

    second = CliRunner().invoke(main, command)

    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    after = content_of(store, f"{prefix}/{how}")
    for content, years in ((before, {"2020", "2021"}), (after, {"2020"})):
        names = {f"{stem}_{year}" for year in years for stem in (
            "tiles/EPSG32633_result", "assembled/EPSG32633_result")}  # fmt: skip
        files = {name for name in content if "EPSG32633_result_202" in name}
        assert {name.partition(".")[0] for name in files if "/." not in name} == names
        assert {content[name] for name in theirs} == {b"of somebody else"}
        assert "tiles/mine.vrt" not in content
    assert (work / "tiles" / "mine.vrt").read_bytes() == b"of somebody else"


@pytest.mark.parametrize("suffix", [".vrt", ".gti.gpkg"])
def test_mosaics_are_read_in_the_bucket(
    scenes: Scenes, store: dict[str, str], proxy: Proxy, prefix: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, suffix: str,
):  # fmt: skip
    assert proxy.url
    here, run = tmp_path / "here", f"{prefix}/{suffix.rpartition('.')[2]}"
    on_grid(scenes, here, brightest(), OWN)
    on_grid(scenes, tmp_path / "work", brightest(), OWN, depot=there(run))
    for name in ("AWS_S3_ENDPOINT", "AWS_HTTPS", "AWS_VIRTUAL_HOSTING"):
        monkeypatch.setenv(name, store[name])

    with rasterio.open(f"/vsis3/images/{run}/tiles/EPSG32633_result{suffix}") as file:
        pixels = file.read()

    with rasterio.open(here / "tiles" / f"EPSG32633_result{suffix}") as file:
        np.testing.assert_array_equal(pixels, file.read())
    assert np.isfinite(pixels).any()
