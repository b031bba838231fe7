"""Profiles: where the time and the memory of a run, or of a map tile, go, and what it read.

A profile is the run itself, with somebody listening (`spans`): nothing is computed in another
way than `batch.run` or a tile does it.
"""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from numba.core import event
from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.measured import Measured, Memory, Profile, Reading, Workers, parts_of
from terrazzo.drivers.memory import forget_peak, resident
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.record import RECORD
from terrazzo.drivers.stages import Means, settled
from terrazzo.drivers.tile import MERCATOR, TileLayer, View
from terrazzo.engine import cost, demand
from terrazzo.engine.demand import central_block, nothing_wanted
from terrazzo.errors import ArgumentInvalid, RunIncomplete, SpatialExtentEmpty
from terrazzo.processes import Role
from terrazzo.progress import Passing, Progress
from terrazzo.spans import recorded, span
from terrazzo.storage.needed import needed
from terrazzo.storage.source import RasterSource
from terrazzo.storage.writers.picture import Style

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.engine import Inference, Plan
    from terrazzo.geo.grid import Window
    from terrazzo.spans import Recorder
    from terrazzo.storage.gate import AssetName

SHOWN = View(Style())
"""What a tile that is profiled shows: the last date, in grey or in colours."""
TILE_REPEATS = 5
"""How often a tile is computed unless told: it takes milliseconds, which vary."""


def profile(
    job: Job,
    workspace: Workspace,
    *,
    block: int = 1024,
    pool: Pool | None = None,
    folder: Path | None = None,
    repeat: int = 1,
    progress: Progress | None = None,
) -> Profile:
    """Run a job as `batch.run` does and tell where its time and memory went.

    Args:
        job: the graph and where to run it.
        workspace: where its collections are.
        block: edge of a block, pixels.
        pool: who computes: threads, on all cores by default.
        folder: where results go; by default into a temporary folder that is deleted.
        repeat: how often to run; told is the run whose CPU time is the median.
        progress: told about every block; may raise `Cancelled` to stop.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable: bad input, processes instead of threads, or
            a folder that holds a run already.
        PlanTooLarge: a block would need more memory than a worker has; before any read.
        OutputFailed: the results cannot be written.
        RunIncomplete: some blocks failed, so that there is nothing whole to tell of.
    """
    pool = pool or Pool()
    if pool.kind != "threads":
        raise ArgumentInvalid(
            f"Only threads can be listened to, not {pool.kind}. Profile with Pool('threads', ...); "
            "the work is the same."
        )
    if repeat < 1:
        raise ArgumentInvalid(f"A profile runs at least once, not {repeat} times.")
    if folder is not None and (folder / RECORD).exists():
        raise ArgumentInvalid(
            f"{folder} holds a run, of which blocks may be done already. Choose another folder "
            "with -o, or none."
        )
    shown = progress or Progress()
    heard = [_listen_to_run(job, workspace, folder, block, pool, shown)]
    heard += [_listen_to_run(job, workspace, None, block, pool, shown) for _ in range(repeat - 1)]
    inference = job.infer(workspace)
    plans = list(_plans(job, inference, Means(block, pool, shown)))
    reads = _Needs()
    for plan, whole in plans:
        reads.add(plan, plan.window, whole=whole)
    one = max(cost(plan, central_block(plan, block)).memory_bytes for plan, _ in plans)
    chosen = _median(heard)
    return Profile(
        inference.graph.digest,
        f"result: {inference.graph.result}, blocks of {block} pixels",
        (chosen.measured("run", reads, one, workspace.cache_bytes),),
        repeat,
    )


