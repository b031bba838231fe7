"""A run on a tile grid as jobs elsewhere: each takes its share of the tiles, then helps others.

They know each other by where the run is kept alone. In a folder whoever makes a tile holds its lock
there. A bucket has none: there nobody helps with a tile that somebody else has begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from terrazzo.drivers.described import FILE as DESCRIBED
from terrazzo.drivers.helped import counted
from terrazzo.drivers.stages import Means
from terrazzo.drivers.tiling.run import prepared, run
from terrazzo.drivers.tiling.squares import squares_of
from terrazzo.drivers.tiling.tallied import ASIDE
from terrazzo.drivers.tiling.work import at_once

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from terrazzo.drivers.batch import RunResult
    from terrazzo.drivers.executors import Made
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.order import Order, Where
    from terrazzo.drivers.shares import Share
    from terrazzo.drivers.tiling.tallied import TileTally
    from terrazzo.drivers.tiling.work import Tilewise
    from terrazzo.progress import Progress


@dataclass(frozen=True, slots=True)
class TileParts:
    """The tiles of a run that others make."""

    tally: TileTally
    unit: str = "tiles"

    @property
    def count(self) -> int:
        """How many there are."""
        return self.tally.count

    def there(self) -> int:
        """Return how many have been made."""
        self.tally.look()
        return len(self.tally.made)

    def aside(self) -> int:
        """Return how many were set aside."""
        self.tally.look()
        return len(self.tally.aside)

    def tell(self, progress: Progress) -> None:
        """Tell nothing: each tile has a log of its own."""


@dataclass(frozen=True, slots=True)
class ByTiles:
    """Results that are cut into tiles."""

    tiles: str
    """The tile grid, as text."""
    assemble: bool = False
    """Whether tiles are also made one file."""
    kind: str = "tiles"

    def told(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"tiles": self.tiles, "assemble": self.assemble}

    def begun(
        self, order: Order[Any], workspace: Workspace, where: Where, progress: Progress
    ) -> tuple[TileParts, bool]:
        """Begin a run, or go on with it; what failed or has changed counts as missing.

        Raises:
            As for `run`.
        """
        work = self._work(order, workspace, where, progress)
        tally = work.tally()
        tally.look()

        def reconsider(number: int) -> None:
            name = work.tiles[number].name
            if name in tally.aside:
                work.kept(number).delete([ASIDE])
            if name in tally.made and not work.is_finished(number):
                work.kept(number).delete([DESCRIBED])

        if tally.begun:
            at_once(reconsider, len(work.tiles), "tiles looked at", progress)
        order.write(where.run)
        return TileParts(work.tally()), False

    def help_with(
        self,
        order: Order[Any],
        workspace: Workspace,
        where: Where,
        share: Share,
        progress: Progress,
    ) -> int:
        """Make the tiles of a share, then those of others that nobody makes; return how many.

        What fails is set aside with its reason, and the rest goes on.

        Raises:
            As for `run`.
        """
        work = self._work(order, workspace, where, progress)
        return counted(_made(work, share, progress), "tiles", where.run, progress)

    def finished(
        self, order: Order[Any], workspace: Workspace, where: Where, progress: Progress
    ) -> RunResult:
        """Publish the tiles, and make what is left; says what is wrong with those that fail.

        Raises:
            As for `run`.
        """
        return run(
            order.job, workspace, where.folder, squares_of(self.tiles, order.job.resolution),
            depot=where.run, block=order.block, pool=order.pool, progress=progress,
            about=order.about, assemble=self.assemble,
        )  # fmt: skip

    def _work(
        self, order: Order[Any], workspace: Workspace, where: Where, progress: Progress
    ) -> Tilewise:
        """Begin the run, or go on with it; one tile at a time has all threads."""
        work = prepared(
            order.job,
            workspace,
            (where.folder, where.run),
            squares_of(self.tiles, order.job.resolution),
            Means(order.block, order.pool, progress, where.run),
            order.about,
        )
        return work.with_pool(order.pool)


def _made(work: Tilewise, share: Share, progress: Progress) -> Generator[tuple[str, Made]]:
    """Make tiles, and yield those that are made or set aside."""
    with progress:
        progress.start(len(work.tiles), "tiles")
        for number in _missing(work, share):
            tile = work.make(number, 0)
            if tile.error:
                work.kept(number).write(ASIDE, tile.error.encode())
            else:
                progress.advance()
            if not tile.resumed:
                yield f"tile {work.tiles[number].name}", tile


def _missing(work: Tilewise, share: Share) -> Iterator[int]:
    """Yield the missing tiles of a share in order, then those of others from the end."""
    count, tally = len(work.tiles), work.tally()
    ours = share.numbers(count)
    tally.look()
    for number in [one for one in ours if not tally.is_over(work.tiles[one].name)]:
        yield number
    tally.look()
    for number in (*reversed(range(ours.stop, count)), *reversed(range(ours.start))):
        name = work.tiles[number].name
        if not tally.is_over(name) and not work.is_held(number, begun=name in tally.begun):
            yield number
            tally.look()  # it took a while
