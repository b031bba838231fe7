"""What an extraction is asked to do, and all that is known of it before a pixel is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypedDict

import numpy as np

from terrazzo.drivers.depot import FolderDepot
from terrazzo.drivers.extraction.asked import Asked
from terrazzo.drivers.extraction.cut import BY, Cutter, cutter
from terrazzo.drivers.extraction.placed import Placed
from terrazzo.drivers.extraction.polygons import fingerprint, same_polygons, take_in
from terrazzo.drivers.extraction.record import FILE, Record, recorded
from terrazzo.drivers.extraction.statistics import DEFAULT
from terrazzo.drivers.extraction.weights import check_weighing
from terrazzo.drivers.extraction.work import Work
from terrazzo.drivers.extraction.workers import Sent
from terrazzo.errors import ArgumentInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from terrazzo.drivers.extraction.code import ParcelCode
    from terrazzo.drivers.extraction.samples import Sampling
    from terrazzo.drivers.extraction.scenes import Scene
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.stages import Means
    from terrazzo.geo.runs import How
    from terrazzo.progress import Progress


class Wanted(TypedDict, total=False):
    """What may be asked of an extraction."""

    statistics: Sequence[str]
    """Which, see `drivers.extraction.statistics`; `DEFAULT` unless told."""
    code: ParcelCode | None
    """Reduces the pixels of a polygon in place of statistics."""
    sampling: Sampling | None
    """Which pixels become rows themselves, in place of statistics."""
    by: str
    """`date`, on the graph's grid (the default); or `image`, each on its own grid."""
    how: How
    """What a pixel weighs: `exact` (the default), `centre` or `touched`."""
    around: int
    """Edge of the square of pixels that a point has, odd; 1 unless told."""
    buffer_m: float
    """By how much polygons are grown first, metres; negative shrinks."""
    id_column: str
    """Attribute that names the polygons; their position otherwise."""
    crs: str
    """CRS of the polygons where the file has none."""


@dataclass(frozen=True, slots=True)
class Given:
    """What an extraction is asked to do."""

    job: Job
    """The graph and where to run it."""
    workspace: Workspace
    """Where its collections are."""
    polygons: Path
    """File of the polygons."""
    asked: Asked
    """What is made of the pixels."""
    by: str
    """`date` or `image`."""
    id_column: str
    """Attribute that names the polygons."""
    crs: str
    """CRS of the polygons where the file has none."""

    @classmethod
    def of(cls, job: Job, workspace: Workspace, polygons: Path, wanted: Wanted) -> Self:
        """Check what is asked for.

        Raises:
            ArgumentInvalid: it contradicts itself, or there is no such file.
        """
        by = wanted.get("by", BY[0])
        if by not in BY:
            raise ArgumentInvalid(f"A graph is cut by {' or '.join(BY)}, not by {by!r}.")
        if not polygons.is_file():
            raise ArgumentInvalid(
                f"{polygons.name!r} is no file of polygons. Give a GeoPackage, Shapefile, GeoJSON "
                "or GeoParquet file."
            )
        asked = Asked.of(
            wanted.get("statistics", DEFAULT),
            wanted.get("code"),
            wanted.get("sampling"),
            how=wanted.get("how", "exact"),
            around=wanted.get("around", 1),
            buffer_m=wanted.get("buffer_m", 0.0),
        )
        named = wanted.get("id_column", ""), wanted.get("crs", "")
        return cls(job, workspace, polygons.absolute(), asked, by, *named)

    def record(self) -> Record:
        """Return what decides the numbers."""
        told = {
            "file": self.polygons.name,
            "file:checksum": fingerprint(self.polygons),
            "id": self.id_column,
            "crs": self.crs,
        }
        return Record(self.job, told, self.asked.told(), self.by)

    def _recorded(self, folder: Path) -> Record:
        """Return what decides the numbers; polygons written anew are those that the folder has."""
        mine = self.record()
        if not (folder / FILE).exists():
            return mine
        theirs = recorded(folder)
        known = replace(mine, polygons=theirs.polygons)
        same = known.digest == theirs.digest and mine.digest != theirs.digest
        named = all(mine.polygons[key] == theirs.polygons.get(key) for key in ("id", "crs"))
        if same and named and same_polygons(self.polygons, folder, self.id_column, self.crs):
            return known
        return mine

    def prepared(self, folder: Path, means: Means) -> tuple[Extraction, tuple[str, ...]]:
        """Look at everything and read no pixel, but for stages; returns items left out of those.

        Raises:
            GraphInvalid, ArgumentInvalid: bad input.
            RunDiffers: the folder holds another extraction.
        """
        check_weighing(self.asked.how, self.asked.around, means.block)
        record = self._recorded(folder)
        record.check(folder)
        whole = self.asked.code is not None
        cut, skipped = cutter(self.job, self.workspace, means, by=self.by, whole=whole)
        return Extraction(self, record, cut, folder, means), skipped


@dataclass(frozen=True, slots=True)
class Extraction:
    """An extraction of which everything but the pixels is known."""

    given: Given
    """What it is asked to do."""
    record: Record
    """What decides its numbers."""
    cut: Cutter
    """Cuts the graph into scenes."""
    folder: Path
    """Where it is kept."""
    means: Means
    """What it is carried out with."""

    def work(self, folder: Path) -> Work:
        """Take in the polygons into a folder; return what scenes are computed with."""
        given = self.given
        polygons = take_in(
            given.polygons, folder, id_column=given.id_column, crs=given.crs,
            buffer_m=given.asked.buffer_m,
        )  # fmt: skip
        how, around = given.asked.how, given.asked.around
        placed = Placed(folder, polygons, self.stamp, how, around, self.means.block)
        return Work(self.cut, given.asked, placed, self.means)

    @property
    def stamp(self) -> str:
        """What changes when the polygons do."""
        return str(self.record.polygons)

    def sent(self) -> Sent:
        """Return what each worker of another process opens the same work with."""
        given, pool = self.given, self.means.pool
        return Sent(
            given.job,
            given.workspace,
            FolderDepot(self.folder.absolute()),
            given.by,
            given.asked,
            self.stamp,
            self.means.block,
            pool.memory_bytes // pool.size,
        )


def places(scenes: Sequence[Scene]) -> tuple[Scene, ...]:
    """Return one scene of every grid."""
    return tuple({(one.grid, one.window): one for one in reversed(scenes)}.values())[::-1]


def weighed(
    work: Work, scenes: Sequence[Scene], progress: Progress
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Weigh the pixels of all grids; return which polygons have any, and the cells of each scene.

    Raises:
        ArgumentInvalid: the edge of a cell is no multiple of 256, or the like.
        OutputFailed: the weights cannot be kept.
    """
    covered = np.zeros(len(work.placed.polygons), np.bool_)
    cells: dict[str, int] = {}
    for scene in scenes:
        weights = work.placed.weights(scene.grid, scene.window, work.means.pool.size, progress)
        cells[scene.key] = len(weights.cells)
    for scene in places(scenes):
        covered |= work.placed.weights(scene.grid, scene.window).fragments > 0
    work.placed.polygons.forget()
    return covered, cells
