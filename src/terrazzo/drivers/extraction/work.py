"""Scenes computed: by threads, which share a scene's cells, or one after the other.

Whoever computes, here or elsewhere (see `workers`), writes the part of a scene aside. The process
that runs the extraction puts it into the table and notes that in the scene table, so that rows come
once whatever is killed.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from terrazzo import logs
from terrazzo.drivers.described import checksum
from terrazzo.drivers.extraction.cut import Cutter, cache_bytes, time_of
from terrazzo.drivers.extraction.parts import ASIDE, PartWriter, has_instants
from terrazzo.drivers.extraction.scenes import Made
from terrazzo.drivers.extraction.weights import KEPT_BYTES
from terrazzo.engine import check_memory, evaluate
from terrazzo.errors import OutputFailed, TerrazzoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from terrazzo.drivers.extraction.asked import Asked, Reducing
    from terrazzo.drivers.extraction.placed import Placed
    from terrazzo.drivers.extraction.scenes import Scene
    from terrazzo.drivers.extraction.weights import Weights
    from terrazzo.drivers.stages import Means
    from terrazzo.engine import Plan
    from terrazzo.progress import Progress

    _Part = tuple[Any, tuple[logs.Entry, ...]]

FAULTS = (
    TerrazzoError, ArithmeticError, LookupError, MemoryError, TypeError, ValueError, OSError,
)  # fmt: skip
"""What fails a scene and not the run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a scene."""

    scene: Scene
    made: Made = field(default_factory=Made)
    """What was made, where there is no error."""
    aside: Path | None = None
    """Where its part lies; None where it has no rows."""
    error: str = ""
    """Why it could not be computed; empty as a rule."""
    reason: TerrazzoError | None = None
    """The same, where it is an error of ours."""
    log: tuple[logs.Entry, ...] = ()
    """What a scene that failed had logged."""
    lost: bool = False
    """Whether it failed as its worker was lost; another one may do it."""


@dataclass(frozen=True, eq=False)
class Work:
    """What scenes are computed with; each process has its own."""

    cut: Cutter
    """Plans them."""
    asked: Asked
    """What is made of their pixels."""
    placed: Placed
    """Weighs the pixels."""
    means: Means
    """With how much memory, and in what blocks."""

    def begin(self, scene: Scene) -> Begun:
        """Plan a scene.

        Raises:
            PlanTooLarge: a cell needs more memory than a worker has.
        """
        plan = self.cut.plan(scene, self.means)
        weights = self.placed.weights(plan.grid, plan.window, self.means.pool.size)
        self.placed.keep(weights)
        reducing = self.asked.begin(plan, weights, self.placed, self.cut.workspace)
        time_name = "" if self.cut.time is None else self.cut.time.name
        instants = has_instants(self._dates(scene, plan))
        path = self.placed.folder / ASIDE / f"{scene.key}.{uuid.uuid4().hex[:8]}.parquet"
        writer = PartWriter(path, scene, self.placed.polygons, time_name, instants, reducing.told)
        return Begun(scene, plan, weights, reducing, writer)

    def _dates(self, scene: Scene, plan: Plan) -> list[str]:
        """Return what the dates of rows are taken from: an image has its own, unless of several."""
        time = self.cut.time if scene.image is None else time_of(plan.probe)
        several = time is not None and (scene.image is None or len(time.labels) > 1)
        return [str(label) for label in time.labels] if time and several else [scene.t]

    def check(self, scene: Scene) -> None:
        """See that a scene fits into memory.

        Raises:
            PlanTooLarge: it does not; says what would.
        """
        begun = self.begin(scene)
        pool = self.means.pool
        left = pool.memory_bytes - self.held_bytes(begun)
        check_memory(begun.plan, self.means.block, max(left, 0) // pool.size)

    def held_bytes(self, begun: Begun) -> int:
        """Return what is held beside the cells that are computed: rows to be, tiles, weights."""
        ahead = 2 * self.means.pool.size
        kept = cache_bytes(self.cut.workspace, self.means) + KEPT_BYTES
        return begun.reducing.bytes_of(ahead) + kept


@dataclass(eq=False)
class Begun:
    """A scene at work."""

    scene: Scene
    plan: Plan
    weights: Weights
    reducing: Reducing
    writer: PartWriter
    error: Exception | None = None
    """Why it is given up."""
    log: logs.Log = field(default_factory=logs.Log)
    _begun_s: float = field(default_factory=time.monotonic)

    def cell(self, number: int) -> tuple[Any, tuple[logs.Entry, ...]]:
        """Compute a cell and reduce it; many threads may do so at once."""
        with logs.collected() as log:
            spots = self.weights.cell(number).spots
            cube = evaluate(self.plan, self.weights.cells[number], spots)
            part = self.reducing.part(number, cube)
        return part, log.all()

    def take(self, number: int, part: Any, told: Sequence[logs.Entry]) -> None:
        """Take a cell that was computed, in order."""
        self.log.extend(told)
        with logs.collected() as log:
            rows = self.reducing.take(number, part)
        self.log.extend(log.all())
        if rows is not None:
            self.writer.add(rows)

    def finish(self) -> Outcome:
        """Write what is left of its part."""
        scene = self.scene
        if self.error is not None:
            self.writer.drop()
            reason = self.error if isinstance(self.error, TerrazzoError) else None
            text = f"{type(self.error).__name__}: {self.error}"
            return Outcome(scene, error=text, reason=reason, log=self.log.all())
        there = self.writer.close()
        path = self.writer.path
        seconds = time.monotonic() - self._begun_s
        size, digest = (path.stat().st_size, checksum(path)) if there else (0, "")
        made = Made(self.writer.rows, seconds, size, digest, self._left_out(), self.log.all())
        return Outcome(scene, made, path if there else None)

    def _left_out(self) -> tuple[str, ...]:
        """Return the images of the scene that are bad; dates share sources, which know of all."""
        bad = self.plan.bad_items
        return bad if self.scene.image else tuple(one for one in bad if one in self.scene.items)


_Ahead: TypeAlias = "Outcome | Begun | tuple[Begun, int, Future[_Part]]"
"""A cell that is being computed, a scene whose cells are all computed, or what became of one."""


def failed(scene: Scene, error: Exception) -> Outcome:
    """Return what became of a scene that could not be begun."""
    reason = error if isinstance(error, TerrazzoError) else None
    return Outcome(scene, error=f"{type(error).__name__}: {error}", reason=reason)


def by_threads(
    work: Work, scenes: Iterable[Scene], begin: Callable[[Scene], None], progress: Progress
) -> Iterator[Outcome]:
    """Compute scenes one after the other, cells side by side; yield each as it is done.

    Args:
        work: what they are computed with.
        scenes: in the order in which they are done.
        begin: told of each before it is begun.
        progress: told about every cell.

    Raises:
        OutputFailed: nothing can be written; the run stops.
    """
    size = work.means.pool.size
    running: deque[_Ahead] = deque()
    following = _steps(work, scenes, begin)
    with ThreadPoolExecutor(size, thread_name_prefix="cell") as pool:
        try:
            while True:
                for step in islice(following, max(2 * size - len(running), 0)):
                    running.append(_submitted(pool, step))
                if not running:
                    return
                ahead = running.popleft()
                if isinstance(ahead, Outcome):
                    yield ahead
                elif isinstance(ahead, Begun):
                    yield ahead.finish()
                else:
                    _take(*ahead, progress)
        finally:
            _stopped(running)


def _steps(
    work: Work, scenes: Iterable[Scene], begin: Callable[[Scene], None]
) -> Iterator[Outcome | Begun | tuple[Begun, int]]:
    """Yield all cells of all scenes, and behind its last one each scene; or why it has none."""
    for scene in scenes:
        begin(scene)
        try:
            begun = work.begin(scene)
        except OutputFailed:
            raise
        except FAULTS as error:
            yield failed(scene, error)
            continue
        for number in range(len(begun.weights.cells)):
            if begun.error is None:
                yield begun, number
        yield begun


def _submitted(pool: ThreadPoolExecutor, step: Outcome | Begun | tuple[Begun, int]) -> _Ahead:
    if not isinstance(step, tuple):
        return step
    begun, number = step
    return begun, number, pool.submit(begun.cell, number)


def _stopped(running: Iterable[_Ahead]) -> None:
    """Leave nothing behind of scenes that are not done."""
    for ahead in running:
        if isinstance(ahead, Begun):
            ahead.writer.drop()
        elif isinstance(ahead, tuple):
            ahead[2].cancel()
            ahead[0].writer.drop()


def _take(begun: Begun, number: int, future: Future[_Part], progress: Progress) -> None:
    if begun.error is not None:
        future.cancel()
        progress.advance()
        return
    try:
        part, told = future.result()
        progress.hear(told)
        begun.take(number, part, told)
    except OutputFailed:
        raise
    except FAULTS as error:
        begun.error = error
    progress.advance()


def computed(work: Work, scene: Scene) -> Outcome:
    """Compute a scene, cell by cell.

    Raises:
        OutputFailed: nothing can be written.
    """
    try:
        begun = work.begin(scene)
    except OutputFailed:
        raise
    except FAULTS as error:
        return failed(scene, error)
    for number in range(len(begun.weights.cells)):
        try:
            part, told = begun.cell(number)
            begun.take(number, part, told)
        except OutputFailed:
            begun.writer.drop()
            raise
        except FAULTS as error:
            begun.error = error
            break
    return begun.finish()
