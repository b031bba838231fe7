"""Extract: polygons x images to a table, scene by scene.

Every graph that gives a raster can be extracted. Its scenes, dates or images, are computed one
after the other; what is done is kept, so that an extraction can be stopped at any moment, goes on
where it was, and takes in what is new when it is given again.
"""

from __future__ import annotations

import shutil
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pyarrow.parquet as pq

from terrazzo import logs
from terrazzo.drivers.about import About
from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.described import describe
from terrazzo.drivers.extraction.handed import handed_over, sweep
from terrazzo.drivers.extraction.outlook import Outlook, foreseen
from terrazzo.drivers.extraction.parts import ASIDE, TABLE
from terrazzo.drivers.extraction.polygons import FILE as POLYGONS
from terrazzo.drivers.extraction.polygons import GEOMETRY
from terrazzo.drivers.extraction.prepared import Given, Wanted, places, weighed
from terrazzo.drivers.extraction.scenes import DONE, scene_table
from terrazzo.drivers.extraction.work import by_threads
from terrazzo.drivers.extraction.workers import by_workers, workers
from terrazzo.drivers.journal import write_journal
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.results import MEDIA_TYPES, Asset
from terrazzo.drivers.stages import Means
from terrazzo.errors import RunIncomplete, SpatialExtentEmpty
from terrazzo.progress import Progress
from terrazzo.storage.vectors.features import columns_of
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from terrazzo.drivers.extraction.polygons import Polygons
    from terrazzo.drivers.extraction.prepared import Extraction
    from terrazzo.drivers.extraction.scenes import Scene, SceneTable
    from terrazzo.drivers.extraction.work import Outcome, Work
    from terrazzo.drivers.job import Job, Workspace

SOURCE = "terrazzo:polygons"
"""Property of the items that names the file of the polygons."""
_LISTED = 10


@dataclass(frozen=True, slots=True)
class ExtractResult:
    """What an extraction made."""

    table: Path
    """Folder of the table: Parquet files, one per scene, by date."""
    rows: int
    """Rows of the table."""
    polygons_file: Path
    """GeoParquet of the polygons, as they were reduced."""
    polygons: int
    """Polygons that were read."""
    outside: tuple[Any, ...]
    """Ids of the polygons that cover no pixel of any scene; they have no rows."""
    repaired: tuple[Any, ...]
    """Ids of the polygons with invalid rings, which were repaired first."""
    skipped: tuple[str, ...]
    """Items that could not be read and were left out (`skip_bad`)."""
    scenes: int
    """Dates or images."""
    resumed: int
    """Scenes that an earlier run had done."""
    log: tuple[logs.Entry, ...] = ()
    """What the graph logged."""


def extract(
    job: Job,
    workspace: Workspace,
    polygons: Path,
    folder: Path,
    *,
    block: int = 1024,
    pool: Pool | None = None,
    progress: Progress | None = None,
    **wanted: Unpack[Wanted],
) -> ExtractResult:
    """Reduce a job's raster under polygons, and keep a tidy table of it in a folder.

    Given again, it computes only what is missing, new or made of images that have changed, and
    drops the rows of images that the graph does not select any more.

    Args:
        job: the graph and where to run it.
        workspace: where its collections are.
        polygons: polygons, lines or points: GeoParquet, GeoPackage, Shapefile or GeoJSON.
        folder: where the table goes.
        block: edge of a cell, pixels, a multiple of 256.
        pool: threads or processes, and memory.
        progress: told about every cell.
        **wanted: what is made of which pixels, see `Wanted`.

    Raises:
        GraphInvalid, ArgumentInvalid: bad input, before any read.
        PlanTooLarge: a cell would need more memory than is allowed; before any read.
        SpatialExtentEmpty: no polygon covers a pixel.
        RunDiffers: the folder holds another extraction.
        RunIncomplete: some scenes failed, or a worker was killed; the others are kept.
        OutputFailed: the table cannot be written.
        UdfFailed, UdfInvalid, UdfRefused: the code cannot be run, or returns what does not fit.
    """
    means = Means(block, pool or Pool(), progress or Progress(), FolderDepot(folder))
    return extracted(Given.of(job, workspace, polygons, wanted), folder, means)


def extracted(given: Given, folder: Path, means: Means) -> ExtractResult:
    """Carry out what is asked for, see `extract`; what others have handed over is taken.

    Raises:
        As for `extract`.
    """
    with logs.collected() as log:
        extraction, skipped = given.prepared(folder, means)
        with _at_work(folder, extraction) as table:
            made = _extracted(extraction, table, skipped, log)
            shutil.rmtree(folder / ASIDE, ignore_errors=True)
    return made


