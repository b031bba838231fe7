"""Zarr stores that the workers of a run write together: what one writer would have written."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from tests.drivers.scenes import GRAPHS, composite, job_of, load, node, ref
from tests.drivers.test_survival import StopsAt, digests, finish, kill_when, options
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.block_jobs import ByBlocks, begun, help_with
from terrazzo.drivers.block_names import BLOCKS
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.order import Order
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.shares import Share
from terrazzo.errors import ArgumentInvalid, FormatArgumentInvalid, OutputFailed
from terrazzo.geo.blocks import Blocks
from terrazzo.geo.grid import Window
from terrazzo.progress import Cancelled, Progress
from terrazzo.storage.writers.zarr_shared import SharedZarr

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.scenes import Scenes

BLOCK = 175
NAME = "result.zarr"


def saved(nodes: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    """Return a graph whose result is saved as Zarr."""
    nodes = nodes or composite()
    (last,) = (name for name, one in nodes.items() if one.get("result"))
    nodes = nodes | {last: {name: part for name, part in nodes[last].items() if name != "result"}}
    return nodes | {"save": node("save_result", True, data=ref(last), format="ZARR", options=asked)}


def shared(nodes: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    return saved(nodes, archive=False, **asked)


def classes() -> dict[str, Any]:
    """Whole numbers with gaps, every date."""
    return {"load": load(["SCL"]) | {"result": True}}


def opened(path: Path, level: int) -> xr.Dataset:
    store = zarr.storage.ZipStore(path, mode="r") if path.suffix == ".zip" else path
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Zarr V3.*|.*Zarr format 3.*")
        return xr.open_zarr(store, group=str(level), consolidated=True, decode_times=False).load()


def levels(path: Path) -> int:
    store = zarr.storage.ZipStore(path, mode="r") if path.suffix == ".zip" else path
    root = zarr.open_group(store, mode="r")
    return len(root.attrs["multiscales"]["layout"])


def assert_alike(one: Path, other: Path) -> None:
    """Both stores have the same levels, arrays, attributes and numbers."""
    assert levels(one) == levels(other)
    for level in range(levels(one)):
        xr.testing.assert_identical(opened(one, level), opened(other, level))


@pytest.mark.parametrize(
    ("nodes", "count", "block"),
    [(composite(), 2, BLOCK), (composite(), 2, 512), (classes(), 1, 137)],
)
def test_many_writers_write_what_one_writes(
    scenes: Scenes, tmp_path: Path, nodes: dict[str, Any], count: int, block: int
):
    one, many = tmp_path / "one", tmp_path / "many"
    batch.run(job_of(saved(nodes)), scenes.workspace, one, block=block)

    made = batch.run(
        job_of(shared(nodes)), scenes.workspace, many, block=block, pool=Pool("threads", 2)
    )

    (asset,) = made.assets
    assert asset.path == many / NAME
    assert levels(many / NAME) == count
    assert_alike(one / "result.zarr.zip", many / NAME)
    assert not (many / BLOCKS).exists()


def test_a_part_of_the_lattice_is_cut_from_its_own_corner(scenes: Scenes, tmp_path: Path):
    one, many, inside = tmp_path / "one", tmp_path / "many", (16.307, 46.003, 16.38, 46.05)
    batch.run(job_of(saved(), bbox=inside), scenes.workspace, one, block=64)

    batch.run(job_of(shared(), bbox=inside), scenes.workspace, many, block=64)

    told = json.loads((many / "run.json").read_text())
    assert told["origin"] == told["window"][:2]
    assert any(start % 64 for start in told["origin"])
    assert_alike(one / "result.zarr.zip", many / NAME)


@given(
    start=st.tuples(st.integers(-300, 300), st.integers(-300, 300)),
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    edge=st.integers(1, 90),
)
def test_blocks_that_are_cut_from_the_corner_share_no_chunk(
    start: tuple[int, int], size: tuple[int, int], edge: int
):
    window = Window(*start, *size)
    blocks = Blocks(window, edge, start)

    counts = np.zeros(size, np.int64)
    for block in blocks:
        counts[window.slices(block)] += 1
        assert (block.row - window.row) % edge == (block.col - window.col) % edge == 0

    assert (counts == 1).all()
    assert len(blocks) == -(-size[0] // edge) * -(-size[1] // edge)


@pytest.mark.parametrize("kind", ["processes", pytest.param("dask", marks=pytest.mark.slow)])
def test_other_processes_write_the_same_bytes(scenes: Scenes, tmp_path: Path, kind: str):
    here, there = tmp_path / "here", tmp_path / "there"
    batch.run(job_of(shared()), scenes.workspace, here, block=BLOCK)

    batch.run(job_of(shared()), scenes.workspace, there, block=BLOCK, pool=Pool(kind, 2))

    assert digests(there) == digests(here)


def test_workers_that_know_only_the_folder_write_the_same_bytes(scenes: Scenes, tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    order = Order(job_of(shared()), BLOCK, by=ByBlocks())
    batch.run(order.job, scenes.workspace, here, block=BLOCK)
    run = FolderDepot(there)
    blocks, _ = begun(order, scenes.workspace, run)

    help_with(order, scenes.workspace, run, Share(1, 2), Progress())
    again = help_with(order, scenes.workspace, run, Share(0, 2), Progress())
    batch.run(order.job, scenes.workspace, there, block=BLOCK)

    assert (blocks.there(), again) == (blocks.count, 0)
    (there / "order.json").unlink()
    assert digests(there) == digests(here)


def test_a_stopped_run_goes_on_and_ends_in_the_same_bytes(scenes: Scenes, tmp_path: Path):
    calm, stopped = tmp_path / "calm", tmp_path / "stopped"
    batch.run(job_of(shared()), scenes.workspace, calm, block=BLOCK)

    with pytest.raises(Cancelled):
        batch.run(job_of(shared()), scenes.workspace, stopped, block=BLOCK, progress=StopsAt(7))
    made = batch.run(job_of(shared()), scenes.workspace, stopped, block=BLOCK)

    assert made.resumed >= 7
    assert digests(stopped) == digests(calm)
    again = batch.run(job_of(shared()), scenes.workspace, stopped, block=BLOCK)
    assert again.resumed == again.blocks
    assert digests(stopped) == digests(calm)


def test_a_store_that_was_removed_is_written_from_its_first_block_on(
    scenes: Scenes, tmp_path: Path
):
    calm, out, job = tmp_path / "calm", tmp_path / "out", job_of(shared())
    batch.run(job, scenes.workspace, calm, block=BLOCK)
    with pytest.raises(Cancelled):
        batch.run(job, scenes.workspace, out, block=BLOCK, progress=StopsAt(7))

    shutil.rmtree(out / NAME)
    of_a_part = batch.run(job, scenes.workspace, out, block=BLOCK)
    part = digests(out)
    shutil.rmtree(out / NAME)
    of_all = batch.run(job, scenes.workspace, out, block=BLOCK)
    whole = digests(out)

    assert (of_a_part.resumed, of_all.resumed) == (0, 0)
    assert part == whole == digests(calm)


def test_blocks_are_forgotten_before_a_removed_store_is_there_again(
    scenes: Scenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    job = job_of(shared())
    with pytest.raises(Cancelled):
        batch.run(job, scenes.workspace, tmp_path, block=BLOCK, progress=StopsAt(7))
    shutil.rmtree(tmp_path / NAME)

    def killed(_: SharedZarr) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SharedZarr, "begin", killed)
    with pytest.raises(KeyboardInterrupt):
        batch.run(job, scenes.workspace, tmp_path, block=BLOCK)

    assert list(FolderDepot(tmp_path).names(BLOCKS)) == []


class Counting(FolderDepot):
    """Tells which files of blocks were read."""

    @override
    def read(self, name: str, most: int | None = None) -> bytes | None:
        if name.startswith(BLOCKS):
            READ.append(name)
        return super().read(name, most)


READ: list[str] = []


def test_what_is_told_of_blocks_is_read_once_where_they_are_kept_and_else_never(
    own_scenes: Scenes, tmp_path: Path
):
    path = own_scenes.file("2020-07-01", "B08")
    os.truncate(path, int(path.stat().st_size * 0.8))
    nodes = GRAPHS["smoothed"]
    top = nodes["top"] | {"arguments": nodes["top"]["arguments"] | {"data": ref("look")}}
    look = node("inspect", data=ref("smooth"), message="seen")
    nodes = nodes | {"look": look, "top": top}
    job = job_of(shared(nodes), skip_bad=True)
    calm, out = Counting(tmp_path / "calm"), Counting(tmp_path / "out")
    READ.clear()
    one = batch.run(job, own_scenes.workspace, calm.path, depot=calm, block=BLOCK)
    of_one = len(READ)
    with pytest.raises(Cancelled):
        batch.run(job, own_scenes.workspace, out.path, depot=out, block=BLOCK, progress=StopsAt(7))
    READ.clear()

    made = batch.run(job, own_scenes.workspace, out.path, depot=out, block=BLOCK)

    assert of_one == 0
    assert len(READ) == made.resumed >= 7
    assert made.skipped == one.skipped == ("S2_2020-07-01",)
    assert [replace(entry, time="") for entry in made.log] == [
        replace(entry, time="") for entry in one.log
    ]
    assert made.log


def test_a_block_that_goes_while_a_run_is_on_is_not_taken_for_done(scenes: Scenes, tmp_path: Path):
    calm, out, job = tmp_path / "calm", tmp_path / "out", job_of(shared())
    batch.run(job, scenes.workspace, calm, block=BLOCK)

    class Losing(Progress):
        @override
        def advance(self, count: int = 1) -> None:
            super().advance(count)
            if self.done == 3:
                next((out / BLOCKS).rglob("*.block")).unlink()

    with pytest.raises(OutputFailed, match=r"has lost .*\.block.*same command again"):
        batch.run(job, scenes.workspace, out, block=BLOCK, progress=Losing())
    made = batch.run(job, scenes.workspace, out, block=BLOCK)

    assert made.resumed == made.blocks - 1
    assert digests(out) == digests(calm)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_in_the_same_bytes(scenes: Scenes, tmp_path: Path):
    calm, hunted = tmp_path / "calm", tmp_path / "hunted"
    given = options(scenes, hunted, shared(), block=50)
    assert finish(options(scenes, calm, shared(), block=50))[0] == 0

    for target in (3, 15):
        # A run that has made so many blocks waits to be killed; it is far from its end then.
        few = options(scenes, hunted, shared(), block=50, most=target + 5)
        kill_when(few, lambda target=target: many(hunted) >= target, 0.01)
    status, (blocks, resumed) = finish(given)

    assert status == 0
    assert blocks > resumed > 0
    assert digests(hunted) == digests(calm)


def many(folder: Path) -> int:
    """Return how many chunks of the first level there are."""
    return sum(1 for path in (folder / NAME / "0").rglob("*") if path.name.isdecimal())


def test_images_that_have_changed_are_written_again(own_scenes: Scenes, tmp_path: Path):
    folder, fresh = tmp_path / "folder", tmp_path / "fresh"
    batch.run(job_of(shared()), own_scenes.workspace, folder, block=BLOCK)
    path = own_scenes.file("2020-07-01", "B08")
    path.write_bytes(own_scenes.file("2021-06-03", "B08").read_bytes())

    made = batch.run(job_of(shared()), own_scenes.workspace, folder, block=BLOCK)
    batch.run(job_of(shared()), own_scenes.workspace, fresh, block=BLOCK)

    assert made.resumed == 0
    assert digests(folder) == digests(fresh)


def test_the_store_is_described_as_one_asset(scenes: Scenes, tmp_path: Path):
    made = batch.run(job_of(shared()), scenes.workspace, tmp_path, block=BLOCK)

    collection = json.loads((tmp_path / "stac" / "item-1.json").read_text())
    asset = collection["assets"][NAME]
    assert asset["href"] == f"../{NAME}"
    assert asset["type"] == "application/vnd.zarr; version=3"
    size = sum(path.stat().st_size for path in (tmp_path / NAME).rglob("*") if path.is_file())
    assert asset["file:size"] == made.size_bytes == size
    assert "file:checksum" not in asset
    assert {*asset["cube:variables"], "spatial_ref"} == {*opened(tmp_path / NAME, 0).data_vars}


@pytest.mark.parametrize("block", [513, 1000, 1025])
def test_blocks_that_would_cut_chunks_are_refused(scenes: Scenes, tmp_path: Path, block: int):
    with pytest.raises(ArgumentInvalid, match=r"Choose --block (512|1024), another multiple"):
        batch.run(job_of(shared()), scenes.workspace, tmp_path / "out", block=block)


def test_archive_is_true_or_false(scenes: Scenes, tmp_path: Path):
    with pytest.raises(FormatArgumentInvalid, match="`archive` is true or false"):
        batch.run(job_of(saved(archive="no")), scenes.workspace, tmp_path)
