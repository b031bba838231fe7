"""A run on a tile grid as jobs elsewhere: each takes its share of the tiles, then helps others.

They know each other by where the run is kept alone. In a folder whoever makes a tile holds its lock
there. A bucket has none: there nobody helps with a tile that somebody else has begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from terrazzo.drivers.described import FILE as DESCRIBED
from terrazzo.drivers.stages import Means
from terrazzo.drivers.tiling.run import prepared, run
from terrazzo.drivers.tiling.squares import squares_of
from terrazzo.drivers.tiling.work import ASIDE, at_once
from terrazzo.errors import RunIncomplete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from terrazzo.drivers.batch import RunResult
    from terrazzo.drivers.job import Workspace
    from terrazzo.drivers.order import Order, Where
    from terrazzo.drivers.shares import Share
    from terrazzo.drivers.tiling.work import Tilewise
    from terrazzo.progress import Progress

_ENDED: Final = frozenset({DESCRIBED, ASIDE})


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
        return sum(DESCRIBED in names for names in self.work.begun().values())

    def aside(self) -> int:
        """Return how many were set aside."""
        return sum(ASIDE in names for names in self.work.begun().values())


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
        begun = work.begun()

        def reconsider(number: int) -> None:
            names = begun.get(work.tiles[number].name, set())
            if ASIDE in names:
                work.kept(number).delete([ASIDE])
            if DESCRIBED in names and not work.is_finished(number):
                work.kept(number).delete([DESCRIBED])

        if begun:
            at_once(reconsider, len(work.tiles), "tiles looked at", progress)
        order.write(where.run)
        return TileParts(work), False

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
        made = failed = 0
        with progress:
            progress.start(len(work.tiles), "tiles")
            for number in _missing(work, share):
                tile = work.make(number, 0)
                if tile.error:
                    failed += 1
                    work.kept(number).write(ASIDE, tile.error.encode())
                    progress.fail(f"tile {work.tiles[number].name}", tile.error, tile.reason)
                    continue
                made += not tile.resumed
                progress.advance()
        if failed:
            raise RunIncomplete(
                f"{failed} tiles failed and were set aside; {made} were made. The reasons are in "
                f"{where.run}. When they are mended, give the command that began the run once more."
            )
        return made

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


def _missing(work: Tilewise, share: Share) -> Iterator[int]:
    """Yield the missing tiles of a share in order, then those of others from the end."""
    count, begun = len(work.tiles), work.begun()
    ours = share.numbers(count)
    for number in ours:
        if not begun.get(work.tiles[number].name, set()) & _ENDED:
            yield number
    begun = work.begun()
    for number in (*reversed(range(ours.stop, count)), *reversed(range(ours.start))):
        there = begun.get(work.tiles[number].name, set())
        if not there & _ENDED and not work.is_held(number, there):
            yield number
            begun = work.begun()  # it took a while