def profile_tile(
    job: Job, workspace: Workspace, tile: tuple[int, int, int], *, repeat: int = TILE_REPEATS
) -> Profile:
    """Compute one map tile three times and tell where its time went.

    `first` begins with nothing: the graph is read, the catalogue searched, files are opened.
    `cold` knows all that and finds no decoded pixels in the cache; `warm` finds them there. Each
    ends with a PNG.

    Args:
        job: the graph; a tile says itself where it is, so the job must not.
        workspace: where its collections are.
        tile: (zoom, x, y) in Web Mercator.
        repeat: how often it is computed cold and warm; told are the medians by CPU time.

    Raises:
        GraphInvalid, ArgumentInvalid, NoDataAvailable: bad input, or the tile is not in the matrix.
        SpatialExtentEmpty: the graph has no pixels in the tile.
        SourceUnreadable: a file is corrupt or gone.
    """
    if job.bbox is not None or job.resolution or job.crs:
        raise ArgumentInvalid(
            "A tile says where and how finely it is computed: leave out --bbox, --resolution and "
            "--crs."
        )
    if job.exact:
        raise ArgumentInvalid("The pixels of a tile are interpolated: leave out --exact.")
    if repeat < 1:
        raise ArgumentInvalid(f"A profile computes a tile at least once, not {repeat} times.")
    zoom, x, y = tile
    layers: list[TileLayer] = []

    def first() -> None:
        layers.append(TileLayer(job.infer(workspace)))
        again()

    def again() -> None:
        layers[-1].picture(MERCATOR, zoom, x, y, view=SHOWN, format_name="png")

    opening = _listen(first)
    layer = layers[-1]
    plan, window = _tile_plan(layer, tile)
    cold, warm = [], []
    for _ in range(repeat):
        for source in _sources(plan):
            source.reader.cache.clear()
        cold.append(_listen(again))
        warm.append(_listen(again))
    reads = _Needs()
    reads.add(plan, window, whole=True)
    one = cost(plan, window).memory_bytes
    return Profile(
        layer.digest,
        f"Web Mercator tile {zoom}/{x}/{y} as PNG",
        tuple(
            heard.measured(name, reads, one, workspace.cache_bytes)
            for name, heard in (
                ("first", opening),
                ("cold", _median(cold)),
                ("warm", _median(warm)),
            )
        ),
        repeat,
    )


def _listen_to_run(
    job: Job, workspace: Workspace, folder: Path | None, block: int, pool: Pool, shown: Progress
) -> _Heard:
    """Run once, into a folder or one that is deleted."""
    watched = _Watched(shown)
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="terrazzo-"))
        place = folder or Path(name) / "run"
        try:
            heard = _listen(
                lambda: batch.run(job, workspace, place, block=block, pool=pool, progress=watched)
            )
        except RunIncomplete as error:
            if folder is not None:
                raise
            raise RunIncomplete(
                "Some blocks failed, so there is nothing whole to tell of, and nothing is kept. "
                f"{str(error).partition('First reason: ')[2].rpartition(' Run the same')[0]}"
            ) from error
    heard.workers = watched.workers(pool.size)
    return heard


def _tile_plan(layer: TileLayer, tile: tuple[int, int, int]) -> tuple[Plan, Window]:
    """Return the plan of a tile and its window.

    Raises:
        SpatialExtentEmpty: the graph has no pixels there; names a tile where it has.
    """
    zoom, x, y = tile
    matrix = layer.matrix(MERCATOR)
    window, plan = matrix.window(zoom, x, y), layer.plan(MERCATOR, zoom, SHOWN)
    if plan is not None and not plan.window.intersection(window).is_empty:
        return plan, window
    there = ""
    if plan is not None:
        columns, rows = matrix.covering(plan.grid, plan.window, zoom)
        there = f" Tile {zoom}/{columns[len(columns) // 2]}/{rows[len(rows) // 2]} has some."
    raise SpatialExtentEmpty(f"The graph has no pixels in tile {zoom}/{x}/{y}.{there}")


def _plans(job: Job, inference: Inference, means: Means) -> Iterator[tuple[Plan, bool]]:
    """Yield the plans that a run carries out, and whether all pixels of each are computed."""
    outputs = batch.output_nodes(inference)
    inference, _ = settled(job, inference, outputs, means)
    for node in outputs:
        if inference.cube(node).grid is not None:
            yield job.plan(inference, node), True
    for bound in inference.nodes.values():
        if bound.process.role is Role.STAGE and bound.inputs:
            yield job.plan(inference, next(iter(bound.inputs.values()))), False


