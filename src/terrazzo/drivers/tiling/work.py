"""The work of a run on a tile grid: whole tiles, each a run of its own in a part of the depot."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from typing_extensions import override

from terrazzo.drivers import batch
from terrazzo.drivers.about import About
from terrazzo.drivers.batch import folders_of, output_nodes
from terrazzo.drivers.block_names import BLOCKS
from terrazzo.drivers.cutting import blocks_of
from terrazzo.drivers.depot import BucketDepot, FolderDepot
from terrazzo.drivers.described import CATALOGUE, Results
from terrazzo.drivers.described import FILE as DESCRIBED
from terrazzo.drivers.executors import Made, describe_run
from terrazzo.drivers.record import RECORD, RunRecord
from terrazzo.drivers.results import output_format
from terrazzo.drivers.stages import Means, settled
from terrazzo.drivers.tiling.jobs import TileJob, tiles_of
from terrazzo.drivers.tiling.squares import squares_of
from terrazzo.drivers.tiling.tallied import ASIDE, FOLDER, TileTally
from terrazzo.engine import read_version
from terrazzo.errors import OutputFailed, RunIncomplete, TerrazzoError
from terrazzo.progress import Cancelled, Progress
from terrazzo.storage.writers.files import output_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from terrazzo.drivers.depot import Depot
    from terrazzo.drivers.executors import Executor, Parts, Stint
    from terrazzo.drivers.job import Job, Workspace
    from terrazzo.drivers.pool import Pool
    from terrazzo.engine import Inference
    from terrazzo.geo.tile_grids import Tile

T = TypeVar("T")

_LOCK = ".lock"
_LOOK_S = 0.2
_AT_ONCE: Final = 8
"""Tiles that a depot is asked about at a time."""


class Stopping(Progress):
    """Stops the blocks of a tile when the run is stopped; shows nothing."""

    def __init__(self, stopped: threading.Event) -> None:
        """Watch an event."""
        self._stopped = stopped

    @override
    def advance(self, count: int = 1) -> None:
        """Count, or stop.

        Raises:
            Cancelled: the run is stopped.
        """
        super().advance(count)
        self.check()

    @override
    def check(self) -> None:
        """Go on, or stop.

        Raises:
            Cancelled: the run is stopped.
        """
        if self._stopped.is_set():
            raise Cancelled


@dataclass(frozen=True, slots=True)
class Tilewise:
    """A run as tiles, and where they are kept."""

    job: Job
    workspace: Workspace
    inference: Inference
    """Of the graph, with all that its stages have found."""
    tiles: tuple[Tile, ...]
    text: str
    """Of the tile grid."""
    folder: Path
    """In which files are put together, of the whole run; a depot that is a folder is the same."""
    depot: Depot
    """Where the whole run is kept."""
    block: int
    """Edge of a block, pixels."""
    pool: Pool
    """The threads and the memory for one tile."""
    name: str = ""
    """What the whole result is called."""
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set when the run is stopped."""

    def sent(self) -> TilesSent:
        """Return what another process needs to do the same."""
        return TilesSent(
            self.job, self.workspace, self.text, _names_of(self.tiles), self.depot, self.folder,
            self.block, self.pool, self.name,
        )  # fmt: skip

    def with_pool(self, pool: Pool) -> Tilewise:
        """Return it with other threads and memory for one tile."""
        return replace(self, pool=pool)

    def place(self, number: int) -> Path:
        """Return the folder in which files of a tile are put together."""
        return self.folder / FOLDER / self.tiles[number].name

    def kept(self, number: int) -> Depot:
        """Return where a tile is kept."""
        return self.depot / FOLDER / self.tiles[number].name

    def make(self, number: int, kept: int) -> Made:
        """Make the files of one tile, or go on with it; `kept` is not asked for.

        Whoever else makes it, in whatever process, is waited for.

        Raises:
            OutputFailed: it cannot be kept; the whole run stops, for the next would fail too.
            Cancelled: the run is stopped.
        """
        del kept
        watched = Stopping(self.stopped)
        try:
            with held(self.place(number), watched):
                if self.is_finished(number):
                    return Made(1, resumed=True)
                return self._made(number, watched)
        except OutputFailed:
            raise
        except RunIncomplete as error:
            return Made(error=str(error), reason=error)
        except (TerrazzoError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = error if isinstance(error, TerrazzoError) else None
            return Made(error=f"{type(error).__name__}: {error}", reason=reason)
        except MemoryError as error:
            return Made(error=f"MemoryError: {error}", passing=True)

    def _made(self, number: int, watched: Progress) -> Made:
        tile, folder, kept = self.tiles[number], self.place(number), self.kept(number)
        job = TileJob.on(self.job, tile.grid)
        self._begin_anew(job, kept)
        kept.delete([ASIDE, DESCRIBED])  # until it is finished, it tells of nothing
        run = partial(
            batch.run,
            job,
            self.workspace,
            folder,
            depot=kept,
            block=self.block,
            pool=self.pool,
            progress=watched,
            known=self.inference,
            about=About(id=f"{self.name}-{tile.name}"),
        )
        try:
            made = run()
        except OutputFailed:
            if isinstance(kept, FolderDepot) or not any(self._results(number).values()):
                raise
            # Another machine made it, too, and was first to delete its blocks.
            made = run()
            for place in folders_of(output_nodes(self.inference), kept).values():
                place.clear(BLOCKS)
        if isinstance(kept, BucketDepot):
            kept.clear(CATALOGUE)  # that of the whole run has its items
            kept.write(DESCRIBED, (folder / DESCRIBED).read_bytes())
            _clear(FolderDepot(folder))  # a continent does not fit on this machine's disk
        return Made(1, log=made.log)

    def _begin_anew(self, job: TileJob, kept: Depot) -> None:
        """Clear what was made of a tile when the collection had other images.

        Raises:
            OutputFailed: it cannot be deleted.
        """
        for node, place in folders_of(output_nodes(self.inference), kept).items():
            plan = job.plan(self.inference, node)
            blocks = blocks_of(plan, self.block, output_format(self.inference, node))
            if RunRecord(place).differing(describe_run(plan, job, blocks)) == ["items"]:
                _clear(place)

    def is_finished(self, number: int) -> bool:
        """Tell whether a tile's files are there, and made of the images as they are now."""
        there = all(self._results(number).values())
        return there and self.results(number) is not None

    def results(self, number: int) -> Results | None:
        """Return what a tile was described as when it was finished; None if it was not.

        Raises:
            ArgumentInvalid: the description names files that lie elsewhere.
        """
        content = self.kept(number).read(DESCRIBED)
        return None if content is None else Results.read(content, self.place(number))

    def _results(self, number: int) -> dict[str, bool]:
        """Return whether each result of a tile is there, of the images as they are now."""
        job, kept = TileJob.on(self.job, self.tiles[number].grid), self.kept(number)
        found = {}
        for node, place in folders_of(output_nodes(self.inference), kept).items():
            plan = job.plan(self.inference, node)
            version = partial(read_version, plan, plan.window)
            found[node] = RunRecord(place).results(version) is not None
        return found

    def tally(self) -> TileTally:
        """Return what watches which tiles are there."""
        return TileTally(self.depot, [tile.name for tile in self.tiles])

    def is_held(self, number: int, *, begun: bool) -> bool:
        """Tell whether somebody, in whatever process, makes a tile now.

        A bucket has no locks: of what is begun there it is only known that somebody was at it.

        Args:
            number: of the tile.
            begun: whether there is anything of it.
        """
        if isinstance(self.depot, BucketDepot):
            return begun
        try:
            lock = os.open(self.place(number) / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False


def at_once(ask: Callable[[int], T], count: int, unit: str, progress: Progress) -> list[T]:
    """Return the answers to `count` questions, in order; of a bucket each takes a while.

    Args:
        ask: answers one, in any thread.
        count: of questions, which are numbers from 0.
        unit: what they are about, in the plural.
        progress: told about each; may raise `Cancelled` to stop.
    """
    found = []
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tiles")
    try:
        with progress:
            progress.start(count, unit)
            for answer in pool.map(ask, range(count)):
                found.append(answer)
                progress.advance()
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _names_of(tiles: tuple[Tile, ...]) -> str:
    """Return a digest of which tiles there are, and where, in their order."""
    every = "\n".join(f"{tile.name} {tile.grid}" for tile in tiles)
    return hashlib.sha256(every.encode()).hexdigest()


def _clear(kept: Depot) -> None:
    """Delete what there is of a tile that is held; what says which run it was goes last.

    Raises:
        OutputFailed: something of it cannot be deleted.
    """
    names = [name for name in kept.names("") if name not in {_LOCK, RECORD}]
    kept.delete((*names, RECORD))


@contextmanager
def held(folder: Path, watched: Progress) -> Iterator[None]:
    """Have a folder to oneself; the lock of a process that is killed is free.

    Raises:
        OutputFailed: the folder cannot be written to.
        Cancelled: the run is stopped.
    """
    path = folder / _LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise output_failed(path, error) from error
    try:
        while True:
            watched.check()
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOOK_S)
        yield
    finally:
        os.close(lock)


@dataclass(frozen=True, slots=True)
class TilesSent:
    """What another process, here or elsewhere, needs to make tiles of the same run."""

    job: Job
    workspace: Workspace
    tiles: str
    """The tile grid, as text."""
    names: str
    """Digest of which tiles there are: they are told by their numbers."""
    folder: Depot
    """Where the whole run is kept, with what its stages have found."""
    work: Path
    """In which files are put together; as `Tilewise.folder`."""
    block: int
    """Edge of a block, pixels."""
    pool: Pool
    """The threads and the memory for one tile."""
    name: str
    """What the whole result is called."""

    def elsewhere(self) -> TilesSent:
        """Return it with paths that mean the same in every folder."""
        return replace(self, folder=self.folder.absolute(), work=self.work.absolute())

    def opened(self) -> Tilewise:
        """Open the sources; what stages have found is taken from the run.

        Raises:
            RunIncomplete: the collections have other images by now, on other tiles.
        """
        means = Means(self.block, self.pool, Progress(), self.folder)
        inference = self.job.infer(self.workspace)
        inference, _ = settled(self.job, inference, output_nodes(inference), means)
        chosen = tiles_of(self.job, inference, squares_of(self.tiles, self.job.resolution))
        if _names_of(chosen) != self.names:
            raise RunIncomplete(
                "Images were added to the collection, or taken out of it, while the run began, and "
                f"they are on other tiles. Finished tiles are kept in {self.folder}. Run the same "
                "command again: it takes the images and tiles that there are then."
            )
        return Tilewise(
            self.job, self.workspace, inference, chosen, self.tiles, self.work, self.folder,
            self.block, self.pool, self.name,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Once:
    """An executor that gives a tile to nobody else: whoever makes it would be waited for."""

    executor: Executor
    reissues: bool = False

    def size(self) -> int:
        """Return how many tiles can be made at a time, now."""
        return self.executor.size()

    def submit(self, parts: Parts[int]) -> Future[Stint[Made]]:
        """Have tiles made."""
        return self.executor.submit(parts)