def begun(given: Given, folder: Path, means: Means) -> tuple[Scene, ...]:
    """Begin an extraction, or go on with it, for others to carry out; return what is to be done.

    Raises:
        As for `extract`.
    """
    extraction, _ = given.prepared(folder, means)
    with _at_work(folder, extraction) as table:
        return _planned(extraction, table).todo


def outlook(
    job: Job,
    workspace: Workspace,
    polygons: Path,
    folder: Path,
    *,
    block: int = 1024,
    pool: Pool | None = None,
    progress: Progress | None = None,
    **wanted: Unpack[Wanted],
) -> Outlook:
    """Say what `extract` would do and cost; writes nothing, and reads no pixel, but for stages.

    Takes what `extract` takes.

    Raises:
        GraphInvalid, ArgumentInvalid: bad input.
        RunDiffers: the folder holds another extraction.
    """
    means = Means(block, pool or Pool(), progress or Progress())
    return outlook_of(Given.of(job, workspace, polygons, wanted), folder, means)


def outlook_of(given: Given, folder: Path, means: Means) -> Outlook:
    """Say what `extracted` would do and cost, see `outlook`.

    Raises:
        As for `outlook`.
    """
    means = replace(means, depot=None)  # nothing is written there
    with TemporaryDirectory(prefix="terrazzo-extract-") as aside:
        extraction, _ = given.prepared(folder, means)
        return foreseen(extraction, Path(aside))


