"""How a run is cut into blocks, and what it costs to plan very many of them."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from tests.drivers.scenes import callback, job_of, node, ref
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.block_names import kept_name
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.job import Job, Workspace
from terrazzo.drivers.pool import Pool
from terrazzo.engine import Inference, evaluate, infer
from terrazzo.errors import PlanTooLarge
from terrazzo.geo.blocks import Blocks
from terrazzo.geo.grid import Grid, Window
from terrazzo.progress import Cancelled, Progress
from terrazzo.testing.synthetic import SyntheticOpener, SyntheticSource

if TYPE_CHECKING:
    from pathlib import Path

    from terrazzo.engine import Plan

windows = st.builds(
    Window,
    st.integers(-40, 40),
    st.integers(-40, 40),
    st.integers(0, 60),
    st.integers(0, 60),
)


@given(window=windows, edge=st.integers(1, 70))
def test_blocks_hold_every_pixel_once_in_row_order(window, edge):
    blocks = Blocks(window, edge)

    times = np.zeros((window.height, window.width), int)
    for block in blocks:
        times[window.slices(block)] += 1

    assert (times == 1).all()
    assert not any(block.is_empty for block in blocks)
    assert [(b.row, b.col) for b in blocks] == sorted((b.row, b.col) for b in blocks)


@given(window=windows, edge=st.integers(1, 70))
def test_blocks_are_a_sequence(window, edge):
    blocks = Blocks(window, edge)
    listed = list(blocks)

    assert len(blocks) == len(listed)
    assert [blocks[number] for number in range(-len(listed), len(listed))] == listed * 2
    assert blocks[1::2] == listed[1::2]
    with pytest.raises(IndexError):
        blocks[len(listed)]


@given(window=windows, edge=st.integers(1, 70))
def test_blocks_meet_at_multiples_of_their_edge_on_the_grid(window, edge):
    for block in Blocks(window, edge):
        assert block.row % edge == 0 or block.row == window.row
        assert block.col % edge == 0 or block.col == window.col
        assert block.row // edge == (block.row_stop - 1) // edge
        assert block.col // edge == (block.col_stop - 1) // edge


@dataclass(frozen=True)
class Asked(SyntheticSource):
    """A collection that remembers how often it was asked for anything."""

    calls: list[str] = field(default_factory=list)

    @override
    def version(self, *arguments: Any) -> str:
        self.calls.append("version")
        return super().version(*arguments)

    @override
    def cost(self, *arguments: Any) -> Any:
        self.calls.append("cost")
        return super().cost(*arguments)

    @override
    def read(self, *arguments: Any) -> Any:
        self.calls.append("read")
        return super().read(*arguments)


@dataclass(frozen=True, slots=True)
class OverSynthetic(Job):
    """A job whose collection is `large`."""

    large: SyntheticSource | None = None

    @override
    def infer(self, workspace: Workspace) -> Inference:
        del workspace
        return infer(self.graph(), SyntheticOpener({"large": self.large}))


def job_over(source: SyntheticSource) -> OverSynthetic:
    extents = {"spatial_extent": None, "temporal_extent": None}
    nodes = {
        "load": node("load_collection", id="large", **extents),
        "ndvi": node("ndvi", data=ref("load"), nir="nir", red="red"),
        "median": node(
            "reduce_dimension", True, data=ref("ndvi"), dimension="t", reducer=callback("median")
        ),
    }
    return OverSynthetic(job_of(nodes).document, large=source)


def large(edge: int) -> Asked:
    days = tuple(f"2020-01-{day:02}T00:00:00Z" for day in range(1, 11))
    return Asked(Grid.of(32633, 0.0, 1e7, 10.0, edge, edge), days)


class StopsAtOnce(Progress):
    """Stops the run before its first block."""

    @override
    def start(self, total: int, unit: str) -> None:
        super().start(total, unit)
        raise Cancelled


def planned(source: Asked, folder: Path) -> tuple[int, float]:
    """Plan a run of blocks of 1024, and return how many there are and the peak of memory."""
    progress = StopsAtOnce()
    pool = Pool("threads", 2, 8_000_000_000)
    tracemalloc.start()
    with pytest.raises(Cancelled):
        batch.run(job_over(source), Workspace(folder), folder, pool=pool, progress=progress)
    _, used = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return progress.total, used


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("kept", [0, 3])
def test_a_million_blocks_are_planned_with_little_memory_and_few_questions(tmp_path: Path, kept):
    source = large(1_024_000)
    for number in range(kept):
        FolderDepot(tmp_path).write(kept_name(number, number + 1))

    blocks, used = planned(source, tmp_path)

    assert blocks == 1_000_000
    assert used < 20e6
    assert source.calls.count("version") == 1
    # Of one block: its memory, what it leaves of that, and how blocks are ordered.
    assert source.calls.count("cost") <= 3
    assert "read" not in source.calls


def test_a_block_too_large_for_memory_is_refused_after_few_questions(tmp_path: Path):
    source = large(1_024_000)

    with pytest.raises(PlanTooLarge, match="--block"):
        batch.run(
            job_over(source), Workspace(tmp_path), tmp_path / "out", block=4096,
            pool=Pool("threads", 1, 1_000_000),
        )  # fmt: skip

    assert len(source.calls) < 20
    assert not (tmp_path / "out").exists()


def test_more_blocks_than_can_be_counted_are_refused_with_the_way_out(tmp_path: Path):
    with pytest.raises(PlanTooLarge, match=r"--resolution.*larger --block"):
        batch.run(
            job_over(large(1_024_000)), Workspace(tmp_path), tmp_path / "out", block=64,
            pool=Pool("threads", 1, 8_000_000_000),
        )  # fmt: skip

    assert not (tmp_path / "out").exists()


class Ends(Progress):
    """Stops the run after some blocks, and remembers which were there already."""

    def __init__(self, blocks: int) -> None:
        self.blocks, self.resumed = blocks, 0

    @override
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.done == self.blocks:
            raise Cancelled

    @override
    def resume(self, count: int = 1) -> None:
        super().resume(count)
        self.resumed += count


def test_the_version_of_a_block_is_looked_at_when_it_is_reached(tmp_path: Path):
    # More blocks than are handed out by then, so that the worker cannot be through with all.
    source, one, count = large(160), Pool("threads", 1), 16 * 16
    workspace = Workspace(tmp_path)
    with pytest.raises(Cancelled):
        batch.run(job_over(source), workspace, tmp_path, block=10, pool=one, progress=Ends(40))
    source.calls.clear()

    seen = Ends(-1)
    made = batch.run(job_over(source), workspace, tmp_path, block=10, pool=one, progress=seen)

    assert made.blocks == seen.done == count
    assert 40 <= made.resumed == seen.resumed < count
    assert source.calls.count("version") == 1 + count
    assert source.calls.count("read") == count - made.resumed


def test_the_next_block_is_announced_to_sources_that_want_to_know(tmp_path: Path):
    announced: list[Window] = []

    @dataclass(frozen=True)
    class Told(SyntheticSource):
        def prefetch(self, grid: Grid, window: Window, labels: Any, method: str) -> None:
            del grid, labels, method
            announced.append(window)

    source = Told(Grid.of(32633, 0.0, 1e7, 10.0, 30, 40))
    pool = Pool("threads", 1)

    batch.run(job_over(source), Workspace(tmp_path), tmp_path, block=10, pool=pool)

    read = [window for window, _ in source.reads]
    assert read == list(Blocks(source.extent, 10))
    assert announced == read[1:]


def test_a_run_whose_extent_is_off_the_blocks_gives_the_pixels_of_the_whole(tmp_path: Path):
    source = large(90)
    job = job_over(source)
    box = (203.0, 1e7 - 610.0, 777.0, 1e7 - 133.0)
    part = OverSynthetic(job.document, box, "EPSG:32633", large=source)
    plan: Plan = part.plan(part.infer(Workspace(tmp_path)))

    made = batch.run(part, Workspace(tmp_path), tmp_path / "part", block=16)
    whole = evaluate(plan, plan.window)

    assert plan.window == Window(13, 20, 48, 58)
    assert made.blocks == 4 * 4  # rows 0 to 3 and columns 1 to 4 of blocks
    with rasterio.open(made.assets[0].path) as file:
        pixels = file.read(1)
    np.testing.assert_array_equal(np.isnan(pixels), ~whole.valid)
    np.testing.assert_array_equal(pixels[whole.valid], whole.values[whole.valid])


def test_the_files_do_not_depend_on_who_computes_and_compresses(tmp_path: Path):
    job, files = job_over(large(600)), set()

    for workers in (1, 2, 5):
        folder = tmp_path / str(workers)
        pool = Pool("threads", workers)
        made = batch.run(job, Workspace(tmp_path), folder, block=100, pool=pool)
        files.add(made.assets[0].path.read_bytes())

    assert len(files) == 1
