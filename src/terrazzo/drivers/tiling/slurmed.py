"""A run on a tile grid as jobs of Slurm: each takes its share of the tiles, then helps others.

They know each other by the folder of the run alone: whoever makes a tile holds its lock there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.about import About
from terrazzo.drivers.described import FILE as DESCRIBED
from terrazzo.drivers.job import Job
from terrazzo.drivers.pool import Pool
from terrazzo.drivers.slurm import carried_out, written
from terrazzo.drivers.tiling.run import prepared, run
from terrazzo.drivers.watching.report import Facts, reported
from terrazzo.drivers.watching.status import STATUS
from terrazzo.errors import ArgumentInvalid, RunIncomplete
from terrazzo.geo.tile_grids import tile_grid
from terrazzo.storage.writers.files import output_failed, whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from terrazzo.drivers.batch import RunResult
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.shares import Share
    from terrazzo.drivers.slurm import Slurm
    from terrazzo.drivers.tiling.work import Tilewise
    from terrazzo.progress import Progress

FILE: Final = "tiles-order.json"
_ASIDE: Final = "failed.txt"
"""In the folder of a tile that failed: why."""


@dataclass(frozen=True, slots=True)
class TilesOrder:
    """What is run on which tile grid, and how much of its machine a worker may use."""

    job: Job
    """The graph and where to run it."""
    tiles: str
    """The tile grid, as text."""
    assemble: bool
    """Whether tiles are also made one file."""
    block: int
    """Edge of a block, pixels."""
    threads: int
    """Of each worker."""
    memory_bytes: int
    """Of each worker, for the blocks of its threads."""
    about: About = field(default_factory=About)
    """What is said of the results."""

    @property
    def pool(self) -> Pool:
        """What a worker works with."""
        return Pool("threads", self.threads, self.memory_bytes)

    def prepared(self, workspace: Workspace, folder: Path, progress: Progress) -> Tilewise:
        """Begin the run, or go on with it; one tile at a time has all threads.

        Raises:
            As for `run`.
        """
        grid, pool = tile_grid(self.tiles, self.job.resolution), self.pool
        work = prepared(
            self.job, workspace, folder, grid, self.block, pool, progress, self.about
        )  # fmt: skip
        return work.with_pool(pool)

    def write(self, folder: Path) -> None:
        """Write it into the folder of its run.

        Raises:
            OutputFailed: the folder cannot be written to.
        """
        path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_failed(path, error) from error
        with whole_file(path) as part:
            part.write_text(json.dumps(asdict(self), indent=1, sort_keys=True))

    @classmethod
    def read(cls, folder: Path) -> TilesOrder:
        """Read that of a run.

        Raises:
            ArgumentInvalid: the folder holds none, or a damaged one.
        """
        path = folder / FILE
        try:
            told: dict[str, Any] = json.loads(path.read_text())
            job = Job.read(told.pop("job"))
            return cls(job, **{**told, "about": About(**told["about"])})
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise ArgumentInvalid(
                f"{path} is damaged ({error}). Give the command that began the run once more."
            ) from error


@dataclass(frozen=True, slots=True)
class TileParts:
    """The tiles of a run that others make."""

    work: Tilewise
    unit: str = "tiles"

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.work.tiles)

    def there(self) -> int:
        """Return how many have been made."""
        return sum((self.work.place(n) / DESCRIBED).exists() for n in range(self.count))

    def aside(self) -> int:
        """Return how many were set aside."""
        return sum((self.work.place(n) / _ASIDE).exists() for n in range(self.count))


def by_slurm(
    order: TilesOrder,
    workspace: Workspace,
    slurm: Slurm,
    progress: Progress,
    *,
    follow: bool = True,
) -> RunResult | None:
    """Have a run done by Slurm, and watch it until its results are there.

    Args:
        order: what is run.
        workspace: where its collections are.
        slurm: with what.
        progress: told about the tiles; may raise `Cancelled` to stop.
        follow: whether to wait; without, the run goes on by itself, and None is returned.

    Raises:
        As for `run`; and ClusterUnusable: Slurm is not here, refuses, or does not answer.
    """
    parts = _submitted(order, workspace, slurm.folder, progress)
    facts = Facts(workspace.home, order.about.title, "slurm", slurm.tasks)
    with reported(progress, slurm.run, facts) as told:
        if not carried_out(slurm, parts, told, follow=follow):
            slurm.run.delete([STATUS])  # nobody here tells how it is any more
            return None
        return finished(order, workspace, slurm.folder, told)


def scripts(
    order: TilesOrder, workspace: Workspace, slurm: Slurm, progress: Progress
) -> dict[str, Path]:
    """Write what Slurm would be given, and submit nothing; return the scripts in their order.

    Raises:
        As for `by_slurm`, but for Slurm, which is not asked.
    """
    return written(slurm, _submitted(order, workspace, slurm.folder, progress))


def _submitted(
    order: TilesOrder, workspace: Workspace, folder: Path, progress: Progress
) -> TileParts:
    """Begin a run, or go on with it; what failed or has changed counts as missing."""
    work = order.prepared(workspace, folder, progress)
    for number in range(len(work.tiles)):
        place = work.place(number)
        (place / _ASIDE).unlink(missing_ok=True)
        if (place / DESCRIBED).exists() and not work.is_finished(number):
            (place / DESCRIBED).unlink()
    order.write(folder)
    return TileParts(work)


def finished(
    order: TilesOrder, workspace: Workspace, folder: Path, progress: Progress
) -> RunResult:
    """Publish the tiles, and make what is left; says what is wrong with those that fail.

    Raises:
        As for `run`.
    """
    return run(
        order.job, workspace, folder, tile_grid(order.tiles, order.job.resolution),
        block=order.block, pool=order.pool, progress=progress, about=order.about,
        assemble=order.assemble,
    )  # fmt: skip


def help_with(
    order: TilesOrder, workspace: Workspace, folder: Path, share: Share, progress: Progress
) -> int:
    """Make the tiles of a share, then those of others that nobody makes; return how many.

    What fails is set aside with its reason, and the rest goes on.

    Raises:
        As for `run`.
    """
    work = order.prepared(workspace, folder, progress)
    made = failed = 0
    with progress:
        progress.start(len(work.tiles), "tiles")
        for number in _missing(work, share):
            tile = work.make(number, 0)
            if tile.error:
                failed += 1
                with whole_file(work.place(number) / _ASIDE) as part:
                    part.write_text(tile.error)
                progress.fail(f"tile {work.tiles[number].name}", tile.error, tile.reason)
                continue
            made += not tile.resumed
            progress.advance()
    if failed:
        raise RunIncomplete(
            f"{failed} tiles failed and were set aside; {made} were made. The reasons are in "
            f"{folder}. When they are mended, give the command that began the run once more."
        )
    return made


def _missing(work: Tilewise, share: Share) -> Iterator[int]:
    """Yield the missing tiles of a share in order, then those of others from the end."""
    count = len(work.tiles)
    ours = share.numbers(count)
    for number in (*ours, *reversed(range(ours.stop, count)), *reversed(range(ours.start))):
        ended = any((work.place(number) / name).exists() for name in (DESCRIBED, _ASIDE))
        if not ended and (number in ours or not work.is_held(number)):
            yield number