def _sources(plan: Plan) -> list[RasterSource]:
    found = [step.bound.source for step in plan.steps if step.reads]
    return [source for source in found if isinstance(source, RasterSource)]


class _Needs:
    """Adds up what plans need of their files."""

    def __init__(self) -> None:
        self.pixels: int | None = 0
        self.assets: set[AssetName] = set()

    def add(self, plan: Plan, window: Window, *, whole: bool) -> None:
        """Add a window of a plan, of which all pixels are computed or only some."""
        wanted = demand(plan, window)
        for number, step in enumerate(plan.steps):
            here, source = wanted.windows[number], step.bound.source
            if not step.reads or step.grid is None or nothing_wanted(step, here):
                continue
            if isinstance(source, RasterSource):
                found = needed(source, step.grid, here, step.wanted, step.method)
                self.pixels = None if self.pixels is None else self.pixels + found.pixels
                self.assets |= found.assets
        if not whole:
            self.pixels = None


class _Watched(Passing):
    """Passes progress on, and takes the time from the first block to the last."""

    def __init__(self, shown: Progress) -> None:
        super().__init__(shown)
        self._blocks, self._cpu, self._wall = 0, 0.0, 0.0
        self._begun = time.process_time(), time.perf_counter()

    @override
    def start(self, total: int, unit: str) -> None:
        self._blocks += total
        self._begun = time.process_time(), time.perf_counter()
        super().start(total, unit)

    @override
    def finish(self) -> None:
        self._cpu += time.process_time() - self._begun[0]
        self._wall += time.perf_counter() - self._begun[1]
        super().finish()

    def workers(self, count: int) -> Workers:
        """Return who computed the blocks."""
        return Workers(count, self._blocks, self._cpu, self._wall)


@dataclass(slots=True)
class _Heard:
    """What was measured while something ran."""

    recorder: Recorder
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    before_bytes: int
    resets: bool
    workers: Workers | None = None

    def measured(self, name: str, needs: _Needs, block_bytes: int, cache_bytes: int) -> Measured:
        """Put it beside what the plan says."""

        def count(what: str) -> int:
            return round(self.recorder.counts.get(what, 0))

        return Measured(
            name,
            self.cpu_seconds,
            self.wall_seconds,
            parts_of(self.recorder),
            Reading(
                needs.pixels,
                count("pixels_requested"),
                count("pixels_decoded"),
                count("bytes_decoded"),
                count("tiles_decoded"),
                count("tiles_found"),
                len(needs.assets),
                sum(asset.stamp[1] for asset in needs.assets),
            ),
            Memory(self.peak_bytes, self.before_bytes, self.resets, block_bytes, cache_bytes),
            self.workers,
        )


class _Compiling(event.Listener):
    """Makes a span, `compile`, of compiling kernels and of loading them from their cache."""

    def __init__(self) -> None:
        self._thread = threading.local()

    @override
    def on_start(self, event: event.Event) -> None:
        depth = getattr(self._thread, "depth", 0)
        if not depth:
            self._thread.span = span("compile").__enter__()
        self._thread.depth = depth + 1

    @override
    def on_end(self, event: event.Event) -> None:
        self._thread.depth -= 1
        if not self._thread.depth:
            self._thread.span.__exit__()


def _listen(work: Callable[[], object]) -> _Heard:
    resets = forget_peak()
    before, _ = resident()
    compiling = event.install_listener("numba:compiler_lock", _Compiling())
    with recorded() as recorder, compiling:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    _, peak = resident()
    return _Heard(recorder, cpu, wall, peak, before, resets)


def _median(heard: Sequence[_Heard]) -> _Heard:
    """Return the one in the middle by CPU time; of two the quicker one."""
    return sorted(heard, key=lambda one: one.cpu_seconds)[(len(heard) - 1) // 2]