@contextmanager
def _at_work(folder: Path, extraction: Extraction) -> Iterator[SceneTable]:
    """Begin in a folder, or go on in it, alone."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_failed(folder, error) from error
    with scene_table(folder) as table:
        extraction.record.check(folder)
        try:
            sweep(folder)
            yield table
        finally:
            table.wait()


@dataclass(frozen=True, slots=True)
class _Planned:
    """An extraction whose polygons are weighed."""

    work: Work
    scenes: tuple[Scene, ...]
    todo: tuple[Scene, ...]
    """Those of the scenes that are still to be done."""
    covered: NDArray[np.bool_]
    """Which polygons have a pixel."""
    cells: dict[str, int]
    """Of each scene."""


def _planned(extraction: Extraction, table: SceneTable) -> _Planned:
    """Weigh the polygons, and see what there is to do."""
    folder, progress = extraction.folder, extraction.means.progress
    work = extraction.work(folder)
    scenes = extraction.cut.scenes(progress)
    covered, cells = weighed(work, scenes, progress)
    if not covered.any():
        raise _beside(scenes, work.placed.polygons, extraction.given.polygons.name)
    for scene in places(scenes):
        work.check(scene)
    extraction.record.keep(folder)
    todo = table.plan(scenes, skip_bad=extraction.given.job.skip_bad)
    for outcome in handed_over(folder, todo):
        _put(folder, table, outcome)
    todo = table.plan(scenes, skip_bad=extraction.given.job.skip_bad)
    return _Planned(work, scenes, todo, covered, cells)


def _extracted(
    extraction: Extraction, table: SceneTable, skipped: Sequence[str], log: logs.Log
) -> ExtractResult:
    folder, progress = extraction.folder, extraction.means.progress
    planned = _planned(extraction, table)
    work, scenes, todo, covered = planned.work, planned.scenes, planned.todo, planned.covered
    polygons = work.placed.polygons
    reasons = _computed(extraction, planned, table)
    done = [one for one in table.all() if one.state == DONE]
    logs.retell(_told(table), again=True)
    left_out = sorted({*skipped, *(item for one in done for item in one.made.skipped)})
    _describe(extraction, work, table, left_out)
    write_journal(FolderDepot(folder), log.all(), progress)
    if reasons:
        raise _incomplete(reasons, len(scenes), folder)
    return ExtractResult(
        folder / TABLE,
        sum(one.made.rows for one in done),
        folder / POLYGONS,
        len(polygons),
        polygons.named(np.flatnonzero(~covered)),
        polygons.named(polygons.repaired),
        tuple(left_out),
        len(scenes),
        len(scenes) - len(todo),
        log.all(),
    )


def _computed(
    extraction: Extraction, planned: _Planned, table: SceneTable
) -> list[tuple[Scene, Outcome]]:
    """Compute the scenes that are still to be done; return those that failed, and why.

    Raises:
        RunIncomplete: a worker was killed.
    """
    folder, progress, pool = extraction.folder, extraction.means.progress, extraction.means.pool
    work, todo, cells = planned.work, planned.todo, planned.cells
    reasons = []

    def begin(scene: Scene) -> None:
        table.begin(scene.key)

    missing = {scene.key for scene in todo}
    try:
        with progress, ExitStack() as stack:
            if pool.kind == "threads":
                outcomes = by_threads(work, todo, begin, progress)
            else:
                others = stack.enter_context(workers(extraction.sent(), pool))
                sizes = [(one, cells[one.key]) for one in todo]
                outcomes = by_workers(others, sizes, begin, progress)
            progress.start(sum(cells.values()), "blocks")
            progress.resume(sum(size for key, size in cells.items() if key not in missing))
            for outcome in outcomes:
                if outcome.error:
                    table.fail(outcome.scene.key, outcome.error)
                    logs.retell(outcome.log)
                    progress.fail(f"scene {outcome.scene.key}", outcome.error, outcome.reason)
                    reasons.append((outcome.scene, outcome))
                else:
                    _put(folder, table, outcome)
    except BrokenExecutor as error:
        raise RunIncomplete(
            "Worker processes end unexpectedly; most likely the system kills them as memory runs "
            f"out, or the scheduler is gone. Of {len(planned.scenes)} scenes those that are done "
            f"are kept in {folder}. Run the same command again, perhaps with fewer --workers, to "
            "compute only what is missing."
        ) from error
    return reasons


def _put(folder: Path, table: SceneTable, outcome: Outcome) -> None:
    """Put the part of a scene into the table: it is done."""
    if outcome.aside is not None:
        path = folder / outcome.scene.file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            outcome.aside.replace(path)
        except OSError as error:
            raise output_failed(path, error) from error
    table.finish(outcome.scene.key, outcome.made)


def _told(table: SceneTable) -> tuple[logs.Entry, ...]:
    """Return what the graph logged in all scenes, those of earlier runs too."""
    whole = logs.Log()
    for one in table.all():
        whole.extend(one.made.log)
    return whole.all()


def _incomplete(
    reasons: Sequence[tuple[Scene, Outcome]], count: int, folder: Path
) -> RunIncomplete:
    names = ", ".join(scene.key for scene, _ in reasons[:_LISTED])
    more = " ..." if len(reasons) > _LISTED else ""
    first = reasons[0][1]
    return RunIncomplete(
        f"{len(reasons)} of {count} scenes failed ({names}{more}); the others are kept in "
        f"{folder}. First reason: {first.error} Run the same command again to compute only what "
        "is missing.",
        first.reason,
    )


def _beside(scenes: Sequence[Scene], polygons: Polygons, name: str) -> SpatialExtentEmpty:
    if not scenes:
        return SpatialExtentEmpty(
            "The graph leaves no image. Widen its extents, or look at what there is with "
            "`terrazzo search`."
        )
    grid, window = scenes[0].grid, scenes[0].window
    return SpatialExtentEmpty(
        f"None of the {len(polygons)} polygons of {name} covers a pixel of the result, which "
        f"covers {grid.bounds_of(window)} of {grid.crs[:40]}. Check the polygons' CRS (--crs), "
        "--buffer and the extent of the graph."
    )


def _describe(
    extraction: Extraction, work: Work, table: SceneTable, skipped: Sequence[str]
) -> None:
    """Describe the polygons and the parts of the table as STAC."""
    folder, polygons = extraction.folder, work.placed.polygons
    schema = pq.read_schema(polygons.path)
    columns = [
        {"name": GEOMETRY, "type": "geometry"} if one["name"] == GEOMETRY else one
        for one in columns_of(schema)
    ]
    box = polygons.degrees
    facts = {
        "roles": ["data"],
        "table:columns": columns,
        "table:row_count": len(polygons),
        "table:primary_geometry": GEOMETRY,
    }
    media = MEDIA_TYPES["parquet"]
    assets = [Asset(polygons.path, media, facts=facts, box=box)]
    for one in table.all():
        path = folder / one.file
        if one.state != DONE or not one.made.rows:
            continue
        facts = {
            "roles": ["data"],
            "table:columns": columns_of(pq.read_schema(path)),
            "table:row_count": one.made.rows,
        }
        digest = one.made.checksum
        assets.append(Asset(path, media, one.t, facts=facts, box=box, checksum=digest))
    told = {SOURCE: {key: extraction.record.polygons[key] for key in ("file", "file:checksum")}}
    inference = extraction.cut.inference
    describe(extraction.given.job, inference, assets, folder, About(), skipped, told)
